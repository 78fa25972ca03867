"""The real path at the size of Stable Diffusion 1.5, with random weights: cached, trained, killed, resumed, exported, drawn from.

The weights cost what the real ones cost. Images are the 224 px tiles of the folder that TILES names (a folder a class), or phantoms.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from pathsynth.data.phantom import phantom_data
from pathsynth.pretraining.text_encoder import word_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

MOST_MEMORY = 20e9
"""Bytes that any one process may hold."""

FEW = [
    *("base=local", "data=folder", "data.size=224", "data.symmetry=d4", "data.val_share=0.25", "tracking=none"),
    *("gate.epochs=1", "gate.batch_size=8", "callbacks.regeneration.every=0", "objective.augment=false", "objective.paraphrases=false"),
    *("lora.rank=4", "lora.targets=attention", "trainer.max_steps=2", "training.batch_size=1", "training.checkpoint_every=1"),
    *("training.gradient_checkpointing=true", "sampling.steps=2", "sampling.attempts=1", "sampling.guidance=7.5"),
]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> Path:
    named = os.environ.get("TILES")
    if named:
        return Path(named).absolute()
    folder = tmp_path_factory.mktemp("tiles")
    data = phantom_data(224, 72, 9, 9, seed=0)
    images = data.split("train")
    for number, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        path = folder / data.space.classes[int(label)].slug / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Iterator[Path]:
    """A folder in diffusers layout whose networks have the shapes of Stable Diffusion 1.5; its gigabytes are removed afterwards."""
    folder = tmp_path_factory.mktemp("sd15")
    torch.manual_seed(0)
    tokenizer = word_tokenizer(["a", "histopathological", "image", "of", "an", "area", "with", "tissue"])
    tokenizer.model_max_length = 77
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    text = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768, vocab_size=49408, **ends
    )
    down, up, channels = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4, (128, 256, 512, 512)
    vae = AutoencoderKL(down_block_types=down, up_block_types=up, block_out_channels=channels, layers_per_block=2, sample_size=512)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1, "skip_prk_steps": True}
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        scheduler=PNDMScheduler(set_alpha_to_one=False, **schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    yield folder
    shutil.rmtree(folder)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "pathsynth", *arguments]
    return subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def run(folder: Path, *arguments: str) -> str:
    """What a command says; how long it took and the most memory so far go to the terminal."""
    started = time.monotonic()
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output
    print(f"pathsynth {arguments[0]}: {time.monotonic() - started:.0f} s, peak {peak() / 1e9:.1f} GB")
    return output


def peak() -> float:
    """Bytes that the largest of the processes waited for so far has held."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def test_the_whole_path_at_full_size(tmp_path, base, tiles, signal_tree):
    unet = UNet2DConditionModel.load_config(base / "unet")
    assert unet["block_out_channels"] == [320, 640, 1280, 1280]
    command = ["finetune", f"base.path={base}", f"data.root={tiles}", *FEW]
    checkpoint = "multirun/.stages/**/step-00000001.ckpt"
    first = start(tmp_path, *command)
    while not list(tmp_path.glob(checkpoint)):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    signal_tree(first.pid, signal.SIGKILL)
    first.communicate()
    size = next(tmp_path.glob(checkpoint)).stat().st_size
    weights = sum(path.stat().st_size for path in base.rglob("*.safetensors"))
    print(f"a checkpoint has {size:,} bytes, the base {weights:,}: {size / weights:.2%}")
    assert size <= 0.01 * weights

    run(tmp_path, *command)
    trial = next((tmp_path / "multirun").glob("*/*/state.json")).parent
    assert json.loads((trial / "state.json").read_text())["state"] == "done"
    assert len((trial / "adapter" / "adapter.json").read_text()) > 0

    run(tmp_path, "export", str(trial), "mine")
    assert (tmp_path / "mine" / "pytorch_lora_weights.safetensors").is_file()
    label = "TUM" if os.environ.get("TILES") else "adenocarcinoma"
    run(tmp_path, "generate", f"base.path={base}", f"data.root={tiles}", *FEW, f"label={label}", "n=1")
    attempts = [pd.read_parquet(path) for path in (tmp_path / "multirun").glob("*/*/attempts.parquet")]
    assert [len(table) for table in attempts] == [1], "one image was drawn and judged"
    assert peak() <= MOST_MEMORY
