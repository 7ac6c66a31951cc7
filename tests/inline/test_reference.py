import json
from dataclasses import replace

import pytest

from inline.data.errors import ConfigurationError
from inline.data.flags import Flag
from inline.data.results import ContourOffsets, RegionValues
from inline.data.series import Enhancement, Quantity, SeriesIdentity
from inline.reference import ReferenceRanges, with_z_scores
from tests.inline.examination.phantom import t1_slice

SLICE = t1_slice(
    identity=SeriesIdentity(1, 0, "T1map_MOLLI native"),
    field_strength=1.494,
    offsets=ContourOffsets(1.5, 1.5),
    convention=ContourOffsets(1.5, 1.5),
    inset=0.1,
)
COMMON = {"quantity": "T1", "region": "global", "field_strength": 1.5, "mean": 950, "sd": 25, "n": 40}


def table(**more):
    content = {**COMMON, "source": "site A", **more}
    lines = (f"{name} = {json.dumps(value)}" for name, value in content.items())
    return "[[range]]\n" + "\n".join(lines) + "\n"


@pytest.fixture
def ranges(tmp_path):
    def load(*tables):
        file = tmp_path / "ranges.toml"
        file.write_text("\n".join(tables), encoding="utf-8")
        return ReferenceRanges.load(file)

    return load


def ring(median):
    return RegionValues("global", median, 900.0, 1000.0, 950.0, 20.0, 300)


def test_a_z_score_by_hand(ranges):
    found, note = ranges(table()).of("T1", SLICE)
    assert note == ""
    (scored, other), source = with_z_scores([ring(1000.0), replace(ring(1000.0), name="septum")], found)
    assert scored.z_score == pytest.approx(2.0)
    assert other.z_score is None
    assert source == "site A (n = 40)"


def test_without_a_file_nothing_is_invented():
    found, note = ReferenceRanges.load(None).of("T1", SLICE)
    assert (found, note) == ({}, "")
    assert with_z_scores([ring(1000.0)], found) == ((ring(1000.0),), "")


def test_a_region_without_values_has_no_z_score(ranges):
    empty = RegionValues("global", None, None, None, None, None, 0)
    found, _ = ranges(table()).of("T1", SLICE)
    assert with_z_scores([empty], found) == ((empty,), "")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"field_strength": 3.0}, "no expected reference"),
        ({"sequence": "SASHA"}, "no expected reference"),
        ({"sex": "F"}, "no expected reference"),
        ({"t1_scale": 1.0365}, "made with mapping.t1_scale 1.0365, not 1."),
        (
            {"contour_convention_mm": [0.0, 0.25]},
            "made with contour convention (endo, epi) in mm 0, 0.25, not 1.5, 1.5.",
        ),
        (
            {"region_inset": 0.3, "t1_scale": 1.1},
            "made with mapping.t1_scale 1.1, not 1 and regions.inset 0.3, not 0.1.",
        ),
        ({"scanner_made": True}, "the map is fitted, the ranges are of the scanner's maps"),
        ({"shmolli": True}, "either the map or the reference ranges are of ShMOLLI"),
    ],
)
def test_a_range_for_something_else_is_not_used_and_a_note_says_so(ranges, more, reason):
    found, note = ranges(table(**more)).of("T1", SLICE)
    assert found == {}
    assert note.startswith("No z-scores of T1: ")
    assert reason.removeprefix("no expected ") in note


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"enhancement": Enhancement.POST_CONTRAST}, ""),
        ({"enhancement": None}, "not known whether the map is native"),
        ({"field_strength": None}, "no field strength"),
    ],
)
def test_native_ranges_hold_for_native_maps_of_a_known_field_strength_alone(ranges, changed, words):
    found, note = ranges(table()).of("T1", replace(SLICE, **changed))
    assert found == {}
    assert words in note
    assert bool(note) == bool(words)


def test_t2_needs_no_enhancement(ranges):
    t2 = replace(SLICE, quantity=Quantity.T2, enhancement=None)
    assert ranges(table(quantity="T2", mean=47, sd=2)).of("T2", t2)[0]["global"].mean == 47


def test_t2_after_contrast_agent_has_no_z_score(ranges):
    t2 = replace(SLICE, quantity=Quantity.T2, enhancement=Enhancement.POST_CONTRAST)
    found, note = ranges(table(quantity="T2", mean=47, sd=2)).of("T2", t2)
    assert (found, note) == ({}, "No z-scores of T2: the map is post-contrast.")


def test_the_most_specific_range_holds(ranges):
    several = ranges(
        table(mean=1),
        table(mean=2, sequence="molli"),
        table(mean=3, sequence="T1map_MOLLI"),
        table(mean=4, sex="F"),
        table(mean=5, sex="F", sequence="MOLLI"),
        table(mean=6, sex="M"),
    )
    assert several.of("T1", SLICE)[0]["global"].mean == 3
    assert several.of("T1", replace(SLICE, sex="F"))[0]["global"].mean == 5
    assert several.of("T1", replace(SLICE, sex="M"))[0]["global"].mean == 6


def test_a_thin_wall_is_no_other_convention(ranges):
    made = ranges(table(contour_convention_mm=[1.5, 1.5]))
    assert made.of("T1", replace(SLICE, offsets=ContourOffsets(0.9, 0.9)))[0]
    for other in ((2.0, 2.0), (-1.5, 1.5), (0.5, 0.5), (0.0, 0.0)):
        offsets = ContourOffsets(*other)
        found, note = made.of("T1", replace(SLICE, offsets=offsets, convention=offsets))
        assert not found
        assert "contour convention (endo, epi) in mm 1.5, 1.5, not " in note
    assert not made.of("T1", replace(SLICE, convention=None))[0]


def test_the_convention_has_its_earlier_name_in_older_files(ranges):
    """``contour_offsets_mm``, which is the convention as applied in results, was that as set here."""
    older = ranges(table(contour_offsets_mm=[1.5, 1.0]))
    assert older == ranges(table(contour_convention_mm=[1.5, 1.0]))
    assert not older.of("T1", SLICE)[0]
    with pytest.raises(ConfigurationError, match=r"range\.0\.contour_offsets_mm"):
        ranges(table(contour_convention_mm=[1.5, 1.5], contour_offsets_mm=[0.9, 0.9]))


def test_a_range_holds_for_slices_of_its_own_inset(ranges):
    made = ranges(table(region_inset=0.1))
    assert made.of("T1", SLICE)[0]
    for inset in (0.2, None):
        assert not made.of("T1", replace(SLICE, inset=inset))[0]


def test_ranges_of_fitted_maps_judge_no_map_of_the_scanner_and_no_shmolli(ranges):
    """A file that states neither is of fitted maps and of other schemes."""
    of_scanner, shmolli = replace(SLICE, scanner_made=True), replace(SLICE, flags=(Flag.SHMOLLI,))
    plain = ranges(table())
    assert plain.of("T1", SLICE)[0]
    assert plain.of("T1", of_scanner)[0] == plain.of("T1", shmolli)[0] == {}
    assert "the map is the scanner's, the ranges are of fitted maps" in plain.of("T1", of_scanner)[1]
    three = ranges(table(mean=1), table(mean=2, scanner_made=True), table(mean=3, shmolli=True))
    for result, mean in ((SLICE, 1), (of_scanner, 2), (shmolli, 3)):
        assert three.of("T1", result)[0]["global"].mean == mean


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[range]\n", "cannot be read"),
        ("", "range: Field required"),
        (table(sd=0), r"range\.0\.sd"),
        (table(quantity="T1rho"), r"range\.0\.quantity"),
        (table(typo=1), "typo"),
        (table(mean="x"), "mean"),
        (table(n=1), r"range\.0\.n"),
        (table(n=True), r"range\.0\.n: Input should be a valid integer"),
        (table(sd="25"), r"range\.0\.sd: Input should be a valid number"),
        (table(t1_scale=True), r"range\.0\.t1_scale: Input should be a valid number"),
        (table(scanner_made="no"), r"range\.0\.scanner_made"),
        (table(mean=1).replace("mean = 1", "mean = inf"), r"range\.0\.mean: .* finite"),
        (table() + table(), "two ranges for T1, global, 1.5"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(ranges, text, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        ranges(text)
    assert "ranges.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.toml cannot be read"):
        ReferenceRanges.load(tmp_path / "none.toml")
