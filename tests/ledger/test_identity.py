from __future__ import annotations

import pytest

from pathsynth.ledger.identity import digest, stage_identity

SETTINGS = {"rank": 8, "targets": "attention", "lr": 1e-4, "classes": ["tumour", "stroma"], "ema": None}
PARENTS = {"base": "0123456789ab", "data": "ba9876543210"}
GOLDEN = "7a89baed0ec4"


def test_golden_hash() -> None:
    """Another value here would orphan every stored result."""
    assert stage_identity("adapter", SETTINGS, PARENTS, {}) == GOLDEN


def test_a_setting_at_its_default_is_left_out() -> None:
    assert stage_identity("adapter", {**SETTINGS, "noise_offset": 0.0}, PARENTS, {"noise_offset": 0.0}) == GOLDEN
    assert stage_identity("adapter", {**SETTINGS, "noise_offset": 0.1}, PARENTS, {"noise_offset": 0.0}) != GOLDEN


def test_a_default_of_none_is_a_default_and_an_unlisted_none_is_a_setting() -> None:
    assert stage_identity("adapter", {**SETTINGS, "alpha": None}, PARENTS, {"alpha": None}) == GOLDEN
    assert stage_identity("adapter", {**SETTINGS, "alpha": None}, PARENTS, {}) != GOLDEN


def test_the_order_of_keys_is_irrelevant() -> None:
    settings = dict(reversed(SETTINGS.items()))
    parents = dict(reversed(PARENTS.items()))
    assert list(settings) != list(SETTINGS)
    assert stage_identity("adapter", settings, parents, {}) == GOLDEN
    assert digest({"a": {"x": 1, "y": 2}, "b": 3}) == digest({"b": 3, "a": {"y": 2, "x": 1}})


def test_the_order_of_a_list_matters() -> None:
    assert stage_identity("adapter", {**SETTINGS, "classes": ["stroma", "tumour"]}, PARENTS, {}) != GOLDEN


@pytest.mark.parametrize(
    "parents",
    [
        {},
        {"base": "0123456789ab"},
        {"base": "0123456789ab", "data": "ba9876543211"},
        {"base": "ba9876543210", "data": "0123456789ab"},
    ],
)
def test_parents_matter(parents: dict[str, str]) -> None:
    assert stage_identity("adapter", SETTINGS, parents, {}) != GOLDEN


def test_the_stage_and_every_setting_matter() -> None:
    others = [stage_identity("samples", SETTINGS, PARENTS, {})]
    others += [stage_identity("adapter", {**SETTINGS, key: "other"}, PARENTS, {}) for key in SETTINGS]
    assert len({GOLDEN, *others}) == 2 + len(SETTINGS)


def test_a_setting_is_not_taken_for_a_parent() -> None:
    assert stage_identity("adapter", {"base": "a"}, {}, {}) != stage_identity("adapter", {}, {"base": "a"}, {})
