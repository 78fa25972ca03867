"""What the page of one trial shows, in the order in which it shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from pathsynth.ledger.records import Metric, Missing, Result
from pathsynth.report import paper
from pathsynth.report.bounds import FEW_CLASSES, WEAKEST, ImagePlan, image_plan, weakest
from pathsynth.report.collect import TrialSummary
from pathsynth.report.panel_view import PanelView, panel_view
from pathsynth.report.plots import GATE_COLOUR, history_plot, reliability_plot
from pathsynth.report.scores import AFTER, BEFORE, COLOUR, GATE, JUDGE, MAIN_SCORES, REJECTED, Cell, Scores, cell
from pathsynth.report.slot_images import LARGEST, ClassImages, class_images
from pathsynth.report.strips import Strip, image_strip, image_uri, png_uri
from pathsynth.report.summary import Independence, independence, remarks, summary
from pathsynth.report.trial_images import (
    LEDGER,
    RejectionCount,
    absent_images,
    nearest_pairs,
    real_images,
    rejection_counts,
    slot_attempts,
)
from pathsynth.report.validation_sheets import small_sheet, spread, validation_sheets, webp_uri
from pathsynth.vocabulary.durations import format_duration
from pathsynth.vocabulary.labels import COLORECTAL, slug_words

_CLASS_NAMES = {c.slug: c.name for c in COLORECTAL.classes}

_KEY_SETTINGS = (
    ("base model", "base.name"),
    ("LoRA rank", "lora.rank"),
    ("LoRA targets", "lora.targets"),
    ("training steps", "trainer.max_steps"),
    ("batch size", "training.batch_size"),
    ("optimizer", "optimizer._target_"),
    ("learning rate", "optimizer.lr"),
    ("sampling steps", "sampling.steps"),
    ("scheduler", "sampling.scheduler"),
    ("timestep spacing, not as the base states", "sampling.scheduler_settings.timestep_spacing"),
    ("guidance", "sampling.guidance"),
    ("guidance rescale", "sampling.guidance_rescale"),
    ("tries per image, at most", "sampling.attempts"),
    ("gate probability, at least", "sampling.threshold"),
    ("lead over the next class, at least", "sampling.margin"),
    ("images per class", "evaluate.n"),
    ("compared with real split", "evaluate.split"),
    ("gate", "gate.architecture"),
    ("judge", "judge.architecture"),
    ("gate of your own", "gate.module._target_"),
    ("judge of your own", "judge.module._target_"),
    ("prompt", "generate.prompt"),
    ("training seed", "seed"),
    ("sampling seed", "sampling.seed"),
)


_SLOTS, _PAIRS, _MOST_SHEETS = 10, 5, 8
_MOST_IMAGES = 540
"""Generated and real images on a page; those beside training images come on top."""


@dataclass(frozen=True)
class Row:
    """A heading and numbers; None is "not measured". ``over_all``: it is the one over all classes."""

    name: str
    cells: tuple[Cell | None, ...]
    over_all: bool = False


@dataclass(frozen=True)
class ClassTable:
    """A row for each class. Of many classes ``first`` are the weakest, and ``every`` is all of them, to be unfolded; else it is empty."""

    first: tuple[Row, ...]
    every: tuple[Row, ...]


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: a row for each requested class, a column for each class answered.

    Of many classes it has no ``rows``: ``heat`` is a picture of it (a PNG data URI), and ``errors`` are its largest other entries,
    as requested class, predicted class, count, and images requested.
    """

    title: str
    rows: tuple[MatrixRow, ...]
    heat: str | None
    errors: tuple[tuple[str, str, int, int], ...]


@dataclass(frozen=True)
class MatrixRow:
    """Counts, and each one's share of the row in [0, 1]."""

    name: str
    cells: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Nearest:
    """One class's accepted images nearest to training images, each followed by that training image; None where it has none."""

    name: str
    pairs: Strip | None


@dataclass(frozen=True)
class TrialView:
    """A trial as its page shows it."""

    title: str
    study: str
    study_page: str
    data: str
    summary: str
    remarks: tuple[str, ...]
    independence: Independence
    cards: tuple[tuple[str, Cell | None, str], ...]
    settings: tuple[tuple[str, str], ...]
    overrides: tuple[str, ...]
    every_setting: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    timings: tuple[tuple[str, str], ...]
    identity: str
    maker: str
    overall: tuple[Row, ...]
    beside_paper: bool
    classes: int
    by_class: ClassTable
    filtering: ClassTable
    rejections: tuple[RejectionCount, ...]
    matrices: tuple[Matrix, ...]
    short_names: tuple[str, ...]
    closeness: tuple[Row, ...]
    class_closeness: ClassTable
    trust: tuple[Row, ...]
    common_errors: tuple[Row, ...]
    panel: PanelView | None
    custom_metrics: tuple[Row, ...]
    pictures: tuple[ClassImages, ...]
    nearest: tuple[Nearest, ...]
    absent_images: tuple[str, ...]
    few_classes: int
    address: str
    history: str | None
    sheets: tuple[tuple[int, str], ...]
    reliability: str | None
    missing: tuple[Missing, ...]


def trial_view(trial: TrialSummary, real: bool = False, study_page: str = "") -> TrialView:
    """The view of a finished trial. Images of real tissue are in it only if ``real``; phantoms show no patient and always are.

    ``study_page``: the link to the page of its study; empty without one.

    Raises:
        RequestError: one of its images is damaged.
    """
    result = trial.result
    assert result is not None, "only a finished trial has a page"
    scores = Scores(result.metrics)
    slugs = scores.slugs
    shown = real or all(m.data.startswith("phantom") for m in result.metrics)
    plan = image_plan(slugs, [scores], 3, _MOST_IMAGES, _SLOTS)
    attempts = slot_attempts(trial.folder, plan.slugs, plan.slots)
    return TrialView(
        title=trial.name,
        study=trial.study,
        study_page=study_page,
        data=", ".join(dict.fromkeys(m.data for m in result.metrics)),
        summary=summary(scores),
        remarks=remarks(scores, {slug: class_name(slug) for slug in slugs}),
        independence=independence(trial.settings),
        cards=_cards(trial),
        settings=tuple((words, trial.settings[key]) for words, key in _KEY_SETTINGS if trial.settings.get(key, "null") != "null"),
        overrides=trial.overrides,
        every_setting=tuple(sorted(trial.settings.items())),
        versions=tuple((str(k), str(v)) for k, v in result.versions.items()),
        timings=tuple((stage, _time(result, stage)) for stage in result.timings),
        identity=result.identity,
        maker=trial.maker,
        overall=_overall(scores),
        beside_paper=beside_paper(slugs),
        classes=len(slugs),
        by_class=_class_table(scores, _by_class(scores)),
        filtering=_class_table(scores, _filtering(scores)),
        rejections=rejection_counts(trial.folder),
        matrices=_matrices(result, slugs),
        short_names=tuple(short_name(s) for s in slugs),
        closeness=_closeness(scores),
        class_closeness=_class_table(scores, _class_closeness(scores)),
        trust=_trust(scores),
        common_errors=_common_errors(scores),
        panel=panel_view(scores, class_name),
        custom_metrics=_custom_metrics(scores),
        pictures=class_images(attempts, plan.slugs, dict(enumerate(map(class_name, slugs))), class_name, _real(trial.folder, plan, shown)),
        nearest=_nearest(trial.folder, plan) if shown else (),
        few_classes=FEW_CLASSES,
        absent_images=tuple(filter(None, (plan.sentence(len(slugs)), *absent_images(trial.folder, attempts, shown)))),
        address=trial.address,
        history=history_plot(trial.folder / "history.csv"),
        sheets=tuple((sheet.step, webp_uri(small_sheet(sheet.path))) for sheet in spread(validation_sheets(trial.folder), _MOST_SHEETS)),
        reliability=reliability_plot(result.extras),
        missing=result.missing,
    )


def class_name(slug: str) -> str:
    """The full name of a class; its slug's words where the class is not one of ours."""
    return _CLASS_NAMES.get(slug, short_name(slug))


def short_name(slug: str) -> str:
    """The name of a class for narrow places: its slug's words, as in "smooth muscle"."""
    return slug_words(slug)


def beside_paper(slugs: Sequence[str]) -> bool:
    """Whether the classes are those of the published table."""
    return set(slugs) == set(paper.BY_CLASS)


def _time(result: Result, stage: str) -> str:
    """How long a stage took, and on what."""
    provenance = result.stages.get(stage)
    return format_duration(result.timings[stage]) + (f" on {provenance.device}" if provenance else "")


def _cards(trial: TrialSummary) -> tuple[tuple[str, Cell | None, str], ...]:
    return (
        (MAIN_SCORES["f1_gate"], cell(trial.f1_gate), "of the first image drawn for each request"),
        (MAIN_SCORES["f1_judge"], cell(trial.f1_judge), "of the first image drawn for each request"),
        (MAIN_SCORES["acceptance"], cell(trial.acceptance), "share that passes the gate at once"),
        (MAIN_SCORES["accepted_judge"], cell(trial.accepted_judge), "accuracy after filtering"),
    )


def _overall(scores: Scores) -> tuple[Row, ...]:
    names = (("accuracy", "accuracy"), ("macro precision", "macro_precision"), ("macro recall", "macro_recall"), ("macro-F1", "macro_f1"))
    columns = ((BEFORE, GATE), (BEFORE, JUDGE), (BEFORE, COLOUR), (AFTER, JUDGE), (AFTER, COLOUR))
    return tuple(Row(words, tuple(cell(scores.generated(name, *column)) for column in columns)) for words, name in names)


def _by_class(scores: Scores) -> tuple[Row, ...]:
    """Nine cells a row: precision, recall, F1 of the paper, of first attempts by gate and by judge; the last row is the mean."""
    slugs: list[str | None] = [*scores.slugs, None]
    return tuple(
        Row(
            "mean of the classes" if slug is None else class_name(slug),
            (*_paper_cells(slug), *_measured(scores, GATE, slug), *_measured(scores, JUDGE, slug)),
            over_all=slug is None,
        )
        for slug in slugs
    )


def _paper_cells(slug: str | None) -> tuple[Cell | None, ...]:
    published = paper.MACRO if slug is None else paper.BY_CLASS.get(slug)
    if published is None:
        return (None, None, None)
    low, high = paper.MACRO_F1_INTERVAL
    f1_interval = f"[{low:.2f}, {high:.2f}]" if slug is None else ""
    values = ((published.precision, ""), (published.recall, ""), (published.f1, f1_interval))
    return tuple(Cell(f"{value:.3f}", interval, "") for value, interval in values)


def _measured(scores: Scores, scorer: str, slug: str | None) -> tuple[Cell | None, ...]:
    prefix = "macro_" if slug is None else ""
    return tuple(cell(scores.generated(prefix + name, BEFORE, scorer, slug), 2 if slug else 3) for name in ("precision", "recall", "f1"))


def _filtering(scores: Scores) -> tuple[Row, ...]:
    """Five cells a row: acceptance, attempts per accepted image, exhausted slots, and what the judge confirms of accepted and rejected."""
    slugs: list[str | None] = [*scores.slugs, None]
    return tuple(Row("all classes" if slug is None else class_name(slug), _filtering_cells(scores, slug), slug is None) for slug in slugs)


def _filtering_cells(scores: Scores, slug: str | None) -> tuple[Cell | None, ...]:
    exhausted = scores.generated("exhausted_slots", BEFORE, GATE, slug)
    return (
        cell(scores.generated("acceptance", BEFORE, GATE, slug), 2),
        cell(scores.generated("attempts_per_accepted", BEFORE, GATE, slug), 2),
        Cell(f"{exhausted.value:.0f}", "", f"{exhausted.n:,}") if exhausted else None,
        cell(scores.generated("recall" if slug else "accuracy", AFTER, JUDGE, slug), 2),
        cell(scores.generated(f"{REJECTED}confirmed", BEFORE, JUDGE, slug), 2),
    )


def _class_table(scores: Scores, rows: Sequence[Row]) -> ClassTable:
    """Rows of classes and those over all classes behind them."""
    if len(scores.slugs) <= FEW_CLASSES:
        return ClassTable(tuple(rows), ())
    order = [class_name(slug) for slug in weakest(scores.slugs, [scores])]
    by_name = {row.name: row for row in rows if not row.over_all}
    first = [by_name[name] for name in order if name in by_name][:WEAKEST]
    return ClassTable((*first, *(row for row in rows if row.over_all)), tuple(rows))


def _matrices(result: Result, slugs: Sequence[str]) -> tuple[Matrix, ...]:
    titles = {
        f"{BEFORE}/{GATE}": "First attempts, by the gate",
        f"{BEFORE}/{JUDGE}": "First attempts, by the judge",
        f"{AFTER}/{JUDGE}": "Accepted images, by the judge",
    }
    found = {key: result.extras[key] for key in titles if key in result.extras}
    return tuple(_matrix(titles[key], rows, [short_name(slug) for slug in slugs]) for key, rows in found.items())


def _matrix(title: str, counts: Sequence[Sequence[int]], names: Sequence[str]) -> Matrix:
    """Whole where there are few classes, else as a picture with its largest errors."""
    if len(counts) != len(names):
        raise ValueError(f"a confusion matrix of {len(counts)} rows for {len(names)} classes")
    if len(names) <= FEW_CLASSES:
        return Matrix(title, tuple(_matrix_row(name, row) for name, row in zip(names, counts, strict=True)), None, ())
    matrix = np.asarray(counts)
    requested, errors = matrix.sum(axis=1), matrix * (1 - np.eye(len(names), dtype=int))
    largest = np.argsort(-errors, axis=None, kind="stable")[:WEAKEST]
    pairs = [divmod(int(place), len(names)) for place in largest if errors.flat[place]]
    confusions = tuple((names[row], names[column], int(matrix[row, column]), int(requested[row])) for row, column in pairs)
    return Matrix(title, (), _heat(matrix / np.maximum(requested, 1)[:, None]), confusions)


def _heat(shares: np.ndarray) -> str:
    """Shares, float (K, K) in [0, 1], as a picture of a pixel an entry, white to the gate's colour; a data URI.

    Shares are shown by their square root, so that small ones can be seen.
    """
    colour = np.array(ImageColor.getrgb(GATE_COLOUR))
    pixels = 255 - np.sqrt(shares)[..., None] * (255 - colour)
    return png_uri(Image.fromarray(pixels.round().astype(np.uint8)))


def _matrix_row(name: str, counts: Sequence[int]) -> MatrixRow:
    total = sum(counts)
    return MatrixRow(name, tuple((count, count / total if total else 0.0) for count in counts))


_SPLITS = (("val", "validation"), ("test", "test"))
_CLOSENESS = ("kid", "frechet_distance", "coverage", "feature_precision", "feature_recall", "density", "near_copies")
"""The columns of the table of distances."""


def _closeness(scores: Scores) -> tuple[Row, ...]:
    sets = (("first attempts", BEFORE, ""), ("of these, the rejected", BEFORE, REJECTED), ("accepted images", AFTER, ""))

    def cells(stage: str, prefix: str) -> tuple[Cell | None, ...]:
        kid, *others = (scores.generated(prefix + name, stage, JUDGE) for name in _CLOSENESS)
        return cell(kid, 4), *(cell(metric) for metric in others)

    rows = [Row(words, found) for words, stage, prefix in sets if any(found := cells(stage, prefix)) or not prefix]
    real = "as many real training images"
    for split, words in (("reconstructed", f"{real}, through the autoencoder"), ("train", real)):
        kid, *others = (scores.real(name, JUDGE, split) for name in _CLOSENESS)
        if any((kid, *others)):
            rows.append(Row(words, (cell(kid, 4), *(cell(metric) for metric in others))))
    return tuple(rows)


def _class_closeness(scores: Scores) -> tuple[Row, ...]:
    """Nine cells a row: KID of first attempts, the rejected of them, accepted and real images; coverage and near copies of the others."""
    rows = []
    for slug in scores.slugs:
        copies = scores.beside_real("near_copies", slug)[:2]
        first, *others = scores.beside_real("kid", slug)
        rejected = scores.generated(f"{REJECTED}kid", BEFORE, JUDGE, slug)
        cells = tuple(cell(m) for m in (first, rejected, *others, *scores.beside_real("coverage", slug), *copies))
        if any(cells):
            rows.append(Row(class_name(slug), cells))
    return tuple(rows)


def _trust(scores: Scores) -> tuple[Row, ...]:
    """Scores on real images of the classifiers, and of colour alone: a row for each and each split that was measured."""
    names = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "auc", "ece")
    rows = []
    for scorer, who in ((GATE, GATE), (JUDGE, JUDGE), (COLOUR, "colour alone")):
        for split, words in _SPLITS:
            found: tuple[Metric | None, ...] = tuple(scores.real(name, scorer, split) for name in names)
            if any(found):
                rows.append(Row(f"{who}, {words} images", tuple(cell(m) for m in found)))
    return tuple(rows)


def _common_errors(scores: Scores) -> tuple[Row, ...]:
    """How the errors of gate and judge correlate, a row for each split of real images that it was measured on."""
    found = ((words, scores.real("error_correlation", None, split)) for split, words in _SPLITS)
    return tuple(Row(f"{words} images", (cell(m),)) for words, m in found if m)


def _custom_metrics(scores: Scores) -> tuple[Row, ...]:
    """Three cells a row: before filtering, after filtering, real images."""
    return tuple(
        Row(name if slug is None else f"{name}, {class_name(slug)}", tuple(cell(m) for m in cells), slug is None)
        for name, slug, cells in scores.custom_rows()
    )


def _real(folder: Path, plan: ImagePlan, shown: bool) -> dict[str, list[str]]:
    """Data URIs of the real images of each class; none where they are not shown, or where nothing was drawn to stand beside them."""
    found: dict[str, list[str]] = {}
    for image in real_images(folder, plan.slugs, plan.slots) if shown and (folder / LEDGER).is_file() else ():
        found.setdefault(image.slug, []).append(image_uri(image.path, LARGEST))
    return found


def _nearest(folder: Path, plan: ImagePlan) -> tuple[Nearest, ...]:
    pairs = min(_PAIRS, plan.slots)
    found = [(slug, nearest_pairs(folder, slug, pairs)) for slug in plan.slugs]
    return tuple(Nearest(class_name(slug), _strip(places, 2 * _PAIRS)) for slug, places in found) if any(p for _, p in found) else ()


def _strip(places: Sequence[Path | None], columns: int) -> Strip | None:
    return image_strip(places, columns, LARGEST)
