r"""Bases that were pretrained for fewer steps, to see what an adapter learns on them.

    python -m benchmarks.pretraining --cifar ../shared/data/cifar10.tar --out FOLDER [--at 250 500 1000 2100]
    pathsynth run -m study=best base.path=FOLDER/250,FOLDER/500,FOLDER/1000,FOLDER/2100 trainer.max_steps=200 \
        evaluate.n=20 sampling.attempts=1 study.name=pretraining

The denoiser is pretrained as ``pathsynth pretrain`` does it, on the latents of the shipped autoencoder, so that the bases differ in nothing
else; its averaged weights are kept at each of the steps. The rate falls to its end at the last of them. A run that was cut off continues
from its last checkpoint.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from diffusers import AutoencoderTiny
from omegaconf import OmegaConf

from pathsynth.config import PretrainConfig
from pathsynth.config.shipped import assets_folder, conf_folder
from pathsynth.pretraining.cifar import read_cifar
from pathsynth.pretraining.pretrain import BaseParts, autoencoder_phantoms, denoiser_of, fit_averaged, fresh_parts
from pathsynth.pretraining.tiny_base import save_pipeline


class KeepBases(pl.Callback):
    """Writes the base, with the averaged weights, after each of ``steps`` to a folder of that name."""

    def __init__(self, parts: BaseParts, steps: Sequence[int], folder: Path) -> None:
        self._parts, self._steps, self._folder = parts, set(steps), folder

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Write the base with its averaged weights if the step is one of ``steps``."""
        step = trainer.global_step
        if step in self._steps:
            with module.averaged_weights():
                unet = copy.deepcopy(self._parts.unet)  # it is rounded to float16 as it is saved
                save_pipeline(self._folder / str(step), unet, self._parts.vae, self._parts.encoder, self._parts.tokenizer)


def pretrain(config: PretrainConfig, archive: Path, steps: Sequence[int], folder: Path) -> None:
    """Pretrain to the last of ``steps`` and keep a base at each of them."""
    train, held_out = read_cifar(archive, "train"), read_cifar(archive, "test")
    fresh = fresh_parts(train, autoencoder_phantoms(config.seed, "train", 9000), config)
    parts = replace(fresh, vae=AutoencoderTiny.from_pretrained(assets_folder() / "tiny" / "vae"))
    kept = KeepBases(parts, steps, folder)
    fit_averaged("denoiser", denoiser_of(parts, train, held_out, config), config.steps, folder / "checkpoints", folder, [kept])


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and pretrain with the shipped settings, as long as the last step of ``--at``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pretraining", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar", type=Path, required=True, help="cifar10.tar")
    parser.add_argument(
        "--at", type=int, nargs="+", default=[250, 500, 1000, 2100], help="steps after which a base is kept (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="where the bases go, a folder for each of the steps")
    arguments = parser.parse_args(words)
    shipped: Any = OmegaConf.to_container(OmegaConf.load(conf_folder() / "pretrain" / "tiny.yaml"))
    config = PretrainConfig(**{**shipped, "steps": max(arguments.at)})
    pretrain(config, arguments.cifar, arguments.at, arguments.out)


if __name__ == "__main__":
    main()
