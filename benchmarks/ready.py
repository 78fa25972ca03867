"""What a ready set draws, scored by its own gate and judge as they are stored in it, beside real images.

    python -m benchmarks.ready --real FOLDER --out FILE.json [--n 100] [--split test] [--keep FOLDER] [--overall]
        [--judge NAME=FOLDER …] [--last NAME=FOLDER …] [OVERRIDE …]

The overrides are those of ``pathsynth generate``; without any, the shipped set draws as it does by default (``data.root=FOLDER`` names
another, sampling.steps=20 changes a setting). n slots of every class are filled as an evaluation fills them, on its own seeds, and
scored as it scores them, with ``--real``'s pathmnist.npz (a subset is fine) as the real data: ``metrics`` are records as in
a result.json, ``figures`` what both classifiers make of real images as they are, and as the base's autoencoder gives them back, which is
as well as any adapter could draw them. ``--judge`` adds a classifier (a trial of ``pathsynth classify``, trained on images that the gate
has not seen) to a panel that scores the images; ``--last`` names one more, of a further family, that stays out of the panel and has had no
part in any choice; it may be repeated. ``--keep`` is where the images stay, rejected first attempts among them (``benchmarks.usefulness``).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, named_folder
from benchmarks.requests import checked_request
from pathsynth.config import DataConfig, SamplingConfig
from pathsynth.data.catalogue import open_data, ready_set
from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.data.ready import ReadySet
from pathsynth.evaluation.image_sheets import ImageSet
from pathsynth.evaluation.panel_scores import answers_of, score_by_panel
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.records import PANEL_JUDGE
from pathsynth.metrics.agreement import Interval, panel_accuracy, wilson
from pathsynth.metrics.protocol import evaluate_set, real_reference
from pathsynth.metrics.thresholds import precision_thresholds
from pathsynth.models.base import Base, load_base, reconstructed
from pathsynth.models.image_classifier import Classifier, load_classifier
from pathsynth.models.lora import load_adapter
from pathsynth.report.formats import score_tables
from pathsynth.report.scores import Scores
from pathsynth.sampling.attempts import AttemptRow, read_attempts
from pathsynth.sampling.draw import drawer
from pathsynth.sampling.gate import Gate, class_probabilities
from pathsynth.sampling.generation import generate_set
from pathsynth.sampling.slots import Stream, slots_of
from pathsynth.studies.execution.trial_rules import acceptance_rules

_TARGETS = (0, 0.9, 0.95, 0.98)
"""Wanted precisions of the gate; 0: none."""


def main() -> None:
    """Score what a pretrained set draws, write the file, and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--real", required=True, help="folder of pathmnist.npz, a subset or whole")
    parser.add_argument("--n", type=int, default=100, help="slots a class (default: 100)")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="real images compared with (default: test)")
    parser.add_argument("--keep", type=Path, help="folder for the images and their ledger, not there yet (default: they are not kept)")
    repeated: dict[str, Any] = {"action": "append", "default": [], "type": named_folder, "metavar": "NAME=FOLDER"}
    parser.add_argument("--judge", help="one of a panel; may be repeated", **repeated)
    parser.add_argument("--last", help="one that stays out of the panel", **repeated)
    parser.add_argument("--overall", action="store_true", help="write no figures of single classes, nor those of real images")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as for `pathsynth generate`")
    words = parser.parse_args()
    if words.keep and words.keep.exists():
        parser.error(f"{words.keep} is there already; name another folder")
    with tempfile.TemporaryDirectory() as folder:
        judges = Judges(dict(words.judge), dict(words.last))
        report, tables = measure(words.real, words.n, words.split, words.keep or Path(folder), judges, words.overrides)
    if words.overall:
        report = {**report, "metrics": [m for m in report["metrics"] if m["class"] is None], "figures": {}}
    words.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(words.out, report)
    print("\n\n".join(tables))


@dataclass(frozen=True)
class Judges:
    """Folders of classifiers by name: a panel's, and those that stay out of it."""

    panel: dict[str, Path]
    last: dict[str, Path]

    def loaded(self, data: DataSet) -> tuple[dict[str, Classifier], dict[str, Classifier]]:
        """The panel, and the others, by their names as scorers."""
        panel, last = (
            {f"{PANEL_JUDGE}{name}": load_classifier(folder, data.space) for name, folder in judges.items()}
            for judges in (self.panel, self.last)
        )
        return panel, last


def measure(
    real: str, n: int, split: str, folder: Path, judges: Judges, overrides: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """All that goes into the file, and its tables in Markdown."""
    request = checked_request("generate", overrides)
    config, source = request.config, request.plan.base
    assert config.data and config.sampling and config.base and source
    ready, data = ready_set(config.data), open_data(DataConfig(name="pathmnist", size=28, root=real, allow_subset=True))
    base = load_base(source.path_or_hub, source.revision, source.identity, config.base.canvas, ready.size)
    if ready.judge is None:
        raise SystemExit(f"the set in {ready.folder} has no judge")
    classifiers = {role: load_classifier(place, data.space) for role, place in (("gate", ready.gate), ("judge", ready.judge))}
    reference = real_reference(classifiers["judge"], data, split, n * len(data.space), config.seed, partial(reconstructed, base))
    rules = acceptance_rules(classifiers["gate"], data, config.sampling)
    rows = draw_slots(ready, base, Gate(classifiers["gate"], rules, config.sampling.deterministic), data, n, config.sampling, folder)
    metrics = evaluate_set(rows, folder, classifiers["judge"], data, reference, config.seed).metrics
    panel, last = judges.loaded(data)
    images = ImageSet(tuple(rows), folder)
    for some in filter(None, (panel, last)):
        scored = score_by_panel(images, some, data, config.seed, "canonical").metrics
        metrics += tuple(m for m in scored if some is panel or m.scorer in last)  # these are no panel
    classifiers |= panel | last
    report = {
        "machine": machine(),
        "sampling": config.sampling.model_dump(mode="json"),
        "metrics": [m.to_json() for m in metrics],
        "figures": {**_of_real_images(classifiers, base, data, split), **_of_precision(rows, folder, classifiers["gate"], panel, data)},
    }
    return report, score_tables(Scores(metrics))


def draw_slots(
    ready: ReadySet, base: Base, gate: Gate, data: DataSet, n: int, sampling: SamplingConfig, folder: Path
) -> list[AttemptRow]:
    """Draw ``n`` slots of every class on an evaluation's seeds into ``folder``, which may be new; every attempt, rejected ones too."""
    load_adapter(ready.adapter, base)
    slots = slots_of(Stream.EVAL, {c.index: data.prompts.canonical(c.index) for c in data.space.classes}, n)
    draw = drawer(base, ready.size, sampling)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        own = (draw, gate, sampling, draw.scheduler, data.space)
        generate_set(folder, Path(work), slots, *own, keep_rejected=True, on_attempt=lambda _: None)
    return list(read_attempts(folder))


def _of_real_images(classifiers: dict[str, Classifier], base: Base, data: DataSet, split: str) -> dict[str, Any]:
    """Accuracy and each class's recall, by either classifier, on real images and on what the autoencoder leaves of them."""
    real = data.split(split)
    through = LabelledImages(reconstructed(base, real.images), real.labels)
    figures = {}
    for kind, images in {f"real {split} images": real, f"reconstructed {split} images": through}.items():
        for role, classifier in classifiers.items():
            right = class_probabilities(classifier, images.images).argmax(axis=1) == images.labels
            figures[f"accuracy on {kind}, {role}"] = _figure(wilson(int(right.sum()), len(images)), len(images), data.name)
            for one in data.space.classes:
                own = right[images.labels == one.index]
                figures[f"recall on {kind}, {role}, {one.slug}"] = _figure(wilson(int(own.sum()), len(own)), len(own), data.name)
    return figures


def _of_precision(
    rows: Sequence[AttemptRow], folder: Path, gate: Classifier, panel: dict[str, Classifier], data: DataSet
) -> dict[str, Any]:
    """What ``sampling.precision_target`` would buy and cost: the share of first attempts that it accepts, and what the panel says of them.

    The limits are those of :func:`pathsynth.metrics.thresholds.precision_thresholds` on the half of val that chose nothing.
    """
    held_out, first = data.assessment("val"), [r for r in rows if r.attempt == 0 and r.image]
    if not panel or held_out is None:
        return {}
    known = class_probabilities(gate, held_out.images)
    labels = np.array([r.label for r in first])
    votes = np.stack([said.argmax(axis=1) for said in answers_of(panel, first, folder, len(data.space)).values()])
    sureness = np.array([r.probabilities for r in first])
    figures = {}
    for target in _TARGETS:
        limits = precision_thresholds(known, held_out.labels, target) if target else np.zeros(len(data.space))
        taken = (sureness.argmax(axis=1) == labels) & (sureness[np.arange(len(first)), labels] >= limits[labels])
        rule = f"precision_target={target}" if target else "no limit by class"
        figures[f"first attempts accepted, {rule}"] = _figure(wilson(int(taken.sum()), len(first)), len(first), data.name)
        figures[f"accuracy of these, mean of the panel, {rule}"] = _figure(
            panel_accuracy(labels[taken], votes[:, taken]), int(taken.sum()), data.name
        )
        shares = [float(taken[labels == c.index].mean()) for c in data.space.classes]
        rarest = data.space.classes[int(np.argmin(shares))]
        own = taken[labels == rarest.index]
        figures[f"first attempts accepted of the class accepted least ({rarest.slug}), {rule}"] = _figure(
            wilson(int(own.sum()), len(own)), len(own), data.name
        )
    return figures


def _figure(interval: Interval, n: int, data: str) -> dict[str, Any]:
    return {"value": interval.value, "low": interval.low, "high": interval.high, "n": n, "data": data}


if __name__ == "__main__":
    main()
