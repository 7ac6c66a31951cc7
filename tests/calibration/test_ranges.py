import json
import os
import re
import tomllib

import numpy as np
import pytest

from calibration.ranges import Selection, as_toml, calibrate, make_ranges, read_person
from inline.data.errors import MyostreamError
from inline.reference import ReferenceRanges


def region(name, median):
    return {"name": name, "median": median, "q1": median, "q3": median}


def slice_record(median, *, slice_index=0, **more):
    return {
        "series_index": 1,
        "slice_index": slice_index,
        "quantity": "T1",
        "description": "MOLLI native",
        "enhancement": "native",
        "field_strength_T": 1.494,
        "contour_offsets_mm": {"endo": 1.5, "epi": 1.5},
        "contour_convention_mm": {"endo": 1.5, "epi": 1.5},
        "region_inset": 0.1,
        "t1_scale": 1.0,
        "regions": [region("global", median), region("septum", median + 10)],
        "flags": [],
        "error": "",
        **more,
    }


def ecv_record(median, *, slice_index=0, **more):
    values = {"partition_coefficient": 0.45, **region("global", median)}
    return {
        "native": {"series_index": 1, "slice_index": slice_index, "description": "MOLLI native"},
        "post_contrast": {"series_index": 2, "slice_index": slice_index},
        "haematocrit": 0.42,
        "haematocrit_source": "given",
        "regions": [values],
        "flags": [],
        **more,
    }


def write(folder, name, results, ecv=()):
    content = {"results": results, "ecv": list(ecv), "messages": []}
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "normals"
    folder.mkdir()
    for number, value in enumerate((940.0, 950.0, 960.0, 970.0, 930.0)):
        slices = [slice_record(value - 5), slice_record(value + 5, slice_index=1)]
        write(folder, f"person{number}", slices, [ecv_record(25.0 + number)])
    return folder


def means(person):
    """Value of a person in each quantity and region: the mean over the slices."""
    return {key: np.mean(medians) for key, medians in person.medians.items()}


def by_key(ranges):
    return {(each.quantity, each.region): each for each in ranges}


def test_the_files_are_there_when_nobody_reads_the_terminal(site, tmp_path, closed_terminal):
    ranges, figures = tmp_path / "ranges.toml", tmp_path / "ranges.json"
    with pytest.raises(BrokenPipeError):
        calibrate(site, output=ranges, json_file=figures)
    assert ReferenceRanges.load(ranges).ranges
    assert figures.exists()


def test_the_mean_is_that_of_persons_and_the_sd_that_of_slices(site, tmp_path, capsys):
    file = tmp_path / "ranges.toml"
    made = by_key(calibrate(site, Selection(sequence="molli", source="site A"), output=file))
    ring = made["T1", "global"]
    assert (ring.mean, ring.n, ring.field_strength, ring.sequence) == (950.0, 5, 1.5, "molli")
    # Variance 250 of the means, of two slices each, and half of the variance 50 within persons.
    assert ring.sd == pytest.approx(np.sqrt(250 + 50 / 2), abs=1e-3)
    assert made["T1", "septum"].mean == 960.0
    assert {each.region_inset for each in made.values()} == {0.1}
    assert made["ECV", "global"].mean == 27.0
    assert ReferenceRanges.load(file).ranges == tuple(made.values())
    printed = " ".join(capsys.readouterr().out.split())
    assert "5 persons, below 20" in printed
    assert "Outlier" not in printed


def test_the_sd_is_that_of_single_slices(tmp_path):
    random = np.random.default_rng(5)
    for number in range(300):
        own, slices = random.normal(1000, 20), 1 + number % 4
        records = [slice_record(own + random.normal(0, 15), slice_index=each) for each in range(slices)]
        write(tmp_path, f"p{number}", records)
    made = by_key(calibrate(tmp_path))["T1", "global"]
    assert made.sd == pytest.approx(np.hypot(20, 15), rel=0.1)  # two standard errors are 8 %
    assert made.mean == pytest.approx(1000, abs=4)


def test_what_the_sequence_leaves_out_is_counted_by_quantity(site, capsys):
    for file in site.glob("*.json"):
        content = json.loads(file.read_text())
        t2 = slice_record(50.0, quantity="T2", series_index=2, description="T2map")
        sasha = slice_record(1000.0, series_index=3, description="SASHA")
        later = slice_record(500.0, series_index=4, description="SASHA", enhancement="post-contrast")
        content["results"] += [t2, sasha, later]
        ecv = ecv_record(30.0)
        content["ecv"].append({**ecv, "native": {**ecv["native"], "series_index": 3, "description": "SASHA"}})
        file.write_text(json.dumps(content))
    made = by_key(calibrate(site, Selection(sequence="MOLLI")))
    assert {quantity for quantity, _ in made} == {"T1", "ECV"}
    assert made["ECV", "global"].mean == 27.0
    printed = " ".join(capsys.readouterr().out.split())
    assert "--sequence left out slices and ECV (ECV 5, T1 5, T2 5), whose series descriptions" in printed
    assert "do not contain 'MOLLI'" in printed
    with pytest.raises(MyostreamError, match=r"--sequence left out slices and ECV \(ECV 10, T1 15, T2 5\)"):
        calibrate(site, Selection(sequence="MOLI"))
    calibrate(site)
    assert "--sequence left out" not in capsys.readouterr().out


def test_enough_persons_give_no_warning_and_an_outlier_is_named_but_kept(tmp_path, capsys):
    random = np.random.default_rng(3)
    for number in range(24):
        write(tmp_path, f"p{number:02d}", [slice_record(1200.0 if number == 7 else random.normal(950, 20))])
    made = by_key(calibrate(tmp_path))
    assert made["T1", "global"].n == 24
    printed = " ".join(capsys.readouterr().out.split())
    assert "Warning" not in printed
    assert "Outlier: p07 T1 global 1200.0" in printed
    assert "p08" not in printed


def test_an_outlier_is_named_once_with_its_regions_that_are_furthest_off(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # it would wrap the lines
    regions = ["global", "septum", *(f"segment {each}" for each in range(1, 17))]
    for number in range(20):
        values = {each: 920.0 + 3.0 * ((7 * number + place) % 20) for place, each in enumerate(regions)}
        if number in {7, 11}:
            values |= {each: 1100.0 + number + 10.0 * place for place, each in enumerate(regions)}
        own = [region(each, value) for each, value in values.items()]
        write(tmp_path, f"p{number:02d}", [slice_record(0.0, regions=own)])
    calibrate(tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if "utlier" in line]
    assert [line.split()[:2] for line in lines[:-1]] == [["Outlier:", "p07"], ["Outlier:", "p11"]]
    for line in lines[:-1]:
        assert line.endswith(" and 15 more")
        distances = [float(each) for each in re.findall(r"\(\+([0-9.]+)\)", line)]
        assert len(distances) == 3
        assert distances == sorted(distances, reverse=True)
        assert "T1 segment 16 12" in line
    assert "check whether these persons are normal" in lines[-1]


@pytest.mark.parametrize(
    "more",
    [
        {"enhancement": "post-contrast"},
        {"enhancement": None},
        {"description": "SASHA"},
        {"flags": ["review"]},
        {"flags": ["clipped-images"]},
        {"flags": ["noisy-images"]},
        {"flags": ["motion-left"]},
        {"flags": ["missing-images"]},
        {"flags": ["duplicate-images"]},
        {"flags": ["early-close"]},
        {"flags": ["unreadable-times"]},
        {"flags": ["unreadable-attributes"]},
        {"error": "it failed"},
    ],
)
def test_slices_that_are_not_comparable_are_left_out(site, more):
    write(site, "person0", [slice_record(940.0), slice_record(2000.0, slice_index=1, **more)])
    person = read_person(site / "person0.json", Selection("molli"))
    assert means(person)["T1", "global"] == 940.0
    assert len(person.left_out) == (more.get("enhancement") is None and "description" not in more)


@pytest.mark.parametrize("flag", ["converted-unit", "contradictory-geometry", "corrected", "no-orientation"])
def test_flags_that_leave_the_values_right_keep_the_slice(site, flag):
    write(site, "person0", [slice_record(940.0), slice_record(960.0, slice_index=1, flags=[flag])])
    person = read_person(site / "person0.json")
    assert (means(person)["T1", "global"], person.left_out) == (950.0, ())


def test_the_reasons_of_slices_that_are_left_out_are_counted(site, tmp_path, capsys):
    lost = [slice_record(900.0, slice_index=2 + number, flags=["missing-images"]) for number in range(2)]
    lost.append(slice_record(900.0, slice_index=4, flags=["missing-images"], enhancement=None))
    more = slice_record(0.0, slice_index=7, error="it failed"), slice_record(900.0, enhancement=None)
    write(site, "person0", [slice_record(940.0), *lost, *more])
    calibrate(site)
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "5 slices and ECV were left out: 3 for missing-images; 1 for error; 1 for unknown enhancement."
        in printed
    )
    write(tmp_path, "person0", lost)
    with pytest.raises(MyostreamError, match=r"check --sequence and the flags\. 3 slices .* missing-images"):
        calibrate(tmp_path)


def both_kinds(value):
    """One slice of a usual Siemens study: the fitted map, and the scanner's with 1.0365 times its T1."""
    made = slice_record(1.0365 * value, series_index=3, scanner_made_map=True)
    return [slice_record(value, scanner_made_map=False), made]


def test_maps_of_the_scanner_and_fitted_ones_are_not_mixed(tmp_path, capsys):
    for number, value in enumerate((940.0, 950.0, 960.0)):
        of_scanner = ecv_record(40.0 + number)
        of_scanner["native"]["series_index"] = 3
        write(tmp_path, f"person{number}", both_kinds(value), [ecv_record(25.0 + number), of_scanner])
    for scanner_made, t1, ecv in ((False, 950.0, 26.0), (True, round(1.0365 * 950.0, 3), 41.0)):
        file = tmp_path / "ranges.toml"
        made = by_key(calibrate(tmp_path, Selection(scanner_made=scanner_made), output=file))
        assert (made["T1", "global"].mean, made["ECV", "global"].mean) == (t1, ecv)
        assert {each.scanner_made for each in ReferenceRanges.load(file).ranges} == {scanner_made}
        printed = " ".join(capsys.readouterr().out.split())
        assert f"3 maps were {'fitted' if scanner_made else 'made by the scanner'} and left out" in printed


def test_a_site_with_maps_of_the_scanner_alone_is_told_how_to_make_ranges(tmp_path):
    for number, value in enumerate((940.0, 960.0)):
        write(tmp_path, f"person{number}", both_kinds(value)[1:])
    with pytest.raises(MyostreamError, match=r"no person has a usable fitted .* give --scanner-maps"):
        calibrate(tmp_path)
    assert by_key(calibrate(tmp_path, Selection(scanner_made=True)))["T1", "global"].mean == round(
        1.0365 * 950.0, 3
    )


def test_ecv_of_a_place_that_holds_both_kinds_of_maps_takes_no_part(tmp_path):
    """Both in one series: the record of ECV does not state which native map it is of."""
    records = [{**each, "series_index": 1} for each in both_kinds(950.0)]
    write(tmp_path, "person0", records, [ecv_record(25.0)])
    assert means(read_person(tmp_path / "person0.json")).keys() == {("T1", "global"), ("T1", "septum")}
    records[1]["time_stamp"] = 5
    write(tmp_path, "person0", records, [ecv_record(25.0)])
    assert means(read_person(tmp_path / "person0.json"))["ECV", "global"] == 25.0


def test_shmolli_makes_ranges_of_its_own(tmp_path):
    for number, value in enumerate((870.0, 890.0)):
        t2 = slice_record(46.0 + number, quantity="T2", series_index=2)
        ecv = ecv_record(25.0 + number, flags=["shmolli"])
        write(tmp_path, f"person{number}", [slice_record(value, flags=["shmolli"]), t2], [ecv])
    made = by_key(calibrate(tmp_path))
    assert made["T1", "global"].mean == 880.0
    assert {quantity: each.shmolli for (quantity, _), each in made.items()} == {
        "T1": True,
        "T2": False,
        "ECV": True,
    }
    write(tmp_path, "other", [slice_record(950.0)])
    with pytest.raises(MyostreamError, match="some T1 slices are of ShMOLLI"):
        calibrate(tmp_path)


def test_synthetic_and_unknown_haematocrit_make_no_range_of_ecv(site):
    for more in ({"haematocrit": None}, {"flags": ["synthetic-haematocrit"]}):
        write(site, "person0", [slice_record(940.0)], [ecv_record(30.0, **more)])
        assert ("ECV", "global") not in means(read_person(site / "person0.json"))


@pytest.mark.parametrize(
    ("of_native", "of_ecv", "reason"),
    [
        ({}, {"haematocrit": None}, "no haematocrit"),
        ({}, {"haematocrit": None, "error": "no partner"}, "error"),
        ({"enhancement": None, "flags": ["review"]}, {}, "unknown enhancement"),
    ],
)
def test_ecv_that_is_left_out_is_counted(tmp_path, of_native, of_ecv, reason):
    write(tmp_path, "person0", [slice_record(940.0, **of_native)], [ecv_record(30.0, **of_ecv)])
    person = read_person(tmp_path / "person0.json")
    assert ("ECV", "global") not in means(person)
    assert person.left_out[-1] == reason


@pytest.mark.parametrize(
    "more",
    [
        {"field_strength_T": 3.0},
        {"t1_scale": 1.0365},
        {"contour_convention_mm": {"endo": 0.0, "epi": 1.5}},
        # Which a thin wall may have of 1.5 and 1.5 as well.
        {
            "contour_convention_mm": {"endo": 1.0, "epi": 1.0},
            "contour_offsets_mm": {"endo": 1.0, "epi": 1.0},
        },
        {"contour_convention_mm": {"endo": 0.75, "epi": 1.5}},
        {"region_inset": 0.3},
    ],
)
def test_persons_evaluated_differently_are_an_error(site, more):
    write(site, "other", [slice_record(950.0, **more)])
    with pytest.raises(MyostreamError, match="not examined and evaluated in one way"):
        calibrate(site)


def test_thin_walls_are_no_other_convention(site):
    write(site, "thin", [slice_record(950.0, contour_offsets_mm={"endo": 0.9, "epi": 0.9})])
    assert by_key(calibrate(site))["T1", "global"].contour_convention_mm == (1.5, 1.5)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"results": [{}]}', '{"results": 3}', '{"slices": null}', "\x00", "[" * 100_000],
)
def test_other_files_are_named(tmp_path, content):
    (tmp_path / "odd.json").write_text(content, encoding="utf-8")
    with pytest.raises(MyostreamError, match=r"odd\.json is no file of results"):
        calibrate(tmp_path)


@pytest.mark.parametrize("content", [[], {"root": "/archive"}])
def test_json_without_results_says_so(tmp_path, content):
    (tmp_path / "odd.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(MyostreamError, match="it has neither results nor slices"):
        calibrate(tmp_path)


def test_no_files_and_a_wrong_sex_say_so(site, tmp_path):
    with pytest.raises(MyostreamError, match="no JSON files"):
        calibrate(tmp_path)
    with pytest.raises(MyostreamError, match="M or F"):
        calibrate(site, Selection(sex="x"))


@pytest.mark.parametrize("missing", ["field_strength_T", "region_inset"])
def test_a_slice_without_field_strength_or_inset_says_so(tmp_path, missing):
    write(tmp_path, "p", [slice_record(950.0, **{missing: None})])
    with pytest.raises(MyostreamError, match="systemFieldStrength_T"):
        calibrate(tmp_path)


def test_any_text_is_valid_toml(site):
    persons = [read_person(file) for file in sorted(site.glob("*.json"))]
    text = 'quote " backslash \\ newline \n tab \t umlaut \u00e4 delete \x7f'
    ranges, _ = make_ranges(persons, Selection(source=text, sex="F"))
    read = tomllib.loads(as_toml(ranges))["range"]
    assert {each["source"] for each in read} == {text}
    assert {each["sex"] for each in read} == {"F"}


def test_an_argument_that_is_no_utf_8_is_written_as_escapes(site, tmp_path):
    calibrate(site, Selection(source=os.fsdecode(b"M\xfcller")), output=tmp_path / "ranges.toml")
    read = tomllib.loads((tmp_path / "ranges.toml").read_text(encoding="utf-8"))["range"]
    assert {each["source"] for each in read} == {r"M\udcfcller"}
    assert ReferenceRanges.load(tmp_path / "ranges.toml").ranges


def test_t2_after_contrast_agent_takes_no_part(tmp_path):
    t2 = [slice_record(47.0, quantity="T2", enhancement=each) for each in (None, "post-contrast")]
    t2[1]["regions"] = [region("global", 43.0)]
    write(tmp_path, "person0", t2)
    assert means(read_person(tmp_path / "person0.json"))["T2", "global"] == 47.0


def test_t1_of_unknown_enhancement_is_counted_among_the_maps_of_its_kind(tmp_path):
    """The scanner's map of the same slice counts once, in the ranges of such maps."""
    both = [slice_record(950.0, enhancement=None, scanner_made_map=each) for each in (False, True)]
    write(tmp_path, "person0", both)
    for scanner_made in (False, True):
        person = read_person(tmp_path / "person0.json", Selection(scanner_made=scanner_made))
        assert (person.left_out, person.other_maps) == (("unknown enhancement",), 0)


@pytest.mark.parametrize("values", [(950.0,), (950.0, 950.0), (950.0, 950.0001)])
def test_persons_that_give_no_sd_are_an_error_and_no_empty_file(tmp_path, values):
    for number, value in enumerate(values):
        write(tmp_path, f"person{number}", [slice_record(value)])
    with pytest.raises(MyostreamError, match="two persons with different values"):
        calibrate(tmp_path, output=tmp_path / "ranges.toml")
    assert not (tmp_path / "ranges.toml").exists()


@pytest.mark.parametrize("offsets", [{}, {"endo": None, "epi": 1.5}, {"endo": "1.5", "epi": 1.5}, [1.5, 1.5]])
def test_offsets_that_are_none_are_an_error_that_names_the_file(tmp_path, offsets):
    write(tmp_path, "person0", [slice_record(950.0, contour_convention_mm=offsets)])
    with pytest.raises(MyostreamError, match=r"person0\.json.*contour.convention"):
        read_person(tmp_path / "person0.json")


def test_results_of_process_give_the_ranges_of_the_same_results_of_replay(site, tmp_path):
    """Folders as ``process -o`` writes them: one for each person, the examinations below."""
    folders = tmp_path / "folders"
    for file in site.glob("*.json"):
        content = json.loads(file.read_text())
        own = folders / file.stem / "001"
        own.mkdir(parents=True)
        (own / "examination.json").write_text("{}")
        for number, each in enumerate(content["results"]):
            (own / f"slice-{number:02d}-T1-series-1.json").write_text(json.dumps(each))
        for number, each in enumerate(content["ecv"]):
            (own / f"slice-{number:02d}-ECV-series-1.json").write_text(json.dumps(each))
    assert calibrate(folders) == calibrate(site)
    (folders / "person0" / "001" / "slice-00-T1-series-1.json").write_text("{")
    with pytest.raises(MyostreamError, match="person0 is no file of results"):
        calibrate(folders)


def test_results_of_a_cohort_give_the_ranges_of_the_same_results_of_replay(site, tmp_path):
    """The folder as ``cohort -o`` writes it, or its folder of examinations alone."""
    out = tmp_path / "out"
    (out / "examinations").mkdir(parents=True)
    for name, content in (("failures", []), ("run", {"root": "/archive"})):
        (out / f"{name}.json").write_text(json.dumps(content))
    for number, file in enumerate(site.glob("*.json")):
        content = json.loads(file.read_text())
        parts = {kind: [{"part": 1, **each} for each in content[kind]] for kind in ("results", "ecv")}
        of_cohort = {"examination": f"2019/{file.name}", "slices": parts["results"], "ecv": parts["ecv"]}
        (out / "examinations" / f"{number:016x}.json").write_text(json.dumps(of_cohort))
    empty = {"examination": "2019/damaged.h5", "error": "it cannot be read", "slices": [], "ecv": []}
    (out / "examinations" / f"{99:016x}.json").write_text(json.dumps(empty))
    assert calibrate(out) == calibrate(out / "examinations") == calibrate(site)


def test_names_that_begin_with_a_dot_are_no_results(site, tmp_path):
    """Unfinished files of a killed process, those of macOS, and copies in hidden folders."""
    expected = calibrate(site)
    (of_cohort := site / "examinations").mkdir()
    for folder in (site, of_cohort):
        (folder / ".myostream-0123456789abcdef.json").write_text('{"results": [')
        (folder / "._person0.json").write_bytes(b"\0\5\26\7")
    for folder in (site / ".copy" / "001", site / "person9" / ".copy"):
        folder.mkdir(parents=True)
        (folder / "examination.json").write_text("{}")
        (folder / "slice-00-T1-series-1.json").write_text("{")
    assert calibrate(site) == expected
    own = site / "person9" / "001"
    own.mkdir()
    (own / "examination.json").write_text("{}")
    (own / "slice-00-T1-series-1.json").write_text(json.dumps(slice_record(950.0)))
    assert by_key(calibrate(site))["T1", "global"].n == 6


def test_parts_of_an_examination_are_places_of_their_own(tmp_path):
    """Both parts have the same numbers; the native map of one was made by the scanner."""
    slices = [
        {"part": 1, **slice_record(950.0)},
        {"part": 2, **slice_record(980.0, scanner_made_map=True)},
    ]
    content = {"examination": "a", "slices": slices, "ecv": [{"part": 1, **ecv_record(25.0)}]}
    (tmp_path / "person0.json").write_text(json.dumps(content))
    person = read_person(tmp_path / "person0.json")
    assert (means(person)["ECV", "global"], person.left_out) == (25.0, ())


def test_ecv_without_usable_t1_makes_ranges(tmp_path):
    for number in range(2):
        records = [slice_record(950.0, flags=["noisy-images"])]
        records.append(slice_record(47.0 + number, quantity="T2", series_index=2))
        write(tmp_path, f"person{number}", records, [ecv_record(25.0 + number)])
    assert by_key(calibrate(tmp_path))["ECV", "global"].mean == 25.5


def test_few_persons_have_no_outliers(tmp_path, capsys):
    """Two of three values that are close make the third one an outlier, whatever it is."""
    for number, value in enumerate((950.0, 950.1, 975.0)):
        write(tmp_path, f"person{number}", [slice_record(value)])
    calibrate(tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Outlier" not in printed
    assert printed.count("below 10 persons") == 1


def test_the_same_results_under_another_name_are_one_person(site, capsys):
    (site / "copy.json").write_bytes((site / "person0.json").read_bytes())
    write(site, "nothing", [])
    write(site, "nothing2", [])
    assert by_key(calibrate(site))["T1", "global"].n == 5
    printed = " ".join(capsys.readouterr().out.split())
    assert "person0 has all values of copy" in printed
    assert "nothing" not in printed


def test_folders_whose_names_hold_a_dot_keep_their_names(tmp_path, capsys):
    for number, value in enumerate((*range(930, 980, 10), 1900, *range(935, 985, 10))):
        own = tmp_path / f"site.{number:02d}" / "001"
        own.mkdir(parents=True)
        (own / "examination.json").write_text("{}")
        (own / "slice-00-T1-series-1.json").write_text(json.dumps(slice_record(value)))
    calibrate(tmp_path)
    assert "Outlier: site.05 T1 global" in capsys.readouterr().out


def test_a_file_and_a_folder_of_one_name_are_not_two_persons(site):
    own = site / "person0" / "001"
    own.mkdir(parents=True)
    (own / "examination.json").write_text("{}")
    (own / "slice-00-T1-series-1.json").write_text(json.dumps(slice_record(940.0)))
    with pytest.raises(MyostreamError, match=r"person0\.json beside a folder of the same name"):
        calibrate(site)


def test_a_person_of_several_examinations_is_named(site, capsys):
    for number in range(3):
        own = site / "batch" / f"{number + 1:03d}"
        own.mkdir(parents=True)
        (own / "examination.json").write_text("{}")
        (own / "slice-00-T1-series-1.json").write_text(json.dumps(slice_record(900.0 + 30.0 * number)))
    assert by_key(calibrate(site))["T1", "global"].n == 6
    printed = " ".join(capsys.readouterr().out.split())
    assert "Person batch: 3 examinations" in printed
    assert printed.count("Person ") == 1
