"""Jobs of a sweep are what Hydra composes of their overrides, though it composes once for many of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence

import pytest
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pathsynth.config.shipped import conf_folder
from pathsynth.hydra_internals import ConfigLoaderImpl, compose_job, config_loader
from pathsynth.studies.planning.composed import ComposedJobs

SHARED = ["tracking=none", "study.name=many"]


@pytest.fixture(scope="module")
def master() -> DictConfig:
    """What Hydra composes for a sweep before its jobs."""
    return compose_job(conf_folder(), "run", [*SHARED, "hydra.verbose=true"], RunMode.MULTIRUN)


def by_hydra(master: DictConfig, job: Sequence[str]) -> DictConfig:
    return config_loader(conf_folder()).load_sweep_config(master, list(job))


class Counting(ConfigLoaderImpl):
    """Hydra's loader, which counts what it composes."""

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        self.__dict__ |= loader.__dict__
        self.composed = 0

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        self.composed += 1
        return super().load_sweep_config(master_config, sweep_overrides)


def counting() -> Counting:
    return Counting(config_loader(conf_folder()))


def refusal(compose: Callable[[], object]) -> tuple[type[Exception], str]:
    with pytest.raises((HydraException, ValueError, TypeError)) as caught:
        compose()
    return caught.type, str(caught.value)


JOBS = [
    [*SHARED, "lora.rank=4", "seed=3"],
    ["seed=3", *SHARED, "lora.rank=4"],
    [*SHARED, "lora.rank=${trainer.max_steps}"],
    [*SHARED, "+callbacks.stop={_target_:some.Class,monitor:loss}", "~callbacks.lr_monitor"],
    [*SHARED, "optimizer=adamw", "optimizer.lr=1e-3", "++optimizer.eps=1e-7"],
    [*SHARED, "study=rank_lr_steps", "lora.rank=16"],
    [*SHARED, "study.question='a, b'", "data.size=28"],
    [*SHARED, "data={size:28}"],
    [*SHARED, "~study.question"],
    [*SHARED, "hydra.job.config.override_dirname.kv_sep=:", "seed=1"],
    ["data=pathmnist", "base=sd15"],
    [],
]


@pytest.mark.parametrize("job", JOBS, ids=" ".join)
def test_a_job_is_what_hydra_composes(master, job):
    jobs = ComposedJobs(counting())
    jobs.load_sweep_config(master, [*SHARED, "seed=7"])  # a job before it leaves nothing in it
    composed, whole = jobs.load_sweep_config(master, job), by_hydra(master, job)
    assert OmegaConf.to_yaml(composed) == OmegaConf.to_yaml(whole)
    assert pickle.dumps(composed._metadata) == pickle.dumps(whole._metadata)


@pytest.mark.parametrize("wrong", ["lora.rnak=1", "data=phantm", "+lora.rank=1", "~lora.rnak", "lora@x=default", "tracking=3", "lora=[1]"])
def test_a_wrong_job_is_refused_in_hydras_words(master, wrong):
    job = [*SHARED, "seed=1", wrong]
    refused = [refusal(lambda: ComposedJobs(counting()).load_sweep_config(master, job)), refusal(lambda: by_hydra(master, job))]
    assert refused[0] == refused[1]


def test_hydra_composes_once_for_all_jobs_of_the_same_options(master):
    loader = counting()
    jobs = ComposedJobs(loader)
    for seed in range(20):
        for optimizer in ("muon", "adamw"):
            config = jobs.load_sweep_config(master, [*SHARED, f"optimizer={optimizer}", f"seed={seed}"])
            assert (config.seed, list(config.hydra.overrides.task)[-1]) == (seed, f"seed={seed}")
    assert loader.composed == 2


def test_what_a_worker_is_sent_does_not_grow_with_the_jobs(master):
    jobs = ComposedJobs(counting())
    sizes = []
    for seed in range(50):
        jobs.load_sweep_config(master, [*SHARED, f"seed={seed}"])
        sizes.append(len(pickle.dumps(jobs)))
    assert sizes[0] == sizes[-1]


def test_a_job_that_hydra_composes_as_a_whole_is_composed_once(master):
    loader = counting()
    jobs = ComposedJobs(loader)
    for _ in range(2):
        jobs.load_sweep_config(master, [*SHARED, "hydra.job.name=mine", "seed=1"])
    assert loader.composed == 1
