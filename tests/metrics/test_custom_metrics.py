"""What a metric of the user's own becomes: records, absences with their reasons, or a line that names it."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from pathsynth import EvaluationData, ImageSample, MetricValue, RealSample, StageError
from pathsynth.ledger.records import Metric, Missing
from pathsynth.metrics.custom_metrics import RecordContext, measure_all

EMPTY = ImageSample(np.empty((0, 1, 1, 3), np.uint8), np.empty(0, int), np.empty((0, 2)), np.empty((0, 2)))
DATA = EvaluationData(EMPTY, EMPTY, RealSample(np.empty((0, 1, 1, 3), np.uint8), np.empty(0, int)), ("mucus", "debris"), 5)
CONTEXT = RecordContext("val", "canonical", "phantom", 5)
BEFORE, AFTER = "before filtering", "after filtering"


class Giving:
    def __init__(self, found) -> None:
        self.found = found

    def measure(self, data):
        assert data is DATA
        return self.found


own_metric = partial(Metric, data="phantom", seed=5)


def measured(found) -> tuple[list[Metric], list[Missing]]:
    return measure_all({"mine": Giving(found)}, DATA, CONTEXT)


def test_a_value_is_a_record_that_says_what_it_is_of():
    values = [
        MetricValue(np.float32(0.5), 0.25, np.float64(0.75), np.int64(9)),
        MetricValue(2, None, None, 4, unit="slot", stage=BEFORE, class_="mucus", part="most"),
        MetricValue(0.1, 0.0, 0.2, 8, stage=None),
    ]
    assert measured(values) == (
        [
            own_metric(
                metric="mine", value=0.5, low=0.25, high=0.75, n=9, unit="image", split="generated", stage=AFTER, prompts="canonical"
            ),
            own_metric(
                metric="mine_most", value=2.0, n=4, unit="slot", class_="mucus", split="generated", stage=BEFORE, prompts="canonical"
            ),
            own_metric(metric="mine", value=0.1, low=0.0, high=0.2, n=8, unit="image", split="val"),
        ],
        [],
    )
    assert measured(values[0])[0] == measured(values[:1])[0], "one value needs no list"


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        (MetricValue(math.nan, None, None, 0, reason="no image"), Missing("mine after filtering", "no image")),
        (MetricValue(math.nan, 0, 1, 3, class_="mucus"), Missing("mine after filtering mucus", "the metric gave nan")),
        (MetricValue(math.inf, 0, 1, 3, part="x", stage=BEFORE), Missing("mine_x before filtering", "the metric gave inf")),
        (MetricValue(0.5, math.nan, 1, 3), Missing("mine after filtering", "the metric gave an interval from nan to 1")),
    ],
)
def test_what_is_no_number_is_missing_with_the_reason(value, missing):
    assert measured(value) == ([], [missing])


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (0.5, "gave float; return a pathsynth.MetricValue"),
        (None, "gave NoneType"),
        ([MetricValue(1, 0, 1, 2), 0.5], "gave list"),
        (MetricValue(None, None, None, 3), "gave value=None; give a number"),
        (MetricValue(0.5, "0", 1, 3), "gave low='0'; give a number, or None"),
        (MetricValue(0.5, 0, 1, 2.5), "gave n=2.5"),
        (MetricValue(0.5, 0, 1, -1), "gave n=-1"),
        (MetricValue(0.5, 0, 1, 3, stage="after"), "gave stage='after'; give 'before filtering', 'after filtering', or None"),
        (MetricValue(0.5, 0, 1, 3, class_="mucous"), "gave class_='mucous'; give one of mucus, debris, or None"),
        (MetricValue(0.5, 0, 1, 3, unit=""), "gave unit=''"),
        ([MetricValue(0.5, 0, 1, 3), MetricValue(0.6, 0, 1, 3)], "two values of the same stage and class"),
    ],
)
def test_what_is_no_record_is_reported_with_the_metrics_name(found, fault):
    with pytest.raises(StageError) as failed:
        measured(found)
    assert f"the metric evaluate.metrics.mine ({__name__}.Giving)" in str(failed.value)
    assert fault in str(failed.value) and "\n" not in str(failed.value)


def test_a_metric_that_fails_is_named_with_what_it_raised():
    class Failing:
        def measure(self, data):
            return data.before.images[3]

    with pytest.raises(StageError, match=r"evaluate.metrics.bad \(.*Failing\) failed \(IndexError: .*\); correct its measure"):
        measure_all({"bad": Failing()}, DATA, CONTEXT)
