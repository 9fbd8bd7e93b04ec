"""Says how a training is going: its epoch, speed, loss, last lwlrap and the time that is left."""

import logging
import math
import time

from audiotagging.base.progress import Pace
from audiotagging.base.wording import duration, number, pluralize
from audiotagging.training.loop import TrainingRun

logger = logging.getLogger(__name__)


class TrainingProgress:
    """Logs what is going to be trained, a line about it from time to time, and a summary at the end."""

    def __init__(self, run: TrainingRun) -> None:
        """Start with the present step of the run, which may have resumed from a checkpoint."""
        self._run, self._pace = run, Pace()
        self._start, self._first, self._seconds = time.monotonic(), run.step, run.seconds
        member = run.member
        self._epochs = member.cycles * member.epochs
        logger.info(
            "training on %s: %s of %s of %s",
            *(pluralize(len(run.data.training), "clip"), pluralize(self._epochs, "epoch")),
            *(pluralize(member.epoch_size, "batch"), pluralize(member.batch_size, "crop")),
        )

    def after_step(self) -> None:
        """Log a line if it is time, or the summary after the last step."""
        run = self._run
        if run.step == run.steps:
            logger.info("trained %s, %s", pluralize(self._epochs, "epoch"), self._figures())
        elif self._pace.due():
            epoch = math.ceil(run.step / run.member.epoch_size)
            rate = (time.monotonic() - self._start) / (run.step - self._first)
            left = duration(rate * (run.steps - run.step))
            logger.info("epoch %d of %d, %s, %s left", epoch, self._epochs, self._figures(), left)

    def _figures(self) -> str:
        """Return the speed since the start, the mean loss of this epoch, and the last lwlrap if there is one."""
        run = self._run
        crops = run.member.batch_size * (run.step - self._first) / (run.seconds - self._seconds)
        loss = run.losses[: (run.step - 1) % run.member.epoch_size + 1].mean()
        scores = [row["lwlrap"] for row in run.history if not math.isnan(row["lwlrap"])]
        last = [f"lwlrap {score:.3f}" for score in scores[-1:]]
        return ", ".join([f"{number(crops)} crops/s", f"loss {loss:.3g}", *last])
