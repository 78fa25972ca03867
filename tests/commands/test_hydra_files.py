"""``.hydra/`` in a trial's folder: as any Hydra run has it, without secrets, and left alone once the trial is done."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

NAMES = ["config.yaml", "hydra.yaml", "overrides.yaml"]


def files(trial: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((trial / ".hydra").iterdir())}


@pytest.mark.slow
def test_a_trial_holds_what_hydra_composed_it_from(pathsynth):
    pathsynth.variables = {"WORD": "tissue"}
    referring = ["study.name=${hydra:runtime.choices.data}", "+study.question='${oc.env:WORD} ${now:%Y}?'"]
    assert pathsynth.run("-m", "lora.rank=2,4", *referring).code == 0
    trial = pathsynth.trial("rank=2", study="phantom")
    before = files(trial)
    assert list(before) == NAMES
    config, hydra = (OmegaConf.create(before[f"{name}.yaml"]) for name in ("config", "hydra"))
    assert config.lora.rank == 2 and config.optimizer.lr == 6e-3 and "hydra" not in config
    assert (hydra.hydra.job.name, hydra.hydra.job.num, hydra.hydra.mode) == ("pathsynth", 0, "MULTIRUN")
    assert "lora.rank=2" in OmegaConf.create(before["overrides.yaml"])
    assert "${oc.env:WORD}" in before["config.yaml"] and "tissue" not in "".join(before.values()), "references stay references"
    manifest = (trial / "manifest.json").read_text()
    assert f'"question": "tissue {time.strftime("%Y")}?"' in manifest
    again = pathsynth.run("-m", "lora.rank=2,4", "study.name=phantom", "seed=0")
    assert again.code == 0 and again.out.count("done already") + again.out.count("found done") >= 1, again.out
    assert files(trial) == before
    assert pathsynth("gc", "multirun").code == 0
    assert pathsynth("publish", "multirun/phantom", "--into", "shared.zip").code == 0
    assert not [name for name in zipfile.ZipFile(pathsynth.folder / "shared.zip").namelist() if ".hydra" in name]


JOBLIB = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "lora.rank=2,4"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [["lora.rank=2"], JOBLIB], ids=["one", "joblib"])
def test_no_secret_is_written_whatever_holds_it(pathsynth, launcher):
    pathsynth.variables = {"HF_TOKEN": "s3cr3t-1", "WANDB_API_KEY": "s3cr3t-2"}
    secrets = ["+hydra.job.env_set.MY_TOKEN=s3cr3t-3", "+hydra.job.env_set={OTHER_API_KEY:s3cr3t-4,PLAIN:kept}"]
    assert pathsynth.run(*launcher, *secrets, "+hydra.job.env_set.THIRD_TOKEN=${oc.env:HF_TOKEN}").code == 0
    texts = files(pathsynth.trial("rank=2"))
    assert list(texts) == NAMES
    assert "s3cr3t" not in "".join(texts.values())
    env_set = OmegaConf.to_container(OmegaConf.create(texts["hydra.yaml"]), resolve=False)["hydra"]["job"]["env_set"]
    assert env_set["PLAIN"] == "kept" and env_set["THIRD_TOKEN"] == "${oc.env:HF_TOKEN}" and env_set["MY_TOKEN"] == "(left out)"
    written = [path for path in (pathsynth.folder / "multirun").rglob("*") if path.is_file() and path.name != "uncommitted.patch"]
    assert [path for path in written if b"s3cr3t" in path.read_bytes()] == []


@pytest.mark.slow
def test_who_wants_no_such_files_gets_none(pathsynth):
    assert pathsynth.run("lora.rank=2", "hydra.output_subdir=null").code == 0
    assert not (pathsynth.trial("rank=2") / ".hydra").exists()
