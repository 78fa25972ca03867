from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pathsynth.__main__ import dispatch
from pathsynth.commands.publish import publish_study
from pathsynth.commands.report import make_report
from pathsynth.ledger.errors import RequestError
from pathsynth.ledger.stages import STAGES, StageStore
from pathsynth.report.collect import merge_trials
from pathsynth.report.page import write_report
from pathsynth.studies.trials.redaction import sentence_without_places, setting_without_place


def states(page: str) -> list[str]:
    """The states of the trials that a study's page shows."""
    return sorted(t["state"] for t in json.loads(page.split('id="study">', 1)[1].split("</script>", 1)[0])["trials"])


def test_bundle_lists_all_it_holds_and_no_real_image(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(1, 4), seeds=1)
    manifest = folder / "rank-4-0" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "tracking": {"api_key": "sesame"}}))
    (folder / "rank-4-0" / "log.txt").write_text("sesame")
    with zipfile.ZipFile(publish_study(folder)) as bundle:
        names = set(bundle.namelist())
        listed = {line.split("  ")[-1].strip() for line in bundle.read("CONTENTS.txt").decode().splitlines()}
        assert listed == names - {"CONTENTS.txt"}
        assert all(b"sesame" not in bundle.read(name) for name in names)
    assert any(name.startswith("rank-4-0/rejected/mucus/") for name in names), "the page shows first attempts"
    assert "rank-4-0/grids/accepted.png" in names and not any("real" in name or "log" in name for name in names)


def test_no_bundle_tells_where_things_lie_on_the_disk(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(1, 4), seeds=1)
    for trial in folder.iterdir():
        manifest = json.loads((trial / "manifest.json").read_text())
        manifest["config"] |= {"multirun": str(tmp_path), "data": {"root": str(tmp_path / "my data")}}
        manifest["overrides"] = [f"data.root={tmp_path / 'my data'}", "lora.rank=4"]
        (trial / "manifest.json").write_text(json.dumps(manifest))
    state = next(p for p in folder.glob("*/state.json") if "nan" in p.read_text())
    state.write_text(json.dumps({"state": "failed", "reason": f"no file '{tmp_path}/cache/x.safetensors'; see {state}"}))
    with zipfile.ZipFile(publish_study(folder)) as bundle:
        contents = {name: bundle.read(name) for name in bundle.namelist()}
    assert not [name for name, data in contents.items() if str(tmp_path).encode() in data]
    shared = json.loads(contents["rank-4-0/manifest.json"])
    assert shared["overrides"] == ["data.root=…/my data", "lora.rank=4"]
    failed = json.loads(contents[f"{state.parent.name}/state.json"])
    assert failed["reason"] == "no file '…/x.safetensors'; see …/state.json"


def test_a_bundle_brings_its_page(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(1, 4), seeds=1)
    with zipfile.ZipFile(publish_study(folder)) as bundle:
        page = bundle.read("report.html").decode()
        assert states(page) == ["done", "failed"] and "rank-4-0/report.html" in bundle.namelist()
    assert not (folder / "report.html").exists(), "the study itself is left as it is"


def test_a_study_of_which_nothing_finished_is_shared_without_a_page(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(4,), seeds=1)
    with zipfile.ZipFile(publish_study(folder)) as bundle:
        assert "report.html" not in bundle.namelist() and "rank-4-0/manifest.json" in bundle.namelist()


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/home/me/My Data", "…/My Data"),
        ("base.path=/srv/models/sd15", "base.path=…/sd15"),
        ("C:\\Users\\me\\data", "…/data"),
        ("data.root=/srv/seed=3,rank=4/data", "data.root=…/data"),
        ("image of mucus (H&E), 24/7 and/or more", "image of mucus (H&E), 24/7 and/or more"),
        ("https://hub.example/models/sd15", "https://hub.example/models/sd15"),
        ("runwayml/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
        ("torch.optim.AdamW", "torch.optim.AdamW"),
    ],
)
def test_of_a_setting_that_is_a_path_the_last_name_is_shared(text: str, shared: str) -> None:
    assert setting_without_place(text) == shared


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/srv/base has no unet; see /a/b/log.txt, then ../docs/x", "…/base has no unet; see …/log.txt, then ../docs/x"),
        ("no file '/home/J Doe/cache/x.safetensors' (C:\\Users\\me\\x)", "no file '…/x.safetensors' (…/x)"),
        ("https://hub.example/models/sd15 does not answer, 24/7", "https://hub.example/models/sd15 does not answer, 24/7"),
    ],
)
def test_a_sentence_keeps_its_words_and_loses_its_places(text: str, shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/J Doe")
    assert sentence_without_places(text) == shared


@pytest.mark.slow
def test_who_carried_out_a_trial_is_reported_or_left_out_as_asked(make_sweep: Callable[..., Path], tmp_path: Path, capsys) -> None:
    mine, theirs = (make_sweep(tmp_path / name, ranks=ranks, seeds=1, failed=0) for name, ranks in (("mine", (1,)), ("theirs", (4,))))
    for folder, author in ((mine, "ada"), (theirs, "grace")):
        (next(folder.glob("rank*")) / "state.json").write_text(json.dumps({"state": "done", "author": author, "host": f"box of {author}"}))
    named = publish_study(theirs)
    assert "it names who ran the trials (grace on box of grace); --anonymous leaves that out" in capsys.readouterr().out
    unnamed = publish_study(theirs, tmp_path / "unnamed.zip", anonymous=True)
    assert "it names who" not in capsys.readouterr().out
    with zipfile.ZipFile(unnamed) as archive:
        assert not [name for name in archive.namelist() if b"grace" in archive.read(name)], "neither in a record nor on a page"

    def makers(bundle: Path, place: str, **options: bool) -> list[str]:
        (tmp_path / place).mkdir()
        make_report([mine, bundle], into=tmp_path / place, **options)
        return re.findall(r'"maker": ?"([^"]*)"', (tmp_path / place / "report.html").read_text(encoding="utf-8"))

    assert makers(named, "a") == ["ada on box of ada", "grace on box of grace"]
    assert "by grace on box of grace" in next((tmp_path / "a" / "report_trials").glob("*rank-4*")).read_text()
    assert makers(unnamed, "b") == ["ada on box of ada", ""] and makers(named, "c", anonymous=True) == ["", ""]


@pytest.mark.slow
def test_validation_sheets_go_with_a_bundle(grid: Path, tmp_path: Path) -> None:
    study = tmp_path / "multirun" / "rank"
    for name in ("rank=8,lr=0.003,seed=0", "rank=1,lr=0.0001,seed=0"):
        shutil.copytree(grid / name, study / name)
    shutil.copytree(grid.parent / STAGES, study.parent / STAGES)
    (tmp_path / "into").mkdir()
    make_report([publish_study(study)], into=tmp_path / "into")
    reels = re.findall(r'"reel":\["[^"]*",38,164,100,200\]', (tmp_path / "into" / "report.html").read_text(encoding="utf-8"))
    assert len(reels) == 2


def test_what_looks_like_a_secret_is_refused(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(4,), seeds=1, prompt="x", failed=0)
    state = folder / "rank-4-0" / "state.json"
    state.write_text(json.dumps({"state": "done", "detail": "https://me:open@example.org/x"}))
    with pytest.raises(RequestError, match="state.json holds what looks like a secret"):
        publish_study(folder)
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_same_trial_from_two_people_counts_once(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    mine = make_sweep(tmp_path / "mine", ranks=(1, 4), seeds=1, failed=0)
    theirs = make_sweep(tmp_path / "theirs", ranks=(4, 16), seeds=1, failed=0)
    assert [(t.settings["lora.rank"], t.source) for t in merge_trials({"A": mine, "B": theirs})] == [("1", "A"), ("4", "A"), ("16", "B")]
    (tmp_path / "both").mkdir()
    write_report(mine)
    make_report([mine, publish_study(theirs)], into=tmp_path / "both")
    text = (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    assert states(text) == ["done"] * 3
    links = re.findall(r'"link": ?"([^"]+)"', text)
    assert len(links) == 3 and all((tmp_path / "both" / link).is_file() for link in links), "none leads to where the bundle was opened"
    assert re.findall(r'"source": ?"([^"]+)"', text) == ["mine", "mine", "theirs.zip"]
    page = (tmp_path / "both" / links[2]).read_text(encoding="utf-8")
    assert 'href="../report.html"' in page and "data:image/png" in page


def test_conflicting_results_of_one_identity_are_shown_as_such(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    mine = make_sweep(tmp_path / "mine", ranks=(1, 4), seeds=1, failed=0)
    theirs = make_sweep(tmp_path / "theirs", ranks=(1, 4), seeds=1, failed=0)
    path = theirs / "rank-4-0" / "result.json"
    record = json.loads(path.read_text())
    for metric in record["metrics"]:
        if (metric["metric"], metric["scorer"], metric["stage"], metric["class"]) == ("macro_f1", "gate", "before filtering", None):
            metric["value"], own = 0.25, metric["value"]
    path.write_text(json.dumps(record))
    one, four = merge_trials({"A": mine, "B.zip": theirs})
    assert one.problem == "" and four.f1_gate and four.f1_gate.value == own
    assert four.problem == f"B.zip has another result of the same identity: macro-F1 before filtering, gate 0.250 instead of {own:.3f}"


def test_an_image_that_was_changed_since_its_stage_made_it_is_not_published(make_sweep: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "rank", ranks=(1, 4), seeds=1)
    trial, name = folder / "rank-1-0", "grids/accepted.png"

    def make(place: Path) -> None:
        (place / "grids").mkdir()
        (place / name).write_bytes((trial / name).read_bytes())

    StageStore(tmp_path / STAGES).build("evaluate", "0123456789ab", {}, make)
    manifest = json.loads((trial / "manifest.json").read_text())
    manifest["plan"] = {"stages": [{"name": "evaluate", "identity": "0123456789ab"}]}
    (trial / "manifest.json").write_text(json.dumps(manifest))
    publish_study(folder).unlink()
    content = bytearray((trial / name).read_bytes())
    content[-20] ^= 1
    (trial / name).write_bytes(content)
    with pytest.raises(RequestError, match=r"rank-1-0/grids/accepted\.png has changed since it was written; run the trial again with"):
        publish_study(folder)
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".rank*"))


@pytest.mark.parametrize(("harm", "status", "told"), [("fill", 1, "No space left"), ("make_read_only", 2, "Read-only file system")])
def test_a_bundle_or_page_that_cannot_be_written_leaves_nothing(
    make_sweep: Callable[..., Path], tmp_path: Path, small_disk, capsys: pytest.CaptureFixture[str], harm: str, status: int, told: str
) -> None:
    folder, disk = make_sweep(tmp_path / "rank", ranks=(1, 4), seeds=1), small_disk(tmp_path / "disk")
    bundle = publish_study(folder)
    capsys.readouterr()
    getattr(disk, harm)()
    for words in (["publish", str(folder), "--into", str(disk.place / "a.zip")], ["report", str(bundle), "--into", str(disk.place)]):
        assert dispatch(words) == status
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and told in line
        assert [path.name for path in disk.place.iterdir() if path.name != "filler"] == []


def test_a_bundle_that_has_no_room_to_be_opened_is_not_called_damaged(
    make_sweep: Callable[..., Path], tmp_path: Path, small_disk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, disk = publish_study(make_sweep(tmp_path / "rank", ranks=(1, 4), seeds=1)), small_disk(tmp_path / "disk")
    (tmp_path / "page").mkdir()
    disk.fill()
    monkeypatch.setattr(tempfile, "tempdir", str(disk.place))
    capsys.readouterr()
    assert dispatch(["report", str(bundle), "--into", str(tmp_path / "page")]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "No space left on device" in told and "no bundle" not in told
