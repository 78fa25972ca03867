"""Names of what a fine-tune logs: W&B shows them, and callbacks monitor them under the same ones. No torch."""

from __future__ import annotations

from collections.abc import Sequence

LOSS = "finetune/loss"
HELD_OUT_LOSS = "finetune/held_out_loss"
VALIDATION = "validation/"
"""Before the names of a validation's scores."""

_SCORES = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
_COUNTS = ("attempts", "slots_accepted", "slots_exhausted", "slots_failed")


def acceptance(slug: str) -> str:
    """The share of a class's first attempts that the gate takes for it."""
    return f"acceptance_{slug}"


def monitored_names(slugs: Sequence[str], validates: bool) -> list[str]:
    """Names that a callback of a fine-tune may monitor: a score of each class (``slugs``), and without validations only a loss."""
    scores = (*_SCORES, *_COUNTS, *(acceptance(slug) for slug in slugs))
    return [LOSS, *([HELD_OUT_LOSS, *(f"{VALIDATION}{name}" for name in scores)] if validates else [])]
