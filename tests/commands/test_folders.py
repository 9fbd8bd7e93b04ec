"""No command starts where it would remove what it reads, or what somebody else made."""

import shutil

import pytest

import pipeline
from commands import main
from commands.folders import with_linked


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# The folders of a command of which one would be lost, or would get files that do not belong there; and the message.
# The test clips of the data are in `linked`, to which a link in the data folder points; `link` points to the data.
REFUSED = [
    ("run", {"data": "d", "out": "d"}, "--data d is inside d, which the results replace"),
    ("run", {"data": "d", "out": "/"}, "--data d is inside /, which the results replace"),
    ("run", {"data": "out/d", "out": "out"}, "--data out/d is inside out, which the results replace"),
    ("run", {"data": "out.work", "out": "out"}, "--data out.work is inside out.work, which is removed at the end"),
    ("run", {"data": "out.work/d", "out": "out"}, "--data out.work/d is inside out.work, which is removed at the end"),
    ("run", {"data": "d", "out": "d/test/out"}, "linked/out is inside the data folder d; name another --out"),
    ("run", {"data": "d", "out": "link/out"}, "d/out is inside the data folder d; name another --out"),
    ("run", {"data": "link", "out": "d"}, "--data d is inside d, which the results replace"),
    ("run", {"data": "d", "out": "linked"}, "--data linked is inside linked, which the results replace"),
    ("run", {"data": "d", "out": "linked/out"}, "linked/out is inside the data folder d; name another --out"),
    *(
        ("run", {"data": "d", "out": "out", option: inside}, f"--{option} {inside} is inside {place}, which")
        for option in ("cache", "champions", "downloads")
        for inside, place in (("out", "out"), ("out/x", "out"), ("out.work", "out.work"), ("out.work/x", "out.work"))
    ),
    *(
        ("run", {"data": "d", "out": "out", "init": inside}, f"--init {inside} is inside {place}, which")
        for inside, place in (("out", "out"), ("out/models", "out"), ("out.work/x", "out.work"))
    ),
    ("run", {"data": "d", "out": "out", "cache": "d"}, "d is inside the data folder d; name another --cache"),
    (
        "run",
        {"data": "d", "out": "out", "champions": "d/x"},
        "d/x is inside the data folder d; name another",
    ),
    ("run", {"data": "d", "out": "out", "cache": "x", "champions": "x"}, "--cache and --champions are both x"),
    ("run", {"data": "d", "out": "out", "cache": "x", "downloads": "x"}, "--downloads and --cache are both x"),
    *(
        ("run", {"data": "d", "out": "out", option: "file"}, f"--{option}: expected a folder, or nothing yet, found")
        for option in ("cache", "champions", "downloads")
    ),
    ("preprocess", {"data": "d", "out": "d"}, "--data d is inside d, which the results replace"),
    ("preprocess", {"data": "d", "out": "/"}, "--data d is inside /, which the results replace"),
    (
        "preprocess",
        {"data": "out.part", "out": "out"},
        "--data out.part is inside out.part, which is removed",
    ),
    ("preprocess", {"data": "d", "out": "d/out"}, "d/out is inside the data folder d; name another --out"),
    ("preprocess", {"data": "d", "out": "link/out"}, "d/out is inside the data folder d; name another --out"),
]


@pytest.mark.parametrize(("command", "folders", "message"), REFUSED)
def test_a_folder_that_would_be_lost_is_named_and_left_alone(tmp_path, data, capsys, command, folders, message):
    folder = tmp_path / folders["data"].replace("link", "d")
    folder.parent.mkdir(exist_ok=True)
    data.rename(folder)
    (folder / "test").rename(tmp_path / "linked")
    (folder / "test").symlink_to(tmp_path / "linked")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "file").touch()
    before = tree(tmp_path)
    options = [text for name, place in folders.items() for text in (f"--{name}", str(tmp_path / place))]
    code = main(pipeline.PIPELINES, [command, *options, *(["--force"] if command == "run" else [])])
    error = capsys.readouterr().err.replace(f"{tmp_path}/", "")
    assert code == 2 and error.startswith(f"error: {message}") and error.count("\n") == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "theirs"),
    [("run", "out.work"), ("preprocess", "out.part")],
)
def test_a_working_folder_of_somebody_else_is_left_alone(tmp_path, data, capsys, command, theirs):
    (tmp_path / theirs).mkdir()
    (tmp_path / theirs / "mine").touch()
    code = main(pipeline.PIPELINES, [command, "--data", str(data), "--out", str(tmp_path / "out")])
    assert code == 2 and f"{tmp_path / theirs}: expected nothing of this name" in capsys.readouterr().err
    assert tree(tmp_path) - {f"data/{name}" for name in tree(data)} == {"data", theirs, f"{theirs}/mine"}


@pytest.mark.parametrize("exists", [True, False])
def test_spectrograms_are_written_where_a_link_points_to(tmp_path, data, exists):
    if exists:
        (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    code = main(pipeline.PIPELINES, ["preprocess", "--data", str(data), "--out", str(tmp_path / "link")])
    assert code == 0 and list((tmp_path / "elsewhere").glob("*.parquet")) and (tmp_path / "link").is_symlink()


def test_the_parts_of_the_user_stay_where_they_are(tmp_path, data):
    """`NAME.part`, `.work` and `.replaced` beside the results have nothing to do with a command that needs others."""
    for name in ("out.work", "out.replaced", "other.part"):
        shutil.copytree(data, tmp_path / name)
    before = tree(tmp_path)
    assert main(pipeline.PIPELINES, ["preprocess", "--data", str(data), "--out", str(tmp_path / "out")]) == 0
    assert {name for name in tree(tmp_path) if not name.startswith("out/")} == before | {"out"}


def test_containers_see_what_the_data_folder_links_to(tmp_path):
    for name in ("data", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "test").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "gone").symlink_to(tmp_path / "nowhere")
    assert with_linked(tmp_path / "data") == [tmp_path / "data", tmp_path / "elsewhere"]
