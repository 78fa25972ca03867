"""Fine-tuning: a function of its seed, whatever else happens; and the callback that watches it."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file

from pathsynth.config import LoraConfig, ObjectiveConfig, SamplingConfig, TrainerConfig, TrainingConfig, ValidationConfig
from pathsynth.data.phantom import phantom_data
from pathsynth.ledger.adapters import read_card
from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.requests import VALIDATION, leave_request
from pathsynth.models.base import load_base
from pathsynth.sampling.acceptance_rules import Verdict
from pathsynth.training.batches import BatchPlan
from pathsynth.training.finetune import FinetuneJob, FinetuneSettings, finetune
from pathsynth.training.latent_cache import build_cache, load_cache

DATA = phantom_data(32, 36, 18, 18, seed=0)
CONSTANT = {"_target_": "pathsynth.training.schedules.constant", "warmup_steps": 1}
COSINE = {"_target_": "pathsynth.training.schedules.cosine", "steps": 6, "warmup_steps": 1}
OF_TIMM = {"_target_": "timm.scheduler.CosineLRScheduler", "t_initial": 6, "lr_min": 1e-4}
OF_TORCH = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.02, "total_steps": 7}
PLAIN_DESCENT = {"_target_": "torch.optim.SGD", "lr": 1.0}
"""Steps follow the gradient, so that what differs by rounding alone stays close; Adam divides by its size."""


def every_other(attempts, images):
    """A gate that accepts slots of even index at once and the others never."""
    return [
        Verdict(a.slot.index % 2 == 0, a.slot.label if a.slot.index % 2 == 0 else (a.slot.label + 1) % 9, 0.5, (0.5,), None, False)
        for a in attempts
    ]


@pytest.fixture(scope="module")
def cache(small_base_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    base = load_base(str(small_base_folder), None, "b", 32, 32)
    build_cache(folder, DATA, base, augment=True)
    return load_cache(folder, DATA, base)


def settings(seed=3, every=0, dropout=0.0, lr=1e-2, accumulate=1, **objective) -> FinetuneSettings:
    chosen = {"noise_offset": 0.0, "caption_dropout": 0.1, "paraphrases": False, "augment": True, **objective}
    return FinetuneSettings(
        seed=seed,
        lora=LoraConfig(rank=2, dropout=dropout, targets="attention"),
        optimizer={"_target_": "timm.optim.Muon", "lr": lr},
        schedule=COSINE,
        trainer=TrainerConfig(max_steps=6, accumulate_grad_batches=accumulate, precision="32-true", gradient_clip_val=1.0),
        training=TrainingConfig(batch_size=4, warmup_steps=0, ema_decay=0.9, checkpoint_every=1),
        objective=ObjectiveConfig(**chosen),
        validation=ValidationConfig(every=every, n=2),
        sampling=SamplingConfig(steps=2, guidance=2.0, batch_size=9, seed=0, attempts=2, threshold=0.0),
    )


def changed(chosen: FinetuneSettings, **options) -> FinetuneSettings:
    """Other values for keys like ``trainer.precision``, checked as those of a configuration are."""
    for key, value in options.items():
        group, _, name = key.partition(".")
        held = getattr(chosen, group)
        chosen = replace(chosen, **{group: type(held)(**{**held.model_dump(), name: value}) if name else value})
    return chosen


def adapter(folder, base_folder, cache, chosen: FinetuneSettings, *callbacks: pl.Callback) -> dict[str, torch.Tensor]:
    base = load_base(str(base_folder), None, "b", 32, 32)
    folder.mkdir(exist_ok=True)
    finetune(FinetuneJob(base, cache, DATA, every_other, chosen), folder, folder / "work", list(callbacks), ())
    return load_file(folder / "adapter" / "pytorch_lora_weights.safetensors")


@pytest.fixture(scope="module")
def plain(small_base_folder, cache, tmp_path_factory) -> dict[str, torch.Tensor]:
    """The adapter of the plain settings."""
    return adapter(tmp_path_factory.mktemp("plain") / "a", small_base_folder, cache, settings())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_the_callback_changes_not_one_bit_and_reports(small_base_folder, cache, tmp_path, capsys):
    plain = adapter(tmp_path / "plain", small_base_folder, cache, settings(dropout=0.2))
    torch.manual_seed(99)
    asks = AskAfter(2, tmp_path / "watched" / "work" / VALIDATION)
    watched = adapter(tmp_path / "watched", small_base_folder, cache, settings(dropout=0.2, every=6), asks)
    assert same(plain, watched)
    rows = list(csv.DictReader((tmp_path / "watched" / "history.csv").open()))
    assert [row["step"] for row in rows] == ["6"]
    # nine classes, two slots each: one accepted at once, one rejected twice
    assert (float(rows[0]["val_accuracy"]), float(rows[0]["val_attempts"])) == (0.5, 27.0)
    assert (float(rows[0]["val_slots_accepted"]), float(rows[0]["val_slots_exhausted"])) == (9.0, 9.0)
    assert float(rows[0]["held_out_loss"]) > 0
    assert (tmp_path / "watched" / "first_attempts-000006.png").is_file()
    assert (tmp_path / "watched" / "after_regeneration-000006.png").is_file()
    # the validation that was requested is shown once, and is no part of the result
    assert not asks.request.exists() and "validation requested, step 2: macro-F1 before filtering, gate 0." in capsys.readouterr().out
    shown = sorted(path.name for path in (tmp_path / "watched" / "work" / "requested").iterdir())
    assert shown == ["after_regeneration-000002.png", "first_attempts-000002.png"]
    assert not list((tmp_path / "watched").glob("*-000002.png"))


class AskAfter(pl.Callback):
    """Asks for a validation beside the schedule, as a person does while a training runs."""

    def __init__(self, step: int, request: Path) -> None:
        self.step, self.request = step, request

    def on_train_batch_end(self, trainer, module, *args) -> None:
        if trainer.global_step == self.step:
            leave_request(self.request)


class CutAfter(pl.Callback):
    """Breaks off like a kill: nothing is saved that was not there."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, module, *args) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("cut")


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.parametrize(
    ("cuts", "options"),
    [
        pytest.param((1,), {}, marks=[pytest.mark.slow, pytest.mark.thorough]),
        ((2,), {"lora.text_encoder": True}),
        pytest.param((4,), {"trainer.accumulate_grad_batches": 2}, marks=[pytest.mark.slow, pytest.mark.thorough]),
        pytest.param((5,), {"trainer.precision": "bf16-mixed", "lora.dora": True}, marks=pytest.mark.slow),
        pytest.param(
            (2, 3, 5),
            {"trainer.accumulate_grad_batches": 2, "schedule": {**COSINE, "restart_steps": 2}, "training.ema_decay": 0.0},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (3,),
            {"optimizer": {"_target_": "torch.optim.SGD", "lr": 1e-2, "momentum": 0.9}, "training.channels_last": True},
            marks=[pytest.mark.slow, pytest.mark.thorough],
        ),
        pytest.param((3,), {"schedule": OF_TIMM, "trainer.accumulate_grad_batches": 2}, marks=[pytest.mark.slow, pytest.mark.thorough]),
        pytest.param((2,), {"schedule": OF_TORCH}, marks=pytest.mark.slow),
    ],
)
def test_a_training_that_was_cut_off_ends_as_the_undisturbed_one(small_base_folder, cache, tmp_path, cuts, options):
    chosen = changed(settings(dropout=0.2, every=2), **options)
    whole = adapter(tmp_path / "whole", small_base_folder, cache, chosen)
    for cut in cuts:
        with pytest.raises(RuntimeError, match="cut"):
            adapter(tmp_path / "cut", small_base_folder, cache, chosen, CutAfter(cut))
        assert not (tmp_path / "cut" / "adapter").exists()
    assert same(whole, adapter(tmp_path / "cut", small_base_folder, cache, chosen))
    assert read_card(tmp_path / "cut" / "adapter") == read_card(tmp_path / "whole" / "adapter")
    histories = [list(csv.DictReader((tmp_path / name / "history.csv").open())) for name in ("whole", "cut")]
    assert histories[0] == histories[1] and len(histories[0]) == 3
    sheets = [sorted(p.name for p in (tmp_path / name).glob("*.png")) for name in ("whole", "cut")]
    assert sheets[0] == sheets[1]


class SignalIn(pl.Callback):
    """Sends the process SIGTERM within a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_backward(self, trainer, module, loss) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_sigterm_waits_for_the_step_and_leaves_a_checkpoint(plain, small_base_folder, cache, tmp_path, monkeypatch):
    def stop(number, frame):
        raise KeyboardInterrupt

    rare = settings()
    rare = replace(rare, training=rare.training.model_copy(update={"checkpoint_every": 100}))
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            adapter(tmp_path / "cut", small_base_folder, cache, rare, SignalIn(3))
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [path.name for path in (tmp_path / "cut" / "work").glob("*.ckpt")] == ["step-00000004.ckpt"]
    kept = torch.load(tmp_path / "cut" / "work" / "step-00000004.ckpt", weights_only=True)
    assert kept["global_step"] == 4
    assert same(plain, adapter(tmp_path / "cut", small_base_folder, cache, rare))


def test_a_damaged_checkpoint_is_named(small_base_folder, cache, tmp_path):
    (tmp_path / "a" / "work").mkdir(parents=True)
    (tmp_path / "a" / "work" / "step-00000003.ckpt").write_bytes(b"PK no more")
    with pytest.raises(StageError, match=r"step-00000003\.ckpt cannot be read; delete it"):
        adapter(tmp_path / "a", small_base_folder, cache, settings())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_the_last_checkpoints_are_kept_and_a_damaged_one_is_passed_over(small_base_folder, cache, tmp_path, caplog):
    chosen = changed(settings(dropout=0.2), **{"training.keep_checkpoints": 3})
    with pytest.raises(RuntimeError, match="cut"):
        adapter(tmp_path / "a", small_base_folder, cache, chosen, CutAfter(5))
    kept = sorted((tmp_path / "a" / "work").glob("*.ckpt"))
    assert [path.name for path in kept] == [f"step-{step:08d}.ckpt" for step in (2, 3, 4)]
    kept[-1].write_bytes(kept[-1].read_bytes()[:1000])
    resumed = adapter(tmp_path / "a", small_base_folder, cache, chosen)
    assert "step-00000004.ckpt cannot be read; continuing from the one before" in caplog.text
    assert same(resumed, adapter(tmp_path / "b", small_base_folder, cache, chosen))


def test_a_checkpoint_holds_the_adapter_and_not_the_base(small_base_folder, cache, tmp_path):
    with pytest.raises(RuntimeError, match="cut"):
        adapter(tmp_path / "a", small_base_folder, cache, settings(), CutAfter(3))
    kept = torch.load(tmp_path / "a" / "work" / "step-00000002.ckpt", weights_only=True)
    assert kept["state_dict"] and all("lora_" in name for name in kept["state_dict"])


@pytest.mark.slow
def test_the_first_of_equally_good_adapters_is_kept(small_base_folder, cache, tmp_path):
    adapter(tmp_path / "a", small_base_folder, cache, settings(every=2))
    card = read_card(tmp_path / "a" / "adapter")
    assert (card.step, card.base, card.rank, card.alpha, card.seed) == (2, "b", 2, 2, 3)
    assert card.classes == DATA.space.slugs


def test_the_seed_decides(plain, small_base_folder, cache, tmp_path):
    assert not same(plain, adapter(tmp_path / "b", small_base_folder, cache, settings(seed=4)))


@pytest.mark.parametrize(
    "option", [{"noise_offset": 0.2}, {"min_snr_gamma": 5.0}, {"caption_dropout": 0.9}, {"paraphrases": True}, {"augment": False}]
)
def test_every_option_of_the_objective_changes_the_adapter(plain, small_base_folder, cache, tmp_path, option):
    assert not same(plain, adapter(tmp_path / "b", small_base_folder, cache, settings(**option)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    [
        {"alpha": 4},
        {"dora": True},
        {"dropout": 0.3},
        {"init": "default"},
        {"rslora": True},
        {"targets": "all-linear"},
        {"text_encoder": True},
    ],
)
def test_every_option_of_the_adapter_changes_it(plain, small_base_folder, cache, tmp_path, option):
    other = changed(settings(), **{f"lora.{name}": value for name, value in option.items()})
    assert not same(plain, adapter(tmp_path / "b", small_base_folder, cache, other))


@pytest.mark.parametrize(
    "option",
    [
        {"trainer.precision": "bf16-mixed"},
        {"training.ema_decay": 0.0},
        {"trainer.accumulate_grad_batches": 2},
        {"trainer.gradient_clip_val": 0.01},
        {"schedule": {**COSINE, "warmup_steps": 3}},
        {"schedule": CONSTANT},
        {"schedule": {**COSINE, "restart_steps": 2}},
        {"optimizer": {"_target_": "torch.optim.RAdam", "lr": 1e-2}},
        {"optimizer": {"_target_": "torch.optim.AdamW", "lr": 1e-2, "betas": [0.5, 0.9]}},
    ],
)
def test_every_option_of_the_optimisation_changes_the_adapter(plain, small_base_folder, cache, tmp_path, option):
    assert not same(plain, adapter(tmp_path / "b", small_base_folder, cache, changed(settings(), **option)))


class Layouts(pl.Callback):
    """Notes whether the weights of the UNet's first convolution lie with their channels last."""

    def __init__(self) -> None:
        self.seen: set[bool] = set()

    def on_train_batch_start(self, trainer, module, *args) -> None:
        self.seen.add(module.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last))


@pytest.mark.slow
def test_channels_last_holds_while_training_and_saves_an_ordinary_adapter(small_base_folder, cache, tmp_path):
    layouts, chosen = (Layouts(), Layouts()), changed(settings(), optimizer=PLAIN_DESCENT)
    plain = adapter(tmp_path / "a", small_base_folder, cache, chosen, layouts[0])
    other = adapter(tmp_path / "b", small_base_folder, cache, changed(chosen, **{"training.channels_last": True}), layouts[1])
    assert (layouts[0].seen, layouts[1].seen) == ({False}, {True})
    assert all(tensor.is_contiguous() and torch.allclose(tensor, plain[name], atol=1e-4) for name, tensor in other.items())


@pytest.mark.slow
def test_a_compiled_unet_learns_the_same_or_says_that_it_needs_a_compiler(small_base_folder, cache, tmp_path, monkeypatch):
    chosen = changed(settings(), optimizer=PLAIN_DESCENT, **{"trainer.max_steps": 2})
    compiled = changed(chosen, **{"training.compile": True})
    if shutil.which("g++"):
        plain = adapter(tmp_path / "a", small_base_folder, cache, chosen)
        other = adapter(tmp_path / "b", small_base_folder, cache, compiled)
        assert not same(plain, other)
        assert all(torch.allclose(tensor, plain[name], atol=1e-4) for name, tensor in other.items())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RequestError, match=r"training\.compile=true needs a C\+\+ compiler"):
        adapter(tmp_path / "c", small_base_folder, cache, compiled)


@pytest.mark.slow
def test_a_training_that_starts_from_an_adapter_goes_on_from_it(small_base_folder, cache, tmp_path):
    chosen = settings()
    first = adapter(tmp_path / "a", small_base_folder, cache, chosen)
    started = replace(chosen, lora=chosen.lora.model_copy(update={"start": str(tmp_path / "a" / "adapter")}))
    still = replace(started, optimizer={"_target_": "torch.optim.SGD", "lr": 0.0})
    assert same(first, adapter(tmp_path / "b", small_base_folder, cache, still))
    assert not same(first, adapter(tmp_path / "c", small_base_folder, cache, started))


def test_a_loss_that_is_not_finite_stops_with_its_step(small_base_folder, cache, tmp_path):
    told = r"became nan at step \d; lower optimizer.lr .* continue from the last good checkpoint \(step-0000000\d\.ckpt\) at a lower rate$"
    with pytest.raises(StageError, match=told):
        adapter(tmp_path / "a", small_base_folder, cache, settings(lr=1e30))
    assert not (tmp_path / "a" / "adapter").exists()
    kept = torch.load(next((tmp_path / "a" / "work").glob("*.ckpt")), weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in kept["state_dict"].values())


class Spoil(pl.Callback):
    """Makes the loss not finite where the rate is still the first one: a training that only a lower rate can end."""

    def __init__(self, step: int, rate: float) -> None:
        self.step, self.rate = step, rate

    def on_train_batch_start(self, trainer, module, batch, *args) -> None:
        if trainer.global_step == self.step and trainer.optimizers[0].param_groups[0]["lr"] > self.rate:
            batch.noise.fill_(float("nan"))


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.parametrize("every", [1, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.thorough])])
def test_a_training_that_diverges_goes_on_at_a_lower_rate(small_base_folder, cache, tmp_path, capsys, every):
    options = {"schedule": CONSTANT, "training.retries": 2, "training.checkpoint_every": every}
    chosen = changed(settings(dropout=0.2, every=2), **options)
    rates = Rates()
    whole = adapter(tmp_path / "a", small_base_folder, cache, chosen, Spoil(3, 4e-3), rates)
    told = capsys.readouterr().out
    where = "the last good checkpoint (step-00000003.ckpt)" if every == 1 else "the start"
    assert f"the loss became nan at step 4; continuing from {where} at 0.5 times optimizer.lr" in told
    assert "at 0.25 times optimizer.lr" in told
    assert rates.seen[-1] == pytest.approx(2.5e-3)
    assert read_card(tmp_path / "a" / "adapter").retries == 2
    history = list(csv.DictReader((tmp_path / "a" / "history.csv").open()))
    assert [row["step"] for row in history] == ["2", "4", "6"]
    with pytest.raises(RuntimeError, match="cut"):
        adapter(tmp_path / "b", small_base_folder, cache, chosen, Spoil(3, 4e-3), CutAfter(5))
    assert same(whole, adapter(tmp_path / "b", small_base_folder, cache, chosen, Spoil(3, 4e-3)))


class Rates(pl.Callback):
    """Notes the learning rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer, module, *args) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.log_every = trainer.log_every_n_steps


class Attention(pl.Callback):
    """Notes in each step whether PyTorch may take its fused attention."""

    def __init__(self) -> None:
        self.fused: set[bool] = set()

    def on_train_batch_start(self, *_) -> None:
        self.fused.add(torch.backends.cuda.flash_sdp_enabled())


@pytest.mark.parametrize(("precision", "fused"), [("32-true", True), ("bf16-mixed", False)])
def test_attention_is_the_plain_one_where_the_fused_one_is_slow(small_base_folder, cache, tmp_path, precision, fused):
    seen = Attention()
    adapter(tmp_path / "a", small_base_folder, cache, with_trainer(precision=precision, max_steps=1), seen)
    assert seen.fused == {fused}
    assert torch.backends.cuda.flash_sdp_enabled(), "as before"


def with_trainer(**changes) -> FinetuneSettings:
    return changed(settings(), **{f"trainer.{name}": value for name, value in changes.items()})


def test_what_is_lightnings_reaches_its_trainer(small_base_folder, cache, tmp_path):
    rates = Rates()
    asked = with_trainer(log_every_n_steps=3, accelerator="cpu", profiler="simple")
    asked = replace(asked, schedule={**COSINE, "warmup_steps": 0, "restart_steps": 2})
    adapter(tmp_path / "a", small_base_folder, cache, asked, rates)
    assert rates.log_every == 3
    assert rates.seen == pytest.approx([1e-2, 5e-3, 1e-2, 1e-2 * 0.853553, 5e-3, 1e-2 * 0.146447], rel=1e-4)
    assert "FIT Profiler Report" in (tmp_path / "a" / "fit-profile.txt").read_text()


def test_a_constant_rate_is_warmed_up_and_stays(small_base_folder, cache, tmp_path):
    rates = Rates()
    adapter(tmp_path / "a", small_base_folder, cache, replace(settings(), schedule={**CONSTANT, "warmup_steps": 2}), rates)
    assert rates.seen == pytest.approx([5e-3, 1e-2, 1e-2, 1e-2, 1e-2, 1e-2])


@pytest.mark.slow
def test_gradient_checkpointing_recomputes_and_gives_the_same_adapter(plain, small_base_folder, cache, tmp_path, monkeypatch):
    recomputed = []
    original = torch.utils.checkpoint.checkpoint
    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", lambda *args, **kwargs: recomputed.append(1) or original(*args, **kwargs))
    assert same(plain, adapter(tmp_path / "b", small_base_folder, cache, changed(settings(), **{"training.gradient_checkpointing": True})))
    assert recomputed


def test_what_lightning_refuses_is_reported_in_one_line(small_base_folder, cache, tmp_path):
    with pytest.raises(RequestError, match=r"^Lightning refuses the settings of trainer or callbacks: [^\n]*ModelCheckpoint[^\n]*$"):
        adapter(tmp_path / "a", small_base_folder, cache, settings(), pl.callbacks.ModelCheckpoint())


@pytest.mark.slow
def test_a_fine_tune_that_has_to_learn_fails_where_it_does_not(small_base_folder, cache, tmp_path):
    with pytest.raises(StageError, match="the loss did not fall"):
        adapter(tmp_path / "a", small_base_folder, cache, replace(settings(lr=1e-9), must_learn=True))


def test_batches_are_functions_of_the_step(cache):
    plan = BatchPlan(cache, settings().objective, batch_size=4, seed=3, timesteps=1000)
    forward = [plan.train(step) for step in range(12)]
    backward = [plan.train(step) for step in reversed(range(12))][::-1]
    assert all(torch.equal(a, b) for one, other in zip(forward, backward, strict=True) for a, b in zip(one, other, strict=True))
    assert not torch.equal(forward[0].noise, forward[1].noise)


def test_an_epoch_shows_every_image_once(cache):
    plan = BatchPlan(cache, settings().objective, batch_size=4, seed=3, timesteps=1000)
    rows = torch.cat([plan._rows(step) for step in range(18)])
    assert sorted(rows[:36].tolist()) == list(range(36))
    assert sorted(rows[36:].tolist()) == list(range(36))
    assert rows[:36].tolist() != rows[36:].tolist()


def test_held_out_batches_never_change(cache):
    plans = [BatchPlan(cache, settings().objective, batch_size=4, seed=seed, timesteps=1000) for seed in (1, 2)]
    assert all(torch.equal(a, b) for a, b in zip(plans[0].val(1), plans[1].val(1), strict=True))
