"""README fits on a page, and what it shows of commands is what they printed when they were recorded (`make record`)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORD = ROOT / "tests" / "recorded" / "readme.txt"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown() -> list[tuple[str, list[str]]]:
    """The commands of README, each with the lines of output that are shown after it."""
    found: list[tuple[str, list[str]]] = []
    for kind, text in BLOCK.findall(README):
        lines = text.splitlines()
        if kind == "text":
            found[-1][1].extend(lines)
        else:
            found += [(re.sub(r"\s+#.*", "", line), []) for line in lines]
    return found


def printed() -> dict[str, list[str]]:
    """What each recorded command printed."""
    sections = re.split(r"^\$ ", RECORD.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {section.splitlines()[0]: section.splitlines()[1:] for section in sections}


def is_part(lines: list[str], of: list[str]) -> bool:
    """Whether lines stand in others, in their order, with what there may be between them."""
    rest = iter(of)
    return all(line in rest for line in lines)


def test_it_fits_on_one_page():
    lines = README.splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


def test_what_it_shows_was_printed():
    record = printed()
    commands = [command for command, _ in shown()]
    assert [command for command in record if command not in commands] == [], "recorded for README alone"
    output = [line for lines in record.values() for line in lines]
    told = [(command, lines) for command, lines in shown() if lines]
    assert len(told) == 2
    for _, lines in told:
        assert is_part(lines, output), f"`make record` keeps what is printed now; not printed: {[x for x in lines if x not in output]}"


@pytest.mark.parametrize("kind", ["", "text"])
def test_the_blocks_are_found(kind):
    assert sum(found == kind for found, _ in BLOCK.findall(README)) >= 2


def test_the_first_command_of_the_program_comes_after_the_line_that_puts_it_on_the_path():
    """`make setup` puts the program into .venv/bin, where a newcomer's shell does not look."""
    commands = [command for command, _ in shown()]
    first = next(i for i, command in enumerate(commands) if command.startswith("pathsynth "))
    assert 'export PATH="$PWD/.venv/bin:$PATH"' in commands[:first]
    assert commands.index("make setup") < first
