from __future__ import annotations

import json
import shutil
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
from pathsynth.data.medmnist import PATHMNIST, medmnist_data
from pathsynth.ledger.errors import RequestError
from pathsynth.models.image_classifier import PretrainedWeights
from pathsynth.stages import classifier, decode
from pathsynth.stages.fingerprints import BaseSource, base_source, data_source, scheduler_config
from pathsynth.stages.plan import Plan, next_stage, plan, planned_images
from pathsynth.stages.stage import StagePlan
from pathsynth.studies.planning.override_cache import Known, OverrideCache
from pathsynth.studies.planning.source_files import source_files
from pathsynth.studies.trials.manifest import Manifest, trial_folder, trial_name, write_manifest
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
    "tracking=none": set(),
    "tracking=csv": set(),
    "lora.alpha=${lora.rank}": set(),
    "trainer.log_every_n_steps=5": set(),
    "trainer.deterministic=true": {"finetune", "generate", "evaluate"},
    "optimizer.lr=0.001": {"finetune", "generate", "evaluate"},
    "optimizer=adamw": {"finetune", "generate", "evaluate"},
    "~callbacks.lr_monitor": set(),
    "callbacks=none": {"finetune", "generate", "evaluate"},
    "callbacks.lr_monitor.logging_interval=epoch": set(),
    "+callbacks.stop={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:finetune/loss}": {"finetune", "generate", "evaluate"},
    "debug=none": set(),
    "debug=profile": {"finetune", "generate", "evaluate"},
}
"""What is typed beside values of keys, of which each has its place in ``test_identity_of_keys.py``."""


@pytest.mark.parametrize("change", CHANGES)
def test_a_setting_changes_the_identity_of_what_it_determines_and_of_nothing_else(settings, change):
    before, after = identities(settings("run")), identities(settings("run", change))
    assert {name for name in after if before.get(name) != after[name]} == CHANGES[change]
    assert (plan(settings("run")).identity == plan(settings("run", change)).identity) == (not CHANGES[change])


@pytest.mark.slow
def test_scores_on_the_test_split_are_a_stage_of_their_own(settings):
    for command, name in (("classify", "classifier"), ("finetune", "gate")):
        plain, tested = plan(settings(command)), plan(settings(command, f"{name}.test=true"))
        assert identities(settings(command))[name] == identities(settings(command, f"{name}.test=true"))[name]
        assert {s.name for s in tested.stages} - {s.name for s in plain.stages} == {f"{name}_test"}
        own = next(s for s in tested.stages if s.name == f"{name}_test")
        assert own.parents["classifier"] == identities(settings(command))[name]
        assert plain.identity != tested.identity


def test_pretrained_weights_count_by_repository_and_commit(settings, monkeypatch):
    def planned(revision: str) -> str:
        weights = "pathsynth.models.image_classifier.pretrained_weights"
        monkeypatch.setattr(weights, lambda name: PretrainedWeights(f"timm/{name}.x", revision))
        return identities(settings("classify", "classifier.pretrained=true"))["classifier"]

    assert planned("a") == planned("a") != planned("b")
    config = settings("classify", "classifier.pretrained=true")
    assert plan(config).stages[0].settings["weights"] == {"repository": "timm/resnet18.x", "revision": "b"}
    assert source_files(config) is None, "what the hub holds cannot be watched"


def test_pretrained_weights_that_nobody_can_name_are_refused_before_anything_starts(settings, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RequestError, match=r"^the pretrained weights of resnet18 .*set pretrained=false"):
        plan(settings("run", "gate.pretrained=true"))


@pytest.mark.parametrize("name", ["fast_dev_run", "overfit", "profile"])
def test_a_debug_run_has_an_adapter_of_its_own_even_at_the_same_settings(settings, name):
    chosen = settings("finetune", f"debug={name}")
    normal = chosen.model_copy(update={"debug": None})
    assert identities(chosen)["finetune"] != identities(normal)["finetune"]
    assert chosen.study.name == "debug"


def test_a_classifier_of_an_earlier_protocol_is_another_one(settings, monkeypatch):
    before = identities(settings("run"))
    monkeypatch.setattr(classifier, "PROTOCOL", 1)
    earlier = identities(settings("run"))
    assert before["gate"] != earlier["gate"] and before["judge"] != earlier["judge"]
    monkeypatch.setattr(classifier, "NEUTRAL", {**classifier.NEUTRAL, "protocol": None})
    assert identities(settings("run"))["gate"] != earlier["gate"], "1 is what classifiers had before there was a number"


def test_a_configuration_from_before_the_debug_group_keeps_its_identity(settings):
    now = settings("run")
    watched = {"regeneration": now.callbacks["regeneration"]}
    assert identities(now) == identities(now.model_copy(update={"debug": None, "callbacks": watched}))


def test_without_validation_an_adapter_does_not_depend_on_gate_or_sampler(settings):
    before = identities(settings("finetune", "callbacks.regeneration.every=0"))
    after = identities(settings("finetune", "callbacks.regeneration.every=0", "gate.epochs=3", "sampling.steps=7"))
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
    second = StagePlan("judge_vit", "an identity", {}, {"data": "x"})
    stages.insert(3, second)
    assert order("cache", "gate", "judge")[:2] == ["judge_vit", "cache"], "so it is with every classifier"
    stages.insert(0, StagePlan("decode", "an identity", {}, {"data": "x"}))
    assert order("decode") == [stage.name for stage in stages], "whatever reads images waits for them"


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
    monkeypatch.setattr("pathsynth.stages.fingerprints._cached", lambda *_: False)
    hub = settings("run").base.model_copy(update={"path": None, "hub": "some/model", "revision": "abc"})
    with pytest.raises(RequestError, match="some/model is neither in the hub's cache nor reachable"):
        base_source(hub)
    monkeypatch.setattr("pathsynth.stages.fingerprints._cached", lambda *_: True)
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
    monkeypatch.setattr(medmnist, "checksum", lambda *_: official)
    assert digest != official
    assert medmnist_data(PATHMNIST, tmp_path).identity == planned


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
    cache, known = OverrideCache(tmp_path / "study", "tree"), Known(tmp_path / "study" / "t", made.identity, 0.0)
    cache.note(["data=folder"], known, config)
    assert cache.find(["data=folder"]) == known
    (tmp_path / "own" / "c").mkdir()
    assert cache.find(["data=folder"]) is None, "a class folder was added"
    (tmp_path / "own" / "c").rmdir()
    with pytest.raises(UnknownLabelError, match="classes: a, b"):
        plan(settings("generate", "data=folder", f"data.root='{tmp_path / 'own'}'", "labels=[mucus]"))


def test_a_memo_knows_that_a_variable_named_in_an_override_has_changed(settings, tmp_path, monkeypatch):
    config = settings("generate")
    cache, known = OverrideCache(tmp_path / "study", "tree"), Known(tmp_path / "study" / "t", plan(config).identity, 0.0)
    words = ["base.path=${oc.env:PLACE}"]
    monkeypatch.setenv("PLACE", "here")
    cache.note(words, known, config)
    assert cache.find(words) == known
    monkeypatch.setenv("PLACE", "elsewhere")
    assert cache.find(words) is None
    for moment in ("study.question=${now:%S}", "study.question=${hydra:job.num}"):
        cache.note([moment], known, config)
        assert cache.find([moment]) is None


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


def test_a_class_is_named_by_its_last_part_behind_its_place():
    config = planned_config()
    callbacks = [f"+callbacks.{name}._target_=pytorch_lightning.callbacks.{kind}" for name, kind in CALLBACKS.items()]
    assert trial_name(config, callbacks) == "stop=EarlyStopping,watch=DeviceStatsMonitor,time=Timer"
    assert trial_name(config, ["optimizer._target_=torch.optim.SGD", "lora.rank=2"]) == "optimizer=SGD,rank=2"
    in_braces = [f"+callbacks.{name}={{monitor: loss, _target_: pytorch_lightning.callbacks.{kind}}}" for name, kind in CALLBACKS.items()]
    assert trial_name(config, in_braces) == trial_name(config, callbacks)


CALLBACKS = {"stop": "EarlyStopping", "watch": "DeviceStatsMonitor", "time": "Timer"}


def planned_config():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return from_hydra(compose("run"))


def test_trials_on_folders_and_bases_of_ones_own_have_the_folders_name():
    config = planned_config()
    assert config.data and config.base
    data = config.data.model_copy(update={"name": "folder", "root": "/home/me/slides 2"})
    base = config.base.model_copy(update={"name": "local", "path": "/models/sd-x"})
    own = config.model_copy(update={"data": data, "base": base})
    overrides = ["data=folder", "data.root='~/slides 2'", "base=local", "base.path=/models/sd-x", "seed=1"]
    assert trial_name(own, overrides) == "data=folder,root=slides_2,base=local,path=sd-x,seed=1"
    assert trial_name(config, ["data.root=/x", "base.path=/y"]) == "run"
    many = [f"data.{key}=12345" for key in ("n_train", "n_val", "n_test", "val_share", "test_share")]
    assert trial_name(own, [*many, "data.root=/home/me/slides 2"]).startswith("root=slides_2,n_train=12345,")


def test_a_trial_is_named_by_what_was_asked_for(settings):
    config = settings("run")
    assert trial_name(config, []) == "run"
    assert trial_name(config, ["study=demo", "data.root=/x", "tracking=none", "training.threads=2"]) == "run"
    assert trial_name(config, ["lora.rank=16", "optimizer.lr=1e-3", "seed=1"]) == "rank=16,optimizer.lr=1e-3,seed=1"
    both = ["evaluate.n=5", "callbacks.regeneration.n=6", "callbacks.regeneration.every=9"]
    assert trial_name(config, both) == "evaluate.n=5,callbacks.regeneration.n=6,every=9"
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


def test_two_trials_whose_identities_begin_alike_have_folders_of_their_own(settings, tmp_path):
    config = settings("run", f"multirun='{tmp_path}'")
    one, two, three = (replace(plan(config), identity=identity) for identity in ("abcdef000000", "abcdef011111", "abcdef022222"))

    def begun(made: Plan, overrides: list[str]) -> str:
        folder = trial_folder(config, made, overrides)
        assert trial_folder(config, made, overrides) == folder
        folder.mkdir(parents=True)
        write_manifest(folder, Manifest(trial_name(config, overrides), config, made, tuple(overrides)))
        return folder.name

    names = [begun(one, ["lora.rank=2"]), begun(two, ["lora.rank=2"]), begun(three, ["lora.rank=3"])]
    assert names == ["rank=2-abcdef", "rank=2-abcdef0", "rank=3-abcdef02"]
    assert [trial_folder(config, made, []).name for made in (one, two, three)] == names
    shutil.rmtree(tmp_path / "runs" / names[0])
    assert trial_folder(config, two, []).name == names[1], "also when the name has become free again"
    assert trial_folder(config, one, []).name == "run-abcdef"


@pytest.mark.parametrize(
    "change, of_validation", [("sampling.precision=bf16-mixed", True), ("sampling.deterministic=true", True), ("sampling.calls=9", False)]
)
def test_how_it_is_drawn_is_part_of_what_is_drawn_and_the_usual_way_changes_nothing(settings, change, of_validation):
    usual, other = settings("run", "callbacks.regeneration.every=2"), settings("run", "callbacks.regeneration.every=2", change)
    drawn = next(stage for stage in plan(usual).stages if stage.name == "generate").settings
    assert not {"precision", "deterministic", "calls", "seconds"} & drawn.keys()
    changed = {name for name, identity in identities(other).items() if identity != identities(usual)[name]}
    assert changed == ({"finetune", "generate", "evaluate"} if of_validation else {"generate", "evaluate"})


def stated(base: Path, **settings) -> None:
    """Give a base a scheduler of its own with these settings."""
    (base / "scheduler").mkdir(exist_ok=True)
    (base / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings))


def drawing(config: RunConfig) -> dict[str, dict]:
    """Of both stages that draw, the settings of sampling."""
    made = {stage.name: stage.settings for stage in plan(config).stages}
    return {"finetune": made["finetune"]["sampling"], "generate": made["generate"]}


@pytest.mark.parametrize("spacing, changed", [("trailing", False), ("leading", True), ("linspace", True), (None, True)])
def test_timesteps_that_the_base_does_not_state_are_part_of_what_is_drawn(settings, base, spacing, changed):
    own = {"_class_name": "DDIMScheduler", "clip_sample": False}
    stated(base, **own, **({"timestep_spacing": spacing} if spacing else {}))
    expected = {"timestep_spacing": "trailing"} if changed else None
    for name in ("UniPCMultistepScheduler", "DDIMScheduler"):
        found = drawing(settings("run", "callbacks.regeneration.every=2", f"sampling.scheduler={name}"))
        assert [stage.get("scheduler_settings") for stage in found.values()] == [expected, expected]
    kept = drawing(settings("run", "callbacks.regeneration.every=2", "sampling.scheduler=null"))
    assert not any({"scheduler_settings", "evaluations"} & stage.keys() for stage in kept.values())


def test_evaluations_beyond_one_a_step_are_part_of_a_generation_but_not_of_an_adapter(settings, base):
    stated(base, _class_name="PNDMScheduler", skip_prk_steps=True)
    found = drawing(settings("run", "callbacks.regeneration.every=2", "sampling.scheduler=null", "sampling.steps=30"))
    assert (found["generate"]["evaluations"], "evaluations" in found["finetune"]) == (31, False)


@pytest.mark.parametrize("command", ["run", "evaluate", "generate", "finetune"])
def test_a_revision_by_the_bases_own_pndm_is_refused_before_anything_is_built(settings, base, command):
    stated(base, _class_name="PNDMScheduler", skip_prk_steps=True)
    with pytest.raises(RequestError, match=r"the base's own scheduler, PNDMScheduler.*set sampling\.scheduler=DDIMScheduler"):
        plan(settings(command, "callbacks.regeneration.every=2", "sampling.scheduler=null", "sampling.image_to_image=0.5"))
    plan(settings(command, "callbacks.regeneration.every=2", "sampling.image_to_image=0.5"))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_scheduler_configuration_is_refused(settings, base, content):
    stated(base)
    (base / "scheduler" / "scheduler_config.json").write_text(content)
    with pytest.raises(RequestError, match=r"scheduler_config\.json .*set base\.path to a complete diffusers folder"):
        plan(settings("run"))


def test_the_scheduler_of_a_base_on_the_hub_is_read_from_its_cache_or_asked_for(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "PNDMScheduler"}')
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(tmp_path / "config.json"))
    hub = BaseSource("some/model", "abc", "identity")
    assert scheduler_config(hub) == {"_class_name": "PNDMScheduler"}

    def unreachable(*_, **__):
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(RequestError, match=r"scheduler_config\.json of base some/model is neither in the hub's cache nor reachable"):
        scheduler_config(hub)


def test_images_of_a_folder_are_decoded_before_any_other_stage_and_the_trial_keeps_its_identity(settings, tmp_path, monkeypatch):
    for label, name in enumerate(("a", "b")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (8, 8), (label, i, 0)).save(tmp_path / "own" / name / f"{i}.png")
    for command, second in (("run", "cache"), ("classify", "classifier")):
        config = settings(command, "data=folder", f"data.root={tmp_path / 'own'}", "data.size=32")
        made = plan(config)
        assert [stage.name for stage in made.stages][:2] == ["decode", second]
        assert made.stages[0].parents == {"data": made.stages[1].parents["data"]}
        with monkeypatch.context() as changed:
            changed.setattr(decode, "PROTOCOL", 99)
            other = plan(config)
        assert other.stages[0].identity != made.stages[0].identity
        assert (other.identity, other.stages[1:]) == (made.identity, made.stages[1:])
    assert "decode" not in identities(settings("run"))
