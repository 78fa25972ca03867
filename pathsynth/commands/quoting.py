"""Overrides as people type them, made such that Hydra takes them: free text is quoted, a plus before a known key is no fault."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from pathsynth.config.free_text import hydra_quoted, is_quoted
from pathsynth.config.parse import setting_keys
from pathsynth.config.schema import CLASSIFIER, CUSTOM_OPTIONS

_FREE_TEXT = re.compile(r"(\+{0,2}prompt)=(.*)|(\+{0,2}data\.group)=((?:regex|csv):.*)", re.DOTALL)
_HOME = re.compile(r"(\+{0,2}(?:data\.root|data\.prompts|data\.captions|base\.path|lora\.start|pretrain\.root|multirun))=(~(?:/[^,]*)?)")
_CUSTOM_CLASS = re.compile(r"\+{0,2}(gate|judge|classifier|data)\._target_=(.+)")
_LIST = re.compile(r"(\+{0,2}labels)=([^\[\]()'\"]*,[^\[\]()'\"]*)")


def quote_free_text(arguments: Sequence[str], multirun: bool) -> list[str]:
    """The arguments with `prompt=` and patterns quoted (unless they are quoted already) and `labels=a,b` as a list (unless it is swept).

    A path that begins with ~ is made that of the home folder: a shell leaves it as it is behind a key, and Hydra cannot read it.
    """
    return [_quoted_labels(_quoted_prompt(_expanded(argument)), multirun) for argument in arguments]


def accept_plus(arguments: Sequence[str]) -> list[str]:
    """The arguments with ``++`` in place of ``+`` before a key that every configuration has: Hydra would not add what is there."""
    keys = setting_keys()
    added = (re.fullmatch(r"\+([a-z_0-9.]+)=.*", argument, re.DOTALL) for argument in arguments)
    return [f"+{argument}" if match and match[1] in keys else argument for argument, match in zip(arguments, added, strict=True)]


def choose_custom_options(arguments: Sequence[str]) -> list[str]:
    """The arguments, and before them for each ``gate._target_`` and the like that is a class of the user's, the option made for one.

    A shipped option holds the arguments of the shipped class, which no other class takes. Where an option is chosen, it stays.
    """
    chosen = {argument.partition("=")[0].lstrip("+") for argument in arguments}
    groups = {match[1] for argument in arguments if (match := _CUSTOM_CLASS.fullmatch(argument)) and match[2] != CLASSIFIER}
    options = {"data": "data=own", **{group: f"{_choice(group)}={option}" for group, option in CUSTOM_OPTIONS.items()}}
    return [*(word for group, word in options.items() if group in groups and word.partition("=")[0] not in chosen), *arguments]


def _choice(group: str) -> str:
    """What chooses an option for a classifier's group."""
    return group if group == "classifier" else f"classifier@{group}"


def _expanded(argument: str) -> str:
    home = _HOME.fullmatch(argument)
    return f"{home[1]}={hydra_quoted(os.path.expanduser(home[2]))}" if home else argument


def _quoted_prompt(argument: str) -> str:
    match = _FREE_TEXT.fullmatch(argument)
    if not match:
        return argument
    key, text = match[1] or match[3], match[2] if match[1] else match[4]
    return argument if is_quoted(text) else f"{key}={hydra_quoted(text)}"


def _quoted_labels(argument: str, multirun: bool) -> str:
    match = None if multirun else _LIST.fullmatch(argument)
    return f"{match[1]}=[{match[2]}]" if match else argument
