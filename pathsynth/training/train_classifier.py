"""Training of the gate and of judges: the best weights by macro-F1 on the selection half of val are kept, and calibrated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ProgressBar
from pytorch_lightning.loggers import Logger
from torch import Tensor
from typing_extensions import override

from pathsynth.config import AnyClassifier
from pathsynth.data.dataset import DataSet
from pathsynth.ledger.atomic import sync_tree, write_json
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.records import CONFUSION_FILE
from pathsynth.ledger.seeds import derive_seed
from pathsynth.metrics.calibration import fit_temperature
from pathsynth.models.image_classifier import (
    DESCRIPTION,
    Classifier,
    CustomClassifier,
    CustomSpec,
    Ensemble,
    custom_module,
    load_classifier,
    save_classifier,
)
from pathsynth.training.classifier_batches import ClassifierBatches, ClassifierData
from pathsynth.training.classifier_module import ClassifierModule, Scored, add_scores
from pathsynth.training.distributed import launcher_environment
from pathsynth.training.resume import AtomicCheckpoints, ResumePoints
from pathsynth.training.score_classifier import SCORES, ClassifierScores, classifier_logits, score_classifier

_CHECKPOINT_EVERY = 500


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
        classifier.temperature = fit_temperature(classifier_logits(classifier, selection), selection.labels)
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
    classifier.temperature = fit_temperature(classifier_logits(classifier, batches.selection), batches.selection.labels)
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
