"""The latent cache: what it holds, that it is mapped and not read, and that what is not its own is found out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from pathsynth.data.phantom import phantom_data
from pathsynth.data.tensors import dihedral, to_float
from pathsynth.models.base import load_base
from pathsynth.training.latent_cache import DamagedCache, build_cache, load_cache

DATA = phantom_data(32, 18, 9, 9, seed=0)


@pytest.fixture(scope="module")
def base(small_base_folder):
    return load_base(str(small_base_folder), None, "b", 32, 32)


@pytest.fixture(params=[True, False], ids=["augmented", "as they are"])
def cached(base, tmp_path, request):
    build_cache(tmp_path, DATA, base, augment=request.param)
    return load_cache(tmp_path, DATA, base), 8 if request.param else 1


def test_it_holds_what_the_base_makes_of_every_image_in_every_orientation(cached, base):
    cache, orientations = cached
    images = DATA.split("train")
    assert cache.latents.shape == (18, orientations, 4, 8, 8) and cache.latents.dtype == torch.float16
    assert cache.labels.tolist() == images.labels.tolist()
    for turn in range(orientations):
        turned = dihedral(to_float(images.images), torch.full((18,), turn))
        assert torch.equal(cache.latents[:, turn], base.encode(turned).half())
    assert torch.equal(cache.val_latents, base.encode(to_float(DATA.split("val").images)).half())


def test_it_holds_every_prompt_once_the_empty_one_first(cached, base):
    cache, _ = cached
    assert cache.prompts[0] == "" and len(set(cache.prompts)) == len(cache.prompts) == len(cache.embeddings)
    assert torch.equal(cache.embeddings, base.embed(list(cache.prompts)))
    for label, rows in enumerate(cache.captions):
        assert [cache.prompts[row] for row in rows] == list(DATA.prompts.captions(label, paraphrases=True))


def test_what_is_damaged_or_anothers_is_found_out(base, tmp_path):
    build_cache(tmp_path, DATA, base, augment=False)
    load_cache(tmp_path, DATA, base)
    with pytest.raises(DamagedCache, match="made of other images or by another base"):
        load_cache(tmp_path, replace(DATA, identity="other"), base)
    with pytest.raises(DamagedCache, match="made of other images or by another base"):
        load_cache(tmp_path, DATA, replace(base, identity="other"))
    tensors = tmp_path / "cache.safetensors"
    whole = tensors.read_bytes()
    for damaged in (whole[:-10], whole[:100], b"", b"\0" * len(whole)):
        tensors.write_bytes(damaged)
        with pytest.raises(DamagedCache, match=r"is damaged \([^\n]+\)$"):
            load_cache(tmp_path, DATA, base)
    tensors.write_bytes(whole)
    (tmp_path / "prompts.json").write_text("{")
    with pytest.raises(DamagedCache):
        load_cache(tmp_path, DATA, base)


MEASURE = """
import resource, sys
from safetensors.torch import load_file
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tensors = load_file(sys.argv[1])
first = float(tensors["latents"][0].sum())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_opening_a_file_of_tensors_reads_only_what_is_used(tmp_path):
    """What the cache relies on: safetensors maps a file into memory."""
    save_file({"latents": torch.ones(200, 1024, 256)}, tmp_path / "big.safetensors")
    assert (tmp_path / "big.safetensors").stat().st_size > 200 << 20
    told = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "big.safetensors")], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 40
    assert load_file(tmp_path / "big.safetensors")["latents"].shape == (200, 1024, 256)


BUILD = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
import numpy as np, torch
from pathsynth.training.latent_cache import build_cache, load_cache
from pathsynth.data.dataset import LabelledImages
from pathsynth.data.phantom import phantom_data

images = LabelledImages(np.zeros((480, 32, 32, 3), np.uint8), np.zeros(480, np.int64))
data = replace(phantom_data(32, 9, 9, 9, seed=0), read=lambda split: images if split == "train" else images.take(np.arange(9)))
latent = (4, 64, 64)
base = SimpleNamespace(
    unet=SimpleNamespace(device=torch.device("cpu")), canvas=32, identity="b", latent_shape=latent,
    embed=lambda prompts: torch.zeros(len(prompts), 4, 8),
    encode=lambda images, generator: torch.zeros(len(images), *latent),
)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
build_cache(Path(sys.argv[1]), data, base, augment=True)
print(peak() - before)
"""


@pytest.mark.slow
def test_building_holds_a_part_of_the_latents_in_memory(tmp_path):
    """As large as those of Stable Diffusion at 512 px: 126 MB of 480 images in eight orientations."""
    ended = subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (tmp_path / "cache.safetensors").stat().st_size > 125e6
    assert int(ended.stdout) < 110, "megabytes"
