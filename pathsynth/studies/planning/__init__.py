"""Before a trial: what a request stands for, whether it can run, and what of it is there already. No torch."""
