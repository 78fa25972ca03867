"""Whether a classifier learns from accepted images what it needs for real ones.

    python -m benchmarks.usefulness TRIAL --out FILE.json [--real FOLDER] [--first FILE.npz] [--seeds 0,1,2] [--shares 0.01,0.1,1]
        [--epochs N] [--split test]

TRIAL is the folder of a finished trial of ``pathsynth run``, or of ``pathsynth generate`` from the shipped set, whose gate is then the
recipe and whose real images are those of ``--real``. The gate's architecture, as that gate was trained, is trained anew on the trial's
accepted images alone, on shares of the real training images alone, and on both together, with each seed; val chooses the epoch, and the
real images of ``--split`` are scored (classification accuracy score: Ravuri and Vinyals 2019, arXiv 1905.10887). A logistic regression on
colour histograms of the real training images, and chance, stand beside. Of several seeds: mean with Student's 95% interval.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.machine import machine
from pathsynth.config import ClassifierConfig, DataConfig, RunConfig, parse_config
from pathsynth.config.shipped import assets_folder
from pathsynth.data.catalogue import open_data
from pathsynth.data.dataset import DataSet, LabelledImages, first_of_each_class
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.records import read_result
from pathsynth.metrics.colour import fit_colour
from pathsynth.sampling.attempts import read_attempts
from pathsynth.sampling.pictures import read_png
from pathsynth.study.claim import read_manifest
from pathsynth.training.classifier import train_classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "trial", type=Path, help="folder of a finished trial of `pathsynth run`, or of `pathsynth generate` from the shipped set"
    )
    parser.add_argument("--real", help="folder of pathmnist.npz, whole or a subset, where the trial drew from the shipped set")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--first", type=Path, help="first attempts, accepted or not (benchmarks.ready --images): trained on alone, too")
    parser.add_argument("--seeds", default="0,1,2", help="training seeds (default: 0,1,2)")
    parser.add_argument("--shares", default="0.01,0.1,1", help="of the real training images (default: 0.01,0.1,1)")
    parser.add_argument("--epochs", type=int, help="epochs over as many images as all real ones (default: the gate's)")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="real images that are scored (default: test)")
    words = parser.parse_args()
    seeds, shares = [int(s) for s in words.seeds.split(",")], [float(s) for s in words.shares.split(",")]
    report = measure(words.trial, words.real, words.first, seeds, shares, words.epochs, words.split)
    words.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(words.out, report)


def measure(
    trial: Path,
    real_folder: str | None,
    first: Path | None,
    seeds: Sequence[int],
    shares: Sequence[float],
    epochs: int | None,
    split: str,
) -> dict[str, dict]:
    """All figures, as they go into the file."""
    config = _trained_in(trial, real_folder)
    assert config.data and config.gate
    data, drawn = open_data(config.data), _accepted(trial)
    real = data.split("train")
    sources = {"synthetic": drawn}
    if first:
        with np.load(first) as file:
            sources["synthetic, before filtering"] = LabelledImages(file["images"], file["labels"])
    for share in shares:
        some = real if share >= 1 else real.take(first_of_each_class(real.labels, max(len(data.space), round(share * len(real)))))
        sources |= {f"real {share:.0%}": some, f"real {share:.0%} + synthetic": _both(some, drawn)}
    epochs = epochs or config.gate.epochs
    rows = {name: _trained_on(images, name, data, config.gate, seeds, len(real), epochs, split) for name, images in sources.items()}
    scored = data.split(split)
    colour = float((fit_colour(real.images, real.labels, len(data.space)).predict(scored.images) == scored.labels).mean())
    beside = {"colour alone, real 100%": {"accuracy": round(colour, 4)}, "chance": {"accuracy": round(1 / len(data.space), 4)}}
    for name, row in beside.items():
        print(f"{name}: {row}", flush=True)
    return {
        "rows": {**rows, **beside},
        "about": {
            "data": data.name,
            "split": split,
            "n": len(scored),
            "seeds": list(seeds),
            "trial": trial.name,
            "epochs": epochs,
            "machine": machine(),
        },
    }


def _trained_in(trial: Path, real_folder: str | None) -> RunConfig:
    """Settings of the trial that trained the gate: the given one, or the one that the shipped set was exported from."""
    config = read_manifest(trial).config
    if config.data is None or config.data.name != "ready":
        return config
    if real_folder is None:
        raise SystemExit("the trial drew from the shipped set, which has no images; name the folder of pathmnist.npz with --real")
    exported = parse_config(read_result(assets_folder() / "tissue" / "result.json").settings)
    return exported.model_copy(update={"data": DataConfig(name="pathmnist", size=28, root=real_folder, allow_subset=True)})


def _accepted(trial: Path) -> LabelledImages:
    rows = [row for row in read_attempts(trial) if row.accepted and row.image]
    return LabelledImages(np.stack([read_png(trial / str(row.image)) for row in rows]), np.array([row.label for row in rows]))


def _both(one: LabelledImages, other: LabelledImages) -> LabelledImages:
    return LabelledImages(np.concatenate([one.images, other.images]), np.concatenate([one.labels, other.labels]))


def _trained_on(
    images: LabelledImages, name: str, data: DataSet, gate: ClassifierConfig, seeds: Sequence[int], shown: int, epochs: int, split: str
) -> dict[str, float | int | list[float]]:
    """Accuracy and macro-F1 on real images; a smaller set is repeated until an epoch shows ``shown`` images, so that val looks as often."""
    repeated = images.take(np.resize(np.arange(len(images)), max(shown, len(images))))
    changed = replace(data, read=lambda which: repeated if which == "train" else data.split(which), name=f"{data.name}, {name}")
    found: dict[str, list[float]] = {"accuracy": [], "macro_f1": []}
    for seed in seeds:
        own = gate.model_copy(update={"part": "all", "epochs": epochs, "seed": seed, "patience": epochs})
        with tempfile.TemporaryDirectory() as folder:
            (scores,) = train_classifier(own, changed, Path(folder), [], None, (split,))
        found["accuracy"].append(scores.agreement.accuracy)
        found["macro_f1"].append(scores.agreement.macro_f1)
    row: dict[str, float | int | list[float]] = {"images": len(images)}
    for metric, values in found.items():
        row[metric] = round(float(np.mean(values)), 4)
        if len(values) > 1:
            low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
            row[f"{metric}, interval"] = [round(float(low), 4), round(float(high), 4)]
    print(f"{name}: {row}", flush=True)
    return row


if __name__ == "__main__":
    main()
