"""Pretraining from a small archive of natural images to a base that plain diffusers loads, and on after an interruption."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from pathsynth.config import PretrainConfig
from pathsynth.pretraining.pretrain import pretrain_base, pretrain_metrics
from pathsynth.report.glossary import load_glossary

CONFIG = PretrainConfig(seed=0, latent_channels=4, channels=(32, 32), decoder_steps=3, decoder_lr=1e-3, steps=4, batch_size=8, lr=1e-3)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("natural") / "cifar10.tar"
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for i in range(40):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((32, 32)).save(buffer, "JPEG")
            info = tarfile.TarInfo(f"{'train' if i < 30 else 'test'}/{'ship' if i % 2 else 'bird'}/{i}.jpg")
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
    return path


class StopAt(pl.Callback):
    """Asks the denoiser's training to stop within a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_backward(self, trainer, module, loss) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "base" / "unet" / "diffusion_pytorch_model.safetensors")


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory) -> Path:
    """The folder of a pretraining that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    pretrain_base(CONFIG, archive, folder, folder / "work", lambda _: [pl.Callback()])
    return folder


@pytest.mark.slow
def test_a_base_comes_out_that_plain_diffusers_loads(whole):
    pipeline = StableDiffusionPipeline.from_pretrained(whole / "base", safety_checker=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a red ship", num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (32, 32, 3)


@pytest.fixture
def heeds_ctrl_c():
    """A shell's background job is started with SIGINT ignored, and so are its tests; here Ctrl-C is Python's own."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_an_interrupted_pretraining_goes_on_to_the_same_weights(archive, whole, tmp_path):
    cut = tmp_path / "cut"
    callbacks = {"decoder": [pl.Callback()], "denoiser": [StopAt(2)]}
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        pretrain_base(CONFIG, archive, cut, cut / "work", callbacks.__getitem__)
    assert not (cut / "base").exists()
    pretrain_base(CONFIG, archive, cut, cut / "work", lambda _: [pl.Callback()])
    one, other = weights(whole), weights(cut)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_what_a_pretraining_measured_is_in_its_metrics(whole):
    metrics = pretrain_metrics(whole, seed=0)
    assert [(m.metric, m.data) for m in metrics] == [("psnr", "CIFAR-10"), ("psnr", "phantom 32 px"), ("held_out_loss", "CIFAR-10")]
    assert all(0 < m.value < 60 for m in metrics)
    assert {m.metric for m in metrics} <= load_glossary().keys()
