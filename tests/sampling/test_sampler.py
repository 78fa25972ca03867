"""The rejection sampler for functions of anybody's: its accounting, its refusals, and the paper's plain loop beside it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pathsynth.ledger.errors import RequestError
from pathsynth.models.base import load_base
from pathsynth.sampling.acceptance_rules import AtLeast, Leads, MostProbable, NoCopy
from pathsynth.sampling.draw import CandidateDrawer
from pathsynth.sampling.plain_loop import regenerate_until_correct
from pathsynth.sampling.rejection import SlotStatus
from pathsynth.sampling.sampler import RejectionSampler
from pathsynth.sampling.slots import Attempt, Slot, Stream
from pathsynth.vocabulary.labels import UnknownLabelError

CLASSES = ["dark", "medium", "bright"]
PROMPTS = {name: f"a {name} square" for name in CLASSES}


def draw(prompts, seeds):
    """One grey, set by the seed alone."""
    return [np.full((4, 4, 3), np.random.default_rng(seed).integers(1, 256), np.uint8) for seed in seeds]


def classify(images):
    """By the distance of the grey to those of the classes."""
    grey = images.mean(axis=(1, 2, 3))
    scores = -np.abs(grey[:, None] - np.array([40.0, 128.0, 215.0])) / 20
    rows = np.exp(scores)
    return rows / rows.sum(axis=1, keepdims=True)


def test_every_slot_has_one_outcome_and_the_log_has_every_attempt():
    sampled = RejectionSampler(draw, classify, CLASSES, attempts=3, batch_size=4).sample(PROMPTS, n=10)
    table = sampled.table()
    assert len(sampled.outcomes) == 30
    assert 0 < sampled.count("exhausted") == 30 - sampled.count(SlotStatus.ACCEPTED)
    assert len(sampled.images) == len(sampled.labels) == sampled.count("accepted") == table.accepted.sum()
    assert len(table) == sum(outcome.attempts for outcome in sampled.outcomes)
    assert not table.duplicated(["label", "slot", "attempt"]).any() and table.seed.is_unique
    assert (table.accepted == (table.predicted == table.label)).all() and (table.reason.isna() == table.accepted).all()
    assert classify(np.stack(sampled.images)).argmax(axis=1).tolist() == sampled.labels.tolist()
    lost = table[table.label == 1].groupby("slot").accepted.any()
    assert sampled.labels.tolist().count(1) == lost.sum()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("attempts", [1, 5])
def test_the_loop_of_the_paper_accepts_the_same_images(attempts, batch_size):
    sampler = RejectionSampler(draw, classify, CLASSES, attempts=attempts, batch_size=batch_size, seed=3)
    sampled = sampler.sample(PROMPTS, n=8)
    slots = sampler.slots(PROMPTS, 8)
    expected = regenerate_until_correct(slots, draw, classify, attempts, seed=3)
    accepted = [outcome.slot for outcome in sampled.outcomes if outcome.status is SlotStatus.ACCEPTED]
    assert expected and accepted == [slot for slot in slots if slot in expected]
    assert all(np.array_equal(image, expected[slot]) for slot, image in zip(accepted, sampled.images, strict=True))


@pytest.mark.slow
def test_they_agree_on_a_diffusion_model(small_base_folder):
    drawer = CandidateDrawer(load_base(str(small_base_folder), None, "b", 32, 28), 28, 2, 3.0, fixed=True)

    def diffuse(prompts, seeds):
        return drawer([Attempt(Slot(Stream.GENERATE, 0, i, p), 0, s) for i, (p, s) in enumerate(zip(prompts, seeds, strict=True))])

    def redness(images):
        red = images[..., 0].mean(axis=(1, 2)) / images.astype(float).sum(axis=3).mean(axis=(1, 2))
        share = 1 / (1 + np.exp(-200 * (red - np.float64(0.3305))))
        return np.stack([1 - share, share], axis=1)

    sampler = RejectionSampler(diffuse, redness, ["pale", "red"], attempts=3, batch_size=5)
    sampled = sampler.sample({"pale": "word 1", "red": "word 2"}, n=2)
    expected = regenerate_until_correct(sampler.slots({"pale": "word 1", "red": "word 2"}, 2), diffuse, redness, 3, seed=0)
    assert sampled.images and len(sampled.attempts) > 4, "none was accepted or none rejected, so nothing is compared"
    assert [image.tobytes() for image in sampled.images] == [image.tobytes() for image in expected.values()]


def test_the_rules_are_those_given():
    plain, strict, far = (
        RejectionSampler(draw, classify, CLASSES, rules, attempts=1).sample(PROMPTS, n=40)
        for rules in ((MostProbable(),), (MostProbable(), AtLeast(0.95)), (Leads(0.9),))
    )
    assert plain.count("accepted") > strict.count("accepted") > 0
    assert {r.reason for r in strict.attempts} == {None, "another class is more probable", "probability below 0.95"}
    rows = [np.sort(r.probabilities) for r in far.attempts if r.accepted]
    assert rows and all(row[-1] - row[-2] >= 0.9 for row in rows)


def test_prompts_of_one_class_take_turns_and_may_be_pil_images():
    def pil(prompts, seeds):
        return [Image.fromarray(image) for image in draw(prompts, seeds)]

    sampled = RejectionSampler(pil, classify, CLASSES, attempts=1).sample({"Dark": ["night", "cellar"]}, n=4)
    assert [r.prompt for r in sampled.attempts] == ["night", "cellar"] * 2
    assert sampled.table().class_slug.unique().tolist() == ["dark"]


def test_a_broken_image_is_a_failed_attempt():
    def nothing(prompts, seeds):
        return [None if seed % 2 else np.zeros((4, 4, 3), np.uint8) for seed in seeds]

    sampled = RejectionSampler(nothing, classify, CLASSES, attempts=3).sample({"dark": "x"}, n=5)
    assert sampled.count("failed") == 5 and not sampled.images
    assert {r.reason for r in sampled.attempts} == {"black", "not finite"} and {r.predicted for r in sampled.attempts} == {-1}


def test_attempts_stream_as_they_are_judged():
    calls = []

    def counted(prompts, seeds):
        calls.append(len(prompts))
        return draw(prompts, seeds)

    sampler = RejectionSampler(counted, classify, CLASSES, batch_size=4)
    first = next(sampler.stream(sampler.slots(PROMPTS, 20)))
    assert calls == [4] and first.image is not None and first.attempt.number == 0


def grey(prompts):
    return [np.full((4, 4, 3), 100, np.uint8) for _ in prompts]


@pytest.mark.parametrize(
    "wrong, refusal",
    [
        ({"draw": lambda p, s: grey(p)[:-1]}, "draw gave 5 images for 6 prompts"),
        ({"draw": lambda p, s: [image / 255 for image in grey(p)]}, r"draw gave an image of float64 \(4, 4, 3\); return uint8"),
        ({"draw": lambda p, s: [image[..., 0] for image in grey(p)]}, r"draw gave an image of uint8 \(4, 4\); return uint8"),
        ({"draw": lambda p, s: [*grey(p)[1:], np.ones((5, 4, 3), np.uint8)]}, "several shapes"),
        ({"classify": lambda images: classify(images)[:, :2]}, r"classify gave \(6, 2\) for 6 images and 3 classes"),
        ({"classify": lambda images: classify(images).argmax(axis=1)}, r"classify gave \(6,\) for 6 images"),
        ({"classify": lambda images: np.log(classify(images))}, "no probabilities"),
        ({"classify": lambda images: classify(images) * np.nan}, "no probabilities"),
        ({"classify": lambda images: classify(images) * 2}, "no probabilities"),
        ({"attempts": 0}, "attempts is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"rules": ()}, "no rule"),
        ({"rules": (NoCopy(np.zeros((1, 2)), 1.0),)}, "NoCopy needs features"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(wrong, refusal):
    with pytest.raises(RequestError, match=refusal) as refused:
        RejectionSampler(**{"draw": draw, "classify": classify, "classes": CLASSES, **wrong}).sample(PROMPTS, n=2)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "prompts, n, refusal",
    [
        ({"dark": "x"}, 0, "n is 0"),
        ({}, 1, "no class at all"),
        ({"dark": []}, 1, "a class without a prompt"),
        ({"dark": "x", "Dark": "y"}, 1, "twice"),
        ({"darkk": "x"}, 1, "no class called 'darkk'.*nearest: dark"),
    ],
)
def test_so_are_prompts(prompts, n, refusal):
    with pytest.raises((RequestError, UnknownLabelError), match=refusal):
        RejectionSampler(draw, classify, CLASSES).sample(prompts, n)


@pytest.mark.parametrize(
    "classes, refusal",
    [(["a"], "two names or more"), (["a", "-"], "two names or more"), (["a b", "A-b"], "two classes are called")],
)
def test_so_are_classes_that_cannot_be_reported_apart(classes, refusal):
    with pytest.raises(UnknownLabelError, match=refusal):
        RejectionSampler(draw, classify, classes)


class Pale:
    """A rule of one's own, on pixels."""

    reason = "too dark"

    def slack(self, seen, label):
        return float(seen.image.mean()) - 60


def test_a_rule_of_ones_own_sees_the_image():
    plain = RejectionSampler(draw, classify, CLASSES, attempts=6).sample(PROMPTS, n=4)
    sampled = RejectionSampler(draw, classify, CLASSES, [MostProbable(), Pale()], attempts=6).sample(PROMPTS, n=4)
    assert any(image.mean() < 60 for image in plain.images) and all(image.mean() >= 60 for image in sampled.images)
    assert "too dark" in {record.reason for record in sampled.attempts}
