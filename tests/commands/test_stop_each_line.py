"""The real command, stopped at each line of its start: from its first to the last before anything is written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

EVERY = int(os.environ.get("PATHSYNTH_STOP_EVERY", "40"))
"""At every how many lines the command is stopped, after the first hundred; at each, 1, takes ten minutes."""

DRIVER = '''
import json, os, signal, sys, time
import pathsynth

program, every, kept = os.path.dirname(pathsynth.__file__), int(sys.argv[1]), sys.argv[2]
records = open(kept, "a")
place = os.getcwd()

def files():
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names)

before = files()
seen, main = set(), os.getpid()

def stopped(line, number):
    """What a copy of this process does to which the signal comes here: exit status, seconds, and what it prints."""
    began, output = time.monotonic(), kept + ".out"
    copy = os.fork()
    if not copy:
        sys.settrace(None)
        streams = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(streams, 1), os.dup2(streams, 2)
        os.kill(os.getpid(), number)
        return False
    while not (ended := os.waitpid(copy, os.WNOHANG))[0]:
        if time.monotonic() - began > 20:
            os.kill(copy, signal.SIGKILL)
        time.sleep(0.002)
    left = sorted(set(files()) - set(before))
    status = os.waitstatus_to_exitcode(ended[1])
    print(json.dumps([line, number, status, time.monotonic() - began, open(output).read(), left]), file=records, flush=True)
    return True

def trace(frame, event, _):
    if os.getpid() != main or not frame.f_code.co_filename.startswith(program):
        return None
    line = f"{frame.f_code.co_filename[len(program) + 1:]}:{frame.f_lineno}"
    if line not in seen:
        if files() != before:
            os._exit(77)
        seen.add(line)
        number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[len(seen) % 3]
        if (len(seen) <= 100 or len(seen) % every == 0) and not stopped(line, number):
            return None
    return trace

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
import pathsynth.__main__
sys.argv = ["pathsynth", *sys.argv[3:]]
sys.settrace(trace)
pathsynth.__main__.main()
'''


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("more", [(), ("-m",)])
def test_a_command_that_is_stopped_at_a_line_of_its_start_ends_in_order_and_begins_nothing(pathsynth, tmp_path_factory, more):
    kept = tmp_path_factory.mktemp("lines")
    (kept / "driver.py").write_text(DRIVER)
    path = os.pathsep.join(filter(None, [str(pathsynth.folder / "stand_in"), os.environ.get("PYTHONPATH")]))
    words = ["run", f"base.path={pathsynth.base}", "tracking=none", "lora.rank=1", *more]
    command = [sys.executable, str(kept / "driver.py"), str(EVERY), str(kept / "records"), *words]
    ended = subprocess.run(
        command, cwd=pathsynth.folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=1700
    )
    assert ended.returncode == 77, f"it did not come to the line that writes first\n{ended.stdout}{ended.stderr}"
    records = [json.loads(line) for line in (kept / "records").read_text().splitlines()]
    assert (len(records) - 100) * EVERY > 300
    wrong = [record for record in records if not _right(*record)]
    assert not wrong, "\n".join(map(str, wrong[:10]))
    print(f"{len(records)} lines, {Counter(status for _, _, status, *_ in records)}")


def _right(line: str, number: int, status: int, seconds: float, printed: str, left: list[str]) -> bool:
    """Ended at once as the signal wants it, without a traceback, and nothing is left but a cache."""
    statuses = (130,) if number == signal.SIGINT else (130, -number)
    return (
        status in statuses
        and seconds < 10
        and "Traceback" not in printed
        and not [path for path in left if "/.override_cache/" not in path]
    )
