import hashlib
import json
import os
import re
import shutil
import tarfile
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers.background import running

from audiotagging.base.errors import UserError
from audiotagging.base.locks import LOCK, file_lock
from audiotagging.data import zenodo as zenodo_module
from audiotagging.data import zenodo as zenodo_records
from audiotagging.data.archives import ArchiveError
from audiotagging.data.dataset import fingerprint, read_dataset
from audiotagging.data.sources import resolve, resolve_init


def zip_folder(folder, archive, top=""):
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(folder.rglob("*")):
            opened.write(path, f"{top}{path.relative_to(folder)}")


def as_zenodo(data, folder, zipped=True):
    """Make the Zenodo edition of a data folder, which has no submission."""
    folder.mkdir()
    (data / "sample_submission.csv").unlink()
    meta = folder / "FSDKaggle2019.meta"
    meta.mkdir()
    for part, name in [("train_curated", "train_curated"), ("train_noisy", "train_noisy"), ("test", "test")]:
        shutil.copytree(data / part, folder / f"FSDKaggle2019.audio_{name}")
        if part != "test":
            shutil.copy(data / f"{part}.csv", meta / f"{part}_post_competition.csv")
    shutil.copy(data / "test_post_competition.csv", meta)
    if zipped:
        for path in list(folder.iterdir()):
            zip_folder(path, folder / f"{path.name}.zip", top=f"{path.name}/")
            shutil.rmtree(path)
    return folder


def content(folder):
    """Return what matters of a data set, wherever it lies."""
    return read_dataset(folder).clips.drop(columns="path").to_dict("records")


@pytest.fixture
def downloads(tmp_path):
    return tmp_path / "downloads"


def test_a_folder_in_the_layout_is_used_as_it_is(data, downloads):
    assert resolve(str(data), downloads=downloads) == data
    assert not downloads.exists()


def test_a_folder_with_kaggles_archives(data, downloads):
    expected = content(data)
    for part in ("train_curated", "train_noisy", "test"):
        zip_folder(data / part, data / f"{part}.zip")
        shutil.rmtree(data / part)
    folder = resolve(str(data), downloads=downloads)
    assert content(folder) == expected
    before = fingerprint(read_dataset(folder))
    assert resolve(str(data), downloads=downloads) == folder
    shutil.rmtree(downloads)
    assert fingerprint(read_dataset(resolve(str(data), downloads=downloads))) == before
    table = data / "test_post_competition.csv"  # tables are not copied: a change of one is seen
    table.write_text(table.read_text().replace("Public", "Private"))
    assert fingerprint(read_dataset(resolve(str(data), downloads=downloads))) != before


def test_some_archives_unpacked_already(data, downloads):
    expected = content(data)
    zip_folder(data / "test", data / "test.zip")
    shutil.rmtree(data / "test")
    assert content(resolve(str(data), downloads=downloads)) == expected
    (data / "test.zip").rename(data / "test.old")
    with pytest.raises(UserError, match="test/ is missing"):
        read_dataset(resolve(str(data), downloads=downloads))


@pytest.mark.parametrize("top", ["", "freesound/"])
def test_an_archive_of_the_atomic_folder(data, downloads, tmp_path, top):
    zip_folder(data, tmp_path / "all.zip", top=top)
    assert content(resolve(str(tmp_path / "all.zip"), downloads=downloads)) == content(data)


@pytest.mark.parametrize("zipped", [True, False])
def test_zenodos_names(data, downloads, tmp_path, zipped):
    expected = content(data)
    folder = resolve(str(as_zenodo(data, tmp_path / "zenodo", zipped)), downloads=downloads)
    assert content(folder) == expected


def test_folders_of_one_name_are_kept_apart(data, downloads, tmp_path):
    folders = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        source = as_zenodo(data, tmp_path / place / "zenodo", zipped=False)
        folders.append(resolve(str(source), downloads=downloads))
        (data / "sample_submission.csv").touch()  # which as_zenodo took away
    assert [(folder / "test").resolve().parent.parent.name for folder in folders] == ["here", "there"]


DAMAGES = {
    "a bit of the content": lambda content: (
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
    ),
    "the checksum": lambda content: content[:-6] + bytes([content[-6] ^ 1]) + content[-5:],
    "the last bytes": lambda content: content[:-20],
    "the second half": lambda content: content[: len(content) // 2],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("mode", ["gz", "xz", "bz2"])
def test_a_damaged_tar_archive_is_refused(data, downloads, tmp_path, mode, damage):
    archive = tmp_path / ("data.tar.gz" if mode == "gz" else "data.tar")
    with tarfile.open(archive, f"w:{mode}") as packed:
        packed.add(data, arcname="data")
    assert resolve(str(archive), downloads=downloads)
    archive.write_bytes(DAMAGES[damage](archive.read_bytes()))
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        resolve(str(archive), downloads=tmp_path / "others")


@pytest.mark.parametrize("blocks", [2, 3])
def test_a_tar_archive_without_its_end_is_refused(data, downloads, tmp_path, blocks):
    archive = tmp_path / "data.tar"
    with tarfile.open(archive, "w") as packed:
        packed.add(data, arcname="data")
    content = archive.read_bytes().rstrip(b"\0")
    archive.write_bytes(content[: len(content) // 512 // blocks * 512])
    with pytest.raises(ArchiveError, match=r"its end is missing|unexpected end of data"):
        resolve(str(archive), downloads=downloads)


def test_an_interrupted_unpacking_is_started_again(data, downloads, monkeypatch):
    expected = content(data)
    zip_folder(data / "test", data / "test.zip")
    shutil.rmtree(data / "test")
    with monkeypatch.context() as patch:
        patch.setattr("audiotagging.data.archives.utime", interrupt)
        with pytest.raises(KeyboardInterrupt):
            resolve(str(data), downloads=downloads)
    assert list(downloads.iterdir()) == []
    assert content(resolve(str(data), downloads=downloads)) == expected


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("data", ["nowhere", "zenodo:abc", "kaggle:../x", "nowhere.zip", "", __file__])
def test_invalid_sources_of_data(data, downloads):
    with pytest.raises(UserError, match=re.escape(repr(data))):
        resolve(data, downloads=downloads)


class Zenodo(ThreadingHTTPServer):
    """A server with one record, 42, which can be told to misbehave."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests = []  # (path, Range header)
        self.cut = 0  # answers that are broken off half way, from now on
        self.ranges = True
        self.lies = set()  # files with a wrong checksum

    def record(self):
        files = [
            {
                "key": path.name,
                "size": path.stat().st_size,
                "checksum": "md5:" + hashlib.md5(b"x" if path.name in self.lies else path.read_bytes()).hexdigest(),
                "links": {"self": f"{self.url}/api/records/42/files/{path.name}/content"},
            }
            for path in sorted(self.folder.iterdir())
        ]
        return json.dumps({"id": 42, "files": files}).encode()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers["Range"]))
        match = re.fullmatch("/api/records/42(?:/files/(.+)/content)?", self.path)
        if not match:
            self.send_error(404)
            return
        body = (server.folder / match[1]).read_bytes() if match[1] else server.record()
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1]) if self.headers["Range"] else 0
        start *= server.ranges
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        body = body[start:]
        if match[1] and server.cut:
            server.cut -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def zenodo(data, tmp_path, monkeypatch):
    monkeypatch.setattr(zenodo_module, "PAUSE", 0)
    server = Zenodo(as_zenodo(data, tmp_path / "record"))
    with running(server):
        yield server


def test_a_record_is_downloaded_once(data, downloads, zenodo):
    folder = resolve("zenodo:42", downloads=downloads, zenodo=zenodo.url)
    assert [clip["clip"] for clip in content(folder)][:2] == ["c00.wav", "c01.wav"]
    asked = len(zenodo.requests)
    assert asked == 5
    assert resolve("zenodo:42", downloads=downloads, zenodo="http://127.0.0.1:1") == folder
    assert not list(downloads.rglob("*.part"))


def test_nobody_else_downloads_to_the_same_folder_meanwhile(data, downloads, zenodo, monkeypatch):
    held, download = [], zenodo_module.download

    def locked(url, path, **options):
        with pytest.raises(UserError, match="is in use by process"), file_lock(path.parent / LOCK, wait=0):
            pass
        held.append(path)
        download(url, path, **options)

    monkeypatch.setattr(zenodo_module, "download", locked)
    resolve("zenodo:42", downloads=downloads, zenodo=zenodo.url)
    assert len(held) == 4


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_resumes(data, downloads, zenodo, ranges):
    zenodo.cut, zenodo.ranges = 3, ranges
    folder = resolve("zenodo:42", downloads=downloads, zenodo=zenodo.url)
    assert len(content(folder)) == 19
    starts = [int(header[6:-1]) for _, header in zenodo.requests if header]
    assert len(starts) == 7 and sum(start > 0 for start in starts) == 3


def test_a_later_run_resumes_an_interrupted_download(data, downloads, zenodo):
    zenodo.cut = 10**6
    name, file = "FSDKaggle2019.audio_test.zip", downloads / "zenodo-42" / "FSDKaggle2019.audio_test.zip.part"
    file.parent.mkdir(parents=True)
    file.write_bytes((zenodo.folder / name).read_bytes()[:1000])
    zenodo.cut = 0
    resolve("zenodo:42", downloads=downloads, zenodo=zenodo.url)
    assert (f"/api/records/42/files/{name}/content", "bytes=1000-") in zenodo.requests


def test_a_wrong_checksum_is_an_error_and_leaves_nothing(data, downloads, zenodo):
    zenodo.lies = {"FSDKaggle2019.audio_test.zip"}
    with pytest.raises(UserError, match=r"FSDKaggle2019.audio_test.zip: expected .* MD5 sum .* found"):
        resolve("zenodo:42", downloads=downloads, zenodo=zenodo.url)
    assert not list(downloads.rglob("FSDKaggle2019.audio_test.zip*"))


@pytest.mark.parametrize("where", ["http://127.0.0.1:1", None])
def test_without_network_it_says_what_to_do_by_hand(data, downloads, zenodo, where):
    record, server = ("42", where) if where else ("43", zenodo.url)
    with pytest.raises(UserError, match=f"download the files of {server}/records/{record} by hand") as error:
        resolve(f"zenodo:{record}", downloads=downloads, zenodo=server)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "{}", '[{"key": "a.zip"}]', "[" * 100_000])
def test_a_damaged_copy_of_a_record_is_fetched_again(data, downloads, zenodo, content):
    folder = downloads / "zenodo-42"
    folder.mkdir(parents=True)
    (folder / "files.json").write_text(content)
    resolve("zenodo:42", downloads=downloads, zenodo=zenodo.url)
    names = {file["key"] for file in json.loads((folder / "files.json").read_text())}
    assert names and names <= {path.name for path in folder.iterdir()}


def test_a_record_whose_files_have_paths_is_refused(data, downloads, zenodo):
    folder = downloads / "zenodo-42"
    folder.mkdir(parents=True)
    file = {"key": "../a.zip", "size": 1, "checksum": "md5:0", "links": {"self": ""}}
    (folder / "files.json").write_text(json.dumps([file]))
    with pytest.raises(UserError, match=r"expected file names without a folder, found '../a.zip'"):
        resolve("zenodo:42", downloads=downloads, zenodo=zenodo.url)


def test_kaggle_through_its_own_program(data, downloads, tmp_path, monkeypatch):
    zip_folder(data, tmp_path / "freesound-audio-tagging-2019.zip")
    program = tmp_path / "bin" / "kaggle"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$1 $2 $3 $4" = "competitions download freesound-audio-tagging-2019 --path" ] || exit 3\n'
        f'mkdir -p "$5" && cp {tmp_path}/freesound-audio-tagging-2019.zip "$5"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    folder = resolve("kaggle:freesound-audio-tagging-2019", downloads=downloads)
    assert content(folder) == content(data)
    with pytest.raises(UserError, match=r"failed with code 3.* or download other.zip from https"):
        resolve("kaggle:other", downloads=downloads)
    program.unlink()
    assert resolve("kaggle:freesound-audio-tagging-2019", downloads=downloads) == folder
    with pytest.raises(UserError, match=r"needs the program kaggle"):
        resolve("kaggle:other", downloads=downloads)


def test_an_object_store(data, downloads, s3):
    s3.put(data, "data")
    folder = resolve("s3://bucket/data", downloads=downloads)
    assert content(folder) == content(data)
    before = fingerprint(read_dataset(data))
    assert fingerprint(read_dataset(folder)) == before
    assert fingerprint(read_dataset(resolve("s3://bucket/data", downloads=downloads))) == before
    elsewhere = resolve("s3://bucket/data", downloads=downloads.with_name("elsewhere"))
    assert fingerprint(read_dataset(elsewhere)) == before  # so that what is cached of it is found there too

    s3.client.delete_object(Bucket="bucket", Key="data/train_noisy.csv")
    s3.client.put_object(Bucket="bucket", Key="data/test/new.wav", Body=(data / "test" / "t0.wav").read_bytes())
    table = (data / "train_curated.csv").read_bytes().replace(b"Meow\r\n", b"Tap_running\r\n")
    s3.client.put_object(Bucket="bucket", Key="data/train_curated.csv", Body=table)
    assert resolve("s3://bucket/data", downloads=downloads) == folder
    dataset = read_dataset(folder)
    assert dataset.clips["labels"][1] == ["Tap_running"] and "noisy" not in set(dataset.clips["part"])
    assert (folder / "test" / "new.wav").exists()


def test_archives_in_an_object_store(data, downloads, tmp_path, s3):
    expected = content(data)
    s3.put(as_zenodo(data, tmp_path / "zenodo"), "data")
    assert content(resolve("s3://bucket/data", downloads=downloads)) == expected


def test_weights_in_an_object_store(tmp_path, downloads, s3):
    (tmp_path / "models" / "member-fold-1").mkdir(parents=True)
    (tmp_path / "models" / "member-fold-1" / "member.json").write_text("{}")
    (tmp_path / "models" / "weights.pth").write_bytes(b"weights")
    s3.put(tmp_path / "models", "models")
    folder = resolve_init("s3://bucket/models", downloads=downloads)
    assert (folder / "member-fold-1" / "member.json").read_text() == "{}"
    assert (folder / "weights.pth").read_bytes() == b"weights"
    file = resolve_init("s3://bucket/models/weights.pth", downloads=downloads)
    assert (file.name, file.read_bytes()) == ("weights.pth", b"weights")
    with pytest.raises(UserError, match=r"s3://bucket/other"):
        resolve_init("s3://bucket/other", downloads=downloads)


def test_weights_here_stay_where_they_are(downloads):
    assert resolve_init("models/a.pth", downloads=downloads) == Path("models/a.pth")
    assert resolve_init("", downloads=downloads) is None


@pytest.mark.parametrize("url", ["hf://datasets/sounds", "nothing://bucket", "s3://", "S3:///folder"])
def test_a_url_of_something_else(downloads, url):
    with pytest.raises(UserError, match=rf"one of s3://BUCKET/FOLDER, .*, found '{url}'"):
        resolve(url, downloads=downloads)
    assert not downloads.exists()


def test_a_record_of_another_data_set_is_unpacked_without_its_documents(
    downloads, zenodo, tmp_path, monkeypatch, sounds
):
    for path in zenodo.folder.iterdir():
        path.unlink()
    sounds("dev_audio/1.wav", "eval_audio/2.wav", "doc/3.wav", "set/audio/4.wav")
    for part in ("dev_audio", "eval_audio", "doc"):
        zip_folder(tmp_path / "sounds" / part, zenodo.folder / f"FSD50K.{part}.zip", top=f"FSD50K.{part}/")
    with tarfile.open(zenodo.folder / "set.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "sounds" / "set", arcname="set")
    needed = ("FSD50K.dev_audio.*", "FSD50K.eval_audio.*", "*.tar.gz")
    monkeypatch.setitem(zenodo_records.RECORDS, "42", zenodo_records.KnownRecord("FSD50K", needed))
    folder = resolve("zenodo:42", downloads=downloads, zenodo=zenodo.url)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav")) == [
        "FSD50K.dev_audio/1.wav",
        "FSD50K.eval_audio/2.wav",
        "set/audio/4.wav",
    ]
    assert resolve("zenodo:42", downloads=downloads, zenodo="http://127.0.0.1:1") == folder


@pytest.mark.parametrize("name", ["sounds.tar.gz", "sounds.tgz", "sounds.tar"])
def test_a_tar_archive(downloads, tmp_path, sounds, name):
    sounds("cat/1.wav", "dog/1.wav")
    with tarfile.open(tmp_path / name, "w:gz" if "gz" in name else "w") as archive:
        archive.add(tmp_path / "sounds", arcname=".")
    assert (resolve(str(tmp_path / name), downloads=downloads) / "dog" / "1.wav").is_file()


def test_a_tar_archive_that_is_corrupt_or_writes_elsewhere_is_refused(downloads, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no archive")
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        archive.add(tmp_path / "a.tar", arcname="../outside.wav")
    for name, message in (("a.tar", "cannot be unpacked"), ("b.tar", "is refused")):
        with pytest.raises(UserError, match=message):
            resolve(str(tmp_path / name), downloads=downloads)
    assert not list(downloads.rglob("outside.wav"))
