"""The same series from MRD, NIfTI and arrays; files that cannot be read do not stop the others."""

import gzip
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from inline.assembly.assembled import Failed
from inline.contouring.slice_level import SliceLevel, slice_level
from inline.data.errors import SourceError
from inline.data.flags import Flag
from inline.data.series import Enhancement, MapSeries, Quantity
from inline.mrd.files import write_images
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.offline import limits, mrd
from inline.offline.arrays import ArrayOptions
from inline.offline.sources import Sources
from inline.replay.simulate import simulate_examination, write_examination
from inline.settings import AssemblySettings

TIMES = (100.0, 180.0, 1000.0, 1080.0, 1900.0, 1980.0, 2800.0, 3700.0)
TI = ArrayOptions(((Quantity.T1, TIMES),), (1.5, 1.25))


def stack(size=40, slices=1):
    """Images (n, slices, rows, columns) of a recovery whose T1 differs in every column and slice."""
    t1 = (
        600.0
        + 10.0 * np.arange(size)[None, :]
        + 100.0 * np.arange(slices)[:, None, None]
        + np.zeros((size + 8, 1))
    )
    return np.stack([np.abs(500.0 - 950.0 * np.exp(-time / t1)) for time in TIMES]).astype(np.float32)


def read(*paths, options=None):
    sources = Sources(AssemblySettings(), options or ArrayOptions())
    return list(sources.examinations(paths)), sources


def series_of(*paths, options=None):
    (examination,), sources = read(*paths, options=options)
    assert sources.problems == []
    return examination.series


def test_an_npz_that_unpacks_to_more_than_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MOST_FILE_BYTES", 1 << 20)
    file = tmp_path / "a.npz"
    np.savez_compressed(file, images=np.zeros((8, 512, 512), np.uint8), other=np.zeros(1 << 20))
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *_: pytest.fail("unpacked"))
    _, sources = read(file, options=TI)
    assert sources.problems == [f"{file} has 2097280 bytes of images; at most 1048576 are read"]


def test_nifti_images_that_unpack_to_more_than_is_read_are_refused(tmp_path):
    for name, shape in (("1_T1map.nii", (8192, 4097, 1)), ("2_T1map.nii.gz", (4096, 4096, 9))):
        head = nibabel.Nifti1Header()
        head.set_data_shape(shape)
        head.set_data_dtype(np.uint8)
        content = head.binaryblock + bytes(4)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    _, sources = read(tmp_path)
    one, all_ = sorted(sources.problems)
    assert one.endswith("1_T1map.nii has images of 268500992 bytes; at most 268435456 are read")
    assert all_.endswith("2_T1map.nii.gz has 1207959552 bytes of images; at most 1073741824 are read")


@pytest.mark.parametrize(
    ("name", "read_"),
    [("sub-01_inv-1_IRT1.json", 0), ("IRT1.json", 1), ("T1map.json", 1), ("sub-01_inv-1_IRT1.nii.gz", 0)],
)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name, read_, tmp_path):
    write_irt1(tmp_path, stack())
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    found, sources = read(tmp_path)
    assert len(found) == read_
    assert read_ or sources.problems == [f"{tmp_path / name} is no file that can be read"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["a", "a.npz", "a.hdr", "a.h5", "a_T1map.nii"])
def test_a_pipe_given_by_name_is_not_waited_for(name, tmp_path):
    os.mkfifo(tmp_path / name)
    np.savez(tmp_path / "b.npz", images=stack(), pixel_spacing_mm=1.5, inversion_times_ms=TIMES)
    found, sources = read(tmp_path / name, tmp_path / "b.npz")
    assert (len(found), sources.problems) == (1, [f"{tmp_path / name} is no file that can be read"])


def write_bart(base, images):
    """(n, slices, rows, columns) as BART stores them."""
    n, slices, rows, columns = images.shape
    shape = [columns, rows, 1, 1, 1, n, 1, 1, 1, 1, 1, 1, 1, slices, 1, 1]
    values = np.transpose(images, (3, 2, 0, 1)).reshape(shape, order="F")
    base.with_suffix(".hdr").write_text(
        "# Dimensions\n" + " ".join(map(str, shape)) + "\n# Command\nphantom\n"
    )
    base.with_suffix(".cfl").write_bytes(values.astype("<c8").tobytes(order="F"))
    return base.with_suffix(".cfl")


def write_irt1(folder, images, *, name="sub-01", order=tuple(range(8))):
    """(n, slices, rows, columns) as BIDS stores them; the plane is tilted."""
    rotation = np.array([[0.8, 0.0, 0.6], [0.6, 0.0, -0.8], [0.0, -1.0, 0.0]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * (1.5, 1.25, 8.0)
    affine[:3, 3] = 10.0, -20.0, 30.0
    for place in order:
        file = folder / f"{name}_inv-{place + 1}_IRT1.nii.gz"
        header = nibabel.Nifti1Image(images[place].transpose(2, 1, 0), affine)
        header.header.set_xyzt_units("mm", "sec")
        nibabel.save(header, file)
        sidecar = file.with_name(file.name.replace(".nii.gz", ".json"))
        sidecar.write_text(json.dumps({"InversionTime": TIMES[place] / 1000.0}))
    return affine


@pytest.mark.parametrize("form", ["npz", "npz with times", "npy", "bart"])
def test_arrays_with_times(form, tmp_path):
    images, options = stack(slices=2), TI
    if form == "bart":
        file = write_bart(tmp_path / "images", images)
    elif form == "npy":
        file = tmp_path / "images.npy"
        np.save(file, images)
    else:
        file = tmp_path / "images.npz"
        stated = {"inversion_times_ms": TIMES, "pixel_spacing_mm": (1.5, 1.25)} if "times" in form else {}
        np.savez(file, images=images, **stated)
        options = None if stated else TI
    first, second = series_of(file, options=options)
    for slice_, found in enumerate((first, second)):
        assert found.identity.slice_index == slice_
        assert found.geometry.spacing == pytest.approx((1.5, 1.25))
        assert found.geometry.table is None
        assert Flag.NO_ORIENTATION in found.flags
        np.testing.assert_allclose(found.series.times_ms, TIMES)
        np.testing.assert_allclose(found.series.images, images[:, slice_], rtol=1e-6)


def test_preparation_times_of_an_array(tmp_path):
    images = np.stack([np.full((40, 40), 1000.0 * np.exp(-time / 45.0)) for time in (0.0, 25.0, 55.0)])
    np.save(tmp_path / "t2.npy", images)
    options = ArrayOptions(((Quantity.T2, (0.0, 25.0, 55.0)),), (1.5, 1.5))
    (found,) = series_of(tmp_path / "t2.npy", options=options)
    assert found.quantity is Quantity.T2
    np.testing.assert_allclose(found.series.times_ms, (0.0, 25.0, 55.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ArrayOptions(((Quantity.T1, tuple(2 * time for time in TIMES)),)), "states its times .* --ti gives"),
        (ArrayOptions(((Quantity.T2, TIMES),)), "states its times itself, and --te gives others"),
        (ArrayOptions((), (3.0, 3.0)), "states pixels of 1.4 x 1.4 mm, and --spacing gives others"),
    ],
)
def test_options_that_contradict_the_file_are_a_problem(options, message, tmp_path):
    images, times = stack(), np.array(TIMES, np.float32)
    np.savez(tmp_path / "a.npz", images=images, inversion_times_ms=times, pixel_spacing_mm=np.float32(1.4))
    found, sources = read(tmp_path / "a.npz", options=options)
    assert found == []
    assert re.search(message, sources.problems[0])
    (same,) = series_of(tmp_path / "a.npz", options=ArrayOptions(((Quantity.T1, TIMES),), (1.4, 1.4)))
    np.testing.assert_allclose(same.series.times_ms, TIMES)


@pytest.mark.parametrize(
    ("spacing", "noted"), [((1.0, 5.0), True), ((1.5, 1.25), False), ((1.5, 1.5), False)]
)
def test_a_decimal_comma_in_the_pixel_size_is_noted(spacing, noted, tmp_path):
    np.save(tmp_path / "a.npy", stack())
    (examination,), _ = read(tmp_path / "a.npy", options=ArrayOptions(TI.times_ms, spacing))
    assert ["1 x 5 mm" in note for note in examination.notes] == [True] * noted


@pytest.mark.parametrize("stated", [1.4999, 1.50149, np.float32(1.5)])
def test_a_rounded_pixel_size_is_that_of_the_file(stated, tmp_path):
    np.savez(tmp_path / "a.npz", images=stack(), inversion_times_ms=TIMES, pixel_spacing_mm=stated)
    (found,) = series_of(tmp_path / "a.npz", options=ArrayOptions(spacing=(1.5, 1.5)))
    assert found.geometry.spacing == pytest.approx((float(stated),) * 2, rel=1e-7)
    assert found.notes == ()


def test_options_choose_between_two_kinds_of_times_in_a_file(tmp_path):
    te = tuple(range(0, 80, 10))
    both = {"inversion_times_ms": TIMES, "preparation_times_ms": te}
    np.savez(tmp_path / "a.npz", images=stack(), pixel_spacing_mm=1.5, **both)
    assert "are given twice; give --ti" in read(tmp_path / "a.npz")[1].problems[0]
    for quantity, times in ((Quantity.T1, TIMES), (Quantity.T2, te)):
        (found,) = series_of(tmp_path / "a.npz", options=ArrayOptions(((quantity, times),)))
        assert found.quantity is quantity
        np.testing.assert_allclose(found.series.times_ms, times)
    for times in (((Quantity.T1, te),), ((Quantity.T1, TIMES), (Quantity.T2, TIMES))):
        assert "gives others" in read(tmp_path / "a.npz", options=ArrayOptions(times))[1].problems[0]


def test_negative_times_of_the_kind_that_is_not_chosen_are_no_problem(tmp_path):
    stored = {"inversion_times_ms": TIMES, "preparation_times_ms": np.full(8, -1.0)}
    np.savez(tmp_path / "a.npz", images=stack(), pixel_spacing_mm=1.5, **stored)
    (found,) = series_of(tmp_path / "a.npz", options=ArrayOptions(((Quantity.T1, TIMES),)))
    np.testing.assert_allclose(found.series.times_ms, TIMES)


@pytest.mark.parametrize("suffix", [".NPZ", ".NPY", ".CFL", ".HDR"])
def test_names_of_arrays_are_of_either_case(suffix, tmp_path):
    file = tmp_path / f"IMAGES{suffix}"
    if suffix in (".CFL", ".HDR"):
        for each in (written := write_bart(tmp_path / "images", stack()), written.with_suffix(".hdr")):
            each.rename(tmp_path / each.name.upper())
    else:
        with file.open("wb") as opened:
            np.save(opened, stack()) if suffix == ".NPY" else np.savez(opened, images=stack())
    (found,) = series_of(file, tmp_path / "IMAGES.CFL" if suffix == ".HDR" else file, options=TI)
    np.testing.assert_allclose(found.series.times_ms, TIMES)


@pytest.mark.parametrize("name", ["after_MOLLI_t2", "T2_mapping", "T1_map", "ti_scout", "t2star"])
@pytest.mark.parametrize("quantity", list(Quantity))
def test_times_and_no_name_decide_on_the_quantity_of_an_array(name, quantity, tmp_path):
    np.save(tmp_path / f"{name}.npy", stack())
    times = TIMES if quantity is Quantity.T1 else tuple(range(0, 80, 10))
    (found,) = series_of(tmp_path / f"{name}.npy", options=ArrayOptions(((quantity, times),), (1.5, 1.5)))
    assert found.quantity is quantity
    np.testing.assert_allclose(found.series.times_ms, times)
    assert name in found.identity.description


def test_words_of_the_name_of_an_array_count(tmp_path):
    np.save(tmp_path / "sasha.npy", stack())
    np.save(tmp_path / "basal_post.npy", stack())
    (sasha,) = series_of(tmp_path / "sasha.npy", options=TI)
    assert Flag.SATURATION_RECOVERY in sasha.flags
    (post,) = series_of(tmp_path / "basal_post.npy", options=TI)
    assert post.enhancement is Enhancement.POST_CONTRAST
    assert slice_level(post.slice_place())[0] is SliceLevel.BASAL


def test_inversion_recovery_of_bids(tmp_path):
    images = stack(slices=2)
    # Later inversions are written first: their numbers count.
    affine = write_irt1(tmp_path, images, order=reversed(range(len(TIMES))))
    first, second = series_of(tmp_path)
    for slice_, found in enumerate((first, second)):
        np.testing.assert_allclose(found.series.times_ms, TIMES)
        np.testing.assert_allclose(found.series.images, images[:, slice_], rtol=1e-6)
        pixels = np.array([[0.0, 0.0], [39.0, 0.0], [0.0, 47.0]])
        voxels = np.column_stack([pixels, np.full(3, slice_)])
        expected = nibabel.affines.apply_affine(affine, voxels) * (-1, -1, 1)
        np.testing.assert_allclose(found.geometry.to_patient(pixels), expected, atol=1e-4)
        assert found.geometry.table is None
        assert found.flags == ()
    # One file finds the others of its series, and none of another subject.
    write_irt1(tmp_path, images, name="sub-02")
    (examination,), _ = read(tmp_path / "sub-01_inv-3_IRT1.nii.gz")
    assert examination.images == 16
    assert len(read(tmp_path)[0]) == 2


@pytest.mark.parametrize(
    ("order", "orphans", "expected"),
    [
        ((0, 1, 3, 4, 5, 6, 7), (), "inv-3"),
        ((0, 1, 3, 4, 5, 6, 7), (3,), "inv-3"),
        ((0, 1, 2, 4, 6, 7), (), "inv-4, inv-6"),
        (range(7), (8,), "inv-8"),
        (range(7), (), ""),
    ],
)
def test_an_inversion_that_has_no_image_is_named(order, orphans, expected, tmp_path):
    """By the numbers ``inv`` of the others, or by its sidecar, which is left."""
    write_irt1(tmp_path, stack(), order=order)
    for number in orphans:
        (tmp_path / f"sub-01_inv-{number}_IRT1.json").write_text('{"InversionTime": 1.0}')
    others = (
        "sub-01_inv-4_T1map",
        "sub-02_inv-9_IRT1",
        "sub-01_IRT1",
        "inv-9_IRT1",
        "sub-01_inv-9_part-phase_IRT1",
    )
    for other in others:
        (tmp_path / f"{other}.json").write_text("{}")
    (found,) = series_of(tmp_path / "sub-01_inv-1_IRT1.nii.gz")
    assert found.flags == ((Flag.MISSING_IMAGES,) if expected else ())
    assert found.notes[-1:] == ((f"Images are missing: no file is named {expected}.",) if expected else ())


@pytest.mark.parametrize(
    ("rows", "slices", "shift", "lacking"),
    [(40, 2, 0.0, [0, 1]), (48, 2, 6.0, [0, 1]), (48, 1, 0.0, [1]), (48, 2, 0.0, [])],
    ids=["matrix", "position", "slices", "none"],
)
def test_an_inversion_of_another_plane_is_missing_in_the_others(rows, slices, shift, lacking, tmp_path):
    affine = write_irt1(tmp_path, images := stack(slices=2))
    affine[:3, 3] += shift * affine[:3, 2] / 8.0
    other = images[2, :slices, :rows].transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(other, affine), tmp_path / "sub-01_inv-3_IRT1.nii.gz")
    ready = [each for each in series_of(tmp_path) if not isinstance(each, Failed)]
    assert [each.images for each in ready] == [7 if number in lacking else 8 for number in range(2)]
    for number, each in enumerate(ready):
        assert each.flags == ((Flag.MISSING_IMAGES,) if number in lacking else ())
        assert [note[:33] for note in each.notes] == ["Images are missing: 1 of 8 is not"] * (
            number in lacking
        )


@pytest.mark.parametrize("parts", [("mag", "phase"), ("real",)])
def test_parts_of_images_are_not_missing(parts, tmp_path):
    write_parts(tmp_path, parts, stack())
    (found,) = series_of(tmp_path)
    assert (found.images, found.flags) == (8, ())


def write_parts(folder, parts, images):
    for part in parts:
        write_irt1(folder, images)
        for file in sorted(folder.glob("sub-01_inv-?_IRT1.*")):
            file.rename(file.with_name(file.name.replace("_IRT1", f"_part-{part}_IRT1")))


def test_an_image_that_one_part_lacks_is_missing_in_this_alone(tmp_path):
    write_parts(tmp_path, ("mag", "real"), stack())
    (tmp_path / "sub-01_inv-3_part-real_IRT1.nii.gz").unlink()
    (tmp_path / "sub-01_inv-3_part-real_IRT1.json").unlink()
    found = {each.template.image_type: each for each in series_of(tmp_path)}
    whole, lacking = found[ImageType.MAGNITUDE], found[ImageType.REAL]
    assert (whole.images, whole.flags, lacking.images) == (8, (), 7)
    assert lacking.flags == (Flag.MISSING_IMAGES,)
    assert lacking.notes[-1].endswith(": 1 of 8 is not there or not of this matrix and position.")


@pytest.mark.parametrize(("part", "fitted"), [("mag", 1), ("real", 1), ("imag", 0), ("phase", 0)])
def test_a_part_stored_in_a_complex_type_stays_that_part(part, fitted, tmp_path):
    """Real images keep their sign; phases are not fitted."""
    images = stack() - (0.0 if part == "mag" else 400.0)
    write_parts(tmp_path, (part,), images.astype(np.complex64))
    found, _ = read(tmp_path)
    series = [each for examination in found for each in examination.series]
    assert len(series) == fitted
    for each in series:
        np.testing.assert_allclose(each.series.images, images[:, 0], rtol=1e-5)
        assert each.series.signed is (part == "real")


def test_numbers_of_inversions_at_equal_steps_have_no_gaps(tmp_path):
    write_irt1(tmp_path, stack(), order=range(0, 8, 2))
    (found,) = series_of(tmp_path)
    assert not any("no file is named" in note for note in found.notes)


@pytest.mark.parametrize("names", [(100, 180, 1100, 1180, 2100, 2180, 3100), tuple("abcdefg")])
def test_names_of_inversions_that_count_no_images_have_no_gap(names, tmp_path):
    write_irt1(tmp_path, stack(), order=range(7))
    for place, name in reversed(list(enumerate(names))):
        for ending in ("nii.gz", "json"):
            file = tmp_path / f"sub-01_inv-{place + 1}_IRT1.{ending}"
            file.rename(tmp_path / f"sub-01_inv-{name}_IRT1.{ending}")
    (found,) = series_of(tmp_path)
    assert (found.flags, found.notes) == ((), ())


@pytest.mark.parametrize("given", ["", "sub-01", "sub-01/ses-1/anat/sub-01_ses-1_inv-2_IRT1.nii.gz"])
def test_sidecars_of_parent_folders_are_inherited(given, tmp_path):
    """BIDS, inheritance principle: more specific sidecars win; others of the same folder do not apply."""
    anat = tmp_path / "data" / "sub-01" / "ses-1" / "anat"
    anat.mkdir(parents=True)
    write_irt1(anat, stack(), name="sub-01_ses-1")
    for place, time in enumerate(TIMES):
        (anat / f"sub-01_ses-1_inv-{place + 1}_IRT1.json").unlink()
        top = tmp_path / "data" / f"inv-{place + 1}_IRT1.json"
        top.write_text(json.dumps({"InversionTime": time / 1000.0, "MagneticFieldStrength": 3.0}))
    wrong = json.dumps({"InversionTime": 9.0})
    for name in ("sub-02_inv-1_IRT1", "inv-1_IRT2", "inv-1_x_IRT1", "inv-1_T1map"):
        (tmp_path / "data" / f"{name}.json").write_text(wrong)
    (tmp_path / "inv-1_IRT1.json").write_text(wrong)  # beyond the data set
    (anat.parent / "sub-01_IRT1.json").write_text(json.dumps({"MagneticFieldStrength": 1.5}))
    (found,) = series_of(tmp_path / "data" / given)
    np.testing.assert_allclose(found.series.times_ms, TIMES)
    (anat / "sub-01_ses-1_inv-1_IRT1.json").write_text(json.dumps({"InversionTime": 0.123}))
    (found,) = series_of(tmp_path / "data" / given)
    np.testing.assert_allclose(found.series.times_ms, sorted([123.0, *TIMES[1:]]))
    ((examination,), _) = read(tmp_path / "data" / given)
    assert examination.header.field_strength == 1.5


def a_map(folder, name, value=1.05):
    values = np.full((40, 48, 1), value, np.complex64 if np.iscomplexobj(value) else np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / name)


def test_the_sidecar_of_an_image_beside_it_is_not_inherited(tmp_path):
    for name in ("sub-01_T1map.nii.gz", "sub-01_acq-x_T1map.nii"):
        a_map(tmp_path, name)
    (tmp_path / "sub-01_T1map.json").write_text(json.dumps({"Units": "us", "MagneticFieldStrength": 7}))
    ((examination,), opened) = read(tmp_path / "sub-01_acq-x_T1map.nii")
    assert not opened.problems
    np.testing.assert_allclose(examination.series[0].series.values_ms, 1050.0, rtol=1e-6)
    assert examination.header.field_strength == 0.0


@pytest.mark.parametrize("content", ["{", "[1, 2]", None])
def test_an_inherited_sidecar_that_cannot_be_used_hides_no_field_strength(content, tmp_path):
    (anat := tmp_path / "sub-01" / "anat").mkdir(parents=True)
    a_map(anat, "sub-01_T1map.nii")
    (anat / "sub-01_T1map.json").write_text('{"Units": "s"}')
    inherited = tmp_path / "sub-01" / "T1map.json"
    inherited.mkdir() if content is None else inherited.write_text(content)
    (tmp_path / "T1map.json").write_text('{"MagneticFieldStrength": 3}')
    ((examination,), opened) = read(anat)
    assert not opened.problems
    assert examination.header.field_strength == 3.0


@pytest.mark.parametrize("name", ["a_**T1map.nii", "a_[1T1map.nii"])
def test_a_file_name_is_no_pattern_of_sidecars(name, tmp_path):
    a_map(tmp_path, name)
    ((examination,), opened) = read(tmp_path / name)
    assert not opened.problems
    assert len(examination.series) == 1


@pytest.mark.parametrize(("suffix", "value"), [("T1map", 1.05), ("T2map", 0.045)])
def test_maps_of_bids_are_in_seconds(suffix, value, tmp_path):
    values = np.full((40, 48, 1), value, np.float32)
    nibabel.save(
        nibabel.Nifti1Image(values, np.diag([1.5, 1.5, 8.0, 1.0])), tmp_path / f"sub-01_{suffix}.nii"
    )
    (found,) = series_of(tmp_path / f"sub-01_{suffix}.nii")
    assert isinstance(found.series, MapSeries)
    assert found.flags == ()
    np.testing.assert_allclose(found.series.values_ms, 1000.0 * value, rtol=1e-6)


def test_a_map_of_milliseconds_is_said(tmp_path):
    values = np.full((40, 48, 1), 1050.0, np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "sub-01_T1map.nii.gz")
    (found,) = series_of(tmp_path)
    assert Flag.CONVERTED_UNIT in found.flags
    (note,) = found.notes
    assert "taken to be in ms" in note
    assert "state its scale: in NIfTI by Units of the sidecar, else by" in note
    assert "that it states" not in note
    np.testing.assert_allclose(found.series.values_ms, 1050.0, rtol=1e-6)


def test_a_map_that_contradicts_the_units_of_its_sidecar_is_said(tmp_path):
    a_map(tmp_path, "sub-01_T1map.nii.gz", value=1050.0)
    (tmp_path / "sub-01_T1map.json").write_text('{"Units": "s"}')
    (found,) = series_of(tmp_path)
    assert found.flags == (Flag.CONVERTED_UNIT,)
    assert found.notes[0].endswith(
        "The scale that it states (slope 1000) gives values that no tissue has in ms."
    )
    np.testing.assert_allclose(found.series.values_ms, 1050.0, rtol=1e-6)


@pytest.mark.parametrize(("units", "size"), [("s", 1000.0), ("ms", 1.0), ("us", 0.001), ("seconds", 1000.0)])
def test_units_of_the_sidecar_are_those_of_the_map(units, size, tmp_path):
    values = np.full((40, 48, 1), 1050.0 / size, np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "sub-01_T1map.nii.gz")
    (tmp_path / "sub-01_T1map.json").write_text(json.dumps({"Units": units}))
    (found,) = series_of(tmp_path)
    assert found.flags == ()
    np.testing.assert_allclose(found.series.values_ms, 1050.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("stated", "tesla"),
    [
        (3, 3.0),
        (1.494, 1.494),
        (0, 0.0),
        (15000, 0.0),
        (float("nan"), 0.0),
        ("3", 3.0),
        ("3 T", 0.0),
        ("1_0", 0.0),
        (True, 0.0),
        (None, 0.0),
    ],
)
@pytest.mark.parametrize("suffix", ["IRT1", "T1map"])
def test_the_field_strength_of_the_first_sidecar_is_that_of_the_examination(suffix, stated, tesla, tmp_path):
    if suffix == "IRT1":
        write_irt1(tmp_path, stack())
        content = {"InversionTime": TIMES[0] / 1000.0}
        sidecar = tmp_path / "sub-01_inv-1_IRT1.json"
    else:
        nibabel.save(nibabel.Nifti1Image(np.ones((40, 48, 1)), np.eye(4)), tmp_path / "sub-01_T1map.nii.gz")
        content, sidecar = {}, tmp_path / "sub-01_T1map.json"
    sidecar.write_text(json.dumps({**content, "MagneticFieldStrength": stated}))
    (examination,), _ = read(tmp_path)
    assert examination.header.field_strength == tesla


@pytest.mark.parametrize(
    ("content", "message"), [('{"Units": "arbitrary"}', "Units 'arbitrary'"), ("{", "cannot be read")]
)
def test_units_that_are_no_time_are_a_problem(content, message, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.ones((40, 48, 1)), np.eye(4)), tmp_path / "sub-01_T1map.nii.gz")
    (tmp_path / "sub-01_T1map.json").write_text(content)
    (problem,) = read(tmp_path)[1].problems
    assert message in problem


def test_inversion_times_of_a_sidecar_in_milliseconds_are_said(tmp_path):
    images = stack()
    write_irt1(tmp_path, images)
    for place, time in enumerate(TIMES):
        (tmp_path / f"sub-01_inv-{place + 1}_IRT1.json").write_text(json.dumps({"InversionTime": time}))
    (found,) = series_of(tmp_path)
    np.testing.assert_allclose(found.series.times_ms, TIMES)
    assert Flag.CONVERTED_UNIT in found.flags
    (note,) = found.notes
    assert "taken for ms" in note


@pytest.mark.parametrize("suffix", ["IRT1", "T1map"])
def test_nifti_without_a_form_code_states_a_pixel_size_and_no_orientation(suffix, tmp_path):
    """With qform_code = sform_code = 0 coordinates are i, j, k times the pixel sizes (nifti1.h, method 1)."""
    images = stack(slices=3)
    write_irt1(tmp_path, images)
    if suffix == "T1map":
        for file in tmp_path.iterdir():
            file.unlink()
        values = np.full((40, 48, 3), 1.05, np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "sub-01_T1map.nii.gz")
    for file in tmp_path.glob("*.nii.gz"):
        image = nibabel.load(file)
        bare = nibabel.Nifti1Image(np.asarray(image.dataobj), None)
        bare.header.set_zooms((1.5, 1.25, 20.0))
        bare.header.set_xyzt_units("mm")
        nibabel.save(bare, file)
    found = series_of(tmp_path)
    assert len(found) == 3
    for each in found:
        assert Flag.NO_ORIENTATION in each.flags
        assert not [note for note in each.notes if "position" in note]
        assert not each.geometry.oriented
        assert each.geometry.spacing == pytest.approx((1.5, 1.25))
    assert [each.identity.slice_index for each in found] == [0, 1, 2]


def test_nifti_in_a_linked_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    write_irt1(tmp_path / "elsewhere", stack())
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "anat").symlink_to(tmp_path / "elsewhere")
    (found,) = series_of(tmp_path / "study")
    np.testing.assert_allclose(found.series.times_ms, TIMES)


def test_suffixes_of_nifti_are_of_either_case(tmp_path):
    write_irt1(tmp_path, stack())
    for file in tmp_path.glob("*.nii.gz"):
        file.rename(file.with_name(file.name.replace(".nii.gz", ".NII.GZ")))
    found, sources = read(tmp_path)
    assert ([each.images for each in found], sources.problems) == ([len(TIMES)], [])
    (found, _) = read(tmp_path / "sub-01_inv-1_IRT1.NII.GZ")
    assert [each.images for each in found] == [len(TIMES)]


def test_nifti_images_of_other_suffixes_are_counted(tmp_path):
    """Weighted images, and names that differ in case: BIDS is case-sensitive."""
    write_irt1(tmp_path, stack())
    for name in ("sub-01_T1w.nii.gz", "sub-01_T1Map.nii", "sub-01_T1_MOLLI_map.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    found, sources = read(tmp_path, tmp_path)
    assert ([each.images for each in found], sources.problems) == ([len(TIMES)], [])
    assert sources.skipped == {"NIfTI image without the suffix IRT1, T1map or T2map": 3}


def test_a_folder_of_nifti_images_of_other_suffixes_alone_is_an_error(tmp_path):
    (tmp_path / "sub-01_T1_MOLLI_map.nii.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="holds NIfTI images, but none named by a suffix that is read"):
        read(tmp_path)
    shutil.copy(pydicom.data.get_testdata_file("MR_small.dcm"), tmp_path / "one.dcm")
    assert read(tmp_path)[1].skipped["NIfTI image without the suffix IRT1, T1map or T2map"] == 1


def test_a_map_in_two_files_of_one_name_is_a_problem(tmp_path):
    map_ = np.full((40, 48, 1), 1.1, np.float32)
    for name in ("a_T1map.nii", "a_T1map.nii.gz", "b_inv-1_T1map.nii.gz", "b_inv-2_T1map.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(map_, np.diag([1.5, 1.5, 8.0, 1.0])), tmp_path / name)
    found, sources = read(tmp_path)
    assert [Path(each.name).name for each in found] == ["b_inv-1_T1map.nii.gz", "b_inv-2_T1map.nii.gz"]
    (problem,) = sources.problems
    assert re.fullmatch(
        r".*a_T1map\.nii and .*a_T1map\.nii\.gz are both a_T1map; remove one of them", problem
    )


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_complex_images_of_a_recovery_are_magnitudes(kind, tmp_path):
    """The phase differs from image to image and along the columns, as that of receive coils does."""
    images = stack()
    phases = 0.3 * np.arange(8)[:, None, None, None] + np.linspace(0.0, 6.0, images.shape[-1])
    write_irt1(tmp_path, (images * np.exp(1j * phases)).astype(kind))
    (found,) = series_of(tmp_path)
    np.testing.assert_allclose(found.series.images, images[:, 0], rtol=1e-5)
    assert (found.flags, found.series.signed) == ((), False)


def test_a_complex_map_is_a_problem(tmp_path):
    a_map(tmp_path, "sub-01_T1map.nii", value=1.05 + 0.2j)
    found, sources = read(tmp_path)
    assert found == []
    assert sources.problems == [f"{tmp_path / 'sub-01_T1map.nii'} has complex values; a map is real"]


def test_an_image_of_a_recovery_in_two_files_is_a_problem(tmp_path):
    write_irt1(tmp_path, stack())
    again = nibabel.load(tmp_path / "sub-01_inv-3_IRT1.nii.gz")
    nibabel.save(again, tmp_path / "sub-01_inv-3_IRT1.nii")
    found, sources = read(tmp_path)
    assert found == []
    assert "are both sub-01_inv-3_IRT1; remove one of them" in sources.problems[0]


@pytest.mark.parametrize("kind", ["npz", "bart", "nifti", "dicom"])
def test_what_is_named_twice_is_read_once(kind, tmp_path):
    """Itself, through a link, and with a folder that holds it."""
    folder, link, options = tmp_path / "data", tmp_path / "link", TI
    folder.mkdir()
    link.symlink_to(folder)
    if kind == "npz":
        np.savez(folder / "a.npz", images=stack())
        paths = [folder / "a.npz", folder / "a.npz", link / "a.npz"]
    elif kind == "bart":
        file = write_bart(folder / "a", stack())
        paths = [file, file.with_suffix(".hdr"), link / "a.cfl"]
    elif kind == "nifti":
        write_irt1(folder, stack())
        paths = [folder / "sub-01_inv-3_IRT1.nii.gz", folder, link, tmp_path]
    else:
        shutil.copy(pydicom.data.get_testdata_file("MR_small.dcm"), folder / "one.dcm")
        paths = [folder / "one.dcm", folder, link, tmp_path]
    found, sources = read(*paths, options=options)
    assert len(found) == 1
    assert found[0].images == (1 if kind == "dicom" else len(TIMES))
    assert (sources.problems, sources.skipped) == ([], {})


def test_an_mrd_file(tmp_path):
    write_examination(tmp_path / "one.h5", simulate_examination(1, size=96))
    one, two = series_of(tmp_path / "one.h5")
    assert {one.quantity, two.quantity} == {Quantity.T1, Quantity.T2}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", {"other": np.ones(3)}, "has no array 'images'"),
        ("a.npz", {"images": stack()[:, 0]}, "the times of the images in .* are not known; give --ti"),
        (
            "a.npz",
            {"images": stack()[:, 0], "inversion_times_ms": TIMES},
            "states no pixel size; give --spacing, or the array pixel_spacing_mm of an npz, in mm",
        ),
        ("a.npz", {"images": stack()[:3, 0], "inversion_times_ms": TIMES, "pixel_spacing_mm": 1}, "8 times"),
        ("a.npz", {"images": np.array(["x"])}, "not numbers"),
        (
            "a.npz",
            {"images": stack()[:, 0], "inversion_times_ms": np.array(TIMES) + 1j, "pixel_spacing_mm": 1},
            "inversion_times_ms .* complex128, not real numbers",
        ),
        (
            "a.npz",
            {"images": stack()[:, 0], "inversion_times_ms": TIMES, "pixel_spacing_mm": 1.5 + 1j},
            "pixel_spacing_mm .* complex128, not real numbers",
        ),
        (
            "a.npz",
            {"images": stack()[:, 0], "inversion_times_ms": TIMES, "pixel_spacing_mm": True},
            "pixel_spacing_mm .* bool, not real numbers",
        ),
        (
            "a.npz",
            {"images": stack()[:, 0], "inversion_times_ms": np.negative(TIMES), "pixel_spacing_mm": 1},
            r"inversion_times_ms of .* must be at least 0 ms, not -3700$",
        ),
        (
            "a.npz",
            {"images": stack()[:, 0, ..., None], "inversion_times_ms": TIMES, "pixel_spacing_mm": 1},
            r"shape \(8, 48, 40, 1\); \(n, rows, columns\) or \(n, slices, rows, columns\) is read",
        ),
        (
            "a.npz",
            {"images": stack()[None], "inversion_times_ms": TIMES, "pixel_spacing_mm": 1},
            r"shape \(1, 8, 1, 48, 40\); \(n, rows, columns\) or \(n, slices, rows, columns\) is read",
        ),
        (
            "a.npz",
            {"images": np.moveaxis(stack()[:, 0], 0, -1), "inversion_times_ms": TIMES, "pixel_spacing_mm": 1},
            r"8 times are given; its shape is \(48, 40, 8\), and images come first: \(n, rows, columns\)",
        ),
        ("a.npz", b"PK no zip", "cannot be read"),
        *(
            (
                name,
                content + bytes(600),
                "is no DICOM .*, MRD, NIfTI .* save arrays .* as npz .docs/dicom.md.$",
            )
            for name, content in (
                ("a.mat", b"MATLAB 5.0 MAT-file"),
                ("v73.mat", b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n"),
                ("a.nrrd", b"NRRD0004"),
                ("a.img", b""),
                ("a.pt", b"PK"),
            )
        ),
        (
            "a.hdr",
            bytes(348),
            r"is no header of BART, .* '# Dimensions'; convert Analyze and NIfTI .* to \.nii",
        ),
        ("a.npy", b"\x93NUMPY broken", "cannot be read"),
        ("a.cfl", b"", "a.hdr cannot be read as a header of BART"),
        ("sub_T1map.nii", b"nothing", "cannot be read as NIfTI"),
        ("sub_inv-1_IRT1.nii", None, "has no sidecar sub_inv-1_IRT1.json"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "is not a readable HDF5 file"),
    ],
)
def test_a_file_that_cannot_be_read_does_not_stop_the_others(name, content, message, tmp_path):
    file = tmp_path / name
    if isinstance(content, dict):
        np.savez(file, **content)
    elif content is None:
        nibabel.save(nibabel.Nifti1Image(np.ones((40, 40, 1), np.float32), np.eye(4)), file)
    else:
        file.write_bytes(content)
    good = tmp_path / "good.npz"
    np.savez(good, images=stack(), inversion_times_ms=TIMES, pixel_spacing_mm=1.5)
    found, sources = read(file, good)
    assert [each.name for each in found] == [str(good)]
    (problem,) = sources.problems
    assert str(tmp_path) in problem
    assert re.search(message, problem)


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        (b'{"InversionTime": [0.1,', r"inv-1_IRT1\.json cannot be read as JSON: .*line 1"),
        (b"", r"inv-1_IRT1\.json cannot be read as JSON: .*line 1"),
        (b"\xff\xfe{", r"inv-1_IRT1\.json cannot be read as JSON: "),
        (b"[0.1]", r"inv-1_IRT1\.json cannot be read as JSON: it holds no object"),
        (b'{"EchoTime": 0.1}', r"no sidecar sub_inv-1_IRT1\.json with its InversionTime"),
        (b'{"InversionTime": "0.1 s"}', r"inv-1_IRT1\.json states InversionTime .* no time in s"),
        (b'{"InversionTime": "nan"}', r"inv-1_IRT1\.json states InversionTime .* no time in s"),
        (b'{"InversionTime": true}', r"inv-1_IRT1\.json states InversionTime .* no time in s"),
        (b'{"InversionTime": 1' + b"0" * 400 + b"}", r"inv-1_IRT1\.json states .* no time in s"),
    ],
)
def test_a_sidecar_that_cannot_be_used_is_named(sidecar, message, tmp_path):
    file = tmp_path / "sub_inv-1_IRT1.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((40, 40, 1), np.float32), np.eye(4)), file)
    file.with_suffix(".json").write_bytes(sidecar)
    (problem,) = read(file)[1].problems
    assert re.search(message, problem)


@pytest.mark.parametrize(
    "sidecar",
    [
        b'\xef\xbb\xbf{"InversionTime": %g}',
        '{"InversionTime": %g, "InstitutionName": "Universitätsklinikum"}'.encode("latin-1"),
        b'{"InversionTime": %g, "ImageComments": "a\tb"}',
        b'{"InversionTime": "%g"}',
    ],
    ids=["byte order mark", "Latin-1", "control character", "number as a text"],
)
def test_sidecars_of_programs_that_write_other_json_are_read(sidecar, tmp_path):
    write_irt1(tmp_path, stack())
    for place, time in enumerate(TIMES):
        (tmp_path / f"sub-01_inv-{place + 1}_IRT1.json").write_bytes(sidecar % (time / 1000.0))
    (found,) = series_of(tmp_path)
    np.testing.assert_allclose(found.series.times_ms, TIMES)


def test_bart_shorter_than_its_header(tmp_path):
    file = write_bart(tmp_path / "images", stack())
    file.write_bytes(file.read_bytes()[:1000])
    assert "shorter than its header states" in read(file, options=TI)[1].problems[0]


def test_paths_without_anything_to_read(tmp_path):
    with pytest.raises(SourceError, match="there is no file"):
        read(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"neither DICOM files nor NIfTI.*DICM at byte 128"):
        read(tmp_path)
    (tmp_path / "sub_T1w.nii").write_bytes(b"")
    with pytest.raises(SourceError, match="no suffix that is read"):
        read(tmp_path / "sub_T1w.nii")


def test_a_series_with_too_few_images_has_its_reason(tmp_path):
    np.savez(tmp_path / "a.npz", images=stack()[:3, 0], inversion_times_ms=TIMES[:3], pixel_spacing_mm=1.5)
    (found,) = series_of(tmp_path / "a.npz")
    assert isinstance(found, Failed)
    assert "too few for a T1 map" in found.error


def test_a_pixel_size_of_zero_is_named_by_the_key_of_the_array(tmp_path):
    np.savez(tmp_path / "a.npz", images=stack()[:, 0], inversion_times_ms=TIMES, pixel_spacing_mm=0.0)
    (found,) = series_of(tmp_path / "a.npz")
    assert "pixel_spacing_mm" in found.error


@pytest.fixture
def annexed(tmp_path):
    """BIDS data of DataLad of which one series alone was fetched."""
    folder = tmp_path / "bids"
    folder.mkdir()
    write_irt1(folder, stack())
    for name in ("sub-02_T1w.nii.gz", "sub-02_report.pdf", "sub-03_T1map.nii.gz"):
        (folder / name).symlink_to(f".git/annex/objects/{name}")
    return folder


def test_what_datalad_has_not_fetched_beside_nifti_is_no_dicom(annexed, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    (examination,), sources = read(annexed)
    assert examination.images == len(TIMES)
    # A series that would be read is reported, once.
    (problem,) = sources.problems
    assert re.search("sub-03_T1map.*cannot be read as NIfTI", problem)


def test_nifti_that_is_not_fetched_beside_dicom_is_reported_once(annexed):
    shutil.copy(pydicom.data.get_testdata_file("MR_small.dcm"), annexed / "one.dcm")
    _, sources = read(annexed)
    assert [each for each in sources.problems if "sub-02_T1w" in each] == []
    assert len([each for each in sources.problems if "sub-03_T1map" in each]) == 1


def test_a_folder_that_cannot_be_listed_beside_nifti_is_reported(annexed, monkeypatch):
    (annexed / "locked").mkdir()
    scan = os.scandir

    def guarded(path):
        if Path(path) == annexed / "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert f"{annexed / 'locked'} cannot be read: Permission denied" in read(annexed)[1].problems


MOLLI = (100.0, 1000.0, 1900.0, 2800.0, 3700.0, 180.0, 1080.0, 1980.0)
"""5(3)3."""


def molli(stamps, *, first=0, numbered=True, **fields):
    """Images whose pixels are their number from ``first``."""
    return [
        Image.from_pixels(
            np.full((1, 1, 8, 8), first + k, np.float32),
            ImageHeader(
                field_of_view=(12.0, 12.0, 8.0),
                acquisition_time_stamp=stamp,
                set=k if numbered else 0,
                image_index=first + k + 1,
                **fields,
            ),
            {"SequenceDescription": "MOLLI", "InversionTime": time},
        )
        for k, (time, stamp) in enumerate(zip(MOLLI, stamps, strict=True))
    ]


STAMPS = {
    "each image": [1000 + 400 * k for k in range(8)],
    "each inversion": [1000] * 5 + [4000] * 3,
    "one": [1000] * 8,
}


def values_of(file, images):
    """Pixel of each image of each series, by time."""
    write_images(file, "", images)
    return [each.series.images[:, 0, 0].tolist() for each in series_of(file)]


@pytest.mark.parametrize("stamps", STAMPS.values(), ids=STAMPS)
def test_images_as_acquired_and_as_corrected_of_one_series_index_are_not_mixed(stamps, tmp_path):
    """Nothing marks the corrected ones, whose image index runs on."""
    images = [*molli(stamps), *molli(stamps, first=10)]
    expected = [[first + k for k in np.argsort(MOLLI)] for first in (0, 10)]
    assert values_of(tmp_path / "a.h5", images) == expected


@pytest.mark.parametrize("numbered", [True, False], ids=["set", "index alone"])
@pytest.mark.parametrize("stamps", STAMPS.values(), ids=STAMPS)
def test_images_of_a_file_may_lie_in_any_order(stamps, numbered, tmp_path):
    generator = np.random.default_rng(1)
    slices = [
        molli(stamps, first=10 * number, numbered=numbered, slice=number, position=(0.0, 0.0, 10.0 * number))
        for number in range(2)
    ]
    images = [each for members in slices for each in members]
    expected = [[first + k for k in np.argsort(MOLLI)] for first in (0, 10)]
    for order in (np.arange(16)[::-1], *(generator.permutation(16) for _ in range(20))):
        assert sorted(values_of(tmp_path / "a.h5", [images[k] for k in order])) == expected


def archive(folder, kind):
    """A file of these images as an archive makes it, by the program of the kind where Python has none."""
    (folder / "in").mkdir()
    (folder / "in" / "IM1").write_bytes(bytes(400))
    if kind == "7z":  # signature header of an empty archive (7zFormat.txt of the 7-Zip SDK)
        (file := folder / "images.7z").write_bytes(b"7z\xbc\xaf\x27\x1c\0\x04\x8d\x9b\xd5\x0f" + bytes(20))
        return file
    return Path(shutil.make_archive(str(folder / "images"), kind, folder / "in"))


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar", "7z"])
@pytest.mark.parametrize("name", ["", "archive", "study.1.2.840.113", "case.001"])
def test_an_archive_is_to_be_unpacked_first(tmp_path, kind, name):
    """Also as some programs save a download of an archive: without a suffix, or under a UID."""
    file = archive(tmp_path, kind)
    if name:
        file = file.rename(tmp_path / name)
    found, sources = read(file)
    assert found == []
    (problem,) = sources.problems
    assert problem == f"{file} is an archive; unpack it (unzip, tar, 7z), and give its content"


def test_a_spreadsheet_and_an_npz_of_another_name_are_no_archives(tmp_path):
    array, *sheets = (tmp_path / name for name in ("array.001", "sheet", "SHEET.XLSX"))
    with array.open("wb") as opened:
        np.savez(opened, image=np.zeros((8, 4, 4)))
    for sheet, first in zip(sheets, ("[Content_Types].xml", "docProps/app.xml"), strict=True):
        with zipfile.ZipFile(sheet, "w") as opened:
            opened.writestr(first, "<Types/>")
    for file in (array, *sheets):
        _, sources = read(file)
        assert "save arrays of MATLAB and others as npz" in sources.problems[0]


@pytest.mark.parametrize("shared", [False, True])
def test_all_headers_are_read_first_for_a_file_of_haematocrits_alone(tmp_path, monkeypatch, shared):
    header = (
        "<ismrmrdHeader><subjectInformation><patientID>{}</patientID></subjectInformation><studyInformation>"
        "<studyInstanceUID>1.2.3</studyInstanceUID></studyInformation></ismrmrdHeader>"
    )
    files = [tmp_path / f"{patient}.h5" for patient in "AB"]
    for file in files:
        write_images(file, header.format(file.stem), molli([0] * len(MOLLI)))
    opened, reader = [], mrd.ImageFile
    monkeypatch.setattr(mrd, "ImageFile", lambda file, group: opened.append(file) or reader(file, group))
    examinations = Sources(AssemblySettings(), shared=shared).examinations(files)
    assert next(examinations).shared_study == shared
    assert opened == ([*files, files[0]] if shared else files[:1])
