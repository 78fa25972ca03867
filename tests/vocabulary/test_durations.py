"""Times are short enough to read at a glance."""

import pytest

from pathsynth.vocabulary.durations import format_duration


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"),
        (0.26, "0.26 s"),
        (9.44, "9.4 s"),
        (41.2, "41 s"),
        (59.4, "59 s"),
        (59.7, "1 min"),
        (61, "1 min"),
        (185, "3 min"),
        (3599, "1 h 0 min"),
        (12000, "3 h 20 min"),
        (86400, "1 d 0 h"),
        (190000, "2 d 4 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds, text):
    assert format_duration(seconds) == text
