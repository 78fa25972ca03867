"""What ``pathsynth generate`` costs beside a bare script that draws as many images: whole processes, with all that they load.

    python -m benchmarks.generate_command --out FILE.json [--turns 3] [OVERRIDE …]

Both take turns. ``ours`` is ``pathsynth generate labels=all n=4`` from the shipped set, with its gate, judge, ledger and sheets.
``script`` imports torch and diffusers' pipeline, loads the same base and adapter, draws as many images of the same prompts, in batches of
the same sizes, with the same scheduler, steps and guidance, and saves them; it looks at none of them. ``ratios``: ours over the
script's, by the clock and in processor time, median and range over the turns.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import Cost, cost_of, machine, summary
from benchmarks.repeated import in_turns
from benchmarks.requests import checked_request
from pathsynth.data.catalogue import ready_set
from pathsynth.ledger.atomic import read_json
from pathsynth.sampling.attempts import AttemptRow, read_attempts
from pathsynth.sampling.scheduler import scheduler_of

_OURS, _SCRIPT = "ours", "script"
_REQUEST = ("labels=all", "n=4", "tracking=none")
_BARE = """
import json, sys
import diffusers, torch
from diffusers import StableDiffusionPipeline

told = json.loads(sys.argv[1])
pipeline = StableDiffusionPipeline.from_pretrained(told["base"], safety_checker=None)
pipeline.load_lora_weights(told["adapter"])
pipeline.scheduler = getattr(diffusers, told["scheduler"]).from_config(pipeline.scheduler.config, **told["changes"])
pipeline.set_progress_bar_config(disable=True)
number = 0
for prompts in told["batches"]:
    seeds = [torch.Generator().manual_seed(number + i) for i in range(len(prompts))]
    for image in pipeline(prompts, generator=seeds, **told["sampling"]).images:
        image.save(f"{number}.png")
        number += 1
"""


def main() -> None:
    """Read the command line, time both, write the figures to ``--out`` and print them."""
    in_turns(__doc__, measure, turns=3, counted="times that each is timed", command="generate")


def measure(turns: int, overrides: Sequence[str]) -> dict[str, object]:
    """All figures, as they go into the file.

    Raises:
        subprocess.CalledProcessError: one of the processes failed.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _ours(folder / "first", overrides)  # reads programs from the disk, and says what is drawn
        (table,) = folder.glob("first/multirun/*/*/attempts.parquet")
        batches = _batches(list(read_attempts(table.parent)))
        told = json.dumps({**_as_a_script_needs_it(overrides), "batches": batches})
        _script(folder / "first_script", told)
        rounds = [
            {_OURS: _ours(folder / f"ours_{turn}", overrides), _SCRIPT: _script(folder / f"script_{turn}", told)} for turn in range(turns)
        ]
    return {
        "ratios": {key: summary([getattr(r[_OURS], key) / getattr(r[_SCRIPT], key) for r in rounds]) for key in ("processor", "wall")},
        "costs": {name: [asdict(r[name]) for r in rounds] for name in (_OURS, _SCRIPT)},
        "images": {"drawn": sum(map(len, batches)), "batches": [len(batch) for batch in batches]},
        "machine": machine(),
    }


def _ours(folder: Path, overrides: Sequence[str]) -> Cost:
    return _cost(folder, ["-m", "pathsynth", "generate", *_REQUEST, *overrides])


def _script(folder: Path, told: str) -> Cost:
    return _cost(folder, ["-c", _BARE, told])


def _cost(folder: Path, words: Sequence[str]) -> Cost:
    folder.mkdir()
    with (folder / "output.txt").open("w") as output:
        return cost_of([sys.executable, *words], cwd=folder, stdout=output)


def _batches(rows: Sequence[AttemptRow]) -> list[list[str]]:
    """The prompts of first attempts, of second ones, and so on: as the sampler draws them, as long as a batch takes them all."""
    last = max(row.attempt for row in rows)
    return [[row.prompt for row in rows if row.attempt == attempt] for attempt in range(last + 1)]


def _as_a_script_needs_it(overrides: Sequence[str]) -> Mapping[str, Any]:
    checked = checked_request("generate", overrides)
    config, source = checked.config, checked.plan.base
    assert config.data and config.base and config.sampling and source
    sampling, side = config.sampling, config.base.canvas
    shipped = read_json(Path(source.path_or_hub) / "scheduler" / "scheduler_config.json")
    scheduler = scheduler_of(sampling.scheduler, shipped["_class_name"], shipped)
    return {
        "base": source.path_or_hub,
        "adapter": str(ready_set(config.data).adapter),
        "scheduler": scheduler.name,
        "changes": scheduler.changes,
        "sampling": {
            "num_inference_steps": sampling.steps,
            "guidance_scale": sampling.guidance,
            "guidance_rescale": sampling.guidance_rescale,
            "height": side,
            "width": side,
        },
    }


if __name__ == "__main__":
    main()
