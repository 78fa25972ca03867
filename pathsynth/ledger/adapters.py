"""The card of a saved adapter: what it belongs to and how it was made. Read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pathsynth.ledger.errors import RequestError

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
CARD_FILE = "adapter.json"


@dataclass(frozen=True)
class AdapterCard:
    """What an adapter belongs to and how it was made; stands beside the weights as JSON.

    ``step``: where in the training of ``steps`` its tensors come from. ``prompts``: the canonical one of each of ``classes``.
    ``retries``: how often the training went back and on at a lower learning rate. ``version``: of this program.
    """

    base: str
    label_space: str
    classes: tuple[str, ...]
    data: str
    rank: int
    alpha: float
    targets: str | tuple[str, ...]
    seed: int
    step: int
    steps: int | None = None
    dora: bool = False
    rslora: bool = False
    text_encoder: bool = False
    data_identity: str = ""
    prompts: tuple[str, ...] = ()
    retries: int = 0
    version: str = ""


def adapter_files(start: Path) -> list[Path]:
    """The files of tensors that ``lora.start`` names: itself, or those in a folder."""
    return [start] if start.is_file() else sorted(start.glob("*.safetensors"))


def read_card(folder: Path) -> AdapterCard:
    """The card of a saved adapter.

    Raises:
        RequestError: the folder holds no complete adapter.
    """
    path = folder / CARD_FILE
    if not path.is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise RequestError(f"{folder} holds no adapter ({WEIGHTS_FILE} and {CARD_FILE}); name an adapter folder of this program")
    try:
        fields = json.loads(path.read_text())
        return AdapterCard(**{**fields, "classes": tuple(fields["classes"]), "prompts": tuple(fields.get("prompts", ()))})
    except (ValueError, TypeError, KeyError) as error:
        raise RequestError(f"{path} is not an adapter card ({error}); train or export the adapter again") from error
