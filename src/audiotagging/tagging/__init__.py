"""Tags any sound file with a trained ensemble. Its image contains the folders `data` and `training` too."""
