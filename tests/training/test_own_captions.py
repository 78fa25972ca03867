"""A fine-tune whose training images have captions of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from pathsynth.config import LoraConfig, ObjectiveConfig, SamplingConfig, TrainerConfig, TrainingConfig, ValidationConfig
from pathsynth.data.phantom import phantom_data
from pathsynth.models.base import load_base
from pathsynth.training.batches import BatchPlan
from pathsynth.training.finetune import FinetuneJob, FinetuneSettings, finetune
from pathsynth.training.latent_cache import build_cache, load_cache

DATA = phantom_data(32, 18, 9, 9, seed=0)
CANONICAL = [DATA.prompts.canonical(int(label)) for label in DATA.split("train").labels]
OWN = [CANONICAL[0], *(f"pale image of area {row % 7}" for row in range(1, 18))]
"""One is a prompt of the book; seven more are distinct."""
PLAIN = ObjectiveConfig(noise_offset=0.0, caption_dropout=0.3, paraphrases=False, augment=False)
CONSTANT = {"_target_": "pathsynth.training.schedules.constant"}
TRAINER = TrainerConfig(max_steps=3, precision="32-true", gradient_clip_val=1.0)
TRAINING = TrainingConfig(batch_size=4, warmup_steps=0, ema_decay=0.0)


@pytest.fixture(scope="module")
def base(small_base_folder):
    return load_base(str(small_base_folder), None, "b", 32, 32)


@pytest.fixture(scope="module")
def caches(base, tmp_path_factory):
    """By the captions that training images have."""
    found = {}
    for name, captions in {"class": None, "own": OWN, "canonical": CANONICAL}.items():
        folder = tmp_path_factory.mktemp(name)
        build_cache(folder, DATA, base, augment=False, captions_of_images=captions)
        found[name] = load_cache(folder, DATA, base)
    return found


def plan(cache, **objective) -> BatchPlan:
    return BatchPlan(cache, PLAIN.model_copy(update=objective), batch_size=5, seed=3, timesteps=1000)


def test_distinct_captions_are_embedded_once_and_mapped(caches, base):
    cache, book = caches["own"], caches["class"]
    assert cache.prompts == (*book.prompts, *dict.fromkeys(OWN[1:])) and torch.equal(cache.embeddings, book.embeddings)
    assert cache.caption_table.embeddings.shape == (7, *cache.embeddings.shape[1:]) and cache.caption_table.pages._mapped is not None
    assert [cache.prompts[row] for row in cache.caption_table.rows] == OWN
    rows = torch.tensor([len(book.prompts) + 6, 0, int(cache.caption_table.rows[0]), len(book.prompts)])
    assert torch.equal(cache.text(rows), torch.stack([base.embed([cache.prompts[row]])[0] for row in rows]).cpu())


def test_without_captions_of_their_own_the_cache_holds_what_it_held(caches):
    assert caches["class"].caption_table is None and len(caches["class"].prompts) == len(caches["class"].embeddings)


@pytest.mark.parametrize("paraphrases", [True, False])
def test_a_batch_has_each_images_own_caption_or_none(caches, paraphrases):
    cache, dropped = caches["own"], 0
    for step in range(12):
        made = plan(cache, paraphrases=paraphrases)
        texts = [cache.prompts[row] for row in made.train(step).captions]
        for row, text in zip(made._rows(step).tolist(), texts, strict=True):
            assert text in ("", OWN[row])
            dropped += text == ""
    assert 5 < dropped < 30, "of 60, a third"


def test_captions_change_nothing_else_of_a_batch_and_nothing_of_validation(caches):
    for step in range(4):
        own, of_class = plan(caches["own"]).train(step), plan(caches["class"]).train(step)
        assert all(torch.equal(getattr(own, name), getattr(of_class, name)) for name in ("latents", "noise", "timesteps"))
        assert torch.equal(own.captions == 0, of_class.captions == 0), "the same prompts are dropped"
        for one, other in zip(plan(caches["own"]).val(step), plan(caches["class"]).val(step), strict=True):
            assert torch.equal(one, other)


def trained(folder, small_base_folder, cache, text_encoder=False, **objective) -> dict[str, torch.Tensor]:
    settings = FinetuneSettings(
        seed=3,
        lora=LoraConfig(rank=2, dropout=0.0, targets="attention", text_encoder=text_encoder),
        optimizer={"_target_": "torch.optim.SGD", "lr": 1.0},
        schedule=CONSTANT,
        trainer=TRAINER,
        training=TRAINING,
        objective=PLAIN.model_copy(update=objective),
        validation=ValidationConfig(every=0, n=1),
        sampling=SamplingConfig(steps=2, guidance=2.0, batch_size=9, seed=0, attempts=2, threshold=0.0),
    )
    base = load_base(str(small_base_folder), None, "b", 32, 32)
    folder.mkdir()
    finetune(FinetuneJob(base, cache, DATA, lambda *_: [], settings), folder, folder / "work", [], ())
    return load_file(folder / "adapter" / "pytorch_lora_weights.safetensors")


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text_encoder", [False, True])
def test_an_adapter_learns_captions_and_the_canonical_ones_as_it_learns_prompts(caches, small_base_folder, tmp_path, text_encoder):
    made = {name: trained(tmp_path / name, small_base_folder, cache, text_encoder) for name, cache in caches.items()}
    assert same(made["canonical"], made["class"])
    assert not same(made["own"], made["class"])


@pytest.mark.filterwarnings("ignore")
def test_the_loss_of_first_batches_is_that_of_their_own_captions(caches, small_base_folder, tmp_path):
    from pathsynth.models.design import AdapterDesign
    from pathsynth.models.lora import attach
    from pathsynth.training.lora_module import FinetuneParts, LoraFinetuning

    base = load_base(str(small_base_folder), None, "b", 32, 32)
    parameters = attach(base, AdapterDesign(2, 2), 0)
    optimizer = {"_target_": "torch.optim.SGD", "lr": 1.0}
    parts = {name: FinetuneParts(base, parameters, plan(cache), TRAINING, optimizer, CONSTANT) for name, cache in caches.items()}
    losses = {name: LoraFinetuning(own).training_loss(2) for name, own in parts.items()}
    assert losses["canonical"] == losses["class"] != losses["own"]


BUILD = """
import resource, sys
from pathlib import Path
from types import SimpleNamespace
import torch
from pathsynth.training.latent_cache import build_cache, load_cache
from pathsynth.data.phantom import phantom_data

data = phantom_data(32, 900, 9, 9, seed=0)
base = SimpleNamespace(
    unet=SimpleNamespace(device=torch.device("cpu")), canvas=32, identity="b", latent_shape=(4, 8, 8),
    embed=lambda prompts: torch.zeros(len(prompts), 77, 768),
    encode=lambda images, generator: torch.zeros(len(images), 4, 8, 8),
)
data.split("train"), data.split("val")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
build_cache(Path(sys.argv[1]), data, base, False, [f"image {row}" for row in range(900)])
print(peak() - before)
"""


@pytest.mark.slow
def test_building_holds_a_part_of_the_embeddings_in_memory(tmp_path):
    """As large as those of Stable Diffusion: 213 MB of 900 captions."""
    ended = subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (tmp_path / "cache.safetensors").stat().st_size > 210e6
    assert int(ended.stdout) < 110, "megabytes"
