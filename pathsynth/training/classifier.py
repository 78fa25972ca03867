"""Training of the gate and the judge: batches are pure functions of (seed, step), the best weights by macro-F1 are kept."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ProgressBar
from pytorch_lightning.loggers import Logger
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from typing_extensions import override

from pathsynth.config import AnyClassifier
from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.data.degrade import degrade
from pathsynth.data.stain import stain_jitter
from pathsynth.data.tensors import dihedral, to_float
from pathsynth.ledger.atomic import sync_tree, write_json
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.records import CONFUSION_FILE, Metric
from pathsynth.ledger.seeds import derive_seed
from pathsynth.metrics.agreement import Agreement, Interval, accuracy_auc, agreement, macro_interval, wilson
from pathsynth.metrics.calibration import ConfidenceBin, expected_calibration_error, fit_temperature, reliability
from pathsynth.models.classifier import (
    DESCRIPTION,
    Classifier,
    ClassifierSpec,
    CustomClassifier,
    CustomSpec,
    Ensemble,
    custom_module,
    load_classifier,
    save_classifier,
)
from pathsynth.training.distributed import launcher_environment
from pathsynth.training.optimizer import build_optimizer
from pathsynth.training.resume import AtomicCheckpoints, ResumePoints
from pathsynth.training.steps import step_generator, step_loader, warmup_cosine
from pathsynth.vocabulary.labels import LabelSpace

SCORES = "scores.json"
_STAIN_STRENGTH = 0.5
_BLUR, _NOISE = 0.6, 0.03
_SMOOTHING = 0.1
_VALIDATION_BATCH = 256
_CHECKPOINT_EVERY = 500
_OPTIMIZERS = {"adamw": "torch.optim.AdamW", "muon": "timm.optim.Muon"}


class LabelledBatch(NamedTuple):
    """``images`` float (N, 3, S, S) in [0, 1] and ``labels`` int64 (N,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ClassifierBatches:
    """The batches of a training: every epoch sees each image once, in an order and with changes that depend on the seed alone."""

    train: LabelledImages
    selection: LabelledImages
    batch_size: int
    seed: int
    orientations: bool
    stains: bool
    noise: bool

    @property
    def an_epoch(self) -> int:
        """Steps in an epoch; what does not fill a batch is left out (another part each time)."""
        return max(1, len(self.train) // self.batch_size)

    def of_step(self, step: int) -> LabelledBatch:
        """The training batch of a step, augmented."""
        epoch, place = divmod(step, self.an_epoch)
        order = torch.randperm(len(self.train), generator=step_generator(self.seed, "classifier order", epoch))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size].numpy()
        generator = step_generator(self.seed, "classifier augmentation", step)
        images = to_float(self.train.images[rows])
        if self.orientations:
            images = dihedral(images, torch.randint(8, (len(rows),), generator=generator))
        if self.stains:
            images = stain_jitter(images, _STAIN_STRENGTH, generator)
        if self.noise:
            images = degrade(images, _BLUR, _NOISE, generator)
        return LabelledBatch(images, torch.from_numpy(self.train.labels[rows]))

    def validation(self, index: int) -> LabelledBatch:
        """The ``index``-th batch of the images that the epoch is chosen on, as they are."""
        rows = slice(index * _VALIDATION_BATCH, (index + 1) * _VALIDATION_BATCH)
        return LabelledBatch(to_float(self.selection.images[rows]), torch.from_numpy(self.selection.labels[rows]))


class ClassifierData(pl.LightningDataModule):
    """The batches of a training as Lightning asks for them: ``steps`` of training, and the selection half of val."""

    def __init__(self, batches: ClassifierBatches, epochs: int) -> None:
        super().__init__()
        self.batches = batches
        self.steps = epochs * batches.an_epoch

    def train_dataloader(self):
        """Batches from the current step on, so that a resumed training repeats none."""
        assert self.trainer
        return step_loader(self.batches.of_step, self.trainer.global_step, self.steps)

    def val_dataloader(self):
        """The selection half of val, in order."""
        return step_loader(self.batches.validation, 0, math.ceil(len(self.batches.selection) / _VALIDATION_BATCH))


class Scored(pl.LightningModule):
    """What the program adds to the LightningModule of a classifier: macro-F1 on the selection half of val, once an epoch.

    ``title``: before the names of its metrics. ``answers``: how many logits an image must get.
    """

    title: str
    answers: int

    @property
    def scored(self) -> nn.Module:
        """What is validated and kept."""
        return self

    def on_validation_epoch_start(self) -> None:
        """Forget the answers of the last validation."""
        self._seen: list[tuple[Tensor, Tensor]] = []

    def validation_step(self, batch: LabelledBatch, _: int) -> None:
        """Keep logits and labels; StageError where the logits have another shape."""
        logits = self.scored(batch.images)
        if logits.shape != (len(batch.labels), self.answers):
            line = f"{self.title}.forward gave {tuple(logits.shape)} for {len(batch.labels)} images of {self.answers} classes"
            raise StageError(f"{line}; it should give a logit for each class")
        self._seen.append((logits.cpu(), batch.labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log macro-F1 and cross-entropy."""
        logits, labels = map(torch.cat, zip(*self._seen, strict=True))
        self._seen.clear()
        scores = agreement(labels.numpy(), logits.argmax(dim=1).numpy(), logits.shape[1])
        self.log(f"{self.title}/macro_f1", scores.macro_f1, prog_bar=True)
        self.log(f"{self.title}/val_loss", functional.cross_entropy(logits, labels))


def add_scores(module: pl.LightningModule, title: str, answers: int) -> Scored:
    """The module, made a :class:`Scored` where its class is none; a validation of its own is not called then."""
    if not isinstance(module, Scored):
        kind = type(module)
        module.__class__ = type(kind.__name__, (Scored, kind), {"__module__": kind.__module__})  # as torch's parametrizations do
    assert isinstance(module, Scored)
    module.title, module.answers = title, answers
    return module


class ClassifierModule(Scored):
    """A timm network: cross-entropy with label smoothing, AdamW or Muon, warm-up and cosine.

    ``classes`` and ``size`` are the program's; the other arguments are settings (:class:`pathsynth.config.ClassifierConfig`).
    ``revision``: of pretrained weights (None: the newest). What is scored is the classifier, or the running mean of its weights.
    """

    def __init__(
        self,
        classes: Sequence[str],
        size: int,
        architecture: str,
        stem: str,
        pretrained: bool,
        optimizer: str,
        lr: float,
        weight_decay: float,
        width: float = 1.0,
        ema_decay: float = 0.0,
        revision: str | None = None,
    ) -> None:
        super().__init__()
        self.classifier = Classifier(ClassifierSpec(architecture, size, stem, tuple(classes), "", width), pretrained, revision)
        averaging = get_ema_multi_avg_fn(ema_decay)
        self.averaged = AveragedModel(self.classifier, multi_avg_fn=averaging, use_buffers=True) if ema_decay else None
        self.title = architecture
        self._optimizer = {"_target_": _OPTIMIZERS[optimizer], "lr": lr, "weight_decay": weight_decay}

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) by the weights that are kept."""
        return self.scored(images)

    def training_step(self, batch: LabelledBatch, _: int) -> Tensor:
        """Cross-entropy with label smoothing."""
        loss = functional.cross_entropy(self.classifier(batch.images), batch.labels, label_smoothing=_SMOOTHING)
        self.log(f"{self.title}/loss", loss, prog_bar=True, batch_size=len(batch.labels))
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Average the weights, where ``averaged`` is on."""
        if self.averaged:
            self.averaged.update_parameters(self.classifier)

    @property
    def scored(self) -> nn.Module:
        """The network that is validated and kept: the averaged weights, where there are some."""
        return self.averaged.module if self.averaged else self.classifier

    def configure_optimizers(self):
        """The configured optimizer, with warm-up and cosine."""
        optimizer, steps = build_optimizer(self._optimizer, _by_dimensions(self.classifier.parameters())), self.trainer.max_steps
        warmup = max(1, steps // 10)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, warmup, steps, 0.01))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class FiniteSteps(pl.Callback):
    """Every step draws from a generator of its own, so that a training that continues is the same; a loss that is not finite ends it."""

    def __init__(self, seed: int, title: str) -> None:
        self._seed, self._title = seed, title

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Seed dropout by the step."""
        torch.manual_seed(derive_seed(self._seed, "classifier dropout", trainer.global_step))

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Raise StageError if the loss is not finite."""
        if not torch.isfinite(loss):
            raise StageError(f"the loss of {self._title} became {loss.item()} at step {trainer.global_step + 1}; lower its lr")


def _by_dimensions(parameters: Iterable[nn.Parameter]) -> dict[str, list[nn.Parameter]]:
    """Matrices and convolutions, which Muon takes orthogonal steps in, and vectors, which it leaves to AdamW."""
    groups: dict[str, list[nn.Parameter]] = {"matrices": [], "vectors": []}
    for parameter in parameters:
        groups["matrices" if parameter.ndim > 1 else "vectors"].append(parameter)
    return groups


class BestWeights(pl.Callback):
    """Keeps the weights of the validation with the highest macro-F1, of equals the one with the lowest loss."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        self.score = (-1.0, 0.0)
        self.step = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights if they score best so far."""
        assert isinstance(pl_module, Scored)
        metrics, title = trainer.callback_metrics, pl_module.title
        score = (float(metrics[f"{title}/macro_f1"]), -float(metrics[f"{title}/val_loss"]))
        if score > self.score:
            self.score, self.step = score, trainer.global_step
            self.state = {name: tensor.clone() for name, tensor in pl_module.scored.state_dict().items()}

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state, "score": list(self.score), "step": self.step}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state, self.step = state_dict["state"], state_dict["step"]
        self.score = (state_dict["score"][0], state_dict["score"][1])


@dataclass(frozen=True)
class ClassifierScores:
    """What a classifier scores on the n real images of a split; ``auc`` is None where a class has no image.

    Of val these are the half on which neither its epoch nor its temperature was chosen (:meth:`DataSet.assessment`).

    ``ece`` is the expected calibration error of its probabilities, ``ece_uncalibrated`` that of the plain softmax. ``wrong``:
    bool (n,), where its answer is not the label. ``probabilities``: calibrated, float64 (n, C). ``reliability``: of its probabilities.
    """

    split: str
    n: int
    agreement: Agreement
    accuracy: Interval
    macro: dict[str, Interval]
    auc: float | None
    ece: float
    ece_uncalibrated: float
    wrong: np.ndarray
    probabilities: np.ndarray
    reliability: list[ConfidenceBin]

    def records(self, space: LabelSpace, data: str, seed: int, scorer: str | None = None) -> list[Metric]:
        """The scores as metric records of ``data``; ``seed`` is the classifier's, ``scorer`` its role (gate, judge)."""

        def record(metric: str, value: float, low: float | None, high: float | None, n: int, slug: str | None = None) -> Metric:
            return Metric(metric, value, low, high, n, "image", slug, self.split, None, scorer, None, data, seed)

        metrics = [record(name, i.value, i.low, i.high, self.n) for name, i in {"accuracy": self.accuracy, **self.macro}.items()]
        if self.auc is not None:
            metrics.append(record("auc", self.auc, None, None, self.n))
        calibration = {"ece": self.ece, "ece_uncalibrated": self.ece_uncalibrated}
        metrics += [record(name, value, None, None, self.n) for name, value in calibration.items()]
        confusion = self.agreement.confusion
        for c in space.classes:
            right = int(confusion[c.index, c.index])
            for metric, count in (("recall", int(confusion[c.index].sum())), ("precision", int(confusion[:, c.index].sum()))):
                if count:
                    interval = wilson(right, count)
                    metrics.append(record(metric, interval.value, interval.low, interval.high, count, c.slug))
            metrics.append(record("f1", float(self.agreement.f1[c.index]), None, None, int(confusion[c.index].sum()), c.slug))
        return metrics


def train_classifier(
    config: AnyClassifier,
    data: DataSet,
    folder: Path,
    callbacks: list[pl.Callback],
    loggers: Sequence[Logger],
    splits: tuple[str, ...] = ("val",),
    work: Path | None = None,
    revision: str | None = None,
) -> tuple[ClassifierScores, ...]:
    """Train on the configured part of ``data`` and write the best weights, ``classifier.json`` and ``scores.json`` to ``folder``.

    On the CPU the same settings, data and number of threads give identical weights, also of a training that was cut off and
    continues from its checkpoint in ``work`` (None: it keeps none). The best weights and their temperature are chosen on one half of
    val. ``revision``: of pretrained weights (None: the newest). Returns the scores on ``splits``, of val on its other half and not at
    all where val is too small; ``scores.json`` holds them as a list of metric records,
    and ``confusion.json`` a confusion matrix of each split.

    Raises:
        RequestError: the architecture does not exist or does not fit the images, or its pretrained weights cannot be fetched.
        StageError: the loss stopped being finite, or the checkpoint cannot be read.
    """
    training = _Training(data, folder, callbacks, loggers, revision)
    members = [_trained_member(config, number, training, work) for number in range(config.members)]
    if len(members) > 1:
        classifier: Classifier = Ensemble([member.classifier for member in members])
        selection = data.selection()
        classifier.temperature = fit_temperature(_logits(classifier, selection), selection.labels)
    else:
        classifier = members[0].classifier
    scores = score_classifier(classifier, data, splits, config.seed)
    save_classifier(folder, classifier, _card(config, data, members))
    write_json(folder / SCORES, [m.to_json() for s in scores for m in s.records(data.space, data.name, config.seed)])
    write_json(folder / CONFUSION_FILE, {s.split: s.agreement.confusion.tolist() for s in scores})
    return scores


@dataclass(frozen=True)
class _Training:
    """What all networks of an ensemble are trained on and with; the arguments of :func:`train_classifier`."""

    data: DataSet
    folder: Path
    callbacks: list[pl.Callback]
    loggers: Sequence[Logger]
    revision: str | None


@dataclass(frozen=True)
class _Member:
    """A trained network with its temperature; the step of its best weights, and their macro-F1 on the selection half of val."""

    classifier: Classifier
    best_step: int
    macro_f1: float


def _trained_member(config: AnyClassifier, number: int, training: _Training, work: Path | None) -> _Member:
    """The ``number``-th network of an ensemble, or the only one. Of several, each that is finished stays in ``work`` until all are."""
    if config.members == 1:
        return _train_member(config, config.title, training, work)
    finished = work / f"member-{number}" if work else None
    if finished and finished.is_dir():
        card = json.loads((finished / DESCRIPTION).read_text(encoding="utf-8"))["card"]
        return _Member(load_classifier(finished, training.data.space, config.architecture), card["best_step"], card["selection_macro_f1"])
    of_member = config.model_copy(update={"members": 1, "seed": member_seed(config.seed, number)})
    place = work / f"member-{number}-training" if work else None
    title = f"{config.title} {number + 1} of {config.members}"
    member = _train_member(of_member, title, training, place)
    if finished and place:
        save_classifier(place / "finished", member.classifier, _card(of_member, training.data, [member]))
        sync_tree(place / "finished")
        (place / "finished").rename(finished)
        shutil.rmtree(place, ignore_errors=True)
    return member


def member_seed(seed: int, number: int) -> int:
    """The seed of an ensemble's ``number``-th network; the first is the network that is trained alone."""
    return derive_seed(seed, "ensemble", number) if number else seed


def _train_member(config: AnyClassifier, title: str, training: _Training, work: Path | None) -> _Member:
    data = training.data
    batches = ClassifierBatches(
        train=data.part(config.part),
        selection=data.selection(),
        batch_size=config.batch_size,
        seed=config.seed,
        orientations=config.augment_d4 and data.space.symmetry == "d4",
        stains=config.augment_stain,
        noise=config.augment_noise,
    )
    best = BestWeights()
    points = ResumePoints(work, _CHECKPOINT_EVERY) if work else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "classifier weights"))
        module = add_scores(_module(config, data, training.revision), title, len(data.space))
        stop = EarlyStopping(f"{module.title}/macro_f1", mode="max", patience=config.patience)
        steps = FiniteSteps(config.seed, module.title)
        shown = [steps, *training.callbacks, best, stop]
        _fit(module, ClassifierData(batches, config.epochs), batches.an_epoch, shown, points, training.loggers, training.folder)
    classifier = _classifier(module, config, data)
    classifier.load_state_dict(best.state) if isinstance(module, ClassifierModule) else module.load_state_dict(best.state)
    classifier.temperature = fit_temperature(_logits(classifier, batches.selection), batches.selection.labels)
    return _Member(classifier, best.step, round(best.score[0], 4))


def _module(config: AnyClassifier, data: DataSet, revision: str | None) -> pl.LightningModule:
    """The LightningModule that a configuration names, as Hydra makes it."""
    pinned = {"revision": revision} if revision else {}
    module = custom_module({**config.module, **pinned}, data.space.slugs, data.size)
    if not isinstance(module, pl.LightningModule):
        raise RequestError(f"{config.module['_target_']} made a {type(module).__name__}, no LightningModule; name one that does")
    return module


def _classifier(module: Scored, config: AnyClassifier, data: DataSet) -> Classifier:
    """What gates and judges: the module's timm network, or the user's module itself."""
    space, turns = data.space, config.tta_d4 and data.space.symmetry == "d4"
    if isinstance(module, ClassifierModule):
        module.classifier.spec = replace(module.classifier.spec, space=space.name, tta_d4=turns)
        return module.classifier
    spec = CustomSpec(config.architecture, data.size, "", space.slugs, space.name, tta_d4=turns, module=config.module)
    return CustomClassifier(spec, module)


def score_classifier(classifier: Classifier, data: DataSet, splits: Iterable[str], seed: int) -> tuple[ClassifierScores, ...]:
    """Score a classifier on the real images of each split, of val on the half that chose nothing; ``seed`` is the bootstrap's.

    val is left out where it is too small to have such a half.
    """
    parts = {split: data.assessment(split) for split in splits}
    return tuple(_scores(classifier, split, images, len(data.space), seed) for split, images in parts.items() if images is not None)


def _scores(classifier: Classifier, split: str, images: LabelledImages, classes: int, seed: int) -> ClassifierScores:
    logits = _logits(classifier, images)
    probabilities = softmax(logits / classifier.temperature, axis=1)
    predictions = probabilities.argmax(axis=1)
    complete = len(np.unique(images.labels)) == classes > 1
    return ClassifierScores(
        split=split,
        n=len(images),
        agreement=agreement(images.labels, predictions, classes),
        accuracy=wilson(int((predictions == images.labels).sum()), len(images)),
        macro=macro_interval(images.labels, predictions, classes, seed),
        auc=accuracy_auc(images.labels, probabilities)[1] if complete else None,
        ece=expected_calibration_error(probabilities, images.labels),
        ece_uncalibrated=expected_calibration_error(softmax(logits, axis=1), images.labels),
        wrong=predictions != images.labels,
        probabilities=probabilities,
        reliability=reliability(probabilities, images.labels),
    )


@torch.no_grad()
def _logits(classifier: Classifier, images: LabelledImages) -> np.ndarray:
    """float64 (N, C)."""
    classifier.eval()
    device = next(classifier.parameters()).device
    batches = (images.images[i : i + _VALIDATION_BATCH] for i in range(0, len(images), _VALIDATION_BATCH))
    return torch.cat([classifier.logits(to_float(batch).to(device)).cpu() for batch in batches]).numpy()


def _fit(
    module: Scored,
    data: ClassifierData,
    an_epoch: int,
    callbacks: list[pl.Callback],
    points: ResumePoints | None,
    loggers: Sequence[Logger],
    folder: Path,
) -> None:
    trainer = pl.Trainer(
        default_root_dir=str(folder),
        max_steps=data.steps,
        devices=1,
        val_check_interval=an_epoch,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[*callbacks, points] if points else callbacks,
        plugins=[AtomicCheckpoints(), launcher_environment()],
        logger=loggers or False,
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
    )
    trainer.fit(module, datamodule=data, ckpt_path=points.checkpoint if points else None, weights_only=True)


def _card(config: AnyClassifier, data: DataSet, members: Sequence[_Member]) -> dict[str, str | int | float]:
    """Of an ensemble: the first member's best step, and the mean of their scores."""
    card: dict[str, str | int | float] = {
        "data": data.name,
        "data_identity": data.identity,
        "part": config.part,
        "images": len(data.part(config.part)),
        "seed": config.seed,
        "best_step": members[0].best_step,
        "selection_images": len(data.selection()),
        "selection_macro_f1": round(sum(member.macro_f1 for member in members) / len(members), 4),
    }
    return card if len(members) == 1 else {**card, "members": len(members)}
