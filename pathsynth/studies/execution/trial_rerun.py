"""A trial once more, from its manifest alone, into a store in which nothing is found: whether it comes to the same."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pathsynth.config import TrackingConfig
from pathsynth.config.custom_classes import shipped_targets, targets
from pathsynth.ledger.errors import RequestError
from pathsynth.stages.plan import Plan, plan
from pathsynth.studies.execution.supervise import supervise, trial_command, trial_environment
from pathsynth.studies.planning.classes import object_requests
from pathsynth.studies.trials.manifest import Manifest, claim, manifest_of, write_manifest
from pathsynth.studies.trials.state import DONE, WAITING, TrialState, read_state, write_state

_INPUTS = ("data", "base")


def repeat(folder: Path, into: Path | None) -> tuple[Path, TrialState]:
    """Carry the trial of ``folder`` out again below ``into``; the new trial's folder, and the state in which it ended.

    The new trial has stages of its own, as many threads as the first (the number of threads may change the last bits of a
    sum), and no tracking.

    Raises:
        RequestError: the trial is not done, its manifest or its inputs are not what they were, or ``into`` holds something.
        KeyboardInterrupt: this process was asked to stop; the new trial has ended by then.
    """
    manifest, before = manifest_of(folder), read_state(folder)
    if before.state != DONE:
        raise RequestError(f"{folder} is {before.state}; finish it first, to have something to compare with")
    _check_inputs(manifest)
    into = _new_folder(into or folder / f"rerun-{datetime.now():%Y-%m-%d_%H-%M-%S}")
    changed = {"multirun": str(into), "tracking": TrackingConfig()}
    again = Manifest(manifest.name, manifest.config.model_copy(update=changed), manifest.plan, manifest.overrides)
    place = into / manifest.config.study.name / folder.absolute().name
    return place, _carried_out(again, place, before.threads or manifest.config.training.threads)


def _check_inputs(manifest: Manifest) -> None:
    """Raises RequestError if data, base or a user's own class are not those of the first run, whose result cannot be repeated then."""
    before, now = _inputs(manifest.plan), _inputs(plan(manifest.config))
    unlike = [f"{name} {before[name]} → {now.get(name)}" for name in before if before[name] != now.get(name)]
    if unlike:
        raise RequestError(f"{manifest.name} used other files ({', '.join(unlike)}); put those back to repeat it")


def _inputs(plan: Plan) -> dict[str, str]:
    files = {name: identity for stage in plan.stages for name, identity in stage.parents.items() if name in _INPUTS}
    return files | {name: source for stage in plan.stages for name, source in stage.settings.get("classes", {}).items()}


def foreign_targets(folder: Path) -> list[str]:
    """The classes that repeating a trial would run and that no shipped configuration names.

    Raises:
        RequestError: the folder is no trial's, or its manifest is damaged.
    """
    config = manifest_of(folder).config
    classifiers = [c.module for c in (config.gate, config.judge, config.classifier) if c]
    data = config.data.module if config.data else {}
    named = [config.training_objects, classifiers, data, *(request.settings for request in object_requests(config))]
    return sorted({*targets(named)} - shipped_targets())


def _new_folder(into: Path) -> Path:
    try:
        into.mkdir(parents=True, exist_ok=True)
        if any(into.iterdir()):
            raise RequestError(f"{into} is not empty, and nothing in it is overwritten or reused; name another folder")
    except OSError as error:
        raise RequestError(f"{into} cannot be made ({error.strerror}); name another folder with --into") from error
    return into.absolute()


def _carried_out(manifest: Manifest, folder: Path, threads: int | None) -> TrialState:
    study = manifest.config.study
    lease = claim(folder, study.lease_seconds, wait=True)
    assert lease
    with lease:
        write_manifest(folder, manifest)
        write_state(folder, TrialState(WAITING, manifest.plan.identity))
        return supervise(trial_command(folder), folder, trial_environment(threads, workers=1), lease, study.stop_seconds)
