"""From spectrograms to predictions: the code of the stages `select`, `train` and `predict`."""
