"""The model card of an exported adapter: content, loading, training, scores, and limits of use."""

from __future__ import annotations

from pathsynth.ledger.adapters import AdapterCard
from pathsynth.report.collect import TrialSummary
from pathsynth.report.formats import plain, score_tables
from pathsynth.report.scores import Scores
from pathsynth.report.summary import summary

_SETTINGS = {
    "base": "base.name",
    "batch size": "training.batch_size",
    "optimizer": "optimizer._target_",
    "learning rate": "optimizer.lr",
    "sampling steps": "sampling.steps",
    "scheduler": "sampling.scheduler",
    "timestep spacing, not as the base states": "sampling.scheduler_settings.timestep_spacing",
    "guidance": "sampling.guidance",
    "guidance rescale": "sampling.guidance_rescale",
}
_ADAPTER = """pipe = StableDiffusionPipeline.from_pretrained(<the base's folder or hub id>, safety_checker=None)
pipe.load_lora_weights("{folder}")"""
_PROMPT = "a histopathological image of an area with mucus"
_USE = """**Intended use.** Varied reference images for teaching, and research on generative models. **Not for diagnosis**, and no evidence
of anything about a patient: the images are synthetic. What stands under "before filtering" is what one draw gives; filter with a gate.
{chosen}; the judge is independent of it."""
_CHOSEN = "The gate also chose this adapter among the steps of its training"
_LAST = "This adapter is that of the last step of its training, which no classifier chose; the gate filters what it draws"
_READY = """Checked images, drawn by this adapter, accepted by the gate in `gate/`, and counted by the judge in `judge/`, if there is one:

```
pathsynth generate data=ready data.root={folder} data.size={size} {sampling}n=4
```"""
_SAMPLING = {"sampling.steps": None, "sampling.scheduler": "null", "sampling.guidance": None, "sampling.guidance_rescale": "0.0"}
"""Settings that say how images are drawn, each with what trials did before it existed; the defaults of a ready set may differ."""
_PATHMNIST = """**Data.** PathMNIST (Yang et al., Scientific Data 2023) is made from NCT-CRC-HE-100K and CRC-VAL-HE-7K (Kather et al.,
10.5281/zenodo.1214456), CC BY 4.0. The weights here were learnt from such images; none of them is part of this folder."""
_FUSED = """pipe = StableDiffusionPipeline.from_pretrained("{folder}", safety_checker=None)"""


def adapter_card(trial: TrialSummary, card: AdapterCard, folder: str, fused: bool = False, ready: bool = False) -> str:
    """Markdown for people, with the header that model hubs read.

    Args:
        trial: the trial that the adapter comes from, finished or not.
        card: the adapter's own.
        folder: what the exported folder is called.
        fused: whether the folder is a whole pipeline with the adapter fused in.
        ready: whether the adapter lies in ``adapter/``, with its gate beside it.
    """
    rows = {**_of_the_adapter(card), **{words: value for words, key in _SETTINGS.items() if (value := _setting(trial, key))}}
    settings = "\n".join(f"| {words} | {plain(value)} |" for words, value in rows.items())
    scores = Scores(trial.result.metrics) if trial.result else None
    data = ", ".join(dict.fromkeys(m.data for m in trial.result.metrics)) if trial.result else trial.settings.get("data.name", "")
    loading = (_FUSED if fused else _ADAPTER).format(folder=f"{folder}/adapter" if ready else folder)
    parts = [
        "---\nlibrary_name: diffusers\npipeline_tag: text-to-image\ntags: [lora, pathsynth, synthetic, histology]\n---",
        f"# {plain(trial.name)}",
        f"{'A text-to-image pipeline with a LoRA adapter fused in' if fused else 'A LoRA adapter for a text-to-image model'}, "
        f"trained by pathsynth on {plain(data)}. It belongs to the base with identity `{card.base}`.",
        f"```python\nfrom diffusers import StableDiffusionPipeline\n\n{loading}\n"
        f'pipe("{plain(card.prompts[0] if card.prompts else _PROMPT)}").images[0]\n```',
        _READY.format(folder=folder, size=trial.settings.get("data.size", ""), sampling=_as_sampled(trial)) if ready else "",
        _prompt_table(card),
        _PATHMNIST if data.startswith("PathMNIST") else "",
        f"| setting | value |\n| --- | --- |\n{settings}",
        *([plain(summary(scores)), *score_tables(scores)] if scores else ["It was not evaluated."]),
        _USE.format(chosen=_CHOSEN if _was_validated(trial) else _LAST),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _was_validated(trial: TrialSummary) -> bool:
    """Whether the adapter is the best of several steps."""
    return trial.settings.get("callbacks.regeneration.every", "0") != "0"


def _as_sampled(trial: TrialSummary) -> str:
    """How the trial sampled what its scores are of, as overrides: what draws from a set has defaults of its own."""
    return "".join(f"{key}={value} " for key, before in _SAMPLING.items() if (value := trial.settings.get(key, before)))


def _setting(trial: TrialSummary, key: str) -> str | None:
    """The value of a setting; None where the trial has none, or null."""
    value = trial.settings.get(key, "null")
    return None if value == "null" else value


def _of_the_adapter(card: AdapterCard) -> dict[str, str]:
    kinds = (("DoRA", card.dora), ("rsLoRA", card.rslora), ("with the text encoder", card.text_encoder))
    kind = [word for word, has in kinds if has]
    return {
        "kind": ", ".join(["LoRA", *kind]),
        "rank": str(card.rank),
        "alpha": str(card.alpha),
        "targets": card.targets if isinstance(card.targets, str) else ", ".join(card.targets),
        "step": f"{card.step} of {card.steps}" if card.steps else str(card.step),
        "retries at a lower rate": str(card.retries),
        "training seed": str(card.seed),
        "identity of the data": card.data_identity,
        "pathsynth": card.version,
    }


def _prompt_table(card: AdapterCard) -> str:
    """The prompt of each class, as far as the adapter's card names them."""
    pairs = zip(card.classes, card.prompts, strict=False)
    rows = "\n".join(f"| {plain(name)} | {plain(prompt)} |" for name, prompt in pairs)
    return f"| class | prompt |\n| --- | --- |\n{rows}" if rows else ""
