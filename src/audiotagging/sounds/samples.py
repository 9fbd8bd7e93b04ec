"""Samples that a caller has in memory, as a sound file there, so that they are treated like those of any file."""

from io import BytesIO
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import ArrayLike

from audiotagging.base.errors import UserError
from audiotagging.sounds.streams import RATES


def as_file(samples: ArrayLike, rate: float) -> BinaryIO:
    """Return samples as an open file.

    Args:
        samples: Floating-point, full scale being 1, shape (samples,).
        rate: Samples per second, a whole number.

    Raises:
        UserError: If they are not one channel of floating-point samples, or if there cannot be such a rate.

    Examples:
        >>> soundfile.info(as_file(np.zeros(22_050), 22_050)).duration
        1.0
    """
    found = np.asarray(samples)
    if found.ndim != 1:
        raise UserError(f"samples: expected one channel, shape (samples,), found shape {found.shape}; average channels")
    if not np.issubdtype(found.dtype, np.floating):
        raise UserError(
            f"samples: expected floating-point numbers, full scale being 1, found {found.dtype}; divide integers by "
            "their full scale, such as 32768 for int16"
        )
    lowest, highest = RATES
    if not (isinstance(rate, int | float | np.number) and lowest <= rate <= highest and int(rate) == rate):
        raise UserError(f"rate: expected {lowest} to {highest} samples per second, found {rate!r}")
    file = BytesIO()
    soundfile.write(file, found.astype(np.float32), int(rate), format="RF64", subtype="FLOAT")  # of any length
    file.seek(0)
    return file
