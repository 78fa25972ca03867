"""Training of the gate and the judge: batches are pure functions of (seed, step), the best weights by macro-F1 are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
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

from pathsynth.config import ClassifierConfig
from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.data.degrade import degrade
from pathsynth.data.stain import stain_jitter
from pathsynth.data.tensors import dihedral, to_float
from pathsynth.ledger.atomic import write_json
from pathsynth.ledger.errors import StageError
from pathsynth.ledger.records import Metric
from pathsynth.ledger.seeds import derive_seed
from pathsynth.metrics.agreement import Agreement, Interval, accuracy_auc, agreement, macro_interval, wilson
from pathsynth.metrics.calibration import ConfidenceBin, expected_calibration_error, fit_temperature, reliability
from pathsynth.models.classifier import Classifier, ClassifierSpec, save_classifier
from pathsynth.training.optimizer import build_optimizer
from pathsynth.training.ranks import own_environment
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


class ClassifierModule(pl.LightningModule):
    """Cross-entropy with label smoothing, AdamW or Muon, warm-up and cosine; macro-F1 on the selection half of val once an epoch.

    ``scored`` is what is validated and kept: the classifier, or the running mean of its weights.
    """

    def __init__(self, classifier: Classifier, batches: ClassifierBatches, config: ClassifierConfig) -> None:
        super().__init__()
        self.classifier = classifier
        averaging = get_ema_multi_avg_fn(config.ema_decay)
        self.averaged = AveragedModel(classifier, multi_avg_fn=averaging, use_buffers=True) if config.ema_decay else None
        self._batches, self._config = batches, config
        self.steps = config.epochs * batches.an_epoch
        self.score_name = f"{config.architecture}/macro_f1"
        self._logits: list[Tensor] = []

    def train_dataloader(self):
        return step_loader(self._batches.of_step, self.global_step, self.steps)

    def val_dataloader(self):
        return step_loader(self._batches.validation, 0, math.ceil(len(self._batches.selection) / _VALIDATION_BATCH))

    def training_step(self, batch: LabelledBatch, _: int) -> Tensor:
        torch.manual_seed(derive_seed(self._config.seed, "classifier dropout", self.global_step))
        loss = functional.cross_entropy(self.classifier(batch.images), batch.labels, label_smoothing=_SMOOTHING)
        if not torch.isfinite(loss):
            raise StageError(f"the loss of {self._config.architecture} became {loss.item()} at step {self.global_step + 1}; lower its lr")
        self.log(f"{self._config.architecture}/loss", loss, prog_bar=True, batch_size=len(batch.labels))
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        if self.averaged:
            self.averaged.update_parameters(self.classifier)

    @property
    def scored(self) -> nn.Module:
        return self.averaged.module if self.averaged else self.classifier

    def validation_step(self, batch: LabelledBatch, _: int) -> None:
        self._logits.append(self.scored(batch.images).cpu())

    def on_validation_epoch_end(self) -> None:
        logits, labels = torch.cat(self._logits), self._batches.selection.labels
        self._logits.clear()
        scores = agreement(labels, logits.argmax(dim=1).numpy(), logits.shape[1])
        self.log(self.score_name, scores.macro_f1, prog_bar=True)
        self.log(f"{self._config.architecture}/val_loss", functional.cross_entropy(logits, torch.from_numpy(labels)))

    def configure_optimizers(self):
        settings = {"_target_": _OPTIMIZERS[self._config.optimizer], "lr": self._config.lr, "weight_decay": self._config.weight_decay}
        optimizer = build_optimizer(settings, _by_dimensions(self.classifier.parameters()))
        warmup = max(1, self.steps // 10)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, warmup, self.steps, 0.01))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


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
        assert isinstance(pl_module, ClassifierModule)
        metrics = trainer.callback_metrics
        score = (float(metrics[pl_module.score_name]), -float(metrics[pl_module.score_name.replace("macro_f1", "val_loss")]))
        if score > self.score:
            self.score, self.step = score, trainer.global_step
            self.state = {name: tensor.clone() for name, tensor in pl_module.scored.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"state": self.state, "score": list(self.score), "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state, self.step = state_dict["state"], state_dict["step"]
        self.score = (state_dict["score"][0], state_dict["score"][1])


@dataclass(frozen=True)
class ClassifierScores:
    """What a classifier scores on the n real images of a split; ``auc`` is None where a class has no image.

    Of val these are the half on which neither its epoch nor its temperature was chosen (:meth:`DataSet.assessment`).

    ``ece`` is the expected calibration error of its probabilities, ``ece_uncalibrated`` that of the plain softmax. ``wrong``:
    bool (n,), where its answer is not the label. ``reliability``: of its probabilities.
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
    reliability: list[ConfidenceBin]

    def records(self, space: LabelSpace, data: str, seed: int, scorer: str | None = None) -> list[Metric]:
        """The scores as metric records of ``data``; ``seed`` is the classifier's, ``scorer`` its role (gate, judge)."""

        def record(metric: str, value: float, low: float | None, high: float | None, n: int, slug: str | None = None) -> Metric:
            return Metric(metric, value, low, high, n, "image", slug, self.split, None, scorer, None, data, seed)

        found = [record(name, i.value, i.low, i.high, self.n) for name, i in {"accuracy": self.accuracy, **self.macro}.items()]
        if self.auc is not None:
            found.append(record("auc", self.auc, None, None, self.n))
        calibration = {"ece": self.ece, "ece_uncalibrated": self.ece_uncalibrated}
        found += [record(name, value, None, None, self.n) for name, value in calibration.items()]
        confusion = self.agreement.confusion
        for c in space.classes:
            right = int(confusion[c.index, c.index])
            for metric, count in (("recall", int(confusion[c.index].sum())), ("precision", int(confusion[:, c.index].sum()))):
                if count:
                    interval = wilson(right, count)
                    found.append(record(metric, interval.value, interval.low, interval.high, count, c.slug))
            found.append(record("f1", float(self.agreement.f1[c.index]), None, None, int(confusion[c.index].sum()), c.slug))
        return found


def train_classifier(
    config: ClassifierConfig,
    data: DataSet,
    folder: Path,
    callbacks: list[pl.Callback],
    logger: Logger | None,
    splits: tuple[str, ...] = ("val",),
    work: Path | None = None,
    revision: str | None = None,
) -> tuple[ClassifierScores, ...]:
    """Train on the configured part of ``data`` and write the best weights, ``classifier.json`` and ``scores.json`` to ``folder``.

    On the CPU the same settings, data and number of threads give identical weights, also of a training that was cut off and
    goes on from its checkpoint in ``work`` (None: it keeps none). The best weights and their temperature are chosen on one half of
    val. ``revision``: of pretrained weights (None: the newest). Returns the scores on ``splits``, of val on its other half and not at
    all where val is too small; ``scores.json`` holds them as a list of metric records.

    Raises:
        RequestError: the architecture does not exist or does not fit the images, or its pretrained weights cannot be fetched.
        StageError: the loss stopped being finite, or the checkpoint cannot be read.
    """
    symmetric = data.space.symmetry == "d4"
    spec = ClassifierSpec(
        config.architecture, data.size, config.stem, data.space.slugs, data.space.name, config.width, config.tta_d4 and symmetric
    )
    batches = ClassifierBatches(
        train=data.part(config.part),
        selection=data.selection(),
        batch_size=config.batch_size,
        seed=config.seed,
        orientations=config.augment_d4 and symmetric,
        stains=config.augment_stain,
        noise=config.augment_noise,
    )
    best = BestWeights()
    points = ResumePoints(work, _CHECKPOINT_EVERY) if work else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "classifier weights"))
        classifier = Classifier(spec, config.pretrained, revision)
        module = ClassifierModule(classifier, batches, config)
        stop = EarlyStopping(module.score_name, mode="max", patience=config.patience)
        _fit(module, batches.an_epoch, [*callbacks, best, stop], points, logger, folder)
    classifier.load_state_dict(best.state)
    classifier.temperature = fit_temperature(_logits(classifier, batches.selection), batches.selection.labels)
    scores = score_classifier(classifier, data, splits, config.seed)
    save_classifier(folder, classifier, _card(config, data, batches, best))
    write_json(folder / SCORES, [m.to_json() for s in scores for m in s.records(data.space, data.name, config.seed)])
    return scores


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
    module: ClassifierModule, an_epoch: int, callbacks: list[pl.Callback], points: ResumePoints | None, logger: Logger | None, folder: Path
) -> None:
    trainer = pl.Trainer(
        default_root_dir=str(folder),
        max_steps=module.steps,
        devices=1,
        val_check_interval=an_epoch,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        callbacks=[*callbacks, points] if points else callbacks,
        plugins=[AtomicCheckpoints(), own_environment()],
        logger=logger or False,
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
    )
    trainer.fit(module, ckpt_path=points.checkpoint if points else None, weights_only=True)


def _card(config: ClassifierConfig, data: DataSet, batches: ClassifierBatches, best: BestWeights) -> dict[str, str | int | float]:
    return {
        "data": data.name,
        "data_identity": data.identity,
        "part": config.part,
        "images": len(batches.train),
        "seed": config.seed,
        "best_step": best.step,
        "selection_images": len(batches.selection),
        "selection_macro_f1": round(best.score[0], 4),
    }
