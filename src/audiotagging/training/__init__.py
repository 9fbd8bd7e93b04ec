"""From spectrograms to predictions: the stages `select`, `train` and `predict`, and the image `training`."""
