"""A full fine-tune of the base beside an adapter: the same images, captions, batches, noise and steps, every weight trained.

``python -m benchmarks.full_finetune TRIAL [--lr 1e-3] --out FILE.json`` takes a finished trial of ``pathsynth run``, trains the
base's whole UNet as that trial trained its adapter (its learning rate apart), draws the first attempt at each of the trial's
slots, and writes what gate and judge say of them beside what the trial's ``result.json`` holds. Nothing is filtered.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from benchmarks.machine import machine
from pathsynth.config import RunConfig
from pathsynth.data.catalogue import open_data
from pathsynth.data.dataset import DataSet
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.records import read_result
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.metrics.agreement import Interval, macro_interval
from pathsynth.metrics.fidelity import kid
from pathsynth.metrics.prdc import prdc
from pathsynth.metrics.protocol import BEFORE
from pathsynth.models.base import Base, load_base
from pathsynth.models.image_classifier import load_classifier
from pathsynth.sampling.draw import drawer
from pathsynth.sampling.gate import class_features, class_probabilities
from pathsynth.sampling.slots import Stream, attempt_at, slots_of
from pathsynth.studies.trials.manifest import read_manifest
from pathsynth.training.batches import BatchPlan
from pathsynth.training.latent_cache import LatentCache, load_cache
from pathsynth.training.lora_module import FinetuneParts, LoraFinetuning


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, train the whole UNet, write the figures to ``--out`` and print the scores of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", type=Path, help="folder of a finished trial of `pathsynth run`")
    parser.add_argument("--lr", type=float, default=1e-3, help="AdamW's learning rate for the whole UNet (default: 1e-3)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args(words)
    report = compare(arguments.trial, arguments.lr)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out, report)
    for scores in (report["adapter"], report["full"]):
        print(scores)


def compare(trial: Path, lr: float) -> dict[str, Any]:
    """Scores of the trial's adapter and of the full fine-tune, each ``metric: {value, low, high, n}``."""
    manifest = read_manifest(trial)
    config, store = manifest.config, StageStore(trial.absolute().parents[1] / STAGES)
    folders = {stage.name: store.find(stage.name, stage.identity) for stage in manifest.plan.stages}
    assert config.data and config.base and manifest.plan.base
    data, source = open_data(config.data), manifest.plan.base
    base = load_base(source.path_or_hub, source.revision, source.identity, config.base.canvas, data.size)
    started = time.monotonic()
    train_whole(base, config, load_cache(_there(folders["cache"]), data, base), lr)
    seconds = time.monotonic() - started
    images, asked = first_attempts(base, config, data)
    classifiers = {role: load_classifier(_there(folders[role]), data.space) for role in ("gate", "judge")}
    scores = {}
    for role, classifier in classifiers.items():
        predicted = class_probabilities(classifier, images).argmax(axis=1)
        scores[f"macro_f1, {role}"] = _record(macro_interval(asked, predicted, len(data.space), config.seed)["macro_f1"], len(asked))
    real, fake = (class_features(classifiers["judge"], some) for some in (data.split(_split(config)).images, images))
    scores["kid"] = _record(kid(real, fake, config.seed), len(asked))
    scores["coverage"] = _record(prdc(real, fake, config.seed).coverage, len(asked))
    return {
        "data": data.name,
        "trial": manifest.name,
        "steps": config.trainer.max_steps,
        "batch_size": config.training.batch_size,
        "seed": config.seed,
        "adapter": _of_trial(trial),
        "full": {**scores, "lr": lr, "seconds": round(seconds)},
        "machine": machine(),
    }


def train_whole(base: Base, config: RunConfig, cache: LatentCache, lr: float) -> None:
    """Train every weight of the UNet and leave its averaged weights in place, where averaging is on."""
    assert config.objective
    base.unet.requires_grad_(True).train()
    parameters = list(base.unet.parameters())
    plan = BatchPlan(cache, config.objective, config.training.batch_size, config.seed, base.scheduler.config.num_train_timesteps)
    optimizer = {"_target_": "torch.optim.AdamW", "lr": lr, "weight_decay": 1e-4}
    module = LoraFinetuning(FinetuneParts(base, parameters, plan, config.training, optimizer, config.schedule))
    trainer = pl.Trainer(
        max_steps=config.trainer.max_steps,
        accumulate_grad_batches=config.trainer.accumulate_grad_batches,
        gradient_clip_val=config.trainer.gradient_clip_val or None,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(module)
    module.use_averaged_weights()
    base.unet.eval()


def first_attempts(base: Base, config: RunConfig, data: DataSet) -> tuple[np.ndarray, np.ndarray]:
    """What the trial's evaluation would draw first at each of its slots: uint8 (N, size, size, 3), and the requested labels."""
    assert config.evaluate and config.sampling
    prompts = {c.index: data.prompts.canonical(c.index) for c in data.space.classes}
    attempts = [attempt_at(slot, 0, config.sampling.seed) for slot in slots_of(Stream.EVAL, prompts, config.evaluate.n)]
    draw, size = drawer(base, data.size, config.sampling), config.sampling.batch_size
    drawn = [image for i in range(0, len(attempts), size) for image in draw(attempts[i : i + size])]
    kept = [i for i, image in enumerate(drawn) if image is not None]
    return np.stack([image for image in drawn if image is not None]), np.array([attempts[i].slot.label for i in kept])


def _of_trial(trial: Path) -> dict[str, Any]:
    result = read_result(trial / "result.json")
    found: dict[str, Any] = {"seconds": result.timings.get("finetune")}
    for m in result.metrics:
        if m.stage == BEFORE and m.class_ is None and m.metric in ("macro_f1", "kid", "coverage"):
            name = f"macro_f1, {m.scorer}" if m.metric == "macro_f1" else m.metric
            found[name] = {"value": m.value, "low": m.low, "high": m.high, "n": m.n}
    return found


def _record(interval: Interval, n: int) -> dict[str, float | int]:
    return {"value": interval.value, "low": interval.low, "high": interval.high, "n": n}


def _split(config: RunConfig) -> str:
    assert config.evaluate
    return config.evaluate.split


def _there(folder: Path | None) -> Path:
    if folder is None:
        raise SystemExit("the trial's stages are not there any more; run it again")
    return folder


if __name__ == "__main__":
    main()
