"""A visitor's request: a text with its class, the number of images, and the limits for the gate. No torch."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pathsynth.config import SamplingConfig
from pathsynth.config.free_text import hydra_quoted, is_quoted
from pathsynth.ledger.errors import RequestError
from pathsynth.sampling.slots import Slot, Stream, slots_of
from pathsynth.vocabulary.labels import LabelClass, LabelSpace, UnknownLabelError

_LARGEST_SEED = 2**32
_DIGITS = 3


@dataclass(frozen=True)
class Limits:
    """Bounds for visitors, so that memory and waiting times stay limited.

    ``images`` and ``attempts`` of each in one request; ``letters`` of its text; ``waiting`` requests beside the one in
    progress; ``sessions`` at once; ``kept_bytes`` of images in all; ``idle_seconds``: a session whose page is silent for so long is
    dropped; ``absent_seconds``: after so long its requests are cancelled.
    """

    images: int = 48
    attempts: int = 16
    letters: int = 500
    waiting: int = 8
    sessions: int = 64
    kept_bytes: int = 256 * 2**20
    idle_seconds: float = 1800.0
    absent_seconds: float = 60.0


@dataclass(frozen=True)
class DrawRequest:
    """``n`` images of the class ``label`` (its slug) from ``prompt``; ``threshold`` and ``margin`` as in ``sampling``, in [0, 1]."""

    prompt: str
    label: str
    n: int = 4
    attempts: int = 4
    threshold: float = 0.0
    margin: float = 0.0
    seed: int = 0

    def slots(self, space: LabelSpace) -> list[Slot]:
        """``n`` slots of the stream that ``pathsynth generate`` draws from."""
        return slots_of(Stream.GENERATE, {space.by_slug(self.label).index: self.prompt}, self.n)

    def sampling(self, settings: SamplingConfig) -> SamplingConfig:
        """The settings of sampling with the visitor's choices."""
        chosen = {"attempts": self.attempts, "threshold": self.threshold, "margin": self.margin, "seed": self.seed}
        return settings.model_copy(update=chosen)

    def command(self, overrides: Sequence[str] = ()) -> str:
        """The command line that draws the same images; ``overrides`` are those that the page was started with."""
        prompt = hydra_quoted(self.prompt) if is_quoted(self.prompt) else self.prompt
        words = [f"prompt={prompt}", f"label={self.label}", f"n={self.n}", *overrides, f"sampling.attempts={self.attempts}"]
        words += [f"sampling.threshold={self.threshold:g}", f"sampling.margin={self.margin:g}", f"sampling.seed={self.seed}"]
        return shlex.join(["pathsynth", "generate", *words])


@dataclass(frozen=True)
class Resolution:
    """The class that a text names; where it names several, these ``candidates``; where it does not name one, the ``line`` that says so."""

    label: LabelClass | None
    candidates: tuple[LabelClass, ...] = ()
    line: str = ""


def resolve(prompt: str, space: LabelSpace) -> Resolution:
    """The class that a visitor's text names; an empty text names none."""
    if not prompt.strip():
        return Resolution(None)
    try:
        return Resolution(space.resolve_prompt(prompt))
    except UnknownLabelError as error:
        return Resolution(None, error.candidates, str(error))


def check_request(request: DrawRequest, space: LabelSpace, limits: Limits) -> DrawRequest:
    """The request with its text trimmed and its numbers as the command line will have them.

    Raises:
        RequestError: a number is out of its bounds, or the text is empty or too long.
        UnknownLabelError: there is no such class.
    """
    prompt = " ".join(request.prompt.split())
    if not prompt:
        raise RequestError("the description is empty; describe what to draw")
    if len(prompt) > limits.letters:
        raise RequestError(f"the description has {len(prompt)} letters; use at most {limits.letters}")
    bounds = (
        ("images", request.n, 1, limits.images),
        ("attempts", request.attempts, 1, limits.attempts),
        ("threshold", request.threshold, 0, 1),
        ("margin", request.margin, 0, 1),
        ("seed", request.seed, 0, _LARGEST_SEED),
    )
    for name, value, least, most in bounds:
        if value is None or not math.isfinite(value) or not least <= value <= most:
            raise RequestError(f"{name} is {value}; give a number from {least} to {most}")
    return DrawRequest(
        prompt,
        space.by_slug(request.label).slug,
        int(request.n),
        int(request.attempts),
        round(float(request.threshold), _DIGITS),
        round(float(request.margin), _DIGITS),
        int(request.seed),
    )
