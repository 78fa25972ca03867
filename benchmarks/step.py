"""What a fine-tune's step costs in other number formats, memory layouts and when it is compiled, and where its time goes.

    python -m benchmarks.step --out FILE.json [--turns 40] [OVERRIDE …]

Each way takes the bare step of ``benchmarks.lora_training`` (forward, backward and optimizer on a batch that lies ready) on a base of its
own, turn by turn in one process:

- ``as_it_is``: 32-bit numbers, as by default;
- ``channels_last``: ``training.channels_last=true``;
- ``bf16``: ``trainer.precision=bf16-mixed``, with the attention that a fine-tune takes then;
- ``bf16_fused_attention``: the same with PyTorch's fused attention;
- ``compiled`` and ``compiled_bf16``: ``training.compile=true`` with either number format.

``times_as_fast``: the time of ``as_it_is`` over that of a way, median over turns with SciPy's 95% bootstrap interval.
``compile_seconds``: of the first two steps, with nothing compiled before. ``profile``: shares of the processor's time by operation,
from torch.profiler.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.lora_training import Peer, finetune_request, loaded_base, now, ratio
from benchmarks.machine import machine, summary
from benchmarks.repeated import in_turns
from pathsynth.training.finetune import fast_attention

AS_IT_IS = "as_it_is"
_SHOWN = 12
"""Operations of a profile, from the dearest."""
_PROFILED_STEPS = 3


@dataclass(frozen=True)
class Way:
    """Overrides of a fine-tune, and whether attention is PyTorch's own choice, the fused one, in place of a fine-tune's."""

    overrides: tuple[str, ...] = ()
    is_fused: bool = False


_BF16, _COMPILED = "trainer.precision=bf16-mixed", "training.compile=true"
WAYS: Mapping[str, Way] = {
    AS_IT_IS: Way(),
    "channels_last": Way(("training.channels_last=true",)),
    "bf16": Way((_BF16,)),
    "bf16_fused_attention": Way((_BF16,), is_fused=True),
    "compiled": Way((_COMPILED,)),
    "compiled_bf16": Way((_COMPILED, _BF16)),
}


def main() -> None:
    """Read the command line, time each way, write the figures to ``--out`` and print them."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        in_turns(__doc__, measure, turns=40)


def measure(turns: int, overrides: Sequence[str]) -> dict[str, object]:
    """All figures, as they go into the file."""
    steps = {name: _step(way, overrides) for name, way in WAYS.items()}
    first = {name: _seconds(step) + _seconds(step) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns):
        order = list(steps)
        for name in (*order[turn % len(order) :], *order[: turn % len(order)]):
            seconds[name].append(_seconds(steps[name]))
    return {
        "machine": machine(),
        "overrides": list(overrides),
        "seconds": {name: summary(times) for name, times in seconds.items()},
        "times_as_fast": {name: ratio(seconds[AS_IT_IS], times) for name, times in seconds.items() if name != AS_IT_IS},
        "compile_seconds": {name: round(first[name], 1) for name, way in WAYS.items() if _COMPILED in way.overrides},
        "profile": {name: _profile(steps[name]) for name in (AS_IT_IS, "bf16", "bf16_fused_attention")},
    }


def _step(way: Way, overrides: Sequence[str]) -> Callable[[], None]:
    request = finetune_request(["objective.paraphrases=false", *way.overrides, *overrides], 10)
    base, config = loaded_base(request), request.config
    if config.training.channels_last:
        base.unet.to(memory_format=torch.channels_last)
    peer = Peer(base, config)
    noisy, times, target = peer.noised(torch.randn(peer.batch_size, *base.latent_shape, device=peer.device))
    text = base.embed([""] * peer.batch_size)

    def step() -> None:
        with nullcontext() if way.is_fused else fast_attention(base, config.trainer.precision):
            peer.learn(noisy, times, text, target, whole=False)

    return step


def _seconds(step: Callable[[], None]) -> float:
    started = now()
    step()
    return now() - started


def _profile(step: Callable[[], None]) -> dict[str, object]:
    """Milliseconds of a step, and the share of each of its dearest operations."""
    started = time.process_time()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(_PROFILED_STEPS):
            step()
    used = time.process_time() - started
    operations = sorted(recorded.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in operations)
    return {
        "processor_milliseconds": round(1000 * used / _PROFILED_STEPS),
        "operations": {
            event.key: {"share": round(event.self_cpu_time_total / total, 3), "calls": event.count // _PROFILED_STEPS}
            for event in operations[:_SHOWN]
        },
    }


if __name__ == "__main__":
    main()
