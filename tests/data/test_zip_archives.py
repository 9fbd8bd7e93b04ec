import io
import shutil
import stat
import struct
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audiotagging.data import zip_archives
from audiotagging.data.zip_archives import ArchiveError, extract

SPLIT = Path(__file__).parent.parent / "reference" / "split.zip"


def make_zip(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_everything_is_left_out(tmp_path):
    make_zip(tmp_path / "a.zip", {"top/a.wav": b"1", "top/deep/b.wav": b"2", "__MACOSX/top/._a.wav": b"3"})
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert files(tmp_path / "out") == {"a.wav": b"1", "deep/b.wav": b"2"}
    make_zip(tmp_path / "b.zip", {"a.wav": b"1", "deep/b.wav": b"2"})
    extract(tmp_path / "b.zip", tmp_path / "flat")
    assert files(tmp_path / "flat") == {"a.wav": b"1", "deep/b.wav": b"2"}


def test_times_are_those_in_the_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.wav", (2019, 4, 1, 12, 30, 2)), b"1")
        archive.writestr(zipfile.ZipInfo("b.wav", (1980, 0, 0, 0, 0, 0)), b"1")
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "a.wav").stat().st_mtime == 1554121802
    assert (tmp_path / "out" / "b.wav").stat().st_mtime == 0


@pytest.mark.parametrize("name", ["../a.wav", "top/../../a.wav", "/etc/a.wav", "..\\a.wav", "C:/a.wav", "C:a.wav"])
def test_entries_outside_the_folder_are_refused(tmp_path, name):
    make_zip(tmp_path / "a.zip", {"good.wav": b"1", name: b"2"})
    with pytest.raises(ArchiveError, match="would be written outside the target folder"):
        extract(tmp_path / "a.zip", tmp_path / "inner" / "out")
    assert not (tmp_path / "inner").exists() and not (tmp_path / "a.wav").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_special_files_are_refused(tmp_path, kind):
    entry = zipfile.ZipInfo("a.wav")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ArchiveError, match="a link or another special file"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_sizes_are_bounded(tmp_path, monkeypatch):
    make_zip(tmp_path / "a.zip", {"a.wav": bytes(100_000), "b.wav": bytes(100_000)})
    with pytest.raises(ArchiveError, match="at most 150,000 unpacked bytes, found 200,000"):
        extract(tmp_path / "a.zip", tmp_path / "out", max_bytes=150_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=199_999))
    with pytest.raises(ArchiveError, match=r"expected 200,000 free bytes to unpack .*, found 199,999"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_entry_larger_than_it_claims_is_not_written(tmp_path):
    make_zip(tmp_path / "a.zip", {"a.wav": bytes(100_000)})
    content = bytearray((tmp_path / "a.zip").read_bytes())
    at = content.find(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", 10)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match="CRC"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "a.wav").stat().st_size <= 10


def test_a_split_archive_by_info_zip(tmp_path):
    """tests/reference/split.z01 and split.zip were made by `zip -s 64k` from these bytes."""
    extract(SPLIT, tmp_path / "out")
    rng = np.random.Generator(np.random.PCG64(1))
    assert files(tmp_path / "out") == {f"{number}.wav": rng.bytes(13_000) for number in range(6)}


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs Info-ZIP's zip")
def test_a_split_archive_of_many_pieces(tmp_path):
    rng = np.random.default_rng(2)
    (tmp_path / "in" / "top").mkdir(parents=True)
    for number in range(20):
        (tmp_path / "in" / "top" / f"{number:02}.wav").write_bytes(rng.bytes(int(rng.integers(1, 60_000))))
    command = ["zip", "-q", "-r", "-s", "64k", "../split.zip", "top"]
    subprocess.run(command, cwd=tmp_path / "in", check=True)
    assert len(list(tmp_path.glob("split.z*"))) > 5
    extract(tmp_path / "split.zip", tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "in" / "top")


def test_pieces_may_be_larger_than_four_gigabytes(tmp_path):
    """The first piece is one file and a hole of five gigabytes, the second another file and the directory."""
    with zipfile.ZipFile(make_zip(tmp_path / "whole.zip", {"a.wav": b"abc" * 50, "b.wav": b"def" * 60})) as archive:
        (first, second), directory = archive.infolist(), archive.start_dir
    content = bytearray((tmp_path / "whole.zip").read_bytes())
    cut, end = second.header_offset, content.rfind(b"PK\5\6")
    entry = directory + 46 + len(first.filename)  # of the second file
    struct.pack_into("<H", content, entry + 34, 1)
    struct.pack_into("<L", content, entry + 42, 0)
    struct.pack_into("<2H", content, end + 4, 1, 1)
    struct.pack_into("<L", content, end + 16, directory - cut)
    with (tmp_path / "split.z01").open("wb") as piece:
        piece.write(content[:cut])
        piece.truncate(5 << 30)
    (tmp_path / "split.zip").write_bytes(content[cut:])
    extract(tmp_path / "split.zip", tmp_path / "out")
    assert files(tmp_path / "out") == {"a.wav": b"abc" * 50, "b.wav": b"def" * 60}


def strict_zipfile(file):
    """`zipfile.ZipFile` as CPython's issue 155639 wants it: an archive of several disks is none."""
    file.seek(0)
    content = file.read()
    end = content.rfind(b"PK\5\6")
    assert content[end + 4 : end + 8] == bytes(4)
    return zipfile_of_python(file)


zipfile_of_python = zipfile.ZipFile


def test_zipfile_is_given_an_archive_that_is_not_split(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_archives.zipfile, "ZipFile", strict_zipfile)
    extract(SPLIT, tmp_path / "out")
    assert len(files(tmp_path / "out")) == 6


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.integers(1, 700), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_corrupt_directory_of_a_split_archive_is_refused_or_used(tmp_path, damage):
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    (tmp_path / "run").mkdir()
    shutil.copy(SPLIT.with_suffix(".z01"), tmp_path / "run")
    content = bytearray(SPLIT.read_bytes())
    for from_end, value in damage:
        content[-from_end] = value
    (tmp_path / "run" / "split.zip").write_bytes(content)
    try:
        extract(tmp_path / "run" / "split.zip", tmp_path / "run" / "out")
    except ArchiveError as error:
        assert "\n" not in str(error)


def test_a_missing_piece_is_named(tmp_path):
    shutil.copy(SPLIT, tmp_path)
    with pytest.raises(ArchiveError, match=r"is split: expected split.z01 in the same folder"):
        extract(tmp_path / "split.zip", tmp_path / "out")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8), cut=st.integers()
)
@example(damage=[(54270, 1)], cut=0)  # makes the offset of an entry negative
def test_a_corrupt_archive_is_refused_or_unpacked_inside_the_folder(tmp_path, damage, cut):
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    inner = tmp_path / "run" / "inner"
    inner.mkdir(parents=True)
    made = io.BytesIO()
    make_zip(made, {"top/a.wav": b"abc" * 50, "top/b.wav": bytes(100), "c.csv": b"fname,labels\n"})
    content = bytearray(made.getvalue())
    for at, value in damage:
        content[at % len(content)] = value
    (inner / "a.zip").write_bytes(content[: len(content) - max(0, cut - 10)])
    try:
        extract(inner / "a.zip", inner / "out")
    except ArchiveError as error:
        assert "\n" not in str(error)
    assert {path.name for path in tmp_path.joinpath("run").iterdir()} == {"inner"}
    assert {path.name for path in inner.iterdir()} <= {"a.zip", "out"}
