"""Spectrograms to models and their predictions: the stages `select`, `train` and `predict`."""
