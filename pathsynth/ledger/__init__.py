"""What is kept: identities, seeds, stages on disk, and the records that results are made of. No torch."""
