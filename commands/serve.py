"""Tag sounds over HTTP with the ensemble of a finished run, or with the champion.

Examples:
    audiotagging serve --models OUT
    audiotagging serve --models CHAMPIONS --host 0.0.0.0 --max-seconds 60
"""

from audiotagging.serving.command import add_arguments, run

__all__ = ["add_arguments", "run"]
