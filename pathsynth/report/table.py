"""The closing table of the command line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pathsynth.ledger.records import Metric
from pathsynth.report.classifier_view import main_scores, read_scores
from pathsynth.report.collect import TrialSummary
from pathsynth.report.leaderboard import SCORES, score_columns
from pathsynth.report.overview import is_classifier, is_set
from pathsynth.report.scores import MAIN_SCORES, Cell, shown
from pathsynth.report.set_view import set_counts


def demo_table(trials: Sequence[TrialSummary]) -> Table:
    """A line for each trial: what differs, and its scores.

    These are the main scores and the user's own metrics.
    """
    custom = {key: column for key, column in score_columns(trials).items() if key not in SCORES}
    title = "Do images show the requested class?"
    table = Table(title=title, caption="value [95% interval] n", title_justify="left", caption_justify="left")
    table.add_column("trial")
    for heading in MAIN_SCORES.values():
        table.add_column(heading, justify="right")
    for heading, _ in custom.values():
        table.add_column(Text(heading), justify="right")
    for trial in trials:
        if trial.finished:
            scores = (*(getattr(trial, name) for name in MAIN_SCORES), *(metric(trial) for _, metric in custom.values()))
            table.add_row(Text(trial.label), *(_shown(m) for m in scores))
        else:
            table.add_row(Text(trial.label), Text(f"{trial.state}: {trial.problem}" if trial.problem else trial.state))
    return table


def overview_table(trials: Sequence[TrialSummary]) -> Table:
    """A line for each trial that measures no agreement: what a generated set holds, what a classifier scores, or the trial's state.

    Raises:
        RequestError: the files of one are damaged.
    """
    table = Table(title="What was made", title_justify="left")
    for heading in ("trial", "what it is", "result", "judge"):
        table.add_column(heading)
    for trial in trials:
        if is_set(trial):
            total = set_counts(trial.folder, trial.settings)[-1]
            counts = f"{total.accepted} of {total.asked} images accepted, {total.attempts} attempts"
            table.add_row(Text(trial.label), "generated set", counts, _cell(total.confirmed, " of them confirmed"))
        elif is_classifier(trial):
            accuracy, f1, where = main_scores(read_scores(trial.folder))
            table.add_row(Text(trial.label), "classifier", Text(f"accuracy {_cell(accuracy)}, macro-F1 {_cell(f1)} on {where}"), "")
        else:
            state = f"{trial.state}: {trial.problem}" if trial.problem else trial.state
            table.add_row(Text(trial.label), Text(trial.settings.get("command", "")), Text(state), "")
    return table


def _cell(shown: Cell | None, words: str = "") -> Text:
    """A number as plain text: square brackets are no markup."""
    return Text(f"{shown.value} {shown.interval} n={shown.n}{words}") if shown else Text("–")


def _shown(metric: Metric | None) -> Text:
    """The score as plain text: square brackets are no markup."""
    return Text(shown(metric) if metric else "not measured")
