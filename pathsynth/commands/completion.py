"""`pathsynth completion bash|zsh|fish`: a script that completes commands, flags, files, and what Hydra knows of a configuration."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pathsynth.config.shipped import assets_folder
from pathsynth.ledger.errors import RequestError

SHELLS = ("bash", "zsh", "fish")
_FLAG_LINE = {
    "bash": '{command}) [[ $word == -* ]] && answers=$\'{flags}\' ;;',
    "zsh": '{command}) [[ $PREFIX == -* ]] && compadd -- {flags} && return ;;',
    "fish": 'complete -c pathsynth -n "__fish_seen_subcommand_from {command}" {flags}',
}
_BETWEEN_FLAGS = {"bash": r"\n", "zsh": " ", "fish": " "}


def completion_script(shell: str, config_commands: Sequence[str], flags: Mapping[str, Sequence[str]]) -> str:
    """The script for a shell; ``flags`` are those of each file command.

    Raises:
        RequestError: there is none for that shell.
    """
    if shell not in SHELLS:
        raise RequestError(f"no completion for {shell}; choose one of {', '.join(SHELLS)}")
    lines = [
        _FLAG_LINE[shell].format(command=command, flags=_BETWEEN_FLAGS[shell].join(_flag(shell, flag) for flag in options))
        for command, options in flags.items()
        if options
    ]
    placeholders = {
        "COMMANDS": " ".join([*config_commands, *flags]),
        "CONFIG": (" " if shell == "fish" else "|").join(config_commands),
        "FLAGS": "\n".join(lines),
    }
    template = (assets_folder() / "completion" / shell).read_text(encoding="utf-8")
    return re.sub(r"( *)@(\w+)@", lambda m: m[1] + placeholders[m[2]].replace("\n", "\n" + m[1]), template)


def _flag(shell: str, flag: str) -> str:
    return f"-l {flag.removeprefix('--')}" if shell == "fish" else flag


@dataclass(frozen=True)
class CompletionRequest:
    """A command line up to the cursor: what Hydra is asked to complete, and the user's own folder of configurations.

    ``line`` is None where Hydra has no answer; ``flags`` are the flags that fit a word that begins one.
    """

    line: str | None
    config_dir: str | None
    flags: tuple[str, ...] = ()


def completion_request(line: str, command: str, parser: ArgumentParser) -> CompletionRequest:
    """Fix up a shell's line for Hydra, which knows no commands, splits at every space, and gives up at what it cannot parse.

    Left out are the command, flags, and earlier words that Hydra's grammar does not take (a prompt in quotes). The rest is
    completed as a multirun, in which a value may be a list to sweep over.
    """
    try:
        words = shlex.split(line)[1:]
    except ValueError:  # within quotes
        return CompletionRequest(None, None)
    word = "" if line[-1:].isspace() or not words else words.pop()
    words = words[1:] if words[:1] == [command] else words
    options, directory, before = parser._option_string_actions, None, []
    rest = iter(words)
    for given in rest:
        flag, joined, value = given.partition("=")
        if flag not in options:
            before += [given] if _parses(given) else []
        elif options[flag].nargs is None:  # it has a value
            value = value if joined else next(rest, "")
            if not value and not joined:
                return CompletionRequest(None, directory)  # which is being typed
            directory = value if options[flag].dest == "config_dir" else directory
    if word.startswith("-"):
        return CompletionRequest(None, directory, tuple(option for option in options if option.startswith(word)))
    if re.search(r"\s", word):
        return CompletionRequest(None, directory)
    return CompletionRequest(" ".join(["pathsynth", "-m", *before, word]), directory)


def _parses(word: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return not re.search(r"\s", word)
