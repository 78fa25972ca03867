"""Retry strategies: how a further attempt at a slot is drawn, once the one before it was rejected. No torch.

An attempt has a seed of its own in any case. What else it gets is a :class:`Retry`, a pure function of the slot, the attempt's number and
what was rejected: a run that continues after a kill comes to the same attempts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Protocol

import numpy as np

from pathsynth.ledger.errors import StageError, summarize_error, summarize_value
from pathsynth.sampling.acceptance_rules import Verdict
from pathsynth.sampling.slots import Slot


@dataclass(frozen=True)
class Retry:
    """How an attempt is drawn, beside its own seed.

    ``more_guidance`` is added to ``sampling.guidance``; the sum must be 1 or more. ``again``: the share of the denoising steps, in [0, 1),
    that is taken again from the rejected image with new noise (SDEdit: Meng et al., arXiv 2108.01073); 0: the attempt starts from noise, as
    it does where there is no image to start from. ``prompt``: in place of the slot's; None: that one.
    """

    more_guidance: float = 0.0
    again: float = 0.0
    prompt: str | None = None


@dataclass(frozen=True)
class Rejection:
    """What a strategy sees of the attempt before: the gate's ``verdict``, with its ``reason`` and probabilities, and the ``image``.

    ``read``: gives the image; after a kill it is drawn again for this.
    """

    verdict: Verdict
    read: Callable[[], np.ndarray | None] = field(repr=False, compare=False)

    @property
    def image(self) -> np.ndarray | None:
        """uint8 (H, W, 3), not to be written to; None where it was not finite, or was given up on the way."""
        return self.read()


class RetryStrategy(Protocol):
    """What a further attempt at a slot gets: any class with this method, of the user's own, too."""

    def retry(self, slot: Slot, number: int, rejection: Rejection | None) -> Retry:
        """How attempt ``number`` (1 or more) at ``slot`` is drawn, whose last attempt ended in ``rejection``.

        It depends on these arguments alone. ``rejection`` is None where ``sampling.speculate`` starts the attempt before the last one is
        judged, where only the standard strategy is used.
        """
        ...


@dataclass(frozen=True)
class StandardRetry:
    """A new seed; ``guidance_step`` more guidance each time; from the rejected image, the share ``image_to_image`` of the steps again."""

    guidance_step: float = 0.0
    image_to_image: float = 0.0

    def retry(self, slot: Slot, number: int, rejection: Rejection | None) -> Retry:
        """``number`` is that of the retry, from 1."""
        return Retry(more_guidance=number * self.guidance_step, again=self.image_to_image)


def retry_of(strategy: RetryStrategy, slot: Slot, number: int, rejection: Rejection | None, guidance: float) -> Retry:
    """What a strategy gives an attempt. ``guidance``: the scale that it adds to.

    Raises:
        StageError: it fails, or gives what cannot be drawn; the message names its class.
    """
    named = f"the retry strategy {type(strategy).__module__}.{type(strategy).__qualname__}"
    try:
        retry = strategy.retry(slot, number, rejection)
    except Exception as error:  # a user's strategy may raise any exception
        raise StageError(f"{named} failed ({summarize_error(error)}); correct its retry(slot, number, rejection)") from error
    fault = _fault(retry, guidance)
    if fault:
        raise StageError(f"{named} gave {fault}")
    return retry


def _fault(retry: Retry, guidance: float) -> str:
    if not isinstance(retry, Retry):
        return f"{summarize_value(retry)}; return a pathsynth.Retry"
    if not _is_number(retry.more_guidance) or not 1 <= guidance + retry.more_guidance < math.inf:
        guidance_words = f"more_guidance={summarize_value(retry.more_guidance)}"
        return f"{guidance_words}; with sampling.guidance={guidance:g} the sum must be a number of 1 or more"
    if not _is_number(retry.again) or not 0 <= retry.again < 1:
        return f"again={summarize_value(retry.again)}; give a share of the steps of at least 0 and less than 1"
    if retry.prompt is not None and not (isinstance(retry.prompt, str) and retry.prompt.strip()):
        return f"prompt={summarize_value(retry.prompt)}; give words, or None for the slot's own"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)
