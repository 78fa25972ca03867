"""Image classifiers: a timm network, optionally with a stem for small images, that takes plain [0, 1] images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import hydra.utils
import timm
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from pathsynth.data.tensors import dihedral
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.hub import require_on_hub
from pathsynth.vocabulary.labels import LabelSpace
from pathsynth.vocabulary.spelling import nearest_words

WEIGHTS, DESCRIPTION = "classifier.safetensors", "classifier.json"
_HUB_FILE = "model.safetensors"
_HUB_SECONDS = 0.9
_CHANNELS = (64, 128, 256, 512)
"""Of the four stages of a residual network (He et al., arXiv 1512.03385)."""


@dataclass(frozen=True)
class PretrainedWeights:
    """timm's ImageNet weights of an architecture: a repository on the hub, whose name ends with their tag, at a commit."""

    repository: str
    revision: str

    def to_json(self) -> dict[str, str]:
        """Repository and commit, as they enter identities."""
        return asdict(self)


@dataclass(frozen=True)
class ClassifierSpec:
    """What rebuilds a classifier: a timm ``architecture``, the input ``size`` in pixels, the ``stem`` and the label space.

    ``stem`` is ``"stock"`` (timm's own, made for 224 px) or ``"small"``: the first convolution is 3×3 with stride 1, for 28
    to 64 px. ``classes`` are the slugs of the label space called ``space``, in order. ``width`` multiplies the channels of a
    residual network's stages. ``tta_d4``: probabilities are those of the mean logits over the eight orientations of an image.
    ``members``: of an :class:`Ensemble` of such networks; 1: a single one.
    """

    architecture: str
    size: int
    stem: str
    classes: tuple[str, ...]
    space: str
    width: float = 1.0
    tta_d4: bool = False
    members: int = 1


@dataclass(frozen=True)
class CustomSpec(ClassifierSpec):
    """Of a LightningModule of the user's: ``module`` holds ``_target_`` and its arguments, ``architecture`` is the name of the class."""

    module: Mapping[str, Any] = field(default_factory=dict)


class Classifier(nn.Module):
    """A timm network that does its own normalisation. Weights are random, or ImageNet's with ``pretrained``.

    ``revision``: of those weights; None: what is in the hub's cache, else the newest.

    ``temperature`` divides the logits before they become probabilities; it is fitted once the weights are trained.

    Raises:
        RequestError: no such architecture; it cannot take such small images or such a stem; its weights cannot be fetched.
    """

    network: Any  # timm's networks share methods that nn.Module does not declare
    mean: Tensor
    std: Tensor
    temperature: float = 1.0

    def __init__(self, spec: ClassifierSpec, pretrained: bool = False, revision: str | None = None) -> None:
        super().__init__()
        self.spec = spec
        _require_architecture(spec.architecture)
        overlay = {"file": _pretrained_file(spec.architecture, revision)} if pretrained else None
        self.network = _network(spec, pretrained=pretrained, pretrained_cfg_overlay=overlay, num_classes=len(spec.classes))
        if spec.stem == "small":
            _shrink_stem(self.network)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(self.network.pretrained_cfg[name]).view(3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)
        self._require_size()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) of float images (N, 3, size, size) in [0, 1]."""
        return self.network(self._normal(images))

    def logits(self, images: Tensor) -> Tensor:
        """What probabilities are made of, float64 (N, C): the logits, or their mean over the eight orientations."""
        if not self.spec.tta_d4:
            return self(images).double()
        turned = (dihedral(images, torch.full((len(images),), k, device=images.device)) for k in range(8))
        return torch.stack([self(view).double() for view in turned]).mean(dim=0)

    def probabilities(self, images: Tensor) -> Tensor:
        """Calibrated class probabilities, float64 (N, C), of float images (N, 3, size, size) in [0, 1]."""
        return (self.logits(images) / self.temperature).softmax(dim=1)

    def features(self, images: Tensor) -> Tensor:
        """What the last layer sees, float (N, F), of float images (N, 3, size, size) in [0, 1]."""
        return self.network.forward_head(self.network.forward_features(self._normal(images)), pre_logits=True)

    def _normal(self, images: Tensor) -> Tensor:
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def _require_size(self) -> None:
        """Try the network on one image, so that a bad combination fails before any training."""
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, 3, self.spec.size, self.spec.size))
        except (RuntimeError, AssertionError) as error:
            raise RequestError(
                f"{self.spec.architecture} with the {self.spec.stem} stem cannot take {self.spec.size} px images; "
                "choose another architecture or stem"
            ) from error
        self.train()


def save_classifier(folder: Path, classifier: Classifier, card: Mapping[str, str | int | float]) -> None:
    """Write ``classifier.safetensors`` and ``classifier.json`` (spec, temperature, and a card of how it was trained) into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in classifier.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)  # each of its own memory, for a module may share some
    description = {"spec": asdict(classifier.spec), "temperature": classifier.temperature, "card": dict(card)}
    if isinstance(classifier, Ensemble):
        description["temperatures"] = classifier.temperatures
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")


class CustomClassifier(Classifier):
    """A LightningModule of the user's in the place of a timm network; its ``forward`` gives the logits.

    What its last layer sees is what its method ``features`` gives (float (N, F)); without one its logits stand for that.
    """

    def __init__(self, spec: CustomSpec, module: nn.Module) -> None:
        nn.Module.__init__(self)
        self.spec = spec
        self.network = module

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) of images (N, 3, H, W)."""
        return self.network(images)

    def features(self, images: Tensor) -> Tensor:
        """Features (N, F) by the user's method, else the logits."""
        return self.network.features(images) if hasattr(self.network, "features") else self.network(images)


class Ensemble(Classifier):
    """Classifiers of one kind, trained from seeds of their own, that answer together (Lakshminarayanan et al. 2017, arXiv 1612.01474).

    Probabilities are the mean of the members', each calibrated by its own temperature, and then by the ensemble's, for a mean is less
    sure than its members. Features are those of all members, side by side.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        nn.Module.__init__(self)
        self.spec = replace(members[0].spec, members=len(members))
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Logarithms of the members' mean probabilities, float64 (N, C), of float images (N, 3, size, size) in [0, 1]."""
        return torch.stack([member.probabilities(images) for member in self._each()]).mean(dim=0).log()

    def logits(self, images: Tensor) -> Tensor:
        """Logarithms of the mean probabilities (N, C)."""
        return self(images)

    def features(self, images: Tensor) -> Tensor:
        """Features of all members side by side, (N, members × F)."""
        return torch.cat([member.features(images) for member in self._each()], dim=1)

    @property
    def temperatures(self) -> list[float]:
        """Of the members, in their order."""
        return [member.temperature for member in self._each()]

    def _each(self) -> Iterator[Classifier]:
        for member in self.members:
            assert isinstance(member, Classifier)
            yield member


def custom_module(module: Mapping[str, Any], classes: Sequence[str], size: int) -> nn.Module:
    """Make the LightningModule that settings name by ``_target_``, with its arguments, ``classes`` (slugs, in order) and ``size``.

    Raises:
        RequestError: its class cannot be loaded, or refuses its arguments.
    """
    try:
        network = hydra.utils.instantiate(dict(module), classes=tuple(classes), size=size, _convert_="all")
    except Exception as error:  # a user's module may raise any exception
        if isinstance(error.__cause__, RequestError):
            raise error.__cause__ from None
        reason = " ".join(str(error.__cause__ or error).split())
        raise RequestError(f"{module['_target_']} cannot be made ({reason}); correct it, or its arguments") from error
    if not isinstance(network, nn.Module):
        raise RequestError(f"{module['_target_']} made a {type(network).__name__}, not a LightningModule; name one that does")
    return network


def load_classifier(folder: Path, space: LabelSpace, custom: str | None = None) -> Classifier:
    """The classifier of a folder, in eval mode on the CPU.

    Args:
        folder: as :func:`save_classifier` writes it.
        space: the classes that it must have been trained on.
        custom: the user's class that the configuration names. No other is run, even if the folder names one.

    Raises:
        RequestError: there is none, it is damaged, it was trained on other classes, or it is of a class that ``custom`` does not name, that
            cannot be loaded, or that the weights do not fit (any more).
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        stored, temperature = description["spec"], float(description.get("temperature", 1.0))
        kind = CustomSpec if "module" in stored else ClassifierSpec
        spec = kind(**{**stored, "classes": tuple(stored["classes"])})
        temperatures = [float(t) for t in description["temperatures"]] if spec.members > 1 else [temperature]
        if len(temperatures) != spec.members:
            raise ValueError(f"{len(temperatures)} temperatures of {spec.members} members")
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RequestError(f"no usable classifier in {folder} ({error}); train one with `pathsynth classify`") from error
    if spec.classes != space.slugs:  # its name may be another: a folder was renamed
        raise RequestError(
            f"the classifier in {folder} was trained on '{spec.space}' ({', '.join(spec.classes)}), "
            f"not on '{space.name}' ({', '.join(space.slugs)}); train one on this data with `pathsynth classify`"
        )
    single = replace(spec, members=1)
    classifiers = [_load_custom(single, custom, folder) if isinstance(single, CustomSpec) else Classifier(single) for _ in temperatures]
    for member, of_member in zip(classifiers, temperatures, strict=True):
        member.temperature = of_member
    classifier = classifiers[0] if spec.members == 1 else Ensemble(classifiers)
    try:
        classifier.load_state_dict(weights)
    except RuntimeError as error:
        raise RequestError(f"the weights in {folder} do not fit {spec.architecture}; train it again with `pathsynth classify`") from error
    classifier.temperature = temperature
    return classifier.eval()


def _load_custom(spec: CustomSpec, named: str | None, folder: Path) -> CustomClassifier:
    if spec.architecture != named:
        line = f"the classifier in {folder} is of the class {spec.architecture}, and no class runs that the configuration does not name"
        raise RequestError(f"{line}; name it by gate._target_ (of a judge: judge._target_), if you trust it")
    return CustomClassifier(spec, custom_module(spec.module, spec.classes, spec.size))


def _network(spec: ClassifierSpec, **arguments: Any) -> Any:
    if spec.width == 1:
        return timm.create_model(spec.architecture, **arguments)
    try:
        return timm.create_model(spec.architecture, channels=tuple(round(c * spec.width) for c in _CHANNELS), **arguments)
    except TypeError as error:
        raise RequestError(f"{spec.architecture} has no width to set; set width=1, or choose a residual network") from error


def _require_architecture(name: str) -> None:
    if not timm.is_model(name):
        close = nearest_words(name, timm.list_models(), most=3)
        raise RequestError(f"timm has no architecture '{name}'" + (f"; nearest: {', '.join(close)}" if close else ""))


def _shrink_stem(network: Any) -> None:
    """Make the first convolution 3×3 with stride 1; trained weights keep their middle.

    Raises:
        RequestError: the network does not start with one plain convolution.
    """
    source = network.pretrained_cfg
    old = network.get_submodule(source["first_conv"]) if isinstance(source["first_conv"], str) else None
    if not isinstance(old, nn.Conv2d):
        raise RequestError(
            f"{source['architecture']} does not start with one plain convolution; set stem=stock or choose another architecture"
        )
    new = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=1, padding=1, bias=old.bias is not None)
    margin = (old.kernel_size[0] - 3) // 2
    if margin >= 0 and old.kernel_size[0] % 2:
        with torch.no_grad():
            new.weight.copy_(old.weight[:, :, margin : margin + 3, margin : margin + 3])
    network.set_submodule(source["first_conv"], new)


def pretrained_weights(architecture: str) -> PretrainedWeights:
    """The weights that ``pretrained`` stands for: those in the hub's cache, else the newest; without a network this fails within a second.

    Raises:
        RequestError: timm has none for this architecture, or they are not in the hub's cache and the hub does not tell of them.
    """
    repository = _repository(architecture)
    cached = try_to_load_from_cache(repository, _HUB_FILE)
    if isinstance(cached, str):
        return PretrainedWeights(repository, Path(cached).parent.name)  # the cache keeps a folder for each commit
    with _fetching(architecture, repository):
        address = hf_hub_url(repository, _HUB_FILE)
        require_on_hub(address, _HUB_SECONDS)
        revision = get_hf_file_metadata(address).commit_hash
        if not revision:
            raise OSError("the hub names no commit")
        return PretrainedWeights(repository, revision)


def _pretrained_file(architecture: str, revision: str | None) -> str:
    """The local file of timm's ImageNet weights, fetched if need be; without a network this fails within a second.

    Raises:
        RequestError: timm has none for this architecture, or they are not in the hub's cache and cannot be fetched.
    """
    repository = _repository(architecture)
    cached = try_to_load_from_cache(repository, _HUB_FILE, revision=revision)
    if isinstance(cached, str):
        return cached
    with _fetching(architecture, repository):
        require_on_hub(hf_hub_url(repository, _HUB_FILE), _HUB_SECONDS)
        return hf_hub_download(repository, _HUB_FILE, revision=revision)


def _repository(architecture: str) -> str:
    _require_architecture(architecture)
    source = get_pretrained_cfg(architecture)
    if source is None or not source.hf_hub_id:
        raise RequestError(f"timm has no pretrained weights for {architecture}; set pretrained=false")
    return str(source.hf_hub_id)


@contextmanager
def _fetching(architecture: str, repository: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"the pretrained weights of {architecture} ({repository}) are not in the hub's cache and cannot be fetched "
            f"({str(error).splitlines()[0]}); set pretrained=false, or run once with a network"
        ) from error
