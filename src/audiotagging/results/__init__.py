"""From predictions to a report: the stages `ensemble`, `promote` and `evaluate`, and the image `results`."""
