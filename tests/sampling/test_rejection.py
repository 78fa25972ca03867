"""The rejection sampler's accounting, for any pattern of acceptance, budget and batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathsynth.ledger.errors import RequestError, StageError
from pathsynth.ledger.seeds import derive_seed
from pathsynth.sampling.acceptance_rules import AtLeast, Candidate, Leads, MostProbable, NoCopy, Verdict, broken, judged_by
from pathsynth.sampling.rejection import Judged, Route, RunBudget, Segment, SlotStatus, account, sample_until_accepted
from pathsynth.sampling.retry import Rejection, Retry, StandardRetry
from pathsynth.sampling.slots import Attempt, Slot, Stream, attempt_at, slots_of

IMAGE = np.ones((2, 2, 3), dtype=np.uint8)


class ScriptedWorld:
    """Draws nothing and accepts by a script: slot (label, index) is accepted at the attempt the script names (None: never)."""

    def __init__(self, script: dict[tuple[int, int], int | None]) -> None:
        self.script = script
        self.batches: list[list[Attempt]] = []

    def draw(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        self.batches.append(list(attempts))
        return [IMAGE for _ in attempts]

    def judge(self, attempts: Sequence[Attempt], images: list[np.ndarray | None]) -> list[Verdict]:
        return [self._verdict(a) for a in attempts]

    def _verdict(self, attempt: Attempt) -> Verdict:
        wanted = self.script[attempt.slot.label, attempt.slot.index]
        if wanted is not None and wanted < 0:
            return broken("black", 2)
        accepted = wanted is not None and attempt.number >= wanted
        return Verdict(accepted, 0, 0.5, (0.5, 0.5), None if accepted else "another class is more probable", False)

    def run(self, attempts: int, batch_size: int, seed: int = 0, run_budget: RunBudget | None = None, **more) -> list[Judged]:
        return list(sample_until_accepted(self.slots(), self.draw, self.judge, attempts, batch_size, seed, run_budget=run_budget, **more))

    def slots(self) -> list[Slot]:
        return [Slot(Stream.VAL, label, index, f"class {label}") for label, index in self.script]


SCRIPTS = st.dictionaries(
    st.tuples(st.integers(0, 3), st.integers(0, 6)),
    st.one_of(st.none(), st.integers(-1, 6)),
    min_size=1,
    max_size=20,
)


@given(SCRIPTS, st.integers(1, 5), st.integers(1, 9))
def test_every_slot_ends_as_its_own_attempts_say(script, attempts, batch_size):
    world = ScriptedWorld(script)
    judged = world.run(attempts, batch_size)
    outcomes = account(world.slots(), [(j.attempt, j.verdict) for j in judged], attempts)
    for outcome in outcomes:
        wanted = script[outcome.slot.label, outcome.slot.index]
        if wanted is not None and wanted < 0:
            assert (outcome.status, outcome.attempts) == (SlotStatus.FAILED, attempts)
        elif wanted is not None and wanted < attempts:
            assert (outcome.status, outcome.accepted, outcome.attempts) == (SlotStatus.ACCEPTED, wanted, wanted + 1)
        else:
            assert (outcome.status, outcome.accepted, outcome.attempts) == (SlotStatus.EXHAUSTED, None, attempts)


@given(SCRIPTS, st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
def test_batch_size_does_not_change_what_is_tried(script, attempts, one, other):
    def tried(batch_size: int) -> set[Attempt]:
        return {j.attempt for j in ScriptedWorld(script).run(attempts, batch_size)}

    assert tried(one) == tried(other)


@given(SCRIPTS, st.integers(1, 5), st.integers(1, 9))
def test_batches_are_full_while_enough_slots_are_open(script, attempts, batch_size):
    world = ScriptedWorld(script)
    judged = world.run(attempts, batch_size)
    open_slots = len(script)
    done = {(j.attempt.slot, j.attempt.number): j.verdict.accepted for j in judged}
    for batch in world.batches:
        assert len(batch) == min(batch_size, open_slots)
        open_slots -= sum(done[a.slot, a.number] or a.number + 1 == attempts for a in batch)
    assert open_slots == 0


@given(SCRIPTS, st.integers(1, 5), st.integers(1, 9))
def test_speculation_fills_batches_and_accepts_the_same(script, attempts, batch_size):
    plain, ahead = ScriptedWorld(script), ScriptedWorld(script)
    needed, judged = plain.run(attempts, batch_size), ahead.run(attempts, batch_size, speculate=True)
    assert {j.attempt for j in judged if j.verdict.accepted} == {j.attempt for j in needed if j.verdict.accepted}
    assert {j.attempt for j in needed} <= {j.attempt for j in judged}, "nothing that was needed is left out"
    needless = [j for j in judged if j.attempt not in {n.attempt for n in needed}]
    assert all(j.verdict.reason == "an earlier attempt was accepted" for j in needless)
    assert len(ahead.batches) <= len(plain.batches)
    outcomes = account(ahead.slots(), [(j.attempt, j.verdict) for j in judged], attempts)
    assert sum(o.attempts for o in outcomes) == len(judged) == len({j.attempt for j in judged})
    open_attempts = dict.fromkeys(ahead.slots(), attempts)
    verdicts = {j.attempt: j.verdict for j in judged}
    for batch in ahead.batches:
        assert len(batch) == min(batch_size, sum(open_attempts.values())), "full as long as anything may be tried"
        for a in batch:
            open_attempts[a.slot] -= 1
        for slot in {a.slot for a in batch if verdicts[a].accepted}:
            open_attempts[slot] = 0


@given(SCRIPTS, st.integers(1, 4), st.integers(1, 9), st.integers(0, 40), st.booleans())
def test_a_run_that_was_cut_off_ends_with_the_same_verdicts(script, attempts, batch_size, cut, speculate):
    whole = ScriptedWorld(script).run(attempts, batch_size, speculate=speculate)
    known = {j.attempt: j for j in whole[:cut]}
    again = ScriptedWorld(script).run(attempts, batch_size, known=known, speculate=speculate)
    assert [(j.attempt, j.verdict.accepted, j.verdict.reason) for j in again] == [
        (j.attempt, j.verdict.accepted, j.verdict.reason) for j in whole
    ]


class LongWay(ScriptedWorld):
    """A world with a way of ten steps; the look gives up a candidate whose seed is even, unless the script accepts it.

    ``restart_from``: the step that an attempt starts at which revises another; None: none does.
    """

    def __init__(self, script: dict[tuple[int, int], int | None], route: Route, restart_from: int | None = None) -> None:
        super().__init__(script)
        self.route, self.looks = route, []
        self.retry = StandardRetry(image_to_image=0 if restart_from is None else 1 - restart_from / 10)
        self.spent, self.resumed = 0, False

    def draw(self, attempts: Sequence[Attempt]) -> list[np.ndarray | None]:
        looked = {a for batch in self.looks for a in batch}
        if not self.resumed:
            assert len({(a in looked, a.start) for a in attempts}) == 1, "all are at the same step"
        self.spent += sum(self.route.calls_of(a) - (self.calls_of_look if a in looked else 0) for a in attempts)
        return super().draw(attempts)

    def preview(self, attempts: Sequence[Attempt]) -> list[tuple[np.ndarray | None, Verdict] | None]:
        self.looks.append(list(attempts))
        self.spent += len(attempts) * self.calls_of_look
        verdicts = [self._verdict(a) for a in attempts]
        return [(IMAGE, replace(v, reason="hopeless")) if self.given_up(a) else None for a, v in zip(attempts, verdicts, strict=True)]

    @property
    def calls_of_look(self) -> int:
        return sum(self.route.calls[: self.route.preview_step])

    def given_up(self, attempt: Attempt) -> bool:
        return not self._verdict(attempt).accepted and attempt.seed % 2 == 0

    def run(self, attempts: int, batch_size: int, **more) -> list[Judged]:
        reject_early = self.preview if self.route.preview_step else None
        return super().run(attempts, batch_size, **{"route": self.route, "reject_early": reject_early, "retry": self.retry, **more})

    def slots(self) -> list[Slot]:
        return [replace(slot, stream=Stream.GENERATE) for slot in super().slots()]


WAYS = st.sampled_from([(1,) * 10, (2,) * 10, (4,) + (2,) * 9, (2,) * 9 + (1,)])
ROUTES = st.builds(Route, WAYS, st.one_of(st.none(), st.integers(1, 9)))
STARTS = st.one_of(st.none(), st.integers(1, 9))


@given(SCRIPTS, st.integers(1, 4), st.integers(1, 9), ROUTES, STARTS)
def test_whatever_the_way_the_same_attempts_are_accepted_and_every_call_is_counted(script, attempts, batch_size, route, start):
    plain, world = ScriptedWorld(script), LongWay(script, route, start)
    judged = world.run(attempts, batch_size)
    assert {(j.attempt.slot.label, j.attempt.slot.index, j.attempt.number) for j in judged if j.verdict.accepted} == {
        (j.attempt.slot.label, j.attempt.slot.index, j.attempt.number) for j in plain.run(attempts, batch_size) if j.verdict.accepted
    }
    assert sum(j.calls for j in judged) == world.spent
    assert all((j.stopped_at == route.preview_step) == (j.verdict.reason == "hopeless") for j in judged if j.stopped_at)
    outcomes = account(world.slots(), [(j.attempt, j.verdict) for j in judged], attempts)
    assert sum(o.attempts for o in outcomes) == len(judged) == len({j.attempt for j in judged})


@given(SCRIPTS, st.integers(2, 4), st.integers(1, 9), st.integers(1, 9))
def test_an_attempt_revises_the_one_before_it_unless_that_is_no_whole_image(script, attempts, batch_size, preview_step):
    judged = LongWay(script, Route((1,) * 10, preview_step), 6).run(attempts, batch_size)
    verdicts = {(j.attempt.slot, j.attempt.number): j for j in judged}
    for j in judged:
        before = verdicts.get((j.attempt.slot, j.attempt.number - 1))
        expected = before and not before.stopped_at and not before.verdict.failed
        assert j.attempt.starts_from == (before.attempt if expected else None)
        assert j.calls == (4 if expected else j.stopped_at or 10)


@given(SCRIPTS, st.integers(1, 4), st.integers(1, 9), st.sampled_from([None, 6]))
def test_first_attempts_that_are_drawn_apart_have_the_batches_that_they_have_alone(script, attempts, batch_size, restart_from):
    world, alone = (LongWay(script, Route((1,) * 10, apart=True), restart_from) for _ in range(2))
    judged = world.run(attempts, batch_size)
    alone.run(1, batch_size)
    assert [batch for batch in world.batches if any(a.number == 0 for a in batch)] == alone.batches
    outcomes = account(world.slots(), [(j.attempt, j.verdict) for j in judged], attempts)
    assert sum(o.attempts for o in outcomes) == len(judged)


@given(SCRIPTS, st.integers(1, 4), st.integers(1, 9), ROUTES, STARTS, st.integers(0, 60))
def test_a_cut_run_on_any_way_comes_to_the_same_verdicts(script, attempts, batch_size, route, start, cut):
    whole = LongWay(script, route, start).run(attempts, batch_size)
    known = {j.attempt: replace(j, image=None, attempt=replace(j.attempt, starts_from=None, start=0)) for j in whole[:cut]}
    world = LongWay(script, route, start)
    world.resumed = True  # a batch may then hold some that were looked at before the cut
    again = world.run(attempts, batch_size, known=known)
    assert [(j.attempt, j.attempt.starts_from, j.verdict.accepted, j.calls, j.stopped_at) for j in again] == [
        (j.attempt, j.attempt.starts_from, j.verdict.accepted, j.calls, j.stopped_at) for j in whole
    ]


@given(SCRIPTS, st.integers(1, 4), st.integers(1, 9), ROUTES, STARTS, st.integers(1, 400))
def test_a_limit_of_calls_holds_on_any_way_and_what_was_begun_is_judged(script, attempts, batch_size, route, start, calls):
    world = LongWay(script, route, start)
    judged = world.run(attempts, batch_size, run_budget=RunBudget(calls))
    assert world.spent == sum(j.calls for j in judged) <= calls
    assert {a for batch in [*world.looks, *world.batches] for a in batch} == {j.attempt for j in judged}
    if any(o.status is SlotStatus.NOT_ATTEMPTED for o in account(world.slots(), [(j.attempt, j.verdict) for j in judged], attempts)):
        assert calls - world.spent < sum(route.calls), "it ends only where no attempt can be paid any more"


@given(SCRIPTS, st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_survivors_wait_while_others_can_fill_a_batch(script, attempts, batch_size, preview_step):
    not_begun_at_draw = []

    class Watched(LongWay):
        def draw(self, attempts):
            not_begun_at_draw.append(len(script) - len({a.slot for batch in self.looks for a in batch}))
            return super().draw(attempts)

    world = Watched(script, Route((1,) * 10, preview_step))
    world.run(attempts, batch_size)
    assert all(len(b) == batch_size for b, waiting in zip(world.batches, not_begun_at_draw, strict=True) if waiting >= batch_size)


def test_first_attempts_of_an_evaluation_are_not_given_up():
    first, second = (attempt_at(Slot(Stream.EVAL, 0, 0, "x"), number, 0) for number in range(2))
    route = Route((2,) * 10, 4)
    assert (route.first_segment(first), route.first_segment(second)) == (Segment(0, 10), Segment(0, 4))


def test_stopping_early_leaves_slots_not_attempted():
    world = ScriptedWorld({(0, i): 0 for i in range(6)})
    stream = sample_until_accepted(world.slots(), world.draw, world.judge, attempts=2, batch_size=2, sampling_seed=0)
    judged = [next(stream), next(stream)]
    statuses = [o.status for o in account(world.slots(), [(j.attempt, j.verdict) for j in judged], 2)]
    assert statuses.count(SlotStatus.ACCEPTED) == 2
    assert statuses.count(SlotStatus.NOT_ATTEMPTED) == 4


@given(SCRIPTS, st.integers(1, 5), st.integers(1, 9), st.integers(1, 60), st.integers(1, 4))
def test_a_run_spends_no_more_calls_than_it_is_allowed(script, attempts, batch_size, calls, cost):
    world, free = ScriptedWorld(script), ScriptedWorld(script).run(attempts, batch_size)
    judged = world.run(attempts, batch_size, run_budget=RunBudget(calls), route=Route((cost,)))
    assert len(judged) == min(len(free), calls // cost)
    outcomes = account(world.slots(), [(j.attempt, j.verdict) for j in judged], attempts)
    unfinished = [o for o in outcomes if o.status is SlotStatus.NOT_ATTEMPTED]
    assert bool(unfinished) == (len(judged) < len(free))


def test_a_run_ends_when_its_time_is_over():
    world, times = ScriptedWorld({(0, i): 0 for i in range(6)}), iter([0.0, 9.9, 10.0])
    judged = world.run(1, 2, run_budget=RunBudget(seconds=10, clock=lambda: next(times), started=0.0))
    assert len(judged) == 4


@pytest.mark.parametrize(("attempts", "batch_size", "named"), [(0, 4, "sampling.attempts"), (3, 0, "sampling.batch_size")])
def test_empty_budget_is_refused_before_anything_is_drawn(attempts, batch_size, named):
    world = ScriptedWorld({(0, 0): 0})
    with pytest.raises(RequestError, match=named):
        world.run(attempts, batch_size)
    assert world.batches == []


def test_account_refuses_a_slot_that_was_accepted_twice():
    slot = Slot(Stream.VAL, 0, 0, "x")
    yes = Verdict(True, 0, 0.9, (0.9, 0.1), None, False)
    with pytest.raises(AssertionError, match="accepted twice"):
        account([slot], [(attempt_at(slot, k, 0), yes) for k in range(2)], 3)


def test_seeds_belong_to_slots_streams_and_attempts():
    slots = [Slot(stream, label, index, "x") for stream in Stream for label in range(2) for index in range(2)]
    seeds = [attempt_at(slot, k, s).seed for slot in slots for k in range(2) for s in range(2)]
    assert len(set(seeds)) == len(seeds)
    # stored ledgers are replayed by these numbers: they may never change
    assert attempt_at(Slot(Stream.EVAL, 3, 7, "anything"), 1, 0).seed == derive_seed(0, "eval", 3, 7, 1) == 5340520877009555710


def test_slots_take_turns_between_classes():
    assert [(s.label, s.index) for s in slots_of(Stream.VAL, {2: "a", 5: "b"}, 2)] == [(2, 0), (5, 0), (2, 1), (5, 1)]


def verdict(*rules, probabilities, label=0, features=None) -> Verdict:
    return judged_by(rules, Candidate(np.array(probabilities), features), label)


def test_rule_wants_the_class_on_top_and_enough_of_it():
    rules = (MostProbable(), AtLeast(0.6))
    assert verdict(*rules, probabilities=[0.7, 0.2, 0.1]).accepted
    below = verdict(*rules, probabilities=[0.5, 0.3, 0.2])
    assert (below.accepted, below.reason) == (False, "probability below 0.6")
    other = verdict(*rules, probabilities=[0.7, 0.2, 0.1], label=1)
    assert (other.accepted, other.predicted, other.reason) == (False, 0, "another class is more probable")
    assert not verdict(MostProbable(), probabilities=[0.4, 0.4, 0.2]).accepted


def test_verdicts_near_a_limit_are_flagged():
    assert verdict(MostProbable(), probabilities=[0.4002, 0.3998, 0.2]).near_margin
    assert verdict(MostProbable(), probabilities=[0.4002, 0.3998, 0.2], label=1).near_margin
    assert not verdict(MostProbable(), probabilities=[0.45, 0.35, 0.2]).near_margin
    assert verdict(MostProbable(), AtLeast(0.7), probabilities=[0.7004, 0.2, 0.0996]).near_margin
    assert verdict(MostProbable(), Leads(0.2), probabilities=[0.5004, 0.3, 0.1996]).near_margin
    assert not verdict(MostProbable(), Leads(0.2), probabilities=[0.6, 0.3, 0.1]).near_margin
    assert not verdict(MostProbable(), AtLeast(0.2), probabilities=[0.2, 0.8, 0.0]).near_margin, "it stays rejected"


def test_a_margin_wants_a_lead_over_the_next_class():
    rules = (MostProbable(), AtLeast(0.4), Leads(0.3))
    assert verdict(*rules, probabilities=[0.6, 0.2, 0.2]).accepted
    close = verdict(*rules, probabilities=[0.5, 0.3, 0.2])
    assert (close.accepted, close.predicted, close.reason) == (False, 0, "less than 0.3 above the next class")
    assert verdict(*rules, probabilities=[0.38, 0.02, 0.6]).reason == "another class is more probable"


def test_what_lies_too_near_a_training_image_is_rejected_whatever_its_class():
    rules = (MostProbable(), NoCopy(np.array([[0.0, 0.0], [3.0, 4.0]]), bound=1.0))
    assert verdict(*rules, probabilities=[0.9, 0.1], features=np.array([3.0, 2.9])).accepted
    copy = verdict(*rules, probabilities=[0.9, 0.1], features=np.array([3.0, 3.5]))
    assert (copy.accepted, copy.predicted, copy.reason) == (False, 0, "nearly a training image")
    assert verdict(*rules, probabilities=[0.9, 0.1], features=np.array([0.0, 1.0005])).near_margin


def test_several_prompts_of_a_class_take_turns():
    slots = slots_of(Stream.EVAL, {0: ("one", "two"), 1: "three"}, 3)
    assert [s.prompt for s in slots if s.label == 0] == ["one", "two", "one"]
    assert {s.prompt for s in slots if s.label == 1} == {"three"}
    seeds = [attempt_at(s, 0, 0).seed for s in slots_of(Stream.EVAL, {0: "other", 1: "three"}, 3)]
    assert seeds == [attempt_at(s, 0, 0).seed for s in slots], "the same noise, whatever the words"


class Answering:
    """A rule that answers whatever it is given."""

    reason = "mine"

    def __init__(self, answer) -> None:
        self.answer = answer

    def slack(self, seen: Candidate, label: int) -> float:
        return self.answer(seen)


@pytest.mark.parametrize("answer", [np.float32(-0.5), -1, -np.inf])
def test_a_rule_of_ones_own_rejects_for_its_reason(answer):
    judged = verdict(MostProbable(), Answering(lambda seen: answer), probabilities=[0.9, 0.1])
    assert (judged.accepted, judged.reason) == (False, "mine")
    assert verdict(MostProbable(), Answering(lambda seen: -answer), probabilities=[0.9, 0.1]).accepted


@pytest.mark.parametrize("answer", [float("nan"), np.float32("nan"), None, "0.5", True, np.zeros((9, 9))])
def test_a_rule_that_gives_no_number_is_named(answer):
    with pytest.raises(StageError, match=r"acceptance rule \S+\.Answering gave .* in place of a number; return a float") as failed:
        verdict(MostProbable(), Answering(lambda seen: answer), probabilities=[0.9, 0.1])
    assert "\n" not in str(failed.value)


def test_a_rule_that_fails_is_named_with_what_it_raised():
    with pytest.raises(StageError, match=r"rule \S+\.Answering failed \(AttributeError: 'Candidate' object has no attribute 'edges'\)"):
        verdict(Answering(lambda seen: seen.edges), probabilities=[0.9, 0.1])


def test_a_rule_without_words_for_its_reason_is_named():
    rule = Answering(lambda seen: -1.0)
    rule.reason = None
    with pytest.raises(StageError, match="has the reason None; set reason"):
        verdict(rule, probabilities=[0.9, 0.1])


class Varied:
    """A strategy that tries one thing after the other, and keeps what it was given."""

    WANTED = (Retry(), Retry(more_guidance=2), Retry(again=0.25), Retry(again=0.55, prompt="other words"), Retry(prompt="class 0"))

    def __init__(self) -> None:
        self.given: dict[Attempt, Rejection] = {}

    def retry(self, slot: Slot, number: int, rejection: Rejection | None) -> Retry:
        self.given[attempt_at(slot, number - 1, 0)] = rejection
        return self.WANTED[number]


VARIED_SCRIPTS = st.dictionaries(st.tuples(st.just(0), st.integers(0, 6)), st.one_of(st.none(), st.integers(0, 5)), min_size=1, max_size=6)


def how(attempt: Attempt) -> tuple:
    return attempt.guidance, attempt.starts_from and attempt.starts_from.number, attempt.start, attempt.prompt


@given(VARIED_SCRIPTS, st.integers(1, 9))
def test_a_strategy_of_ones_own_says_how_each_further_attempt_is_drawn(script, batch_size):
    world, strategy = LongWay(script, Route((2,) * 10, guidance=3.0)), Varied()
    judged = world.run(5, batch_size, retry=strategy)
    wanted = [
        *((None, None, 0, "class 0"), (5.0, None, 0, "class 0"), (None, 1, 8, "class 0")),
        *((None, 2, 4, "other words"), (None, None, 0, "class 0")),
    ]
    assert all(how(j.attempt) == wanted[j.attempt.number] and j.calls == 2 * (10 - j.attempt.start) for j in judged)
    assert sum(j.calls for j in judged) == world.spent
    again = [j for j in judged if j.attempt.number < 4 and not j.verdict.accepted]
    assert set(strategy.given) == {j.attempt for j in again}
    assert all(strategy.given[j.attempt].verdict == j.verdict and strategy.given[j.attempt].image is not None for j in again)


@given(VARIED_SCRIPTS, st.integers(1, 9), st.integers(0, 30))
def test_a_cut_run_with_a_strategy_of_ones_own_comes_to_the_same_and_can_show_it_what_was_rejected(script, batch_size, cut):
    route = Route((2,) * 10, guidance=3.0)
    whole = LongWay(script, route).run(5, batch_size, retry=Varied())
    world, strategy = LongWay(script, route), Varied()
    again = world.run(5, batch_size, retry=strategy, known={j.attempt: replace(j, image=None) for j in whole[:cut]})
    assert [(j.attempt, how(j.attempt), j.calls) for j in again] == [(j.attempt, how(j.attempt), j.calls) for j in whole]
    drawn = len(world.batches)
    assert all(np.array_equal(rejection.image, IMAGE) for rejection in strategy.given.values())
    assert len(world.batches) == drawn + len({a for a in strategy.given if a in {j.attempt for j in again if j.image is None}})


def test_a_strategy_cannot_change_the_image_and_sees_none_that_was_given_up():
    strategy = Varied()
    LongWay({(0, i): None for i in range(9)}, Route((2,) * 10, 4, guidance=3.0)).run(2, 4, retry=strategy)
    images = [rejection.image for rejection in strategy.given.values()]
    assert {image is None for image in images} == {True, False}
    with pytest.raises(ValueError, match="read-only"):
        next(image for image in images if image is not None)[:] = 0


@pytest.mark.parametrize(
    ("wanted", "fault"),
    [
        (None, "None; return a pathsynth.Retry"),
        (Retry(more_guidance=-2.5), "more_guidance=-2.5; with sampling.guidance=3 the sum must be a number of 1 or more"),
        (Retry(more_guidance=float("nan")), "more_guidance=nan"),
        (Retry(more_guidance="2"), "more_guidance='2'"),
        (Retry(again=1.0), "again=1.0; give a share"),
        (Retry(again=-0.1), "again=-0.1"),
        (Retry(prompt=" "), "prompt=' '; give words"),
    ],
)
def test_what_a_strategy_cannot_ask_for_is_reported_with_its_name(wanted, fault, monkeypatch):
    monkeypatch.setattr(Varied, "WANTED", (wanted,) * 5)
    with pytest.raises(StageError) as failed:
        LongWay({(0, 0): None}, Route((2,) * 10, guidance=3.0)).run(3, 4, retry=Varied())
    assert f"retry strategy {__name__}.Varied gave {fault}" in str(failed.value) and "\n" not in str(failed.value)


def test_a_strategy_that_fails_is_named_and_so_is_a_scheduler_that_cannot_start_in_the_middle(monkeypatch):
    monkeypatch.setattr(Varied, "WANTED", ())
    with pytest.raises(StageError, match=r"Varied failed \(IndexError: tuple index out of range\)"):
        LongWay({(0, 0): None}, Route((2,) * 10)).run(3, 4, retry=Varied())
    with pytest.raises(StageError, match="where PNDMScheduler cannot; set sampling.scheduler=DDIMScheduler"):
        LongWay({(0, 0): None}, Route((2,) * 10, from_the_start="PNDMScheduler"), 6).run(3, 4)


@pytest.mark.parametrize(("steps", "again", "start"), [(20, 0.5, 10), (20, 0.01, 19), (3, 0.34, 2), (2, 0.99, 0)])
def test_a_share_of_the_steps_is_at_least_one_step(steps, again, start):
    assert Route((1,) * steps).start_of(again) == start
