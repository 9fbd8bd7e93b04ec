import numpy as np
import pyarrow.parquet as pq
import pytest

from audiotagging.artifacts import spectrogram_shards
from audiotagging.artifacts.spectrogram_shards import (
    ShardWriter,
    read_classes,
    read_clips,
    read_fingerprint,
    read_listing,
    read_notes,
    read_rejected,
    read_spectrograms,
)
from audiotagging.base.errors import UserError

CLASSES = ["bark", "hiss, spit", "meow"]
PARTS = ["curated"] * 5 + ["noisy"] * 3 + ["test"] * 4


@pytest.fixture
def clips():
    """Rows as `ShardWriter.add` takes them."""
    rng = np.random.default_rng(1)
    return [
        {
            "clip": f"{number:02d}.wav",
            "part": part,
            "labels": CLASSES[: number % 3],
            "fold": number % 5 if part == "curated" else -1,
            "usage": "Public" if part == "test" else "",
            "seconds": number / 8,
            "spectrogram": rng.integers(0, 256, (int(rng.integers(128, 400)), 128), np.uint8),
        }
        for number, part in enumerate(PARTS)
    ]


@pytest.fixture
def folder(tmp_path, clips, monkeypatch):
    """A folder of several shards with several row groups each."""
    monkeypatch.setattr(spectrogram_shards, "ROW_GROUP_BYTES", 50_000)
    with ShardWriter(tmp_path / "spectrograms", classes=CLASSES, shard_bytes=150_000) as writer:
        for row in clips:
            writer.add(**row)
        writer.reject(clip="x.wav", part="test", reason='no sound, or "none"')
    assert len(list(writer.folder.glob("*.parquet"))) > 2
    return writer.folder


def test_everything_written_is_read(folder, clips):
    read = read_spectrograms(folder)
    assert read.classes == read_classes(folder) == CLASSES
    assert read.frames.flags.c_contiguous and read.frames.dtype == np.uint8
    for number, row in enumerate(clips):
        assert np.array_equal(read.frames[read.offsets[number] : read.offsets[number + 1]], row["spectrogram"])
        assert row["labels"] == read.clips["labels"][number]
        for name in ("clip", "part", "fold", "usage", "seconds"):
            assert row[name] == read.clips[name][number]
    assert read.offsets[-1] == len(read.frames) and read.offsets.dtype == np.int64
    assert read.clips["part"].dtype == read.clips["clip"].dtype  # text, no categories
    assert read_clips(folder).equals(read.clips)
    assert read_rejected(folder).to_dict("records") == [
        {"clip": "x.wav", "part": "test", "place": PARTS.count("test"), "reason": 'no sound, or "none"'}
    ]


@pytest.mark.parametrize("parts", [["curated"], ["test"], ["curated", "noisy"], None, []])
@pytest.mark.parametrize("names", [["03.wav"], ["09.wav", "00.wav", "06.wav"], None, []])
def test_selection_reads_only_those_clips(folder, clips, parts, names):
    read = read_spectrograms(folder, parts=parts, clips=names)
    chosen = [
        row for row in clips if (parts is None or row["part"] in parts) and (names is None or row["clip"] in names)
    ]
    assert list(read.clips["clip"]) == [row["clip"] for row in chosen]
    expected = np.concatenate([np.empty((0, 128), np.uint8), *(row["spectrogram"] for row in chosen)])
    assert np.array_equal(read.frames, expected)
    assert len(read.offsets) == len(chosen) + 1


def test_other_parts_are_not_read(folder):
    """Damage to the bytes of other parts goes unnoticed."""
    first = sorted(folder.glob("*.parquet"))[0]
    damage(first)
    assert len(read_spectrograms(folder, parts=["test"]).clips) == 4


def test_a_row_group_holds_one_part(folder):
    for path in folder.glob("*.parquet"):
        shard = pq.ParquetFile(path)
        for group in range(shard.num_row_groups):
            assert len(set(shard.read_row_group(group, ["part"])["part"].to_pylist())) == 1


@pytest.mark.parametrize(
    ("frames", "group", "shard", "rows"),
    [
        (100, 200 * 128, 400 * 128, [[2, 2]] * 5),
        (99, 200 * 128, 400 * 128, [[3, 3]] * 3 + [[2]]),
        (100, 200 * 128 + 1, 600 * 128 + 1, [[3, 3, 3]] * 2 + [[2]]),
    ],
)
def test_a_row_group_and_a_shard_end_with_the_clip_that_fills_them(tmp_path, monkeypatch, frames, group, shard, rows):
    monkeypatch.setattr(spectrogram_shards, "ROW_GROUP_BYTES", group)
    with ShardWriter(tmp_path / "out", classes=CLASSES, shard_bytes=shard) as writer:
        for number in range(20):
            clip = {"clip": f"{number}.wav", "part": "test", "labels": [], "fold": -1, "usage": "", "seconds": 1.0}
            writer.add(**clip, spectrogram=np.zeros((frames, 128), np.uint8))
    shards = [pq.read_metadata(path) for path in sorted(writer.folder.glob("*.parquet"))]
    assert [[shard.row_group(i).num_rows for i in range(shard.num_row_groups)] for shard in shards] == rows


@pytest.mark.parametrize(
    "spectrogram", [np.zeros((4, 128)), np.zeros((4, 64), np.uint8), np.zeros((4, 128, 3), np.uint8)]
)
def test_what_is_no_spectrogram_is_a_defect(tmp_path, clips, spectrogram):
    with pytest.raises(AssertionError), ShardWriter(tmp_path / "out", classes=CLASSES) as writer:
        writer.add(**clips[0] | {"spectrogram": spectrogram})


def test_columns_are_stored_as_documented(folder):
    for path in folder.glob("*.parquet"):
        group = pq.read_metadata(path).row_group(0)
        columns = {(column := group.column(i)).path_in_schema: column for i in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"LZ4"}
        assert not any(column.is_stats_set for column in columns.values())
        assert {name for name, column in columns.items() if column.has_dictionary_page} == {"part", "usage"}


def damage(path):
    """Flip a byte in the first spectrogram."""
    column = pq.read_metadata(path).row_group(0).column(7)
    assert column.path_in_schema == "spectrogram"
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 255
    path.write_bytes(data)


def test_damage_is_named(folder):
    path = sorted(folder.glob("*.parquet"))[1]
    damage(path)
    with pytest.raises(UserError, match=rf"{path.name}: this shard is corrupt"):
        read_spectrograms(folder)


@pytest.mark.parametrize("seed", [*range(40), 133, 145])  # the last two hit the classes: their name and their list
def test_a_changed_byte_is_noticed_or_changes_no_clip(folder, seed):
    good = read_spectrograms(folder)
    path = sorted(folder.glob("*.parquet"))[0]
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    data[rng.integers(footer if seed % 2 else 0, len(data))] ^= int(rng.integers(1, 256))
    path.write_bytes(data)
    try:
        read = read_spectrograms(folder)
    except UserError as error:
        assert path.name in str(error) or folder.name in str(error)
    else:
        assert np.array_equal(read.frames, good.frames) and read.clips.equals(good.clips)


def test_a_cut_shard_is_named(folder):
    path = sorted(folder.glob("*.parquet"))[1]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{path.name}: this shard is corrupt"):
        read_clips(folder)


def test_a_missing_shard_is_named(folder):
    path = sorted(folder.glob("*.parquet"))[1]
    path.unlink()
    with pytest.raises(UserError, match=rf"1 of . shards are missing \({path.name}\)"):
        read_classes(folder)


def test_another_version_is_refused(folder):
    path = sorted(folder.glob("*.parquet"))[0]
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"version": "99"}), path)
    with pytest.raises(UserError, match="expected spectrograms of version 4, found 99; run the pipeline again"):
        read_clips(folder)


def test_other_columns_are_named(folder):
    path = sorted(folder.glob("*.parquet"))[1]
    pq.write_table(pq.read_table(path).drop_columns("usage"), path)
    names = "clip, part, labels, fold, seconds, frames, spectrogram"
    with pytest.raises(UserError, match=rf"^{path}: this shard is corrupt \(its columns are {names}\); run the pipe"):
        read_clips(folder)


def test_no_shards_at_all(tmp_path):
    with pytest.raises(UserError, match="found no shards"):
        read_clips(tmp_path)


def test_what_the_writer_adds_is_read(tmp_path):
    notes = {"fingerprint": "5f1d", "notes": '["one", "two"]', "mels": "128"}
    with ShardWriter(tmp_path / "deep" / "with", classes=CLASSES, metadata=notes) as writer:
        pass
    assert read_fingerprint(writer.folder) == "5f1d" and read_notes(writer.folder) == ["one", "two"]
    (path,) = writer.folder.glob("*.parquet")
    assert pq.read_metadata(path).metadata[b"mels"] == b"128"
    with ShardWriter(tmp_path / "without", classes=CLASSES) as writer:
        pass
    assert read_fingerprint(writer.folder) == "" and read_notes(writer.folder) == []


def test_the_listing_has_all_clips_of_a_part_in_the_order_of_its_table(tmp_path, clips):
    with ShardWriter(tmp_path / "spectrograms", classes=CLASSES) as writer:
        writer.reject(clip="NA", part="curated", reason="1")  # also what pandas calls nothing
        writer.add(**clips[0])
        writer.reject(clip="x.wav", part="curated", reason="2")
        writer.reject(clip="y.wav", part="curated", reason="")
        writer.add(**clips[1])
        writer.reject(clip="z.wav", part="test", reason="3")
    assert read_listing(writer.folder, part="curated") == ["NA", "00.wav", "x.wav", "y.wav", "01.wav"]
    assert read_listing(writer.folder, part="test") == ["z.wav"]
    assert read_listing(writer.folder, part="noisy") == []
    rejected = read_rejected(writer.folder)
    assert rejected.to_dict("list") == {
        "clip": ["NA", "x.wav", "y.wav", "z.wav"],
        "part": ["curated", "curated", "curated", "test"],
        "place": [0, 2, 3, 0],
        "reason": ["1", "2", "", "3"],
    }


def test_names_and_reasons_stay_text(tmp_path):
    for name, clips in (("none", []), ("one", ["007"])):
        with ShardWriter(tmp_path / name, classes=CLASSES) as writer:
            for clip in clips:
                writer.reject(clip=clip, part="test", reason="1e3")
    found = read_rejected(tmp_path / "one")
    assert found.to_dict("records") == [{"clip": "007", "part": "test", "place": 0, "reason": "1e3"}]
    assert read_rejected(tmp_path / "none").dtypes.equals(found.dtypes)
    assert read_listing(tmp_path / "one", part="test") == ["007"]


def test_a_folder_without_clips_can_be_read(tmp_path):
    with ShardWriter(tmp_path / "empty", classes=CLASSES):
        pass
    read = read_spectrograms(tmp_path / "empty")
    assert read.frames.shape == (0, 128) and list(read.offsets) == [0] and read.classes == CLASSES
    assert list(read_clips(tmp_path / "empty")["clip"]) == []
    assert len(read_rejected(tmp_path / "empty")) == 0


def test_nothing_is_left_after_an_error(tmp_path, clips):
    with pytest.raises(ZeroDivisionError), ShardWriter(tmp_path / "spectrograms", classes=CLASSES) as writer:
        writer.add(**clips[0])
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, clips):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="does not exist yet or is empty"), ShardWriter(tmp_path, classes=CLASSES):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
