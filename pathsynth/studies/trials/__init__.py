"""A trial's folder: its manifest, its state, what came of it; tables and comparisons of many. Reads and writes files only."""
