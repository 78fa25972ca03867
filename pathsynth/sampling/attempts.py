"""The attempts ledger: one row for each attempt, JSON lines while it grows, Parquet when it is complete."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from pathsynth.ledger.atomic import write_text
from pathsynth.ledger.errors import StageError
from pathsynth.sampling.acceptance_rules import Verdict
from pathsynth.sampling.rejection import Judged
from pathsynth.sampling.slots import Attempt, Slot, Strategy, Stream

LINES, _TABLE = "attempts.jsonl", "attempts.parquet"
_OPTIONAL = ("reason", "image", "sha256", "scheduler", "timestep_spacing")
_STEPS = ("stopped_at", "start")
_EARLIER_STRATEGIES = {"revise": Strategy.IMAGE_TO_IMAGE}


@dataclass(frozen=True)
class AttemptRow:
    """A row of the ledger: everything about an attempt.

    ``image`` is a path below the ledger's folder (None: not kept), ``sha256`` that of its pixels (None: they were not finite).
    ``strategy``: how it was made different from the attempt before it. ``stopped_at``: the step after which it was given up as
    hopeless; ``sha256`` is then that of the predicted image. None: it took all steps. ``scheduler`` and ``timestep_spacing``: the
    diffusers class, and how it spread the timesteps; None in a ledger of an earlier version, or where the scheduler states none.
    ``prompt``, ``guidance`` and ``start``, the step that it began at, are those of this very attempt: it began at ``start`` from the image
    of the attempt before it where its strategy is "image_to_image", else from noise. None: a ledger of an earlier version.
    """

    stream: str
    label: int
    class_slug: str
    slot: int
    attempt: int
    prompt: str
    seed: int
    steps: int
    guidance: float
    denoiser_calls: int
    predicted: int
    probability: float
    probabilities: tuple[float, ...]
    accepted: bool
    reason: str | None
    near_margin: bool
    image: str | None
    sha256: str | None
    strategy: str = Strategy.FRESH
    stopped_at: int | None = None
    scheduler: str | None = None
    timestep_spacing: str | None = None
    start: int | None = None

    @property
    def name(self) -> str:
        """The candidate's name in file names and on the command line."""
        return candidate_name(self.class_slug, self.slot, self.attempt)

    def as_attempt(self, slot: Slot | None = None) -> Attempt:
        """The attempt with the prompt and the guidance that it had; its row alone does not say what it started from.

        ``slot``: the slot that it tried to fill, if known; the attempt's prompt may differ from the slot's.
        """
        actual_slot = slot or Slot(Stream(self.stream), self.label, self.slot, self.prompt)
        return Attempt(actual_slot, self.attempt, self.seed, guidance=self.guidance, wording=self.prompt)

    def as_verdict(self) -> Verdict:
        """The verdict of the gate that the row keeps."""
        return Verdict(self.accepted, self.predicted, self.probability, self.probabilities, self.reason, self.near_margin)

    def as_judged(self) -> Judged:
        """The attempt and what became of it, without its image."""
        return Judged(self.as_attempt(), None, self.as_verdict(), self.denoiser_calls, self.stopped_at)


def candidate_name(class_slug: str, slot: int, attempt: int) -> str:
    """As in ``mucus-00003-1``: class, slot and attempt."""
    return f"{class_slug}-{slot:05d}-{attempt}"


class AttemptsLedger:
    """Appends rows to ``attempts.jsonl`` in a folder; :meth:`complete` makes ``attempts.parquet`` of them.

    ``known`` are the rows that an earlier run left there; of a row that was written again, the later one counts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / LINES
        whole = _whole_lines(path) if path.is_file() else ""
        write_text(path, whole)  # without what a kill or a power cut left of a line
        self.known = [AttemptRow(**{**r, "probabilities": tuple(r["probabilities"])}) for r in map(json.loads, whole.splitlines())]
        self._lines = path.open("a", encoding="utf-8")

    def append(self, row: AttemptRow) -> None:
        """Write a row, and hand it to the system at once."""
        self._lines.write(json.dumps(asdict(row)) + "\n")
        self._lines.flush()

    def complete(self, folder: Path, attempts: Iterable[Attempt]) -> list[str]:
        """Write the table of ``attempts``, in their order, to ``folder``; the paths of their images.

        Rows of other attempts are left out: a run that was cut off under another batch size may have tried some that this
        one had no need of.
        """
        self._lines.close()
        lines = map(json.loads, (self._folder / LINES).read_text(encoding="utf-8").splitlines())
        rows = {(row["stream"], row["label"], row["slot"], row["attempt"]): row for row in lines}
        keys = dict.fromkeys((str(a.slot.stream), a.slot.label, a.slot.index, a.number) for a in attempts)
        table = pd.DataFrame([rows[key] for key in keys], columns=[f.name for f in fields(AttemptRow)])
        table.to_parquet(folder / _TABLE, index=False)
        return list(table["image"].dropna())


def write_attempts(folder: Path, rows: Iterable[AttemptRow]) -> None:
    """Write a complete ledger."""
    table = pd.DataFrame([asdict(row) for row in rows], columns=[f.name for f in fields(AttemptRow)])
    table.to_parquet(folder / _TABLE, index=False)


def _whole_lines(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    return "".join(line for line in text.splitlines(keepends=True) if line.endswith("\n") and _is_object(line))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def read_attempts(folder: Path) -> Iterator[AttemptRow]:
    """The rows of a complete ledger.

    Raises:
        StageError: the ledger is missing or damaged.
    """
    try:
        table = pd.read_parquet(folder / _TABLE)
    except (OSError, ValueError) as error:
        raise StageError(
            f"the attempts ledger {folder / _TABLE} cannot be read ({error}); remove its folder, generate again"
        ) from error
    for record in table.to_dict(orient="records"):
        optional = {name: None if pd.isna(record.get(name)) else record[name] for name in _OPTIONAL}
        steps = {name: record.get(name) for name in _STEPS}  # a ledger of an earlier version has none
        numbers = {name: None if pd.isna(step) else int(step) for name, step in steps.items()}
        strategy = _EARLIER_STRATEGIES.get(record.get("strategy", ""), record.get("strategy", Strategy.FRESH))
        words = {**optional, "strategy": str(strategy)}
        yield AttemptRow(**{**record, **words, **numbers, "probabilities": tuple(float(p) for p in record["probabilities"])})


def load_attempts(path: str | Path) -> pd.DataFrame:
    """The attempts of a generated set, a row each, from its folder (a trial's) or its ``attempts.parquet``.

    Columns are the fields of :class:`AttemptRow`, also those that a ledger of an earlier version lacks.

    Raises:
        StageError: as :func:`read_attempts`.
    """
    place = Path(path)
    rows = read_attempts(place.parent if place.name == _TABLE else place)
    return pd.DataFrame([asdict(row) for row in rows], columns=[f.name for f in fields(AttemptRow)])
