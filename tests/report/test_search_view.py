"""What a study page has of a search, read from the journal that Optuna keeps."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from pathsynth.report import search_view as module
from pathsynth.report.collect import collect_trials
from pathsynth.report.page import write_merged
from pathsynth.report.search_view import search_view
from tests.report.conftest import write_search


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_search(tmp_path_factory.mktemp("search") / "tune")


def test_each_proposal_has_its_score_and_a_pruned_one_the_step_and_what_it_reported_last(folder: Path) -> None:
    view = search_view(folder)
    assert view and view.objectives == ("macro_f1",) and view.maximized == (True,)
    assert [point.values for point in view.points] == [(0.4,), (0.3,), (0.55,), (0.52,), (0.61,), (0.35,)]
    assert [point.state for point in view.points].count("pruned") == 1
    assert (view.points[1].state, view.points[1].reason, view.points[1].folder) == ("pruned", "pruned at step 200", "t1")


def test_importances_are_those_of_optunas_own_evaluator_and_the_same_each_time(folder: Path) -> None:
    study = optuna.load_study(study_name=None, storage=module.open_storage(str(folder / "search.journal")))
    wanted = optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))
    views = [search_view(folder), search_view(folder)]
    assert [dict(view.importance) for view in views if view] == [wanted, wanted] and sum(wanted.values()) == pytest.approx(1)


def test_the_page_names_the_objective_as_it_does_everywhere_and_ties_each_proposal_to_its_configuration(folder: Path) -> None:
    text = write_merged(collect_trials(folder), folder).read_text(encoding="utf-8")
    payload = json.loads(text.split('id="study">', 1)[1].split("</script>", 1)[0])
    found, names = payload["search"], {m["key"]: m["name"] for m in payload["measures"]}
    assert found["objectives"] == [[names["macro_f1/before filtering/gate"], 1]]
    settings = [payload["configurations"][point[5]]["settings"] for point in found["points"]]
    assert [s["lora.rank"] for s in settings] == ["1", "16", "4", "16", "16", "4"]


def test_without_optuna_a_line_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "optuna" else importlib.util.find_spec(name))
    view = search_view(folder)
    assert view and view.note.endswith("pip install 'pathsynth[optuna]'") and view.points == ()


def test_a_damaged_journal_is_a_line_and_a_grid_has_no_search(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    grid = make_sweep(tmp_path / "grid", ranks=(1, 4), seeds=1, failed=0)
    assert search_view(grid) is None
    (grid / "search.journal").write_text("no journal\n")
    view = search_view(grid)
    assert view and view.note.startswith("The search's journal cannot be read: ")


@pytest.mark.parametrize(
    ("scores", "params", "absent"),
    [
        ([0.1, 0.2, 0.3], {"a": 1, "b": 2}, "It needs 4 trials with a score; there are 3."),
        ([0.1, 0.2, 0.3, 0.4], {"a": 1}, "A single setting was searched."),
        ([0.2] * 4, {"a": 1, "b": 2}, "All trials have the same score."),
    ],
)
def test_where_no_importance_can_be_told_the_reason_is(tmp_path: Path, scores: list[float], params: dict[str, int], absent: str) -> None:
    study = optuna.create_study(storage=module.open_storage(str(tmp_path / "search.journal")), direction="maximize")
    for i, score in enumerate(scores):
        distributions = {key: optuna.distributions.IntDistribution(0, 9) for key in params}
        varied = {key: value + i for key, value in params.items()}
        study.add_trial(optuna.create_trial(value=score, params=varied, distributions=distributions))
    view = search_view(tmp_path)
    assert view and (view.importance, view.absent) == ((), absent)


def test_each_objective_has_its_values_and_its_direction(tmp_path: Path) -> None:
    study = optuna.create_study(storage=module.open_storage(str(tmp_path / "search.journal")), directions=["maximize", "minimize"])
    study.set_user_attr("objectives", ["macro_f1/judge", "kid"])
    study.add_trial(
        optuna.create_trial(values=[0.4, 0.09], params={"a": 1}, distributions={"a": optuna.distributions.IntDistribution(0, 9)})
    )
    view = search_view(tmp_path)
    assert view and view.objectives == ("macro_f1/judge", "kid") and view.maximized == (True, False)
    assert view.points[0].values == (0.4, 0.09)
