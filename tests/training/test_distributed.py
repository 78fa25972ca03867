"""Ranks: whose environment a fine-tune keeps out of, and what it leaves behind. Two-process runs: tests/studies/test_devices.py."""

from __future__ import annotations

import os

import pytorch_lightning as pl
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment

from pathsynth.training.distributed import launched, launcher_environment, local_rank, strategy_for


def test_slurm_neither_places_the_processes_nor_requeues_the_job(monkeypatch):
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "study", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)
    assert SLURMEnvironment.detect(), "Lightning would take the job for its own"
    trainer = pl.Trainer(accelerator="cpu", devices=1, plugins=[launcher_environment()], logger=False, enable_checkpointing=False)
    assert isinstance(trainer._accelerator_connector.cluster_environment, LightningEnvironment)


def test_what_a_launch_reported_is_gone_afterwards(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("MASTER_PORT", "1234")
    with launched():
        os.environ["LOCAL_RANK"], os.environ["MASTER_PORT"] = "0", "4321"
    assert "LOCAL_RANK" not in os.environ and os.environ["MASTER_PORT"] == "1234"
    assert local_rank() == 0
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_rank() == 1


def test_one_device_needs_no_strategy():
    assert strategy_for(1) == "auto"
    assert type(strategy_for(2)).__name__ == "DDPStrategy"
