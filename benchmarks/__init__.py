"""Measures the gain of the project's fast code: `python -m benchmarks [NAME ...]` prints one table.

Each module has the rows of one stage, in a dictionary `ROWS` from names to functions. `frame.py` has what they share.
"""
