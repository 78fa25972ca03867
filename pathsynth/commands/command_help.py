"""The first part of `pathsynth <config command> --help`: the keys that people set first, with values and meanings, and examples."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pathsynth.config.meanings import key_meaning

_OF_TRAINING = ("data.root", "data.size", "lora.rank", "optimizer.lr", "trainer.max_steps", "seed")
_OF_DRAWING = ("sampling.attempts", "sampling.threshold")
FIRST_KEYS: Mapping[str, tuple[str, ...]] = {
    "run": (*_OF_TRAINING, *_OF_DRAWING, "evaluate.n", "study.name"),
    "finetune": (*_OF_TRAINING, "training.batch_size", "trainer.precision", "lora.targets", "study.name"),
    "generate": ("prompt", "label", "labels", "n", *_OF_DRAWING, "sampling.seed", "sampling.steps", "data.root", "study.name"),
    "evaluate": (*_OF_TRAINING, "evaluate.n", "evaluate.split", "evaluate.prompts", "study.name"),
    "classify": (
        "data.root",
        "data.size",
        "data.n_train",
        "classifier.architecture",
        "classifier.part",
        "classifier.epochs",
        "classifier.lr",
        "classifier.seed",
        "classifier.test",
        "study.name",
    ),
    "pretrain": (
        "pretrain.root",
        "pretrain.seed",
        "pretrain.latent_channels",
        "pretrain.channels",
        "pretrain.decoder_steps",
        "pretrain.steps",
        "pretrain.batch_size",
        "pretrain.lr",
        "training.threads",
        "study.name",
    ),
}
"""Ten keys of each command, in the order of the help."""
_OF_OBJECTS = {"optimizer.lr": "The learning rate; by default the best measured one for the base and the optimizer."}
"""Meanings of keys that are arguments of a class, of which the schema knows nothing."""


@dataclass(frozen=True)
class Example:
    """A command as people type it, and what it is for."""

    command: str
    purpose: str


EXAMPLES: Mapping[str, tuple[Example, Example, Example]] = {
    "run": (
        Example("pathsynth run study=demo", "two ranks, on drawn tissue: minutes, no data"),
        Example("pathsynth run data=folder data.root=<folder> data.size=64", "images of your own, a folder for each class"),
        Example("pathsynth run -m lora.rank=1,4,16 seed=0,1,2", "a sweep; again, it skips what is done"),
    ),
    "finetune": (
        Example("pathsynth finetune lora.rank=8", "an adapter of rank 8, on drawn tissue"),
        Example("pathsynth finetune -m optimizer.lr=1e-3,6e-3", "two learning rates"),
        Example("pathsynth finetune debug=fast_dev_run", "two steps of everything, as a test"),
    ),
    "generate": (
        Example('pathsynth generate prompt="pale mucus with faint streaks" n=16', "the words name the class"),
        Example("pathsynth generate labels=all n=20 study.name=tissue", "twenty of each class"),
        Example("pathsynth generate 'labels=[mucus,debris]' sampling.threshold=0.8", "a stricter gate"),
    ),
    "evaluate": (
        Example("pathsynth evaluate evaluate.n=50", "fifty slots of each class"),
        Example("pathsynth evaluate evaluate.split=test", "compare with the test images"),
        Example("pathsynth evaluate -m evaluate.prompts=canonical,held_out", "with other wordings of the prompts"),
    ),
    "classify": (
        Example("pathsynth classify", "the gate's network, on drawn tissue"),
        Example("pathsynth classify classifier=cs3darknet classifier.test=true", "the judge's; scored on test, too"),
        Example("pathsynth classify -m classifier.seed=0,1,2", "three seeds"),
    ),
    "pretrain": (
        Example("pathsynth pretrain pretrain.root=<folder of cifar10.tar>", "the embedded base, hours"),
        Example("pathsynth pretrain pretrain.steps=100 pretrain.decoder_steps=100", "a short one, as a test"),
        Example("pathsynth pretrain study.dry_run=true", "what would be done, and how long it takes"),
    ),
}
_WIDEST, _COLUMN = 110, 30


def help_lines(command: str, purpose: str, config: DictConfig) -> Iterator[str]:
    """The beginning of a command's help; ``config``: as composed by the overrides that stand beside ``--help``."""
    yield f"pathsynth {command}: {purpose}"
    yield ""
    yield f"Usage: pathsynth {command} [key=value ...] [group=option ...] [-m] [flags]"
    yield ""
    yield "Ten keys, with their values here:"
    for key in FIRST_KEYS[command]:
        yield from _entry(f"{key}={_value(OmegaConf.select(config, key))}", _OF_OBJECTS.get(key) or key_meaning(key))
    yield ""
    yield "Examples:"
    widest = max(len(example.command) for example in EXAMPLES[command])
    for example in EXAMPLES[command]:
        yield f"  {example.command:{widest}}  # {example.purpose}"
    yield ""


def _entry(name: str, meaning: str) -> Iterator[str]:
    """Name and meaning in two columns; a name that is too long has a line of its own."""
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST) - _COLUMN - 4
    first, *others = textwrap.wrap(meaning, max(width, 30))
    if len(name) > _COLUMN:
        yield f"  {name}"
        yield f"  {'':{_COLUMN}}  {first}"
    else:
        yield f"  {name:{_COLUMN}}  {first}"
    for line in others:
        yield f"  {'':{_COLUMN}}  {line}"


def _value(value: Any) -> str:
    """As it reads on the command line, but for a shell's quotes."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value).replace(", ", ",")
