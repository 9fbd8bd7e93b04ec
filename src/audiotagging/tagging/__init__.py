"""Tags any sound file with a trained ensemble."""
