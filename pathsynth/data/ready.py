"""A ready set: an adapter, the gate and the judge that were trained beside it, and the words they know. It draws without any training.

``adapter/``, ``gate/`` and ``judge/`` (which may be missing) are folders as the stages of these names leave them; ``ready.json`` holds the
size of the images, the identity of the base, and the prompt book.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from pathsynth.data.dataset import DataSet
from pathsynth.ledger.atomic import read_json, write_json
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.identity import digest
from pathsynth.ledger.weights import weights_digest
from pathsynth.vocabulary.labels import LabelClass, LabelSpace
from pathsynth.vocabulary.prompts import ClassPrompts, PromptBook

_DESCRIPTION, _ADAPTER, _GATE, _JUDGE = "ready.json", "adapter", "gate", "judge"
_WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class ReadySet:
    """A ready set on the disk. ``size`` of its images in pixels; ``base``: identity of the base that it belongs to.

    ``adapter_identity`` and ``gate_identity`` stand for the tensors of both.
    """

    folder: Path
    size: int
    base: str
    data: str
    prompts: PromptBook
    adapter_identity: str
    gate_identity: str
    gate_module: Mapping[str, Any] = field(default_factory=dict)
    """Of a gate of the user's: its class and arguments; empty where it is a shipped one."""

    @property
    def adapter(self) -> Path:
        """Folder of the adapter, as diffusers loads it."""
        return self.folder / _ADAPTER

    @property
    def gate(self) -> Path:
        """Folder of the gate."""
        return self.folder / _GATE

    @property
    def judge(self) -> Path | None:
        """The folder of the independent classifier, if the set has one."""
        return self.folder / _JUDGE if (self.folder / _JUDGE).is_dir() else None

    def as_data(self) -> DataSet:
        """The set as a data set without images: reading a split raises RequestError."""
        identity = digest({"ready": [self.adapter_identity, self.gate_identity], "size": self.size})
        return DataSet(self.data, identity, self.size, self.prompts.space, self.prompts, _no_images)


def write_ready(
    folder: Path, adapter: Path, gate: Path, base: str, data: DataSet, judge: Path | None = None, half: bool = False
) -> None:
    """Make a ready set in ``folder`` from the folders of an adapter and of the classifiers that were trained on the same data.

    ``half``: weights are rounded to float16, which halves the set's size.
    """
    copy = _halved if half else shutil.copyfile
    shutil.copytree(adapter, folder / _ADAPTER, copy_function=copy)
    for name, source in ((_GATE, gate), (_JUDGE, judge)):
        if source:
            (folder / name).mkdir()
            for file in ("classifier.safetensors", "classifier.json"):
                copy(source / file, folder / name / file)
    words = {"space": asdict(data.space), "prompts": [asdict(c) for c in data.prompts.classes]}
    write_json(folder / _DESCRIPTION, {"size": data.size, "base": base, "data": data.name, **words})


def _halved(source: Path | str, target: Path | str) -> None:
    """Copy a file; of weights, with float16 in place of float32."""
    if Path(source).suffix != _WEIGHTS:
        shutil.copyfile(source, target)
        return
    with safe_open(source, "np") as stored:
        metadata = stored.metadata()
    tensors = {name: t.astype(np.float16) if t.dtype == np.float32 else t for name, t in load_file(source).items()}
    save_file(tensors, target, metadata)


def read_ready(folder: Path) -> ReadySet:
    """The ready set in ``folder``.

    Raises:
        RequestError: there is none, or a file of it is damaged.
    """
    remedy = "set data.root to what `pathsynth export --ready` made, or choose other data, as in data=phantom"
    try:
        record = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        return ReadySet(
            folder=folder,
            size=int(record["size"]),
            base=str(record["base"]),
            data=str(record["data"]),
            prompts=_prompts(record),
            adapter_identity=weights_digest(folder / _ADAPTER / "pytorch_lora_weights.safetensors"),
            gate_identity=_gate_identity(folder / _GATE),
            gate_module=read_json(folder / _GATE / "classifier.json").get("spec", {}).get("module", {}),
        )
    except FileNotFoundError as error:
        raise RequestError(f"no ready set in {folder} (no {Path(error.filename).name}); {remedy}") from error
    except (OSError, ValueError, KeyError, TypeError, StageError) as error:
        raise RequestError(f"the ready set in {folder} is damaged ({error}); {remedy}") from error


def _gate_identity(folder: Path) -> str:
    return digest([weights_digest(folder / "classifier.safetensors"), (folder / "classifier.json").read_text(encoding="utf-8")])


def _prompts(record: dict[str, Any]) -> PromptBook:
    space = record["space"]
    classes = tuple(LabelClass(**{**c, "aliases": tuple(c["aliases"])}) for c in space["classes"])
    prompts = tuple(ClassPrompts(p["canonical"], tuple(p["training"]), tuple(p["held_out"])) for p in record["prompts"])
    return PromptBook(LabelSpace(space["name"], classes, space["symmetry"]), prompts)


def _no_images(split: str) -> NoReturn:
    raise RequestError(f"data=ready has no images to read (split {split}); choose other data, as in data=phantom")
