"""Scores, their intervals, and how clips are divided: numbers from numbers, without files."""
