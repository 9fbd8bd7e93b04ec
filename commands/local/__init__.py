"""Runs the pipeline on this machine, and shows its progress."""
