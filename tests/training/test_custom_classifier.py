"""A LightningModule of the user's is trained, kept, loaded and resumed as the shipped classifiers are."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from pathsynth.config import CustomClassifierConfig
from pathsynth.config.schema import classifier_of
from pathsynth.data.tensors import to_float
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.models.image_classifier import load_classifier
from pathsynth.training import train_classifier as training
from pathsynth.training.classifier_module import ClassifierModule
from pathsynth.training.train_classifier import train_classifier
from tests.training.test_classifier_training import SPACE, CutAfter, data


class Plain(pl.LightningModule):
    """No base class of ours, dropout, and a validation of its own that must not be called."""

    def __init__(self, classes, size: int, hidden: int = 4, answers: int | None = None) -> None:
        super().__init__()
        assert tuple(classes) == SPACE.slugs and size == 16
        self.body = nn.Sequential(nn.Conv2d(3, hidden, 5, stride=3), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
        self.head = nn.Linear(hidden * 16, answers or len(classes))

    def forward(self, images):
        assert images.min() >= 0 and images.max() <= 1
        return self.head(self.body(images))

    def training_step(self, batch, index):
        images, labels = batch
        return functional.cross_entropy(self(images), labels)

    def validation_step(self, batch, index):
        raise AssertionError("it was called")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


TARGET = f"{__name__}.Plain"


def config(**arguments) -> CustomClassifierConfig:
    training = {"part": "a", "epochs": 3, "batch_size": 8, "augment_d4": True, "augment_stain": False, "patience": 6, "seed": 0}
    made = classifier_of("gate", {**training, "_target_": TARGET, **arguments})
    assert isinstance(made, CustomClassifierConfig)
    return made


def test_it_is_kept_and_loaded_by_the_class_that_the_configuration_names(tmp_path):
    (scores,) = train_classifier(config(hidden=6), data(), tmp_path, [], ())
    assert scores.n == 20
    loaded = load_classifier(tmp_path, SPACE, TARGET)
    images = to_float(data().split("val").images)
    assert loaded.network.head.in_features == 6 * 16 and loaded.temperature != 1
    assert torch.allclose(loaded.probabilities(images).sum(dim=1), torch.ones(len(images), dtype=torch.float64))
    assert torch.equal(loaded.features(images), loaded(images)), "logits stand for features where there is no such method"
    for named in (None, "some.Other"):
        with pytest.raises(RequestError, match="no class runs that the configuration does not name"):
            load_classifier(tmp_path, SPACE, named)
    weights = load_file(tmp_path / "classifier.safetensors")
    save_file({name: tensor for name, tensor in weights.items() if not name.endswith("head.bias")}, tmp_path / "classifier.safetensors")
    with pytest.raises(RequestError, match=f"the weights in .* do not fit {TARGET}"):
        load_classifier(tmp_path, SPACE, TARGET)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_a_training_that_was_cut_off_ends_as_the_undisturbed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY", 3)
    train_classifier(config(), data(), tmp_path / "whole", [], ())
    with pytest.raises(RuntimeError, match="cut"):
        train_classifier(config(), data(), tmp_path / "cut", [CutAfter(10)], [], work=tmp_path / "work")
    train_classifier(config(), data(), tmp_path / "cut", [], [], work=tmp_path / "work")
    for name in ("classifier.safetensors", "classifier.json", "scores.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


class Focused(ClassifierModule):
    """Ours with another loss."""

    def training_step(self, batch, index):
        return -functional.log_softmax(self.classifier(batch.images), dim=1)[range(len(batch.labels)), batch.labels].square().mean()


def test_a_class_that_inherits_from_ours_trains_as_it_says_and_leaves_a_classifier_as_ours(tmp_path):
    arguments = {"architecture": "resnet10t", "stem": "small", "pretrained": False, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.0}
    averaged = {"width": 0.5, "ema_decay": 0.5}
    chosen = config(_target_=f"{__name__}.Focused", epochs=1, **arguments, **averaged)
    assert chosen.has_arguments_of_ours and not config(hidden=5).has_arguments_of_ours
    train_classifier(chosen, data(), tmp_path, [], ())
    loaded = load_classifier(tmp_path, SPACE)
    assert (loaded.spec.architecture, loaded.spec.width, loaded.spec.space) == ("resnet10t", 0.5, SPACE.name)


def test_logits_of_another_number_of_classes_are_reported(tmp_path):
    with pytest.raises(StageError, match=r"Plain.forward gave \(20, 5\) for 20 images of 2 classes; it should give a logit for each"):
        train_classifier(config(answers=5), data(), tmp_path, [], ())


def test_an_exception_of_its_constructor_is_reported_in_one_line(tmp_path):
    with pytest.raises(RequestError, match=f"{TARGET} cannot be made .*hiden"):
        train_classifier(config(hiden=5), data(), tmp_path, [], ())
