"""Scores of a trial's images: those of its result, and those of a panel of judges."""
