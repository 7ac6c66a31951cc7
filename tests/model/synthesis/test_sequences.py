"""The Bloch simulation against independent rotation matrices and known limits."""

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit

from model.synthesis.sequences import Molli, Readout, molli_signals, t2prep_signals
from model.synthesis.tissues import TissueValues


def tissue(t1: float, t2: float) -> TissueValues:
    return TissueValues(torch.tensor([[t1]]), torch.tensor([[t2]]), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("scheme", "count", "last"), [("5(3)3", 8, 1980.0), ("4(1)3(1)2", 9, 1160.0), ("3(3)5", 8, 3780.0)]
)
def test_times_of_known_schemes(scheme: str, count: int, last: float) -> None:
    times = Molli.parse(scheme).times_ms(900.0)
    assert len(times) == count
    assert times[-1] == last
    assert times[0] == 100.0


@pytest.mark.parametrize("text", ["", "5", "5(3", "5(3)", "a(b)c", "5(3)3 "])
def test_only_schemes_are_schemes(text: str) -> None:
    if text == "5":
        assert Molli.parse(text).images == (5,)
    else:
        with pytest.raises(ValueError, match="not a MOLLI scheme"):
            Molli.parse(text)


def bloch(
    t1: float, t2: float, scheme: Molli, heartbeat: float, inversion: float, read: Readout
) -> np.ndarray:
    """The same experiment, with three-dimensional rotations about alternating axes, pulse by pulse."""
    m = np.array([0.0, 0.0, 1.0])

    def free(m: np.ndarray, time: float) -> np.ndarray:
        e1, e2 = np.exp(-time / t1), np.exp(-time / t2)
        return np.array([m[0] * e2, m[1] * e2, 1 + (m[2] - 1) * e1])

    def flip(m: np.ndarray, angle: float) -> np.ndarray:
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) @ m

    out = []
    for group, count in enumerate(scheme.images):
        m = np.array([0.0, 0.0, -inversion * m[2]])
        m = free(m, scheme.first_ms + group * scheme.step_ms - read.centre_ms)
        for beat in range(count):
            if beat:
                m = free(m, heartbeat - read.pulses * read.repetition_ms)
            m = flip(m, read.flip_angle / 2)
            sign = 1.0
            for pulse in range(read.pulses):
                if pulse == read.to_centre:
                    out.append(sign * m[1])
                sign = -sign
                m = flip(free(m, read.repetition_ms), sign * read.flip_angle)
            m = flip(m, -sign * read.flip_angle / 2)
            m = np.array([0.0, 0.0, m[2]])
        if group < len(scheme.rests):
            m = free(m, scheme.rests[group] * heartbeat + heartbeat - read.pulses * read.repetition_ms)
    return np.array(out)


@pytest.mark.parametrize(("t1", "t2"), [(1020.0, 50.0), (300.0, 90.0), (1600.0, 190.0)])
def test_agrees_with_full_bloch_rotation(t1: float, t2: float) -> None:
    scheme, read = Molli.parse("5(3)3"), Readout()
    ours = molli_signals(tissue(t1, t2), scheme, 900.0, 0.96, read)[0, :, 0].numpy()
    np.testing.assert_allclose(ours, bloch(t1, t2, scheme, 900.0, 0.96, read), atol=2e-5)


def fitted_t1(t1: float, t2: float, inversion: float = 0.96) -> float:
    scheme = Molli.parse("5(3)3")
    signal = molli_signals(tissue(t1, t2), scheme, 900.0, inversion)[0, :, 0].numpy()
    (a, b, star), _ = curve_fit(
        lambda t, a, b, star: a - b * np.exp(-t / star), scheme.times_ms(900.0), signal, p0=(0.3, 0.6, 900.0)
    )
    return float(star * (b / a - 1))


def test_molli_underestimates_t1_by_what_is_known() -> None:
    """Kellman and Hansen 2014: MOLLI 5(3)3 reads myocardium 5 to 10 % short."""
    assert 0.89 < fitted_t1(1020.0, 50.0) / 1020.0 < 0.97


def test_the_bias_of_simulated_t1_is_of_inversion_and_t2_decay() -> None:
    """In percent, as ``docs/limits.md`` states it: MOLLI of 1050 ms without noise."""
    as_simulated, full, without_decay, neither = (
        100.0 * (fitted_t1(1050.0, t2, inversion) / 1050.0 - 1.0)
        for t2, inversion in ((51.0, 0.96), (51.0, 1.0), (1050.0, 0.96), (1050.0, 1.0))
    )
    shares = as_simulated, as_simulated - full, as_simulated - without_decay, neither
    assert [round(each) for each in shares] == [-9, -4, -6, 1]


def test_the_bias_of_simulated_t2_is_of_incomplete_recovery() -> None:
    """Likewise of 51 ms."""
    times = (0.0, 25.0, 55.0)

    def bias(rest: int) -> float:
        signal = t2prep_signals(tissue(1050.0, 51.0), times, 900.0, rest)[0, :, 0].numpy()
        (_, t2), _ = curve_fit(lambda t, a, t2: a * np.exp(-t / t2), times, signal, p0=(1.0, 50.0))
        return 100.0 * (float(t2) / 51.0 - 1.0)

    assert round(bias(rest=3)) == -6
    assert abs(bias(rest=30)) < 0.01


def test_t2_preparation_decays_with_t2() -> None:
    times = (0.0, 25.0, 55.0)
    signal = t2prep_signals(tissue(1020.0, 50.0), times, 5000.0, rest=6)[0, :, 0].numpy()
    np.testing.assert_allclose(signal / signal[0], np.exp(-np.array(times) / 50.0), atol=0.01)
