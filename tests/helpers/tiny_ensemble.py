"""A small ensemble and sounds to tag with it."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace

import numpy as np
from torch import nn

from audiotagging.members import DEMO
from audiotagging.training.networks import Network
from commands import tag

MEMBERS = [replace(DEMO[0], frames=256, size=32), replace(DEMO[2], size=32)]
RATE = 44_100


def chirp(seconds, rate=RATE, *, seed=0):
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time))
    return (0.4 * np.sin(2 * np.pi * (200 + 90 * seed) * time * (1 + time)) + noise).astype(np.float32)


def tiny(outputs):
    head = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 15 * 15, outputs))
    return Network(nn.Identity(), head)


READABLE = ["plain.wav", "short.flac", "ogg.ogg", "mp3.mp3", "slow.wav", "stereo.wav", "one sample.wav", "silent.wav"]


def tag_options(**given):
    """Return the options of the command `tag`."""
    parser = ArgumentParser()
    tag.add_arguments(parser)
    return Namespace(**vars(parser.parse_args(["x.wav", "--models", "x"])) | given)
