"""The Python API, and the page that shows it."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import inline
from inline.mrd.files import write_images
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.offline.arrays import ArrayOptions
from inline.offline.sources import Sources
from inline.pipeline import Pipeline
from inline.replay.simulate import simulate_examination, write_examination
from inline.settings import AssemblySettings, Settings

ROOT = Path(inline.__file__).parent.parent


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    made = tmp_path_factory.mktemp("api") / "examination.h5"
    write_examination(made, simulate_examination(2))
    return made


@pytest.fixture(scope="module")
def study(file):
    return inline.read_mrd(file)


def run_page(page):
    """Run the Python blocks of a page one after the other; returns the variables."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    names = {}
    exec("\n".join(blocks), names)
    return names


@pytest.mark.parametrize("network", ["ring", pytest.param("shipped", marks=pytest.mark.slow)])
def test_the_pages_run_from_top_to_bottom(file, ring_engine, monkeypatch, capsys, network):
    monkeypatch.chdir(file.parent)
    inline._pipeline.cache_clear()
    if network == "ring":
        monkeypatch.setattr("inline.engine_selection.make_engine", lambda _, **_kwargs: ring_engine)
    if not (file.parent / "demo-output").exists():
        (file.parent / "demo-output").symlink_to(file.parent)
    run_page("README.md")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["T1", "T2", "T1", "T2"]
    names = run_page("docs/python.md")
    text = capsys.readouterr().out
    assert text.count("global: ") == 4
    assert "(8, 192, 192)" in text
    assert text.count("'AHA 1 basal anterior'") == 1
    # What the page says of the steps by themselves agrees with what it says of the whole.
    result = inline.process(names["study"][0])
    assert names["ring"] == result.regions[0]
    np.testing.assert_array_equal(names["endo_pixels"], result.contours.endo)
    np.testing.assert_allclose(names["endo_mm"], 1.5 * names["endo_pixels"])
    inline._pipeline.cache_clear()


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_first_examples_print_regions_without_a_value(page, file, ring_engine, monkeypatch, capsys):
    """As of a segment within a void of the map."""
    monkeypatch.chdir(file.parent)
    if not (file.parent / "demo-output").exists():
        (file.parent / "demo-output").symlink_to(file.parent)
    made = inline.process(inline.read_mrd(file)[0], pipeline=Pipeline(ring_engine))
    nothing = inline.RegionValues("global", None, None, None, None, None, 0)
    monkeypatch.setattr(inline, "process", lambda *_args, **_kwargs: replace(made, regions=(nothing,)))
    first = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)[0]
    monkeypatch.setitem(sys.modules, "myostream", inline)
    exec(first, {})
    assert ("no values" if page == "README.md" else "global: -") in capsys.readouterr().out


def test_the_series_that_a_page_writes_have_the_values_that_it_states(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page("docs/replay.md")
    study = inline.read_mrd("own.h5")
    examination = inline.examine([inline.process(each, study=study) for each in study], haematocrit=0.42)
    assert [round(each.regions[0].median) for each in examination.slices] == [720, 450]
    (ecv,) = examination.ecv
    assert ecv.flags == ()
    expected = 58.0 * (1 / 450 - 1 / 720) / (1 / 360 - 1 / 1080)
    assert ecv.regions[0].median == pytest.approx(expected, abs=0.1)


def test_fits_return_the_time_of_a_phantom():
    ti_ms = np.array([100.0, 180.0, 260.0, 1000.0, 1900.0, 2800.0, 3700.0, 4600.0])
    t1_star, a, b = 900.0, 100.0, 190.0
    signal = np.abs(a - b * np.exp(-ti_ms / t1_star))[:, None, None] * np.ones((1, 3, 4))
    found = inline.fit_molli(signal.tolist(), ti_ms.tolist())
    np.testing.assert_allclose(found.values_ms, t1_star * (b / a - 1.0), rtol=1e-4)
    te_ms = [0.0, 25.0, 55.0]
    decay = 200.0 * np.exp(-np.array(te_ms) / 45.0)[:, None, None] * np.ones((1, 3, 4))
    np.testing.assert_allclose(inline.fit_t2prep(decay, te_ms).values_ms, 45.0, rtol=1e-4)


def test_two_arrays_give_an_ecv():
    """By the way that ``docs/ecv.md`` shows."""
    rows, columns = np.mgrid[:192, :192]
    inside = [np.hypot(columns - 96, rows - 96) * 1.5 < radius for radius in (25, 35)]
    times_ms = np.array([100.0, 180.0, 260.0, 1000.0, 1900.0, 2800.0, 3700.0, 4600.0])
    geometry = inline.SliceGeometry.unoriented((1.5, 1.5), (192, 192))
    results = []
    for number, of_tissue in enumerate(((1200.0, 800.0, 250.0), (400.0, 500.0, 600.0))):
        t1_star_ms = np.select(inside, of_tissue[:2], of_tissue[2])
        images = np.abs(2000.0 - 3800.0 * np.exp(-times_ms[:, None, None] / t1_star_ms))
        images += np.random.default_rng(1).normal(0.0, 10.0, images.shape)
        identity = inline.SeriesIdentity(number, 0)
        results.append(inline.process(inline.MappingSeries("T1", images, times_ms, geometry, identity)))
    found = inline.ecv(*results, haematocrit=0.42)
    expected = 58.0 * (1 / 450 - 1 / 720) / (1 / 360 - 1 / 1080)
    assert found.regions[0].median == pytest.approx(expected, abs=0.2)
    assert found.flags == (inline.Flag.NO_ORIENTATION,)
    with pytest.raises(ValueError, match=r"a series is one of read_mrd\(\) .*, not a SliceResult"):
        inline.process(results[0])
    with pytest.raises(ValueError, match=r"give 0\.42 for 42 %"):
        inline.ecv(*results, haematocrit=42)


def test_wrong_arrays_are_value_errors(ring_engine):
    with pytest.raises(ValueError, match=r"must be real and \(n, rows, columns\)"):
        inline.fit_molli(np.zeros((8, 9)), np.arange(8.0))
    with pytest.raises(ValueError, match="complex"):
        inline.fit_t2prep(np.zeros((3, 4, 4), complex), [0.0, 25.0, 55.0])
    with pytest.raises(ValueError, match="at least 4 images"):
        inline.fit_molli(np.zeros((3, 4, 4)), [100.0, 200.0, 300.0])
    with pytest.raises(ValueError, match=r"longest time is 4\.6 ms, .* times are in ms"):
        inline.fit_molli(np.ones((4, 4, 4)), [0.1, 0.18, 1.0, 4.6])
    with pytest.raises(ValueError, match="times are in ms"):
        inline.fit_t2prep(np.ones((3, 4, 4)), [0.0, 0.025, 0.055])
    with pytest.raises(ValueError, match=r"a map is real and \(rows, columns\), not float64 \(4,\)"):
        inline.segment(np.zeros(4), (1.5, 1.5), "T1", pipeline=Pipeline(ring_engine))
    with pytest.raises(ValueError, match='quantity is "T1" or "T2", not \'PD\''):
        inline.segment(np.zeros((4, 4)), (1.5, 1.5), "PD", pipeline=Pipeline(ring_engine))
    with pytest.raises(ValueError, match=r"spacing is \(x, y\) in mm, not 1\.5"):
        inline.segment(np.zeros((4, 4)), 1.5, "T1", pipeline=Pipeline(ring_engine))
    for images, times in ((np.ones((4, 4, 8)), np.arange(8.0)), (np.ones((8, 4, 4)), np.ones((8, 1)))):
        with pytest.raises(ValueError, match=r"do not match 8 times: images are \(n, rows, columns\)"):
            inline.fit_molli(images, 300.0 * times)
    tensor = torch.ones((8, 4, 4))
    for images, times in (
        (tensor.clone().requires_grad_(), T1_TIMES),
        (tensor.bfloat16(), T1_TIMES),
        (tensor, torch.tensor(T1_TIMES, requires_grad=True)),
    ):
        with pytest.raises(ValueError, match=r"values must be an array of numpy: .*(requires grad|BFloat16)"):
            inline.fit_molli(images, times)
    with pytest.raises(ValueError, match=r"there are no contours; Segmentation\.flags says why"):
        inline.measure(np.ones((4, 4)), None)


def test_an_array_is_measured_within_contours_in_pixels_and_in_mm(ring_engine):
    """A ring of 20 to 28 pixels of 1.5 mm in the network's frame, in an image of pixels of 3 x 0.75 mm."""
    values = np.full((448, 112), 1000.0)
    values[:, :56] = np.nan
    found = inline.segment(values, (3.0, 0.75), "T1", pipeline=Pipeline(ring_engine))
    across = np.ptp(found.contours.epi, axis=0)
    drawn = 28 * 1.5 - 1.5  # by the convention of the settings
    np.testing.assert_allclose(across, [2 * drawn / 3.0, 2 * drawn / 0.75], rtol=0.02)
    assert found.offsets == Settings().contours.offsets
    for wrong in ((1.5, 1.5, 8.0), 1.5):
        with pytest.raises(ValueError, match=r"spacing is \(x, y\) in mm, not "):
            found.contours.in_mm(wrong)
    mm = found.contours.in_mm((3.0, 0.75))
    np.testing.assert_allclose(np.ptp(mm.epi, axis=0), 2 * drawn, rtol=0.02)
    (ring,) = inline.measure(values, found.contours)
    assert ring.median == 1000.0
    with pytest.raises(ValueError, match='level is "basal", "mid", "apical" or "unknown", not \'middle\''):
        inline.measure(values, found.contours, level="middle")
    lower_case = inline.segment(values, (3.0, 0.75), "t1", pipeline=Pipeline(ring_engine))
    np.testing.assert_array_equal(lower_case.labels, found.labels)
    whole = inline.measure(np.nan_to_num(values, nan=1000.0), found.contours)[0]
    assert ring.pixels == pytest.approx(whole.pixels / 2, rel=0.02)  # pixels without a value do not count
    named = [
        each.name for each in inline.measure(values, found.contours, level="apical", septum_degrees=180.0)
    ]
    assert named[:2] == ["global", "septum"]
    assert len(named) == 6


def ring_of_pixels(septum, width_mm, height_mm, shape=(120, 120)):
    """A map, a ring of 20 to 30 mm around its middle, and insertion points 60 degrees from a septum.

    The septum is in degrees anticlockwise from the right, in mm.
    """
    size, middle = np.array([width_mm, height_mm]), np.array([shape[1], shape[0]]) / 2

    def place(degrees, radius):
        angle = np.radians(-np.atleast_1d(degrees))
        return middle + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1) / size

    contours = inline.Contours(*(place(np.arange(0.0, 360.0, 3.0), radius) for radius in (20.0, 30.0)))
    points = (place(septum + side, 30.0)[0] for side in (-60.0, 60.0))  # the anterior one first
    found = inline.Insertions(*(inline.InsertionPoint(*map(float, each), 0.9) for each in points))
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    angle = np.degrees(np.arctan2(-(rows - middle[1]) * height_mm, (columns - middle[0]) * width_mm))
    return (angle - septum + 180.0) % 360.0 + 820.0, contours, found  # 1000 at the middle of the septum


def undirected_series(folder):
    """The series of images whose headers state no directions."""
    nowhere = {"read_dir": (0.0,) * 3, "phase_dir": (0.0,) * 3, "slice_dir": (0.0,) * 3}
    header = ImageHeader(field_of_view=(120.0, 120.0, 8.0), image_series_index=1, **nowhere)
    images = [
        Image.from_pixels(
            np.full((1, 1, 120, 120), 100 + number, np.uint16),
            replace(header, set=number),
            {"SequenceDescription": "T1map_MOLLI", "InversionTime": str(100.0 + 300.0 * number)},
        )
        for number in range(8)
    ]
    write_images(folder / "undirected.h5", "", images)
    return inline.read_mrd(folder / "undirected.h5")


def test_no_segment_is_measured_where_the_headers_state_no_directions(tmp_path, ring_engine):
    (found,) = undirected_series(tmp_path)
    values, contours, _ = ring_of_pixels(180.0, 1.0, 1.0)
    regions = inline.measure(values, contours, level="mid", geometry=found.series.geometry)
    assert [each.name for each in regions] == ["global"]
    for series in (found, found.series):
        result = inline.process(series, pipeline=Pipeline(ring_engine))
        assert [each.name for each in result.regions] == ["global"]
        assert result.flags.count("no-orientation") == 1
    # A usual heart on the image's own axes would contradict these points.
    values, contours, points = ring_of_pixels(0.0, 1.0, 1.0)
    given = {"geometry": found.series.geometry, "insertions": points, "level": "mid"}
    septum, mid_septum = inline.measure(values, contours, **given)[1:3]
    assert (septum.name, mid_septum.name) == ("septum", "mid-septum")
    assert mid_septum.median == pytest.approx(1000.0, abs=1.0)


@pytest.mark.parametrize("septum", [80.0, 150.0])
@pytest.mark.parametrize("oriented", [True, False])
def test_the_septum_of_pixels_that_are_not_square_is_that_in_the_patient(septum, oriented):
    """Where the slice faces right-anterior, or its directions are not known, the points alone state it."""
    values, contours, points = ring_of_pixels(septum, 1.0, 2.0, (80, 120))
    geometry = inline.SliceGeometry(
        (0.0, 0.0, 0.0), (0.7071, -0.7071, 0.0), (0.0, 0.0, -1.0), (1.0, 2.0), (80, 120), oriented=oriented
    )
    regions = inline.measure(values, contours, level="mid", geometry=geometry, insertions=points)
    named = {each.name: each.median for each in regions}
    assert named["mid-septum"] == pytest.approx(1000.0, abs=2.0)
    assert named["septum"] == pytest.approx(1000.0, abs=2.0)
    assert named["AHA 8 mid anteroseptal"] == pytest.approx(970.0, abs=2.0)


def test_a_file_gives_what_the_stream_assembles(file, study):
    assert [(each.identity.slice_index, each.quantity) for each in study] == [
        (0, "T1"),
        (0, "T2"),
        (1, "T1"),
        (1, "T2"),
    ]
    assert study[0].series.images.shape == (8, 192, 192)
    with pytest.raises(inline.MyostreamError, match=r"there is no file /nowhere\.h5"):
        inline.read_mrd("/nowhere.h5")


def test_images_without_times_are_a_failed_series_and_a_failed_result(ring_engine, tmp_path):
    images = [
        Image.from_pixels(
            np.full((1, 1, 64, 64), number + 1, np.uint16),
            ImageHeader(field_of_view=(96.0, 96.0, 8.0), set=number, image_series_index=1),
            {"SequenceDescription": "T1map_MOLLI"},
        )
        for number in range(8)
    ]
    write_images(tmp_path / "untimed.h5", "", images)
    (failed,) = inline.read_mrd(tmp_path / "untimed.h5")
    assert isinstance(failed, inline.Failed)
    assert "no inversion times" in failed.error
    assert inline.process(failed, pipeline=Pipeline(ring_engine)).error == failed.error


def test_series_of_arrays_are_processed_or_failed(study, ring_engine):
    first = study[0].series
    made = inline.MappingSeries(
        inline.Quantity.T1, first.images, first.times_ms, first.geometry, inline.SeriesIdentity(7, 0)
    )
    result = inline.process(made, pipeline=Pipeline(ring_engine))
    assert result.identity.series_index == 7
    np.testing.assert_array_equal(
        result.map.values_ms, inline.fit_molli(first.images, first.times_ms).values_ms
    )
    order = [0, 3, 5, 7, 1, 4, 6, 2]  # as acquired: 100, 1000, 1900, 2800, 180 ms and so on
    acquired = replace(made, images=first.images[order], times_ms=first.times_ms[order])
    unsorted = inline.process(acquired, pipeline=Pipeline(ring_engine))
    assert (unsorted.flags, unsorted.notes) == (result.flags, result.notes)
    np.testing.assert_array_equal(unsorted.map.values_ms, result.map.values_ms)
    short = replace(made, images=first.images[:3], times_ms=first.times_ms[:3])
    assert "at least 4 images" in inline.process(short, pipeline=Pipeline(ring_engine)).error


def test_every_public_name_is_there_and_the_import_loads_nothing():
    for name in inline.__all__:
        assert getattr(inline, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fit_sasha'"):
        inline.fit_sasha  # noqa: B018
    script = (
        "import sys, inline; print(*sorted({'numpy', 'torch', 'pydantic', 'typer'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_ecv_of_two_results_and_of_an_examination():
    from tests.inline.examination.phantom import t1_slice

    native, post = t1_slice(field_strength=1.5), t1_slice(post=True)
    one = inline.ecv(native, post, 0.42)
    assert one.regions[0].median == pytest.approx(26.68, abs=0.01)
    assert one.pairing == "user"
    assert inline.ecv(native, post).regions[0].median is None
    settings = inline.load_settings(ecv={"synthetic": True})
    assert inline.ecv(native, post, settings=settings).haematocrit.source == "synthetic"
    (found,) = inline.examine([native, post], 0.42).ecv
    assert found.regions == one.regions
    with pytest.raises(ValueError, match=r"give 0\.42 for 42 %"):
        inline.ecv(native, post, 42)


T1_TIMES = np.array([100.0, 180.0, 260.0, 1000.0, 1900.0, 2800.0, 3700.0, 4600.0])


def inversion_recovery(t1_ms, shape):
    """Magnitudes of a MOLLI series of one T1, with A = 100 and B = 190, ``(8, *shape)``."""
    return np.abs(100.0 - 190.0 * np.exp(-T1_TIMES * 0.9 / t1_ms))[:, None, None] * np.ones((1, *shape))


def test_masked_pixels_have_no_value():
    """As NaN: neither the data beneath the mask nor the fill value of the array reach a fit or a median."""
    images = np.ma.masked_array(inversion_recovery(1000.0, (4, 6)), mask=np.zeros((8, 4, 6), bool))
    images[:, :, :2] = inversion_recovery(400.0, (4, 2))
    images[:, :, :2] = np.ma.masked
    for given in (images, list(images), (1000.0 * images).astype(np.uint32)):
        found = inline.fit_molli(given, T1_TIMES)
        np.testing.assert_array_equal(found.failed[0], [True] * 2 + [False] * 4)
        np.testing.assert_allclose(found.values_ms[:, 2:], 1000.0, rtol=1e-4)
    _, contours, _ = ring_of_pixels(180.0, 1.0, 1.0)
    values = np.ma.masked_array(np.full((120, 120), 1000.0), mask=False)
    values[:, :80] = 200.0
    values[:, :80] = np.ma.masked
    assert inline.measure(values, contours)[0].median == 1000.0
    with pytest.raises(ValueError, match="times must be finite"):
        inline.fit_molli(images.data, np.ma.masked_equal(T1_TIMES, 100.0))


def test_a_complex_map_is_refused(ring_engine):
    values, contours, _ = ring_of_pixels(180.0, 1.0, 1.0)
    for call in (
        lambda: inline.measure(values * 1j, contours),
        lambda: inline.segment(values * 1j, (1.5, 1.5), "T1", pipeline=Pipeline(ring_engine)),
    ):
        with pytest.raises(ValueError, match=r"a map is real and \(rows, columns\), not complex128"):
            call()


@pytest.mark.parametrize("wrong", [-100.0, np.nan, np.inf])
def test_times_that_are_none_are_refused(wrong):
    for fit, times in ((inline.fit_molli, T1_TIMES), (inline.fit_t2prep, np.array([0.0, 25.0, 55.0]))):
        stated = np.r_[wrong, times[1:]]
        with pytest.raises(ValueError, match="times must be finite and at least 0 ms"):
            fit(np.ones((len(times), 4, 4)), stated)


def test_a_septum_or_contours_that_are_none_are_refused():
    values, contours, _ = ring_of_pixels(180.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="septum_degrees must be a finite number, not nan"):
        inline.measure(values, contours, level="mid", septum_degrees=float("nan"))
    endo, epi = contours.endo, contours.epi
    for wrong in (endo[:2], endo * np.nan, np.zeros((0, 2)), endo[:, :1], endo.ravel()):
        with pytest.raises(ValueError, match=r"endo must be 3 or more finite points \(n, 2\)"):
            inline.measure(values, inline.Contours(wrong, epi))
        with pytest.raises(ValueError, match="epi must be 3 or more"):
            inline.measure(values, inline.Contours(endo, wrong))
    for other in (inline.Segmentation(np.zeros((120, 120), np.uint8), contours, ()), (endo, epi)):
        with pytest.raises(ValueError, match=r"contours are those of Segmentation\.contours, not a"):
            inline.measure(values, other)
    listed = inline.Contours(endo.tolist(), epi.tolist())
    assert inline.measure(values, listed) == inline.measure(values, contours)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: replace(made, images=made.images.astype(np.uint16)),
        lambda made: replace(made, images=made.images.tolist(), times_ms=made.times_ms.tolist()),
        lambda made: replace(made, quantity="T1"),
        lambda made: replace(made, quantity="t1"),
        lambda made: replace(
            made,
            geometry=replace(
                made.geometry,
                **{
                    name: np.array(getattr(made.geometry, name))
                    for name in ("position", "row_direction", "column_direction", "spacing", "shape")
                },
            ),
        ),
    ],
)
def test_series_of_other_types_give_the_same_result(study, ring_engine, change):
    first = study[0].series
    made = replace(first, images=np.round(first.images))
    expected = inline.process(made, pipeline=Pipeline(ring_engine))
    assert not expected.error
    result = inline.process(change(made), pipeline=Pipeline(ring_engine))
    assert result.regions == expected.regions
    assert (result.flags, result.notes, result.error) == (expected.flags, expected.notes, "")
    np.testing.assert_array_equal(result.map.values_ms, expected.map.values_ms)


def test_series_whose_parts_do_not_match_are_value_errors(study, ring_engine):
    first, pipeline = study[0].series, Pipeline(ring_engine)
    finished = inline.MapSeries(first.quantity, first.images[0], first.geometry, first.identity)
    smaller = replace(first.geometry, shape=(96, 96))
    for series, problem in (
        (replace(first, times_ms=first.times_ms[:6]), "do not match 6 times"),
        (replace(first, geometry=smaller), r"\(192, 192\) pixels do not match the geometry, \(96, 96\)"),
        (replace(finished, geometry=smaller), r"\(192, 192\) pixels do not match the geometry, \(96, 96\)"),
        (replace(first, quantity="PD"), 'quantity is "T1" or "T2"'),
        (replace(first, images=first.images * 1j), "must be real"),
        (replace(first, images=first.images[:0], times_ms=[]), r"not float32 \(0, 192, 192\)"),
        (replace(first, identity=None), "identity is a SeriesIdentity, not a NoneType"),
        (
            replace(first, identity=inline.SeriesIdentity("a", 0)),
            r"identity\.series_index must be a finite number, not 'a'",
        ),
        (
            replace(first, identity=inline.SeriesIdentity(1, 0, None)),
            r"identity\.description is a text, not a NoneType",
        ),
        (replace(first, geometry=None), "geometry is a SliceGeometry, not a NoneType"),
        (replace(finished, values_ms=np.full((192, 192), 1.2)), "largest value of the map is 1.2 ms"),
        *(
            (replace(first, geometry=replace(first.geometry, **{name: wrong})), problem)
            for name, wrong, problem in (
                ("spacing", 1.5, r"spacing is \(x, y\) in mm, not 1\.5"),
                ("spacing", (1.5, 1.5, 8.0), "spacing is"),
                ("spacing", (0.0, 1.5), "spacing is"),
                ("spacing", (np.nan, 1.5), "spacing is"),
                ("shape", 192, r"\(192, 192\) pixels do not match the geometry, \(192,\)"),
                ("shape", None, "do not match the geometry"),
                ("position", (np.nan, 0.0, 0.0), "position is three finite numbers"),
                ("position", None, "position is three finite numbers"),
                ("row_direction", (0.0, 0.0, 0.0), "perpendicular unit vectors"),
                ("row_direction", (7.0, 0.0, 0.0), "perpendicular unit vectors"),
                ("row_direction", first.geometry.column_direction, "perpendicular unit vectors"),
                ("column_direction", (np.nan, 1.0, 0.0), "column_direction is three finite numbers"),
                ("slice_direction", (0.0, 1.0), "slice_direction is three finite numbers"),
            )
        ),
    ):
        with pytest.raises(ValueError, match=problem):
            inline.process(series, pipeline=pipeline)
        with pytest.raises(ValueError, match=problem):
            inline.process(study[0], study=[series], pipeline=pipeline)
    masked = np.ma.masked_array(np.full((192, 192), 1000.0), mask=False)
    masked[:, :96] = np.ma.masked
    result = inline.process(replace(finished, values_ms=masked), pipeline=pipeline)
    np.testing.assert_array_equal(result.map.failed[0], [True] * 96 + [False] * 96)


def test_a_study_may_be_of_series_made_of_arrays(study, ring_engine):
    """Without headers the positions alone give the level, whichever way the series are passed."""
    made = [
        replace(each.series, geometry=replace(each.series.geometry, position=(0.0, 0.0, 20.0 * place)))
        for place, each in enumerate(study)
    ]
    found = inline.process(made[0], study=made, pipeline=Pipeline(ring_engine))
    ready = [inline.Ready.of(each) for each in made]
    expected = inline.process(ready[0], study=ready, pipeline=Pipeline(ring_engine))
    assert found.level is not None
    assert (found.level, found.level_source) == (expected.level, expected.level_source)


SHMOLLI = (100.0, 1000.0, 1900.0, 2800.0, 3700.0, 180.0, 260.0)
MOLLI = (100.0, 1000.0, 1900.0, 2800.0, 3700.0, 180.0, 1080.0, 1980.0)


@pytest.mark.parametrize(
    ("quantity", "times", "flags"),
    [
        ("T1", MOLLI, []),
        ("T1", SHMOLLI, ["shmolli"]),
        ("T1", MOLLI[:5], ["missing-images"]),
        ("T1", MOLLI[1:5] + MOLLI[6:], ["missing-images"]),
        ("T1", tuple(range(60, 1500, 80)), ["missing-images"]),
        ("T1", tuple(sorted(MOLLI + MOLLI)), ["duplicate-images"]),
        ("T1", MOLLI[:2] + MOLLI, ["duplicate-images"]),
        ("T2", (0.0, 25.0, 55.0), []),
        ("T2", (55.0, 0.0), ["missing-images"]),
    ],
)
def test_times_of_arrays_are_flagged_as_those_of_a_file(quantity, times, flags, tmp_path, ring_engine):
    ms = np.array(times)[:, None, None]
    values = 1000.0 if quantity == "T1" else 48.0
    y, x = np.mgrid[:64, :64]
    tissue = values * (1.0 + 0.01 * x + 0.002 * y)
    signal = np.abs(1.0 - 1.9 * np.exp(-ms / tissue)) if quantity == "T1" else np.exp(-ms / tissue)
    images = (1000.0 * signal).astype(np.float32)
    name = {"T1": "inversion_times_ms", "T2": "preparation_times_ms"}[quantity]
    np.savez(tmp_path / "a.npz", images=images, pixel_spacing_mm=1.5, **{name: times})
    (examination,) = Sources(AssemblySettings(), ArrayOptions()).examinations([tmp_path / "a.npz"])
    pipeline = Pipeline(ring_engine)
    of_file = inline.process(examination.series[0], pipeline=pipeline)
    geometry, identity = inline.SliceGeometry.unoriented((1.5, 1.5), (64, 64)), inline.SeriesIdentity(0, 0)
    made = inline.MappingSeries(quantity, images, ms.ravel(), geometry, identity)
    of_arrays = inline.process(made, pipeline=pipeline)
    of_times = {"shmolli", "missing-images", "duplicate-images"}
    for found in (of_file, of_arrays):
        assert [each.value for each in found.flags if each in of_times] == flags
    assert set(of_file.notes) >= set(of_arrays.notes)
    assert len(of_arrays.notes) == len(set(of_arrays.notes))


def from_file_and_arrays(folder, quantity, images, times, description):
    """Series of a file with arrays that has the description as its name, and of the arrays themselves."""
    file = folder / f"{description}.npz"
    name = {"T1": "inversion_times_ms", "T2": "preparation_times_ms"}[quantity]
    np.savez(file, images=images, pixel_spacing_mm=1.5, **{name: times})
    (examination,) = Sources(AssemblySettings(), ArrayOptions()).examinations([file])
    geometry = inline.SliceGeometry.unoriented((1.5, 1.5), (16, 16))
    identity = inline.SeriesIdentity(0, 0, description)
    series = inline.MappingSeries(quantity, images, times, geometry, identity)
    return (*examination.series, inline.Ready.of(series))


@pytest.mark.parametrize(
    ("description", "enhancement", "corrected", "saturation"),
    [
        ("T1map_SASHA_native", "native", False, True),
        ("T1map_MOLLI_post-contrast", "post-contrast", False, False),
        ("T1map_MOLLI_native_MOCO", "native", True, False),
        ("T1map_MOLLI_post_stress", None, False, False),
    ],
)
def test_the_description_of_arrays_counts_as_the_name_of_a_file(
    description, enhancement, corrected, saturation, tmp_path
):
    times = np.array(MOLLI)
    images = np.broadcast_to(times[:, None, None], (8, 16, 16)).astype(np.float32)
    for found in from_file_and_arrays(tmp_path, "T1", images, times, description):
        assert found.enhancement == enhancement
        assert (found.enhancement_source == "series description") is (enhancement is not None)
        assert found.motion_corrected is corrected
        assert isinstance(found, inline.Failed) is saturation
        assert ("saturation-recovery" in found.flags) is saturation
        assert "is saturation recovery by its name" in getattr(found, "error", "") or not saturation


@pytest.mark.parametrize("description", ["mSASHA T2", "SASHA+T2p joint", "T2prep saturation recovery bSSFP"])
def test_t2_by_t2_preparation_is_fitted_with_saturation_recovery(description, tmp_path):
    times = np.array([0.0, 25.0, 55.0])
    images = np.broadcast_to(np.exp(-times / 45.0)[:, None, None], (3, 16, 16)).astype(np.float32)
    for found in from_file_and_arrays(tmp_path, "T2", images, times, description):
        assert (type(found), found.quantity) == (inline.Ready, "T2")
        assert "saturation-recovery" not in found.flags


def test_a_map_made_of_arrays_is_not_of_images_that_were_corrected():
    geometry = inline.SliceGeometry.unoriented((1.5, 1.5), (16, 16))
    identity = inline.SeriesIdentity(0, 0, "SASHA_post-contrast_MOCO_T1")
    made = inline.Ready.of(inline.MapSeries("T1", np.full((16, 16), 500.0, np.float32), geometry, identity))
    assert (made.enhancement, made.motion_corrected, made.flags) == (
        "post-contrast",
        False,
        ("no-orientation",),
    )


def test_the_setting_of_the_number_of_images_holds_for_arrays(study, ring_engine):
    first = next(each.series for each in study if each.quantity == "T1")
    five = replace(first, images=first.images[:5], times_ms=np.array(MOLLI[:5]))
    whole = Pipeline(ring_engine, Settings(assembly={"images": 5}))
    assert "missing-images" in inline.process(five, pipeline=Pipeline(ring_engine)).flags
    assert "missing-images" not in inline.process(five, pipeline=whole).flags


def test_flags_of_a_series_of_a_file_are_stated_once(study, ring_engine):
    first = next(each.series for each in study if each.quantity == "T1")
    flagged = replace(first, flags=(inline.Flag.SHMOLLI,), images=first.images[:7], times_ms=np.sort(SHMOLLI))
    assert inline.process(flagged, pipeline=Pipeline(ring_engine)).flags.count(inline.Flag.SHMOLLI) == 1


def test_a_map_in_seconds_is_refused(ring_engine):
    values, contours, _ = ring_of_pixels(180.0, 1.0, 1.0)
    pipeline = Pipeline(ring_engine)
    with pytest.raises(ValueError, match=r"largest value of the map .* maps are in ms"):
        inline.segment(values / 1000.0, (1.5, 1.5), "T1", pipeline=pipeline)
    assert inline.segment(np.zeros_like(values), (1.5, 1.5), "T1", pipeline=pipeline)
    # Other values than times, such as partition coefficients, are measured too.
    assert inline.measure(values / 1000.0, contours)


@pytest.mark.parametrize("read", [inline.read_mrd, inline.read_dicom])
def test_an_empty_path_is_not_the_working_folder(read):
    with pytest.raises(inline.MyostreamError, match="an empty path is given"):
        read("")
    for wrong in (b"/exam.h5", None, 3):
        with pytest.raises(ValueError, match="a path is a text or a Path, not a "):
            read(wrong)


def test_a_pixel_size_is_of_any_numbers(ring_engine):
    values, pipeline = np.full((64, 64), 1000.0), Pipeline(ring_engine)
    expected = inline.segment(values, (1.5, 1.5), "T1", pipeline=pipeline)
    for each in ((Decimal("1.5"), Decimal("1.5")), np.array([1.5, 1.5], object), [Fraction(3, 2), 1.5]):
        found = inline.segment(values, each, "T1", pipeline=pipeline)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.contours.epi, expected.contours.epi)
    for wrong in ("15", b"15", ("1.5", 1.5), (1.5,), (1.5, 1.5, 1.5), (1.5, None), np.array(1.5), 1.5j):
        with pytest.raises(ValueError, match=r"spacing is \(x, y\) in mm, not "):
            inline.segment(values, wrong, "T1", pipeline=pipeline)


def test_first_calls_of_several_threads_build_one_pipeline(study, ring_engine, monkeypatch):
    built = []

    def build(_settings):
        time.sleep(0.2)  # as long as the other threads need to come as far
        built.append(Pipeline(ring_engine))
        return built[-1]

    monkeypatch.setattr("inline.engine_selection.build_pipeline", build)
    inline._pipeline.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(inline.process, study[:1] * 4))
    inline._pipeline.cache_clear()
    assert len(built) == 1
    assert not any(each.error for each in results)


def test_objects_with_arrays_compare_as_the_object_that_they_are(file, ring_engine):
    """NumPy has no truth value of the comparison of two arrays: ``in`` and ``set()`` would raise."""
    study, again = inline.read_mrd(file), inline.read_mrd(file)
    one, other = (inline.process(each[0], pipeline=Pipeline(ring_engine)) for each in (study, again))
    for first, second in (
        (one, other), (one.map, other.map), (one.contours, other.contours), (study[0], again[0]),
        (study[0].series, again[0].series), (inline.Examination((one,)), inline.Examination((other,))),
        (inline.ecv(one, other, 0.42), inline.ecv(one, other, 0.42)),
    ):  # fmt: skip
        assert first == first
        assert first != second
        assert [second, first].index(first) == 1
        assert first in {first}
        assert second not in {first}
    assert one.identity == other.identity


def test_arguments_of_another_kind_are_value_errors(tmp_path, ring_engine, study):
    from tests.inline.examination.phantom import t1_slice

    native, ready = t1_slice(), study[0]
    for problem, call in (
        (r"results are those of process\(\), not a NoneType", lambda: inline.ecv(native, None)),
        (r"results are those of process\(\), not a str", lambda: inline.examine([native, "no result"])),
        ("a list, not a single Exam", lambda: inline.examine(inline.Examination((native,)))),
        ("a list, not a single Slice", lambda: inline.write_report(native, tmp_path / "page.png")),
        ("haematocrit must be a finite number, not 'x'", lambda: inline.ecv(native, native, "x")),
        (
            r"haematocrit must be a finite number, not array\(\[0\.42\]\)",
            lambda: inline.ecv(native, native, np.array([0.42])),
        ),
        ("date is a text, not a date", lambda: inline.ExaminationInfo(date=date(2026, 1, 31))),
        (
            "study must be a list, not a single NoneType",
            lambda: inline.process(ready, study=None, pipeline=Pipeline(ring_engine)),
        ),
        (
            r"a series is one of read_mrd\(\) .*, not a SliceResult",
            lambda: inline.process(ready, study=[native], pipeline=Pipeline(ring_engine)),
        ),
        (r"spacing is \(x, y\) in mm", lambda: inline.segment(np.ones((4, 4)), ("a", "b"), "T1")),
        (r"not float64 \(0, 4, 4\)", lambda: inline.fit_molli(np.ones((0, 4, 4)), [])),
        (r"not float64 \(8, 0, 4\)", lambda: inline.fit_molli(np.ones((8, 0, 4)), T1_TIMES)),
        (r"not float64 \(0, 4\)", lambda: inline.segment(np.ones((0, 4)), (1.5, 1.5), "T1")),
    ):
        with pytest.raises(ValueError, match=problem):
            call()
    values, contours, _ = ring_of_pixels(180.0, 1.0, 1.0)
    for name, wrong, problem in (
        ("level", [1], 'level is "basal", "mid"'),
        ("septum_degrees", "170", "septum_degrees must be a finite number, not '170'"),
        ("septum_degrees", 10**400, "septum_degrees must be a finite number, not 1000"),
        ("inset", None, "inset must be a finite number, not None"),
        ("insertions", (3.0, 4.0), "insertions are those of Segmentation.insertions, not a tuple"),
        ("geometry", (1.5, 1.5), "geometry is a SliceGeometry, not a tuple"),
        (
            "geometry",
            inline.SliceGeometry.unoriented((1.5, 1.5), (*values.shape[:1], 7)),
            r"pixels do not match the geometry, \(\d+, 7\)",
        ),
    ):
        with pytest.raises(ValueError, match=problem):
            inline.measure(values, contours, **{name: wrong})
