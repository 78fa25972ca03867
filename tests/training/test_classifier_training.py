"""Training a classifier: it learns, it repeats, it keeps its best, and it says what went wrong."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from pathsynth.config import ClassifierConfig
from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.data.tensors import to_float
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.records import Metric
from pathsynth.metrics.agreement import Agreement, agreement
from pathsynth.models.image_classifier import load_classifier
from pathsynth.training import classifier_module
from pathsynth.training import train_classifier as training
from pathsynth.training.classifier_batches import ClassifierBatches
from pathsynth.training.score_classifier import score_classifier
from pathsynth.training.train_classifier import train_classifier
from pathsynth.vocabulary.labels import LabelClass, LabelSpace
from pathsynth.vocabulary.prompts import PromptBook, colorectal_prompts

SPACE = LabelSpace("stripes", (LabelClass(0, "fine", "fine stripes"), LabelClass(1, "coarse", "coarse stripes")))


def stripes(n: int, seed: int) -> LabelledImages:
    """Noisy stripes of random direction; fine ones are bluish, coarse ones reddish."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    wave = np.sin(np.arange(16) * np.where(labels, 0.6, 2.2)[:, None] + rng.uniform(0, 6, size=(n, 1)))
    pictures = np.broadcast_to(wave[:, :, None], (n, 16, 16)).copy()
    turned = rng.random(n) < 0.5
    pictures[turned] = pictures[turned].transpose(0, 2, 1)
    tint = np.where(labels[:, None], [25, 0, -25], [-25, 0, 25])[:, None, None]
    noisy = 150 + 50 * pictures[..., None] + tint + rng.normal(0, 20, size=(n, 16, 16, 3))
    return LabelledImages(noisy.clip(0, 255).astype(np.uint8), labels)


def data(space: LabelSpace = SPACE) -> DataSet:
    splits = {"train": stripes(96, 0), "val": stripes(40, 1), "test": stripes(30, 2)}
    prompts: PromptBook = colorectal_prompts()
    return DataSet("stripes 16 px", "0123", 16, space, prompts, splits.__getitem__)


def config(**changes) -> ClassifierConfig:
    settings = {
        "architecture": "regnetx_002",
        "stem": "small",
        "part": "a",
        "pretrained": False,
        "epochs": 5,
        "batch_size": 8,
        "lr": 5e-3,
        "weight_decay": 0.01,
        "augment_d4": True,
        "augment_stain": False,
        "patience": 6,
        "seed": 0,
    }
    return ClassifierConfig(**{**settings, **changes})


class Watch(pl.Callback):
    """Notes the validation score after every epoch."""

    def __init__(self) -> None:
        self.scores: list[float] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.scores.append(float(trainer.callback_metrics["regnetx_002/macro_f1"]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    watch = Watch()
    scores = train_classifier(config(), data(), folder, [watch], [], splits=("val", "test"))
    return folder, watch, scores


def test_it_learns_and_keeps_the_best_epoch(trained):
    folder, watch, (val, test) = trained
    chosen = load_classifier(folder, SPACE)(to_float(data().selection().images)).argmax(dim=1).numpy()
    assert agreement(data().selection().labels, chosen, 2).macro_f1 == pytest.approx(max(watch.scores))
    assert val.agreement.macro_f1 > 0.85
    assert (val.split, val.n, test.split, test.n) == ("val", 20, "test", 30)
    assert test.auc is not None
    assert test.auc > 0.85


def test_it_leaves_weights_a_card_and_scores_and_nothing_else(trained):
    folder, _, (val, test) = trained
    assert sorted(p.name for p in folder.iterdir()) == ["classifier.json", "classifier.safetensors", "confusion.json", "scores.json"]
    card = json.loads((folder / "classifier.json").read_text())["card"]
    assert (card["images"], card["selection_images"]) == (48, 20)
    assert card["part"] == "a"
    assert card["data"] == "stripes 16 px"
    records = [Metric.from_json(r) for r in json.loads((folder / "scores.json").read_text())]
    assert records == [*val.records(SPACE, "stripes 16 px", 0), *test.records(SPACE, "stripes 16 px", 0)]
    accuracy = next(r for r in records if r.metric == "accuracy" and r.split == "test")
    assert accuracy.low is not None
    assert accuracy.high is not None
    matrices = {score.split: score.agreement.confusion.tolist() for score in (val, test)}
    assert json.loads((folder / "confusion.json").read_text()) == matrices
    assert accuracy.low < accuracy.value <= accuracy.high
    assert accuracy.n == 30
    assert accuracy.unit == "image"
    assert accuracy.class_ is None
    assert {r.class_ for r in records if r.metric == "recall"} == {"fine", "coarse"}


def test_the_stored_classifier_scores_what_was_reported(trained):
    folder, _, (val, _) = trained
    (again,) = score_classifier(load_classifier(folder, SPACE), data(), ["val"], seed=0)
    assert np.array_equal(again.agreement.confusion, val.agreement.confusion)
    assert (again.accuracy, again.macro, again.auc) == (val.accuracy, val.macro, val.auc)
    assert (again.ece, again.ece_uncalibrated) == (val.ece, val.ece_uncalibrated)
    assert val.ece != val.ece_uncalibrated


@pytest.mark.slow
def test_images_that_val_is_scored_on_choose_neither_epoch_nor_temperature(trained, tmp_path):
    folder, _, (val, _) = trained
    usual, hidden = data(), {image.tobytes() for image in data().assessment("val").images}
    blank = np.array([image.tobytes() in hidden for image in usual.split("val").images])
    changed = LabelledImages(np.where(blank[:, None, None, None], 0, usual.split("val").images).astype(np.uint8), usual.split("val").labels)
    other = dataclasses.replace(usual, read=lambda split: changed if split == "val" else usual.split(split))
    (scores,) = train_classifier(config(), other, tmp_path, [], ())
    for name in ("classifier.safetensors", "classifier.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert scores.accuracy.value == 0.5 < val.accuracy.value


def test_a_val_too_small_for_two_halves_chooses_and_is_not_scored(tmp_path):
    usual, few = data(), stripes(3, 1)
    small = dataclasses.replace(usual, read=lambda split: few if split == "val" else usual.split(split))
    (test,) = train_classifier(config(epochs=1), small, tmp_path, [], [], splits=("val", "test"))
    assert (test.split, test.n) == ("test", 30)
    assert json.loads((tmp_path / "classifier.json").read_text())["card"]["selection_images"] == 3


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_whatever_came_before(tmp_path):
    for name, seed in (("first", 0), ("second", 0), ("other", 1)):
        torch.rand(3)
        train_classifier(config(epochs=1, seed=seed), data(), tmp_path / name, [], ())
    weights = [(tmp_path / name / "classifier.safetensors").read_bytes() for name in ("first", "second", "other")]
    assert weights[0] == weights[1] != weights[2]


class CutAfter(pl.Callback):
    """Breaks off like a kill: nothing is saved that was not there."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("cut")


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.parametrize(
    ("cuts", "changes"),
    [
        pytest.param((7,), {}, marks=[pytest.mark.slow, pytest.mark.thorough]),
        pytest.param((12,), {"ema_decay": 0.9}, marks=[pytest.mark.slow, pytest.mark.thorough]),
        pytest.param((5, 13, 14), {}, marks=pytest.mark.slow),
        ((12,), {"ema_decay": 0.9, "optimizer": "muon"}),
    ],
)
def test_a_training_that_was_cut_off_ends_as_the_undisturbed_one(tmp_path, monkeypatch, cuts, changes):
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY", 3)
    chosen = config(epochs=3, architecture="resnet10t", **changes)
    whole = train_classifier(chosen, data(), tmp_path / "whole", [], ())
    for cut in cuts:
        with pytest.raises(RuntimeError, match="cut"):
            train_classifier(chosen, data(), tmp_path / "cut", [CutAfter(cut)], [], work=tmp_path / "work")
    resumed = train_classifier(chosen, data(), tmp_path / "cut", [], [], work=tmp_path / "work")
    for name in ("classifier.safetensors", "classifier.json", "scores.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    assert resumed[0].macro == whole[0].macro


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_an_ensemble_that_was_cut_off_in_its_second_member_ends_as_the_undisturbed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY", 3)
    chosen = config(epochs=2, architecture="resnet10t", members=2)
    train_classifier(chosen, data(), tmp_path / "whole", [], [])
    seen = CutInMember("resnet10t 2 of 2", 8)
    with pytest.raises(RuntimeError, match="cut"):
        train_classifier(chosen, data(), tmp_path / "cut", [seen], [], work=tmp_path / "work")
    again = CutInMember("none", 0)
    train_classifier(chosen, data(), tmp_path / "cut", [again], [], work=tmp_path / "work")
    for name in ("classifier.safetensors", "classifier.json", "scores.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    assert (seen.members, again.members) == (["resnet10t 1 of 2", "resnet10t 2 of 2"], ["resnet10t 2 of 2"])  # the first is trained once

    train_classifier(chosen.model_copy(update={"members": 1}), data(), tmp_path / "single", [], [])
    single, ensemble = load_classifier(tmp_path / "single", SPACE), load_classifier(tmp_path / "whole", SPACE)
    first, second = ensemble.members
    assert all(torch.equal(a, b) for a, b in zip(single.parameters(), first.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first.network.fc.parameters(), second.network.fc.parameters(), strict=True))


class CutInMember(pl.Callback):
    """Breaks off at a step of one network of an ensemble; notes which ones were trained."""

    def __init__(self, title: str, step: int) -> None:
        self.title, self.step = title, step
        self.members: list[str] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module) -> None:
        self.members.append(pl_module.title)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module, *_) -> None:
        if (pl_module.title, trainer.global_step) == (self.title, self.step):
            raise RuntimeError("cut")


@pytest.mark.slow
def test_the_optimizer_is_the_one_asked_for(tmp_path):
    class Watch(pl.Callback):
        optimizer: str

        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.optimizer = type(trainer.optimizers[0]).__name__

    for name, expected in (("adamw", "AdamW"), ("muon", "Muon")):
        watch = Watch()
        train_classifier(config(epochs=1, optimizer=name), data(), tmp_path / name, [watch], ())
        assert watch.optimizer == expected


@pytest.mark.slow
def test_the_weights_that_are_kept_are_the_running_mean(tmp_path):
    class Average(pl.Callback):
        """The mean by its formula, beside the training."""

        mean: torch.Tensor

        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_) -> None:
            own = pl_module.classifier.network.head.fc.weight.detach()
            self.mean = own.clone() if trainer.global_step == 1 else 0.9 * self.mean + 0.1 * own

    average = Average()
    train_classifier(config(epochs=1, ema_decay=0.9), data(), tmp_path, [average], ())
    kept = load_classifier(tmp_path, SPACE).network.head.fc.weight
    torch.testing.assert_close(kept, average.mean)


def test_orientations_are_averaged_where_the_label_space_allows_it(tmp_path):
    for symmetry in ("d4", "none"):
        space = dataclasses.replace(SPACE, symmetry=symmetry)
        train_classifier(config(epochs=1, tta_d4=True), data(space), tmp_path / symmetry, [], ())
        assert load_classifier(tmp_path / symmetry, space).spec.tta_d4 == (symmetry == "d4")


def test_training_leaves_the_global_generator_of_its_caller_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_classifier(config(epochs=1), data(), tmp_path, [], ())
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_it_stops_when_val_gets_no_better(tmp_path, monkeypatch):
    watch = Watch()
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9, 0.9, 0.9])

    def staged(labels, predictions, classes):
        found = agreement(labels, predictions, classes)
        return Agreement(found.confusion, 0.0, found.precision, found.recall, np.full(classes, next(scores)))

    with monkeypatch.context() as patched:
        patched.setattr(classifier_module, "agreement", staged)
        patched.setattr(training, "score_classifier", lambda *_: ())
        train_classifier(config(patience=2, epochs=7), data(), tmp_path, [watch], ())
    assert watch.scores == pytest.approx([0.5, 0.7, 0.6, 0.6])
    assert json.loads((tmp_path / "classifier.json").read_text())["card"]["best_step"] == 12


def test_a_loss_that_is_not_finite_is_named_with_its_step(tmp_path, monkeypatch):
    losses = iter([torch.tensor(1.0), torch.tensor(1.0), torch.tensor(float("nan"))])
    monkeypatch.setattr(classifier_module.functional, "cross_entropy", lambda logits, *_, **__: logits.sum() * 0 + next(losses))
    with pytest.raises(StageError, match="regnetx_002 became nan at step 3; lower its lr"):
        train_classifier(config(), data(), tmp_path, [], ())
    assert not list(tmp_path.iterdir())


def test_a_bad_architecture_is_refused_before_training(tmp_path):
    with pytest.raises(RequestError, match="no architecture"):
        train_classifier(config(architecture="resnet1"), data(), tmp_path, [], ())


def batches(seed: int = 0, augmented: bool = True) -> ClassifierBatches:
    return ClassifierBatches(stripes(50, 0), stripes(8, 1), 8, seed, orientations=augmented, stains=augmented, noise=augmented)


def test_a_batch_depends_on_its_step_alone():
    first, again, other = batches().of_step(7), batches().of_step(7), batches(seed=1).of_step(7)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images)
    assert first.images.shape == (8, 3, 16, 16)
    assert 0 <= float(first.images.min()) < float(first.images.max()) <= 1


def test_an_epoch_shows_no_image_twice():
    plain = batches(augmented=False)
    shown = [tuple(image.flatten()[:8].tolist()) for step in range(plain.an_epoch) for image in plain.of_step(step).images]
    assert len(shown) == len(set(shown)) == 48
    assert not torch.equal(plain.of_step(0).images, plain.of_step(plain.an_epoch).images)


@pytest.mark.parametrize(("symmetry", "turned"), [("d4", True), ("none", False)])
def test_images_are_turned_only_where_the_label_space_allows_it(symmetry, turned, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "_fit", lambda _, fitted, *__: seen.append(fitted.batches.orientations) or exit_early())
    with pytest.raises(KeyboardInterrupt):
        train_classifier(config(), data(LabelSpace("stripes", SPACE.classes, symmetry)), tmp_path, [], ())
    assert seen == [turned]


def exit_early() -> None:
    raise KeyboardInterrupt
