"""Trainings on parts of the clips of `noisy_spectrograms`."""

from dataclasses import replace

from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.studies.subsets import deal_subsets, plan_trainings
from helpers.noisy_spectrograms import MEMBER

SHORT = replace(MEMBER, epochs=2, epoch_size=2)
SCORED = ("noisy", ["noisy00.wav", "noisy01.wav"])


def clips_of(spectrograms, part="curated"):
    clips = read_clips(spectrograms)
    return clips[clips["part"] == part]


def plan(spectrograms, *, member=SHORT, seed=1, noisy_clips=(), scored=SCORED):
    curated = clips_of(spectrograms)
    return plan_trainings(
        deal_subsets(list(curated["clip"]), list(curated["labels"]), seed=seed),
        member=member,
        noisy_clips=list(noisy_clips),
        scored=scored,
        spectrograms=spectrograms,
        seed=seed,
    )
