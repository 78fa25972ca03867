"""Reports: what a trial or a study gave, as a page and as a table. Reads files only; no torch."""
