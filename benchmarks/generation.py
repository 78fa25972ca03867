"""Accepted images a second of the rejection sampler beside three ways of doing without it.

    python -m benchmarks.generation [TRIAL] --out FILE.json [--n 6] [--attempts 8] [--batch-size 64] [--repeats 3] [--half] [--threads 1]
        [--threshold P] [--speculate] [--reject-early-after STEPS] [--judge NAME=FOLDER …]

TRIAL is the folder of a finished trial of ``pathsynth run``: its base, adapter, gate, denoising steps and guidance serve all, and the
rule, of which ``--threshold`` may raise the least probability; without it the shipped set draws as ``pathsynth generate`` does. Each
way fills n slots of every class, with at most so many attempts a slot, and they take turns in one process:

- ``ours``: the sampler, classes mixed in full batches. Beside it, if requested, ``ours_speculate`` and ``ours_early_rejection``:
  its threshold is fitted before the clock starts, on 20 candidates of each class (``early_rejection`` says what it loses and saves).
- ``published``: the paper's procedure with the paper's sampling: one prompt at a time with diffusers' pipeline, 30 steps of PNDM at
  guidance 7.5: generate, classify, discard, again (arXiv 2506.00786, by its description).
- ``paper``: the same procedure with our scheduler, steps and guidance.
- ``batched_filter``: the pipeline, class by class, in batches of as many as the class still lacks, until it has its n.

``ratios`` holds accepted images a second, ours over theirs: median and range over the repeats. ``ratios_of_processor_time`` holds the same
for a second of the processor, which other work on the machine disturbs less. ``outside_unet`` is the share of our time
that is not spent in the UNet. ``--judge`` names a classifier that has chosen nothing (a trial of ``pathsynth classify``); several are a
panel, and ``panel_accuracy`` is what they say, on average, of the images that each way accepted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.lora_training import now
from benchmarks.machine import machine, named_folder, summary
from benchmarks.requests import checked_request
from pathsynth.config import SamplingConfig
from pathsynth.data.catalogue import open_data, ready_set
from pathsynth.data.dataset import DataSet
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.metrics.agreement import panel_accuracy
from pathsynth.models.base import Base, load_base
from pathsynth.models.image_classifier import Classifier, load_classifier
from pathsynth.models.lora import load_adapter
from pathsynth.sampling.draw import CandidateDrawer, base_scheduler, new_scheduler
from pathsynth.sampling.early_rejection import EarlyRejection, Threshold, calibrate, fit_threshold
from pathsynth.sampling.gate import Gate, class_probabilities
from pathsynth.sampling.generation import route_of
from pathsynth.sampling.rejection import sample_until_accepted
from pathsynth.sampling.slots import Slot, Stream, attempt_at, slots_of
from pathsynth.studies.execution.trial_rules import acceptance_rules
from pathsynth.studies.trials.manifest import read_manifest

OURS, PUBLISHED, PAPER, FILTER = "ours", "published", "paper", "batched_filter"


def main() -> None:
    """Read the command line, time each way, write the figures to ``--out`` and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", type=Path, nargs="?", help="folder of a finished trial of `pathsynth run` (default: the shipped set)")
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
    parser.add_argument("--judge", action="append", default=[], type=named_folder, metavar="NAME=FOLDER", help="one of a panel")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    named = ("n", "attempts", "batch_size", "half", "threads", "threshold", "speculate", "reject_early_after")
    request = _Request(**{name: getattr(arguments, name) for name in named})
    report = measure(arguments.trial, request, arguments.repeats, dict(arguments.judge))
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
    sampling: SamplingConfig
    request: _Request
    threshold: Threshold | None = None
    in_unet: float = field(default=0.0)

    def slots(self) -> list[Slot]:
        prompts = {c.index: self.data.prompts.canonical(c.index) for c in self.data.space.classes}
        return slots_of(Stream.GENERATE, prompts, self.request.n)


@dataclass(frozen=True)
class _Run:
    """Of one way, once: accepted images, uint8 (H, W, 3), and the number of attempts by class, and seconds."""

    accepted: dict[int, list[np.ndarray]]
    attempts: dict[int, int]
    seconds: float

    @property
    def n(self) -> int:
        """Accepted images."""
        return sum(map(len, self.accepted.values()))

    @property
    def rate(self) -> float:
        """Accepted images a second."""
        return self.n / self.seconds


def measure(trial: Path | None, request: _Request, repeats: int, judges: dict[str, Path]) -> dict[str, object]:
    """All figures, as they go into the file."""
    bench = _bench_of_trial(trial, request) if trial else _bench_of_shipped_set(request)
    published = partial(_one_at_a_time, scheduler="PNDMScheduler", steps=30, guidance=7.5, rescale=0.0)
    ways: dict[str, Callable[[_Bench, int], _Run]] = {OURS: _ours, PUBLISHED: published, PAPER: _one_at_a_time, FILTER: _batched_filter}
    if request.speculate:
        ways["ours_speculate"] = partial(_ours, speculate=True)
    if request.reject_early_after:
        bench.threshold = _threshold(bench)
        ways["ours_early_rejection"] = partial(_ours, early=True)
    _draw_once(bench)
    runs: dict[str, list[_Run]] = {way: [] for way in ways}
    per_processor_second: dict[str, list[float]] = {way: [] for way in ways}
    outside = []
    for repeat in range(repeats):
        for way, carry_out in ways.items():
            bench.in_unet = 0.0
            began = time.process_time()
            runs[way].append(carry_out(bench, repeat))
            per_processor_second[way].append(runs[way][-1].n / (time.process_time() - began))
            if way == OURS:
                outside.append(1 - bench.in_unet / runs[way][-1].seconds)
    rates = {way: [run.rate for run in some] for way, some in runs.items()}
    slugs = bench.data.space.slugs
    return {
        "machine": machine(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "drawn_from": trial.name if trial else "the shipped set",
        "data": bench.data.name,
        "slots_a_class": request.n,
        "attempts_a_slot": request.attempts,
        "batch_size": request.batch_size,
        "half": request.half,
        "threads": request.threads,
        "threshold": request.threshold,
        "early_rejection": bench.threshold and asdict(bench.threshold),
        "accepted_a_second": {way: summary(some) for way, some in rates.items()},
        "ratios": _ratios(rates),
        "ratios_of_processor_time": _ratios(per_processor_second),
        "panel_accuracy": _panel_accuracy(runs, judges, bench.data),
        "outside_unet": summary(outside),
        "acceptance": {slug: round(_share(runs[OURS], label), 3) for label, slug in enumerate(slugs)},
        "accepted": {way: sum(run.n for run in some) for way, some in runs.items()},
        "attempts": {way: sum(sum(run.attempts.values()) for run in some) for way, some in runs.items()},
        "repeats": repeats,
    }


def _ratios(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Each of our ways over each of the others."""
    return {
        f"{own.removeprefix(OURS).removeprefix('_')}{'_' if own != OURS else ''}vs_{other}": _ratio(rates[own], rates[other])
        for own in rates
        for other in (PUBLISHED, PAPER, FILTER)
        if own.startswith(OURS)
    }


def _ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    return summary([own / other for own, other in zip(ours, theirs, strict=True)])


def _share(runs: list[_Run], label: int) -> float:
    return sum(len(run.accepted.get(label, ())) for run in runs) / max(1, sum(run.attempts.get(label, 0) for run in runs))


def _panel_accuracy(runs: dict[str, list[_Run]], judges: dict[str, Path], data: DataSet) -> dict[str, dict[str, Any]]:
    """What the judges say, on average, of the images that each way accepted in all its turns; empty without judges."""
    if not judges:
        return {}
    panel = [load_classifier(folder, data.space) for folder in judges.values()]
    return {way: _accuracy(panel, some) for way, some in runs.items()}


def _accuracy(panel: Sequence[Classifier], runs: Sequence[_Run]) -> dict[str, Any]:
    drawn = [(label, image) for run in runs for label, images in run.accepted.items() for image in images]
    labels, pixels = np.array([label for label, _ in drawn]), np.stack([image for _, image in drawn])
    answers = np.stack([class_probabilities(judge, pixels).argmax(axis=1) for judge in panel])
    mean = panel_accuracy(labels, answers)
    single = [round(float((answer == labels).mean()), 3) for answer in answers]
    return {"mean": round(mean.value, 3), "low": round(mean.low, 3), "high": round(mean.high, 3), "n": len(labels), "judges": single}


def _bench_of_trial(trial: Path, request: _Request) -> _Bench:
    manifest = read_manifest(trial)
    config, store = manifest.config, StageStore(trial.absolute().parents[1] / STAGES)
    gate = next((store.find(s.name, s.identity) for s in manifest.plan.stages if s.name == "gate"), None)
    if gate is None:
        raise SystemExit("the trial's gate is not there any more; run it again")
    assert config.data and config.base and config.sampling and manifest.plan.base
    data, source = open_data(config.data), manifest.plan.base
    base = load_base(source.path_or_hub, source.revision, source.identity, config.base.canvas, data.size)
    return _bench(base, trial / "adapter", gate, data, config.sampling, request)


def _bench_of_shipped_set(request: _Request) -> _Bench:
    checked = checked_request("generate")
    config, source = checked.config, checked.plan.base
    assert config.data and config.base and config.sampling and source
    ready, data = ready_set(config.data), open_data(config.data)
    base = load_base(source.path_or_hub, source.revision, source.identity, config.base.canvas, ready.size)
    return _bench(base, ready.adapter, ready.gate, data, config.sampling, request)


def _bench(base: Base, adapter: Path, gate: Path, data: DataSet, sampling: SamplingConfig, request: _Request) -> _Bench:
    load_adapter(adapter, base)
    base.pipeline.set_progress_bar_config(disable=True)
    base.pipeline.scheduler = new_scheduler(base, base_scheduler(base, sampling.scheduler))
    classifier = load_classifier(gate, data.space).to(base.unet.device)
    sampling = sampling.model_copy(update={"threshold": max(sampling.threshold, request.threshold)})
    bench = _Bench(base, data, Gate(classifier, acceptance_rules(classifier, data, sampling)), sampling, request)
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
    _pipeline(bench, bench.slots()[0].prompt, [0], _own_sampling(bench))
    attempts = [attempt_at(slot, 0, 0) for slot in bench.slots()[:2]]
    _drawer(bench)(attempts)


def _drawer(bench: _Bench) -> CandidateDrawer:
    sampling = bench.sampling
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
    sampling, after = bench.sampling, bench.request.reject_early_after
    assert after
    prompts = {c.index: bench.data.prompts.canonical(c.index) for c in bench.data.space.classes}
    attempts = [attempt_at(slot, 0, 0) for slot in slots_of(Stream.CALIBRATE, prompts, sampling.early_rejection.n)]
    found = calibrate(attempts, _drawer(bench), bench.gate, bench.request.batch_size, lambda: None)
    return fit_threshold(found, sampling.early_rejection.max_lost, after, sampling.steps)


def _ours(bench: _Bench, seed: int, speculate: bool = False, early: bool = False) -> _Run:
    request, sampling, started = bench.request, bench.sampling, now()
    draw = _drawer(bench)
    reject_early = EarlyRejection(draw, bench.gate, bench.threshold) if early and bench.threshold else None
    route = replace(route_of(sampling, draw.scheduler), preview_step=request.reject_early_after if reject_early else None)
    budget = (request.attempts, request.batch_size, seed)
    accepted: dict[int, list[np.ndarray]] = {}
    attempts: dict[int, int] = {}
    stream = sample_until_accepted(bench.slots(), draw, bench.gate, *budget, speculate=speculate, route=route, reject_early=reject_early)
    for item in stream:
        label = item.attempt.slot.label
        attempts[label] = attempts.get(label, 0) + 1
        if item.verdict.accepted and item.image is not None:
            accepted.setdefault(label, []).append(item.image)
    return _Run(accepted, attempts, now() - started)


@dataclass(frozen=True)
class _PipelineSampling:
    """How diffusers' pipeline samples."""

    scheduler: Any
    steps: int
    guidance: float
    rescale: float


def _own_sampling(bench: _Bench) -> _PipelineSampling:
    sampling = bench.sampling
    scheduler = new_scheduler(bench.base, base_scheduler(bench.base, sampling.scheduler))
    return _PipelineSampling(scheduler, sampling.steps, sampling.guidance, sampling.guidance_rescale)


def _one_at_a_time(bench: _Bench, seed: int, scheduler: str = "", **changes: Any) -> _Run:
    """Generate, classify, discard, again; as the set samples, or by another ``scheduler`` with other settings."""
    started, sampling = now(), _own_sampling(bench)
    if scheduler:
        sampling = _PipelineSampling(new_scheduler(bench.base, base_scheduler(bench.base, scheduler)), **changes)
    accepted: dict[int, list[np.ndarray]] = {}
    attempts: dict[int, int] = {}
    for slot in bench.slots():
        for number in range(bench.request.attempts):
            attempt = attempt_at(slot, number, seed)
            (image,) = _pipeline(bench, slot.prompt, [attempt.seed], sampling)
            attempts[slot.label] = attempts.get(slot.label, 0) + 1
            if bench.gate([attempt], [image])[0].accepted:
                accepted.setdefault(slot.label, []).append(image)
                break
    return _Run(accepted, attempts, now() - started)


def _batched_filter(bench: _Bench, seed: int) -> _Run:
    request, sampling, started = bench.request, _own_sampling(bench), now()
    accepted: dict[int, list[np.ndarray]] = {}
    attempts: dict[int, int] = {}
    first = {slot.label: slot for slot in reversed(bench.slots())}
    for label, slot in sorted(first.items()):
        taken = accepted.setdefault(label, [])
        while len(taken) < request.n and attempts.get(label, 0) < request.n * request.attempts:
            made = attempts.get(label, 0)
            size = min(request.batch_size, request.n - len(taken), request.n * request.attempts - made)
            batch = [attempt_at(slot, made + i, seed) for i in range(size)]
            images = _pipeline(bench, slot.prompt, [attempt.seed for attempt in batch], sampling)
            verdicts = bench.gate(batch, list(images))
            attempts[label] = made + size
            taken += [image for image, verdict in zip(images, verdicts, strict=True) if verdict.accepted]
    return _Run(accepted, attempts, now() - started)


def _pipeline(bench: _Bench, prompt: str, seeds: list[int], sampling: _PipelineSampling) -> list[np.ndarray]:
    """uint8 (H, W, 3) of diffusers' own pipeline, one for each seed."""
    side = bench.base.canvas
    bench.base.pipeline.scheduler = sampling.scheduler
    # the pipeline draws noise for sides that are multiples of eight only, and takes any that is given
    noise = [torch.randn(bench.base.latent_shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    drawn = bench.base.pipeline(
        [prompt] * len(seeds),
        latents=torch.stack(noise),
        num_inference_steps=sampling.steps,
        guidance_scale=sampling.guidance,
        guidance_rescale=sampling.rescale,
        output_type="np",
    ).images
    margin = (side - bench.data.size) // 2
    cut = drawn[:, margin : margin + bench.data.size, margin : margin + bench.data.size]
    return list(np.rint(cut * 255).astype(np.uint8))


if __name__ == "__main__":
    main()
