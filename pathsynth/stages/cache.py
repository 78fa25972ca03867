"""What the frozen base makes of the data and its prompts, computed once and shared by all fine-tunes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pathsynth.config.groups import require_group
from pathsynth.data.catalogue import captions_of
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.identity import digest
from pathsynth.stages.stage import BuildContext, Effort, PlanContext, Stage

NEUTRAL = {"canvas": None, "captions": None}


def settings(context: PlanContext) -> dict[str, Any]:
    """What the cache depends on besides data and base: orientations, canvas, prompts, and captions that images have of their own.

    Raises:
        RequestError: the group objective or base is missing.
    """
    data, book = context.data, context.data.prompts
    return {
        "augment": require_group(context.config.objective, "objective").augment,
        "canvas": require_group(context.config.base, "base").canvas,
        "prompts": digest([list(book.captions(c.index, paraphrases=True)) for c in book.space.classes]),
        "captions": data.captions.digest if data.captions else None,
    }


def parents(context: PlanContext) -> dict[str, str]:
    """Data and base."""
    return {"data": context.data.identity, "base": context.base.identity}


def build(context: BuildContext, folder: Path) -> None:
    """Encode the images and the prompts into ``folder``."""
    from pathsynth.training.latent_cache import build_cache

    objective = require_group(context.config.objective, "objective")
    build_cache(folder, context.data, context.base, objective.augment, captions(context))


def captions(context: BuildContext) -> tuple[str, ...] | None:
    """What training images are learned with, where they have captions of their own.

    Raises:
        RequestError: they are others than those that were planned.
    """
    data = require_group(context.config.data, "data")
    caption_list = captions_of(data)
    if caption_list and caption_list.digest != context.stage("cache").settings["captions"]:
        raise RequestError(f"captions of images in {data.root} have changed since the trial was planned; run it again")
    return caption_list.texts if caption_list else None


STAGE = Stage("cache", settings, parents, build, neutral=NEUTRAL, effort=Effort(long=True))
