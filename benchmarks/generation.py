"""Accepted images a second of the rejection sampler beside two ways of doing without it.

    python -m benchmarks.generation TRIAL --out FILE.json [--n 6] [--attempts 8] [--batch-size 64] [--repeats 3] [--half] [--threads 1]
        [--threshold P] [--speculate] [--reject-early-after STEPS]

TRIAL is the folder of a finished trial of ``pathsynth run``: its base, adapter, gate, denoising steps and guidance serve all, and the
rule, of which ``--threshold`` may raise the least probability. Each way fills n slots of every class, with at most so many attempts
a slot, and they take turns in one process:

- ``ours``: the sampler, classes mixed in full batches. Beside it, if requested, ``ours_speculate`` and ``ours_early_rejection``:
  its threshold is fitted before the clock starts, on 20 candidates of each class (``early_rejection`` says what it loses and saves).
- ``paper``: one prompt at a time with diffusers' pipeline: generate, classify, discard, again (arXiv 2506.00786, by its description).
- ``batched_filter``: the pipeline, class by class, in batches of as many as the class still lacks, until it has its n.

``vs_paper`` and ``vs_batched_filter`` are ratios of accepted images a second, ours over theirs: median and range over the repeats.
``outside_unet`` is the share of our time that is not spent in the UNet.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.lora_training import now
from benchmarks.machine import machine, summary
from pathsynth.config import RunConfig
from pathsynth.data.catalogue import open_data
from pathsynth.data.dataset import DataSet
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.models.base import Base, load_base
from pathsynth.models.classifier import load_classifier
from pathsynth.models.lora import load_adapter
from pathsynth.sampling.draw import CandidateDrawer, base_scheduler, new_scheduler
from pathsynth.sampling.early_rejection import EarlyRejection, Threshold, calibrate, fit_threshold
from pathsynth.sampling.gate import Gate
from pathsynth.sampling.generation import route_of
from pathsynth.sampling.rejection import sample_until_accepted
from pathsynth.sampling.slots import Slot, Stream, attempt_at, slots_of
from pathsynth.studies.execution.trial_rules import acceptance_rules
from pathsynth.studies.trials.manifest import read_manifest

OURS, PAPER, FILTER = "ours", "paper", "batched_filter"


def main() -> None:
    """Read the command line, time each way, write the figures to ``--out`` and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", type=Path, help="folder of a finished trial of `pathsynth run`")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--n", type=int, default=6, help="slots a class (default: 6)")
    parser.add_argument("--attempts", type=int, default=8, help="attempts a slot (default: 8)")
    parser.add_argument("--batch-size", type=int, default=64, help="images a batch (default: 64)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each way (default: 3)")
    parser.add_argument("--half", action="store_true", help="our UNet in bfloat16")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
    parser.add_argument("--threshold", type=float, default=0.0, help="the least probability that the gate must give (default: the trial's)")
    parser.add_argument("--speculate", action="store_true", help="also ours with speculation")
    parser.add_argument("--reject-early-after", type=int, help="also ours with early rejection after so many steps")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    named = ("n", "attempts", "batch_size", "half", "threads", "threshold", "speculate", "reject_early_after")
    request = _Request(**{name: getattr(arguments, name) for name in named})
    report = measure(arguments.trial, request, arguments.repeats)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, report)
    print(json.dumps(report, indent=2))


@dataclass(frozen=True)
class _Request:
    n: int
    attempts: int
    batch_size: int
    half: bool
    threads: int
    threshold: float
    speculate: bool
    reject_early_after: int | None


@dataclass
class _Bench:
    """What all ways use; ``in_unet`` counts its seconds."""

    base: Base
    data: DataSet
    gate: Gate
    config: RunConfig
    request: _Request
    threshold: Threshold | None = None
    in_unet: float = field(default=0.0)

    def slots(self) -> list[Slot]:
        prompts = {c.index: self.data.prompts.canonical(c.index) for c in self.data.space.classes}
        return slots_of(Stream.GENERATE, prompts, self.request.n)


@dataclass(frozen=True)
class _Run:
    """Of one way, once: accepted images and attempts by class, and seconds."""

    accepted: dict[int, int]
    attempts: dict[int, int]
    seconds: float

    @property
    def rate(self) -> float:
        return sum(self.accepted.values()) / self.seconds


def measure(trial: Path, request: _Request, repeats: int) -> dict[str, object]:
    """All figures, as they go into the file."""
    bench = _bench(trial, request)
    ways: dict[str, Callable[[_Bench, int], _Run]] = {OURS: _ours, PAPER: _paper, FILTER: _batched_filter}
    if request.speculate:
        ways["ours_speculate"] = partial(_ours, speculate=True)
    if request.reject_early_after:
        bench.threshold = _threshold(bench)
        ways["ours_early_rejection"] = partial(_ours, early=True)
    _draw_once(bench)
    runs: dict[str, list[_Run]] = {way: [] for way in ways}
    outside = []
    for repeat in range(repeats):
        for way, carry_out in ways.items():
            bench.in_unet = 0.0
            runs[way].append(carry_out(bench, repeat))
            if way == OURS:
                outside.append(1 - bench.in_unet / runs[way][-1].seconds)
    rates = {way: [run.rate for run in some] for way, some in runs.items()}
    slugs = bench.data.space.slugs
    return {
        "machine": machine(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "trial": trial.name,
        "data": bench.data.name,
        "slots_a_class": request.n,
        "attempts_a_slot": request.attempts,
        "batch_size": request.batch_size,
        "half": request.half,
        "threads": request.threads,
        "threshold": request.threshold,
        "early_rejection": bench.threshold and asdict(bench.threshold),
        "accepted_a_second": {way: summary(some) for way, some in rates.items()},
        **{
            f"{own.removeprefix(OURS).removeprefix('_')}{'_' if own != OURS else ''}vs_{other}": _ratio(rates[own], rates[other])
            for own in ways
            for other in (PAPER, FILTER)
            if own.startswith(OURS)
        },
        "outside_unet": summary(outside),
        "acceptance": {slug: round(_share(runs[OURS], label), 3) for label, slug in enumerate(slugs)},
        "accepted": {way: sum(sum(run.accepted.values()) for run in some) for way, some in runs.items()},
        "attempts": {way: sum(sum(run.attempts.values()) for run in some) for way, some in runs.items()},
        "repeats": repeats,
    }


def _ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    return summary([own / other for own, other in zip(ours, theirs, strict=True)])


def _share(runs: list[_Run], label: int) -> float:
    return sum(run.accepted.get(label, 0) for run in runs) / max(1, sum(run.attempts.get(label, 0) for run in runs))


def _bench(trial: Path, request: _Request) -> _Bench:
    manifest = read_manifest(trial)
    config, store = manifest.config, StageStore(trial.absolute().parents[1] / STAGES)
    gate = next((store.find(s.name, s.identity) for s in manifest.plan.stages if s.name == "gate"), None)
    if gate is None:
        raise SystemExit("the trial's gate is not there any more; run it again")
    assert config.data and config.base and config.sampling and manifest.plan.base
    data, source = open_data(config.data), manifest.plan.base
    base = load_base(source.path_or_hub, source.revision, source.identity, config.base.canvas, data.size)
    load_adapter(trial / "adapter", base)
    base.pipeline.set_progress_bar_config(disable=True)
    base.pipeline.scheduler = new_scheduler(base, base_scheduler(base, config.sampling.scheduler))
    classifier = load_classifier(gate, data.space).to(base.unet.device)
    sampling = config.sampling.model_copy(update={"threshold": max(config.sampling.threshold, request.threshold)})
    bench = _Bench(base, data, Gate(classifier, acceptance_rules(classifier, data, sampling)), config, request)
    _time_the_unet(bench)
    return bench


def _time_the_unet(bench: _Bench) -> None:
    forward = bench.base.unet.forward

    def timed(*words: Any, **named: Any) -> Any:
        started = now()
        try:
            return forward(*words, **named)
        finally:
            bench.in_unet += now() - started

    bench.base.unet.forward = timed


def _draw_once(bench: _Bench) -> None:
    """What is made at first use is not timed."""
    _pipeline(bench, bench.slots()[0].prompt, [0])
    attempts = [attempt_at(slot, 0, 0) for slot in bench.slots()[:2]]
    _drawer(bench)(attempts)


def _drawer(bench: _Bench) -> CandidateDrawer:
    sampling = bench.config.sampling
    assert sampling
    return CandidateDrawer(
        bench.base,
        bench.data.size,
        sampling.steps,
        sampling.guidance,
        half=bench.request.half,
        guidance_rescale=sampling.guidance_rescale,
        preview_step=bench.request.reject_early_after,
    )


def _threshold(bench: _Bench) -> Threshold:
    sampling, after = bench.config.sampling, bench.request.reject_early_after
    assert sampling and after
    prompts = {c.index: bench.data.prompts.canonical(c.index) for c in bench.data.space.classes}
    attempts = [attempt_at(slot, 0, 0) for slot in slots_of(Stream.CALIBRATE, prompts, sampling.early_rejection.n)]
    found = calibrate(attempts, _drawer(bench), bench.gate, bench.request.batch_size, lambda: None)
    return fit_threshold(found, sampling.early_rejection.max_lost, after, sampling.steps)


def _ours(bench: _Bench, seed: int, speculate: bool = False, early: bool = False) -> _Run:
    request, sampling, started = bench.request, bench.config.sampling, now()
    assert sampling
    draw = _drawer(bench)
    reject_early = EarlyRejection(draw, bench.gate, bench.threshold) if early and bench.threshold else None
    route = replace(route_of(sampling, draw.scheduler), preview_step=request.reject_early_after if reject_early else None)
    budget = (request.attempts, request.batch_size, seed)
    accepted: dict[int, int] = {}
    attempts: dict[int, int] = {}
    stream = sample_until_accepted(bench.slots(), draw, bench.gate, *budget, speculate=speculate, route=route, reject_early=reject_early)
    for item in stream:
        label = item.attempt.slot.label
        attempts[label] = attempts.get(label, 0) + 1
        accepted[label] = accepted.get(label, 0) + item.verdict.accepted
    return _Run(accepted, attempts, now() - started)


def _paper(bench: _Bench, seed: int) -> _Run:
    started = now()
    accepted: dict[int, int] = {}
    attempts: dict[int, int] = {}
    for slot in bench.slots():
        for number in range(bench.request.attempts):
            attempt = attempt_at(slot, number, seed)
            (image,) = _pipeline(bench, slot.prompt, [attempt.seed])
            attempts[slot.label] = attempts.get(slot.label, 0) + 1
            if bench.gate([attempt], [image])[0].accepted:
                accepted[slot.label] = accepted.get(slot.label, 0) + 1
                break
    return _Run(accepted, attempts, now() - started)


def _batched_filter(bench: _Bench, seed: int) -> _Run:
    request, started = bench.request, now()
    accepted: dict[int, int] = {}
    attempts: dict[int, int] = {}
    first = {slot.label: slot for slot in reversed(bench.slots())}
    for label, slot in sorted(first.items()):
        while accepted.get(label, 0) < request.n and attempts.get(label, 0) < request.n * request.attempts:
            made = attempts.get(label, 0)
            size = min(request.batch_size, request.n - accepted.get(label, 0), request.n * request.attempts - made)
            batch = [attempt_at(slot, made + i, seed) for i in range(size)]
            images = _pipeline(bench, slot.prompt, [attempt.seed for attempt in batch])
            verdicts = bench.gate(batch, images)
            attempts[label] = made + size
            accepted[label] = accepted.get(label, 0) + sum(verdict.accepted for verdict in verdicts)
    return _Run(accepted, attempts, now() - started)


def _pipeline(bench: _Bench, prompt: str, seeds: list[int]) -> list[np.ndarray | None]:
    """uint8 (H, W, 3) of diffusers' own pipeline, one for each seed."""
    sampling, side = bench.config.sampling, bench.base.canvas
    assert sampling
    # the pipeline draws noise for sides that are multiples of eight only, and takes any that is given
    noise = [torch.randn(bench.base.latent_shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    drawn = bench.base.pipeline(
        [prompt] * len(seeds),
        latents=torch.stack(noise),
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance,
        guidance_rescale=sampling.guidance_rescale,
        output_type="np",
    ).images
    margin = (side - bench.data.size) // 2
    cut = drawn[:, margin : margin + bench.data.size, margin : margin + bench.data.size]
    return list(np.rint(cut * 255).astype(np.uint8))


if __name__ == "__main__":
    main()
