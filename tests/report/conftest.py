"""Trial and study folders with made-up numbers, for the report's tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial
from PIL import Image

from pathsynth.ledger.lease import acquire
from pathsynth.ledger.records import Metric, Missing, Result, write_result
from pathsynth.ledger.stages import STAGES
from pathsynth.studies.trials.state import lease_folder
from pathsynth.vocabulary.labels import COLORECTAL

BEFORE, AFTER = "before filtering", "after filtering"
N = 50
SLUGS = COLORECTAL.slugs
RIGHT = (48, 50, 41, 44, 20, 36, 12, 30, 33)
"""First attempts of each class that the made-up gate names right; the judge names two fewer right."""


def confusion(right: tuple[int, ...], asked: tuple[int, ...]) -> np.ndarray:
    """What is not right goes to the next class."""
    matrix = np.diag(right)
    for i, (hit, n) in enumerate(zip(right, asked, strict=True)):
        matrix[i, (i + 1) % len(right)] += n - hit
    return matrix


study_metric = partial(Metric, unit="image", seed=1337)
generated_metric = partial(study_metric, split="generated", prompts="canonical")


def share(hits: float, n: int) -> tuple[float, float, float]:
    """A share and a rough interval around it."""
    value = hits / n
    half = 1.96 * (max(value * (1 - value), 0.01) / n) ** 0.5
    return value, max(0.0, value - half), min(1.0, value + half)


def agreement_metrics(matrix: np.ndarray, stage: str, scorer: str, data: str, slugs: tuple[str, ...] = SLUGS) -> list[Metric]:
    hits, asked, answered = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    n = int(asked.sum())
    recall, precision = hits / np.maximum(asked, 1), hits / np.maximum(answered, 1)
    f1 = 2 * hits / np.maximum(asked + answered, 1)

    def metric(name: str, value: float, low: float | None, high: float | None, count: int, slug: str | None = None) -> Metric:
        return generated_metric(
            metric=name, value=float(value), low=low, high=high, n=int(count), class_=slug, stage=stage, scorer=scorer, data=data
        )

    found = [metric("accuracy", *share(hits.sum(), n), n)]
    for name, values in (("macro_precision", precision), ("macro_recall", recall), ("macro_f1", f1)):
        found.append(metric(name, *share(values.mean() * n, n), n))
    for i, slug in enumerate(slugs):
        found.append(metric("recall", *share(hits[i], asked[i]), asked[i], slug))
        found.append(metric("precision", *share(hits[i], max(1, answered[i])), answered[i], slug))
        found.append(metric("f1", f1[i], None, None, asked[i], slug))
    return found


def acceptance_metrics(right: tuple[int, ...], data: str, slugs: tuple[str, ...]) -> list[Metric]:
    def metric(name: str, value: float, low: float | None, high: float | None, n: int, unit: str, slug: str | None) -> Metric:
        return generated_metric(
            metric=name, value=value, low=low, high=high, n=n, unit=unit, class_=slug, stage=BEFORE, scorer="gate", data=data
        )

    found = [
        metric("acceptance", *share(sum(right), N * len(right)), N * len(right), "slot", None),
        metric("exhausted_slots", 9.0, None, None, N * len(right), "slot", None),
        metric("attempts_per_accepted", 1.61, None, None, N * len(right) - 9, "image", None),
    ]
    for slug, hits in zip(slugs, right, strict=True):
        gone = 9 if slug == "normal-mucosa" else 0
        found.append(metric("acceptance", *share(hits, N), N, "slot", slug))
        found.append(metric("exhausted_slots", float(gone), None, None, N, "slot", slug))
        found.append(metric("attempts_per_accepted", N / hits, None, None, N - gone, "image", slug))
    return found


def real_metrics(data: str) -> list[Metric]:
    scores = {"gate": (0.94, 0.93), "judge": (0.95, 0.945)}
    return [
        study_metric(metric=name, value=value, low=value - 0.02, high=min(1.0, value + 0.02), n=354, split="val", scorer=scorer, data=data)
        for scorer, (accuracy, f1) in scores.items()
        for name, value in (("accuracy", accuracy), ("macro_precision", f1), ("macro_recall", f1), ("macro_f1", f1), ("auc", 0.991))
    ]


def colour_metrics(data: str) -> list[Metric]:
    """What colour alone makes of generated and real images, and how the errors of gate and judge go together."""
    places = (("generated", BEFORE, 0.512, 450), ("generated", AFTER, 0.601, 441), ("val", None, 0.623, 354))
    found = [
        study_metric(
            metric="accuracy", value=value, low=value - 0.04, high=value + 0.04, n=n, split=split, stage=stage, scorer="colour", data=data
        )
        for split, stage, value, n in places
    ]
    return [
        *found,
        study_metric(metric="error_correlation", value=0.27, low=0.1, high=0.44, n=354, split="val", data=data),
    ]


def class_metrics(data: str) -> list[Metric]:
    """Of mucus alone, so that the other classes have none."""
    rows = {"kid": (0.11, 0.09, 0.02), "coverage": (0.31, 0.42, 0.93)}
    places = (("generated", BEFORE), ("generated", AFTER), ("train", None))
    return [
        study_metric(
            metric=name,
            value=value,
            low=value - 0.01,
            high=value + 0.01,
            n=N,
            class_="mucus",
            split=split,
            stage=stage,
            scorer="judge",
            data=data,
        )
        for name, values in rows.items()
        for value, (split, stage) in zip(values, places, strict=True)
    ]


def audit_metrics(data: str) -> list[Metric]:
    """Of rejected first attempts."""
    found = (("rejected_confirmed", None, 0.35), ("rejected_density", None, 0.41), ("rejected_kid", "mucus", 0.21))
    return [
        generated_metric(
            metric=name, value=value, low=value - 0.01, high=value + 0.01, n=137, class_=slug, stage=BEFORE, scorer="judge", data=data
        )
        for name, slug, value in found
    ]


def result(data: str, right: tuple[int, ...], settings: dict, missing: tuple[Missing, ...], slugs: tuple[str, ...] = SLUGS) -> Result:
    asked = (N,) * len(right)
    kept = tuple(41 if slug == "normal-mucosa" else N for slug in slugs)
    judged = tuple(max(0, r - 2) for r in right)
    confirmed = tuple(max(k - 4, 0) for k in kept)
    matrices = {
        f"{BEFORE}/gate": confusion(right, asked),
        f"{BEFORE}/judge": confusion(judged, asked),
        f"{AFTER}/judge": confusion(confirmed, kept),
    }
    metrics = [m for key, matrix in matrices.items() for m in agreement_metrics(matrix, *key.split("/"), data, slugs)]
    metrics += acceptance_metrics(right, data, slugs) + real_metrics(data)
    metrics += [
        generated_metric(metric="kid", value=value, low=value - 0.01, high=value + 0.01, n=n, stage=stage, scorer="judge", data=data)
        for stage, value, n in ((BEFORE, 0.0831, 450), (AFTER, 0.0512, 441))
    ]
    metrics += [
        study_metric(
            metric="coverage", value=value, low=value - 0.05, high=value + 0.05, n=450, split=split, stage=stage, scorer="judge", data=data
        )
        for split, stage, value in (
            ("generated", BEFORE, 0.412),
            ("generated", AFTER, 0.523),
            ("train", None, 0.934),
            ("reconstructed", None, 0.871),
        )
    ]
    metrics += colour_metrics(data) + [m for m in class_metrics(data) + audit_metrics(data) if m.class_ is None or m.class_ in slugs]
    return Result(
        identity="3f9a11c0be77",
        versions={"pathsynth": "0.1.0", "torch": "2.9.1", "diffusers": "0.36.0"},
        settings=settings,
        metrics=tuple(metrics),
        missing=missing,
        extras={
            **{key: matrix.tolist() for key, matrix in matrices.items()},
            "reliability/val/gate": [[12, 5, 552], [88, 80, 943]],
            "reliability/val/judge": [[30, 18, 611], [70, 66, 958]],
        },
        timings={"gate": 41.2, "finetune": 185.0, "generate": 96.4},
    )


def draw_image(path: Path, label: int, seed: int, size: int = 16) -> None:
    """An image of coarse noise, of a colour for each class."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 60, (size // 8, size // 8, 1)).repeat(8, 0).repeat(8, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array([200 - 12 * (label % 9), 120 + 6 * (label % 9), 190]) - coarse).clip(0, 255).astype(np.uint8)).save(path)


def settings(rank: int, prompt: str | None, question: str = "Does a higher rank draw better tissue?") -> dict:
    """The settings of a made-up trial."""
    return {
        "command": "run",
        "seed": 1337,
        "base": {"name": "tiny"},
        "data": {"name": "phantom", "size": 32},
        "lora": {"rank": rank, "alpha": None, "targets": "attention"},
        "trainer": {"max_steps": 300},
        "training": {"batch_size": 32},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001},
        "gate": {"architecture": "resnet18", "part": "a"},
        "judge": {"architecture": "convnext_atto", "part": "b"},
        "sampling": {"steps": 20, "guidance": 3.0, "attempts": 4, "threshold": 0.0, "seed": 0},
        "generate": {"prompt": prompt},
        "evaluate": {"n": N, "split": "val"},
        "study": {"name": "rank", "question": question},
    }


def write_trial(
    folder: Path,
    name: str = "rank 4",
    rank: int = 4,
    right: tuple[int, ...] = RIGHT,
    data: str = "phantom 32 px",
    question: str = "Does a higher rank draw better tissue?",
    prompt: str | None = None,
    missing: tuple[Missing, ...] = (),
    overrides: tuple[str, ...] = (),
    slugs: tuple[str, ...] = SLUGS,
) -> Path:
    """A finished trial's folder; of normal mucosa nothing was accepted."""
    config = settings(rank, prompt, question)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(
        json.dumps({"name": name, "overrides": list(overrides) or [f"lora.rank={rank}"], "config": config})
    )
    (folder / "state.json").write_text(json.dumps({"state": "done"}))
    write_result(folder / "result.json", result(data, right, config, missing, slugs))
    accepted = [0 if slug == "normal-mucosa" else min(10, hits // 5) for slug, hits in zip(slugs, right, strict=True)]
    write_ledger(folder, accepted, prompt or "an image", slugs=slugs)
    for label, slug in enumerate(slugs):
        for i in range(10):
            draw_image(folder / "grids" / "real" / slug / f"{i}.png", label, i)
        for i in range(min(5, accepted[label])):
            draw_image(folder / "grids" / "nearest" / slug / f"{i}-{slug}-{i:05d}-0.png", label, i)
    Image.new("RGB", (12, 12)).save(folder / "grids" / "accepted.png")
    lines = ["step,train_loss,held_out_loss,val_macro_f1", "0,,0.31,0.10", "100,0.21,0.22,0.41", "200,0.18,,0.62", "300,0.17,0.19,nan"]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def make_trial() -> Callable[..., Path]:
    return write_trial


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Ranks 16 and 4, and one trial that failed."""
    folder = tmp_path / "rank"
    write_trial(folder / "a-16", name="rank 16", rank=16, right=(50, 50, 44, 47, 31, 40, 24, 37, 39))
    write_trial(folder / "b-4", name="rank 4", rank=4)
    failed = write_trial(folder / "c-64", name="rank 64", rank=64)
    (failed / "result.json").unlink()
    (failed / "state.json").write_text(json.dumps({"state": "failed", "reason": "the loss became nan"}))
    (folder / ".jobs" / "now").mkdir(parents=True)
    return folder


def write_ledger(folder: Path, accepted: list[int], prompt: str, slots: int = 10, slugs: tuple[str, ...] = SLUGS) -> None:
    """An attempt log: of each class, so many first attempts are accepted, and the others rejected; each image has its file."""
    rows = []
    for label, (slug, good) in enumerate(zip(slugs, accepted, strict=True)):
        for slot in range(slots):
            image = f"{'images' if slot < good else 'rejected'}/{slug}/{slug}-{slot:05d}-0.png"
            row = {"stream": "eval", "class_slug": slug, "slot": slot, "attempt": 0, "prompt": prompt, "seed": 1000 * label + slot}
            rows.append({**row, "predicted": label, "probability": 0.75, "accepted": slot < good, "reason": None, "image": image})
            (folder / image).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (20 * label % 256, 20 * slot, 90)).save(folder / image)
    pd.DataFrame(rows).to_parquet(folder / "attempts.parquet")


def write_sweep(
    folder: Path, ranks: tuple[int, ...] = (1, 4, 16), seeds: int = 3, prompt: str = "an image of mucus", failed: int = 1
) -> Path:
    """A study of ranks over seeds, the higher rank better; its first trials failed."""
    rng = np.random.default_rng(0)
    for r, rank in enumerate(ranks):
        for seed in range(seeds):
            right = tuple(int(x) for x in np.clip(np.array(RIGHT) - 10 + 4 * r + rng.integers(-1, 2, 9), 1, N))
            trial = write_trial(folder / f"rank-{rank}-{seed}", name=f"rank={rank},seed={seed}", rank=rank, right=right, prompt=prompt)
            for name in ("manifest.json", "result.json"):
                record = json.loads((trial / name).read_text())
                record["config" if name == "manifest.json" else "settings"]["seed"] = seed
                if name == "result.json":
                    record["identity"] = f"{rank:06d}{seed:06d}"
                (trial / name).write_text(json.dumps(record))
            write_ledger(trial, [min(10, x // 5) for x in right], prompt)
    for trial in sorted(folder.iterdir())[:failed]:
        (trial / "result.json").unlink()
        (trial / "state.json").write_text(json.dumps({"state": "failed", "reason": "the loss became nan"}))
    return folder


@pytest.fixture
def make_search() -> Callable[..., Path]:
    return write_search


@pytest.fixture
def make_sweep() -> Callable[..., Path]:
    return write_sweep


SEARCHED = ((1, 0.001, 0.40), (16, 0.03, None), (4, 0.001, 0.55), (16, 0.001, 0.52), (16, 0.003, 0.61), (4, 0.03, 0.35))
"""Rank, rate and score of the proposals of :func:`write_search`; the second was pruned."""


def write_search(folder: Path) -> Path:
    """A search over rank and rate: six proposals, of which the second was pruned at step 200, and the journal that Optuna keeps of them."""
    for i, (rank, rate, score) in enumerate(SEARCHED):
        trial = write_trial(folder / f"t{i}", name=f"rank={rank},lr={rate}", rank=rank)
        manifest = json.loads((trial / "manifest.json").read_text())
        manifest["config"]["optimizer"]["lr"] = rate
        (trial / "manifest.json").write_text(json.dumps(manifest))
        if score is None:
            (trial / "result.json").unlink()
            (trial / "state.json").write_text(json.dumps({"state": "pruned", "reason": "pruned at step 200"}))
    storage = JournalStorage(JournalFileBackend(str(folder / "search.journal")))
    study = optuna.create_study(storage=storage, study_name=folder.name, direction="maximize")
    study.set_user_attr("objectives", ["macro_f1"])
    for i, (rank, rate, score) in enumerate(SEARCHED):
        common = {
            "params": {"lora.rank": rank, "optimizer.lr": rate},
            "distributions": {"lora.rank": IntDistribution(1, 16), "optimizer.lr": FloatDistribution(1e-3, 1e-1, log=True)},
        }
        if score is None:
            attributes = {"folder": f"t{i}", "reason": "pruned at step 200"}
            study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.25, 2: 0.3}, user_attrs=attributes, **common))
        else:
            study.add_trial(create_trial(value=score, user_attrs={"folder": f"t{i}"}, **common))
    return folder


GRID_RANKS, GRID_RATES, GRID_SEEDS = (1, 2, 4, 8), (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03), (0, 1, 2)
REASONS = ("another class is more probable", "the lead over the next class is too small")


def grid_name(rank: int, rate: float, seed: int) -> str:
    return f"rank={rank},lr={rate},seed={seed}"


def write_grid(folder: Path, prompt: str = "an image of mucus") -> Path:
    """24 configurations × 3 seeds: four ranks, six rates. Rank 8 at 0.003 leads by little over 0.001; some trials are not done.

    Failed: rank 8 at 0.03, seeds 0 and 1, and rank 1 at 0.0001, seed 2. Pruned: rank 2 at 0.03, seed 1. Running: rank 4 at 0.03, seed 2,
    while this process lives.
    Missing: rank 1 at 0.01, seed 0, which a command announced, and rank 2 at 0.0003, seed 2, of which there is no trace.
    """
    rng = np.random.default_rng(0)
    for r, rank in enumerate(GRID_RANKS):
        for k, rate in enumerate(GRID_RATES):
            for seed in GRID_SEEDS:
                level = 2 * r - 2 * abs(k - 3) + (2 if (rank, rate) == (8, 0.001) else 0)
                lead = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0]) * ((rank, rate) == (8, 0.003))
                right = tuple(int(x) for x in np.clip(np.array(RIGHT) - 9 + level + lead + rng.integers(-1, 2, 9), 2, N))
                _write_grid_trial(folder, rank, rate, seed, right, prompt)
    unfinished = {
        (8, 0.03, 0): {"state": "failed", "reason": "the loss became nan"},
        (8, 0.03, 1): {"state": "failed", "reason": "the loss became nan"},
        (1, 0.0001, 2): {"state": "failed", "reason": "CUDA out of memory"},
        (2, 0.03, 1): {"state": "pruned", "reason": "the search stopped it at step 100"},
        (4, 0.03, 2): {"state": "running", "stage": "finetune", "detail": "steps", "step": 120, "steps": 300, "rate": 2.0},
    }
    for key, state in unfinished.items():
        trial = folder / grid_name(*key)
        (trial / "result.json").unlink()
        (trial / "state.json").write_text(json.dumps(state))
    acquire(lease_folder(folder / grid_name(4, 0.03, 2)), seconds=86_400)  # it runs, however long tests take
    shutil.move(sheet_folder(folder, 4, 0.03, 2), f"{sheet_folder(folder, 4, 0.03, 2)}.work")
    for key in ((1, 0.01, 0), (2, 0.0003, 2)):
        shutil.rmtree(folder / grid_name(*key))
    outcome = folder / ".jobs" / "2026-01-01_00-00-00-1" / "outcomes" / "0.json"
    outcome.parent.mkdir(parents=True)
    gone = grid_name(1, 0.01, 0)
    record = {"name": gone, "folder": str(folder / gone), "refused": "", "busy": False, "own": True}
    outcome.write_text(json.dumps(record))
    return folder


def sheet_folder(folder: Path, rank: int, rate: float, seed: int) -> Path:
    """Where the fine-tune of a trial of the grid leaves its sheets."""
    return folder.parent / STAGES / "finetune" / f"{rank:04d}{GRID_RATES.index(rate):04d}{seed:04d}"


def write_sheets(folder: Path, steps: tuple[int, ...]) -> None:
    """Two validation sheets of each step, of nine classes and two slots; first attempts are the greener, the more steps there were."""
    folder.mkdir(parents=True)
    for step in steps:
        Image.new("RGB", (38, 164), (90, step % 256, 90)).save(folder / f"first_attempts-{step:06d}.png")
        Image.new("RGB", (38, 164), (200, step % 256, 90)).save(folder / f"after_regeneration-{step:06d}.png")


def _write_grid_trial(folder: Path, rank: int, rate: float, seed: int, right: tuple[int, ...], prompt: str) -> None:
    name = grid_name(rank, rate, seed)
    trial, config = folder / name, {**settings(rank, prompt), "seed": seed, "optimizer": {"_target_": "torch.optim.AdamW", "lr": rate}}
    overrides = [f"lora.rank={rank}", f"optimizer.lr={rate}", f"seed={seed}", "study=rank", "multirun=/home/someone/multirun"]
    trial.mkdir(parents=True)
    plan = {"stages": [{"name": "finetune", "identity": sheet_folder(folder, rank, rate, seed).name}]}
    (trial / "manifest.json").write_text(json.dumps({"name": name, "overrides": overrides, "config": config, "plan": plan}))
    (trial / "state.json").write_text(json.dumps({"state": "done"}))
    if (rank, rate, seed) == (4, 0.03, 2) or seed == 0:
        write_sheets(sheet_folder(folder, rank, rate, seed), (100, 200))
    made = result("phantom 32 px", right, config, ())
    timings = {"gate": 41.2, "finetune": 100.0 + 10 * rank, "generate": 60.0 + 5 * rank + seed}
    identity = f"{rank:04d}{GRID_RATES.index(rate):04d}{seed:04d}"
    write_result(trial / "result.json", replace(made, identity=identity, timings=timings))
    rows = []
    for label, (slug, hits) in enumerate(zip(SLUGS, right, strict=True)):
        for slot in range(4):
            tries = 1 if slot < hits // 13 else 3
            for attempt in range(tries):
                accepted = attempt == tries - 1 and not (slug == "normal-mucosa" and tries > 1)
                kept = accepted or attempt == 0
                image = f"{'images' if accepted else 'rejected'}/{slug}/{slug}-{slot:05d}-{attempt}.png"
                row = {"stream": "eval", "class_slug": slug, "slot": slot, "attempt": attempt, "prompt": prompt}
                row |= {"seed": 1000 * label + 10 * slot + attempt, "probability": 0.75, "accepted": accepted}
                row |= {"predicted": label if accepted else (label + 1) % 9, "reason": None if accepted else REASONS[attempt % 2]}
                row |= {"judged": label if slot == 0 else (label + 2) % 9}
                rows.append({**row, "image": image if kept else None})
                if kept:
                    (trial / image).parent.mkdir(parents=True, exist_ok=True)
                    Image.new("RGB", (16, 16), (25 * label, 60 * slot, 30 * rank)).save(trial / image)
    log = pd.DataFrame(rows)
    log.drop(columns="judged").to_parquet(trial / "attempts.parquet")
    if rank == 8:
        words = log[["class_slug", "slot", "attempt", "judged"]].rename(columns={"judged": "predicted"})
        words.to_parquet(trial / "judged.parquet")
    losses = [(step, 0.4 / (1 + step / 100)) for step in range(0, 301, 50)]
    lines = [f"{step},{loss + rate:.4f},{1.05 * loss:.4f},{0.1 + step / 1000:.3f}" for step, loss in losses]
    (trial / "history.csv").write_text("\n".join(["step,train_loss,held_out_loss,val_macro_f1", *lines]) + "\n")


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of :func:`write_grid`; tests do not change it."""
    return write_grid(tmp_path_factory.mktemp("grid") / "rank")


@pytest.fixture
def make_grid() -> Callable[..., Path]:
    return write_grid
