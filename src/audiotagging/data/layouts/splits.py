"""The names of splits: training, validation and test clips, in columns, folders and names of tables.

Here, validation clips are training clips in fold 0, so that `--folds 0` holds them out as the data set means it.
"""

import re
from collections.abc import Iterable

from audiotagging.base.wording import pluralize

TRAIN, VALIDATION, TEST = "train", "validation", "test"
VALIDATION_FOLD = 0
WORDS = {
    **dict.fromkeys(("train", "training", "dev", "development", "curated"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating"), VALIDATION),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "evaluate", "submission"), TEST),
}


def split_named(word: str) -> str | None:
    """Return the split that a word names, or None.

    Examples:
        >>> split_named("Valid"), split_named("5")
        ('validation', None)
    """
    return WORDS.get(word.strip().casefold())


def split_in(name: str) -> str | None:
    """Return the first split that is named in the name of a file, or None.

    Examples:
        >>> split_in("test_post_competition_scoring_clips"), split_in("esc50")
        ('test', None)
    """
    return next((WORDS[word] for word in re.split(r"[^a-z]+", name.casefold()) if word in WORDS), None)


def split_of_folders(folders: Iterable[str]) -> str | None:
    """Return the split that the nearest folder of a path is called, or None."""
    return next((found for folder in reversed(list(folders)) if (found := split_named(folder))), None)


def validation_note(count: int) -> list[str]:
    """Return what becomes of validation clips or recordings, if there are some."""
    what = pluralize(count, "validation sound")
    return (
        [f"{what} in fold {VALIDATION_FOLD}: --folds {VALIDATION_FOLD} holds out what the data mean to"]
        if count
        else []
    )
