import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.signal import find_peaks, welch

from audiotagging.data import synthetic_negatives as disturbances
from audiotagging.data.synthetic_negatives import KINDS, NAMES, NOTHING, make_disturbances
from audiotagging.sounds.audio import RATE, trim

NONE = pd.DataFrame({"path": [], "start": [], "end": [], "labels": []})


def made(kind):
    return [sound.samples for sound in make_disturbances([], NONE) if sound.name.rpartition("-")[0] == kind]


def level(samples):
    """The root mean square in dB relative to full scale, from the spectrum by Parseval's theorem."""
    power = np.abs(np.fft.fft(samples.astype(float))) ** 2
    return 10 * np.log10(power.sum() / len(samples) ** 2)


def test_there_are_about_twenty_of_five_seconds_with_the_samples_of_16_bit_files():
    sounds = list(make_disturbances([], NONE))
    names = [sound.name for sound in sounds]
    assert len(set(names)) == len(names) == 20
    assert {name.rpartition("-")[0] for name in names} == set(KINDS)
    for sound in sounds:
        assert sound.samples.dtype == np.float32 and len(sound.samples) == 5 * RATE
        steps = sound.samples * 2.0**15
        assert np.array_equal(steps, np.round(steps)) and np.abs(steps).max() < 2**15
        assert len(trim(sound.samples)) == len(sound.samples)  # none has a silent end that would be cut off


def test_they_are_the_same_every_time_and_all_different_but_for_silence():
    first, second = (list(make_disturbances([], NONE)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name and np.array_equal(one.samples, other.samples)
    others = {sound.samples.tobytes() for sound in first if not sound.name.startswith("silence")}
    assert len(others) == 18


def test_silence_and_dither():
    assert not any(samples.any() for samples in made("silence"))
    for samples in made("dither"):
        assert set(np.unique(samples * 2.0**15)) == {-1, 0, 1}


@pytest.mark.parametrize("kind", ["white-noise", "pink-noise"])
def test_noise_has_two_levels(kind):
    assert [level(samples) for samples in made(kind)] == pytest.approx([-20, -50, -20, -50], abs=0.1)


@pytest.mark.parametrize(("kind", "slope"), [("white-noise", 0.0), ("pink-noise", -3.01)])
def test_the_spectrum_of_noise_falls_as_it_should(kind, slope):
    """White noise has the same power per hertz everywhere, pink noise half as much one octave higher."""
    for samples in made(kind):
        frequencies, power = welch(samples.astype(float), RATE, nperseg=8192)
        heard = (frequencies > 40) & (frequencies < 20_000)
        found, _ = np.polyfit(np.log2(frequencies[heard]), 10 * np.log10(power[heard]), 1)
        assert found == pytest.approx(slope, abs=0.1)


def test_hum_has_the_harmonics_of_both_mains():
    expected = [{50 * n for n in range(1, 20, 2)}, {60 * n for n in range(1, 11)}]
    for samples, harmonics in zip(made("hum"), 2 * expected, strict=True):
        power = np.abs(np.fft.rfft(samples.astype(float) * np.hanning(len(samples)))) ** 2  # one bin is 0.2 Hz
        peaks, _ = find_peaks(power, height=100 * np.median(power), distance=50)
        assert {round(peak / 5) for peak in peaks} == harmonics


def test_clicks_are_short_and_far_apart():
    for samples, peak in zip(made("clicks"), [-20, -50, -20, -50], strict=True):
        loudness = np.abs(samples)
        assert 20 * np.log10(loudness.max()) == pytest.approx(peak, abs=1)
        assert 0.0005 < (loudness > loudness.max() / 10).mean() < 0.005
        clicks, _ = find_peaks(loudness, height=loudness.max() / 10, distance=RATE // 20)
        assert 5 <= len(clicks) <= 12


@pytest.mark.parametrize(
    ("label", "kinds"),
    [(name, {*KINDS}) for name in ("Silence", "Background_noise", "NOISE")]
    + [
        ("White noise", {"dither", "white-noise"}),
        ("Pink-noise", {"pink-noise"}),
        ("Hiss", {"dither", "white-noise", "pink-noise"}),
        ("Mains_hum", {"hum"}),
        ("Buzz", {"hum"}),
        ("Clicks", {"clicks"}),
        ("Humming", set()),
        ("Traffic_noise", set()),
        ("Rain", set()),
    ],
)
def test_a_class_that_is_named_like_a_sound_is_right_for_it(label, kinds):
    for sound in make_disturbances(["Dog", label], NONE):
        assert sound.labels == ([label] if sound.name.rpartition("-")[0] in kinds else [])


def test_all_names_can_be_found():
    for name in [*NOTHING, *(name for names in NAMES.values() for name in names)]:
        assert re.fullmatch("[a-z ]+", name)
    assert set(NAMES) <= set(KINDS)


@pytest.fixture
def curated(tmp_path):
    """Clips of noise; some get quiet, and some cannot be used."""
    rng = np.random.default_rng(1)
    rows = []

    def add(label, pieces):
        path = tmp_path / f"{len(rows)}.wav"
        samples = np.concatenate(
            [loudness * rng.standard_normal(round(seconds * RATE)) for seconds, loudness in pieces]
        )
        soundfile.write(path, samples, RATE, subtype="PCM_16")
        rows.append([str(path), [label]])

    add("ends quietly", [(2.5, 0.1), (2.5, 0.001)])
    add("begins quietly", [(2, 0.002), (3, 0.1)])
    add("with digital silence", [(2, 0.1), (2, 0.003), (4, 0)])
    add("almost as loud", [(3, 0.1), (3, 0.015)])
    add("short", [(1, 0.1), (0.9, 0.001)])
    add("silent", [(4, 0)])
    rows.append([str(tmp_path / "missing.wav"), ["missing"]])
    return pd.DataFrame(rows, columns=["path", "labels"]).assign(start=0.0, end=np.inf)


def quiet_ends(curated, classes=()):
    sounds = make_disturbances([*curated["labels"].explode().unique(), *classes], curated)
    return [sound for sound in sounds if sound.name.startswith("quiet-end-")]


def test_quiet_ends_are_the_quietest_two_seconds_that_are_not_digital_silence(curated):
    found = {sound.labels[0]: sound for sound in quiet_ends(curated)}
    assert set(found) == {"ends quietly", "begins quietly", "with digital silence"}
    assert {sound.name for sound in found.values()} == {"quiet-end-1", "quiet-end-2", "quiet-end-3"}
    assert all(len(sound.samples) == 2 * RATE for sound in found.values())
    assert level(found["ends quietly"].samples) == pytest.approx(-60, abs=0.3)
    assert level(found["begins quietly"].samples) == pytest.approx(-54, abs=0.3)
    # One block of half a second is noise and three are silence.
    assert level(found["with digital silence"].samples) == pytest.approx(20 * np.log10(0.003) - 6, abs=0.3)


def test_the_quiet_end_of_a_piece_of_a_recording_is_in_this_piece(curated):
    (sound,) = quiet_ends(curated[2:3].assign(end=4.0))  # without the digital silence that follows
    assert level(sound.samples) == pytest.approx(20 * np.log10(0.003), abs=0.3)
    assert not quiet_ends(curated[2:3].assign(end=2.5))


def test_the_labels_of_its_clip_are_right_for_a_quiet_end(curated):
    for sound in quiet_ends(curated, classes=["Background", "Buzz"]):
        assert sound.labels[1:] == ["Background"]


def test_quiet_ends_have_different_labels_and_are_not_many(curated):
    same = pd.concat([curated[:1]] * 20)
    assert len(quiet_ends(same)) == 1
    different = same.assign(labels=[[f"{number}"] for number in range(20)])
    assert len(quiet_ends(different)) == disturbances.QUIET_ENDS == 8
