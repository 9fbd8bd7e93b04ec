"""Tags any sound file with a trained ensemble. It needs the packages of all stages, and no stage imports it."""
