import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from audiotagging.artifacts.acoustics import Acoustics
from audiotagging.artifacts.acoustics_table import ACOUSTICS, read_acoustics, write_acoustics
from audiotagging.base.errors import UserError
from audiotagging.sounds.acoustics import AcousticMeter, measure
from audiotagging.sounds.audio import RATE

TIME = np.arange(4 * RATE) / RATE


def noise(seconds=4.0, *, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def through(samples, band):
    return sosfilt(butter(8, band, "bandpass", fs=RATE, output="sos"), samples).astype(np.float32)


def through_telephone(samples):
    return through(samples, [300, 3400])


def hum(hertz, harmonics):
    return sum(np.sin(2 * np.pi * hertz * each * TIME + each) / each for each in harmonics).astype(np.float32)


def test_the_level_is_that_of_the_loudest_second():
    quiet, loud = noise(3, seed=1) / 100, noise(1, seed=2)
    samples = np.concatenate([quiet, loud, quiet])
    expected = 20 * np.log10(np.sqrt(np.mean(loud.astype(np.float64) ** 2)))
    assert measure(samples).level == pytest.approx(expected, abs=0.01)
    assert measure(samples / 2).level == pytest.approx(expected - 6.02, abs=0.02)
    half = noise(0.5)
    assert measure(half).level == pytest.approx(20 * np.log10(np.sqrt(np.mean(half**2))), abs=0.01)


@pytest.mark.parametrize("samples", [noise(), through_telephone(noise()), through(noise(), [20, 900]), noise(0.05)])
def test_the_band_holds_all_but_a_small_share_of_the_energy(samples):
    samples = samples - samples.mean()
    found = measure(samples.astype(np.float32))
    power = np.abs(np.fft.rfft(samples)) ** 2  # of the whole sound at once
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    power[hertz < 11] = 0
    assert power[hertz < found.low - 60].sum() <= 0.01 * power.sum() <= power[hertz < found.low + 60].sum()
    assert power[hertz > found.high + 600].sum() <= 0.001 * power.sum() <= power[hertz > found.high - 600].sum()


def test_a_telephone_narrows_the_band():
    wide, narrow = measure(noise()), measure(through_telephone(noise()))
    assert wide.high > 21_000 and 250 < narrow.low < 400 and 3300 < narrow.high < 4500


@pytest.mark.parametrize(
    "mains", [hum(50, range(1, 11)), hum(60, range(1, 11)), hum(50, range(1, 21, 2)), hum(60, range(2, 22, 2))]
)
def test_hum_stands_out_although_it_is_no_louder_than_the_rest(mains):
    mains = 0.1 * mains / mains.std()
    assert measure(noise() + mains).hum > 4 + measure(noise()).hum


@pytest.mark.parametrize("tone", [hum(440, [1]), hum(217, range(1, 6)), hum(55, range(1, 11))])
def test_a_steady_tone_that_is_not_of_the_mains_is_no_hum(tone):
    assert measure(noise() + 0.1 * tone / tone.std()).hum < 2 + measure(noise()).hum


def test_pieces_are_measured_like_the_whole():
    samples = noise(20)
    samples[8 * RATE : 9 * RATE] *= 3
    meter = AcousticMeter()
    for piece in np.split(samples, [8192 * 40, 8192 * 80]):
        meter.add(piece)
    whole = measure(samples)
    assert meter.measure()[1:] == pytest.approx(whole[1:], rel=1e-3)
    assert meter.measure().level == pytest.approx(whole.level, abs=0.2)  # its loudest second begins in another tenth


@pytest.mark.parametrize("samples", [np.zeros(1), np.zeros(3 * RATE)])
def test_digital_silence_has_the_lowest_level_and_no_band(samples):
    assert measure(samples.astype(np.float32)) == Acoustics(-120, 0, 0, 0)


@pytest.mark.parametrize("samples", [np.ones(1), np.ones(3 * RATE), np.full(RATE, 1e6)])
def test_any_sound_has_finite_numbers(samples):
    assert np.isfinite(measure(samples.astype(np.float32))).all()


def test_the_table_is_read_as_it_was_written_and_damage_is_noticed(tmp_path):
    assert read_acoustics(tmp_path) is None
    rows = [("a.wav", "test", Acoustics(-20.5, 40, 9000, 1.5)), ("b.wav", "curated", Acoustics(-120, 0, 0, 0))]
    write_acoustics(tmp_path, rows)
    assert read_acoustics(tmp_path).values.tolist() == [[clip, part, *values] for clip, part, values in rows]
    write_acoustics(tmp_path, [rows[0], rows[0]])
    with pytest.raises(UserError, match="a clip has several rows"):
        read_acoustics(tmp_path)
    (tmp_path / ACOUSTICS).write_bytes(b"PAR1")
    with pytest.raises(UserError, match="this table is corrupt"):
        read_acoustics(tmp_path)
