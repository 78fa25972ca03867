"""What a request resolved to, in a few lines: its data and words, base, optimizer, the stages that are there and those to be made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pathsynth.config import DataConfig, RunConfig
from pathsynth.config.groups import require_group
from pathsynth.ledger.contents import RECORD
from pathsynth.ledger.stages import STAGES
from pathsynth.stages.fingerprints import data_source
from pathsynth.stages.plan import Plan
from pathsynth.stages.stage import StagePlan

_WIDTH = max(map(len, ("data", "prompts", "base", "optimizer", "stages")))
_SHOWN = 9


def resolution(config: RunConfig, plan: Plan) -> tuple[str, ...]:
    """A line for each thing that a request has, in columns."""
    stages = {stage.name: stage for stage in plan.stages}
    lines = {
        "data": _data(config.data) if config.data else "",
        "prompts": _prompts(config, stages["generate"].settings["request"]) if "generate" in stages else "",
        "base": f"{plan.base.path_or_hub} ({plan.base.identity})" if plan.base else "",
        "optimizer": _optimizer(config) if "finetune" in stages else "",
        "stages": _stages(Path(config.multirun) / STAGES, plan.stages),
    }
    return tuple(f"{name:{_WIDTH}}  {text}" for name, text in lines.items() if text)


def shared_lines(resolved: Iterable[Sequence[str]]) -> list[str]:
    """The lines that several requests have in common, in the order of the first's."""
    first, *others = resolved
    return [line for line in first if all(line in other for other in others)]


def _data(config: DataConfig) -> str:
    """The images of each split; a folder's own name has their numbers, and whether groups were kept together."""
    name = data_source(config).name
    if config.name in ("folder", "ready", "own"):
        return name
    counts = (("train", config.n_train), ("val", config.n_val), ("test", config.n_test))
    most = "at most " if config.allow_fewer and config.name != "phantom" else ""
    return f"{name}: {', '.join(f'{most}{n} {split}' if n else f'all {split}' for split, n in counts)}"


def _prompts(config: RunConfig, request: Mapping[str, Any]) -> str:
    """Which class each prompt is drawn as, and how often."""
    source = data_source(require_group(config.data, "data"))
    if request["stream"] != "generate":
        kind = request.get("prompts", "canonical")
        return f"{request['n']} images of each of {len(source.space)} classes, {kind} prompts"
    slugs = {str(c.index): c.slug for c in source.space.classes}
    shown = [f"{slugs[label]} “{prompt}”" for label, prompt in list(request["prompts"].items())[:_SHOWN]]
    more = f" and {len(request['prompts']) - _SHOWN} more" if len(request["prompts"]) > _SHOWN else ""
    return f"{request['n']} of each: {', '.join(shown)}{more}"


def _optimizer(config: RunConfig) -> str:
    """The rule and the rate of each group of the adapter's tensors, as far as they are known without the class."""
    settings, lora = config.optimizer, config.lora
    if not settings or not lora:
        return ""
    rule = str(settings["_target_"]).rsplit(".", 1)[-1]
    rates = settings.get("group_lr") or {}
    parts = ("unet", "text_encoder") if lora.text_encoder else ("unet",)
    matrices = [f"{part}_{role}" for part in parts for role in ("down", "up")]
    vectors = [f"{part}_magnitude" for part in parts] if lora.dora else []
    # Muon hands vectors to AdamW, at a rate that it scales itself
    trained, handed = (matrices, vectors) if rule == "Muon" else ([*matrices, *vectors], [])
    text = f"{rule} on {', '.join(_with_rate(group, rates, settings) for group in trained)}"
    return f"{text}; AdamW on {', '.join(handed)}" if handed else text


def _with_rate(group: str, rates: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    rate = rates.get(group, settings.get("lr"))
    return f"{group} at {rate:g}" if isinstance(rate, (int, float)) else group


def _stages(store: Path, stages: Sequence[StagePlan]) -> str:
    there = [stage.name for stage in stages if (store / stage.name / stage.identity / RECORD).is_file()]
    to_make = [stage.name for stage in stages if stage.name not in there]
    parts = [("reused", there), ("to make", to_make)]
    return "; ".join(f"{what} {', '.join(names)}" for what, names in parts if names)
