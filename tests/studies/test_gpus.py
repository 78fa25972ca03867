from __future__ import annotations

import pytest

from pathsynth.studies.execution import gpus
from pathsynth.studies.execution.gpus import assigned_gpu, visible_gpus
from pathsynth.studies.execution.supervise import trial_environment


@pytest.mark.parametrize(("told", "expected"), [("0,1", ["0", "1"]), ("", []), ("-1", []), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])])
def test_the_environment_names_the_gpus(monkeypatch, told, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", told)
    assert visible_gpus() == expected


def test_the_drivers_files_are_counted_where_nothing_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "none")
    assert visible_gpus() == []
    for name in ("0000:00:05.0", "0000:00:06.0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    assert visible_gpus() == ["0", "1"]


def test_trials_side_by_side_have_a_gpu_each_and_give_it_back(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with assigned_gpu(tmp_path, 2, 60) as one, assigned_gpu(tmp_path, 2, 60) as other:
        assert [one, other] == ["3", "5"]
        with assigned_gpu(tmp_path, 3, 60) as shared:
            assert shared in ("3", "5")
    with assigned_gpu(tmp_path, 2, 60) as again:
        assert again == "3"
        assert trial_environment(None, 2, again)["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.parametrize(("workers", "named"), [(1, "0,1"), (2, "0"), (2, "")])
def test_one_worker_or_one_gpu_is_left_as_it_is(monkeypatch, tmp_path, workers, named):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    with assigned_gpu(tmp_path, workers, 60) as gpu:
        assert gpu is None
        assert trial_environment(None, workers, gpu)["CUDA_VISIBLE_DEVICES"] == named
    assert not list(tmp_path.iterdir())
