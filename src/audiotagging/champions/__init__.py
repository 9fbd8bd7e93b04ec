"""Which ensemble is in use: the stages `rescore` and `promote`."""
