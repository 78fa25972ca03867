"""Trainings by Lightning: fine-tune, classifiers and embedded base, with their batches, optimizers, schedules and callbacks."""
