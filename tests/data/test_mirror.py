import os
import re
from argparse import Namespace
from contextlib import nullcontext

import pytest
from pyarrow.fs import FileInfo, FileType

from audiotagging.base.errors import UserError
from audiotagging.base.locks import LOCK, file_lock
from audiotagging.data import mirror as mirror_module
from audiotagging.data.mirror import FETCHED, FILLS, StoredFile, fetch, list_files, mirror

URL = "s3://bucket/sounds"


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.name not in (LOCK, FETCHED)]


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files(folder)}


def inodes(folder):
    return {path.name: path.stat().st_ino for path in files(folder)}


@pytest.fixture
def source(tmp_path):
    """A folder with files of all sorts, one of them larger than a request."""
    folder = tmp_path / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").touch()
    (folder / "deep" / "a+b c%d ü.wav").write_bytes(b"sound")
    (folder / "deep" / "er" / "large").write_bytes(os.urandom(3 << 20))
    return folder


@pytest.fixture
def target(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror_module, "CHUNK", 1 << 20)
    return tmp_path / "target"


def test_a_folder_comes_as_it_is(s3, source, target):
    s3.put(source, "sounds")
    s3.put(source, "sounds-of-others")
    mirror(URL, target)
    assert content(target) == content(source)
    mirror("s3://bucket/sounds/deep", target.with_name("deep"))
    assert content(target.with_name("deep")) == content(source / "deep")
    mirror("s3://bucket", target.with_name("all"))
    folders = ("sounds", "sounds-of-others")
    assert content(target.with_name("all")) == {
        f"{folder}/{name}": file for folder in folders for name, file in content(source).items()
    }


def test_what_is_here_is_not_fetched_again_and_what_is_gone_is_removed(s3, source, target):
    s3.put(source, "sounds")
    mirror(URL, target)
    before = inodes(target)
    s3.requests.clear()
    mirror(URL, target)
    assert inodes(target) == before
    assert not any("/sounds/" in request for request in s3.requests)

    (target / "empty").unlink()
    (target / "deep" / "er" / "large").write_bytes(b"half")
    (target / "deep" / "er" / "large.0123abcd.part").write_bytes(b"what a killed program left")
    s3.client.delete_object(Bucket="bucket", Key="sounds/deep/a+b c%d ü.wav")
    (source / "deep" / "a+b c%d ü.wav").unlink()
    mirror(URL, target)
    assert content(target) == content(source)


@pytest.mark.parametrize("name", ["mine.wav", "deep/mine.wav", "link"])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_file_of_the_users_in_a_mirror_is_named_and_kept(s3, source, target, name, recorded):
    s3.put(source, "sounds")
    mirror(URL, target)
    if not recorded:  # an earlier version made it
        (target / FETCHED).unlink()
    (target / name).symlink_to("empty") if name == "link" else (target / name).write_bytes(b"mine")
    (target / ".DS_Store").write_bytes(b"of macOS")
    before = content(target)
    with pytest.raises(UserError, match=f"expected only files that were fetched, found {name}; move it elsewhere"):
        mirror(URL, target)
    assert content(target) == before
    (target / name).unlink()
    mirror(URL, target)
    assert content(target) == content(source) | {".DS_Store": b"of macOS"}


def test_an_object_that_is_replaced_by_one_of_its_size_is_fetched_again(s3, source, target):
    s3.put(source, "sounds")
    mirror(URL, target)
    name = "deep/a+b c%d ü.wav"
    os.utime(target / name, (1, 1))  # as if it had been fetched before the object was replaced
    s3.client.put_object(Bucket="bucket", Key=f"sounds/{name}", Body=b"noise")
    mirror(URL, target)
    assert (target / name).read_bytes() == b"noise"


def test_a_mirror_made_again_has_the_times_of_the_store(s3, source, target):
    s3.put(source, "sounds")
    mirror(URL, target)
    mirror(URL, target.with_name("again"))
    first, second = (folder / "empty" for folder in (target, target.with_name("again")))
    assert first.stat().st_mtime_ns == second.stat().st_mtime_ns


def test_a_corrupt_download_is_fetched_again(s3, source, target):
    s3.put(source, "sounds")
    damages = [b"sOund"]
    s3.tampered["/bucket/sounds/deep/a+b c%d ü.wav"] = lambda body: damages.pop() if damages else body
    mirror(URL, target)
    assert content(target) == content(source) and not damages


def test_repeated_corrupt_downloads_are_an_error_and_leave_nothing(s3, source, target):
    s3.put(source, "sounds")
    damages = [b"sound"[:4] + bytes([number]) for number in range(9)]
    s3.tampered["/bucket/sounds/deep/a+b c%d ü.wav"] = lambda body: damages.pop()
    with pytest.raises(
        UserError, match=r"expected 5 bytes with the MD5 sum \w{32} in bucket/sounds/deep/a.b c%d ü.wav"
    ):
        mirror(URL, target)
    assert not any("a+b" in name for name in content(target))
    s3.tampered.clear()
    mirror(URL, target)
    assert content(target) == content(source)


def test_an_object_that_grows_while_it_is_fetched_is_an_error(s3, target):
    s3.client.put_object(Bucket="bucket", Key="sounds/a", Body=b"sound")
    (file,) = list_files(f"{URL}/a").values()
    s3.client.put_object(Bucket="bucket", Key="sounds/a", Body=b"sounds")
    with pytest.raises(UserError, match=r"expected 5 bytes .* found 6 .*make sure that nobody writes to it"):
        fetch(file, target / "a")
    assert not content(target)


def test_an_etag_that_is_no_md5_sum_of_the_content_is_seen_as_that(s3, source, target):
    # As where a store encrypts with keys of its own: what comes is always the same, and never what the ETag says.
    s3.put(source, "sounds")
    s3.tampered["/bucket/sounds/deep/a+b c%d ü.wav"] = lambda body: b"SOUND"
    mirror(URL, target)
    assert (target / "deep" / "a+b c%d ü.wav").read_bytes() == b"SOUND"


def test_an_object_that_was_uploaded_in_parts_comes_too(s3, source, target):
    upload = s3.client.create_multipart_upload(Bucket="bucket", Key="sounds/parts")["UploadId"]
    where = {"Bucket": "bucket", "Key": "sounds/parts", "UploadId": upload}
    pieces = [os.urandom(5 << 20), b"end"]
    parts = [
        {"PartNumber": number, "ETag": s3.client.upload_part(PartNumber=number, Body=piece, **where)["ETag"]}
        for number, piece in enumerate(pieces, 1)
    ]
    s3.client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **where)
    mirror(URL, target)
    assert content(target) == {"parts": b"".join(pieces)}


def test_an_interrupted_mirror_resumes(s3, source, target, monkeypatch):
    s3.put(source, "sounds")
    monkeypatch.setattr(mirror_module, "THREADS", 1)

    with monkeypatch.context() as patch:
        fetch = mirror_module.fetch
        fetched = []

        def interrupted(*arguments):
            if fetched:
                raise KeyboardInterrupt
            fetched.append(arguments)
            fetch(*arguments)

        patch.setattr(mirror_module, "fetch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mirror(URL, target)
    assert len(content(target)) == 1
    before = inodes(target)
    mirror(URL, target)
    assert content(target) == content(source)
    assert before.items() <= inodes(target).items()


def test_nobody_else_mirrors_into_the_same_folder_meanwhile(s3, source, target, monkeypatch):
    s3.put(source, "sounds")
    held = []

    def fetch_all(files, folder):
        with pytest.raises(UserError, match="is in use by process"), file_lock(folder / LOCK, wait=0):
            pass
        held.append(folder)

    monkeypatch.setattr(mirror_module, "fetch_all", fetch_all)
    mirror(URL, target)
    assert held == [target]


def test_a_disk_that_is_too_small(s3, source, target, monkeypatch):
    s3.put(source, "sounds")
    usage = mirror_module.shutil.disk_usage(source)
    monkeypatch.setattr(mirror_module.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(UserError, match=rf"{target}: expected 3,145,733 free bytes for the files, found 1,000"):
        mirror(URL, target)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/file", "expected a folder with files in it, found a file"),
        ("s3://bucket/none", "there is nothing of this name in the store"),
        ("s3://nobody", "there is no bucket 'nobody' in this store"),
    ],
)
def test_a_store_without_the_data(s3, target, url, expected):
    s3.client.put_object(Bucket="bucket", Key="file", Body=b"")
    with pytest.raises(UserError, match=f"^{re.escape(url)}.*({expected})") as error:
        mirror(url, target)
    assert "\n" not in str(error.value)
    assert not target.exists()


class Stream:
    """Says that it has read an object of three bytes, of which it has only some."""

    def __init__(self, sent):
        self.sent, self.counts = sent, [3, 0]

    def metadata(self):
        return {}

    def readinto(self, memory):
        memory[: len(self.sent)] = self.sent
        return self.counts.pop(0)


@pytest.mark.parametrize("sent", [b"", b"ab", b"abc", *(b"ab" + fill for fill in FILLS)])
def test_an_object_of_which_the_store_sent_less_than_it_states_is_refused(tmp_path, sent):
    store = Namespace(open_input_stream=lambda path: Stream(sent))
    file = StoredFile("s3://bucket", store, FileInfo("bucket/a", FileType.File, size=3, mtime_ns=1))
    with nullcontext() if len(sent) == 3 else pytest.raises(UserError, match="expected 3 bytes"):
        fetch(file, tmp_path / "a")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({"a": sent} if len(sent) == 3 else {})


def test_an_object_with_the_name_of_our_marker_is_left_where_it_is(s3, source, target):
    s3.put(source, "sounds")
    s3.client.put_object(Bucket="bucket", Key="sounds/.audiotagging.lock", Body=b"not ours")
    for _ in range(2):
        mirror("s3://bucket/sounds", target)
    assert (target / ".audiotagging.lock").read_text().startswith("process")
