"""Sources of data to a folder of spectrograms: the stages `ingest` and `preprocess`."""
