from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from safetensors.numpy import save_file

from pathsynth.commands.quoting import quote_free_text
from pathsynth.config import RunConfig, from_hydra
from pathsynth.config.shipped import conf_folder
from pathsynth.data.medmnist import pathmnist_data
from pathsynth.ledger.errors import RequestError
from pathsynth.study.claim import trial_folder, trial_name
from pathsynth.study.memo import Known, Memo
from pathsynth.study.plan import Plan, next_stage, plan, planned_images
from pathsynth.study.sources import base_source, data_source, source_files
from pathsynth.vocabulary.labels import UnknownLabelError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "a base"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "w.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def settings(base):
    def make(command: str, *overrides: str) -> RunConfig:
        own = [] if command in ("classify", "pretrain") else [f"base.path='{base}'"]
        if command == "generate" and not any(word.startswith("data=") for word in overrides):
            own.append("data=phantom")  # the shipped set has a base of its own
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return from_hydra(compose(command, quote_free_text([*own, *overrides], multirun=False)))

    return make


def identities(config: RunConfig) -> dict[str, str]:
    return {stage.name: stage.identity for stage in plan(config).stages}


@pytest.mark.parametrize(
    "command, stages",
    [
        ("run", ["cache", "gate", "judge", "finetune", "generate", "reference", "evaluate"]),
        ("evaluate", ["cache", "gate", "judge", "finetune", "generate", "reference", "evaluate"]),
        ("generate", ["cache", "gate", "finetune", "generate"]),
        ("finetune", ["cache", "gate", "finetune"]),
        ("classify", ["classifier"]),
        ("pretrain", ["pretrain"]),
    ],
)
def test_a_command_needs_its_stages_in_order(settings, command, stages):
    made = plan(settings(command))
    assert [stage.name for stage in made.stages] == stages
    known: set[str] = set()
    for stage in made.stages:
        assert all(parent in known or parent in ("data", "base") for parent in stage.parents)
        known.add(stage.name)


CHANGES = {
    "evaluate.split=test": {"reference", "evaluate"},
    "evaluate.n=7": {"reference", "generate", "evaluate"},
    "judge.lr=0.003": {"judge", "reference", "evaluate"},
    "lora.rank=3": {"finetune", "generate", "evaluate"},
    "optimizer.lr=0.001": {"finetune", "generate", "evaluate"},
    "seed=5": {"reference", "finetune", "generate", "evaluate"},
    "trainer.max_steps=5": {"finetune", "generate", "evaluate"},
    "validation.every=10": {"finetune", "generate", "evaluate"},
    "sampling.threshold=0.5": {"finetune", "generate", "evaluate"},
    "gate.epochs=3": {"reference", "gate", "finetune", "generate", "evaluate"},
    "data.seed=9": {"reference", "cache", "gate", "judge", "finetune", "generate", "evaluate"},
    "objective.augment=false": {"cache", "finetune", "generate", "evaluate"},
    "objective.paraphrases=false": {"finetune", "generate", "evaluate"},
    "trainer.threads=1": set(),
    "sampling.batch_size=8": set(),
    "tracking=none": set(),
    "tracking=csv": set(),
    "multirun=elsewhere": set(),
    "study.name=other": set(),
    "lora.alpha=${lora.rank}": set(),
    "trainer.restart_steps=100": {"finetune", "generate", "evaluate"},
    "+trainer.gradient_clip_algorithm=value": {"finetune", "generate", "evaluate"},
    "+trainer.deterministic=true": {"finetune", "generate", "evaluate"},
    "+trainer.log_every_n_steps=5": set(),
    "+trainer.accelerator=cpu": set(),
    "trainer.devices=2": set(),
    "trainer.channels_last=true": {"finetune", "generate", "evaluate"},
    "trainer.retries=1": {"finetune", "generate", "evaluate"},
    "trainer.explosion=3": set(),
    "lora.text_encoder=true": {"finetune", "generate", "evaluate"},
    "sampling.margin=0.1": {"finetune", "generate", "evaluate"},
    "sampling.guidance_step=1": {"finetune", "generate", "evaluate"},
    "sampling.guidance_rescale=0.5": {"finetune", "generate", "evaluate"},
    "sampling.scheduler=DPMSolverMultistepScheduler": {"finetune", "generate", "evaluate"},
    "sampling.speculate=true": {"generate", "evaluate"},
    "sampling.reject_copies=true": {"finetune", "generate", "evaluate"},
    "sampling.revise=0.5": {"finetune", "generate", "evaluate"},
    "sampling.look_n=9": set(),
    "sampling.look_loss=0.1": set(),
    "evaluate.prompts=held_out": {"generate", "evaluate"},
    "+trainer.profiler=simple": set(),
    "callbacks=none": set(),
    "callbacks.lr_monitor.logging_interval=epoch": set(),
    "+callbacks.stop={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:finetune/loss}": {"finetune", "generate", "evaluate"},
    "debug=none": set(),
    "debug=profile": {"finetune", "generate", "evaluate"},
    "debug.name=overfit": {"finetune", "generate", "evaluate"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_setting_changes_the_identity_of_what_it_determines_and_of_nothing_else(settings, change):
    before, after = identities(settings("run")), identities(settings("run", change))
    assert {name for name in before if before[name] != after[name]} == CHANGES[change]
    assert (plan(settings("run")).identity == plan(settings("run", change)).identity) == (not CHANGES[change])


@pytest.mark.parametrize("name", ["fast_dev_run", "overfit", "profile"])
def test_a_debug_run_has_an_adapter_of_its_own_even_at_the_same_settings(settings, name):
    chosen = settings("finetune", f"debug={name}")
    normal = chosen.model_copy(update={"debug": None})
    assert identities(chosen)["finetune"] != identities(normal)["finetune"]
    assert chosen.study.name == "debug"


def test_a_configuration_from_before_the_debug_group_keeps_its_identity(settings):
    now = settings("run")
    assert identities(now) == identities(now.model_copy(update={"debug": None, "callbacks": {}}))


def test_without_validation_an_adapter_does_not_depend_on_gate_or_sampler(settings):
    before = identities(settings("finetune", "validation.every=0"))
    after = identities(settings("finetune", "validation.every=0", "gate.epochs=3", "sampling.steps=7"))
    assert before["finetune"] == after["finetune"]
    assert before["gate"] != after["gate"]


def test_the_adapter_that_a_training_starts_from_counts_by_its_tensors(settings, base, tmp_path):
    def started(name: str, value: float, own: str | None = None) -> RunConfig:
        folder = tmp_path / name
        folder.mkdir()
        save_file({"x": np.full(3, value)}, folder / "pytorch_lora_weights.safetensors", metadata={"made": name})
        if own:
            (folder / "adapter.json").write_text(json.dumps({"base": own}))
        return settings("finetune", f"lora.start='{folder}'")

    fresh, one = identities(settings("finetune")), identities(started("a", 1.0))
    assert fresh["gate"] == one["gate"] and fresh["finetune"] != one["finetune"]
    same, other = identities(started("b", 1.0)), identities(started("c", 2.0))
    assert one["finetune"] == same["finetune"] != other["finetune"]
    with pytest.raises(RequestError, match="belongs to base xyz, not to"):
        plan(started("d", 1.0, own="xyz"))
    with pytest.raises(RequestError, match="holds no adapter"):
        plan(settings("finetune", f"lora.start='{base}'"))


def test_run_generate_and_finetune_share_their_stages(settings):
    run, generate, finetune = (identities(settings(command)) for command in ("run", "generate", "finetune"))
    for name in ("cache", "gate", "finetune"):
        assert run[name] == generate[name] == finetune[name]
    assert run["generate"] != generate["generate"]


def test_a_trial_trains_the_judge_while_another_trains_the_gate(settings):
    stages = list(plan(settings("run")).stages)

    def order(*busy: str) -> list[str]:
        waiting, taken = list(stages), []
        while waiting:
            stage = next_stage(waiting, lambda s: s.name in busy)
            waiting.remove(stage)
            taken.append(stage.name)
        return taken

    assert order() == [stage.name for stage in stages]
    assert order("gate") == ["cache", "judge", "gate", "finetune", "generate", "reference", "evaluate"]
    assert order("cache", "gate") == ["judge", "cache", "gate", "finetune", "generate", "reference", "evaluate"]
    assert order("cache", "gate", "judge") == [stage.name for stage in stages]


def test_the_request_decides_what_is_generated(settings):
    def generated(*overrides: str) -> str:
        return identities(settings("generate", *overrides))["generate"]

    prompt = "prompt=a histopathological image of an area with mucus"
    assert generated("label=mucus") == generated("labels=[mucus]") == generated(prompt)
    assert len({generated(), generated("n=5"), generated("label=mucus"), generated("prompt=mucus, pale"), generated("label=debris")}) == 5


def test_a_plan_survives_its_manifest(settings):
    made = plan(settings("run"))
    assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert plan(settings("classify")).base is None


def test_the_base_is_known_by_its_content_not_by_its_place(settings, base, tmp_path):
    config = settings("run").base
    first = base_source(config)
    moved = tmp_path / "moved"
    base.rename(moved)
    assert base_source(config.model_copy(update={"path": str(moved)})).identity == first.identity
    (moved / "README.md").write_text("not part of it")
    assert base_source(config.model_copy(update={"path": str(moved)})).identity == first.identity
    (moved / "unet" / "w.safetensors").write_bytes(b"others!")
    assert base_source(config.model_copy(update={"path": str(moved)})).identity != first.identity


def test_a_folder_that_is_no_base_is_refused(settings, base):
    config = settings("run").base
    (base / "unet" / "w.safetensors").unlink()
    with pytest.raises(RequestError, match=r"no \.safetensors weights; set base\.path"):
        base_source(config)
    (base / "model_index.json").unlink()
    with pytest.raises(RequestError, match=r"no model_index\.json there\); set base\.path"):
        base_source(config)


def test_a_hub_base_without_cache_is_refused_at_once_when_offline(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("pathsynth.study.sources._cached", lambda *_: False)
    hub = settings("run").base.model_copy(update={"path": None, "hub": "some/model", "revision": "abc"})
    with pytest.raises(RequestError, match="some/model is neither in the hub's cache nor reachable"):
        base_source(hub)
    monkeypatch.setattr("pathsynth.study.sources._cached", lambda *_: True)
    source = base_source(hub)
    assert (source.path_or_hub, source.revision) == ("some/model", "abc")
    assert source.identity != base_source(hub.model_copy(update={"revision": "abd"})).identity
    with pytest.raises(RequestError, match=r"set base\.revision"):
        base_source(hub.model_copy(update={"revision": None}))


def test_what_will_be_downloaded_is_planned_as_the_official_file(settings, monkeypatch, tmp_path):
    import numpy as np

    config = settings("classify", "data=pathmnist", f"data.root='{tmp_path}'", "data.download=true").data
    planned = data_source(config).identity
    arrays = {f"{s}_images": np.zeros((9, 28, 28, 3), np.uint8) for s in ("train", "val", "test")}
    arrays |= {f"{s}_labels": np.arange(9, dtype=np.uint8)[:, None] for s in ("train", "val", "test")}
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    import hashlib

    from pathsynth.data import medmnist

    digest = hashlib.md5((tmp_path / "pathmnist.npz").read_bytes()).hexdigest()
    official = medmnist.OFFICIAL_MD5[28]
    monkeypatch.setattr(medmnist, "_md5", lambda *_: official)
    assert digest != official
    assert pathmnist_data(tmp_path).identity == planned


def test_images_of_ones_own_are_planned_and_watched(settings, tmp_path):
    for label, name in enumerate(("a", "b")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((8, 8, 3), 10 * label + i, dtype=np.uint8)).save(tmp_path / "own" / name / f"{i}.png")
    config = settings("generate", "data=folder", f"data.root='{tmp_path / 'own'}'", "data.size=32", "labels=[b]")
    made = plan(config)
    assert made.stages[-1].settings["request"]["prompts"] == {"1": "an image of an area with b"}
    watched = source_files(config)
    assert watched is not None and {tmp_path / "own", tmp_path / "own" / "a", tmp_path / "own" / "a" / "0.png"} <= set(watched)
    memo, known = Memo(tmp_path / "study", "tree"), Known(tmp_path / "study" / "t", made.identity, 0.0)
    memo.note(["data=folder"], known, config)
    assert memo.find(["data=folder"]) == known
    (tmp_path / "own" / "c").mkdir()
    assert memo.find(["data=folder"]) is None, "a class folder was added"
    (tmp_path / "own" / "c").rmdir()
    with pytest.raises(UnknownLabelError, match="classes: a, b"):
        plan(settings("generate", "data=folder", f"data.root='{tmp_path / 'own'}'", "labels=[mucus]"))


def test_a_prompt_file_counts_where_its_words_are_used(settings, tmp_path):
    (tmp_path / "my.yaml").write_text("mucus:\n  canonical: pale mucus\n")
    (tmp_path / "held.yaml").write_text("mucus:\n  held_out: [pale mucus]\n")
    (tmp_path / "none.yaml").write_text("mucus:\n  held_out: []\n")

    def made(*overrides: str) -> dict[str, str]:
        return identities(settings("run", *overrides))

    held_out = "evaluate.prompts=held_out"
    usual, own = made(), made(f"data.prompts='{tmp_path / 'my.yaml'}'")
    assert {name for name in usual if usual[name] != own[name]} == {"cache", "finetune", "generate", "evaluate"}
    assert made(f"data.prompts='{tmp_path / 'held.yaml'}'") == usual
    before, after = made(held_out), made(held_out, f"data.prompts='{tmp_path / 'held.yaml'}'")
    assert {name for name in before if before[name] != after[name]} == {"generate", "evaluate"}
    with pytest.raises(RequestError, match="evaluate.prompts=held_out, and mucus has none"):
        made(held_out, f"data.prompts='{tmp_path / 'none.yaml'}'")
    assert tmp_path / "my.yaml" in (source_files(settings("run", f"data.prompts='{tmp_path / 'my.yaml'}'")) or [])


def test_missing_data_and_unknown_labels_are_refused(settings, tmp_path):
    with pytest.raises(RequestError, match=r"no pathmnist\.npz in"):
        plan(settings("run", "data=pathmnist", f"data.root='{tmp_path}'"))
    with pytest.raises(UnknownLabelError, match="names no class"):
        plan(settings("generate", "prompt=a cat"))
    with pytest.raises(UnknownLabelError, match="nearest: mucus"):
        plan(settings("generate", "label=mucs"))


def test_planned_images_count_the_whole_budget_where_rejected_images_are_kept(settings):
    run = settings("run", "evaluate.n=5", "sampling.attempts=3")
    assert planned_images(run, plan(run)) == 9 * 5 * 3
    generate = settings("generate", "label=mucus", "n=7")
    assert planned_images(generate, plan(generate)) == 7
    classify = settings("classify")
    assert planned_images(classify, plan(classify)) == 0


def test_a_trial_is_named_by_what_was_asked_for(settings):
    config = settings("run")
    assert trial_name(config, []) == "run"
    assert trial_name(config, ["study=demo", "data.root=/x", "tracking=none", "trainer.threads=2"]) == "run"
    assert trial_name(config, ["lora.rank=16", "optimizer.lr=1e-3", "seed=1"]) == "rank=16,optimizer.lr=1e-3,seed=1"
    name = trial_name(config, ["data=../../etc", f"lora.rank={'9' * 200}"])
    assert "/" not in name
    assert len(name) <= 60


def test_a_trial_is_found_again_under_another_name(settings, tmp_path):
    config = settings("run", f"multirun='{tmp_path}'")
    made = plan(config)
    first = trial_folder(config, made, ["lora.rank=16"])
    assert first == tmp_path / "runs" / f"rank=16-{made.identity[:6]}"
    first.mkdir(parents=True)
    assert trial_folder(config, made, []) == first
    other = replace(made, identity="f" * 12)
    assert trial_folder(config, other, []).name == "run-ffffff"


@pytest.mark.parametrize(
    "change, of_validation", [("sampling.precision=bf16-mixed", True), ("sampling.deterministic=true", True), ("sampling.calls=9", False)]
)
def test_how_it_is_drawn_is_part_of_what_is_drawn_and_the_usual_way_changes_nothing(settings, change, of_validation):
    usual, other = settings("run", "validation.every=2"), settings("run", "validation.every=2", change)
    drawn = next(stage for stage in plan(usual).stages if stage.name == "generate").settings
    assert not {"precision", "deterministic", "calls", "seconds"} & drawn.keys()
    changed = {name for name, identity in identities(other).items() if identity != identities(usual)[name]}
    assert changed == ({"finetune", "generate", "evaluate"} if of_validation else {"generate", "evaluate"})
