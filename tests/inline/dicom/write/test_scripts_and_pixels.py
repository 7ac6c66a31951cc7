"""Results beside images of other scripts, and of pixels that are neither square nor upright."""

import shutil
import subprocess
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from inline.dicom.write.objects import write_objects

from .. import scanner
from .conftest import read_sources, save
from .objects import ALL, KNOWN, again

NAMES = {
    "japanese": (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "katakana": (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    "korean": (
        ["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "chinese": (
        ["", "ISO 2022 IR 58"],
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
        "Zhang^XiaoDong=张^小东",
    ),
    "gb18030": (["GB18030"], b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
    "greek": (["ISO_IR 126"], "Διονυσιος^Α".encode("iso8859-7"), "Διονυσιος^Α"),
}
"""Character sets, bytes and text of names: those of PS3.5, annexes H, I, J and K."""


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_iso_2022_are_copied_as_utf_8(kind, source, tmp_path):
    sets, stored, name = NAMES[kind]
    dataset = deepcopy(source.images.datasets[0])
    dataset.SpecificCharacterSet = sets
    # By bytes, as a scanner writes it: pydicom would leave escapes out of some.
    stand_in = "@" * (len(stored) + len(stored) % 2)
    dataset.PatientName = dataset.ReferringPhysicianName = stand_in
    dataset.save_as(tmp_path / "image.dcm")
    written = (tmp_path / "image.dcm").read_bytes()
    (tmp_path / "image.dcm").write_bytes(written.replace(stand_in.encode(), stored.ljust(len(stand_in))))
    image = dcmread(tmp_path / "image.dcm")
    named = replace(source, images=replace(source.images, datasets=(image,)))
    for number, each in enumerate(write_objects([named], ALL).objects):
        copied = again(each)
        assert copied.SpecificCharacterSet == "ISO_IR 192"
        assert copied.PatientName == copied.ReferringPhysicianName == name
        file = tmp_path / f"{number}.dcm"
        each.save_as(file, enforce_file_format=True)
        assert name.encode() in file.read_bytes()
        if shutil.which("dciodvfy"):
            run = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, check=False)
            first, *lines = run.stderr.decode().splitlines()
            assert first in KNOWN
            assert [line for line in lines if "99MYOSTREAM" not in line and "<QUANTITY>" not in line] == []


ROWS, COLUMNS = 96, 72
BETWEEN_ROWS, BETWEEN_COLUMNS = 1.2, 1.9
"""Distances of pixel centres, mm: PixelSpacing states that between rows first."""
OBLIQUE = np.linalg.qr(np.array([[0.8, -0.5, 0.2], [0.3, 0.9, -0.4], [0.1, 0.4, 1.0]]))[0]
"""Directions of a row, of a column, and the normal, as columns."""


def oblique(datasets):
    """The images cut to fewer columns, with pixels that are not square, at an angle in the patient."""
    made = deepcopy(datasets)
    row, column = OBLIQUE[:, 0], OBLIQUE[:, 1]
    for each in made:
        each.PixelData = np.ascontiguousarray(each.pixel_array[:ROWS, :COLUMNS]).tobytes()
        each.Rows, each.Columns = ROWS, COLUMNS
        each.PixelSpacing = [BETWEEN_ROWS, BETWEEN_COLUMNS]
        each.ImageOrientationPatient = [round(float(value), 7) for value in (*row, *column)]
        each.ImagePositionPatient = [12.5, -40.25, 7.75]
    return made


@pytest.fixture(scope="module", params=["classic", "enhanced"])
def tilted(request, tmp_path_factory, ring_engine, provenance):
    _, images = scanner.examination(1, size=96)
    objects = oblique(scanner.series_of(scanner.classic(images), 1))
    if request.param == "enhanced":
        objects = [scanner.enhanced(objects)]
    return read_sources(save(objects, tmp_path_factory.mktemp("tilted")), ring_engine, provenance)


def test_a_segmentation_lies_on_source_pixels_that_are_neither_square_nor_upright(tilted):
    objects = {each.SeriesDescription: again(each) for each in write_objects(tilted, ALL).objects}
    segmented, parametric = (
        objects[f"T1 native {name}, slice 0 (myostream)"] for name in ("LV contours", "map")
    )
    groups = segmented.SharedFunctionalGroupsSequence[0]
    assert [float(each) for each in groups.PixelMeasuresSequence[0].PixelSpacing] == [
        BETWEEN_ROWS,
        BETWEEN_COLUMNS,
    ]
    orientation = [float(each) for each in groups.PlaneOrientationSequence[0].ImageOrientationPatient]
    np.testing.assert_allclose(orientation, OBLIQUE[:, :2].T.ravel(), atol=1e-6)
    # The heart of the engine: rings in mm around the middle of the image, on whatever pixels it has.
    rows = (np.arange(ROWS) - (ROWS - 1) / 2.0) * BETWEEN_ROWS
    columns = (np.arange(COLUMNS) - (COLUMNS - 1) / 2.0) * BETWEEN_COLUMNS
    radius = np.hypot(rows[:, None], columns)
    # Resampled into the patient, each segment is where the heart is: a disc and a ring of these radii, mm.
    for number, frame in enumerate(segmented.pixel_array):
        groups = segmented.PerFrameFunctionalGroupsSequence[number]
        segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = [float(each) for each in groups.PlanePositionSequence[0].ImagePositionPatient]
        np.testing.assert_allclose(position, [12.5, -40.25, 7.75], atol=1e-6)
        inside = radius < 30.0 if segment == 1 else (radius >= 30.0) & (radius < 42.0)
        apart = (
            np.abs(radius - 30.0)
            if segment == 1
            else np.minimum(np.abs(radius - 30.0), np.abs(radius - 42.0))
        )
        clear = apart > BETWEEN_COLUMNS + 1.0  # the border, the convention of contours, half a pixel
        assert frame.shape == (ROWS, COLUMNS)
        assert inside[clear].any()
        np.testing.assert_array_equal(frame[clear].astype(bool), inside[clear])
    assert (parametric.Rows, parametric.Columns) == (ROWS, COLUMNS)
