"""What a command shows on a terminal, with a pipeline that takes no time."""

from __future__ import annotations

import os
import pty
import re


def on_a_terminal(pathsynth, *arguments: str) -> str:
    """What a run shows on a terminal, without the codes that move the cursor and colour."""
    ours, theirs = pty.openpty()
    process = pathsynth.start("run", f"base.path={pathsynth.base}", "tracking=none", *arguments, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the last process that writes to it has ended
            break
    os.close(ours)
    assert process.wait(30) == 0, shown.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def test_each_trial_of_a_sweep_has_one_display_from_its_first_moment(pathsynth):
    shown = on_a_terminal(pathsynth, "-m", "lora.rank=1,2")
    assert shown.count("loading the libraries") >= 2
    ticks = re.findall(r"✓ \[(\d)/(\d)\] ([a-z-]+)  (?:reused|\d:\d\d)", shown)
    names = [name for _, _, name in ticks]
    assert len(names) == 2 * len(set(names)) and {"gate", "judge", "fine-tune", "generate", "evaluate"} <= set(names)
    assert [int(number) for number, *_ in ticks] == [*range(1, len(set(names)) + 1)] * 2
    assert re.search(r"rank=2-\w+: done", shown)


def test_in_a_log_nothing_is_drawn(pathsynth):
    ended = pathsynth.run("lora.rank=1")
    assert ended.code == 0 and not re.search("[✓━⠋]|loading the libraries", ended.out + ended.err)
