"""The stages of a trial, one file each: what its identity hashes, its parents, how it is built, what the trial's folder shows of it."""
