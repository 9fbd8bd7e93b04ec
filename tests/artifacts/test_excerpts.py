import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audiotagging.artifacts.excerpts import EXCERPTS, ROW_GROUP_CLIPS, Excerpt, ExcerptWriter, read_excerpts
from audiotagging.base.errors import UserError

ROW = {"clip": ["clip0.wav"], "start": [0.0], "seconds": [1.0], "sound": [b"OggS"]}


def excerpt(number):
    return Excerpt(start=number / 2, seconds=1.5, sound=bytes([number % 256]) * 100)


def write(folder, count):
    with ExcerptWriter(folder) as writer:
        for number in range(count):
            writer.add(f"clip{number}.wav", excerpt(number))


def test_the_excerpts_of_some_clips_are_read(tmp_path):
    count = 2 * ROW_GROUP_CLIPS + 3
    write(tmp_path, count)
    assert pq.ParquetFile(tmp_path / EXCERPTS).num_row_groups == 3
    places = [0, ROW_GROUP_CLIPS - 1, ROW_GROUP_CLIPS, count - 1]
    read = read_excerpts(tmp_path, clips=[*(f"clip{place}.wav" for place in places), "another.wav"])
    assert read == {f"clip{place}.wav": excerpt(place) for place in places}
    assert read_excerpts(tmp_path, clips=[]) == {}


def test_without_excerpts_there_is_no_file(tmp_path):
    write(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []
    assert read_excerpts(tmp_path, clips=["clip0.wav"]) == {}


def test_a_clip_cannot_have_two(tmp_path):
    with ExcerptWriter(tmp_path) as writer:
        writer.add("clip0.wav", excerpt(0))
        writer.add("clip0.wav", excerpt(1))
    with pytest.raises(UserError, match=r"excerpts\.parquet: this table is corrupt \(clip0\.wav has several rows"):
        read_excerpts(tmp_path, clips=["clip0.wav"])


@pytest.mark.parametrize("table", [None, {"clip": ["clip0.wav"]}, {**ROW, "start": [None]}, {**ROW, "sound": ["text"]}])
def test_what_is_no_table_of_excerpts_is_refused(tmp_path, table):
    if table:
        pq.write_table(pa.table(table), tmp_path / EXCERPTS)
    else:
        (tmp_path / EXCERPTS).write_bytes(b"PAR1, or something like it")
    with pytest.raises(UserError, match=r"excerpts\.parquet: this table is corrupt"):
        read_excerpts(tmp_path, ["clip0.wav"])


@pytest.mark.parametrize("times", [{"start": -1.0, "seconds": 1.0}, {"start": 0.0, "seconds": float("nan")}])
def test_times_are_checked(tmp_path, times):
    with ExcerptWriter(tmp_path) as writer:
        writer.add("clip0.wav", Excerpt(**times, sound=b"OggS"))
    with pytest.raises(UserError, match=r"the start or the length of clip0\.wav is below 0"):
        read_excerpts(tmp_path, clips=["clip0.wav"])
