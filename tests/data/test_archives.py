import io
import shutil
import stat
import struct
import subprocess
import time
import zipfile
from bisect import bisect_right
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audiotagging.data import archives as zip_archives
from audiotagging.data.archives import ArchiveError, extract

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


def test_progress_names_the_archive_and_counts_its_files(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("audiotagging.base.progress.LOG_SECONDS", 0)
    make_zip(tmp_path / "a.zip", {"a.wav": b"1", "deep/": b"", "deep/b.wav": b"2"})
    with caplog.at_level("INFO"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert "unpack a.zip: 1 of 2, " in caplog.text and "unpack a.zip: 2 of 2, " in caplog.text


@pytest.fixture(params=["UTC", "Asia/Tokyo"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_times_are_those_in_the_archive_wherever_it_is_unpacked(tmp_path):
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
    with pytest.raises(ArchiveError, match="at most 199,999 unpacked bytes, found 200,000"):
        extract(tmp_path / "a.zip", tmp_path / "out", max_bytes=199_999)
    free = {tmp_path: 199_999}
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free[path]))
    with pytest.raises(ArchiveError, match=rf"^{tmp_path}: expected 200,000 free bytes to unpack .*, found 199,999"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    free[tmp_path] += 1
    extract(tmp_path / "a.zip", tmp_path / "out", max_bytes=200_000)
    assert len(files(tmp_path / "out")) == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_than_deflate_are_refused(tmp_path, method):
    make_zip(tmp_path / "a.zip", {"a.wav": b"1"}, method)
    with pytest.raises(ArchiveError, match=r"a.zip is refused: the entry 'a.wav' is compressed by another method"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_a_regular_file_is_one_whatever_its_permissions(tmp_path):
    entry = zipfile.ZipInfo("a.wav")
    entry.external_attr = (stat.S_IFREG | 0o4755) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, b"1")
    (tmp_path / "out").mkdir()
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert files(tmp_path / "out") == {"a.wav": b"1"}


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


def split(path, cuts):
    """Cut an archive into pieces, and rewrite its directory as APPNOTE.TXT 4.3 wants it for pieces."""
    content = bytearray(path.read_bytes())
    starts = [0, *cuts]

    def piece_and_offset(position):
        piece = bisect_right(starts, position) - 1
        return piece, position - starts[piece]

    end = content.rfind(b"PK\5\6")
    count, _, directory = struct.unpack_from("<HLL", content, end + 10)
    at = directory
    for _ in range(count):
        lengths, position = struct.unpack_from("<3H", content, at + 28), struct.unpack_from("<L", content, at + 42)[0]
        piece, offset = piece_and_offset(position)
        struct.pack_into("<H", content, at + 34, piece)
        struct.pack_into("<L", content, at + 42, offset)
        at += 46 + sum(lengths)
    piece, offset = piece_and_offset(directory)
    struct.pack_into("<2H", content, end + 4, len(cuts), piece)
    struct.pack_into("<L", content, end + 16, offset)
    for number, (start, stop) in enumerate(zip(starts, cuts, strict=False), 1):
        path.with_suffix(f".z{number:02}").write_bytes(content[start:stop])
    path.write_bytes(content[starts[-1] :])
    return path


RICH = {"one.wav": b"abc" * 100, "folder/two.wav": b"def" * 50, "inner.zip": b"PK\5\6" + bytes(18), "empty.wav": b""}


def make_rich(path):
    """An archive with comments, extra fields, folders and another archive in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("folder/"), b"")
        for number, (name, content) in enumerate(RICH.items()):
            entry = zipfile.ZipInfo(name)
            entry.comment, entry.extra = b"a comment" * number, struct.pack("<2HL", 0xCAFE, 4, number) * number
            archive.writestr(entry, content)
        archive.comment = b"recorded in April"
        return archive.infolist()[1].header_offset, archive.start_dir


@pytest.mark.parametrize(
    "cuts",
    [
        lambda second, directory, size: [directory],
        lambda second, directory, size: [directory + 1],
        lambda second, directory, size: [directory - 1, directory + 60],
        lambda second, directory, size: [second],
        lambda second, directory, size: [second - 1, second, second + 1],
        lambda second, directory, size: [4],
        lambda second, directory, size: range(1, 300),  # more pieces than a byte can count
        lambda second, directory, size: range(100, size - 50, 100),
    ],
)
def test_an_archive_may_be_cut_anywhere(tmp_path, cuts):
    second, directory = make_rich(tmp_path / "a.zip")
    split(tmp_path / "a.zip", list(cuts(second, directory, (tmp_path / "a.zip").stat().st_size)))
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert files(tmp_path / "out") == RICH


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs Info-ZIP's unzip")
@pytest.mark.parametrize("first", [100, 500])
def test_the_joined_pieces_are_an_archive_for_others_too(tmp_path, first):
    make_rich(tmp_path / "a.zip")
    with zip_archives._opened(split(tmp_path / "a.zip", [first])) as joined:
        assert joined.seek(0) == joined.tell() == 0
        (tmp_path / "joined.zip").write_bytes(joined.read())
    assert subprocess.run(["unzip", "-tqq", "joined.zip"], cwd=tmp_path, check=False).returncode == 0
    # The records at the end, each where the next one says it is (APPNOTE.TXT, 4.3.14 to 4.3.16).
    content = (tmp_path / "joined.zip").read_bytes()
    assert content[-22:-18] == b"PK\5\6" and content[-2:] == b"\0\0"
    signature, disk, at, disks = struct.unpack("<4sLQL", content[-42:-22])
    assert (signature, disk, disks) == (b"PK\6\7", 0, 1)
    signature, rest, *_, size, start = struct.unpack("<4sQ2H2L4Q", content[at:-42])
    assert (signature, at + 12 + rest) == (b"PK\6\6", len(content) - 42)
    assert (content[start : start + 4], start + size) == (b"PK\1\2", at)
    with zipfile.ZipFile(tmp_path / "joined.zip") as archive:
        entries = archive.infolist()
    assert [entry.comment for entry in entries[1:]] == [b"a comment" * number for number in range(4)]
    assert [entry.extra.count(b"\xfe\xca\4\0") for entry in entries[1:]] == list(range(4))


def strict_zipfile(file):
    """`zipfile.ZipFile` as CPython's issue 155639 wants it: an archive of several disks is none."""
    file.seek(0)
    content = file.read()
    end = content.rfind(b"PK\5\6")
    assert content[end + 4 : end + 8] == bytes(4)
    archive = zipfile_of_python(file)
    assert not any(entry.volume for entry in archive.infolist())
    return archive


zipfile_of_python = zipfile.ZipFile


def test_zipfile_is_given_an_archive_that_is_not_split(tmp_path, monkeypatch):
    second, _ = make_rich(tmp_path / "a.zip")
    split(tmp_path / "a.zip", [second])
    monkeypatch.setattr(zip_archives.zipfile, "ZipFile", strict_zipfile)
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert files(tmp_path / "out") == RICH


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


def test_missing_pieces_are_named(tmp_path):
    make_rich(tmp_path / "a.zip")
    split(tmp_path / "a.zip", [100, 200, 300])
    for number in (1, 3):
        (tmp_path / f"a.z0{number}").unlink()
    with pytest.raises(ArchiveError, match=r"^.*a.zip is split: expected a.z01, a.z03 in the same folder, found "):
        extract(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"RIFF" + bytes(100)])
def test_what_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"a.zip cannot be unpacked: File is not a zip file; download it again"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_a_directory_longer_than_the_archive_is_refused(tmp_path):
    _, directory = make_rich(tmp_path / "a.zip")
    split(tmp_path / "a.zip", [directory])
    content = bytearray((tmp_path / "a.zip").read_bytes())
    struct.pack_into("<L", content, content.rfind(b"PK\5\6") + 12, len(content) + 1)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"a.zip cannot be unpacked: its central directory is longer than"):
        extract(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (("<L", 42), 10_000, "points to byte 10000 of piece 1 of 2"),  # of the first entry, from its header
        (("<H", 34), 2, "points to byte 0 of piece 3 of 2"),
    ],
)
def test_an_entry_outside_the_pieces_is_named(tmp_path, field, value, message):
    _, directory = make_rich(tmp_path / "a.zip")
    split(tmp_path / "a.zip", [directory])
    content = bytearray((tmp_path / "a.zip").read_bytes())
    (layout, at) = field
    struct.pack_into(layout, content, at, value)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=rf"a.zip cannot be unpacked: .* {message}; download it again"):
        extract(tmp_path / "a.zip", tmp_path / "out")


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
