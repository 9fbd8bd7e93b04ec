"""From sources of data to spectrograms: the code of the stages `ingest` and `preprocess`."""
