"""Damaged and hostile DICOM files are reported by name; whatever is read is finite and bounded."""

import io
import math
import os
import shutil
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from inline.assembly.assembled import Assembled
from inline.data.series import Quantity
from inline.dicom.find import find
from inline.dicom.read import open_dicom
from inline.elements.header import FrameHeader, as_number
from inline.elements.vendors import PLACES, choose, times
from inline.offline.sources import Sources
from inline.settings import AssemblySettings

from . import writer


@pytest.fixture(scope="module")
def written(tmp_path_factory, images):
    """The bytes of a classic and of an enhanced file."""
    folder = tmp_path_factory.mktemp("written")
    members = [each for each in images if each.header.slice == 0 and writer.time_of(each)[0] == "T2"]
    one = writer.classic(folder, members, "siemens")[0].read_bytes()
    return one, writer.enhanced(folder, members, "philips")[0].read_bytes()


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_reported(data, written, tmp_path):
    content = bytearray(data.draw(st.sampled_from(written)))
    # The headers: a changed pixel is another pixel.
    end = min(len(content), 4000)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(132, end - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(132, len(content))) :]
    file = tmp_path / "damaged"
    file.write_bytes(bytes(content))
    opened = open_dicom([tmp_path])
    examinations = list(opened.examinations())
    for problem in (*opened.problems, *(text for each in examinations for text in each.problems)):
        assert "damaged" in problem
    for examination in examinations:
        assert examination.images <= 3
        assert all(isinstance(each, Assembled) for each in examination.series)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"NumberOfFrames": 10**6}, "states 1000000 frames"),
        ({"NumberOfFrames": 40}, "40 frames and 3 functional groups"),
        ({"Rows": 0}, "which is no image"),
        ({"Rows": 16_384, "Columns": 8_193}, "268468224 bytes of pixels each; at most 268435456"),
    ],
)
def test_numbers_that_no_image_has(changes, message, written, tmp_path):
    data = pydicom.dcmread(io.BytesIO(written[1]))
    for name, value in changes.items():
        setattr(data, name, value)
    data.save_as(tmp_path / "damaged")
    (problem,) = find([tmp_path]).problems
    assert message in problem


@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.RLELossless])
def test_frames_that_a_file_is_too_short_for_are_not_looked_for(syntax, written, tmp_path, monkeypatch):
    """A file of some hundred bytes may state any number of frames."""
    opened = []
    original = pydicom.pixels.utils.pixel_array
    monkeypatch.setattr(
        "pydicom.pixels.utils.pixel_array", lambda *a, **k: opened.append(1) or original(*a, **k)
    )
    data = pydicom.dcmread(io.BytesIO(written[0]))
    data.NumberOfFrames, data.InversionTime, data.SeriesDescription = 1000, 100.0, "MOLLI"
    data.file_meta.TransferSyntaxUID = syntax
    del data.PixelData
    data.save_as(tmp_path / "short", enforce_file_format=True)
    beats = []
    (examination,) = open_dicom([tmp_path], alive=lambda: beats.append(1)).examinations()
    assert examination.problems == (examination.problems[0],)
    assert str(tmp_path / "short") in examination.problems[0]
    assert examination.images == 1000
    assert examination.unread == {tmp_path / "short"}
    assert len(opened) <= (tmp_path / "short").stat().st_size // 8
    assert len(beats) == 1001


def test_lengths_that_no_scanner_has_are_not_stated(written, tmp_path):
    data = pydicom.dcmread(io.BytesIO(written[0]))
    data.PixelSpacing = ["1e200", "1e200"]
    data.ImagePositionPatient = ["1e250", "0", "0"]
    data.InversionTime = "1e299"
    data.save_as(tmp_path / "damaged")
    (frame,) = find([tmp_path]).frames
    assert frame.place.field_of_view[:2] == (0.0, 0.0)
    assert not any(map(math.isfinite, frame.place.position))
    list(open_dicom([tmp_path]).examinations())


def test_a_deflated_file_is_refused(written, tmp_path):
    data = pydicom.dcmread(io.BytesIO(written[0]))
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "deflated")
    (problem,) = find([tmp_path]).problems
    assert "deflated as a whole" in problem


@pytest.mark.parametrize(
    "names", [["..", "secret"], ["X" * 300], ["LOOP"], ["GONE"]], ids=["outside", "too long", "loop", "gone"]
)
def test_a_dicomdir_names_files_below_its_folder_alone(names, tmp_path, written):
    (tmp_path / "secret").write_bytes(written[0])
    media = tmp_path / "media"
    media.mkdir()
    (media / "LOOP").symlink_to(media / "LOOP")
    data = Dataset()
    record = Dataset()
    record.ReferencedFileID = names
    data.DirectoryRecordSequence = Sequence([record])
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    data.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    data.save_as(media / "DICOMDIR", enforce_file_format=True)
    found = find([media / "DICOMDIR"])
    assert found.frames == []
    assert "no file below its folder" in found.problems[0]


@given(st.one_of(st.none(), st.binary(max_size=12), st.text(max_size=8), st.floats(), st.integers()))
def test_a_private_number_of_any_type_is_finite_or_none(value):
    number = as_number(value)
    assert number is None or abs(number) < 1e300


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"260 ", 260.0),
        (b"2600", 2600.0),
        (b"100.5\0\0\0", 100.5),
        (b"1234.500", 1234.5),
        (b"-1.5e+02", -150.0),
        (b"  18", 18.0),
        (b"260", 260.0),
        (b"\0\0\0\0", 0.0),
        (b"        ", None),
        (b"nan", None),
        (struct.pack("<f", 2048.0), 2048.0),
        (struct.pack("<d", 260.0), 260.0),
    ],
)
def test_numbers_as_text_or_floats_that_lost_their_type(value, number):
    assert as_number(value) == number


@given(st.floats(1e-3, 1e7), st.sampled_from(["<f", "<d"]))
def test_floats_that_lost_their_type_are_never_taken_for_text(value, layout):
    stored = struct.pack(layout, value)
    assert as_number(stored) == struct.unpack(layout, stored)[0]


def test_a_private_number_that_lost_its_type():
    """Implicit VR, or an archive that does not know the element: bytes."""
    data = Dataset()
    block = data.private_block(0x2005, "Philips MR Imaging DD 006", create=True)
    block.add_new(0x72, "UN", b"\x00\x00\x82\x43")
    assert FrameHeader.of(data).private(0x2005, "Philips MR Imaging DD 006", 0x72) == b"\x00\x00\x82\x43"
    assert 260.0 in times(FrameHeader.of(data))


def nested(content, depth):
    """Bytes of a sequence within sequences, in implicit VR with stated lengths."""
    for _ in range(depth):
        item = (
            (0x0021).to_bytes(2, "little")
            + (0x11FE).to_bytes(2, "little")
            + len(content).to_bytes(4, "little")
        )
        length = (len(item) + len(content)).to_bytes(4, "little")
        content = b"\xfe\xff\x00\xe0" + length + item + content
    return content


@given(st.binary(max_size=64))
@example(b"")
@example(nested(b"", 20_000)[8:])
@example((b"\xff\xff\xff\xff" + b"\x21\x00\xfe\x11\xff\xff\xff\xff\xfe\xff\x00\xe0") * 5_000)
def test_any_content_after_an_item_tag_is_read_or_left_out(content):
    data = Dataset()
    data.private_block(0x0021, "SIEMENS MR SDI 02", create=True).add_new(
        0xFE, "UN", b"\xfe\xff\x00\xe0" + content
    )
    times(FrameHeader.of(data))


def test_what_frames_have_in_common_is_parsed_once(monkeypatch):
    """Private sequences of the image and of the shared groups, without their type."""

    def untyped(count):
        data = Dataset()
        block = data.private_block(0x2005, "Vendor Unknown", create=True)
        for number in range(count):
            block.add_new(number, "UN", nested(bytes([number] * 4), 1))
        return data

    parsed = []
    monkeypatch.setattr("pydicom.values.convert_SQ", lambda value, **_: parsed.append(value) or [])
    image = untyped(12)
    image.SharedFunctionalGroupsSequence = Sequence([untyped(3)])
    image.PerFrameFunctionalGroupsSequence = Sequence([untyped(1) for _ in range(20)])
    assert len(list(FrameHeader.of_frames(image, 20))) == 20
    assert len(parsed) == 12 + 3 + 20


@pytest.mark.parametrize("lower", [False, True])
def test_genuine_files_are_all_accounted_for(lower, tmp_path):
    """Those that pydicom ships: CT, MR, ultrasound, SR, RT, damaged ones, and a DICOMDIR with its files."""
    shipped = Path(pydicom.__file__).parent / "data" / "test_files"
    found = find([shipped])
    read = {frame.file for frame in found.frames}
    assert len(read) > 10
    every = [each for each in shipped.rglob("*") if each.is_file()]
    hidden = [each for each in every if any(part.startswith(".") for part in each.relative_to(shipped).parts)]
    assert len(read) + len(found.problems) + found.skipped.total() == len(every) - len(hidden)
    media = tmp_path / "media"
    shutil.copytree(shipped / "dicomdirtests", media)
    if lower:  # as Linux may show the names of a CD
        for each in sorted(media.rglob("*"), reverse=True):
            if each.name != "DICOMDIR":
                each.rename(each.with_name(each.name.lower()))
    listed = find([media / "DICOMDIR"])
    assert listed.problems == []
    assert len(listed.frames) == 17


@pytest.fixture
def locked(monkeypatch):
    """Files and folders that the user may not read, by path; to root every mode is readable."""
    paths, open_file, scan = set(), Path.open, os.scandir

    def guarded(call, path, *args, **kwargs):
        if Path(path) in paths:
            raise PermissionError(13, "Permission denied", str(path))
        return call(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", lambda *args, **kwargs: guarded(open_file, *args, **kwargs))
    monkeypatch.setattr(os, "scandir", partial(guarded, scan))
    return paths


@pytest.mark.parametrize("name", ["closed", "folder", "folder/below", "."])
def test_what_cannot_be_opened_is_a_problem_by_name(name, tmp_path, written, locked):
    (tmp_path / "folder" / "below").mkdir(parents=True)
    for place in ("open", "closed", "folder/closed", "folder/below/closed"):
        (tmp_path / place).write_bytes(written[0])
    locked.add(tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        found = find([path])
        assert found.problems == [f"{tmp_path / name} cannot be read: Permission denied"]
        assert "not DICOM" not in found.skipped
    # The other sources of a folder neither pass it over nor take it for empty.
    sources = Sources(AssemblySettings())
    list(sources.examinations([tmp_path / name]))
    assert len(sources.problems) == 1


def test_links_to_nothing_are_problems_and_pipes_are_not_opened(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "link").symlink_to(tmp_path / "gone")
    assert find([tmp_path]).problems == [f"{tmp_path / 'link'} cannot be read: No such file or directory"]


def test_linked_folders_are_read_once_and_circles_end(written, tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (elsewhere / "series").mkdir(parents=True)
    root.mkdir()
    (elsewhere / "series" / "image").write_bytes(written[0])
    (elsewhere / "series" / "up").symlink_to(root)
    (root / "linked").symlink_to(elsewhere)
    (root / "self").symlink_to(root)
    (root / "too").symlink_to(elsewhere / "series")
    found = find([root])
    assert [frame.file.name for frame in found.frames] == ["image"]
    assert (found.problems, found.skipped) == ([], {})
    sources = Sources(AssemblySettings())
    assert len(list(sources.examinations([root]))) == 1


def test_every_place_has_a_public_source():
    assert all(place.source and place.name for place in PLACES)


@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.floats(0, 5000)), min_size=len(PLACES), max_size=len(PLACES)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(sorted({place.quantity for place in PLACES})),
    st.booleans(),
)
@example([[None] * (len(PLACES) - 1) + [0.0], [None] * (len(PLACES) - 1) + [1.0]], Quantity.T2, True)
def test_the_chosen_place_has_times_and_differs_where_any_does(stated, quantity, named):
    rows = [tuple(each) for each in stated]
    place = choose(rows, quantity, named=named)
    values = {
        n: {row[n] for row in rows} - {None} for n, each in enumerate(PLACES) if each.quantity is quantity
    }
    for n in [n for n in values if PLACES[n].named_only]:
        gaps = np.diff(sorted({0.0, *values[n]}))
        gradient_echoes = len(values[n]) >= 6 and gaps.max() < 5.0
        if not named or gradient_echoes or max(values[n], default=0.0) < 25.0:
            del values[n]
    if place is None:
        assert all(len(found) <= 1 for found in values.values())
    else:
        assert values[place]
        assert len(values[place]) > 1 or all(len(found) <= 1 for found in values.values())
