"""Trains and uses an ensemble of audio taggers: `load` one, and `tag` sounds with it.

The functions here are those of `audiotagging.api`, which is imported when one of them is first used, so that `import
audiotagging` itself takes no time and needs no package.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiotagging.api import (
        Tagger,
        evaluate,
        label_table,
        load,
        lwlrap,
        read_predictions,
        read_scores,
        read_spectrograms,
        spectrogram,
        train,
    )
    from audiotagging.artifacts.spectrogram_shards import Spectrograms
    from audiotagging.base.errors import UserError
else:  # type checkers would take any name for a public one

    def __getattr__(name: str) -> Any:
        """Return a public function or class (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from audiotagging import api

        return getattr(api, name)


__all__ = [
    "Spectrograms",
    "Tagger",
    "UserError",
    "evaluate",
    "label_table",
    "load",
    "lwlrap",
    "read_predictions",
    "read_scores",
    "read_spectrograms",
    "spectrogram",
    "train",
]


def __dir__() -> list[str]:
    return [*globals(), *__all__]
