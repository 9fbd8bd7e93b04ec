"""From sources of data to spectrograms: the stages `ingest` and `preprocess`, and the image `data`."""
