"""What a request has no room for is refused before it starts, with what there is room for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from pathsynth.config import from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.stages.plan import plan
from pathsynth.studies.planning.capacity import name_faults, room_faults, slot_faults


def faults(*overrides: str, command: str = "generate", memory: float = 1e9, free: float = 1e9) -> list[str]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = from_hydra(compose(command, list(overrides)))
    return list(slot_faults(config, plan(config), 9, memory, free))


def test_slots_are_bounded_by_memory_and_the_bound_itself_is_taken():
    (fault,) = faults("n=1000000", "sampling.calls=20")
    assert fault == (
        "n=1000000 asks for 9,000,000 images, and the slots of 85,000 fit into this machine's memory (1.0 GB); set n=85000 or less"
    )
    assert faults("n=85470", "sampling.calls=20") == []
    assert len(faults("n=85471", "sampling.calls=20")) == 1


def test_images_are_bounded_by_the_disk_and_the_bound_itself_is_taken():
    (fault,) = faults("n=10000", free=1e8)
    bound = int(fault.split("set n=")[1].split()[0])
    assert "fit onto the disk" in fault
    assert faults(f"n={bound}", free=1e8) == []
    assert len(faults(f"n={bound * 1.1:.0f}", free=1e8)) == 1
    assert faults("n=10000", free=1e8 + 1e4) == [fault], "a job that is checked a moment later says the same"
    (fault,) = faults("n=1", free=1e3)
    assert fault.endswith("free some space, or name a folder on another disk, as in multirun=…")


def test_one_label_or_a_limit_of_calls_needs_less():
    assert faults("n=10000", "labels=mucus", free=1e8) == []
    assert faults("n=10000", "sampling.calls=100", free=1e8) == []


@pytest.mark.parametrize("key", ["callbacks.regeneration.n", "evaluate.n", "sampling.early_rejection.n"])
def test_every_number_of_slots_is_bounded(key):
    (fault,) = faults(f"{key}=1000000", "sampling.early_rejection.after_step=2", command="run")
    assert fault.startswith(f"{key}=1000000 asks for 9,000,000 images")


def test_a_class_whose_files_would_have_too_long_a_name_is_refused(tmp_path):
    long = "é" * 130
    (fault,) = name_faults(tmp_path, "study", ("mucus", long, "a" * 200))
    assert fault.startswith(f"the class {'é' * 40}… has a name of 260 bytes")
    assert "data.prompts" in fault
    assert list(name_faults(Path("/nowhere/at/all"), "n" * 255, ())) == []


def test_images_that_are_drawn_already_need_no_room(tmp_path, monkeypatch):
    """A generation that continues on a disk that is nearly full is not refused for what it has."""
    monkeypatch.setattr("pathsynth.studies.planning.capacity._free", lambda _: 1e4)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = from_hydra(compose("generate", ["n=10", f"multirun={tmp_path}"]))
    made = plan(config)
    assert len(room_faults(config, made, ("mucus",) * 9)) == 1
    (stage,) = (stage for stage in made.stages if stage.name == "generate")
    work = StageStore(tmp_path / STAGES).work("generate", stage.identity) / "images"
    work.mkdir(parents=True)
    (work / "mucus-00000-0.png").write_bytes(bytes(10**6))
    assert room_faults(config, made, ("mucus",) * 9) == []
