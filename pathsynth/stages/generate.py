"""Images of the finished adapter, each accepted by the gate or rejected: the request of ``generate``, or every class for an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pathsynth.config.custom_classes import class_digests, targets
from pathsynth.config.groups import require_group
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.identity import digest
from pathsynth.ledger.records import JUDGED_FILE
from pathsynth.sampling.request import requested_prompts
from pathsynth.sampling.slots import Slot, Stream, slots_of
from pathsynth.stages.sampling_settings import USUAL_CLASSES, denoiser_passes, sampling_settings
from pathsynth.stages.stage import Artifact, BuildContext, Effort, PlanContext, Stage

if TYPE_CHECKING:
    from pathsynth.evaluation.image_sheets import ImageSet
    from pathsynth.sampling.draw import CandidateDrawer
    from pathsynth.sampling.early_rejection import EarlyRejection

NEUTRAL: dict[str, Any] = {"threshold": 0.0, "classes": {}}


def settings(context: PlanContext) -> dict[str, Any]:
    """How images are drawn, which ones are requested, and the source of the user's own rules and retries.

    Raises:
        UnknownLabelError: a name or prompt fits no class, or several.
        RequestError: a class lacks prompts of the requested kind, there are more shards than images, or the scheduler cannot do what the
            settings say.
    """
    sampling = require_group(context.config.sampling, "sampling")
    classes = class_digests(targets([sampling.rules, sampling.retry]))
    return {**sampling_settings(context), "request": _request(context), "classes": classes}


def parents(context: PlanContext) -> dict[str, str]:
    """Adapter and gate, and where there is one the threshold of early rejection."""
    return {name: context.identities[name] for name in ("finetune", "gate", "early_rejection") if name in context.identities}


def _request(context: PlanContext) -> dict[str, Any]:
    """The prompt of each class that is drawn, and how often; slots of an evaluation have a stream of their own."""
    if context.config.command != "generate":
        evaluate = require_group(context.config.evaluate, "evaluate")
        worded = {} if evaluate.prompts == "canonical" else {"prompts": evaluate.prompts, **_separate_held_out(context, evaluate.prompts)}
        return {"stream": "eval", "n": evaluate.n, **worded}
    request = require_group(context.config.generate, "generate")
    prompts = requested_prompts(request, context.data.prompts)
    if request.shards > request.n * len(prompts):
        raise RequestError(f"shards={request.shards} are more than the {request.n * len(prompts)} requested images; lower it")
    shard = {"shard": request.shard, "shards": request.shards} if request.shards > 1 else {}
    return {"stream": "generate", "n": request.n, "prompts": {str(k): prompt for k, prompt in sorted(prompts.items())}, **shard}


def _separate_held_out(context: PlanContext, kind: str) -> dict[str, Any]:
    """Prompts that no caption is made of, so that only the evaluation depends on them: the user's own, by their digest."""
    book = context.data.prompts
    silent = next((c.slug for c in book.space.classes if not book.wordings(c.index, kind)), None)
    if silent:
        raise RequestError(f"evaluate.prompts={kind}, and {silent} has none; add some to data.prompts, or choose canonical")
    from_file = context.config.data and context.config.data.prompts and kind == "held_out"
    return {"words": digest([list(c.held_out) for c in book.classes])} if from_file else {}


def build(context: BuildContext, folder: Path) -> None:
    """Fill the slots of the request (or, for an evaluation, n slots of every class) from the finished adapter."""
    from pathsynth.evaluation.image_sheets import ImageSet, write_sheet
    from pathsynth.models.lora import load_adapter, unload_adapter
    from pathsynth.sampling.draw import drawer
    from pathsynth.sampling.generation import generate_set
    from pathsynth.sampling.image_set import class_counts, format_unreachable

    sampling, data = require_group(context.config.sampling, "sampling"), context.data
    load_adapter(context.folder_of("finetune") / "adapter", context.base)
    slots = _slots(context)
    shown = context.counted("generate", len(slots), "slots")
    draw = drawer(context.base, data.size, sampling, watch=lambda batch: shown.denoise(batch.evaluations, batch.total))
    reject_early = _early_rejection(context, draw) if sampling.early_rejection.after_step else None
    generate_set(
        folder,
        context.work("generate"),
        slots,
        draw=draw,
        judge=context.gate,
        sampling=sampling,
        scheduler=draw.scheduler,
        space=data.space,
        keep_rejected=slots[0].stream is Stream.EVAL,
        on_attempt=lambda j: shown.count(j.verdict.accepted or j.attempt.number + 1 == sampling.attempts),
        reject_early=reject_early,
    )
    unload_adapter(context.base)
    images = ImageSet.read(folder)
    write_sheet(folder / "sheet.png", images, data.space, data.size)
    for line in format_unreachable(class_counts(images.rows)):
        print(line, flush=True)
    if context.judge and slots[0].stream is Stream.GENERATE:
        print(_confirmation(context, folder, context.judge, images), flush=True)


def _slots(context: BuildContext) -> list[Slot]:
    """What the trial draws: the request of ``generate``, or every class for an evaluation, on seeds of its own."""
    request, book = context.config.generate, context.data.prompts
    if request:
        return slots_of(Stream.GENERATE, requested_prompts(request, book), request.n)[request.shard :: request.shards]
    evaluate = require_group(context.config.evaluate, "evaluate")
    return slots_of(Stream.EVAL, {c.index: book.wordings(c.index, evaluate.prompts) for c in book.space.classes}, evaluate.n)


def _early_rejection(context: BuildContext, draw: CandidateDrawer) -> EarlyRejection:
    """Early rejection; prints what its threshold lost and saved on candidates that it was not fitted on."""
    from pathsynth.sampling.early_rejection import EarlyRejection, format_threshold, read_threshold
    from pathsynth.sampling.generation import route_of

    threshold = read_threshold(context.built["early_rejection"])
    print(format_threshold(threshold, route_of(require_group(context.config.sampling, "sampling"), draw.scheduler)), flush=True)
    return EarlyRejection(draw, context.gate, threshold)


def _confirmation(context: BuildContext, folder: Path, judge: Path, images: ImageSet) -> str:
    """What the judge says of the accepted images, each one's in a file of ``folder``.

    Of a bundle's judge that the configuration does not name: why it is not asked.
    """
    from pathsynth.evaluation.classifier_scores import named_class, placed
    from pathsynth.evaluation.judged_images import judge_accepted
    from pathsynth.models.image_classifier import load_classifier

    try:
        judge_of_set = placed(load_classifier(judge, context.data.space, named_class(context.config.judge)))
        return judge_accepted(folder / JUDGED_FILE, judge_of_set, images)
    except RequestError as error:
        return f"judge: not asked, for {error}"


def work(settings: Mapping[str, Any]) -> float:
    """Passes of the denoiser at the whole budget of attempts."""
    request, prompts = settings["request"], settings["request"].get("prompts")
    classes = len(prompts) if isinstance(prompts, Mapping) else USUAL_CLASSES
    slots = request["n"] * classes / request.get("shards", 1)
    full = slots * settings["attempts"] * denoiser_passes(settings)
    return float(min(full, settings["calls"]) if settings.get("calls") else full)


def chosen(context: BuildContext, folder: Path) -> Sequence[str]:
    """Of an evaluation's rejected images some, for pages; a request keeps none."""
    if context.config.command == "generate":
        return ()
    from pathsynth.evaluation.image_sheets import ImageSet, first_rejected

    return first_rejected(ImageSet.read(folder))


def summary(context: BuildContext, folder: Path) -> str:
    """Where the accepted images of a request are; without one there is no sheet."""
    if context.config.command != "generate":
        return ""
    sheet = context.folder / "sheet.png"
    if sheet.exists():
        return f"images: {context.folder / 'images'}; on one sheet: {sheet}"
    return f"no image was accepted; every attempt is in {context.folder / 'attempts.parquet'}"


STAGE = Stage(
    "generate",
    settings,
    parents,
    build,
    neutral=NEUTRAL,
    effort=Effort(work, long=True),
    shown=("images", "attempts.parquet", "sheet.png", JUDGED_FILE),
    chosen=chosen,
    artifact=Artifact("images", "images", ("images", "rejected", "attempts.parquet")),
    summary=summary,
)
