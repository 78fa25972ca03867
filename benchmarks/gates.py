"""What other gates would accept of the same attempts, and what a panel of judges says of it.

    python -m benchmarks.gates --real FOLDER --out FILE.json --gate NAME=FOLDER[:FOLDER…] … --judge NAME=FOLDER …
        [--last NAME=FOLDER] [--n 50] [--keep FOLDER] [OVERRIDE …]

The overrides are those of ``pathsynth generate``; without any, the shipped set draws. Every slot gets all of its attempts
(``sampling.attempts``), each from the seed that it has under any gate. Then each gate in turn takes, of every slot, the first attempt that
it accepts: what it fills, what that costs, and what the judges say of it differ by the gate alone. ``--gate`` names trials of ``pathsynth
classify`` (``--gate shipped`` is that of the set); of several folders the answer is the mean of their calibrated probabilities, and a
second gate, NAME_unanimous, accepts what each of them would. NAME_surest takes, of all attempts at a slot, the one in which the gate
gives the wanted class most probability. ``--judge`` and ``--last`` are as in ``benchmarks.ready``: they have been
trained on images that no gate has candidate. Coverage is of the val or test images in the features of the set's own judge.
``--keep`` is where the images stay; a folder of an earlier call with the same settings is read instead of drawn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.ready import draw_slots
from benchmarks.requests import checked_request
from pathsynth.config import DataConfig, SamplingConfig
from pathsynth.data.catalogue import open_data, ready_set
from pathsynth.data.dataset import DataSet
from pathsynth.data.ready import ReadySet
from pathsynth.evaluation.panel_scores import answers_of
from pathsynth.ledger.atomic import write_json
from pathsynth.metrics.agreement import Interval, panel_accuracy, wilson
from pathsynth.metrics.prdc import prdc
from pathsynth.models.base import load_base
from pathsynth.models.image_classifier import Classifier, load_classifier
from pathsynth.sampling.acceptance_rules import Candidate
from pathsynth.sampling.attempts import AttemptRow, read_attempts
from pathsynth.sampling.gate import Gate, class_features, class_probabilities
from pathsynth.sampling.pictures import read_png

SHIPPED = "shipped"


@dataclass(frozen=True)
class Never:
    """A rule that no image meets, so that every slot gets all of its attempts."""

    reason: str = "each attempt is drawn"

    def slack(self, candidate: Candidate, label: int) -> float:
        """-1 for every image: no image meets it."""
        return -1.0


@dataclass(frozen=True)
class Drawn:
    """All attempts at all slots, in the order of their slots: rows, images (uint8 (N, H, W, 3)) and labels (int64 (N,))."""

    rows: tuple[AttemptRow, ...]
    images: np.ndarray
    labels: np.ndarray
    folder: Path

    @property
    def slots(self) -> Iterator[list[int]]:
        """The places of each slot's attempts, in their order."""
        for _, places in groupby(range(len(self.rows)), lambda i: (self.rows[i].label, self.rows[i].slot)):
            yield list(places)


def main() -> None:
    """Draw, let each gate choose, ask the judges, write the file, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--real", required=True, help="folder of pathmnist.npz, a subset or whole")
    parser.add_argument("--gate", action="append", required=True, type=_gate, metavar="NAME=FOLDER[:FOLDER…]", help="may be repeated")
    parser.add_argument("--judge", action="append", required=True, type=_gate, metavar="NAME=FOLDER", help="may be repeated")
    parser.add_argument("--last", type=_gate, metavar="NAME=FOLDER", help="a judge that stays out of the panel")
    parser.add_argument("--n", type=int, default=50, help="slots a class (default: 50)")
    parser.add_argument("--split", default="test", choices=("val", "test"), help="real images of the coverage (default: test)")
    parser.add_argument("--keep", type=Path, help="folder for the images and their ledger")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as for `pathsynth generate`")
    words = parser.parse_args()
    request = checked_request("generate", words.overrides)
    config, source = request.config, request.plan.base
    assert config.data and config.sampling and config.base and source
    ready, data = ready_set(config.data), open_data(DataConfig(name="pathmnist", size=28, root=words.real, allow_subset=True))
    with tempfile.TemporaryDirectory() as folder:
        base = partial(load_base, source.path_or_hub, source.revision, source.identity, config.base.canvas, ready.size)
        drawn = _drawn(ready, base, data, words.n, config.sampling, words.keep or Path(folder))
        judges = {name: load_classifier(one, data.space) for name, (one,) in words.judge}
        last = {name: load_classifier(one, data.space) for name, (one,) in filter(None, [words.last])}
        report = {
            "machine": machine(),
            "sampling": config.sampling.model_dump(mode="json"),
            "slots": words.n * len(data.space),
            "gates": compared(drawn, _choices(words.gate, ready, data, drawn), judges, last, data, _of_real(ready, data, words.split)),
        }
    words.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(words.out, report)
    print(table(report["gates"]))


def _gate(text: str) -> tuple[str, tuple[Path, ...]]:
    name, _, folders = text.partition("=")
    places = tuple(Path(folder) for folder in folders.split(os.pathsep) if folder)
    if not name or any(not place.is_dir() for place in places) or (not places and name != SHIPPED):
        raise argparse.ArgumentTypeError(f"{text} is not a name and folders of classifiers, as in four=multirun/gates/<trial>:…")
    return name, places


def _drawn(ready: ReadySet, load: Any, data: DataSet, n: int, sampling: SamplingConfig, folder: Path) -> Drawn:
    if (folder / "attempts.parquet").is_file():
        rows = list(read_attempts(folder))
    else:
        gate = Gate(load_classifier(ready.gate, data.space), [Never()], sampling.deterministic)
        rows = draw_slots(ready, load(), gate, data, n, sampling, folder)
    rows = sorted((r for r in rows if r.image), key=lambda r: (r.label, r.slot, r.attempt))
    images = np.stack([read_png(folder / str(r.image)) for r in rows])
    return Drawn(tuple(rows), images, np.array([r.label for r in rows]), folder)


@dataclass(frozen=True)
class Choice:
    """What a gate takes: the places of the chosen attempts, int64 (S,), the attempts it needed, and whether it accepts each, bool (N,)."""

    places: np.ndarray
    tries: int
    accepts: np.ndarray


def _choices(gates: Sequence[tuple[str, tuple[Path, ...]]], ready: ReadySet, data: DataSet, drawn: Drawn) -> dict[str, Choice]:
    """What each gate takes, by its name: the first attempt of a slot whose most probable class is the wanted one."""
    choices = {"none": first_accepted(drawn, np.ones(len(drawn.rows), dtype=bool))}
    for name, folders in gates:
        members = [load_classifier(folder, data.space) for folder in folders or (ready.gate,)]
        answers = np.stack([class_probabilities(member, drawn.images) for member in members])
        mean = answers.mean(axis=0)
        choices[name] = first_accepted(drawn, mean.argmax(axis=1) == drawn.labels)
        choices[f"{name}_surest"] = surest(drawn, mean)
        if len(members) > 1:
            choices[f"{name}_unanimous"] = first_accepted(drawn, (answers.argmax(axis=2) == drawn.labels).all(axis=0))
    return choices


@dataclass(frozen=True)
class RealFeatures:
    """Real images in the features of the set's own judge, float (M, F), and the judge."""

    judge: Classifier
    features: np.ndarray


def _of_real(ready: ReadySet, data: DataSet, split: str) -> RealFeatures:
    if ready.judge is None:
        raise SystemExit(f"the set in {ready.folder} has no judge")
    judge = load_classifier(ready.judge, data.space)
    return RealFeatures(judge, class_features(judge, data.split(split).images))


def compared(
    drawn: Drawn,
    choices: Mapping[str, Choice],
    judges: Mapping[str, Classifier],
    last: Mapping[str, Classifier],
    data: DataSet,
    real: RealFeatures,
) -> dict[str, Any]:
    """Figures of each gate, by its name, and of the first attempts with no gate at all (``none``)."""
    answers = answers_of({**judges, **last}, drawn.rows, drawn.folder, len(data.space))
    votes = {name: said.argmax(axis=1) for name, said in answers.items()}
    features = class_features(real.judge, drawn.images)
    figures = {}
    for name, choice in choices.items():
        places = choice.places
        figures[name] = {
            **_cost(drawn, choice),
            **_by_judges(drawn.labels[places], {j: votes[j][places] for j in judges}, {j: votes[j][places] for j in last}),
            "weakest_class": _weakest(drawn.labels[places], np.stack([votes[j][places] for j in judges]), data),
            "coverage": _figure(prdc(real.features, features[places], seed=0).coverage, len(real.features)),
        }
    return figures


def first_accepted(drawn: Drawn, accepts: np.ndarray) -> Choice:
    """The first accepted attempt of each slot that has one."""
    places, tries = [], 0
    for attempts in drawn.slots:
        first = next((k for k, place in enumerate(attempts) if accepts[place]), None)
        tries += len(attempts) if first is None else first + 1
        if first is not None:
            places.append(attempts[first])
    return Choice(np.array(places, dtype=np.int64), tries, accepts)


def surest(drawn: Drawn, probabilities: np.ndarray) -> Choice:
    """Of each slot the attempt whose wanted class has most probability; all of them are drawn for it."""
    own = probabilities[np.arange(len(drawn.labels)), drawn.labels]
    places = np.array([max(attempts, key=lambda place: own[place]) for attempts in drawn.slots], dtype=np.int64)
    return Choice(places, len(drawn.rows), np.isin(np.arange(len(drawn.rows)), places))


def _cost(drawn: Drawn, choice: Choice) -> dict[str, Any]:
    firsts = np.array([row.attempt == 0 for row in drawn.rows])
    slots = sum(1 for _ in drawn.slots)
    return {
        "first_attempts_accepted": _figure(wilson(int((choice.accepts & firsts).sum()), int(firsts.sum())), int(firsts.sum())),
        "slots_filled": _figure(wilson(len(choice.places), slots), slots),
        "attempts_per_accepted": choice.tries / max(1, len(choice.places)),
    }


def _by_judges(labels: np.ndarray, panel: Mapping[str, np.ndarray], last: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Accuracy of the chosen images: the panel's mean, each of its judges, and the one that stays out of it."""
    each = {**panel, **last}
    return {
        "panel_mean": _figure(panel_accuracy(labels, np.stack(list(panel.values()))), len(labels)),
        **{name: _figure(wilson(int((votes == labels).sum()), len(labels)), len(labels)) for name, votes in each.items()},
    }


def _weakest(labels: np.ndarray, votes: np.ndarray, data: DataSet) -> dict[str, Any]:
    """The class with the lowest accuracy by the panel's mean."""
    of_class = {c.slug: votes[:, labels == c.index] for c in data.space.classes if (labels == c.index).any()}
    index = {c.slug: c.index for c in data.space.classes}
    slug = min(of_class, key=lambda s: float((of_class[s] == index[s]).mean()))
    found = panel_accuracy(np.full(of_class[slug].shape[1], index[slug]), of_class[slug])
    return {"class": slug, **_figure(found, of_class[slug].shape[1])}


def _figure(found: Interval, n: int) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "n": n}


def table(gates: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures in Markdown."""
    shown = ["first_attempts_accepted", "slots_filled", "attempts_per_accepted", "panel_mean", "weakest_class", "coverage"]
    rest = [key for key in next(iter(gates.values())) if key not in shown]
    columns = [*shown, *rest]
    lines = [f"| gate | {' | '.join(name.replace('_', ' ') for name in columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    lines += [f"| {name} | {' | '.join(_cell(own[key]) for key in columns)} |" for name, own in gates.items()]
    return "\n".join(lines)


def _cell(figure: Any) -> str:
    if isinstance(figure, float):
        return f"{figure:.2f}"
    named = f"{figure['class']} " if "class" in figure else ""
    return f"{named}{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}], n = {figure['n']}"


if __name__ == "__main__":
    main()
