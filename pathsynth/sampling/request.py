"""The request of `generate`: a prompt, a label or a list of labels, as prompts by class."""

from __future__ import annotations

from pathsynth.config import GenerateConfig
from pathsynth.vocabulary.prompts import PromptBook


def requested_prompts(request: GenerateConfig, book: PromptBook) -> dict[int, str]:
    """Label → prompt of every requested class.

    A prompt alone must name exactly one class; ``label`` settles which one is meant. Without a prompt, each of ``labels``
    (``all`` or names) is drawn from its canonical prompt.

    Raises:
        UnknownLabelError: a name or prompt fits no class, or several; the message lists them.
    """
    space = book.space
    if request.prompt is not None:
        known = space.by_slug(request.label) if request.label else space.resolve_prompt(request.prompt)
        return {known.index: request.prompt}
    if request.label:
        names = [request.label]
    else:
        names = list(space.slugs) if request.labels == "all" else [n.strip() for n in _names(request.labels)]
    chosen = [space.by_slug(name) for name in names]
    return {c.index: book.canonical(c.index) for c in chosen}


def _names(labels: str | tuple[str, ...]) -> list[str]:
    return labels.split(",") if isinstance(labels, str) else list(labels)
