"""Trackers: loggers, what they show, whether they can be reached, and how offline runs are sent."""
