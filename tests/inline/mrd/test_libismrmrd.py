"""Files of ``synth`` and ``replay -o`` through the C and C++ library, with a reader that is compiled here."""

import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.mrd.files import ImageFile, write_images
from inline.mrd.image_header import DATA_TYPES, ImageHeader
from inline.mrd.messages import Image
from inline.mrd.meta import parse_meta

SOURCE = Path(__file__).with_name("reader.cpp")
_SIZE = "<x>4</x><y>4</y><z>1</z>"
_SPACE = f"<matrixSize>{_SIZE}</matrixSize><fieldOfView_mm>{_SIZE}</fieldOfView_mm>"
XML = (
    '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions>'
    "<H1resonanceFrequency_Hz>63870000</H1resonanceFrequency_Hz></experimentalConditions>"
    f"<encoding><encodedSpace>{_SPACE}</encodedSpace><reconSpace>{_SPACE}</reconSpace><encodingLimits/>"
    "<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
)


@dataclass
class Seen:
    """What the reader printed about an image."""

    header: bytes
    attributes: bytes
    pixels: bytes
    meta: dict[str, list[bytes]] = field(default_factory=dict)


@dataclass
class Reading:
    """What the reader printed about a file."""

    images: list[Seen] = field(default_factory=list)
    xml: bytes = b""
    protocol: bytes = b""


def unhexed(text):
    return b"" if text == "-" else bytes.fromhex(text)


@pytest.fixture(scope="session")
def read(tmp_path_factory):
    """A function that reads a file with libismrmrd."""
    if shutil.which("g++") is None or not Path("/usr/include/ismrmrd/dataset.h").exists():
        pytest.skip("needs g++ and the headers of libismrmrd (Debian: g++ libismrmrd-dev libhdf5-dev)")
    program = tmp_path_factory.mktemp("reader") / "reader"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "hdf5"], capture_output=True, text=True, check=False
    )
    if flags.returncode:
        pytest.skip("needs pkg-config and the headers of HDF5 (Debian: pkg-config libhdf5-dev)")
    command = ["g++", "-std=c++17", str(SOURCE), "-o", str(program), *shlex.split(flags.stdout), "-lismrmrd"]
    subprocess.run(command, check=True)

    def run(file):
        with h5py.File(file) as opened:
            names = [name for name, item in opened["dataset"].items() if isinstance(item, h5py.Group)]
        output = subprocess.run(
            [program, file, "dataset", *names], capture_output=True, text=True, check=False, timeout=120
        )
        assert output.returncode == 0, output.stderr
        reading = Reading()
        for line in output.stdout.splitlines():
            kind, *words = line.split(" ")
            if kind == "image":
                reading.images.append(Seen(*map(unhexed, words[2:])))
            elif kind == "meta":
                name, *values = map(unhexed, words)
                reading.images[-1].meta[name.decode()] = values
            else:
                setattr(reading, kind, unhexed(*words))
        return reading

    return run


def same(reading, file):
    """Compare every value with those that our own reader gives."""
    with ImageFile(file) as opened:
        # Ours come by time stamp, those of the library as they lie in the file.
        ours = sorted(opened.images(), key=lambda image: (image.header.pack(), image.data))
        assert reading.xml == opened.header_bytes
    assert len(reading.images) == len(ours)
    found = sorted(reading.images, key=lambda seen: (seen.header, seen.pixels))
    for theirs, image in zip(found, ours, strict=True):
        assert theirs.header == image.header.pack()
        assert theirs.attributes == image.attributes
        assert theirs.pixels == image.data
        expected = {
            name: [value.encode() for value in values]
            for name, values in parse_meta(image.attributes).items()
        }
        assert theirs.meta == expected


def test_files_of_synth_and_replay(read, serving, tmp_path):
    runner = CliRunner()
    file, out = tmp_path / "exam.h5", tmp_path / "out.h5"
    made = runner.invoke(app, ["synth", "-o", str(file), "--slices", "2", "--size", "128"])
    assert made.exit_code == 0, made.output
    reading = read(file)
    same(reading, file)
    assert reading.protocol == b"myostream simulated mapping"
    assert len(reading.images) == 2 * (8 + 3)
    headers = [ImageHeader.unpack(each.header) for each in reading.images]
    assert {DATA_TYPES[header.data_type] for header in headers} == {np.dtype("<u2")}
    for series, count in ((1, 16), (2, 6)):
        numbers = [header.image_index for header in headers if header.image_series_index == series]
        assert numbers == list(range(1, count + 1))
    assert reading.images[0].meta["InversionTime"] == [b"100"]

    with serving() as server:
        address = f"{server.address[0]}:{server.address[1]}"
        replayed = runner.invoke(app, ["replay", str(file), "--server", address, "-o", str(out)])
    assert replayed.exit_code == 0, replayed.output
    reading = read(out)
    same(reading, out)
    assert len(reading.images) == 22 + 4 * 3
    maps = [each for each in reading.images if "MYOSTREAM_RESULT" in each.meta]
    assert len(maps) == 4
    for each in maps:
        assert len(each.meta["ROI_endo"]) == 6 + 2 * 97
        assert all(values for values in each.meta.values())


@pytest.mark.parametrize("number", sorted(DATA_TYPES))
def test_every_pixel_type(number, read, tmp_path):
    random = np.random.default_rng(number)
    images = [
        Image.from_pixels(
            random.integers(0, 100, (2, 3, 4, 5)).astype(DATA_TYPES[number]),
            ImageHeader(image_series_index=7),
            {"Name": "W\u00e4rme & <Licht>", "Two": ["a", ""]},
        )
        for _ in range(2)
    ]
    write_images(tmp_path / "a.h5", XML, images)
    reading = read(tmp_path / "a.h5")
    same(reading, tmp_path / "a.h5")
    assert [each.pixels for each in reading.images] == [image.data for image in images]
    assert reading.images[0].meta == {"Name": ["W\u00e4rme & <Licht>".encode()], "Two": [b"a", b""]}


@pytest.mark.parametrize("stated", [0, 3, 100_000])
@pytest.mark.parametrize(
    ("attributes", "stored"),
    [
        (b"", b""),
        (b"<ismrmrdMeta/>\0\0", b"<ismrmrdMeta/>"),
        ("<ismrmrdMeta><!-- k\u00f6 --></ismrmrdMeta>".encode("latin-1"),) * 2,
        (
            '<?xml version="1.0" encoding="UTF-16"?><ismrmrdMeta><!-- k\u00f6 --></ismrmrdMeta>'.encode(
                "utf-16"
            ),
            "<ismrmrdMeta><!-- k\u00f6 --></ismrmrdMeta>".encode(),
        ),
    ],
)
def test_attribute_strings_of_any_encoding_and_stated_length(attributes, stored, stated, read, tmp_path):
    header = ImageHeader(matrix_size=(2, 1, 1), data_type=1, attribute_string_len=stated)
    write_images(tmp_path / "a.h5", XML, [Image(header, attributes, b"\1\0\2\0")])
    (seen,) = read(tmp_path / "a.h5").images
    assert seen.attributes == stored
    assert seen.pixels == b"\1\0\2\0"


def test_a_header_in_utf16_becomes_readable(read, tmp_path):
    xml = '<?xml version="1.0" encoding="UTF-16"?>' + XML
    write_images(tmp_path / "a.h5", xml.encode("utf-16"), [])
    assert read(tmp_path / "a.h5").xml.decode() == XML
