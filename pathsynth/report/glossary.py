"""The words and metrics of pages, documentation and ``result.json``, each explained once: ``glossary.yaml`` beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from omegaconf import OmegaConf
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Term:
    """A word or a metric, and what it means.

    ``key``: of a metric, its name in ``result.json``. ``name`` stands in sentences and titles, ``short`` heads a column. ``text``: a
    plain sentence, for a tooltip. ``low`` and ``high``: the range of values (None: no limit on that side). ``better``: None: neither, or it
    depends. ``interval``: how the 95% interval is made, empty: there is none. ``source``: where the formula was published.
    """

    key: str
    kind: Literal["metric", "term"]
    name: str
    short: str
    text: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    better: Literal["higher", "lower"] | None = None
    interval: str = ""
    source: str = ""


@cache
def load_glossary() -> Mapping[str, Term]:
    """All terms by key: the metrics first, in the order of the file.

    Raises:
        pydantic.ValidationError: the file has an entry that is no :class:`Term`.
    """
    record = OmegaConf.to_container(OmegaConf.load(_FILE))
    assert isinstance(record, dict)
    kinds: dict[str, Literal["metric", "term"]] = {"metrics": "metric", "terms": "term"}
    terms = [_term(key, kind, entry) for part, kind in kinds.items() for key, entry in record[part].items()]
    return {term.key: term for term in terms}


def _term(key: str, kind: Literal["metric", "term"], entry: dict) -> Term:
    return Term(key=key, kind=kind, **{"short": entry.get("name"), **entry})


def metric_terms() -> tuple[Term, ...]:
    """Those of the metrics in ``result.json``."""
    return tuple(term for term in load_glossary().values() if term.kind == "metric")
