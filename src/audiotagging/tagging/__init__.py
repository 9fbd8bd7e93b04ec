"""Tags any sound file with a trained ensemble. No stage imports it."""
