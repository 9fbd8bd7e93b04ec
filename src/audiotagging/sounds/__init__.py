"""Sound files to samples, and samples to spectrograms."""
