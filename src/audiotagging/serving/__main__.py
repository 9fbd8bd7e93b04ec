"""`python -m audiotagging.serving` is `audiotagging serve` where there is only the library, as in an image."""

import logging
import sys

from audiotagging.base.gate import prepare_process, through

if __name__ == "__main__":
    prepare_process()  # before what takes seconds to import
    from audiotagging.base.arguments import Parser
    from audiotagging.serving.command import add_arguments, run

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = Parser(prog="python -m audiotagging.serving", description="Tag sounds over HTTP.")
    add_arguments(parser)
    sys.exit(through(lambda: run(parser.parse_args())))
