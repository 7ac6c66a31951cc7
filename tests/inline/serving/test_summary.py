from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.assembly.account import Account
from inline.data.geometry import SliceGeometry
from inline.data.results import SliceLevel
from inline.data.series import Quantity, SeriesIdentity, SlicePlace
from inline.serving.summary import FinalLevel, Summary, final_levels


def test_everything_used():
    summary = Summary.of(Account(33, 33, 6, {}), 33, 6, 0)
    assert summary.text() == "33 images came. 33 images made 6 series and 6 results."


def test_the_rest_is_named_with_its_reasons():
    summary = Summary.of(Account(33, 22, 4, {"phase image": 8, "no inversion time": 3}), 33, 4, 1)
    assert summary.text() == (
        "33 images came. 22 images made 4 series and 4 results (1 error). "
        "11 images made no map: phase image (8), no inversion time (3)."
    )


def test_one_of_each():
    summary = Summary.of(Account(2, 1, 1, {"phase image": 1}), 2, 1, 1)
    assert summary.text() == (
        "2 images came. 1 image made 1 series and 1 result (1 error). 1 image made no map: phase image (1)."
    )
    assert Summary.of(Account(1, 0, 0, {"phase image": 1}), 1, 0, 0).text() == (
        "1 image came. 1 image made no map: phase image (1)."
    )


def test_nothing():
    assert Summary.of(Account(0, 0, 0, {}), 0, 0, 0).text() == "No image came."


def test_a_series_of_no_result():
    assert Summary.of(Account(3, 3, 1, {"phase image": 0}), 3, 0, 0).text() == (
        "3 images came. 3 images made 1 series and no results."
    )


def test_images_that_no_assembly_saw_were_passed_on():
    assert Summary.of(Account(0, 0, 0, {}), 22, 0, 0).text() == (
        "22 images came. 22 images made no map: passed on, not worked on (22)."
    )
    assert Summary.of(Account(0, 0, 0, {}), 1, 0, 0).unused == {"passed on, not worked on": 1}


COUNTS = st.dictionaries(st.sampled_from(["phase image", "no time", "other"]), st.integers(0, 9))


@given(st.lists(st.tuples(st.integers(0, 9), COUNTS, st.integers(0, 3)), max_size=3), st.integers(0, 9))
def test_every_image_is_accounted_for(assemblies, passed):
    accounts = [
        Account(used + sum(unused.values()) + lost, used, used, unused) for used, unused, lost in assemblies
    ]
    images = sum(account.images for account in accounts) + passed
    summary = Summary.of(sum(accounts, Account(0, 0, 0, {})), images, 0, 0)
    assert summary.used + sum(summary.unused.values()) == images == summary.images
    assert all(summary.unused.values())
    assert summary.record()["text"] == summary.text()


def place(offset, *, series, session="here", slices=None, index=0, description="", quantity=Quantity.T1):
    geometry = SliceGeometry(
        (0.62 * offset, -0.6 * offset, -0.5 * offset), (0.6, 0.62, 0.0), (0.31, -0.3, 0.744), (1, 1), (9, 9)
    )
    return SlicePlace(SeriesIdentity(series, index, description), quantity, slices, geometry, session)


def test_final_levels_are_those_of_all_slices_shown():
    places = [place(offset, series=number) for number, offset in enumerate((0, 20, 40))]
    assert [each.level.value for each in final_levels(places, places)] == ["basal", "mid", "apical"]
    assert final_levels(places[:1], places)[0] == FinalLevel(
        places[0], SliceLevel.BASAL, "position 1 of 3 from the base, of those shown so far"
    )
    assert final_levels(places[:1], places, {0: SliceLevel.MID})[0].level_source == "user"


def test_levels_in_words():
    t1 = [place(offset, series=number) for number, offset in enumerate((0, 20, 40), 1)]
    t2 = [place(0, series=4, quantity=Quantity.T2)]
    again = [place(0, series=1)]
    places = [*t1, *t2, *again]
    summary = Summary.of(Account(5, 5, 5, {}), 5, 5, 0, final_levels(places, places))
    assert summary.text().endswith(
        "Levels: basal: series 1 slice 0 (T1), series 4 slice 0 (T2); mid: series 2 slice 0 (T1); "
        "apical: series 3 slice 0 (T1)."
    )


def test_an_unknown_level_says_why():
    places = [place(0, series=1), place(0, series=2)]
    summary = Summary.of(Account(2, 2, 2, {}), 2, 2, 0, final_levels(places, places))
    assert summary.text().endswith(
        "Levels: unknown (the only slice position shown so far): series 1 slice 0 (T1), "
        "series 2 slice 0 (T1)."
    )


def test_a_record_is_plain():
    import json

    earlier = final_levels([place(0, series=1, session="before")], [])
    plain = Summary.of(Account(2, 1, 1, {"phase image": 1}), 2, 1, 0, earlier, earlier).record()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["earlier_slices"][0]["session"] == "before"
    assert plain["slices"][0] == {
        "session": "before",
        "series_index": 1,
        "slice_index": 0,
        "description": "",
        "time_stamp": 0,
        "quantity": "T1",
        "level": "unknown",
        "level_source": earlier[0].level_source,
    }
    assert type(plain["slices"][0]["level"]) is str
    assert plain["unused"] == {"phase image": 1}


def test_slices_that_share_their_indices_are_told_apart_by_description_and_time_stamp():
    shown = [place(offset, series=1, description="MOLLI") for offset in (0, 20, 40)]
    stamps = [replace(each.identity, time_stamp=number) for number, each in enumerate(shown, start=1)]
    places = [replace(each, identity=own) for each, own in zip(shown, stamps, strict=True)]
    plain = Summary.of(Account(3, 3, 3, {}), 3, 3, 0, final_levels(places, places)).record()
    assert [(each["description"], each["time_stamp"], each["level"]) for each in plain["slices"]] == [
        ("MOLLI", 1, "basal"),
        ("MOLLI", 2, "mid"),
        ("MOLLI", 3, "apical"),
    ]


@pytest.mark.parametrize("number", [0, 1, 2, 11])
def test_numbers_agree_with_their_nouns(number):
    text = Summary.of(Account(number + 1, number + 1, 1, {}), number + 1, number, 0).text()
    assert f"{number or 'no'} result{'' if number == 1 else 's'}." in text
