"""From predictions to the report: the code of the stages `ensemble`, `promote` and `evaluate`."""
