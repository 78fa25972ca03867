"""What a terminal shows of work: the stages of a trial, and the line that says what a command is doing. Loads no torch."""
