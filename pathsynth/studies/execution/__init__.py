"""A trial as it runs: the Hydra job, supervision, the process of the trial with its stages, launchers, and how all of them stop."""
