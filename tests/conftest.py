"""Fixtures that several folders of tests share."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

import pathsynth
from tests.chromium import chromium


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory) -> Iterator[None]:
    """What is kept for the next process is kept for tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHSYNTH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, one for all tests."""
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session", autouse=True)
def _hears_hangups() -> Iterator[None]:
    """Under nohup SIGHUP is ignored, here and in every process that tests start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(autouse=True)
def _leaves_no_trace_of_hydra() -> Iterator[None]:
    """A test leaves the root logger as it was, for what Hydra makes it write to is closed then; and Hydra ready to compose again."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    hydra = sys.modules.get("hydra.core.global_hydra")
    if hydra:
        hydra.GlobalHydra.instance().clear()


@pytest.fixture(scope="session")
def alive() -> Callable[[int], bool]:
    """Whether a process of that number runs."""

    def look(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    return look


@pytest.fixture(scope="session")
def run_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``pathsynth`` with some words, started in a folder, as a person does; unless its exit ``status`` is another, the test fails."""

    def run(folder: Path, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pathsynth", *words]
        ended = subprocess.run(command, cwd=folder, env=dict(os.environ), text=True, capture_output=True, timeout=900)
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended

    return run


@pytest.fixture(scope="session")
def small_base_folder(tmp_path_factory) -> Path:
    """A base of the embedded architecture at its smallest, with random weights, in diffusers layout."""
    import torch

    from pathsynth.pretraining.autoencoder import fit_projection, linear_autoencoder
    from pathsynth.pretraining.text_encoder import text_encoder, word_tokenizer
    from pathsynth.pretraining.tiny_base import TEXT_WIDTH, save_pipeline, tiny_unet
    from pathsynth.vocabulary.words import whole_words

    torch.manual_seed(0)
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    vae = linear_autoencoder(fit_projection(images, channels=4))
    tokenizer = word_tokenizer(whole_words(()))
    folder = tmp_path_factory.mktemp("base")
    save_pipeline(folder, tiny_unet(4, (32, 32)), vae, text_encoder(tokenizer, TEXT_WIDTH, 0), tokenizer)
    return folder


@pytest.fixture
def linked_base(tmp_path) -> Path:
    """The embedded base in a folder of its own, to be damaged: settings are copied, weights are links."""
    return link_base(tmp_path / "base")


def link_base(folder: Path) -> Path:
    shipped = Path(pathsynth.__file__).parent / "assets" / "tiny"
    shutil.copytree(shipped, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.md"))
    for weights in shipped.rglob("*.safetensors"):
        (folder / weights.relative_to(shipped)).symlink_to(weights)
    return folder


@pytest.fixture(scope="session")
def shared_base(tmp_path_factory) -> Path:
    """As ``linked_base``, for tests that leave it as it is."""
    return link_base(tmp_path_factory.mktemp("shared") / "base")


@pytest.fixture(scope="session")
def signal_tree() -> Callable[[int, signal.Signals], None]:
    """Sends a signal to a process and to all that it started; what has ended by then needs none."""

    def send(pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(pid)
            for process in [first, *first.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    return send


@dataclass(frozen=True)
class SmallDisk:
    """A file system of one megabyte."""

    place: Path

    def fill(self, free_pages: int = 0) -> None:
        """Leave so many pages of 4096 bytes."""
        filler = self.place / "filler"
        filler.unlink(missing_ok=True)
        told = os.statvfs(self.place)
        filler.write_bytes(bytes(max(0, told.f_bavail * told.f_frsize - free_pages * 4096)))

    def make_read_only(self) -> None:
        """Also while files on it are open for writing: another mount of it lies over the first."""
        _mount("--bind", str(self.place), str(self.place))
        _mount("-o", "remount,bind,ro", str(self.place))

    def make_writable(self) -> None:
        subprocess.run(["umount", str(self.place)], check=True)


def _mount(*words: str) -> None:
    tried = subprocess.run(["mount", *words], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no mount is permitted here: {tried.stderr.strip()}")


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path], SmallDisk]]:
    """Mounts a :class:`SmallDisk` in the place of a folder; skips the test where that is not permitted."""
    made: list[Path] = []

    def mount(place: Path) -> SmallDisk:
        place.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", "size=1m", "none", str(place))
        made.append(place)
        return SmallDisk(place)

    yield mount
    for place in made:
        while os.path.ismount(place):
            subprocess.run(["umount", "--lazy", str(place)], check=True)


@dataclass(frozen=True)
class OfflineRun:
    """A W&B run as its offline file tells it: what a team would see after `wandb sync`."""

    folder: Path
    records: tuple[dict[str, Any], ...]

    @property
    def run(self) -> dict[str, Any]:
        return self.of("run")[0]

    @property
    def config(self) -> dict[str, Any]:
        return {key: value for key, value in self.run["config"]["update"].items() if key != "_wandb"}

    @property
    def summary(self) -> dict[str, Any]:
        return {key: value for record in self.of("summary") for key, value in record["update"].items()}

    @property
    def axes(self) -> dict[str, str]:
        """Pattern or name of a metric → its horizontal axis."""
        return {m.get("glob_name") or m["name"]: m["step_metric"] for m in self.of("metric") if "step_metric" in m}

    @property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        """By type, without the tables that W&B keeps as artifacts, too."""
        return {a["type"]: a for a in self.of("artifact") if a["type"] != "run_table"}

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in self.records if record["type"] == kind]

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The rows of the history that hold a metric (or, of a table or picture, anything)."""
        return [h["item"] for h in self.of("history") if any(k == key or k.startswith(f"{key}.") for k in h["item"])]

    def table(self, key: str, number: int = 0) -> list[dict[str, Any]]:
        """The ``number``-th table logged under a key, as records; a picture is the size of its file in pixels."""
        contents = [{c["path"]: c["local_path"] for c in a["manifest"]["contents"]} for a in self.of("artifact")]
        files = [c for c in contents if f"{key}.table.json" in c][number]
        stored = json.loads(Path(files[f"{key}.table.json"]).read_text())

        def cell(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            with Image.open(files[value["path"]]) as picture:
                return picture.size

        return [dict(zip(stored["columns"], map(cell, values), strict=True)) for values in stored["data"]]


@pytest.fixture(scope="session")
def offline_runs():
    """Reads the offline runs below a folder, by identity, each a list of its parts in the order in which they began."""

    def read(folder: Path) -> dict[str, list[OfflineRun]]:
        runs: dict[str, list[OfflineRun]] = {}
        for path in sorted(folder.glob("wandb/offline-run-*")):
            inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
            told = subprocess.run(inspect, capture_output=True, text=True, check=True, timeout=60).stdout
            part = OfflineRun(path, tuple(map(json.loads, told.splitlines())))
            runs.setdefault(part.run["run_id"], []).append(part)
        return runs

    return read


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """What `pathsynth run -m …` would start, in an empty folder: every job, checked by the real sweeper; nothing is started."""
    import sys

    from hydra.core.plugins import Plugins

    from pathsynth.__main__ import dispatch
    from pathsynth.studies.planning import request_check

    Plugins.instance()  # loads the plugins' modules anew, so it comes before the class is looked up
    from hydra_plugins.pathsynth.sweeper import TrialSweeper

    whole, checked = request_check.check, []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pathsynth"])
    monkeypatch.setattr(TrialSweeper.__base__, "sweep", lambda self, arguments: None)
    monkeypatch.setattr(request_check, "check", lambda config, overrides: checked.append(whole(config, overrides)))

    def run(*arguments: str, command: str = "run") -> list[request_check.Checked]:
        checked.clear()
        dispatch([command, "-m", *arguments])
        return list(checked)

    return run
