"""The pages as a person uses them, in headless Chromium where there is one."""

import re
from pathlib import Path

import pytest
from helpers.browser import browser, wait_for

from docs.pictures import CHROMIUM

needs_chromium = pytest.mark.skipif(not Path(CHROMIUM or "").is_file(), reason="Chromium is not installed")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(served, path):
    answer = served.client.get(path)
    assert answer.status_code == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text) and "{{" not in answer.text


def test_the_description_is_shown_whole(served):
    page = served.client.get("/docs").text
    for path, methods in served.client.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}</code>" in page
            assert all(f"<code>{each['name']}</code>" in page for each in operation.get("parameters", []))
            assert all(f"<code>{status}</code>" in page for status in operation["responses"])


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_a_sound_is_shown_with_its_tags_over_time(served, sounds, tmp_path, width):
    expected = served.client.post("/tag", content=(sounds / "plain.wav").read_bytes()).json()[0]["tags"]
    with browser(tmp_path, width=width) as tab:
        tab.call("Page.navigate", url=f"{served.url}/")
        wait_for(lambda: tab.run("location.protocol === 'http:' && document.readyState === 'complete'"))
        page = tab.call("DOM.getDocument")["root"]["nodeId"]
        file = tab.call("DOM.querySelector", nodeId=page, selector="#file")["nodeId"]
        tab.call("DOM.setFileInputFiles", files=[str(sounds / "plain.wav")], nodeId=file)
        wait_for(lambda: tab.run("!document.getElementById('result').hidden"))
        texts = "[...document.querySelectorAll('.rows > .{}')].map(each => each.textContent).join('|')"
        assert tab.run(texts.format("label")).split("|")[:5] == [tag["label"] for tag in expected]
        assert tab.run(texts.format("score")).split("|")[:5] == [f"{tag['score']:.3f}" for tag in expected]
        bars = "[...document.querySelector('.track').querySelectorAll('[title]')].map(each => each.style.{}).join('|')"
        # Of a sound of 3 s, the second window of 2 s ends with the sound, and is seen over the first one.
        for side, places in (("left", [0, 100 / 3]), ("width", [100 / 3, 200 / 3])):
            found = tab.run(bars.format(side)).split("|")
            assert [float(each.strip("%")) for each in found] == pytest.approx(places, rel=1e-3)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        tab.call("DOM.setFileInputFiles", files=[str(sounds / "text.wav")], nodeId=file)
        wait_for(lambda: tab.run("document.getElementById('status').className === 'error'"))
        assert tab.run("document.getElementById('status').textContent").startswith("text.wav: cannot be decoded")
        assert tab.run("document.getElementById('result').hidden")
