"""Entries of the header's list that are no numbers: the others must not move up into their places."""

import re

import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, only_map, reported, right_or_reported
from .phantom import MOLLI_TIMES, whole
from .wire import header_xml, series

LIMITS = pytest.mark.parametrize("limits", [{"set": 7}, None], ids=["limits", "no limits"])


def stream(server, entries, limits=None):
    return server.exchange(series(whole(PHANTOM.molli())), header_xml("MOLLI", ti=entries, limits=limits))


def with_entry(place, text):
    return [text if k == place else f"{time:g}" for k, time in enumerate(MOLLI_TIMES)]


def names(place, text=""):
    """How a message may name an entry: its number, counted from 0 or 1, or its text."""
    ordinals = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
    words = "|".join(ordinals[place : place + 2])
    number = rf"\b(entry|entries|value|time|TI|image|set|number|no\.)[ #(\[]*({place}|{place + 1})\b"
    literal = rf"|(?<!\w){re.escape(text)}(?!\w)" if text else ""
    return rf"{number}|\b({words}|{place + 1}\.)\b{literal}"


@LIMITS
def test_all_are_numbers(server, limits):
    only_map(stream(server, MOLLI_TIMES, limits))


@LIMITS
@pytest.mark.parametrize("text", ["NP.FLOAT64({})", "np.float64({})", "float({})"])
def test_all_are_the_text_of_a_programming_language(server, text, limits):
    reply = stream(server, [text.format(time) for time in MOLLI_TIMES], limits)
    right_or_reported(reply, "time", may={Flag.UNREADABLE_TIMES})


@LIMITS
@pytest.mark.parametrize(
    ("place", "text"),
    [(1, "1000,0"), (1, "NP.FLOAT64(1000.0)"), (5, "180,0"), (1, "1 000"), (1, "1000.0d0")],
    ids=["comma", "NP.FLOAT64", "another comma", "grouped", "Fortran"],
)
def test_one_could_be_guessed(server, place, text, limits):
    """Read as what it means, left out with a flag, or reported."""
    right_or_reported(
        stream(server, with_entry(place, text), limits), names(place, text), may={Flag.UNREADABLE_TIMES}
    )


@LIMITS
@pytest.mark.parametrize("place", [0, 1, 4, 7])
@pytest.mark.parametrize(
    "text", ["", "n/a", "nan", "inf", "-1000", "1.797e308"], ids=lambda text: text or "empty"
)
def test_one_is_none(server, place, text, limits):
    reply = stream(server, with_entry(place, text), limits)
    right_or_reported(reply, names(place, text), flags={Flag.UNREADABLE_TIMES})


@LIMITS
@pytest.mark.parametrize("text", [" 1000 ", "1000.000", "1e3", "+1000", "1000 ms"])
def test_one_is_unusual_but_readable(server, text, limits):
    only_map(stream(server, with_entry(1, text), limits))


@LIMITS
def test_two_are_none(server, limits):
    entries = with_entry(1, "n/a")
    entries[6] = ""
    right_or_reported(stream(server, entries, limits), names(1, "n/a"), flags={Flag.UNREADABLE_TIMES})


@LIMITS
def test_too_few_are_left(server, limits):
    reported(stream(server, [*MOLLI_TIMES[:3], *["n/a"] * 5], limits), "time|few|n/a")


def test_echo_times_of_a_t2_series(server):
    times = (10.0, 30.0, 60.0, 80.0)
    images = series(whole(PHANTOM.t2prep(times)), counter="contrast")
    header = header_xml("T2map_GraSE", te=["10", "30,5x", "60", "80"], limits={"contrast": 3})
    right_or_reported(server.exchange(images, header), names(1, "30,5x"), "T2", flags={Flag.UNREADABLE_TIMES})


def test_preparation_times_of_a_t2_series(server):
    times = (0.0, 25.0, 40.0, 55.0)
    doubles = {f"T2PrepDuration_{k}": text for k, text in enumerate(["0", "n/a", "40", "55"])}
    header = header_xml("T2map_FLASH", limits={"set": 3}, doubles=doubles)
    reply = server.exchange(series(whole(PHANTOM.t2prep(times))), header)
    right_or_reported(reply, names(1, "n/a") + "|T2PrepDuration_1", "T2", flags={Flag.UNREADABLE_TIMES})
