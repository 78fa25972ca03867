"""Whether a classifier learns from accepted images what it needs for real ones.

    python -m benchmarks.usefulness IMAGES --out FILE.json [--real FOLDER] [--seeds 0,1,2] [--shares 0.01,0.1,1] [--epochs N] [--split test]

IMAGES is the folder of a finished trial of ``pathsynth run``, or with ``--real`` what ``benchmarks.ready --keep`` drew from the shipped
set: its gate is then the recipe. The gate's architecture, as that gate was trained, is trained again on the accepted images
alone, on the first attempts alone (accepted or not: does the filter help?), on shares of the real training images alone, and on these and
the accepted together, with each seed; half of val chooses the epoch, and the real images of ``--split`` (of val the other half) are
scored (classification accuracy score: Ravuri and Vinyals 2019, arXiv 1905.10887). Of a set that is smaller than all real images, images
are repeated until an epoch shows as many. A logistic regression on colour histograms of the real training images, and chance, stand
beside. Of several seeds: mean with Student's 95% interval.
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
from pathsynth.config import AnyClassifier, DataConfig, RunConfig, parse_config
from pathsynth.config.shipped import assets_folder
from pathsynth.data.catalogue import open_data
from pathsynth.data.dataset import DataSet, LabelledImages, first_of_each_class
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.records import read_result
from pathsynth.metrics.colour import fit_colour
from pathsynth.sampling.attempts import AttemptRow, read_attempts
from pathsynth.sampling.pictures import read_png
from pathsynth.studies.trials.manifest import read_manifest
from pathsynth.training.train_classifier import train_classifier


def main() -> None:
    """Read the command line, measure, and write the figures to ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of a finished trial of `pathsynth run`, or of `benchmarks.ready --keep`")
    parser.add_argument("--real", help="folder of pathmnist.npz, whole or a subset, for images of the shipped set")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--seeds", default="0,1,2", help="training seeds (default: 0,1,2)")
    parser.add_argument("--shares", default="0.01,0.1,1", help="of the real training images (default: 0.01,0.1,1)")
    parser.add_argument("--epochs", type=int, help="epochs over as many images as all real ones (default: the gate's)")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="real images that are scored (default: test)")
    words = parser.parse_args()
    seeds, shares = [int(s) for s in words.seeds.split(",")], [float(s) for s in words.shares.split(",") if s]
    report = measure(words.images, words.real, seeds, shares, words.epochs, words.split)
    words.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(words.out, report)


def measure(
    folder: Path,
    real_folder: str | None,
    seeds: Sequence[int],
    shares: Sequence[float],
    epochs: int | None,
    split: str,
) -> dict[str, dict]:
    """All figures, as they go into the file."""
    config = _of_the_shipped_set(real_folder) if real_folder else read_manifest(folder).config
    assert config.data and config.gate
    data, rows = open_data(config.data), [row for row in read_attempts(folder) if row.image]
    scored = data.assessment(split)
    if scored is None:
        raise RequestError("val has fewer than two images of a class, and all of it chose the epoch; score on --split test")
    real, drawn = data.split("train"), _pictures(folder, [row for row in rows if row.accepted])
    sources = {"synthetic": drawn, "synthetic, before filtering": _pictures(folder, [row for row in rows if row.attempt == 0])}
    for share in shares:
        some = real if share >= 1 else real.take(first_of_each_class(real.labels, max(len(data.space), round(share * len(real)))))
        sources |= {f"real {share:.0%}": some, f"real {share:.0%} + synthetic": _both(some, drawn)}
    epochs = epochs or config.gate.epochs
    scores = {name: _trained_on(images, name, data, config.gate, seeds, len(real), epochs, split) for name, images in sources.items()}
    colour = float((fit_colour(real.images, real.labels, len(data.space)).predict(scored.images) == scored.labels).mean())
    beside = {"colour alone, real 100%": {"accuracy": round(colour, 4)}, "chance": {"accuracy": round(1 / len(data.space), 4)}}
    for name, row in beside.items():
        print(f"{name}: {row}", flush=True)
    return {
        "rows": {**scores, **beside},
        "about": {
            "data": data.name,
            "split": split,
            "n": len(scored),
            "seeds": list(seeds),
            "epochs": epochs,
            "machine": machine(),
        },
    }


def _of_the_shipped_set(real_folder: str) -> RunConfig:
    """Settings of the trial that the shipped set was exported from, on the files of that folder."""
    exported = parse_config(read_result(assets_folder() / "tissue" / "result.json").settings)
    return exported.model_copy(update={"data": DataConfig(name="pathmnist", size=28, root=real_folder, allow_subset=True)})


def _pictures(folder: Path, rows: Sequence[AttemptRow]) -> LabelledImages:
    return LabelledImages(np.stack([read_png(folder / str(row.image)) for row in rows]), np.array([row.label for row in rows]))


def _both(one: LabelledImages, other: LabelledImages) -> LabelledImages:
    return LabelledImages(np.concatenate([one.images, other.images]), np.concatenate([one.labels, other.labels]))


def _trained_on(
    images: LabelledImages, name: str, data: DataSet, gate: AnyClassifier, seeds: Sequence[int], shown: int, epochs: int, split: str
) -> dict[str, float | int | list[float]]:
    """Accuracy and macro-F1 on real images; a smaller set is repeated until an epoch shows ``shown`` images, so that val looks as often."""
    repeated = images.take(np.resize(np.arange(len(images)), max(shown, len(images))))
    changed = replace(data, read=lambda which: repeated if which == "train" else data.split(which), name=f"{data.name}, {name}")
    found: dict[str, list[float]] = {"accuracy": [], "macro_f1": []}
    for seed in seeds:
        own = gate.model_copy(update={"part": "all", "epochs": epochs, "seed": seed, "patience": epochs})
        with tempfile.TemporaryDirectory() as folder:
            (scores,) = train_classifier(own, changed, Path(folder), [], (), (split,))
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
