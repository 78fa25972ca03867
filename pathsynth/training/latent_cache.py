"""The latent and prompt-embedding cache: what the frozen base makes of the data, computed once and shared by all trials."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.data.images import MappedPages
from pathsynth.data.tensor_file import TensorFile, TensorShape, map_tensor
from pathsynth.data.tensors import dihedral, pad_to, to_float
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.seeds import derive_seed
from pathsynth.models.base import Base

_TENSORS, _PROMPTS = "cache.safetensors", "prompts.json"
_BATCH = 64


@dataclass(frozen=True)
class CaptionTable:
    """Captions that training images have of their own.

    ``rows`` int64 (N,): the place of each image's caption among :attr:`LatentCache.prompts`. ``embeddings`` float32 (Q, T, D), mapped: of
    the Q prompts that follow those of the prompt book.
    """

    rows: Tensor
    embeddings: Tensor
    pages: MappedPages | None = None


@dataclass(frozen=True)
class LatentCache:
    """What fine-tuning reads.

    ``latents`` float16 (N, K, C, h, w): K orientations of N training images, unit variance; ``labels`` int64 (N,);
    ``val_latents`` float16 (M, C, h, w), ``val_labels`` (M,); ``embeddings`` float32 (P, T, D), the first of the empty prompt;
    ``prompts``: what each row of ``embeddings`` says; ``captions``: for each class its rows, the canonical one first. ``own``: captions of
    single training images, where they have any; their texts follow in ``prompts``.

    The latents are mapped from the file: memory holds what is being read of them, and trials on one machine share it. Training images
    are read by :meth:`train_latents`, which gives that memory back; ``pages`` does so.
    """

    latents: Tensor
    labels: Tensor
    val_latents: Tensor
    val_labels: Tensor
    embeddings: Tensor
    prompts: tuple[str, ...]
    captions: tuple[tuple[int, ...], ...]
    pages: MappedPages | None = None
    caption_table: CaptionTable | None = None

    def train_latents(self, rows: Tensor, orientations: Tensor) -> Tensor:
        """float16 (B, C, h, w): of training images, each in one of its orientations; ``rows`` and ``orientations`` int64 (B,)."""
        latents = self.latents[rows, orientations]
        if self.pages:
            self.pages.count(len(rows))
        return latents

    def text(self, rows: Tensor) -> Tensor:
        """float32 (B, T, D): the embeddings of prompts, those of ``caption_table`` read from the file; ``rows`` int64 (B,)."""
        known = len(self.embeddings)
        embeddings = self.embeddings[rows.clamp(max=known - 1)]
        beyond = rows >= known
        if self.caption_table and beyond.any():
            embeddings[beyond] = self.caption_table.embeddings[rows[beyond] - known]
            if self.caption_table.pages:
                self.caption_table.pages.count(int(beyond.sum()))
        return embeddings


def build_cache(folder: Path, data: DataSet, base: Base, augment: bool, captions_of_images: Sequence[str] | None = None) -> None:
    """Encode train (in every orientation the label space allows, if ``augment``), val and the prompt book into ``folder``.

    ``captions_of_images``: of each training image, in order, where they have their own; each distinct one is encoded once.
    """
    orientations = range(8) if augment and data.space.symmetry == "d4" else range(1)
    train, val = data.split("train"), data.split("val")
    prompts, captions = _prompt_table(data)
    small = {"labels": train.labels, "val_labels": val.labels, "embeddings": base.embed(prompts).cpu().float().numpy()}
    further: list[str] = []
    if captions_of_images is not None:
        further, small["caption_rows"] = _caption_rows(prompts, captions_of_images)
    shapes = {
        "latents": TensorShape("float16", (len(train), len(orientations), *base.latent_shape)),
        "val_latents": TensorShape("float16", (len(val), *base.latent_shape)),
        **{name: TensorShape(array.dtype.name, array.shape) for name, array in small.items()},
    }
    if further:
        shapes["caption_embeddings"] = TensorShape("float32", (len(further), *small["embeddings"].shape[1:]))
    with TensorFile(folder / _TENSORS, shapes, _origin(data, base)) as file:
        for name, array in small.items():
            file.write(name, array)
        for start, batch in _encoded(base, train, orientations, "train"):
            file.write("latents", batch, start)
        for start, batch in _encoded(base, val, range(1), "val"):
            file.write("val_latents", batch[:, 0], start)
        for start in range(0, len(further), _BATCH):
            file.write("caption_embeddings", base.embed(further[start : start + _BATCH]).cpu().float().numpy(), start)
    write_json(folder / _PROMPTS, {"prompts": [*prompts, *further], "captions": captions})


class DamagedCache(Exception):
    """What stands in a cache's place is damaged, or made of other images or by another base."""


def load_cache(folder: Path, data: DataSet, base: Base) -> LatentCache:
    """Open the cache of ``data`` and ``base`` that :func:`build_cache` wrote.

    Raises:
        DamagedCache: it has to be built again.
    """
    try:
        with safe_open(folder / _TENSORS, framework="pt") as file:
            origin = {key: value for key, value in file.metadata().items() if key in _ORIGIN}
            small = {name: file.get_tensor(name).clone() for name in ("labels", "val_labels", "embeddings")}
            names = set(file.keys())
            rows = file.get_tensor("caption_rows").clone() if "caption_rows" in names else None
            maps_captions = "caption_embeddings" in names
        if origin != _origin(data, base):
            raise DamagedCache(f"the latent cache in {folder} was made of other images or by another base")
        mapped = {name: map_tensor(folder / _TENSORS, name) for name in ("latents", "val_latents")}
        tensors = {**small, **{name: torch.from_numpy(array) for name, array in mapped.items()}}
        table = json.loads((folder / _PROMPTS).read_text())
        captions = tuple(tuple(rows) for rows in table["captions"])
        caption_table = None if rows is None else _caption_table(folder / _TENSORS, rows, small["embeddings"], maps_captions)
        pages, prompts = MappedPages(mapped["latents"]), tuple(table["prompts"])
        return LatentCache(**tensors, prompts=prompts, captions=captions, pages=pages, caption_table=caption_table)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCache(f"the latent cache in {folder} is damaged ({str(error).splitlines()[0]})") from error


_ORIGIN = ("data", "base", "canvas")


def _origin(data: DataSet, base: Base) -> dict[str, str]:
    """What a cache's tensors come from."""
    return dict(zip(_ORIGIN, (data.identity, base.identity, str(base.canvas)), strict=True))


def _prompt_table(data: DataSet) -> tuple[list[str], list[list[int]]]:
    prompts, captions = [""], []
    for label in range(len(data.space)):
        wordings = data.prompts.captions(label, paraphrases=True)
        captions.append(list(range(len(prompts), len(prompts) + len(wordings))))
        prompts.extend(wordings)
    return prompts, captions


def _caption_rows(prompts: Sequence[str], captions: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The distinct captions that are none of the prompts, and of each caption its row among prompts and these, int64 (N,)."""
    places = {prompt: row for row, prompt in enumerate(prompts)}
    further = [caption for caption in dict.fromkeys(captions) if caption not in places]
    places.update({caption: row for row, caption in enumerate(further, len(prompts))})
    return further, np.array([places[caption] for caption in captions], dtype=np.int64)


def _caption_table(path: Path, rows: Tensor, embeddings: Tensor, maps_captions: bool) -> CaptionTable:
    """The captions of single images; where each is a prompt of the book, there is nothing to map."""
    if not maps_captions:
        return CaptionTable(rows, embeddings[:0])
    mapped = map_tensor(path, "caption_embeddings")
    return CaptionTable(rows, torch.from_numpy(mapped), MappedPages(mapped))


def _encoded(
    base: Base, images: LabelledImages, orientations: Sequence[int], split: str, batch_size: int = _BATCH
) -> Iterator[tuple[int, np.ndarray]]:
    """Batches of latents, float16 (B, K, C, h, w), each with the row of its first.

    A posterior, where the autoencoder has one, is sampled with a seed of its own for each batch.
    """
    device = base.unet.device
    for start in range(0, len(images), batch_size):
        batch, latents = to_float(images.images[start : start + batch_size]), []
        for orientation in orientations:
            turned = dihedral(batch, torch.full((len(batch),), orientation))
            generator = torch.Generator(device).manual_seed(derive_seed("cache", split, orientation, start))
            latents.append(base.encode(pad_to(turned, base.canvas).to(device), generator).cpu().half())
        yield start, torch.stack(latents, dim=1).numpy()
