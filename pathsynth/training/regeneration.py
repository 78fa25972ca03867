"""The validation callback: draw, gate, regenerate what was rejected, measure, and keep the best adapter."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from typing_extensions import override

from pathsynth.config import SamplingConfig
from pathsynth.ledger.atomic import write_bytes, write_text
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.requests import take_request
from pathsynth.metrics.agreement import Agreement, agreement
from pathsynth.sampling.generation import retry_strategy, route_of
from pathsynth.sampling.pictures import contact_sheet, sheet_bytes
from pathsynth.sampling.rejection import Draw, Judge, Judged, SlotOutcome, SlotStatus, account, sample_until_accepted
from pathsynth.sampling.sampler import RejectionSampler
from pathsynth.sampling.scheduler import Scheduler
from pathsynth.sampling.slots import Slot, Stream
from pathsynth.tracking.loggers import VALIDATION_STEP
from pathsynth.tracking.media import show_attempts, show_pictures
from pathsynth.tracking.metric_names import HELD_OUT_LOSS, LOSS, VALIDATION, acceptance
from pathsynth.training.distributed import any_rank, gathered
from pathsynth.vocabulary.labels import LabelSpace

_COLUMN = "val_"
"""Before the names of a validation's scores in ``history.csv``."""
_LOSSES = {"train_loss": LOSS, "held_out_loss": HELD_OUT_LOSS}
"""The other columns of ``history.csv``, and what they are called in a logger."""


@dataclass(frozen=True)
class ValidationScores:
    """What one validation measured on fixed slots: first attempts against the gate, and how the slots ended."""

    step: int
    before: Agreement
    outcomes: list[SlotOutcome]

    @property
    def attempts(self) -> int:
        """Attempts at all slots together."""
        return sum(o.attempts for o in self.outcomes)

    def count(self, status: SlotStatus) -> int:
        """How many slots ended as ``status``."""
        return sum(o.status is status for o in self.outcomes)


@dataclass(frozen=True)
class RequestedValidations:
    """How a validation beside the schedule is requested and shown.

    ``request``: the file that is left by whoever asks. ``folder`` gets the contact sheets. ``weights``: around a validation, the weights
    that it sees are in place.
    """

    request: Path
    folder: Path
    weights: Callable[[pl.LightningModule], AbstractContextManager[None]]


@dataclass(frozen=True)
class ValidationParts:
    """What the program gives the regeneration callback.

    ``slots``: so many slots of each class, for the callback's ``n``. ``draw`` and ``judge``: the images of attempts, and the gate's
    verdicts on them. ``sampling`` and ``scheduler``: the budget of a slot, and how an image is denoised. ``folder``: for ``history.csv``
    and the contact sheets. ``keep_best``: keeps the adapter as it is at a step. ``report`` (a search's) gets the number of the
    validation, the step, the last step and the macro-F1. ``requested``: None if a validation cannot be requested.
    """

    slots: Callable[[int], Sequence[Slot]]
    draw: Draw
    judge: Judge
    sampling: SamplingConfig
    scheduler: Scheduler
    space: LabelSpace
    folder: Path
    keep_best: Callable[[int], None]
    report: Callable[[int, int, int, float], None] | None = None
    requested: RequestedValidations | None = None


class RegenerationCallback(pl.Callback):
    """At the end of every validation, fill fixed slots through the rejection sampler.

    Logs before-filter accuracy and macro precision/recall/F1, acceptance of each class, attempts and exhausted slots (callbacks may
    monitor them under the names that loggers show), a table of attempts with their images, and two contact sheets; keeps the adapter
    whenever its :meth:`score`, the before-filter macro-F1, is higher than ever. First attempts alone decide that, and are drawn apart
    from the others: the rules and the budget of acceptance change what is shown, not which adapter is best. On several devices each
    fills a share of the slots; the first is for all of them. Draws no number from a global generator, so training with and without it gives
    the same adapter. A validation that is requested beside the schedule is shown in sheets and a line of output; nothing is kept of it.
    :meth:`from_sampler` makes one for any LightningModule.

    Args:
        parts: what the program gives; a class made from this one passes it on.
        every: a validation that comes fewer steps after the last one that filled the slots is passed over (0: none is). The program
            validates every so many steps, so that here none is.
        n: slots of each class.
    """

    def __init__(self, parts: ValidationParts, every: int, n: int) -> None:
        self._slots, self._draw, self._judge, self._sampling = parts.slots(n), parts.draw, parts.judge, parts.sampling
        self._route = replace(route_of(parts.sampling, parts.scheduler), preview_step=None, apart=True)
        self._retry = retry_strategy(parts.sampling)
        self._space, self._folder, self._keep_best, self._report = parts.space, parts.folder, parts.keep_best, parts.report
        self._requested = parts.requested
        self._every = every
        self.best = -math.inf
        self._rows: list[dict[str, float]] = []
        self._folder.mkdir(parents=True, exist_ok=True)

    def score(self, scores: ValidationScores) -> float:
        """What the best adapter has most of. A class of your own may compare by something else."""
        return scores.before.macro_f1

    @classmethod
    def from_sampler(
        cls,
        sampler: RejectionSampler,
        prompts: Mapping[str, str | Sequence[str]],
        n: int,
        folder: str | Path,
        every_n_train_steps: int = 0,
        keep_best: Callable[[int], None] | None = None,
    ) -> RegenerationCallback:
        """The callback for a LightningModule and a Trainer of anybody's.

        Logs ``validation/accuracy``, ``validation/macro_f1`` and the others to the Trainer's loggers and leaves them where callbacks
        find what they monitor. ``sampler.draw`` should draw with the weights in training; it is called without gradients, in evaluation
        mode, at the end of a validation (not of the sanity check).

        Args:
            sampler: draws, classifies and decides; its seed and budget count, and the val stream of its seeds.
            prompts: of every class of the sampler; scores are means over all classes.
            n: slots of each class.
            folder: for ``history.csv`` and the contact sheets; it is made.
            every_n_train_steps: ``every`` of the class.
            keep_best: called with the step whenever the score, the before-filter macro-F1, is higher than ever.

        Raises:
            RequestError: a class has no prompt, or a number is below its least.
        """
        if every_n_train_steps < 0:
            raise RequestError(f"every_n_train_steps is {every_n_train_steps}; it must be 0 (every validation) or more")

        def slots(n: int) -> Sequence[Slot]:
            chosen = sampler.slots(prompts, n, Stream.VAL)
            absent = set(range(len(sampler.space))) - {slot.label for slot in chosen}
            if absent:
                slug = sampler.space.slugs[min(absent)]
                raise RequestError(f"the class {slug} has no prompt; scores are means over all classes, give one")
            return chosen

        # one call of a drawing function is one step of one evaluation, also where it takes several steps inside
        one_call = Scheduler("", {}, {}, from_base=True)
        budget = SamplingConfig(
            steps=1, guidance=1, threshold=0, attempts=sampler.attempts, batch_size=sampler.batch_size, seed=sampler.seed
        )
        parts = ValidationParts(
            slots=slots,
            draw=sampler.draw_attempts,
            judge=sampler.judge_attempts,
            sampling=budget,
            scheduler=one_call,
            space=sampler.space,
            folder=Path(folder),
            keep_best=keep_best or (lambda step: None),
        )
        return cls(parts, every=every_n_train_steps, n=n)

    @property
    def history(self) -> tuple[dict[str, float], ...]:
        """A row for each time that the slots were filled, as in ``history.csv``: the step, losses (NaN: not logged), scores (``val_…``)."""
        return tuple(dict(row) for row in self._rows)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "rows": self._rows}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self._rows = state_dict["best"], list(state_dict["rows"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell a resumed training's logger of the validations before: a kill may have cost their rows, and the best of all counts."""
        for row in self._rows:
            record = {name.removeprefix(_COLUMN): value for name, value in row.items() if name.startswith(_COLUMN)}
            _send(trainer, int(row["step"]), record)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Carry out a requested validation."""
        requested = self._requested
        if requested and any_rank(trainer.is_global_zero and take_request(requested.request), trainer):
            self._answer(requested, trainer, pl_module)

    @torch.no_grad()
    def _answer(self, requested: RequestedValidations, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with _evaluated(pl_module), requested.weights(pl_module):
            judged = self._filled(trainer)
        if not trainer.is_global_zero:
            return
        requested.folder.mkdir(parents=True, exist_ok=True)
        _write_sheets(judged, self._space, requested.folder, trainer.global_step)
        f1 = self._scored(trainer.global_step, judged).before.macro_f1
        print(f"validation requested, step {trainer.global_step}: macro-F1 before filtering, gate {f1:.3f}", flush=True)

    def _filled(self, trainer: pl.Trainer) -> list[Judged]:
        """All attempts at the slots, as one process would draw them; each rank fills its share."""
        sampling = self._sampling
        slots = self._slots[trainer.global_rank :: trainer.world_size]
        budget = (sampling.attempts, sampling.batch_size, sampling.seed)
        drawn = list(sample_until_accepted(slots, self._draw, self._judge, *budget, route=self._route, retry=self._retry))
        return self._in_order(gathered(drawn, trainer)) if trainer.world_size > 1 else drawn

    def _scored(self, step: int, judged: list[Judged]) -> ValidationScores:
        first = [j for j in judged if j.attempt.number == 0]
        labels = np.array([j.attempt.slot.label for j in first])
        predictions = np.array([j.verdict.predicted for j in first])
        outcomes = account(self._slots, [(j.attempt, j.verdict) for j in judged], self._sampling.attempts)
        return ValidationScores(step, agreement(labels, predictions, len(self._space)), outcomes)

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fill the slots, log the scores and keep the best adapter."""
        if trainer.sanity_checking or (self._rows and trainer.global_step - self._rows[-1]["step"] < self._every):
            return
        judged = self._filled(trainer)
        scores = self._scored(trainer.global_step, judged)
        self._rows.append(self._row(trainer, scores))
        # on every device, so that all of them stop where one callback stops
        trainer.callback_metrics.update({f"{VALIDATION}{name}": torch.tensor(value) for name, value in self._record(scores).items()})
        if trainer.is_global_zero:
            self._log_validation(trainer, scores, judged)
            if self._report:
                self._report(len(self._rows), scores.step, trainer.max_steps, scores.before.macro_f1)
        score = self.score(scores)
        if score > self.best:
            self.best = score
            self._keep_best(scores.step)

    def _in_order(self, judged: list[Judged]) -> list[Judged]:
        """As one process would have drawn them: all first attempts by slot, then all second ones."""
        place = {slot: number for number, slot in enumerate(self._slots)}
        return sorted(judged, key=lambda j: (j.attempt.number, place[j.attempt.slot]))

    def _log_validation(self, trainer: pl.Trainer, scores: ValidationScores, judged: list[Judged]) -> None:
        _send(trainer, scores.step, self._record(scores))
        trainer.progress_bar_metrics["gate_f1"] = scores.before.macro_f1
        _write_csv(self._folder / "history.csv", self._rows)
        show_attempts(trainer.loggers, "validation/images", judged, self._space, scores.step)
        self._sheets(trainer, judged)

    def _record(self, scores: ValidationScores) -> dict[str, float]:
        before = scores.before
        return {
            "accuracy": before.accuracy,
            "macro_precision": before.macro_precision,
            "macro_recall": before.macro_recall,
            "macro_f1": before.macro_f1,
            "attempts": float(scores.attempts),
            "slots_accepted": float(scores.count(SlotStatus.ACCEPTED)),
            "slots_exhausted": float(scores.count(SlotStatus.EXHAUSTED)),
            "slots_failed": float(scores.count(SlotStatus.FAILED)),
            **{acceptance(c.slug): float(before.recall[c.index]) for c in self._space.classes},
        }

    def _row(self, trainer: pl.Trainer, scores: ValidationScores) -> dict[str, float]:
        """A line of ``history.csv``."""
        logged = trainer.callback_metrics
        losses = {column: float(logged.get(metric, float("nan"))) for column, metric in _LOSSES.items()}
        return {"step": scores.step, **losses, **{f"{_COLUMN}{name}": value for name, value in self._record(scores).items()}}

    def _sheets(self, trainer: pl.Trainer, judged: list[Judged]) -> None:
        sheets = _write_sheets(judged, self._space, self._folder, trainer.global_step)
        show_pictures(trainer.loggers, {f"validation/{name}": path for name, path in sheets.items()}, trainer.global_step)


@contextmanager
def _evaluated(module: pl.LightningModule) -> Iterator[None]:
    """The module in evaluation mode; afterwards each part of it as it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _write_sheets(judged: Sequence[Judged], space: LabelSpace, folder: Path, step: int) -> dict[str, Path]:
    """The first attempts, and what was accepted, each on a contact sheet with a row a class; their files by name."""
    chosen = {
        "first_attempts": [j for j in judged if j.attempt.number == 0],
        "after_regeneration": [j for j in judged if j.verdict.accepted],
    }
    sheets = {}
    for name, items in chosen.items():
        rows = [[j.image for j in items if j.attempt.slot.label == c.index and j.image is not None] for c in space.classes]
        size = next(image.shape[0] for row in rows for image in row) if any(rows) else 32
        sheets[name] = folder / f"{name}-{step:06d}.png"
        write_bytes(sheets[name], sheet_bytes(contact_sheet(rows, columns=max(1, *(len(row) for row in rows)), size=size)))
    return sheets


def _send(trainer: pl.Trainer, step: int, record: dict[str, float]) -> None:
    for logger in trainer.loggers:
        logger.log_metrics({VALIDATION_STEP: step, **{f"{VALIDATION}{name}": value for name, value in record.items()}}, step=step)


def log_history(loggers: Sequence[Logger], path: Path) -> None:
    """Log the losses and validations of a fine-tune that these loggers did not see, from its ``history.csv``, over its own steps."""
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if loggers and path.is_file() else []
    for row in rows:
        step = int(row.pop("step"))
        values = {name: float(value) for name, value in row.items()}
        record = {_metric(name): value for name, value in values.items() if not math.isnan(value)}
        for logger in loggers:
            logger.log_metrics({**record, VALIDATION_STEP: step}, step=step)
    for logger in loggers if rows else ():
        logger.save()


def _metric(column: str) -> str:
    """What a column of ``history.csv`` is called by a logger."""
    return _LOSSES.get(column) or f"{VALIDATION}{column.removeprefix(_COLUMN)}"


def _write_csv(path: Path, rows: list[dict[str, float]]) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())
