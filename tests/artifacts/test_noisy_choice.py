import json
from pathlib import Path

import pytest

from audiotagging.artifacts.selection import describe_choice, read_chosen_list, read_list
from audiotagging.base.errors import UserError


@pytest.mark.parametrize(
    "text",
    ["a.wav\nb.wav\n", "fname,margin\r\na.wav,0.5\r\nb.wav,0.1\r\n", "\ufeffb.wav\n\na.wav", "idx\n1\n2\n"],
)
def test_a_list_is_names_or_a_table_or_numbers_of_rows(tmp_path, text):
    (tmp_path / "list").write_text(text, newline="")
    assert read_list(tmp_path / "list", ["c.wav", "a.wav", "b.wav"]) == {"a.wav", "b.wav"}


@pytest.mark.parametrize("noisy", ["all", "none"])
def test_a_choice_without_more_to_say(noisy):
    assert describe_choice(noisy, folder=Path("data")) == {"noisy": noisy}


def test_another_content_of_a_list_is_another_choice(tmp_path):
    path = tmp_path / "chosen.txt"
    path.write_text("a.wav\n")
    choice = describe_choice("chosen.txt", folder=tmp_path)
    assert choice == describe_choice(str(path), folder=Path("elsewhere"))
    assert read_chosen_list(json.loads(json.dumps(choice)), ["a.wav", "b.wav"]) == {"a.wav"}
    path.write_text("b.wav\n")
    assert describe_choice("chosen.txt", folder=tmp_path) != choice
    with pytest.raises(UserError, match=r"chosen\.txt has changed since ingest read it"):
        read_chosen_list(choice, ["a.wav", "b.wav"])
