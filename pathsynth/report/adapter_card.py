"""The card of an exported adapter: what it is, how to load it, how it was made, what it scored, and what it is not for."""

from __future__ import annotations

from pathsynth.report.collect import TrialSummary
from pathsynth.report.export import plain, score_tables
from pathsynth.report.scores import Scores
from pathsynth.report.verdict import verdict

_SETTINGS = {
    "base": "base.name",
    "rank": "lora.rank",
    "alpha (null: the rank)": "lora.alpha",
    "targets": "lora.targets",
    "steps": "trainer.max_steps",
    "batch size": "trainer.batch_size",
    "learning rate": "optimizer.lr",
    "training seed": "seed",
    "sampling steps": "sampling.steps",
    "guidance": "sampling.guidance",
}
_ADAPTER = """pipe = StableDiffusionPipeline.from_pretrained(<the base's folder or hub id>, safety_checker=None)
pipe.load_lora_weights("{folder}")"""
_USE = """**Intended use.** Varied reference images for teaching, and research on generative models. **Not for diagnosis**, and no evidence
of anything about a patient: the images are synthetic. What stands under "before filtering" is what one draw gives; filter with a gate. The
gate also chose this adapter among the steps of its training; the judge is independent of it."""
_READY = """Checked images, drawn by this adapter and accepted by the gate beside it:

```
pathsynth generate data=ready data.root={folder} data.size={size} n=4
```"""
_FUSED = """pipe = StableDiffusionPipeline.from_pretrained("{folder}", safety_checker=None)"""


def adapter_card(trial: TrialSummary, base: str, folder: str, fused: bool = False, ready: bool = False) -> str:
    """Markdown for people, with the header that model hubs read.

    Args:
        trial: the trial that the adapter comes from, finished or not.
        base: identity of the base that it belongs to.
        folder: what the exported folder is called.
        fused: whether the folder is a whole pipeline with the adapter fused in.
        ready: whether the adapter lies in ``adapter/``, with its gate beside it.
    """
    settings = "\n".join(f"| {words} | {plain(trial.settings[key])} |" for words, key in _SETTINGS.items() if key in trial.settings)
    scores = Scores(trial.result.metrics) if trial.result else None
    data = ", ".join(dict.fromkeys(m.data for m in trial.result.metrics)) if trial.result else trial.settings.get("data.name", "")
    loading = (_FUSED if fused else _ADAPTER).format(folder=f"{folder}/adapter" if ready else folder)
    parts = [
        "---\nlibrary_name: diffusers\npipeline_tag: text-to-image\ntags: [lora, pathsynth, synthetic, histology]\n---",
        f"# {plain(trial.name)}",
        f"{'A text-to-image pipeline with a LoRA adapter fused in' if fused else 'A LoRA adapter for a text-to-image model'}, "
        f"trained by pathsynth on {plain(data)}. It belongs to the base with identity `{base}`.",
        f"```python\nfrom diffusers import StableDiffusionPipeline\n\n{loading}\n"
        f'pipe("{plain(_prompt(trial))}").images[0]\n```',
        _READY.format(folder=folder, size=trial.settings.get("data.size", "")) if ready else "",
        f"| setting | value |\n| --- | --- |\n{settings}",
        *([plain(verdict(scores)), *score_tables(scores)] if scores else ["It was not evaluated."]),
        _USE,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _prompt(trial: TrialSummary) -> str:
    return trial.settings.get("generate.prompt", "") or "a histopathological image of an area with mucus"
