import pytest

from audiotagging.data.clip_lists import read_list


@pytest.mark.parametrize(
    "text",
    ["a.wav\nb.wav\n", "fname,margin\r\na.wav,0.5\r\nb.wav,0.1\r\n", "\ufeffb.wav\n\na.wav", "idx\n1\n2\n"],
)
def test_a_list_is_names_or_a_table_or_numbers_of_rows(tmp_path, text):
    (tmp_path / "list").write_text(text, newline="")
    assert read_list(tmp_path / "list", ["c.wav", "a.wav", "b.wav"]) == {"a.wav", "b.wav"}
