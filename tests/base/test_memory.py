"""Memory that runs out while something is read: that is said, and the file is not taken for damaged."""

import errno
import shutil

import av
import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from helpers.fabricated import fabricate_model
from onnxruntime.capi import onnxruntime_pybind11_state as state
from safetensors import SafetensorError

from audiotagging.artifacts import spectrogram_shards
from audiotagging.base import csv_table, machine, object_store, tables
from audiotagging.base.errors import UserError
from audiotagging.members import REFERENCE
from audiotagging.sounds import audio, ffmpeg, libsndfile, recordings
from audiotagging.sounds.streams import SoundError
from audiotagging.tagging import onnx_networks
from audiotagging.training import prediction, weights_file

# The words of the library that reads it.
FULL = {
    "a table": (tables.pq, "ParquetFile", pa.lib.ArrowMemoryError("malloc of size 9 failed")),
    "shards": (spectrogram_shards.pq, "read_metadata", pa.lib.ArrowMemoryError("malloc of size 9 failed")),
    "a model": (prediction, "load_file", SafetensorError("Cannot allocate memory (os error 12)")),
    "weights": (weights_file, "load_file", SafetensorError("Cannot allocate memory (os error 12)")),
    "weights of torch": (torch, "load", RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")),
    "an exported model": (onnx_networks, "InferenceSession", state.RuntimeException("std::bad_alloc")),
    "a sound": (libsndfile, "_Sequential", soundfile.LibsndfileError(17)),
    "a sound by FFmpeg": (av, "open", av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")),
    "any sound": (recordings, "_examine", OSError(errno.ENOMEM, "Cannot allocate memory")),
    "a list": (csv_table, "open_file", OSError(errno.ENOMEM, "Cannot allocate memory")),
    "an object store": (object_store, "S3FileSystem", pa.lib.ArrowMemoryError("malloc of size 9 failed")),
}
READ = {
    "a table": lambda folder: tables.read_parquet(folder / "00000-of-00001.parquet"),
    "shards": spectrogram_shards.read_clips,
    "a model": lambda folder: prediction.load_weights(torch.nn.Linear(1, 1), folder),
    "weights": lambda folder: weights_file.read_weights(folder / "weights.safetensors"),
    "weights of torch": lambda folder: weights_file.read_weights(folder / "weights.pth"),
    "an exported model": lambda folder: onnx_networks.OnnxNetworks(folder / "ensemble.onnx"),
    "a sound": lambda folder: audio.decode(folder / "sound.nist"),
    "a sound by FFmpeg": lambda folder: audio.decode(folder / "sound.m4a"),
    "any sound": lambda folder: audio.decode(folder / "sound.flac"),
    "a list": lambda folder: csv_table.read_table(folder / "table.csv", ["fname"]),
    "an object store": lambda folder: object_store.open_store("s3://bucket/folder", endpoint="http://localhost:1"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    names = ("00000-of-00001.parquet", "weights.safetensors", "weights.pth", "ensemble.onnx", "table.csv")
    for name in names:
        (folder / name).write_bytes(b"no file of this kind")
    fabricate_model(folder / "model", REFERENCE[0], fold=0, classes=["bark"])
    for name in ("weights.safetensors", "member.json"):
        shutil.copy(folder / "model" / name, folder)
    for ending in ("flac", "nist"):  # FFmpeg reads the first one too
        soundfile.write(folder / f"sound.{ending}", np.full(9000, 0.1), 44_100, format=ending.upper())
    (folder / "sound.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    return folder


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("lacking", [True, False])
def test_a_file_is_not_called_corrupt_because_memory_ran_out(files, monkeypatch, kind, lacking):
    owner, name, error = FULL[kind]

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(owner, name, fail)
    monkeypatch.setattr(machine, "_lacks_memory", lambda: lacking)
    with pytest.raises(MemoryError if lacking else (UserError, SoundError)):
        READ[kind](files)


def test_a_packet_that_no_memory_was_left_for_is_not_damaged(monkeypatch):
    class Packet:
        def decode(self):
            raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(machine, "_lacks_memory", lambda: True)
    with pytest.raises(MemoryError):
        ffmpeg._decode(Packet())


def test_too_many_open_files_are_no_damage(files, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(recordings, "_examine", fail)
    with pytest.raises(OSError, match="Too many open files"):
        audio.decode(files / "sound.flac")
