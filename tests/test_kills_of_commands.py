"""A command that is killed while it writes: given again, it ends as if nothing had happened, and nothing is left over.

The command runs in a fork of this process, which is killed when the command waits for the disk for the n-th time:
before a file or a folder gets its name, and right after that.
"""

import csv
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from itertools import count

import pytest
import torch
from helpers.champion_runs import make_run as make_averaged_run
from helpers.champion_runs import promote_run
from helpers.fabricated import fabricate_run, finish_run, models_of, replace_weights
from helpers.tagging_fixtures import run, sounds  # noqa: F401
from safetensors.torch import save

from audiotagging.artifacts.champions_folder import read_champion, read_events
from audiotagging.artifacts.model_folder import read_metadata
from audiotagging.base import files
from audiotagging.members import REFERENCE
from audiotagging.tagging import batches
from audiotagging.tagging.batch_results import Options
from audiotagging.training.augmentation import VIEWS
from audiotagging.training.networks import NETWORKS
from commands import main

pytestmark = [pytest.mark.kills, pytest.mark.usefixtures("narrow_networks")]

CONTEXT = multiprocessing.get_context("fork")
STUDENT = ["--force", "--set", "epochs=1", "epoch_size=2", "batch_size=4"]
WINDOWS = ["--every", "1", "--format", "csv", "--out"]


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def in_child(command, *, kill_at=None):
    """Run a command in a child process, killed at a wait for the disk, and return how many waits there were."""
    ours, theirs = CONTEXT.Pipe(duplex=False)

    def work():
        numbers, wait = count(1), files._sync

        def waiting(path):
            if next(numbers) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            wait(path)

        files._sync = waiting
        command()
        theirs.send(next(numbers) - 1)

    child = CONTEXT.Process(target=work)
    child.start()
    theirs.close()
    child.join()
    assert child.exitcode == (0 if kill_at is None else -signal.SIGKILL)
    return ours.recv() if kill_at is None else None


def succeed(*arguments):
    assert main(None, [str(argument) for argument in arguments]) == 0


def read_rows(path, *, without=0):
    with path.open(newline="", encoding="utf-8") as file:
        return [row[without:] for row in csv.reader(file)]


class Tag:
    """A command with all that it needs in a folder, which is prepared if it does not exist, and what it results in."""

    kills = 12

    def __init__(self, models, recordings, folder):
        self.run, self.sounds, self.out = models, folder / "sounds", folder / "out"
        if not folder.exists():
            self.sounds.mkdir(parents=True)
            for name in ("plain.wav", "short.flac", "stereo.wav"):
                shutil.copy(recordings / name, self.sounds)

    def __call__(self):
        succeed("tag", self.sounds, "--models", self.run, *WINDOWS, self.out)

    def results(self):
        return {path.name: read_rows(path, without=1) for path in self.out.rglob("*.csv")}  # without the path


class Batches(Tag):
    """The stages of the pipeline `tagging`, one after the other."""

    def __call__(self):
        options = Options(window=1.0, overlap=0.0, merge=False, top=2, precision=0)
        new = self.out.with_name("new.parquet")
        places = {"out": str(self.out), "models": self.run}
        batch, shards = batches.find(str(self.sounds), **places, options=options, shards=1, new=new)
        for shard in shards:
            batches.tag(batch, new=new, shard=shard)
        if shards:
            batches.collect(batch)

    def results(self):
        assert not list(self.out.glob("parts/**/*.parquet"))
        return sorted(row for path in self.out.glob("batches/*/tags.csv") for row in read_rows(path)[1:])


class Export(Tag):
    kills = 3  # it takes seconds

    def __call__(self):
        complete = self.out.exists()  # killed after the folder had got its name
        assert main(None, ["export", str(self.run), "--to", str(self.out)]) == (2 if complete else 0)

    def results(self):
        return {path.name for path in self.out.iterdir()}


class Distil(Tag):
    kills = 3  # it trains

    def __init__(self, models, recordings, folder):
        self.out = folder / "out"
        if not folder.exists():
            members = [replace(member, size=32, frames=128) for member in REFERENCE[:2]]
            fabricate_run(self.out, classes=3, clips=6, folds=[0], members=members)
            for model in models_of(self.out):
                torch.manual_seed(1)
                network = NETWORKS[read_metadata(model).member.network](VIEWS * 3)
                replace_weights(model, save(network.state_dict()))
            finish_run(self.out)

    def __call__(self):
        succeed("distil", self.out, *STUDENT)

    def results(self):
        return names(self.out)


class Promote(Tag):
    def __init__(self, models, recordings, folder):
        self.averaged, self.out = folder / "run", folder / "champions"
        if not folder.exists():
            make_averaged_run(self.averaged)

    def __call__(self):
        promote_run(self.averaged, self.out)

    def results(self):
        champion, events = read_champion(self.out), read_events(self.out)
        return champion["version"], len(events), names(self.out)


class Accept(Promote):
    """The champion is changed by hand."""

    def __init__(self, models, recordings, folder):
        is_new = not folder.exists()
        super().__init__(models, recordings, folder)
        if is_new:
            promote_run(self.averaged, self.out, policy="never")

    def __call__(self):
        (version,) = {event["version"] for event in read_events(self.out)}
        if read_champion(self.out) is None:  # not killed after it had been accepted
            succeed("champion", "accept", version, "--champions", self.out)

    def results(self):
        return read_champion(self.out)["version"], names(self.out)


@pytest.mark.parametrize("kind", [Tag, Batches, Export, Distil, Promote, Accept])
def test_the_same_command_ends_as_if_nothing_had_happened(run, sounds, tmp_path, kind):  # noqa: F811
    kind(run, sounds, tmp_path / "prepared")
    shutil.copytree(tmp_path / "prepared", tmp_path / "undisturbed")
    undisturbed = kind(run, sounds, tmp_path / "undisturbed")
    waits = in_child(undisturbed)
    for number in sorted({1 + place * (waits - 1) // (kind.kills - 1) for place in range(kind.kills)}):
        shutil.copytree(tmp_path / "prepared", tmp_path / str(number))
        killed = kind(run, sounds, tmp_path / str(number))
        in_child(killed, kill_at=number)
        in_child(killed)
        assert killed.results() == undisturbed.results(), f"killed at {number} of {waits}"
        left = names(tmp_path / str(number)) - names(tmp_path / "undisturbed")
        assert not {name for name in left if ".part" in name or ".work" in name}, f"killed at {number} of {waits}"
