"""Writes scores.json and the report: the stage `evaluate`."""
