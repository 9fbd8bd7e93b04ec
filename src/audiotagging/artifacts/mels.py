"""The height of a spectrogram, for modules that need no Parquet."""

MELS = 128
