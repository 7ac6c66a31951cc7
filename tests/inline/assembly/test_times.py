import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.assembly.times import GrowingTimes, Stated, in_ms, listed, within_a_heartbeat
from inline.data.series import Quantity
from inline.mrd.header import MeasurementHeader

MOLLI = [100.0, 1000.0, 1900.0, 2800.0, 3700.0, 180.0, 1080.0, 1980.0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100", 100.0),
        (" 100.5 ", 100.5),
        ("1e2", 100.0),
        ("100 ms", 100.0),
        ("0.1 s", 100.0),
        ("100000us", 100.0),
        ("1000,0", 1000.0),
        ("100,25", 100.25),
        ("0", 0.0),
    ],
)
def test_readable_times(text, number):
    assert Stated.read(text).number == pytest.approx(number)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "-1",
            "nan",
            "inf",
            "1.7976931348623157e+308",
            "NP.FLOAT64(1000.0)",
            "1,000",
            "1.2.3",
            "100 s 5",
        ),
        *("x" * 10_000, "9" * 10_000, " " * 10_000, "."),
    ],
)
def test_unreadable_times(text):
    assert Stated.read(text).number is None


@given(st.text(max_size=200))
def test_any_text_is_a_finite_time_or_none(text):
    number = Stated.read(text).number
    assert number is None or (math.isfinite(number) and number >= 0.0)


@pytest.mark.parametrize(("size", "unit"), [(1.0, "ms"), (1e-3, "s"), (1e3, "µs")])
@pytest.mark.parametrize(("quantity", "times"), [(Quantity.T1, MOLLI), (Quantity.T2, [0.0, 25.0, 55.0])])
def test_units_are_told_by_size(size, unit, quantity, times):
    found = in_ms([Stated.read(f"{time * size:.9g}") for time in times], quantity)
    assert found.unit == unit
    assert found.ms == pytest.approx(times)


def test_absurd_times_are_none_and_keep_their_place():
    texts = ["1e6", "1000", "0", "2800", "3700", "180", "-5", "99999999"]
    assert in_ms([Stated.read(text) for text in texts], Quantity.T1).ms == (
        None, 1000.0, None, 2800.0, 3700.0, 180.0, None, None,
    )  # fmt: skip


@pytest.mark.parametrize("quantity", Quantity)
def test_zero_for_all_is_none(quantity):
    assert in_ms([Stated.read("0")] * 8, quantity).known == []


def test_a_preparation_of_zero_is_one():
    assert in_ms([Stated.read(text) for text in ("0", "25", "55")], Quantity.T2).ms == (0.0, 25.0, 55.0)


def test_numbered_parameters_keep_their_place():
    def numbered(**values):
        header = MeasurementHeader(
            parameters={f"T2PrepDuration{name}": text for name, text in values.items()}
        )
        return [each.number for each in listed(header, Quantity.T2, named=True)]

    assert numbered(_0="0", _1="25", _2="55") == [0.0, 25.0, 55.0]
    assert numbered(_1="25", _2="55") == [0.0, 25.0, 55.0]
    assert numbered(_0="0", _1="x", _2="55") == [0.0, None, 55.0]
    assert numbered(_0="0", _2="55") == [0.0, None, 55.0]
    assert numbered(_0="0") == []


@pytest.mark.parametrize(
    ("quantity", "stated", "ms"),
    [
        (Quantity.T1, ("0.1", "1000", "1.9", "2800", "3700"), (None, 1000.0, None, 2800.0, 3700.0)),
        (Quantity.T1, ("0.1", "1000", "1.9", "2.8", "3.7"), (100.0, None, 1900.0, 2800.0, 3700.0)),
        (Quantity.T2, ("0", "0.025", "35", "55"), (0.0, None, 35.0, 55.0)),
    ],
)
def test_a_time_of_another_unit_than_the_others_is_none(quantity, stated, ms):
    assert in_ms([Stated.read(text) for text in stated], quantity).ms == ms


NUMBERS = st.one_of(st.sampled_from([0.0, 0.1, 19.9, 20.0, 55.0, 2e3, 6e4, 2e5]), st.floats(0.0, 1e8))


@given(
    st.lists(st.one_of(st.none(), st.just(Stated("x", None)), NUMBERS.map(lambda n: Stated(f"{n:g}", n)))),
    st.sampled_from(Quantity),
)
def test_times_that_come_one_by_one_are_those_of_all_together(stated, quantity):
    growing = GrowingTimes(quantity)
    for number, each in enumerate(stated, start=1):
        assert tuple(growing.with_another(each)) == in_ms(stated[:number], quantity).ms
        growing.add(each)
        assert growing.times == in_ms(stated[:number], quantity)


@pytest.mark.parametrize(
    ("times", "scout"),
    [
        ([20 + 60 * k for k in range(10) if k not in (3, 4)], True),  # two frames of a scout were lost
        ([100, 180, 380, 460, 660], False),  # MOLLI at 214 heartbeats a minute
    ],
)
def test_the_times_of_a_scout_are_told_from_those_of_a_fast_heart(times, scout):
    assert within_a_heartbeat(times) is scout
