"""Metrics as tests need them: macro F1 of the first attempts by the gate, unless a test says otherwise."""

from __future__ import annotations

from functools import partial

from pathsynth.ledger.records import Metric

OF_GENERATED = {"unit": "image", "split": "generated", "stage": "before filtering", "scorer": "gate", "prompts": "canonical"}
first_attempts_metric = partial(Metric, metric="macro_f1", n=90, **OF_GENERATED, data="none", seed=0)
