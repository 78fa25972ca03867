import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pathsynth.data import medmnist as reader
from pathsynth.data import medmnist_sets
from pathsynth.data.dataset import Counts
from pathsynth.data.medmnist import PATHMNIST, medmnist_data, medmnist_identity
from pathsynth.ledger.errors import RequestError

Arrays = dict[str, np.ndarray]
COUNTS = {"train": 18, "val": 9, "test": 10}


def arrays(size: int = 28) -> Arrays:
    rng = np.random.default_rng(0)
    made: Arrays = {}
    for split, n in COUNTS.items():
        made[f"{split}_images"] = rng.integers(256, size=(n, size, size, 3), dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(n, dtype=np.uint8) % 9)[:, None]
    return made


def write(folder: Path, content: Arrays, name: str = "pathmnist.npz") -> Path:
    np.savez_compressed(folder / name, **content)
    return folder / name


def refusal(folder: Path, size: int = 28, allow_subset: bool = True, download: bool = False) -> str:
    """The message of the refusal: one line, and it names the file."""
    with pytest.raises(RequestError) as caught:
        medmnist_data(PATHMNIST, folder, size, allow_subset, download).split("train")
    message = str(caught.value)
    assert "\n" not in message and "pathmnist" in message.lower()
    return message


def test_a_subset_reads_back_and_says_what_it_is(tmp_path: Path) -> None:
    content = arrays()
    write(tmp_path, content)
    data = medmnist_data(PATHMNIST, tmp_path, 28, allow_subset=True)
    assert data.name == "PathMNIST subset (18/9/10)"
    for split in COUNTS:
        assert np.array_equal(data.split(split).images, content[f"{split}_images"])
        assert np.array_equal(data.split(split).labels, content[f"{split}_labels"][:, 0])
    assert data.split("val") is data.split("val")


@pytest.mark.parametrize("size", [28, 64, 224])
def test_identity_follows_the_content_and_needs_no_data_set(tmp_path: Path, size: int) -> None:
    name = "pathmnist.npz" if size == 28 else f"pathmnist_{size}.npz"
    content = arrays(size)
    write(tmp_path, content, name)
    first = medmnist_identity(PATHMNIST, tmp_path, size, allow_subset=True)
    data = medmnist_data(PATHMNIST, tmp_path, size, allow_subset=True)
    assert (data.name, data.identity) == first
    content["train_images"][0, 0, 0, 0] ^= 1
    write(tmp_path, content, name)
    assert medmnist_identity(PATHMNIST, tmp_path, size, allow_subset=True).identity != first.identity


def test_counts_take_classes_in_turn_and_make_another_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = arrays()
    content["train_labels"] = np.sort(content["train_labels"], axis=0)
    path = write(tmp_path, content)
    whole = medmnist_data(PATHMNIST, tmp_path, 28, allow_subset=True)
    some = medmnist_data(PATHMNIST, tmp_path, 28, allow_subset=True, counts=Counts(train=11, test=9))
    assert [len(some.split(split)) for split in COUNTS] == [11, 9, 9]
    assert some.split("train").labels.tolist() == [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]
    assert np.array_equal(some.split("train").images[2], content["train_images"][2])
    assert some.name == "PathMNIST subset (11/9/9)"
    assert some.identity != whole.identity
    assert medmnist_identity(PATHMNIST, tmp_path, 28, True, Counts(train=11, test=9)).identity == some.identity
    monkeypatch.setitem(reader.OFFICIAL_MD5, 28, md5(path))
    assert medmnist_data(PATHMNIST, tmp_path, 28, counts=Counts(11, 0, 9)).name == "PathMNIST 28 px, 11/9/9 images"


def test_more_images_than_there_are_is_refused(tmp_path: Path) -> None:
    write(tmp_path, arrays())
    with pytest.raises(RequestError, match=r"has 9 val images, not 10; lower data\.n_val"):
        medmnist_identity(PATHMNIST, tmp_path, 28, True, Counts(val=10))


def test_fewer_images_than_wanted_are_all_where_that_is_allowed(tmp_path: Path) -> None:
    write(tmp_path, arrays())
    same = [Counts(train=11), Counts(train=11, val=10, test=11, allow_fewer=True)]
    wanted, fewer = (medmnist_data(PATHMNIST, tmp_path, 28, True, counts=counts) for counts in same)
    assert (fewer.name, fewer.identity) == (wanted.name, wanted.identity) == ("PathMNIST subset (11/9/10)", wanted.identity)
    assert [len(fewer.split(split)) for split in COUNTS] == [11, 9, 10]
    assert medmnist_identity(PATHMNIST, tmp_path, 28, True, same[1]).identity == wanted.identity


def test_the_official_checksum_gives_the_official_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, arrays())
    monkeypatch.setitem(reader.OFFICIAL_MD5, 28, md5(path))
    assert medmnist_data(PATHMNIST, tmp_path, 28).name == "PathMNIST 28 px"
    assert medmnist_data(PATHMNIST, tmp_path, 28, allow_subset=True).name == "PathMNIST 28 px"


def md5(path: Path) -> str:
    import hashlib

    return hashlib.md5(path.read_bytes()).hexdigest()


def test_another_checksum_is_refused_unless_a_subset_is_allowed(tmp_path: Path) -> None:
    write(tmp_path, arrays())
    message = refusal(tmp_path, allow_subset=False)
    assert "data.allow_subset=true" in message and reader.OFFICIAL_MD5[28] in message


def test_a_missing_file_is_named_with_its_place(tmp_path: Path) -> None:
    assert "pathmnist_64.npz" in refusal(tmp_path, size=64)
    assert str(tmp_path) in refusal(tmp_path)


def test_an_unknown_size_is_refused_with_the_choices(tmp_path: Path) -> None:
    assert "28, 64, 128, 224" in refusal(tmp_path, size=32)


def test_a_file_of_another_size_under_this_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path, arrays(28), "pathmnist_224.npz")
    assert "wanted uint8 (N, 224, 224, 3); use the official file for data.size=224" in refusal(tmp_path, size=224)


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, arrays())
    monkeypatch.setenv("PATHSYNTH_DATA", str(tmp_path))
    assert medmnist_data(PATHMNIST, None, 28, allow_subset=True).name == "PathMNIST subset (18/9/10)"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, share: float) -> None:
    path = write(tmp_path, arrays())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "truncated" in refusal(tmp_path)


def test_damage_inside_the_archive_is_refused_when_read(tmp_path: Path) -> None:
    path = write(tmp_path, arrays())
    damaged = bytearray(path.read_bytes())
    damaged[5000:5400] = b"\0" * 400
    path.write_bytes(bytes(damaged))
    assert "fetch it again" in refusal(tmp_path)


def without(key: str) -> Callable[[Arrays], object]:
    return lambda content: content.pop(key)


def changed(key: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], object]:
    return lambda content: content.update({key: change(content[key])})


def out_of_range(labels: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(labels))[:, None] == 3, 9, labels).astype(np.uint8)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without("val_images"), "no array 'val_images'"),
        (without("test_labels"), "no array 'test_labels'"),
        (changed("train_images", lambda x: x.astype(np.float32)), "train_images is float32"),
        (changed("train_images", lambda x: x[..., 0]), "wanted uint8 (N, 28, 28, 3)"),
        (changed("test_images", lambda x: x[..., :1]), "(10, 28, 28, 1)"),
        (changed("val_images", lambda x: x[:, :27]), "(9, 27, 28, 3)"),
        (changed("val_images", lambda x: x.astype(object)), "val_images is object"),
        (changed("val_images", lambda x: x[:0]), "holds no image"),
        (changed("train_labels", lambda x: x[:, 0]), "train_labels is uint8 (18,)"),
        (changed("train_labels", lambda x: x[:-1]), "wanted integers (18, 1)"),
        (changed("train_labels", lambda x: x.astype(float)), "train_labels is float64"),
        (changed("test_labels", out_of_range), "values 0 to 9"),
        (changed("test_labels", lambda x: x.astype(np.int64) - 1), "values -1 to"),
    ],
)
def test_a_file_of_another_layout_is_refused_with_the_reason(tmp_path: Path, damage: Callable[[Arrays], object], words: str) -> None:
    content = arrays()
    damage(content)
    write(tmp_path, content)
    assert words in refusal(tmp_path)


class TestDownload:
    """The way from an address to a checked file, with files in place of the network."""

    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "remote").mkdir()
        path = write(tmp_path / "remote", arrays())
        table = medmnist_sets._info()
        moved = {**table, "pathmnist": {**table["pathmnist"], "url": path.as_uri()}}
        monkeypatch.setattr(medmnist_sets, "_info", lambda: moved)
        return path

    def test_a_whole_file_arrives(self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(reader.OFFICIAL_MD5, 28, md5(source))
        data = medmnist_data(PATHMNIST, tmp_path / "new", 28, download=True)
        assert (data.name, len(data.split("train"))) == ("PathMNIST 28 px", 18)
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["pathmnist.npz"]

    def test_a_damaged_file_is_not_kept(self, source: Path, tmp_path: Path) -> None:
        assert "damaged" in refusal(tmp_path / "new", download=True)
        assert list((tmp_path / "new").iterdir()) == []

    def test_no_network_is_reported_with_the_remedy(self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*arguments: object, **named: object) -> None:
            raise OSError("network is unreachable")

        monkeypatch.setattr(urllib.request, "urlopen", refuse)
        assert f"put the file in {tmp_path / 'new'}" in refusal(tmp_path / "new", download=True)
        assert list((tmp_path / "new").iterdir()) == []

    def test_a_file_that_is_there_is_not_fetched(self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path, arrays())
        monkeypatch.setattr(reader, "_download", lambda *arguments: pytest.fail("fetched"))
        assert medmnist_data(PATHMNIST, tmp_path, 28, allow_subset=True, download=True).name.startswith("PathMNIST subset")


def test_the_official_checksums_are_those_of_medmnist() -> None:
    info = pytest.importorskip("medmnist").INFO["pathmnist"]
    assert {size: info["MD5" if size == 28 else f"MD5_{size}"] for size in reader.OFFICIAL_MD5} == reader.OFFICIAL_MD5
    assert set(reader.OFFICIAL_MD5) == {28, 64, 128, 224}


def test_real_images_read(request: pytest.FixtureRequest) -> None:
    root = Path(os.environ.get("PATHSYNTH_DATA") or request.config.rootpath.parent / "shared" / "data")
    if not (root / "pathmnist.npz").is_file():
        pytest.skip(f"no pathmnist.npz in {root}; set PATHSYNTH_DATA to its folder")
    data = medmnist_data(PATHMNIST, root, 28, allow_subset=True)
    assert data.name.startswith("PathMNIST")
    assert set(data.split("test").labels) == set(range(9))
