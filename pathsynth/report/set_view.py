"""Content of the page of a generated set: requests, images, cost, and the answers of gate and judge for each image."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathsynth.ledger.errors import RequestError
from pathsynth.metrics.agreement import wilson
from pathsynth.report.bounds import FEW_CLASSES, ImagePlan, image_plan
from pathsynth.report.collect import TrialSummary
from pathsynth.report.scores import Cell
from pathsynth.report.slot_images import ClassImages, class_images
from pathsynth.report.trial_images import (
    LEDGER,
    Attempt,
    RejectionCount,
    absent_images,
    judge_labels,
    rejection_counts,
    slot_attempts,
)
from pathsynth.report.trial_view import class_name
from pathsynth.studies.trials.state import read_state
from pathsynth.vocabulary.labels import COLORECTAL

_MOST_IMAGES, _SLOTS = 600, 40
_COLUMNS = ("stream", "label", "class_slug", "slot", "attempt", "prompt", "accepted", "denoiser_calls", "sha256", "probabilities")
_SETTINGS = (
    ("data", "data.name"),
    ("base model", "base.name"),
    ("adapter", "lora.start"),
    ("sampling steps", "sampling.steps"),
    ("scheduler", "sampling.scheduler"),
    ("guidance", "sampling.guidance"),
    ("guidance rescale", "sampling.guidance_rescale"),
    ("attempts for each image, at most", "sampling.attempts"),
    ("gate probability, at least", "sampling.threshold"),
    ("lead over the next class, at least", "sampling.margin"),
    ("sampling seed", "sampling.seed"),
    ("shard", "generate.shard"),
    ("of shards", "generate.shards"),
)


@dataclass(frozen=True)
class ClassCounts:
    """How many images of a class were requested and what became of them.

    ``exhausted``: those whose every attempt was rejected. ``not_tried``: None where it is not known. ``confirmed``: the judge's word on the
    accepted ones; None where it is not known. ``over_all``: the line of all classes.
    """

    name: str
    asked: int
    accepted: int
    exhausted: int
    not_tried: int | None
    attempts: int
    confirmed: Cell | None
    over_all: bool = False

    @property
    def per_accepted(self) -> str:
        """Attempts for each accepted image; a dash where none was accepted."""
        return f"{self.attempts / self.accepted:.2f}" if self.accepted else "–"


@dataclass(frozen=True)
class SetView:
    """A generated set as its page shows it. ``address``: of its run online; ``commands``: what draws it, or one image, again."""

    title: str
    study: str
    study_page: str
    identity: str
    address: str
    summary: str
    judge: str
    prompts: tuple[tuple[str, str], ...]
    counts: tuple[ClassCounts, ...]
    budget: tuple[tuple[str, str], ...]
    rejections: tuple[RejectionCount, ...]
    pictures: tuple[ClassImages, ...]
    notes: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    overrides: tuple[str, ...]
    every_setting: tuple[tuple[str, str], ...]
    few_classes: int


def set_view(folder: Path, trial: TrialSummary | None, study_page: str = "") -> SetView:
    """The view of a generated set.

    Args:
        folder: of the set, with its attempt log.
        trial: the trial that drew it; None for a set that ``join`` or a user put together.
        study_page: the link to the page of its study; empty without one.

    Raises:
        RequestError: the attempt log or an image is damaged.
    """
    rows = _rows(folder)
    settings = trial.settings if trial else {}
    slugs = {int(row["label"]): str(row["class_slug"]) for row in sorted(rows, key=lambda row: row["label"])}
    plan = image_plan(tuple(slugs.values()), [], 2, _MOST_IMAGES, _SLOTS)
    attempts = slot_attempts(folder, plan.slugs, plan.slots)
    counts = class_counts(rows, judge_labels(folder), _each(settings))
    return SetView(
        title=trial.name if trial else folder.absolute().name,
        study=trial.study if trial else "",
        study_page=study_page,
        identity=read_state(trial.folder).identity if trial else "",
        address=trial.address if trial else "",
        summary=_summary(counts[-1]),
        judge=_judge(counts[-1]),
        prompts=tuple(dict.fromkeys((class_name(str(row["class_slug"])), str(row["prompt"])) for row in rows if row["attempt"] == 0)),
        counts=counts,
        budget=_budget(rows, counts[-1], settings),
        rejections=rejection_counts(folder),
        pictures=class_images(attempts, plan.slugs, class_names(rows), class_name, {}),
        notes=_notes(folder, plan, attempts, rows),
        commands=_commands(folder, trial, rows),
        settings=tuple((words, settings[key]) for words, key in _SETTINGS if settings.get(key, "null") != "null"),
        overrides=trial.command_overrides if trial else (),
        every_setting=tuple(sorted(settings.items())),
        few_classes=FEW_CLASSES,
    )


def set_counts(folder: Path, settings: Mapping[str, str]) -> tuple[ClassCounts, ...]:
    """The lines of :func:`class_counts` of the set in a folder, drawn with these settings.

    Raises:
        RequestError: the attempt log is empty.
    """
    return class_counts(_rows(folder), judge_labels(folder), _each(settings))


def accepted_images(folder: Path, most: int) -> list[Path]:
    """Up to ``most`` accepted images of a set: the first of each class, then the second, and so on."""
    attempts = slot_attempts(folder, tuple(dict.fromkeys(str(row["class_slug"]) for row in _rows(folder))), most)
    return [a.path for a in attempts if a.accepted and a.path][:most]


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The attempts of a set, by class, slot and attempt.

    Raises:
        RequestError: there is none.
    """
    import pyarrow.parquet  # slow to import

    path = folder / LEDGER
    names = pyarrow.parquet.read_schema(path).names
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path, columns=[n for n in _COLUMNS if n in names]).to_pylist()
    if not rows:
        raise RequestError(f"{path} has no attempt; generate the set again")
    return sorted(rows, key=lambda row: (row["label"], row["slot"], row["attempt"]))


def class_names(rows: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """The names of the classes that gate and judge know, by their labels: ours where they fit, else those that were requested."""
    slugs = {int(row["label"]): str(row["class_slug"]) for row in rows}
    sizes = {len(row["probabilities"]) for row in rows if row.get("probabilities") is not None}
    ours = sizes <= {len(COLORECTAL)} and all(slug == COLORECTAL.slugs[i] for i, slug in slugs.items() if i < len(COLORECTAL))
    known = dict(enumerate(COLORECTAL.slugs)) if ours and max(slugs) < len(COLORECTAL) else slugs
    return {label: class_name(slug) for label, slug in known.items()}


def _each(settings: Mapping[str, str]) -> int | None:
    """Requested images of each class; None where that is not known, or where this is one shard of them."""
    n, shards = settings.get("generate.n", ""), settings.get("generate.shards", "1")
    return int(n) if n.isdigit() and shards == "1" else None


def class_counts(
    rows: Sequence[Mapping[str, Any]], judged: Mapping[tuple[str, int, int], int], each: int | None = None
) -> tuple[ClassCounts, ...]:
    """A line for each class that was tried, and one for all of them. ``each``: requested images of each class (None: those tried)."""
    by_class: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_class.setdefault(str(row["class_slug"]), []).append(row)
    lines = [_counts(class_name(slug), members, judged, each) for slug, members in by_class.items()]
    total = _counts("all classes", rows, judged, each * len(by_class) if each else None)
    return (*lines, ClassCounts(**{**vars(total), "over_all": True}))


def _counts(
    name: str, rows: Sequence[Mapping[str, Any]], judged: Mapping[tuple[str, int, int], int], asked: int | None
) -> ClassCounts:
    tried = len({(row["class_slug"], row["slot"]) for row in rows})
    accepted = [row for row in rows if row["accepted"]]
    answers = [(judged[key], row["label"]) for row in accepted if (key := (row["class_slug"], row["slot"], row["attempt"])) in judged]
    confirmed = None
    if answers:
        share = wilson(sum(answer == label for answer, label in answers), len(answers))
        confirmed = Cell(f"{share.value:.3f}", f"[{share.low:.3f}, {share.high:.3f}]", f"{len(answers):,}")
    missed = None if asked is None else max(0, asked - tried)
    return ClassCounts(name, asked or tried, len(accepted), tried - len(accepted), missed, len(rows), confirmed)


def _summary(total: ClassCounts) -> str:
    sentence = f"{total.accepted:,} of {total.asked:,} requested images were accepted by the gate, in {total.attempts:,} attempts"
    if total.accepted:
        sentence += f" ({total.per_accepted} for each accepted image)"
    if total.exhausted:
        sentence += f"; {total.exhausted:,} never passed the gate within the allowed attempts"
    if total.not_tried:
        sentence += f"; {total.not_tried:,} were not tried"
    return f"{sentence}."


def _judge(total: ClassCounts) -> str:
    if total.confirmed is None:
        return (
            "There are no judge's answers for these images: the set has no judge, or an earlier version drew it. "
            "pathsynth atlas asks a set's judge."
        )
    cell = total.confirmed
    return f"The judge confirms {cell.value} {cell.interval} of the {cell.n} accepted images. It never accepts or rejects; it only scores."


def _budget(rows: Sequence[Mapping[str, Any]], total: ClassCounts, settings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Cost of drawing: attempts, of how many allowed, and denoiser calls."""
    most = settings.get("sampling.attempts", "")
    allowed = f" of {int(most) * total.asked:,} allowed" if most.isdigit() else ""
    rows_shown = [("attempts", f"{len(rows):,}{allowed}"), ("attempts for each accepted image", total.per_accepted)]
    calls = sum(row["denoiser_calls"] for row in rows if row.get("denoiser_calls") is not None)
    if calls:
        rows_shown.append(("denoiser calls", f"{calls:,}"))
        if total.accepted:
            rows_shown.append(("denoiser calls for each accepted image", f"{calls / total.accepted:,.1f}"))
    tries = Counter(int(row["attempt"]) for row in rows if row["accepted"])
    rows_shown += [(f"accepted at attempt {number + 1}", f"{tries[number]:,}") for number in sorted(tries)]
    return tuple(rows_shown)


def _notes(folder: Path, plan: ImagePlan, attempts: Sequence[Attempt], rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What is not shown, a sentence each."""
    cut = any(row["slot"] >= plan.slots for row in rows)
    more = f"Shown are the first {plan.slots} requests of each class; all accepted images lie in images/ beside this page." if cut else ""
    lost = any(not a.accepted and a.path is None for a in attempts)
    absent = "Of a rejected attempt a generated set keeps the row, not the image; pathsynth replay draws it again." if lost else ""
    left_out = plan.sentence(len({row["class_slug"] for row in rows}))
    return tuple(said for said in (left_out, more, absent, *absent_images(folder, attempts, real=False)) if said)


def _commands(folder: Path, trial: TrialSummary | None, rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Commands that draw the set, or one image of it, again."""
    if trial is None:
        return ()
    again = [shlex.quote(word) for word in ("pathsynth", trial.settings.get("command", "generate"), *trial.command_overrides)]
    one = next((row for row in rows if not row["accepted"]), rows[0])
    place = f"multirun/{trial.study}/{folder.absolute().name}"
    replay = [shlex.quote(word) for word in ("pathsynth", "replay", place, f"{one['class_slug']}-{one['slot']:05d}-{one['attempt']}")]
    return ("Draw the set again", " ".join(again)), ("Draw one attempt again, rejected ones too", " ".join(replay))
