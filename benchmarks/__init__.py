"""What the project's fast paths gain: `python -m benchmarks [NAME ...]` prints one table.

A module holds the rows of one stage, in a table `ROWS` from name to function; `frame.py` has what they share.
"""
