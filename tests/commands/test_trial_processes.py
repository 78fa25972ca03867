"""How the processes of trials begin: afresh, or as forks of a server; a trial cannot tell which."""

from __future__ import annotations

import json

_OF_A_COMMAND = ("PATHSYNTH_STARTED", "PATHSYNTH_OUTCOMES", "STAND_IN")
COUNTING_MODULE = """
with open("imports.txt", "a+") as log:
    log.write("x")
    log.seek(0)
    VALUE = len(log.read())
"""


def test_a_forked_trial_finds_what_one_that_is_started_afresh_finds(pathsynth):
    """But for one descriptor, which tells whether its supervisor is there. Each loads the user's modules itself."""
    pathsynth.told = {rank: {"finetune": "report"} for rank in ("1", "2", "4")}
    (pathsynth.folder / "of_the_user.py").write_text(COUNTING_MODULE)
    assert pathsynth.run("lora.rank=1").code == 0
    assert pathsynth.run("-m", "lora.rank=2,4").code == 0
    told = [json.loads(line) for line in (pathsynth.folder / "reports.jsonl").read_text().splitlines()]
    assert [report.pop("user's module") for report in told] == [1, 2, 3]
    for report in told:
        for name in _OF_A_COMMAND:
            report["environment"].pop(name)
    afresh, *forked = told
    for report in forked:
        report["descriptors"].remove("anon_inode")
    assert forked == [afresh, afresh]
    assert afresh["descriptors"] == ["null", "pipe", "pipe", "log.txt"]
