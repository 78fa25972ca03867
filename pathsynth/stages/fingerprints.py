"""What a plan starts from, data and base, identified by their content; no torch, so that a planner stays light."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathsynth.config import BaseConfig, DataConfig
from pathsynth.config.shipped import assets_folder
from pathsynth.data.caption_files import ImageCaptions
from pathsynth.data.catalogue import captions_of, counts_of, medmnist_source, open_data
from pathsynth.data.medmnist import content_identity, medmnist_identity
from pathsynth.data.prompt_file import read_prompts
from pathsynth.ledger.adapters import CARD_FILE, adapter_files
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.hub import require_on_hub
from pathsynth.ledger.identity import digest
from pathsynth.ledger.local_cache import checksum
from pathsynth.ledger.weights import weights_digest
from pathsynth.models.decoder_tiles import canvas_of, decoder_tile, latent_stride
from pathsynth.vocabulary.labels import LabelSpace
from pathsynth.vocabulary.prompts import PromptBook

if TYPE_CHECKING:
    from pathsynth.models.image_classifier import PretrainedWeights

_LAYOUT = ("*.safetensors", "*.json", "*.txt")
_PATIENCE_SECONDS = 5
_SCHEDULER = "scheduler/scheduler_config.json"

MEDMNIST_NAMES = ("pathmnist", "medmnist")


@dataclass(frozen=True)
class DataSource:
    """A data set's identity, its label space, its prompts, and a name for people with the images of each split.

    ``captions``: of training images, where they have their own.
    """

    identity: str
    space: LabelSpace
    prompts: PromptBook
    name: str
    captions: ImageCaptions | None = None


@dataclass(frozen=True)
class BaseSource:
    """A folder in diffusers layout or a hub id with its ``revision``; ``identity`` is what an adapter belongs to."""

    path_or_hub: str
    revision: str | None
    identity: str

    def to_json(self) -> dict[str, Any]:
        """The record that stands in a plan."""
        return asdict(self)


def data_source(config: DataConfig) -> DataSource:
    """Check the data's files (labels and headers; no image is decoded) and identify them.

    Raises:
        RequestError: a file is missing, damaged, of another size or not the official one.
    """
    if config.name in MEDMNIST_NAMES and config.download and not _is_there(config):
        source = medmnist_source(config)
        counts = counts_of(config).limited(source.images, source.title, len(source.space))
        book = read_prompts(Path(config.prompts), source.prompts) if config.prompts else source.prompts
        identity = content_identity(source.flag, config.size, source.md5[config.size], counts)
        return DataSource(identity, book.space, book, f"{source.flag} {config.size} px (to be downloaded)")
    data = open_data(config)
    return DataSource(data.identity, data.space, data.prompts, data.name, captions_of(config))


def _is_there(config: DataConfig) -> bool:
    """Whether the file is there; where it is not, what is downloaded will be the official one."""
    try:
        medmnist_identity(medmnist_source(config), Path(config.root) if config.root else None, config.size, config.allow_subset)
    except RequestError as error:
        if str(error).startswith("no "):
            return False
        raise
    return True


def adapter_identity(start: Path, base: str) -> str:
    """Identifies the tensors of an adapter that a training starts from.

    Raises:
        RequestError: there is none, or its card says that it belongs to another base than ``base``.
    """
    files = adapter_files(start)
    if not files:
        raise RequestError(f"lora.start={start} holds no adapter (no safetensors file there); name an adapter's folder or file")
    card = files[0].parent / CARD_FILE
    try:
        recorded = json.loads(card.read_text(encoding="utf-8")).get("base") if card.is_file() else base
        identity = digest([weights_digest(path) for path in files])
    except (OSError, ValueError, AttributeError, StageError) as error:
        raise RequestError(f"lora.start={start} cannot be read ({error}); name another") from error
    if recorded != base:
        raise RequestError(f"the adapter in {start} belongs to base {recorded}, not to {base}; choose its own base or another lora.start")
    return identity


def pretrained_source(architecture: str) -> PretrainedWeights:
    """Which weights on the hub a pretrained classifier starts from. The one case in which a planner loads torch: timm alone knows.

    Raises:
        RequestError: timm has none for this architecture, or they are neither in the hub's cache nor reachable.
    """
    from pathsynth.models.image_classifier import pretrained_weights

    return pretrained_weights(architecture)


def base_source(config: BaseConfig) -> BaseSource:
    """Find and identify the base.

    Raises:
        RequestError: the folder is no diffusers pipeline, or the hub's files are neither cached nor reachable.
    """
    if config.path:
        return _folder_source(Path(config.path), "set base.path to a folder in diffusers layout")
    if config.hub:
        return _hub_source(config.hub, config.revision)
    if config.name == "tiny":
        return _folder_source(assets_folder() / "tiny", "install pathsynth again, or set base.path to what `pathsynth pretrain` made")
    raise RequestError(f"base={config.name} needs a folder; set base.path to one in diffusers layout")


def scheduler_config(base: BaseSource) -> dict[str, Any]:
    """The settings of a base's own scheduler; none where its folder states none.

    Raises:
        RequestError: they cannot be read.
    """
    hub = base.revision
    return _stored_settings(_hub_file(base.path_or_hub, hub, _SCHEDULER) if hub else Path(base.path_or_hub) / _SCHEDULER)


def decoded_in_tiles(base: BaseSource, canvas: int | None, size: int) -> int | None:
    """Pixels of the tiles in which the base in a folder decodes images of ``size`` pixels (on a ``canvas``, if that is set); None: whole.

    None for a base on the hub, too: what it does is decided by its revision.

    Raises:
        RequestError: the folder's settings cannot be read.
    """
    if base.revision:
        return None
    vae, unet = (_stored_settings(Path(base.path_or_hub) / part / "config.json") for part in ("vae", "unet"))
    if "block_out_channels" not in vae:
        return None
    return decoder_tile(vae, unet, canvas or canvas_of(size, latent_stride(vae)))


def _stored_settings(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read ({error}); set base.path to a complete diffusers folder") from error
    if not isinstance(stored, dict):
        raise RequestError(f"{path} holds no settings; set base.path to a complete diffusers folder")
    return stored


def _hub_file(hub: str, revision: str, name: str) -> Path:
    """A small file of a base on the hub, from its cache or fetched."""
    from huggingface_hub import hf_hub_download  # slow to import, and only needed here

    try:
        return Path(hf_hub_download(hub, name, revision=revision))
    except (OSError, ValueError) as error:
        what = f"{name} of base {hub} is neither in the hub's cache nor reachable"
        raise RequestError(f"{what}; go online once, or set base.path to a local diffusers folder") from error


def _folder_source(folder: Path, remedy: str) -> BaseSource:
    if not (folder / "model_index.json").is_file():
        raise RequestError(f"no base at {folder} (no model_index.json there); {remedy}")
    files = layout_files(folder)
    if not any(path.suffix == ".safetensors" for path in files):
        raise RequestError(f"the base at {folder} has no .safetensors weights; {remedy}")
    content = {str(path.relative_to(folder)): checksum(path, "sha256") for path in files}
    return BaseSource(str(folder), None, digest(content))


def layout_files(folder: Path) -> list[Path]:
    """The files of a folder in diffusers layout by whose content it is known."""
    return sorted(path for pattern in _LAYOUT for path in folder.rglob(pattern) if path.is_file())


def _hub_source(hub: str, revision: str | None) -> BaseSource:
    if not revision:
        raise RequestError(f"base {hub} has no revision; set base.revision to a commit, so that the base cannot change")
    if not _cached(hub, revision) and not _reachable(hub, revision):
        raise RequestError(
            f"base {hub} is neither in the hub's cache nor reachable; "
            "go online once, or set base.path to a local diffusers folder (base=tiny needs neither)"
        )
    return BaseSource(hub, revision, digest({"hub": hub, "revision": revision}))


def hub_snapshot(hub: str, revision: str) -> Path | None:
    """Where the hub's cache keeps a base, whole or in part; None if it does not."""
    from huggingface_hub import try_to_load_from_cache  # slow to import, and only needed here

    index = try_to_load_from_cache(hub, "model_index.json", revision=revision)
    return Path(index).parent if isinstance(index, str) else None


def _cached(hub: str, revision: str) -> bool:
    return hub_snapshot(hub, revision) is not None


def _reachable(hub: str, revision: str) -> bool:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        require_on_hub(f"{endpoint}/{hub}/resolve/{revision}/model_index.json", _PATIENCE_SECONDS)
    except (OSError, ValueError):
        return False
    return True
