"""Learning curves and students of an ensemble: what a person tries beside the pipeline. No stage imports it."""
