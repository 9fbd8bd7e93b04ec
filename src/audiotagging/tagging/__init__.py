"""Tags for any sound file by a trained ensemble. Needs all that the stages need; no stage imports it."""
