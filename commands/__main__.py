"""`python -m commands` is `audiotagging` where there is no pipeline, as in the image `onnx`."""

import sys

from audiotagging.base.gate import prepare_process

if __name__ == "__main__":
    prepare_process()  # before what takes seconds to import
    from commands import main

    sys.exit(main({}))
