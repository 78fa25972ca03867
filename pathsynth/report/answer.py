"""A study's verdict in words: a headline of one line, its details, and a line for each effect."""

from __future__ import annotations

from collections.abc import Sequence

from pathsynth.metrics.comparison import Effect, Interval
from pathsynth.report.scores import CLASSIFIER
from pathsynth.report.study_verdict import Configuration, StudyVerdict

NO_SCORE = "No configuration has a macro-F1 before filtering yet."
_NAMED = 8


def headline(verdict: StudyVerdict | None) -> str:
    """One line: "rank=16 leads by 0.030 · not separable from noise over 3 seeds and 9 configurations · 4 more seeds would detect 0.030"."""
    if verdict is None:
        return NO_SCORE
    compared, leader = verdict.comparison, verdict.leader.label
    if compared.lead is None:
        where = "" if verdict.scorer == CLASSIFIER else f" before filtering, by the {verdict.scorer}"
        return f"{leader}: macro-F1 {verdict.leader.mean:.3f}{where}; nothing to compare it with"
    sample = f"{_counted(compared.seeds, 'seed')} and {len(compared.order)} configurations"
    lost = sum(c == verdict.leader for c, _ in verdict.diverged)
    lead = f"{leader} leads by {compared.lead.value:.3f}" + (f" where it did not diverge ({_counted(lost, 'trial')})" if lost else "")
    if compared.noise is None:
        return f"{lead} · whether that is noise cannot be known from {sample}"
    if compared.separable:
        return f"{lead} · separable from noise over {sample}"
    return f"{lead} · not separable from noise over {sample} · {_needed(verdict, compared.lead)}"


def details(verdict: StudyVerdict) -> tuple[str, ...]:
    """Sentences behind the headline: the leader's score, the configurations that may equal it, the noise, and what is left out."""
    sentences = (_score(verdict), _contenders(verdict), _noise(verdict), _diverged(verdict), _apart(verdict))
    return tuple(sentence for sentence in sentences if sentence)


def effect_row(effect: Effect) -> tuple[str, str, str, str]:
    """Setting, which of its values stand against each other, the difference with its interval, and the mean of each value with its n."""
    means = _listed([f"{level.value}: {level.mean:.3f} (n={level.trials})" for level in effect.levels])
    sign = "beyond noise" if effect.plain else "not shown to matter"
    change = f"{bounded(effect.difference)}, {sign if effect.difference.low is not None else 'no interval'}"
    return " × ".join(effect.settings), effect.contrast, change, means


EFFECT_HEADS = ("setting", "contrast", "difference [95% interval]", "mean of each value")


def bounded(interval: Interval) -> str:
    """``0.030 [−0.010, 0.060]``; the value alone where there is no interval."""
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _needed(verdict: StudyVerdict, lead: Interval) -> str:
    more = verdict.comparison.more_seeds
    if more is None:
        return f"no affordable number of seeds would detect {lead.value:.3f}"
    return f"{_counted(more, 'more seed')} would detect {lead.value:.3f}"


def _score(verdict: StudyVerdict) -> str:
    compared = verdict.comparison
    what = "macro-F1" if verdict.scorer == CLASSIFIER else f"macro-F1 before filtering by the {verdict.scorer}"
    over = f"{_counted(len(verdict.leader.scores), 'seed')}, {verdict.leader.n:,} images"
    if len(compared.order) == 1:
        return f"Its {what} is {bounded(compared.score) if compared.score else f'{verdict.leader.mean:.3f}'} ({over})."
    if compared.score is None:
        return (
            f"Its {what}, {verdict.leader.mean:.3f} ({over}), is biased upward, because it was chosen among {len(compared.order)} by the "
            "same score. More seeds would show by how much."
        )
    assert compared.lead is not None
    return (
        f"Its {what} is {bounded(compared.score)}, corrected because it was chosen among {len(compared.order)} by the same score "
        f"(observed: {verdict.leader.mean:.3f}; {over}). Its lead over the others is {bounded(compared.lead)}."
    )


def _contenders(verdict: StudyVerdict) -> str:
    compared = verdict.comparison
    if compared.noise is None:
        return ""
    others = verdict.contenders[1:]
    if not others:
        return f"Each of the {len(compared.order) - 1} other configurations can be distinguished from it."
    return f"{len(others)} of the {len(compared.order) - 1} others cannot be distinguished from it: {_named(others)}."


def _noise(verdict: StudyVerdict) -> str:
    compared = verdict.comparison
    if compared.noise is None:
        return ""
    sentence = f"A trial scatters by {compared.noise:.3f} around its configuration and seed ({compared.freedom} degrees of freedom)"
    return f"{sentence}; plainly noisier, and compared by their own noise: {_named(verdict.noisy)}." if verdict.noisy else f"{sentence}."


def _diverged(verdict: StudyVerdict) -> str:
    """Such trials count like failed ones, and are named."""
    trials = [f"{c.label}, seed={seed} ({c.scores[seed]:.3f})" for c, seed in verdict.diverged]
    return f"Left out because the trial diverged: {_listed(trials)}." if trials else ""


def _apart(verdict: StudyVerdict) -> str:
    return f"Not compared because they share no seed with the rest: {_named(verdict.apart)}." if verdict.apart else ""


def _named(configurations: Sequence[Configuration]) -> str:
    return _listed([c.label for c in configurations])


def _listed(names: Sequence[str]) -> str:
    return "; ".join([*names[:_NAMED], *([f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else [])])


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
