"""Files that make a folder of accepted images a data set: a row for each image, and a card with their origin.

``images/<class>/*.png`` is the layout of torchvision's ``ImageFolder``; with ``metadata.jsonl`` it is that of the Hub's
``imagefolder``; ``data=folder`` reads it, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binomtest

from pathsynth.ledger.atomic import write_text
from pathsynth.sampling.attempts import AttemptRow

IMAGES = "images"
_METADATA, _CARD = "metadata.jsonl", "README.md"


@dataclass(frozen=True)
class ClassCount:
    """Of one class: ``slots`` requested, ``accepted`` of them, and ``attempts`` made, of which ``broken`` gave no image."""

    class_slug: str
    slots: int
    accepted: int
    attempts: int
    broken: int

    @property
    def unreachable(self) -> bool:
        """Whether all attempts were rejected."""
        return self.accepted == 0 and self.attempts > 0

    @property
    def bound(self) -> float:
        """Upper end of the 95% Clopper–Pearson interval of the share of attempts that are accepted, in [0, 1]."""
        return float(binomtest(self.accepted, self.attempts).proportion_ci(0.95, "exact").high)


def class_counts(rows: Sequence[AttemptRow]) -> list[ClassCount]:
    """The counts of every class that was tried, in the order of labels."""
    slugs = dict(sorted({row.label: row.class_slug for row in rows}.items()))
    return [_count(slug, [row for row in rows if row.label == label]) for label, slug in slugs.items()]


def _count(slug: str, rows: Sequence[AttemptRow]) -> ClassCount:
    accepted = sum(row.accepted for row in rows)
    return ClassCount(slug, len({row.slot for row in rows}), accepted, len(rows), sum(row.sha256 is None for row in rows))


def format_unreachable(counts: Sequence[ClassCount]) -> list[str]:
    """A line for each class of which nothing was accepted."""
    return [
        f"unreachable: {c.class_slug}: none of {c.attempts} attempts was accepted (the rate is below {c.bound:.3f} at 95%)"
        for c in counts
        if c.unreachable
    ]


def describe_images(folder: Path, rows: Sequence[AttemptRow]) -> None:
    """Write ``images/metadata.jsonl`` and ``images/README.md`` for the accepted images below ``folder``; nothing where there is none."""
    accepted = sorted((row for row in rows if row.accepted and row.image), key=lambda row: (row.label, row.slot))
    if not accepted:
        return
    lines = [json.dumps(_metadata(row)) for row in accepted]
    write_text(folder / IMAGES / _METADATA, "\n".join(lines) + "\n")
    write_text(folder / IMAGES / _CARD, _card(class_counts(rows), len(accepted)))


def _metadata(row: AttemptRow) -> dict[str, object]:
    return {
        "file_name": str(Path(row.image or "").relative_to(IMAGES)),
        "label": row.class_slug,
        "prompt": row.prompt,
        "slot": row.slot,
        "attempt": row.attempt,
        "seed": row.seed,
        "steps": row.steps,
        "guidance": row.guidance,
        "gate_probability": row.probability,
        "sha256": row.sha256,
        "synthetic": True,
    }


def _card(counts: Sequence[ClassCount], n: int) -> str:
    table = [f"| {c.class_slug} | {c.slots} | {c.accepted} | {c.attempts} |" for c in counts]
    lines = [f"- {line}" for line in format_unreachable(counts)]
    parts = [
        "---\ntask_categories: [image-classification]\ntags: [synthetic, histology, pathsynth]\n---",
        f"# {n} synthetic tissue images",
        "Drawn by a text-to-image model and accepted by a classifier, the gate; not photographs of tissue, and not for diagnosis. "
        "Each class has a folder; `metadata.jsonl` has prompt, seed and the gate's probability of every image. The "
        "ledger beside this folder, `attempts.parquet`, has the rejected attempts, too. `pathsynth replay <image>` draws an image again.",
        "\n".join(["| class | requested | accepted | attempts |", "| --- | --- | --- | --- |", *table]),
        *(["\n".join(lines)] if lines else []),
    ]
    return "\n\n".join(parts) + "\n"
