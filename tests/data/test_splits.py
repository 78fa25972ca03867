"""Groups stay in one split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathsynth.data.dataset import SPLITS
from pathsynth.data.folder import Shares, folder_data, folder_splits
from pathsynth.data.splits import cut_by_group, group_half
from pathsynth.ledger.errors import RequestError

PATTERN = r"regex:slide(\d+)_"


def slides(root: Path, slides_each: int, tiles: int = 3) -> None:
    for label, name in enumerate(("a", "b")):
        (root / name).mkdir(parents=True)
        for slide in range(slides_each):
            for tile in range(tiles):
                image = np.full((8, 8, 3), (100 * label + slide, tile, 0), dtype=np.uint8)
                Image.fromarray(image).save(root / name / f"slide{label}{slide:02d}_{tile}.png")


def test_slides_never_straddle_splits_or_halves(tmp_path):
    slides(tmp_path / "own", 12)
    data = folder_data(tmp_path / "own", 8, shares=Shares(0.2, 0.2, 3), group=PATTERN)
    seen = [set(data.split(split).images[:, 0, 0, 0].tolist()) for split in SPLITS]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 24
    assert [len(own) for own in seen] == [14, 5, 5] or all(len(own) >= 4 for own in seen[1:])
    halves = [data.part(part) for part in ("a", "b")]
    first, second = (set(half.images[:, 0, 0, 0].tolist()) for half in halves)
    assert not first & second and first | second == seen[0]
    assert all(set(half.labels) == {0, 1} for half in halves)
    assert data.name.endswith(", split by group)")


def test_the_cut_follows_the_seed_and_is_part_of_the_identity(tmp_path):
    slides(tmp_path / "own", 12)

    def cut(seed: int, group: str | None = PATTERN):
        return folder_data(tmp_path / "own", 8, shares=Shares(0.2, 0.2, seed), group=group)

    assert cut(3).identity == cut(3).identity
    assert len({cut(3).identity, cut(4).identity, cut(3, None).identity}) == 3
    assert np.array_equal(cut(3).part("a").images, cut(3).part("a").images)


def test_a_table_tells_groups_too(tmp_path):
    slides(tmp_path / "own", 6)
    files = sorted((tmp_path / "own").rglob("*.png"))
    lines = ["file,group", *(f"{p.relative_to(tmp_path / 'own').as_posix()},{p.name[:8]}" for p in files)]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    by_table = folder_splits(tmp_path / "own", group=f"csv:{tmp_path / 'groups.csv'}")
    by_name = folder_splits(tmp_path / "own", group=r"regex:slide\d+")
    assert {s: [f.path for f in own] for s, own in by_table.files.items()} == {s: [f.path for f in own] for s, own in by_name.files.items()}
    (tmp_path / "groups.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(RequestError, match=r"gives b/slide105_2\.png no group"):
        folder_splits(tmp_path / "own", group=f"csv:{tmp_path / 'groups.csv'}")
    (tmp_path / "groups.csv").write_text("name,patient\n")
    with pytest.raises(RequestError, match="has no column file; data.group=csv: needs"):
        folder_splits(tmp_path / "own", group=f"csv:{tmp_path / 'groups.csv'}")


def test_groups_that_cannot_be_kept_apart_are_refused(tmp_path):
    slides(tmp_path / "few", 3)
    with pytest.raises(RequestError, match=r"the class a has images of 3 groups, 4 are needed \(test, val, two halves of train\)"):
        folder_splits(tmp_path / "few", group=PATTERN)
    with pytest.raises(RequestError, match=r"gives a/slide000_0\.png no group; every image needs one"):
        folder_splits(tmp_path / "few", group="regex:patient")


def test_a_group_in_two_splits_of_the_folder_is_refused(tmp_path):
    for split in SPLITS:
        slides(tmp_path / split, 2)
    for split in ("val", "test"):
        for path in sorted((tmp_path / split).rglob("*.png")):
            Image.new("RGB", (8, 8), (SPLITS.index(split) * 50, *path.stat().st_ino.to_bytes(9, "big")[-2:])).save(path)
    with pytest.raises(RequestError, match="group 000 has images in train and val"):
        folder_splits(tmp_path, group=PATTERN)


def test_cuts_are_stratified_and_near_their_shares():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    labels = (groups % 3 + (rng.random(600) < 0.1)) % 3
    cut = cut_by_group(labels, groups, {"test": 0.2, "val": 0.2}, 0, ("a", "b", "c"))
    assert sorted(np.concatenate(list(cut.values())).tolist()) == list(range(600))
    for split, share in (("test", 0.2), ("val", 0.2), ("train", 0.6)):
        assert abs(len(cut[split]) / 600 - share) < 0.05
        assert (np.abs(np.bincount(labels[cut[split]]) / np.bincount(labels) - share) < 0.1).all()
    half = group_half(labels, groups, "part", "identity")
    assert not set(groups[half]) & set(groups[~half]) and 250 <= half.sum() <= 350
