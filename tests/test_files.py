import pytest

from audiotagging.errors import UserError
from audiotagging.files import atomic_file, atomic_folder, read_json, write_json


def test_a_folder_is_there_when_it_is_whole_and_replaces_what_a_killed_run_left(tmp_path):
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / "old").touch()
    with atomic_folder(tmp_path / "new") as partial:
        (partial / "a").write_text("1")
        assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("whole", [atomic_folder, atomic_file])
def test_what_fails_makes_and_replaces_nothing(tmp_path, whole):
    (tmp_path / "file").write_text("before")
    with pytest.raises(ZeroDivisionError), whole(tmp_path / "file") as partial:
        (partial / "a" if partial.is_dir() else partial).write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "before"


def test_a_file_replaces_another_when_it_is_whole(tmp_path):
    (tmp_path / "file").write_text("before")
    with atomic_file(tmp_path / "file") as partial:
        write_json(partial, {"ä": [1, 2.5]})
        assert (tmp_path / "file").read_text() == "before"
    assert read_json(tmp_path / "file") == {"ä": [1, 2.5]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "JSON"),
        (b'{"a": 1', "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[]", "an object with a, b"),
        (b'{"a": 1}', "an object with a, b"),
    ],
)
def test_a_file_with_other_content_is_named(tmp_path, content, expected):
    (tmp_path / "scores.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"scores\.json: expected {expected}"):
        read_json(tmp_path / "scores.json", "a", "b")
