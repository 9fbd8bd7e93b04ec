import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audiotagging.report import report
from audiotagging.report.figures import ScoreRow, learning_curves, loss_limits, score_limits, score_plot
from audiotagging.report.plots import ROLES, Dot, dot_plot

CSS = (Path(report.__file__).parent / "page" / "report.css").read_text(encoding="utf-8")


def texts(plot):
    return [text.replace("\N{MINUS SIGN}", "-") for text in re.findall(r">([^<>]+)</text>", plot)]


@pytest.mark.parametrize("limits", [(0.62, 0.93), (-0.045, 0.02), (0.0, 1.02), (0.801, 0.803)])
def test_an_axis_has_two_ticks_at_least(limits):
    row = Dot(label="a member of a long name", value=limits[0], low=limits[0], high=limits[1], notes=("0.1",))
    plot = dot_plot([row], description="scores", headers=["lwlrap"], limits=limits)
    assert len([text for text in texts(plot) if re.fullmatch(r"-?\d\.\d+", text)]) >= 3  # the note is one


def history(*losses, lwlrap=np.nan):
    epochs = np.arange(1, len(losses) + 1)
    return pd.DataFrame({"epoch": epochs, "loss": losses, "lr": 0.001 * epochs, "lwlrap": lwlrap})


def test_the_axis_of_the_loss_has_every_epoch_of_every_member():
    losses = [history(90.0, 2.0, 1.5)["loss"], history(3.0, 0.9)["loss"]]
    low, high = loss_limits(losses)
    assert 0.5 < low < 0.9 and 90 < high < 200
    low, high = loss_limits([history(2.0)["loss"]])
    assert low < 2 < high


@pytest.mark.parametrize("losses", [[90.0, 2.0, 1.5], [1.6, 1.55], [0.002, 0.001], [2.0]])
def test_members_with_the_same_loss_have_the_same_ticks(losses):
    limits = loss_limits([history(*losses)["loss"], history(*np.array(losses) * 1.1)["loss"]])
    ours, others = (
        learning_curves({-1: history(*np.array(losses) * factor)}, member="m", losses=limits, chance=None)
        for factor in (1, 1.1)
    )
    assert texts(ours) == texts(others)
    assert "training loss" in texts(ours) and "learning rate" in texts(ours)
    numbers = [float(text) for text in texts(ours) if re.fullmatch(r"\d+(\.\d+)?(e-\d+)?", text)]
    assert len([number for number in numbers if limits[0] <= number <= limits[1]]) >= 2


def test_only_a_validated_member_has_a_curve_of_its_lwlrap():
    curves = {fold: history(3.0, 2.0, lwlrap=0.5) for fold in (0, 1)}
    plot = learning_curves(curves, member="m", losses=(1, 4), chance=0.3)
    assert {"lwlrap on the held-out fold", "chance", "1.0"} <= set(texts(plot))
    plot = learning_curves({-1: history(3.0, 2.0)}, member="m", losses=(1, 4), chance=0.3)
    assert "chance" not in texts(plot) and not [text for text in texts(plot) if "lwlrap" in text]


def bars(plot, role):
    """The ends of the thick horizontal bars in a colour."""
    found = re.findall(rf'd="M ([\d.]+) [\d.]+ L ([\d.]+) [\d.]+ "[^>]*stroke: var\(--{role}\); stroke-width: 5', plot)
    return [tuple(map(float, ends)) for ends in found]


def test_scores_with_the_label_are_to_the_right_of_lower_ones_and_thresholds_are_named():
    rows = [
        ScoreRow(label="bark", with_label=[0.1, 0.5, 0.6, 0.9, 1.0], without_label=[0, 0.001, 0.01, 0.1, 0.5]),
        ScoreRow(label="meow", with_label=[0.1, 0.2, 0.3, 0.4, 0.5], without_label=[], threshold=0.254),
    ]
    plot = score_plot(rows, description="scores", limits=score_limits(rows), label_length=8)
    assert {"bark", "meow", "threshold", "0.254"} <= set(texts(plot))
    (first, second), (other,) = bars(plot, "second"), bars(plot, "accent")
    assert other[0] < other[1] < first[0] < first[1]
    # The bars are as long as their ends are apart in logits.
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    scale = (first[1] - first[0]) / (logit(0.9) - logit(0.5))
    assert second[1] - second[0] == pytest.approx(scale * (logit(0.4) - logit(0.2)), rel=0.01)
    assert other[1] - other[0] == pytest.approx(scale * (logit(0.1) - logit(0.001)), rel=0.01)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.05, 0.3), (0.1, 0.101), (0.0004, 0.002), (0.9, 0.98), (0.02, 0.5)]
)
def test_scores_of_any_range_fill_the_axis(low, high):
    quantiles = np.linspace(low, high, 5).tolist()
    row = ScoreRow(label="bark", with_label=quantiles, without_label=[])
    limits = score_limits([row])
    assert limits == (max(low, 0.001), min(high, 0.999))
    plot = score_plot([row], description="scores", limits=limits, label_length=8)
    ticks = [float(text) for text in texts(plot) if re.fullmatch(r"\.\d+", text)]
    assert ticks == sorted(set(ticks)) and len(ticks) <= 12


def colours(scheme):
    """The colours of the page by their names, in light or in dark mode."""
    light, dark, _ = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)  # the last one is for print
    found = dict(re.findall(r"--(\w+): ([^;]+);", light))
    return found | (dict(re.findall(r"--(\w+): ([^;]+);", dark)) if scheme == "dark" else {})


def channels(colour):
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def contrast(one, other):
    """The contrast ratio of two colours in sRGB, as WCAG 2.2 defines it."""
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in (one, other)]
    low, high = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in linear)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_on_every_ground(scheme):
    found = colours(scheme)
    paper = channels(found["paper"])
    for name in ("ink", "muted", "accent", "second"):
        assert contrast(channels(found[name]), paper) >= 4.5, name
    heat = float(found["heat"].rstrip("%")) / 100
    for share in (0, 0.5, 1):  # of the heat map, on which texts are in ink
        ground = share * heat * channels(found["accent"]) + (1 - share * heat) * paper
        assert contrast(channels(found["ink"]), ground) >= 4.5
    assert set(ROLES.values()) <= set(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_heat_map_can_be_read_without_colours(scheme):
    """Its fields differ in lightness, which every eye sees."""
    found = colours(scheme)
    paper, accent = channels(found["paper"]), channels(found["accent"])
    heat = float(found["heat"].rstrip("%")) / 100
    grounds = [share * heat * accent + (1 - share * heat) * paper for share in (0.25, 0.5, 0.75, 1.0)]
    differences = [contrast(ground, paper) for ground in grounds]
    assert differences == sorted(differences) and differences[-1] > 2
