"""The evaluation protocol on a set whose every number is known beforehand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pathsynth.data.dataset import DataSet, LabelledImages
from pathsynth.evaluation.image_sheets import ImageSet
from pathsynth.evaluation.panel_scores import score_by_panel
from pathsynth.metrics.agreement import wilson
from pathsynth.metrics.protocol import AFTER, BEFORE, evaluate_set, real_reference
from pathsynth.models.image_classifier import ClassifierSpec
from pathsynth.report.glossary import metric_terms
from pathsynth.sampling.attempts import AttemptRow
from pathsynth.sampling.pictures import save_png
from pathsynth.vocabulary.labels import COLORECTAL
from pathsynth.vocabulary.prompts import colorectal_prompts

SPACE = dataclasses.replace(COLORECTAL, classes=COLORECTAL.classes[:2])


class BrightnessJudge(torch.nn.Module):
    """Class 0 is dark, class 1 is bright."""

    spec = ClassifierSpec("none", 4, "small", SPACE.slugs, SPACE.name)

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        bright = images.mean(dim=(1, 2, 3))
        return torch.stack([0.5 - bright, bright - 0.5], dim=1) * 10

    def probabilities(self, images):
        return self(images).double().softmax(dim=1)

    def features(self, images):
        return images.mean(dim=(2, 3))


def noise(seed: int, level: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(max(0, level - 30), level + 30, (4, 4, 3), dtype=np.uint8)


@pytest.fixture
def real():
    images = np.stack([noise(i, 60 if i % 2 == 0 else 190) for i in range(40)])
    labels = np.arange(40, dtype=np.int64) % 2
    return DataSet("toy", "id", 4, SPACE, colorectal_prompts(), lambda split: LabelledImages(images, labels))


def evaluated(folder, plan, data):
    """The evaluation of a planned set."""
    made, judge = rows(folder, plan), BrightnessJudge()
    return evaluate_set(made, folder, judge, data, real_reference(judge, data, "val", sum(r.attempt == 0 for r in made), 0), seed=0)


def rows(folder, plan) -> list[AttemptRow]:
    """Rows of (label, slot, attempt, brightness or None for a broken image, gate's prediction)."""
    made = []
    for label, slot, attempt, level, predicted in plan:
        path = f"{label}-{slot}-{attempt}.png" if level is not None else None
        row = AttemptRow(
            stream="eval",
            label=label,
            class_slug=SPACE.slugs[label],
            slot=slot,
            attempt=attempt,
            prompt="x",
            seed=1,
            steps=1,
            guidance=1.0,
            denoiser_calls=1,
            predicted=predicted,
            probability=0.9,
            probabilities=(0.5, 0.5),
            accepted=predicted == label,
            reason=None,
            near_margin=False,
            image=path,
            sha256=None,
        )
        if path:
            save_png(folder / path, noise(slot, level), row.as_attempt(), SPACE.slugs[label])
        made.append(row)
    return made


PLAN = [
    # class 0: six dark images that the gate takes, four bright ones that it takes all the same
    *[(0, i, 0, 60, 0) for i in range(6)],
    *[(0, i, 0, 190, 0) for i in range(6, 10)],
    # class 1: eight taken at once, one rejected and then taken, one broken and then rejected
    *[(1, i, 0, 190, 1) for i in range(8)],
    (1, 8, 0, 60, 0),
    (1, 8, 1, 190, 1),
    (1, 9, 0, None, -1),
    (1, 9, 1, 60, 0),
]


@pytest.fixture
def found(tmp_path, real):
    evaluation = evaluated(tmp_path, PLAN, real)
    return {(m.metric, m.stage, m.scorer, m.class_): m for m in evaluation.metrics}, evaluation


def test_what_the_autoencoder_loses_is_measured_on_the_same_training_images(real):
    def records(reconstruct, split):
        found = real_reference(BrightnessJudge(), real, "val", 20, 0, reconstruct).metrics
        return {m.metric: m.value for m in found if m.split == split and m.class_ is None and m.scorer == "judge"}

    assert records(None, "reconstructed") == {}
    assert records(lambda images: images, "reconstructed") == records(lambda images: images, "train")
    darker = records(lambda images: images // 2, "reconstructed")
    assert darker["kid"] > records(None, "train")["kid"] and darker["coverage"] < 1


def test_accepted_images_are_set_against_the_calls_that_all_attempts_took(found):
    metrics, _ = found
    own = metrics["accepted_per_1000_calls", "before filtering", "gate", "background"]
    assert (own.value, own.n) == (pytest.approx(1000 * 9 / 12), 10)
    assert own.low < own.value < own.high <= 1000
    sure = metrics["accepted_per_1000_calls", "before filtering", "gate", "adipose"]
    assert (sure.value, sure.high) == (1000, 1000) and sure.low == pytest.approx(1000 * wilson(10, 10).low)


def test_before_filtering_counts_first_attempts_only(found):
    metrics, _ = found
    gate, judge = metrics["accuracy", BEFORE, "gate", None], metrics["accuracy", BEFORE, "judge", None]
    assert (gate.value, gate.n) == (18 / 20, 20)
    assert (judge.value, judge.n) == (14 / 20, 20), "a broken image is a miss"
    assert gate.low < gate.value < gate.high
    assert metrics["recall", BEFORE, "gate", "background"].value == 0.8
    assert metrics["precision", BEFORE, "gate", "adipose"].n == 11


def test_after_filtering_is_the_judges_alone(found):
    metrics, _ = found
    assert (metrics["accuracy", AFTER, "judge", None].value, metrics["accuracy", AFTER, "judge", None].n) == (15 / 19, 19)
    assert not [key for key in metrics if key[1] == AFTER and key[2] == "gate"]


def test_the_judges_word_on_each_image_is_kept(found):
    metrics, evaluation = found
    pictured = {("adipose", i, 0) for i in range(10)} | {("background", i, 0) for i in range(9)} | {("background", 8, 1)}
    assert pictured == evaluation.judged.keys(), "all but the broken image"
    right = sum(SPACE.slugs[int(answer.argmax())] == slug for (slug, _, attempt), answer in evaluation.judged.items() if attempt == 0)
    assert right / 20 == metrics["accuracy", BEFORE, "judge", None].value
    assert all(answer.sum() == pytest.approx(1) for answer in evaluation.judged.values())


def test_rejected_first_attempts_are_scored_by_the_judge_alone(tmp_path, real, found):
    metrics, evaluation = found
    confirmed = metrics["rejected_confirmed", BEFORE, "judge", None]
    assert (confirmed.value, confirmed.n) == (0, 2), "a dark image and a broken one, both requested as bright"
    assert ("rejected_confirmed", BEFORE, "judge", "adipose") not in metrics, "none of that class was rejected"
    assert not [name for name, *_ in metrics if name in ("rejected_kid", "rejected_density")], "one picture is too few"
    reasons = {m.metric: m.reason for m in evaluation.missing}
    assert reasons["distances of rejected first attempts"].startswith("1 rejected images are too few")

    wrongly = [(1, i, 0, 190, 0) for i in range(12)]
    audited = evaluated(tmp_path, [*wrongly, *[(0, i, 0, 60, 0) for i in range(12)]], real)
    of = {(m.metric, m.stage, m.class_): m for m in audited.metrics if m.scorer == "judge"}
    assert of["rejected_confirmed", BEFORE, "background"].value == 1
    assert (of["rejected_feature_precision", BEFORE, None].n, of["feature_precision", BEFORE, None].n) == (12, 24)
    assert of["rejected_kid", BEFORE, "background"].value == of["kid", BEFORE, "background"].value
    assert {key[2] for key in of if key[0] == "rejected_kid"} == {"background"}, "over all classes it would tell of their mixture"
    assert {m.metric for m in (*evaluation.metrics, *audited.metrics)} <= {term.key for term in metric_terms()}, "all are explained"


def test_acceptance_attempts_and_exhausted_slots_add_up(found):
    metrics, _ = found
    assert metrics["acceptance", BEFORE, "gate", "background"].value == 0.8
    assert metrics["slots_accepted", BEFORE, "gate", "background"].value == 0.9
    assert metrics["exhausted_slots", BEFORE, "gate", "background"].value == 1
    assert metrics["attempts_per_accepted", BEFORE, "gate", "background"].value == 12 / 9
    assert metrics["attempts_per_accepted", BEFORE, "gate", None].value == 22 / 19


def test_confusions_have_rows_of_what_was_asked(found):
    _, evaluation = found
    assert evaluation.confusions[f"{BEFORE}/judge"] == [[6, 4], [1, 8]]
    assert set(evaluation.confusions) == {f"{BEFORE}/gate", f"{BEFORE}/judge", f"{AFTER}/judge"}


def test_what_cannot_be_measured_is_missing_with_a_reason(tmp_path, real):
    plan = [(0, 0, 0, 60, 1), (1, 0, 0, 190, 0)]
    evaluation = evaluated(tmp_path, plan, real)
    reasons = {m.metric: m.reason for m in evaluation.missing}
    assert reasons["judge after filtering"] == "the gate accepted no image"
    assert "too few" in reasons["kid before filtering"]
    assert not [m for m in evaluation.metrics if m.stage == AFTER]
    assert "too few" in reasons["coverage before filtering"]


def test_coverage_stands_beside_that_of_as_many_real_images(found):
    metrics, _ = found
    before, reference = metrics["coverage", BEFORE, "judge", None], metrics["coverage", None, "judge", None]
    assert 0 <= before.low <= before.value <= before.high <= 1 and before.n == 19, "the broken first attempt is no image"
    assert (reference.split, reference.n) == ("train", 20)


def test_colour_alone_stands_beside_each_stage_and_on_the_real_images(found):
    metrics, _ = found
    before, after, real = (metrics["accuracy", stage, "colour", None] for stage in (BEFORE, AFTER, None))
    assert (before.value, before.n) == (14 / 20, 20), "it tells dark from bright, and a broken image is a miss"
    assert (after.value, after.n) == (15 / 19, 19)
    assert (real.value, real.split, real.prompts) == (1, "val", None)
    assert not [key for key in metrics if key[2] == "colour" and key[3]], "over all classes alone"


def test_a_class_is_compared_with_the_real_images_of_that_class(tmp_path, real):
    dark = [(0, i, 0, 60, 0) for i in range(12)]
    wrong = [(1, i, 0, 60, 0) for i in range(12)]
    evaluation = evaluated(tmp_path, [*dark, *wrong], real)
    metrics = {(m.metric, m.stage, m.class_): m for m in evaluation.metrics if m.scorer == "judge"}
    assert metrics["kid", BEFORE, "adipose"].value < 0.01 < metrics["kid", BEFORE, "background"].value
    assert metrics["coverage", BEFORE, "background"].value == 0 < metrics["coverage", BEFORE, "adipose"].value
    assert (metrics["coverage", None, "adipose"].split, metrics["coverage", None, "adipose"].n) == ("train", 12)
    assert ("frechet_distance", BEFORE, "adipose") not in metrics


def test_a_class_with_few_images_is_not_compared(found):
    metrics, _ = found
    assert ("kid", BEFORE, "judge", "adipose") in metrics and ("kid", AFTER, "judge", "background") not in metrics


def test_a_panel_judges_each_image_once_and_scores_first_attempts_and_accepted_ones_apart(tmp_path, real):
    shown = []

    class Counting(BrightnessJudge):
        def probabilities(self, images):
            shown.append(len(images))
            return super().probabilities(images)

    class Contrary(BrightnessJudge):
        def forward(self, images):
            return -super().forward(images)

    # the first slot is right at once, the second at its second attempt, the third never; one image is broken
    plan = [(0, 0, 0, 50, 0), (0, 1, 0, 200, 1), (0, 1, 1, 60, 0), (1, 0, 0, 90, 0), (1, 1, 0, None, -1)]
    images = ImageSet(tuple(rows(tmp_path, plan)), tmp_path)
    found = score_by_panel(images, {"judge_a": Counting(), "judge_b": Contrary()}, real, 0, "canonical")
    assert shown == [4], "three first attempts and a second one have a picture"
    accuracy = {(m.stage, m.scorer): (m.value, m.n) for m in found.metrics if m.metric == "accuracy"}
    assert accuracy[BEFORE, "judge_a"] == (0.25, 4)
    assert accuracy[BEFORE, "judge_b"] == (0.5, 4)
    assert accuracy[BEFORE, "panel_mean"] == (0.375, 4)
    assert accuracy[AFTER, "judge_a"] == (1.0, 2)
    assert accuracy[AFTER, "panel_worst"] == (0.0, 2)
    assert set(found.confusions) == {f"{stage}/{who}" for stage in (BEFORE, AFTER) for who in ("judge_a", "judge_b", "panel_majority")}
