"""Pathsynth's plugins for Hydra: where the studies are found, and a sweeper that checks before it writes."""
