"""A prompt book of your own: one YAML file with names, aliases and prompts of classes.

::

    01_TUMOR:                      # a class: its folder, slug or any name it has
      name: tumour                 # what it is called
      canonical: a tissue section with tumour
      paraphrases: [dense tumour cells, a field of tumour]      # captions of training images, beside the canonical prompt
      held_out: [an area of tumour]                             # never in training; evaluate.prompts=held_out asks with them
      aliases: [neoplasm]                                       # further names that `generate` finds in a prompt

What a class does not say stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from yaml import YAMLError

from pathsynth.ledger.errors import RequestError
from pathsynth.vocabulary.labels import LabelClass, LabelSpace, UnknownLabelError
from pathsynth.vocabulary.prompts import ClassPrompts, PromptBook, generic_class_prompts

_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Entry(BaseModel):
    """What the file says of one class."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: _Words | None = None
    canonical: _Words | None = None
    paraphrases: tuple[_Words, ...] | None = None
    held_out: tuple[_Words, ...] | None = None
    aliases: tuple[_Words, ...] = ()


def read_prompts(path: Path, book: PromptBook) -> PromptBook:
    """The prompt book with what the file says put in the place of its own words; its space has the new names and aliases.

    Raises:
        RequestError: the file cannot be read or names an unknown class; two classes share a name or a prompt; a prompt names another class.
    """
    entries = _entries(path, book.space)
    classes = tuple(_class(c, entries.get(c.index, _Entry())) for c in book.space.classes)
    prompts = tuple(_prompts(c, old, entries.get(c.index, _Entry())) for c, old in zip(classes, book.classes, strict=True))
    merged = PromptBook(LabelSpace(book.space.name, classes, book.space.symmetry), prompts)
    _refuse_shared_names(path, merged.space)
    _refuse_ambiguous(path, merged)
    return merged


def _entries(path: Path, space: LabelSpace) -> dict[int, _Entry]:
    try:
        record = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RequestError(f"data.prompts={path} cannot be read ({reason}); name a YAML file of classes and their prompts") from error
    if not isinstance(record, dict) or not record:
        raise RequestError(f"data.prompts={path} names no class; write <class>: and its canonical prompt below it")
    entries: dict[int, _Entry] = {}
    for name, words in ((str(key), words) for key, words in record.items()):
        label = _label(path, space, name)
        if label in entries:
            raise RequestError(f"data.prompts={path} names the class {name} twice; leave one")
        entries[label] = _entry(path, name, words)
    return entries


def _label(path: Path, space: LabelSpace, name: str) -> int:
    try:
        return space.by_slug(name).index
    except UnknownLabelError as error:
        raise RequestError(f"data.prompts={path}: {error}") from error


def _entry(path: Path, name: str, words: Any) -> _Entry:
    if not isinstance(words, Mapping):
        raise RequestError(f"data.prompts={path}: below {name} there should be canonical, paraphrases or aliases, got {words!r}")
    try:
        return _Entry.model_validate(words)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        known = ", ".join(_Entry.model_fields)
        reason = f"unknown key; known: {known}" if fault["type"] == "extra_forbidden" else f"{fault['msg'].lower()}, got {fault['input']!r}"
        raise RequestError(f"data.prompts={path}: {name}.{key}: {reason}") from error


def _class(old: LabelClass, entry: _Entry) -> LabelClass:
    alternatives = (*entry.aliases, *((old.name,) if entry.name and entry.name != old.name else ()))
    return replace(old, name=entry.name or old.name, aliases=tuple(dict.fromkeys((*old.aliases, *alternatives))))


def _prompts(c: LabelClass, old: ClassPrompts, entry: _Entry) -> ClassPrompts:
    usual = generic_class_prompts(c.name) if entry.name else old
    return ClassPrompts(
        entry.canonical or usual.canonical,
        usual.training if entry.paraphrases is None else entry.paraphrases,
        usual.held_out if entry.held_out is None else entry.held_out,
    )


def _refuse_shared_names(path: Path, space: LabelSpace) -> None:
    for c in space.classes:
        for name in c.names:
            if space.by_slug(name) != c:
                raise RequestError(f"data.prompts={path}: {c.slug} and {space.by_slug(name).slug} are both called “{name}”; rename one")


def _refuse_ambiguous(path: Path, book: PromptBook) -> None:
    class_of: dict[str, LabelClass] = {}
    for c, prompts in zip(book.space.classes, book.classes, strict=True):
        for prompt in (prompts.canonical, *prompts.training, *prompts.held_out):
            other = class_of.setdefault(prompt, c)
            if other != c:
                raise RequestError(f"data.prompts={path}: {other.slug} and {c.slug} share the prompt “{prompt}”; word one in another way")
            named = _named(book.space, prompt)
            if named is not None and named != c:
                raise RequestError(f"data.prompts={path}: the prompt “{prompt}” of {c.slug} names {named.slug}; word it in another way")
        repeated = [p for p in prompts.held_out if p in (prompts.canonical, *prompts.training)]
        if repeated:
            raise RequestError(f"data.prompts={path}: “{repeated[0]}” of {c.slug} is held out and in training, too; leave one")


def _named(space: LabelSpace, prompt: str) -> LabelClass | None:
    """The one class that a prompt names, if there is one."""
    try:
        return space.resolve_prompt(prompt)
    except UnknownLabelError:
        return None
