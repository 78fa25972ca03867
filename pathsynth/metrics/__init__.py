"""Pure functions from arrays to numbers with their intervals."""
