"""What the tests of the supervisor call in processes of their own, which start quickly without torch."""

import logging
import os
import signal
import sys
import time


def attempt(folder, endings):
    """End as `endings` says of this try, which is numbered by the files in the folder."""
    number = len(list(folder.iterdir()))
    (folder / str(number)).touch()
    ending = endings[min(number, len(endings) - 1)]
    if isinstance(ending, signal.Signals):
        os.kill(os.getpid(), ending)
    elif isinstance(ending, Exception):
        raise ending
    elif ending == "torch":
        import torch

        raise torch.AcceleratorError("CUDA error: unspecified launch failure")


def write_a_last_checkpoint(folder):
    """Work until SIGTERM, as a training does, then write something and end as one that was told to."""

    def finish(*_):
        time.sleep(0.3)
        (folder / "checkpoint").touch()
        sys.exit(143)

    signal.signal(signal.SIGTERM, finish)
    (folder / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


def say(folder):
    logging.getLogger("audiotagging").info("epoch 1")
    print("printed")


def train_and_be_killed_once(marker, **arguments):
    """Train, in the first try until the end of the second epoch, before its checkpoint is written."""
    from audiotagging.training.loop import TrainingRun
    from audiotagging.training.train import train_row

    finish_epoch = TrainingRun.finish_epoch

    def killed(run):
        finish_epoch(run)
        if len(run.history) == 2 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    TrainingRun.finish_epoch = killed
    train_row(**arguments)
