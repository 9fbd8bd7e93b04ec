"""Parses shares, for argparse."""

import argparse


def share(text: str) -> float:
    """Parse a share between 0 and 1, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a share between 0 and 1, such as 0.05, found {text!r}")
    return number
