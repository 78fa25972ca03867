"""The closing table of the command line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pathsynth.ledger.records import Metric
from pathsynth.report.collect import TrialSummary
from pathsynth.report.leaderboard import SCORES, score_columns
from pathsynth.report.scores import interval


def demo_table(trials: Sequence[TrialSummary]) -> Table:
    """A line for each trial: what differs, macro-F1 before filtering by gate and by judge, acceptance, judge accuracy of the accepted,
    and the user's own metrics."""
    own = {key: column for key, column in score_columns(trials).items() if key not in SCORES}
    table = Table(title="Asked for, and given?", caption="value [95% interval] n", title_justify="left", caption_justify="left")
    table.add_column("trial")
    for heading in ("macro-F1 before filtering, gate", "macro-F1 before filtering, judge", "acceptance", "judge accuracy of the accepted"):
        table.add_column(heading, justify="right")
    for heading, _ in own.values():
        table.add_column(Text(heading), justify="right")
    for trial in trials:
        if trial.finished:
            scores = (trial.f1_gate, trial.f1_judge, trial.acceptance, trial.accepted_judge, *(metric(trial) for _, metric in own.values()))
            table.add_row(Text(trial.label), *(_shown(m) for m in scores))
        else:
            table.add_row(Text(trial.label), Text(f"{trial.state}: {trial.problem}" if trial.problem else trial.state))
    return table


def _shown(metric: Metric | None) -> Text:
    """The score as plain text: square brackets are no markup."""
    if metric is None:
        return Text("not measured")
    return Text(" ".join(part for part in (f"{metric.value:.3f}", interval(metric, 2), f"n={metric.n}") if part))
