"""Which stages are built before the trials that share them, and by which of the trials."""

from __future__ import annotations

from pathsynth.stages.stage import StagePlan
from pathsynth.studies.planning.shared_stages import SharedJob, describe_jobs, shared_jobs


def stage(name: str, identity: str, *parents: str) -> StagePlan:
    return StagePlan(name, f"{name}-{identity}", {}, dict.fromkeys(parents, ""))


def trial(rank: int, gate: int = 0, decoded: bool = False, guidance: int = 0) -> tuple[StagePlan, ...]:
    return (
        *((stage("decode", "0", "data"),) if decoded else ()),
        stage("cache", "0", "data", "base"),
        stage("gate", f"{gate}", "data"),
        stage("judge", "0", "data"),
        stage("judge_vit", "0", "data"),
        stage("gate_test", f"{gate}", "data", "classifier"),
        stage("finetune", f"{rank}.{gate}", "cache", "base", "gate"),
        stage("early_rejection", f"{rank}.{gate}", "finetune", "gate"),
        stage("generate", f"{rank}.{gate}.{guidance}", "finetune", "gate", "early_rejection"),
        stage("evaluate", f"{rank}.{gate}.{guidance}", "generate", "judge", "reference"),
    )


def in_turns(trials: dict[int, tuple[StagePlan, ...]]) -> list[dict[int, tuple[str, ...]]]:
    """The jobs of one turn after the other, where each builds what it should."""
    built: set[str] = set()
    turns: list[dict[int, tuple[str, ...]]] = []

    def finished(stage: StagePlan) -> bool:
        return stage.identity in built

    while jobs := shared_jobs(trials, finished):
        turns.append({job.number: job.stages for job in jobs})
        assert len(turns) < 9
        built.update(stage.identity for job in jobs for stage in trials[job.number] if stage.name in job.stages)
    return turns


def test_each_stage_that_trials_share_is_built_by_one_of_them_side_by_side():
    four = {0: trial(1), 3: trial(2), 5: trial(4), 9: trial(8)}
    assert in_turns(four) == [{0: ("cache",), 3: ("gate",), 5: ("judge",), 9: ("judge_vit",)}]


def test_two_trials_share_the_work():
    assert in_turns({0: trial(1), 1: trial(2)}) == [{0: ("cache", "judge"), 1: ("gate", "judge_vit")}]


def test_a_stage_that_one_trial_alone_needs_is_its_own():
    (jobs,) = in_turns({0: trial(1, gate=1), 1: trial(2, gate=2), 2: trial(4, gate=2)})
    assert [number for number, names in jobs.items() if "gate" in names] in ([1], [2])


def test_an_adapter_that_trials_share_comes_after_what_it_is_made_of_and_what_it_loads():
    trials = {number: trial(rank, guidance=guidance) for number, (rank, guidance) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)])}
    first, then = in_turns(trials)
    assert {name for names in first.values() for name in names} == {"cache", "gate", "judge", "judge_vit"}
    assert then == {0: ("cache", "gate", "finetune"), 2: ("cache", "gate", "finetune")}


def test_images_that_trials_share_come_last():
    trials = {0: trial(1), 1: (*trial(1), stage("panel", "0", "generate"))}
    _, of_adapter, of_images = in_turns(trials)
    assert list(of_adapter.values()) == [("cache", "gate", "finetune")]
    assert list(of_images.values()) == [("cache", "gate", "finetune", "early_rejection", "generate")]


def test_decoded_images_are_no_parent_and_belong_to_each_job():
    (jobs,) = in_turns({0: trial(1, decoded=True), 1: trial(2, decoded=True)})
    assert all(names[0] == "decode" for names in jobs.values())


def test_nothing_is_built_first_where_all_is_there_or_nothing_is_shared():
    assert in_turns({0: trial(1)}) == []
    assert shared_jobs({0: trial(1), 1: trial(2)}, lambda _: True) == []


def test_the_line_names_what_is_built_and_not_what_is_there():
    two = [SharedJob(0, ("gate",), ("decode", "gate")), SharedJob(1, ("judge",), ("decode", "judge"))]
    assert describe_jobs(two) == "first 2 jobs build what several trials share: gate, judge"
    one = SharedJob(4, ("finetune",), ("cache", "gate", "finetune"))
    assert describe_jobs([one]) == "first one job builds what several trials share: finetune"
