"""`pathsynth send [folder …]`: send MLflow the records that wait beside trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pathsynth.ledger.errors import RequestError
from pathsynth.studies.trials.closing import EXIT_DONE, EXIT_FAILED
from pathsynth.tracking.mlflow_sender import NotSent, Sender, masked_address, require_mlflow
from pathsynth.tracking.outbox import Outbox, outboxes


def send_records(folders: Sequence[Path], uri: str | None) -> int:
    """Send what waits below the folders, to another server where one is named; 1 where some of it still waits.

    Raises:
        RequestError: a folder is not there, or MLflow is not installed.
    """
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"no folder {folder}; name a study's, or that of all studies")
    waiting = [outbox for folder in folders for outbox in outboxes(folder) if outbox.waits]
    if not waiting:
        print(f"nothing waits in {', '.join(map(str, folders))}")
        return EXIT_DONE
    require_mlflow()
    left = [reason for outbox in waiting if (reason := _send(outbox, uri))]
    print(f"sent {len(waiting) - len(left)} of {len(waiting)} runs")
    for reason in dict.fromkeys(left):
        print(reason)
    return EXIT_FAILED if left else EXIT_DONE


def _send(outbox: Outbox, uri: str | None) -> str:
    """Why a run's records still wait; empty where they were sent."""
    if uri:
        outbox.head = replace(outbox.head, uri=uri)
    sender = Sender(outbox)
    try:
        sender.send()
    except NotSent as error:
        return f"{masked_address(sender.address)}: {error}"
    return f"{outbox.head.name} is sent by another process just now" if outbox.waits else ""
