"""A search takes each sampler and pruner by its name; what it proposes depends on its seed and the answers alone."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pathsynth.config.search import PRUNERS, SAMPLERS, search_config
from pathsynth.studies.planning.search import Search, parse_space
from pathsynth.training.pruning import build_pruner

POINTS = ["lora.rank=1,4,16", "trainer.max_steps=range(100,400,100)"]
INTERVAL = "optimizer.lr=tag(log,interval(1e-3,1e-1))"


def proposed(folder: Path, sampler: str, lines: list[str], count: int) -> list[dict[str, object]]:
    """The values of ``count`` proposals of a new search, each answered by its failure before the next."""
    folder.mkdir()
    space = parse_space(OverridesParser.create().parse_overrides(lines))
    search = Search(search_config({"n_trials": count, "sampler": sampler, "seed": 3}), space, folder, 60)
    found = []
    for _ in range(count):
        (proposal,) = search.ask(1)
        search.report_failure(proposal, "of no interest")
        found.append(dict(proposal.values))
    assert search.ask(1) == []
    return found


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", [pytest.param(name, marks=pytest.mark.slow if name == "gp" else ()) for name in SAMPLERS])
def test_a_sampler_proposes_what_it_may_and_the_same_again(tmp_path, sampler):
    lines = POINTS if sampler == "grid" else [*POINTS, INTERVAL]
    one, other = (proposed(tmp_path / name, sampler, lines, 4) for name in ("one", "other"))
    assert one == other
    for values in one:
        assert values["lora.rank"] in (1, 4, 16) and values["trainer.max_steps"] in (100, 200, 300)
        assert sampler == "grid" or 1e-3 <= values["optimizer.lr"] <= 1e-1
    assert len({tuple(values.values()) for values in one}) > 1, "also before a trial has a score"


def test_a_grid_is_gone_through_once(tmp_path):
    points = proposed(tmp_path / "grid", "grid", POINTS, 9)
    assert len({tuple(values.values()) for values in points}) == 9


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_pruner_is_that_of_its_name(pruner):
    assert type(build_pruner(pruner)) is getattr(optuna.pruners, f"{pruner.capitalize()}Pruner")
