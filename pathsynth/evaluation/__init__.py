"""What a trial's images are worth: the scores that its result holds, and those of a panel of judges."""
