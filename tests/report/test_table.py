from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

from rich.console import Console

from pathsynth.report.collect import collect_trials
from pathsynth.report.table import demo_table


def printed(folder: Path) -> list[str]:
    out = StringIO()
    Console(file=out, width=200, no_color=True).print(demo_table(collect_trials(folder)))
    return out.getvalue().splitlines()


def test_a_line_for_each_trial_with_values_intervals_and_n(study: Path) -> None:
    rows = [line for line in printed(study) if "lora.rank" in line]
    cells = [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]
    assert cells[0] == [
        "lora.rank=4",
        "0.687 [0.644, 0.730] n=450",
        "0.646 [0.602, 0.690] n=450",
        "0.698 [0.655, 0.740] n=450",
        "0.918 [0.893, 0.944] n=441",
    ]
    assert cells[1][0] == "lora.rank=16"
    assert cells[2][:2] == ["lora.rank=64", "failed: the loss became nan"]


def test_markup_in_names_is_only_text(make_trial: Callable[..., Path], tmp_path: Path) -> None:
    make_trial(tmp_path / "s" / "one", name="[red]hot[/red]")
    assert any("[red]hot[/red]" in line for line in printed(tmp_path / "s"))
