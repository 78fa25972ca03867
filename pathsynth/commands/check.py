"""`pathsynth check data=folder data.root=… [--json]`: what is in a data set, and how a run would read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from pathsynth.commands.composition import composed
from pathsynth.config import DataConfig, from_hydra
from pathsynth.config.groups import require_group
from pathsynth.data.survey import Survey, survey
from pathsynth.ledger.versions import cores
from pathsynth.stages.decode import decoding_progress
from pathsynth.studies.trials.closing import EXIT_DONE, EXIT_FAILED
from pathsynth.terminal.tables import print_table
from pathsynth.vocabulary.labels import slug_words

_COMPOSED = "classify"
"""The command with the fewest groups beside the data."""
_SHOWN = 8


def check_data(overrides: Sequence[str], as_json: bool) -> int:
    """Decode all images of a data set and print what is there; 1 where a run would refuse it.

    Raises:
        RequestError: the overrides cannot be composed, or there is nothing to look at.
    """
    config = _data_config(overrides)
    with decoding_progress() as count:
        survey_result = survey(config, cores(), count)
    if as_json:
        print(json.dumps(survey_result.to_json(), indent=2, ensure_ascii=False))
    else:
        _print(survey_result)
    return EXIT_FAILED if survey_result.faults else EXIT_DONE


def _data_config(overrides: Sequence[str]) -> DataConfig:
    return require_group(from_hydra(composed(_COMPOSED, overrides)).data, "data")


def _print(survey_result: Survey) -> None:
    print_table(_table(survey_result))
    for name, counts in _properties(survey_result).items():
        print(f"{name}: {_format_counts(counts)}")
    for image in survey_result.images:
        if image.fault:
            print(f"unreadable: {image.fault}")
    for copies in survey_result.copies:
        where = f" across {copies.across}" if copies.across else ""
        print(f"equal in {copies.by}{where}: {', '.join(copies.names)}")
    for note in survey_result.notes:
        print(f"note: {note}")
    for fault in survey_result.faults:
        print(f"a run would refuse this: {fault}")


def _table(survey_result: Survey) -> Table:
    """Images by class and split, with their sum."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    for split in (*survey_result.splits, "all"):
        table.add_column(split or "images", justify="right", no_wrap=True)
    rows = survey_result.by_class
    for label, counts in rows.items():
        table.add_row(escape(slug_words(label)), *(f"{n:,}" for n in (*counts.values(), sum(counts.values()))))
    sums = [sum(counts[split] for counts in rows.values()) for split in survey_result.splits]
    table.add_row("all", *(f"{n:,}" for n in (*sums, sum(sums))))
    return table


def _properties(survey_result: Survey) -> Mapping[str, Mapping[Any, int]]:
    """Counts of sizes, modes, bits, orientations, transparency and pages; what all images have in the usual way is left out."""
    return {
        "sizes": survey_result.counted(lambda h: f"{h.width}×{h.height}"),
        "modes": survey_result.counted(lambda h: h.mode),
        "bits a channel": survey_result.counted(lambda h: h.bits),
        "EXIF orientations": survey_result.counted(lambda h: h.orientation),
        "pages": survey_result.counted(lambda h: h.pages),
    }


def _format_counts(counts: Mapping[Any, int]) -> str:
    shown = [f"{value} ({n:,})" for value, n in list(counts.items())[:_SHOWN]]
    return ", ".join([*shown, *([f"{len(counts) - _SHOWN} others"] if len(counts) > _SHOWN else [])]) or "none"
