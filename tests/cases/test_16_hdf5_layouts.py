"""HDF5 files that the ``ismrmrd`` libraries did not write, or wrote long ago: ``myostream replay`` on each.

A file is read as the HDF5 library would convert it, or refused in one line that names group and type or size.
"""

import json
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest

from inline.__main__ import app

from .conftest import ENVIRONMENT, ROOT
from .outcomes import PHANTOM
from .phantom import MOLLI_TIMES, whole
from .wire import HEADER, described, header_xml, series

XML = header_xml("MOLLI", limits={"set": 7})
PIXELS = whole(PHANTOM.molli())
IMAGES = series(PIXELS, described("T1map_MOLLI", "InversionTime", MOLLI_TIMES))
HEADERS = np.array([image.header for image in IMAGES], HEADER)
ATTRIBUTES = np.array([image.attributes for image in IMAGES], object)
DATA = PIXELS[:, None, None]
VLEN = h5py.special_dtype(vlen=bytes)
TEXT = h5py.special_dtype(vlen=str)


def write(file, *, root="dataset", group="image_1", xml=XML, **members):
    """Write a file in the library's layout.

    ``members`` replace its own: a value, a value and its HDF5 type, or None for none.
    """
    with h5py.File(file, "a") as output:
        top = output.require_group(root)
        if xml is not None:
            _create(top, "xml", xml if isinstance(xml, tuple) else (np.array([xml], object), VLEN))
        images = top.create_group(group)
        for name, own in {"header": HEADERS, "attributes": (ATTRIBUTES, VLEN), "data": DATA}.items():
            member = members.get(name, own)
            if member is not None:
                _create(images, name, member)
    return file


def _create(group, name, member):
    value, kind = member if isinstance(member, tuple) else (member, None)
    group.create_dataset(name, data=value, dtype=kind)


def text_array(*shape):
    return np.array([image.attributes.decode() for image in IMAGES], object).reshape(*shape)


def swapped_headers():
    return HEADERS.astype(HEADER.newbyteorder(">"))


def aligned_headers():
    """Members in another order and with gaps between them; HDF5 converts members by their names."""
    names = sorted(HEADER.names)
    kind = np.dtype([(name, HEADER[name]) for name in names], align=True)
    out = np.zeros(len(HEADERS), kind)
    for name in names:
        out[name] = HEADERS[name]
    return out


def typed_headers(code):
    headers = HEADERS.copy()
    headers["data_type"] = code
    return headers


def compound(kind):
    out = np.zeros(DATA.shape, [("real", kind), ("imag", kind)])
    out["real"] = DATA
    return out


def more_members(file):
    write(file)
    with h5py.File(file, "a") as output:
        output["dataset/image_1"].create_dataset("note", data=1)
        output["dataset"].create_group("image_empty")
        output["dataset"].create_dataset("config", data=np.array(["x"], object), dtype=TEXT)
        parameters = '{"parameters": {"config": "passthrough"}}'
        output["dataset"].create_dataset("configAdditional", data=np.array([parameters], object), dtype=TEXT)


def compressed(file):
    write(file, data=None)
    with h5py.File(file, "a") as output:
        output["dataset/image_1"].create_dataset(
            "data", data=DATA, chunks=(1, 1, 1, 48, 48), compression="gzip", shuffle=True, fletcher32=True
        )


def two_series(file):
    """Eight images in two groups, as a writer does whose series index counts up."""
    halves = [{"header": HEADERS[part], "data": DATA[part]} for part in (slice(0, 4), slice(4, 8))]
    write(file, attributes=(ATTRIBUTES[:4], VLEN), **halves[0])
    write(file, group="image_1_1", xml=None, attributes=(ATTRIBUTES[4:], VLEN), **halves[1])


LATIN = XML.replace("MOLLI", "MOLLI Herzkörper")
CONVERTED = {
    "as the library writes": write,
    "other members beside": more_members,
    "compressed": compressed,
    "two groups of one series": two_series,
    "no header document": lambda file: write(file, xml=None),
    "group by date": lambda file: write(file, root="2020-07-13 14:43:18"),
    "group images_0": lambda file: write(file, group="images_0"),
    "attributes of fixed length": lambda file: write(file, attributes=np.array(list(ATTRIBUTES), "S600")),
    "attributes as UTF-8": lambda file: write(file, attributes=(text_array(8), TEXT)),
    "attributes in a column": lambda file: write(file, attributes=(text_array(8, 1), TEXT)),
    "attributes with NUL": lambda file: write(
        file, attributes=np.array([image.attributes + b"\0" for image in IMAGES], "S640")
    ),
    "header in a column": lambda file: write(file, header=HEADERS.reshape(8, 1)),
    "header big-endian": lambda file: write(file, header=swapped_headers()),
    "header with other order and gaps": lambda file: write(file, header=aligned_headers()),
    "pixels float64 for uint16": lambda file: write(file, data=DATA.astype("f8")),
    "pixels float32 for uint16": lambda file: write(file, data=DATA.astype("f4")),
    "pixels int64 for uint16": lambda file: write(file, data=DATA.astype("i8")),
    "pixels uint16 for float32": lambda file: write(file, header=typed_headers(5)),
    "pixels uint16 for int32": lambda file: write(file, header=typed_headers(4)),
    "pixels int64 for int32": lambda file: write(file, header=typed_headers(4), data=DATA.astype("i8")),
    "pixels int32": lambda file: write(file, header=typed_headers(4), data=DATA.astype("i4")),
    "pixels big-endian": lambda file: write(file, data=DATA.astype(">u2")),
    "pixels big-endian float32": lambda file: write(file, header=typed_headers(5), data=DATA.astype(">f4")),
    "pixels complex64": lambda file: write(file, header=typed_headers(7), data=compound("f4")),
    "pixels complex64 as h5py writes": lambda file: write(
        file, header=typed_headers(7), data=DATA.astype("c8")
    ),
    "pixels complex128": lambda file: write(file, header=typed_headers(8), data=compound("f8")),
    "data (N, y, x)": lambda file: write(file, data=DATA[:, 0, 0]),
    "data (N, z, y, x)": lambda file: write(file, data=DATA[:, 0]),
    "XML as a scalar": lambda file: write(file, xml=(XML, TEXT)),
    "XML as fixed length": lambda file: write(file, xml=(np.array([XML.encode()]), None)),
    "XML in a column": lambda file: write(file, xml=(np.array([[XML]], object), TEXT)),
    "XML in Latin-1": lambda file: write(file, xml=(np.array([LATIN.encode("latin-1")], object), VLEN)),
    "XML in UTF-8": lambda file: write(file, xml=(np.array([LATIN], object), TEXT)),
    "XML empty": lambda file: write(file, xml=(np.array([""], object), TEXT)),
}


def old_names(file):
    with h5py.File(file, "w") as output:
        dataset = output.create_group("dataset")
        dataset.create_dataset("image_0.img", data=DATA)
        dataset.create_dataset("image_0.head", data=HEADERS)


def two_dates(file):
    write(file, root="2020-07-13 14:43:18")
    write(file, root="2020-07-14 09:00:01")


def raw_data(file):
    with h5py.File(file, "w") as output:
        output.create_group("dataset").create_dataset("data", data=np.zeros(4, [("head", "<u4")]))


def truncated(file):
    write(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


REFUSED = {
    "no header": (lambda file: write(file, header=None), "image_1", "header"),
    "data smaller than the matrix": (
        lambda file: write(file, data=DATA[:, :, :, :90, :90]),
        "image_1",
        r"\b90\b",
        r"\b96\b",
    ),
    "data larger than the matrix": (
        lambda file: write(file, data=np.zeros((8, 1, 1, 100, 100), "u2")),
        "image_1",
        r"\b100\b",
        r"\b96\b",
    ),
    "pixels of text": (lambda file: write(file, data=np.full(DATA.shape, b"x", "S4")), "image_1", "data"),
    "pixels of an unknown type": (lambda file: write(file, header=typed_headers(99)), "image_1", r"\b99\b"),
    "headers of another kind": (
        lambda file: write(file, header=np.zeros(8, [("first", "<u2"), ("second", "<f4")])),
        "image_1",
        "header",
    ),
    "headers that are numbers": (lambda file: write(file, header=np.arange(8)), "image_1", "header"),
    "two groups": (two_dates, "2020-07-13 14:43:18", "2020-07-14 09:00:01"),
    "raw data": (raw_data, "no image"),
    "no group": (lambda file: h5py.File(file, "w").close(), "no ISMRMRD image"),
    "no HDF5": (lambda file: file.write_text("MRD"), "HDF5"),
    "no content": (lambda file: file.write_bytes(b""), "HDF5"),
    "half a file": (truncated, "HDF5"),
}
"""Layouts, and what the one line has to name."""
UNEQUAL = {
    "fewer pixels than headers": lambda file: write(file, data=DATA[:5]),
    "fewer headers than pixels": lambda file: write(file, header=HEADERS[:5]),
    "fewer attributes than images": lambda file: write(file, attributes=(ATTRIBUTES[:5], VLEN)),
}
EITHER = {
    "no attributes": lambda file: write(file, attributes=None),
    "names of old clients": old_names,
}


class Replay:
    """A run of ``myostream replay`` against the server: in this process, or in one of its own."""

    def __init__(self, server, file, *options, capfd=None):
        report, output = file.with_suffix(".json"), file.with_name("back.h5")
        arguments = ["replay", str(file), "--server", f"127.0.0.1:{server.port}"]
        arguments += ["--json", str(report), "-o", str(output), *options]
        self.code, printed, self.errors = (self._process if capfd is None else self._here)(arguments, capfd)
        self.said = printed + self.errors
        self.results = json.loads(report.read_text())["results"] if report.exists() else []
        self.output, self._file = output, file

    @staticmethod
    def _process(arguments, _):
        run = subprocess.run(
            [sys.executable, "-m", "inline", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=ROOT,
            env={**ENVIRONMENT, "COLUMNS": "200"},
        )
        return run.returncode, run.stdout, run.stderr

    @staticmethod
    def _here(arguments, capfd):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(arguments)
        return ended.value.code or 0, *capfd.readouterr()

    def __str__(self):
        return f"exit code {self.code}\n{self.said}\n{self.results}"

    def quiet(self):
        """Neither a traceback nor the noise of the HDF5 library or of numpy."""
        for noise in ("Traceback", "HDF5-DIAG", "Warning", 'File "'):
            assert noise not in self.said, f"{noise!r} in the output: {self}"

    def right(self, *, flagged=False):
        self.quiet()
        assert self.code == 0, str(self)
        (result,) = self.results or [None]
        assert result is not None, f"no map: {self}"
        assert not result["error"], str(self)
        medians = {region["name"]: region["median"] for region in result["regions"]}
        assert abs((medians.get("global") or 0.0) - 950.0) <= 3.0, f"{medians.get('global')} ms: {self}"
        assert not flagged or result["flags"], f"no flag: {self}"
        self.originals(5 if flagged else 8)

    def originals(self, least=8):
        """The pixels that came back are those of the file."""
        back = []
        with h5py.File(self.output) as output:
            for group in next(iter(output.values())).values():
                if isinstance(group, h5py.Group) and group["header"][0]["image_series_index"] == 1:
                    back += list(zip(group["header"][:], group["data"][:, 0, 0], strict=True))
        assert least <= len(back) <= 8, str(self)
        for head, pixels in back:
            values = pixels["real"] if pixels.dtype.names else pixels
            assert np.array_equal(values, PIXELS[head["set"]]), f"image {head['set']} was changed: {self}"

    def refused(self, *words):
        """One line that names what is wrong and where, each by a regular expression."""
        self.quiet()
        assert self.code == 1, str(self)
        lines = [line for line in self.errors.splitlines() if line.strip()]
        assert len(lines) == 1, f"{len(lines)} lines on standard error: {self}"
        assert lines[0].startswith("myostream: "), str(self)
        message = lines[0].replace(str(self._file), self._file.name)
        missing = [word for word in words if not re.search(word, message)]
        assert not missing, f"the message does not name {missing}: {self}"
        assert not self.results, str(self)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "case.h5"


@pytest.fixture
def replay(server, file, capfd, monkeypatch):
    """Run the command in this process, which spares its imports."""
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *options: Replay(server, file, *options, capfd=capfd)


def test_in_a_process_of_its_own(server, file):
    """HDF5 reports some errors when the process ends."""
    write(file)
    Replay(server, file).right()
    truncated(file.with_name("half.h5"))
    Replay(server, file.with_name("half.h5")).refused("HDF5")


@pytest.mark.parametrize("layout", CONVERTED.values(), ids=CONVERTED)
def test_read_as_the_library_converts(replay, file, layout):
    layout(file)
    replay().right()


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(replay, file, name):
    layout, *words = REFUSED[name]
    layout(file)
    replay().refused(*words)


@pytest.mark.parametrize("layout", UNEQUAL.values(), ids=UNEQUAL)
def test_members_of_unequal_length_are_read_as_far_as_they_go_or_refused(replay, file, layout):
    """What is left makes a right map that bears a flag."""
    layout(file)
    run = replay()
    if run.code == 0:
        run.right(flagged=True)
    else:
        run.refused("image_1", r"\b5\b")


@pytest.mark.parametrize("layout", EITHER.values(), ids=EITHER)
def test_images_without_attributes_pass_or_are_refused(replay, file, layout):
    """There is no time in them, and so no map; it is said either way."""
    layout(file)
    run = replay()
    run.quiet()
    assert not run.results, str(run)
    if run.code == 3:
        assert "time" in run.said, str(run)
        run.originals()
    else:
        run.refused("attributes|image_0|no images")


def test_one_of_two_groups_by_name(replay, file):
    two_dates(file)
    replay("--group", "2020-07-14 09:00:01").right()


def test_a_group_that_is_not_there(replay, file):
    write(file)
    replay("--group", "measurement").refused("dataset")
