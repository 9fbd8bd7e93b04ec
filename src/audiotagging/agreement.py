"""The stage that chooses noisy clips: a quick member, trained on curated clips alone, says which labels it believes."""

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from audiotagging.files import whole_folder
from audiotagging.members import Member
from audiotagging.metrics import label_table
from audiotagging.prediction import load_model, score_clips
from audiotagging.selection import agreeing, margins
from audiotagging.shards import read_clips, read_spectrograms
from audiotagging.training import train

FOLD = 0  # held out, so that the judge's own lwlrap is known
QUICKER = 2  # times fewer epochs than the member it is made from

logger = logging.getLogger(__name__)


def select_noisy(
    spectrograms: Path, *, judge: Member | None, out: Path, seed: int = 534, fingerprint: str = ""
) -> None:
    """Write the folder of a selection: `noisy.csv`, a row a noisy clip to train on, by name in the column `fname`.

    Such a table can be given as the choice of noisy clips to a later run, so that it trains on the same ones.

    Args:
        spectrograms: The folder of shards.
        judge: The member that judges the clips, after half its epochs in one cycle: the table then has each clip's
            `margin`, and the folder the judge's model in `judge/`. None chooses all noisy clips that the shards have.
        out: The folder to make.
        seed: Seed of the judge's training.
        fingerprint: The data's, which the judge's model notes.

    Raises:
        ValueError: If the shards are not what they should be, or the judge agrees with no label.
    """
    with whole_folder(out) as part:
        if judge:
            train(
                replace(judge, id="judge", epochs=max(1, judge.epochs // QUICKER), cycles=1),
                fold=FOLD,
                spectrograms=spectrograms,
                out=part / "judge",
                seed=seed,
                fingerprint=fingerprint,
                noisy_clips=[],
            )
            table = _agreeing_clips(spectrograms, part / "judge")
        else:
            clips = read_clips(spectrograms)
            table = pd.DataFrame({"fname": clips["clip"][clips["part"] == "noisy"]})
        table.to_csv(part / "noisy.csv", index=False)


def _agreeing_clips(spectrograms: Path, judge: Path) -> pd.DataFrame:
    """Return the noisy clips that a judge agrees with: `fname` and `margin`."""
    data = read_spectrograms(spectrograms, parts=["noisy"])
    truth = label_table(data.clips["labels"].tolist(), data.classes)
    scores = score_clips(load_model(judge), data.frames, data.offsets)
    chosen = agreeing(truth, scores)
    lwlrap = pd.read_parquet(judge / "history.parquet")["lwlrap"].iloc[-1]
    logger.info(
        "agreement: %d of %d noisy clips chosen, by a judge with lwlrap %.3f on fold %d",
        *(chosen.sum(), len(chosen), lwlrap, FOLD),
    )
    if not chosen.any():
        raise ValueError(
            f"the judge of noisy=agreement (lwlrap {lwlrap:.3f}) agrees with the labels of none of {len(chosen)} noisy "
            "clips; train it longer, by more epochs of the first member, or choose noisy=none or a list"
        )
    return pd.DataFrame({"fname": data.clips["clip"], "margin": margins(truth, scores)})[chosen]


def read_selection(selection: Path) -> list[str]:
    """Return the names of the noisy clips to train on, from the folder that `select_noisy` made."""
    return list(pd.read_csv(selection / "noisy.csv", dtype=str, keep_default_na=False)["fname"])
