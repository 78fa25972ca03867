"""One glossary explains what pages, documentation and result.json name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pathsynth.evaluation.classifier_scores import _common_errors
from pathsynth.ledger.records import load_result
from pathsynth.metrics.agreement import agreement, macro_interval, wilson
from pathsynth.report.glossary import load_glossary, metric_terms
from pathsynth.report.measures import CLASS_MEASURES, MEASURES, PANEL_MEASURES
from pathsynth.training.score_classifier import ClassifierScores
from pathsynth.vocabulary.labels import COLORECTAL

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "pathsynth" / "assets" / "tissue"


def metrics_without_a_term(metrics) -> set[str]:
    return {m.metric for m in metrics} - {term.key for term in metric_terms()}


def test_the_shipped_result_has_only_known_metrics_within_their_ranges():
    metrics = load_result(SHIPPED).metrics
    assert metrics_without_a_term(metrics) == set()
    terms = load_glossary()
    for m in metrics:
        low, high = terms[m.metric].low, terms[m.metric].high
        assert (low is None or low <= m.value) and (high is None or m.value <= high), m
        assert terms[m.metric].interval or m.low is None, f"{m.metric} has an interval, and the glossary does not say which"


def test_all_scores_of_classifiers_have_a_term():
    labels, wrong = np.arange(27) % 9, np.array([True] * 2 + [False] * 25)
    shown = np.where(wrong, (labels + 1) % 9, labels)
    macro = macro_interval(labels, shown, 9, seed=0)
    scores = ClassifierScores("val", 27, agreement(labels, shown, 9), wilson(25, 27), macro, 0.9, 0.1, 0.2, wrong, np.eye(9)[shown], [])
    records = scores.records(COLORECTAL, "toy", 0, "gate")
    records += _common_errors({"gate": (scores,), "judge": (scores,)}, "val", "toy", 0)
    assert {"auc", "ece_uncalibrated", "error_correlation", "f1"} <= {m.metric for m in records}
    assert metrics_without_a_term(records) == set()


def test_what_a_study_page_compares_has_a_term_and_the_same_better_side():
    terms, signs = load_glossary(), {"higher": 1, "lower": -1, None: 0}
    for measure in (*MEASURES, *PANEL_MEASURES):
        term = terms[measure.key.split("/")[0]]
        assert signs[term.better] == measure.better, measure.name
    assert {measure.metric for measure in CLASS_MEASURES} <= terms.keys()


def test_the_page_on_scores_names_every_metric_of_a_trial():
    text = (ROOT / "docs" / "explanation" / "evaluation.md").read_text(encoding="utf-8")
    of_trials = {term.key for term in metric_terms()} - {"psnr", "held_out_loss"}
    assert {key for key in of_trials if not key.startswith("macro_") and f"`{key}`" not in text} == set()


def test_terms_are_plain_sentences_for_a_tooltip():
    terms = load_glossary().values()
    assert len({term.name for term in terms}) == len(terms)
    for term in terms:
        assert term.text.endswith(".") and len(term.text) <= 180, term.key
        assert len(term.short) <= len(term.name), term.key
