import hashlib
import os
import random
import re
import shutil
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers.data_folder import write_table

from audiotagging.base.errors import UserError
from audiotagging.data.dataset import fingerprint, read_dataset, take_digests
from audiotagging.data.digests import DIGESTS, sound_digests
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.sources import resolve

READ = re.compile(r"read (\d+) sounds? to know")


@pytest.fixture
def folder(sounds):
    """A data folder with a table of twelve clips of three classes, whose files are not new."""
    names = [f"{label}/{number}.wav" for label in ("cat", "dog", "owl") for number in range(4)]
    made = sounds(*names)
    rows = [(name, name.partition("/")[0], number % 3, f"g{number % 6}") for number, name in enumerate(names)]
    write_table(made / "labels.csv", ("path", "labels", "fold", "group"), *rows)
    return age(made)


def age(folder):
    for path in folder.rglob("*.wav"):
        os.utime(path, ns=(10**18, 10**18 + 7))
    return folder


def copied(folder, tmp_path, *, names=sorted):
    """Copy a folder elsewhere with the times of now, its files in the order of `names`."""
    for path in names([path for path in folder.rglob("*") if path.is_file()]):
        target = tmp_path / "another name" / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path / "another name"


def zipped(folder, path, *, top=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, f"{top}{file.relative_to(folder)}")
    return path


def tarred(folder, path, *, top="."):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, top)
    return path


def linked(folder, tmp_path):
    """A folder with a link to every file."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        target = tmp_path / "links" / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    return tmp_path / "links"


def link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    return tmp_path / "link"


def shuffled(paths):
    return random.Random(1).sample(paths, len(paths))


def replace(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count), newline="")


def flip(path):
    """Change one sample of a sound, and neither its size nor its time."""
    state, content = path.stat(), bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda folder, _: [os.utime(path) for path in folder.rglob("*")] and folder, id="other times"),
        pytest.param(copied, id="a copy"),
        pytest.param(lambda *given: copied(*given, names=shuffled), id="files in another order"),
        pytest.param(link, id="a link to the folder"),
        pytest.param(linked, id="links to the files"),
        pytest.param(lambda folder, tmp_path: zipped(folder, tmp_path / "a.zip"), id="zip"),
        pytest.param(lambda folder, tmp_path: zipped(folder, tmp_path / "b.zip", top="top/"), id="zip with a folder"),
        pytest.param(lambda folder, tmp_path: tarred(folder, tmp_path / "a.tar.gz"), id="tar"),
        pytest.param(lambda folder, tmp_path: tarred(folder, tmp_path / "b.tgz", top="top"), id="tar with a folder"),
        pytest.param(
            lambda folder, _: [replace(folder / "labels.csv", f"g{n}\n", f"{n}g\n", -1) for n in range(6)] and folder,
            id="other names of groups",
        ),
    ],
)
def test_the_same_data_have_the_same_fingerprint(folder, tmp_path, other):
    downloads = tmp_path / "downloads"
    before = fingerprint(read_dataset(folder))
    dataset = read_dataset(resolve(str(other(folder, tmp_path)), downloads=downloads))
    assert fingerprint(dataset, take_digests(dataset, downloads=downloads)) == before


@pytest.mark.parametrize(
    ("change", "reading"),
    [
        pytest.param(lambda f: replace(f / "labels.csv", "cat/0.wav,cat", "cat/0.wav,dog"), {}, id="a label"),
        pytest.param(lambda f: replace(f / "labels.csv", "cat/0.wav,cat", 'cat/0.wav,"cat,dog"'), {}, id="more labels"),
        pytest.param(lambda f: replace(f / "labels.csv", ",0,g0", ",1,g0", -1), {}, id="a fold"),
        pytest.param(lambda f: replace(f / "labels.csv", ",g3", ",g0", -1), {}, id="groups"),
        pytest.param(lambda f: flip(f / "dog" / "3.wav"), {}, id="one sample"),
        pytest.param(lambda f: (f / "dog" / "3.wav").open("ab").write(b"\0"), {}, id="one byte more"),
        pytest.param(lambda f: replace(f / "labels.csv", "cat/0.wav,cat,0,g0\n", ""), {}, id="a clip less"),
        pytest.param(lambda f: None, {"columns": {"fold": ["none"]}}, id="another column for the folds"),
        pytest.param(lambda f: None, {"negatives": ("dog",)}, id="negatives"),
        pytest.param(lambda f: None, {"test_share": 0.2}, id="test clips"),
        pytest.param(lambda f: None, {"corrections": ["../fix.csv"]}, id="corrections"),
    ],
)
def test_what_changes_training_changes_the_fingerprint(folder, change, reading):
    write_table(folder.parent / "fix.csv", ("fname", "labels"), ("cat/2.wav", "dog"))
    before = fingerprint(read_dataset(folder))
    change(folder)
    options = {name: value for name, value in reading.items() if name in ("test_share", "corrections")}
    wishes = Reading.from_dict({name: value for name, value in reading.items() if name not in options})
    assert fingerprint(read_dataset(folder, reading=wishes, **options)) != before


def digests_of(folder, downloads, caplog):
    """Return the digests of a folder, and how many files were read for them."""
    caplog.clear()
    with caplog.at_level("DEBUG"):
        found = sound_digests(folder, map(str, sorted(folder.rglob("*.wav"))), downloads=downloads)
    assert found == {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.wav"))}
    return found, int((READ.search(caplog.text) or [0, 0])[1])


def spoil(kept):
    content = bytearray(kept.read_bytes())
    content[len(content) // 3] ^= 255
    kept.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (lambda folder, kept: None, 0),
        (lambda folder, kept: os.utime(folder / "cat" / "1.wav", (1, 1)), 1),
        (lambda folder, kept: (folder / "cat" / "1.wav").write_bytes(b"shorter"), 1),
        (lambda folder, kept: shutil.copy2(folder / "cat" / "1.wav", folder / "new.wav"), 1),
        (lambda folder, kept: (folder / "cat" / "1.wav").replace(folder / "cat" / "9.wav"), 1),
        (lambda folder, kept: kept.unlink(), 12),
        (lambda folder, kept: kept.write_bytes(kept.read_bytes()[:-100]), 12),
        (lambda folder, kept: kept.write_bytes(b""), 12),
        (lambda folder, kept: spoil(kept), 12),
        (lambda folder, kept: (kept.parent / ".audiotagging.lock").unlink(), 12),
    ],
)
def test_only_what_is_new_or_changed_is_read_again(folder, tmp_path, caplog, change, read):
    downloads = tmp_path / "downloads"
    assert digests_of(folder, downloads, caplog)[1] == 12
    (kept,) = (downloads / DIGESTS).glob("*.parquet")
    change(folder, kept)
    assert digests_of(folder, downloads, caplog)[1] == read
    age(folder)
    digests_of(folder, downloads, caplog)
    assert digests_of(folder, downloads, caplog)[1] == 0


def test_a_file_of_this_moment_is_read_again_because_it_can_change_unseen(folder, tmp_path, caplog):
    os.utime(folder / "cat" / "1.wav")
    assert [digests_of(folder, tmp_path / "downloads", caplog)[1] for _ in range(2)] == [12, 1]
    state = (folder / "cat" / "1.wav").stat()
    flip(folder / "cat" / "1.wav")
    assert (folder / "cat" / "1.wav").stat().st_mtime_ns == state.st_mtime_ns
    assert digests_of(folder, tmp_path / "downloads", caplog)[1] == 1


def test_the_digests_of_another_folder_are_not_used(folder, tmp_path, caplog):
    digests_of(folder, tmp_path / "downloads", caplog)
    other = age(shutil.copytree(folder, tmp_path / "other"))
    flip(other / "cat" / "1.wav")  # it has the same path, size and time
    assert digests_of(other, tmp_path / "downloads", caplog)[1] == 12


def test_a_link_among_the_digests_is_replaced_and_its_target_is_not(folder, tmp_path, caplog):
    downloads = tmp_path / "downloads"
    digests_of(folder, downloads, caplog)
    (kept,) = (downloads / DIGESTS).glob("*.parquet")
    theirs = tmp_path / "theirs.parquet"
    kept.rename(theirs)
    kept.symlink_to(theirs)
    content = theirs.read_bytes()
    assert digests_of(folder, downloads, caplog)[1] == 12 and theirs.read_bytes() == content
    assert not kept.is_symlink() and digests_of(folder, downloads, caplog)[1] == 0


@pytest.mark.parametrize("block", [lambda path: path.write_text("mine"), lambda path: path.symlink_to(path.parent)])
def test_digests_that_cannot_be_kept_are_taken_every_time(folder, tmp_path, caplog, block):
    (tmp_path / "downloads").mkdir()
    block(tmp_path / "downloads" / DIGESTS)
    for _ in range(2):
        assert digests_of(folder, tmp_path / "downloads", caplog)[1] == 12
        assert "cannot be kept" in caplog.text
    assert sorted(path.name for path in (tmp_path / "downloads").iterdir()) == [DIGESTS]


@pytest.mark.parametrize("downloads", ["", "downloads", "cat"])
def test_nothing_is_written_to_the_data_folder(folder, caplog, downloads):
    before = sorted(folder.rglob("*"))
    for _ in range(2):
        assert digests_of(folder, folder / downloads, caplog)[1] == 12
        assert "every run reads all sounds, because" in caplog.text
    assert sorted(folder.rglob("*")) == before


def test_a_file_that_changes_while_it_is_read_is_refused(folder, tmp_path, monkeypatch):
    path, take = folder / "cat" / "0.wav", hashlib.file_digest

    def changing(file, name):
        found = take(file, name)
        if file.name == str(path):
            flip(path)
            os.utime(path, ns=(10**18, 10**18 + 8))  # the same size, a later time
        return found

    monkeypatch.setattr(hashlib, "file_digest", changing)
    with pytest.raises(UserError, match=r"cat/0.wav has changed while it was read; wait until it is complete"):
        sound_digests(folder, [str(path)], downloads=tmp_path / "downloads")
    monkeypatch.undo()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert sound_digests(folder, [str(path)], downloads=tmp_path / "downloads") == {str(path): digest}


def test_what_is_done_is_kept_when_a_later_file_stops_the_work(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("audiotagging.data.digests.THREADS", 1)
    os.utime(folder / "dog" / "3.wav", (2, 2))
    take = hashlib.file_digest

    def failing(file, name):
        if file.name.endswith("dog/3.wav"):
            raise KeyboardInterrupt
        return take(file, name)

    monkeypatch.setattr(hashlib, "file_digest", failing)
    with pytest.raises(KeyboardInterrupt):
        sound_digests(folder, map(str, sorted(folder.rglob("*.wav"))), downloads=tmp_path / "downloads")
    monkeypatch.undo()
    assert digests_of(folder, tmp_path / "downloads", caplog)[1] < 12


def test_a_file_that_cannot_be_read_has_no_digest(folder, caplog):
    shutil.rmtree(folder / "cat")
    os.mkfifo(folder / "pipe.wav")  # which would wait for ever
    assert sound_digests(folder, [str(folder / "pipe.wav")]) == {str(folder / "pipe.wav"): ""}
    assert "1 sound cannot be read, such as" in caplog.text


def test_names_that_are_not_text(folder, tmp_path, caplog):
    (folder / "cat" / "1.wav").rename(folder / "cat" / os.fsdecode(b"\xff.wav"))
    assert [digests_of(folder, tmp_path / "downloads", caplog)[1] for _ in range(2)] == [12, 0]


def test_two_runs_at_once(folder, tmp_path, caplog):
    paths = [str(path) for path in sorted(folder.rglob("*.wav"))]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: sound_digests(folder, paths, downloads=tmp_path / "downloads"), range(8)))
    assert all(each == found[0] for each in found)
    assert digests_of(folder, tmp_path / "downloads", caplog)[1] == 0
    assert len(list((tmp_path / "downloads" / DIGESTS).iterdir())) == 2  # the lock, and one table
