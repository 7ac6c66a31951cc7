from dataclasses import replace

import pytest

from inline.data.flags import Flag
from inline.data.results import BloodT1, SliceLevel
from tests.inline.examination.phantom import examined, t1_slice

NATIVE, POST = t1_slice(field_strength=1.5), t1_slice(post=True, field_strength=1.5)


def test_an_examination_pairs_what_belongs_together():
    def at(result, mm, level):
        geometry = replace(
            result.geometry, position=tuple(result.geometry.position + mm * result.geometry.normal)
        )
        return replace(result, geometry=geometry, level=level)

    places = ((0.0, SliceLevel.BASAL), (20.0, SliceLevel.MID), (40.0, SliceLevel.APICAL))
    natives = [at(NATIVE, *place) for place in places]
    posts = [at(POST, *place) for place in places]
    found = examined([*natives, *reversed(posts)])
    assert len(found.slices) == 6
    assert [each.level for each in found.ecv] == [SliceLevel.APICAL, SliceLevel.MID, SliceLevel.BASAL]
    assert all(each.regions[0].median == pytest.approx(26.68, abs=1e-3) for each in found.ecv)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([NATIVE], []),
        ([POST], [(Flag.NO_NATIVE, "there is no native T1 map")]),
        (
            [replace(NATIVE, contours=None, flags=(Flag.NO_CAVITY,)), POST],
            [(Flag.NO_VALUES, "native slice has no contours"), (Flag.NO_NATIVE, "of this position has no")],
        ),
        (
            [replace(NATIVE, geometry=replace(NATIVE.geometry, position=(10.0, -10.0, 30.0))), POST],
            [(Flag.SLICES_DO_NOT_MATCH, r"6.0 mm away"), (Flag.SLICES_DO_NOT_MATCH, r"6.0 mm away")],
        ),
    ],
)
def test_slices_without_a_partner_say_what_is_missing(results, expected):
    found = examined(results).ecv
    assert [each.flags for each in found] == [(flag,) for flag, _ in expected]
    for each, (_, words) in zip(found, expected, strict=True):
        assert words in each.error
        assert each.ecv is None


def test_natives_that_wait_while_another_position_has_both_are_named():
    elsewhere = replace(NATIVE, geometry=replace(NATIVE.geometry, position=(10.0, 30.0, 30.0)))
    found = examined([NATIVE, elsewhere, POST]).ecv
    assert found[0].error == ""
    assert "no post-contrast slice lies within 3 mm" in found[1].error


def test_blood_without_statement_tells_which_is_which():
    native, post = (
        replace(each, enhancement=None, blood=BloodT1(blood, 20.0, 1.0, 300))
        for each, blood in ((NATIVE, 1100.0), (POST, 320.0))
    )
    (found,) = examined([post, native]).ecv
    assert found.native == native.identity
    assert "acquired first" in found.pairing
