import re
import subprocess
import sys
from dataclasses import replace

import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ismrmrd.hdf5 import image_header_dtype

from inline.mrd.files import FileError, ImageFile, write_images
from inline.mrd.image_header import DATA_TYPES, ImageHeader
from inline.mrd.messages import Image


def image(dtype=np.float32, series=1, shape=(1, 1, 6, 5), stamp=0, meta=None, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    header = ImageHeader(image_series_index=series, acquisition_time_stamp=stamp, field_of_view=(5, 6, 8))
    return Image.from_pixels(pixels, header, meta or {"Name": "value", "Two": ["a", "b"]})


@pytest.mark.parametrize("number", sorted(DATA_TYPES))
def test_written_images_are_read_again_bit_for_bit(number, tmp_path):
    images = [image(DATA_TYPES[number], shape=(2, 3, 4, 5), seed=seed) for seed in range(3)]
    write_images(tmp_path / "a.h5", "<ismrmrdHeader/>", images)
    with ImageFile(tmp_path / "a.h5") as opened:
        assert opened.header_bytes == b"<ismrmrdHeader/>"
        assert opened.header == "<ismrmrdHeader/>"
        assert len(opened) == 3
        assert list(opened.images()) == images


@pytest.mark.parametrize("number", [n for n in sorted(DATA_TYPES) if n != 4])
def test_the_ismrmrd_package_reads_what_is_written(number, tmp_path):
    images = [image(DATA_TYPES[number], seed=seed) for seed in range(2)]
    write_images(tmp_path / "a.h5", "<ismrmrdHeader/>", images)
    dataset = ismrmrd.Dataset(str(tmp_path / "a.h5"), "dataset", create_if_needed=False)
    assert dataset.read_xml_header() == b"<ismrmrdHeader/>"
    assert dataset.number_of_images("image_1") == 2
    for place, ours in enumerate(images):
        theirs = dataset.read_image("image_1", place)
        assert np.array_equal(theirs.data, ours.pixels)
        assert theirs.meta["Two"] == ["a", "b"]
        assert bytes(theirs.getHead()) == ours.header.pack()
    dataset.close()


def test_what_the_ismrmrd_package_writes_is_read(tmp_path):
    dataset = ismrmrd.Dataset(str(tmp_path / "a.h5"), "dataset")
    dataset.write_xml_header(b"<ismrmrdHeader/>")
    theirs = []
    for number in range(2):
        made = ismrmrd.Image(data=np.full((1, 1, 4, 3), number, np.complex64))
        made.image_series_index = 5
        made.acquisition_time_stamp = 10 - number
        dataset.append_image("image_5", made)
        theirs.append(made)
    dataset.close()
    with ImageFile(tmp_path / "a.h5") as opened:
        images = list(opened.images())
    assert [image.header.acquisition_time_stamp for image in images] == [9, 10]
    assert [image.pixels[0, 0, 0, 0] for image in images] == [1, 0]
    assert images[1].header.pack() == bytes(theirs[0].getHead())


def test_a_series_of_several_sizes_becomes_several_groups(tmp_path):
    images = [image(shape=(1, 1, 4, 4)), image(shape=(1, 1, 8, 8)), image(np.uint16)]
    write_images(tmp_path / "a.h5", "", images)
    with h5py.File(tmp_path / "a.h5") as stored:
        assert len([name for name in stored["dataset"] if name.startswith("image_1")]) == 3
    with ImageFile(tmp_path / "a.h5") as opened:
        assert set(opened.images()) == set(images)


DAY = 86_400 * 400


@pytest.mark.parametrize(
    "stamps",
    [
        [DAY - 1500 + 400 * n for n in range(10)],
        [0, DAY - 400, DAY + 400],
        [DAY // 2 - 400, DAY // 2, DAY - 10],
        [400, DAY // 2 + 300],
        [400, DAY // 2 + 900, 3 * DAY],
    ],
    ids=["midnight", "one without a time", "one day", "a gap of less than half a day", "no times of one day"],
)
def test_images_after_midnight_come_last(stamps, tmp_path):
    wrapped = [stamp % DAY if stamp < 2 * DAY else stamp for stamp in stamps]
    images = [image(stamp=stamp, seed=n) for n, stamp in enumerate(wrapped)]
    write_images(tmp_path / "a.h5", "", images[::-1])
    with ImageFile(tmp_path / "a.h5") as opened:
        assert list(opened.images()) == images


@settings(max_examples=20)
@given(stamps=st.lists(st.integers(DAY, 2**32 - 1), min_size=1, max_size=6, unique=True))
def test_images_come_in_the_order_of_their_time_stamps(stamps, tmp_path_factory):
    file = tmp_path_factory.mktemp("order") / "a.h5"
    write_images(file, "", [image(series=1 + n % 2, stamp=stamp, seed=n) for n, stamp in enumerate(stamps)])
    with ImageFile(file) as opened:
        read = [each.header.acquisition_time_stamp for each in opened.images()]
    assert read == sorted(stamps)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ([1, 2, 3, 1, 2, 3], [0, 1, 2, 3, 4, 5]),
        ([1, 2, 3, 1, 3], [0, 1, 2, 3, 4]),
        ([1, 1, 1, 2, 2, 1], [0, 1, 2, 3, 4, 5]),
        ([3, 1, 2, 3, 1, 2], [1, 4, 2, 5, 0, 3]),
        ([DAY - 2, DAY - 1, 1, DAY - 2, DAY - 1, 1], [0, 1, 2, 3, 4, 5]),
        ([1, 2, 1, 2], [0, 1, 2, 3]),
        ([1, 2] * 3, [0, 2, 4, 1, 3, 5]),
        ([1, 2, 3] * 3, [0, 3, 6, 1, 4, 7, 2, 5, 8]),
        ([1, 1, 2] * 2 + [3, 4] * 3, [0, 1, 3, 4, 2, 5, 6, 8, 10, 7, 9, 11]),
    ],
    ids=[
        "twice",
        "one is lost",
        "one of each inversion",
        "out of order",
        "midnight",
        "two images twice",
        "two acquisitions in turn",
        "three acquisitions in turn",
        "in turn in one of two slices",
    ],
)
def test_images_of_equal_time_stamps_keep_the_order_in_which_they_lie(stored, read, tmp_path):
    images = [image(stamp=stamp, seed=n) for n, stamp in enumerate(stored)]
    write_images(tmp_path / "a.h5", "", images)
    with ImageFile(tmp_path / "a.h5") as opened:
        assert [images.index(each) for each in opened.images()] == read


def test_images_of_another_series_go_before_those_that_follow_a_fall(tmp_path):
    first = [image(stamp=stamp, seed=n) for n, stamp in enumerate([10, 30, 10, 30])]
    other = [image(series=2, stamp=stamp, seed=stamp) for stamp in (20, 40)]
    write_images(tmp_path / "a.h5", "", [*first, *other])
    with ImageFile(tmp_path / "a.h5") as opened:
        assert list(opened.images()) == [first[0], other[0], *first[1:], other[1]]


def test_errors_name_the_file_and_the_groups(tmp_path):
    (tmp_path / "text").write_text("no")
    with pytest.raises(FileError, match="not a readable HDF5 file"):
        ImageFile(tmp_path / "text")
    (tmp_path / "exam.mrd").write_bytes(b"yardl\x01\x00\x00\x00{}")
    with pytest.raises(FileError, match=r"exam\.mrd is an MRD 2 stream.*mrd_to_ismrmrd"):
        ImageFile(tmp_path / "exam.mrd")
    with pytest.raises(FileError, match=r"^there is no file .*none\.h5$"):
        ImageFile(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as made:
        made.create_group("a")
        made["data"] = np.zeros(3)
    for group in ("", "a", "foo"):
        with pytest.raises(FileError, match=r"other\.h5 is an HDF5 file, but holds no ISMRMRD images "):
            ImageFile(tmp_path / "other.h5", group)
    for root in ("a", "b"):
        stored(tmp_path / "two.h5", [image()], root=root)
    with h5py.File(tmp_path / "two.h5", "a") as made:
        made.create_group("empty")
    with pytest.raises(FileError, match="images in the groups a, b; name the one to read"):
        ImageFile(tmp_path / "two.h5")
    for group in ("foo", "empty"):
        with pytest.raises(FileError, match=rf"two\.h5 has no group '{group}' with images; it has: a, b$"):
            ImageFile(tmp_path / "two.h5", group)
    with ImageFile(tmp_path / "two.h5", "b") as opened:
        assert (len(opened), opened.notes) == (1, [])
    with pytest.raises(FileError, match=r"is a folder; an ISMRMRD file is given by its own name$"):
        ImageFile(tmp_path)


def test_groups_beside_dataset_are_noted(tmp_path):
    for root in ("b", "dataset", "a"):
        stored(tmp_path / "one.h5", [image()], root=root)
    with ImageFile(tmp_path / "one.h5") as opened:
        assert opened.name == "dataset"
        (note,) = opened.notes
    assert re.fullmatch(r"images in the groups a, b are not read; .*--group.*", note)
    with ImageFile(tmp_path / "one.h5", "dataset") as opened:
        assert opened.notes == []


def stored(file, images, *, name="image_1", data=None, header=None, attributes="vlen", root="dataset"):
    """A file by h5py alone; ``data``, ``header`` and ``attributes`` replace what the library would write."""
    with h5py.File(file, "a") as made:
        group = made.require_group(root)
        heads = np.frombuffer(b"".join(each.header.pack() for each in images), image_header_dtype)
        texts = [each.attributes for each in images]
        pixels = np.stack([each.pixels for each in images]) if data is None else data
        if isinstance(name, tuple):
            names, target = name, group
        else:
            names, target = ("header", "data", "attributes"), group.create_group(name)
        if header is not False:
            target.create_dataset(names[0], data=heads if header is None else header(heads))
        target.create_dataset(names[1], data=pixels)
        if attributes == "vlen":
            target.create_dataset(names[2], data=np.array(texts, h5py.string_dtype("ascii")))
        elif attributes is not None:
            target.create_dataset(names[2], data=attributes(texts))
    return file


def opened(file, group=""):
    with ImageFile(file, group) as reading:
        return list(reading.images()), reading.notes


@pytest.fixture
def three():
    return [image(np.uint16, seed=seed, stamp=seed) for seed in range(3)]


def pixels(images):
    return np.stack([each.pixels for each in images])


def big_endian(heads):
    return heads.astype(heads.dtype.newbyteorder(">"))


def reordered(heads):
    """Members in another order, wider, and with one that MRD does not know."""
    names = [*reversed(heads.dtype.names), "more"]
    wide = {"matrix_size": ("<i4", (3,)), "position": ("<f8", (3,)), "more": "<f8"}
    made = np.zeros(
        len(heads), [(name, wide.get(name, heads.dtype.fields.get(name, [None])[0])) for name in names]
    )
    for name in heads.dtype.names:
        made[name] = heads[name]
    return made


LAYOUTS = {
    "fixed length": {"attributes": lambda texts: np.array(texts, "S400")},
    "column": {"attributes": lambda texts: np.array(texts, h5py.string_dtype("ascii"))[:, None]},
    "utf-8": {"attributes": lambda texts: np.array(texts, h5py.string_dtype("utf-8"))},
    "older names": {"name": ("image_0.head", "image_0.img", "image_0.attrib")},
    "another prefix": {"name": "images_0"},
    "another root": {"root": "2020-07-13 14:43:18"},
    "root itself": {"root": "/"},
    "big-endian header": {"header": big_endian},
    "other members": {"header": reordered},
    "column of headers": {"header": lambda heads: heads[:, None]},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_other_layouts_are_read(layout, three, tmp_path):
    assert opened(stored(tmp_path / "a.h5", three, **layout)) == (three, [])


@pytest.mark.parametrize(
    ("change", "notes"),
    [
        (lambda data: data.astype(">u2"), 0),
        (lambda data: data[:, 0, 0], 0),
        (lambda data: data[:, 0], 0),
        (lambda data: data.astype("f8"), 1),
        (lambda data: data.astype("i4"), 1),
        (lambda data: data.astype("i8") + 0, 1),
        (lambda data: data + np.float32(0.25), 1),  # the HDF5 library cuts fractions off
    ],
)
def test_pixels_become_what_the_headers_state(change, notes, three, tmp_path):
    images, said = opened(stored(tmp_path / "a.h5", three, data=change(pixels(three))))
    assert images == three
    assert len(said) == notes
    assert all(note.startswith("dataset/image_1 (") and "uint16" in note for note in said)


@pytest.mark.parametrize(
    "dtype", ["c8", "c16", [("real", ">f4"), ("imag", ">f4")], [("real", "f8"), ("imag", "f8")]]
)
def test_complex_pixels_of_any_kind(dtype, tmp_path):
    made = [image(np.complex64, seed=seed) for seed in range(2)]
    data = pixels(made)
    if np.dtype(dtype).names:
        parts = np.zeros(data.shape, dtype)
        parts["real"], parts["imag"] = data.real, data.imag
        data = parts
    else:
        data = data.astype(dtype)
    assert opened(stored(tmp_path / "a.h5", made, data=data))[0] == made


def test_one_image_without_an_axis_for_several(three, tmp_path):
    assert opened(stored(tmp_path / "a.h5", three[:1], data=three[0].pixels[0, 0]))[0] == three[:1]


def test_missing_attributes_are_empty_ones(three, tmp_path):
    images, _ = opened(stored(tmp_path / "a.h5", three, attributes=None))
    assert [each.attributes for each in images] == [b""] * 3
    images, _ = opened(stored(tmp_path / "b.h5", three, attributes=lambda texts: np.array(texts[:1], "S400")))
    assert [each.attributes for each in images] == [three[0].attributes, b"", b""]


def test_a_file_that_broke_off_has_the_images_that_are_whole(three, tmp_path):
    images, notes = opened(stored(tmp_path / "a.h5", three, data=pixels(three)[:2]))
    assert images == three[:2]
    assert notes == ["dataset/image_1 (uint16, 2 x 1 x 1 x 6 x 5) has 3 headers; 2 images are read"]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"header": False}, "dataset/image_1 (uint16, 3 x 1 x 1 x 6 x 5) has no image headers"),
        ({"header": lambda heads: heads["flags"]}, "headers without channels, data_type, matrix_size"),
        ({"header": lambda heads: heads[["version", "channels"]]}, "headers without data_type, matrix_size"),
        (
            {"data": lambda data: data[..., :4]},
            "(uint16, 3 x 1 x 1 x 6 x 4) does not hold images of the size",
        ),
        (
            {"data": lambda data: data.swapaxes(3, 4)},
            "does not hold images of the size in its headers, 1 x 1 x 6 x 5",
        ),
        ({"data": lambda data: data / 200.0}, "(float64, 3 x 1 x 1 x 6 x 5) cannot become the uint16"),
        ({"data": lambda data: data - 300.0}, "without damage"),
        (
            {"data": lambda data: data.astype("u4") + 70000},
            "(uint32, 3 x 1 x 1 x 6 x 5) cannot become the uint16",
        ),
        ({"data": lambda data: data * np.float32("nan")}, "without damage"),
        ({"data": lambda data: data.astype("c8")}, "(complex64, 3 x 1 x 1 x 6 x 5) cannot be read"),
        ({"data": lambda data: data.astype("S3")}, "(text, 3 x 1 x 1 x 6 x 5) cannot be read"),
        (
            {"attributes": lambda texts: np.arange(3.0)},
            "dataset/image_1, attributes (float64, 3) cannot be read",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_it(layout, message, three, tmp_path):
    data = layout.pop("data", None)
    made = stored(tmp_path / "a.h5", three, data=None if data is None else data(pixels(three)), **layout)
    with pytest.raises(FileError) as caught:
        opened(made)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_spike_does_not_allow_other_pixels_to_be_damaged(tmp_path):
    large = image(np.uint16, shape=(1, 1, 32, 32))
    data = np.random.default_rng(1).random((1, 1, 1, 32, 32), np.float32)  # 0 to 1, which whole numbers lose
    data[..., 0, 0] = 60_000.0
    with pytest.raises(FileError, match="without damage"):
        opened(stored(tmp_path / "a.h5", [large], data=data))
    data = np.rint(1000.0 * data) + np.float32(0.25)
    data[..., 0, 0] = 60_000.0
    (only,), _ = opened(stored(tmp_path / "b.h5", [large], data=data))
    assert np.array_equal(only.pixels, np.floor(data[0]))


def test_an_unknown_pixel_type_is_named(three, tmp_path):
    def unknown(heads):
        changed = heads.copy()
        changed["data_type"] = 9
        return changed

    with pytest.raises(FileError, match=r"dataset/image_1 \(uint16, 3 x .* pixel type 9; MRD has 1 to 8"):
        opened(stored(tmp_path / "a.h5", three, header=unknown))


def test_what_is_no_image_is_passed_over(three, tmp_path):
    file = stored(tmp_path / "a.h5", three)
    with h5py.File(file, "a") as made:
        made.create_group("dataset/image_2")
        made["dataset/config"] = "mapping"
        made["dataset/image_1/note"] = 1
        made["dataset/data"] = np.zeros(2, [("head", "<u2"), ("data", "<f4")])
        made["dataset/gone"] = h5py.SoftLink("/nowhere")
    assert opened(file) == (three, [])


def test_the_only_group_with_images_is_read(three, tmp_path):
    file = stored(tmp_path / "a.h5", three, root="2020-07-14 09:00:01")
    with h5py.File(file, "a") as made:
        made["dataset/data"] = np.zeros(2, [("head", "<u2"), ("data", "<f4")])
    assert opened(file) == (three, [])
    stored(file, three[:1], root="2020-07-15 09:00:01")
    with pytest.raises(FileError, match="name the one to read"):
        opened(file)
    assert opened(file, "2020-07-15 09:00:01") == (three[:1], [])


@pytest.mark.parametrize(
    ("header", "images", "group"),
    [
        ("dataset", "dataset", "dataset"),
        ("exam/dataset", "exam/dataset/image_1", "exam/dataset"),
        ("dataset", "dataset/images/image_1", "dataset/images"),
        ("exam", "exam/a/b/image_1", "exam/a/b"),
    ],
)
def test_a_group_of_any_depth_with_the_header_in_it_or_above(header, images, group, tmp_path):
    """As ``ismrmrd.File`` writes them."""
    xml = ismrmrd.xsd.ismrmrdHeader(
        experimentalConditions=ismrmrd.xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_870_000)
    )
    made = [ismrmrd.Image.from_array(np.full((4, 3), n, np.uint16)) for n in range(2)]
    with ismrmrd.File(str(tmp_path / "a.h5")) as output:
        output[header].header = xml
        output[images].images = made
    for named in ("", group):
        with ImageFile(tmp_path / "a.h5", named) as reading:
            assert "<H1resonanceFrequency_Hz>63870000<" in re.sub(r"\w+:", "", reading.header)
            assert [each.pixels.flat[0] for each in reading.images()] == [0, 1]
            assert (reading.name, reading.notes) == (group, [])


def test_groups_that_each_have_images_and_their_header_are_not_one(three, tmp_path):
    for number, root in enumerate(("first", "second")):
        file = stored(tmp_path / "a.h5", three[number : number + 1], root="/", name=root)
        with h5py.File(file, "a") as made:
            made[f"{root}/xml"] = f"<{root}/>"
    with pytest.raises(FileError, match="images in the groups first, second; name the one to read"):
        ImageFile(file)
    with ImageFile(file, "second") as reading:
        assert (list(reading.images()), reading.header) == (three[1:2], "<second/>")


@pytest.mark.parametrize("repeated", [{1}, {1, 2}])
def test_groups_that_repeat_the_header_above_them_are_sets_of_it(repeated, three, tmp_path):
    for number in (1, 2):
        file = stored(tmp_path / "a.h5", three[number : number + 1], name=f"image_{number}")
    with h5py.File(file, "a") as made:
        made["dataset/xml"] = "<above/>"
        for number in repeated:
            made[f"dataset/image_{number}/xml"] = "<own/>"
    for named in ("", "dataset"):
        with ImageFile(file, named) as reading:
            assert (list(reading.images()), reading.notes) == (three[1:], [])
            assert reading.header == "<above/>"
    assert opened(file, "dataset/image_1") == (three[1:2], [])


@pytest.mark.parametrize("root", ["dataset", "exam", "exam/a"])
def test_groups_with_their_header_beside_those_without_are_noted(root, three, tmp_path):
    for number in (1, 2):
        file = stored(tmp_path / "a.h5", three[number : number + 1], root=root, name=f"image_{number}")
    with h5py.File(file, "a") as made:
        made[f"{root}/image_1/xml"] = "<own/>"
    note = f"{root}/image_1 has a header of its own and is not read; process or replay with --group reads it"
    assert opened(file, root) == (three[2:], [note])
    assert opened(file, f"{root}/image_1") == (three[1:2], [])


def test_groups_below_the_first_level_are_named(three, tmp_path):
    for root in ("exam/a", "exam/b"):
        file = stored(tmp_path / "a.h5", three, root=root)
    with h5py.File(file, "a") as made:
        made["exam/xml"] = "<a/>"
        made["exam/loop"] = h5py.SoftLink("/exam")
    with pytest.raises(FileError, match=r"images in the groups exam/a, exam/b.*; name the one to read"):
        ImageFile(file)
    with ImageFile(file, "exam/b") as reading:
        assert reading.header == "<a/>"
    # Those of the first level are read alone.
    stored(file, three[:1], root="other")
    assert opened(file) == (three[:1], [])


@pytest.mark.parametrize(
    "xml",
    [
        b"<a>\xf6</a>",
        np.array([b"<a>\xf6</a>"], h5py.string_dtype("ascii")),
        np.array([[b"<a>\xf6</a>"]], "S20"),
        np.frombuffer(b"<a>\xf6</a>", np.uint8),
    ],
    ids=["scalar", "one", "fixed", "bytes"],
)
def test_the_header_is_read_as_it_is_stored(xml, tmp_path):
    with h5py.File(stored(tmp_path / "a.h5", [image()]), "a") as made:
        made["dataset/xml"] = xml
    with ImageFile(tmp_path / "a.h5") as reading:
        assert reading.header_bytes == b"<a>\xf6</a>"
        assert reading.header == "<a>\u00f6</a>"
    with ImageFile(stored(tmp_path / "b.h5", [image()])) as reading:
        assert reading.header_bytes == b""


@pytest.mark.parametrize("limit", [100, 5_000, 40_000])
def test_a_full_disk_is_one_error_and_no_crash(limit, tmp_path):
    """A limit on the size of files stands for it. HDF5's own files crash the process at its exit."""
    file = tmp_path / "out.h5"
    file.write_text("earlier")
    program = (
        "import resource, sys, pathlib, numpy as np\n"
        "from inline.mrd.files import write_images\n"
        "from inline.mrd.image_header import ImageHeader\n"
        "from inline.mrd.messages import Image\n"
        "from model.output import OutputError\n"
        "pixels = np.ones((1, 1, 64, 64), np.uint16)\n"
        "images = [Image.from_pixels(pixels, ImageHeader(image_series_index=k % 3)) for k in range(30)]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try:\n"
        "    write_images(pathlib.Path(sys.argv[1]), '<a/>', images)\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", program, str(file), str(limit)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (said.returncode, said.stderr) == (0, "")
    assert (
        said.stdout == f"{file} could not be written: File too large; the earlier file of that name is kept\n"
    )
    assert file.read_text() == "earlier"
    assert [each.name for each in tmp_path.iterdir()] == ["out.h5"]


def test_a_file_that_is_written_over_is_whole_or_the_earlier_one(three, tmp_path):
    file = tmp_path / "out.h5"
    write_images(file, "<a/>", three, private=True)
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    with pytest.raises(KeyError):  # in the middle of the file
        write_images(
            file, "<a/>", [three[0], replace(three[1], header=replace(three[1].header, data_type=99))]
        )
    assert file.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["out.h5"]


def stated(file, *, header=2, attributes=2, shape=(1, 1, 8, 8)):
    """A file of some KB that states these sizes; nothing of them is stored."""
    heads = np.zeros(1, image_header_dtype)
    heads["data_type"], heads["channels"], heads["matrix_size"] = 5, shape[0], shape[:0:-1]
    with h5py.File(file, "w") as output:
        group = output.create_group("dataset/image_0")
        chunks = (1, *(min(size, 256) for size in shape))
        group.create_dataset("data", (2, *shape), "<f4", chunks=chunks)
        group.create_dataset("header", (header,), image_header_dtype, chunks=(1,), fillvalue=heads[0])
        group.create_dataset("attributes", (attributes,), "S100", chunks=(1,))
    assert file.stat().st_size < 100_000


def altered(file, change, name="data"):
    """Write the file of :func:`stated` with another dataset."""
    stated(file)
    with h5py.File(file, "r+") as output:
        group = output["dataset/image_0"]
        del group[name]
        change(group, name)
    return file


def test_texts_that_share_a_stored_text_count_each(tmp_path, monkeypatch):
    def write(group, name):
        texts = group.create_dataset(name, (1000,), h5py.string_dtype())
        texts[0], texts[1:] = "a" * 2**20, "b"
        write.at = texts.id.get_offset()

    file = altered(tmp_path / "a.h5", write, "attributes")
    raw = bytearray(file.read_bytes())
    raw[write.at : write.at + 16_000] = raw[write.at : write.at + 16] * 1000
    file.write_bytes(raw)
    read = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda *a: (read.append(np.size(r := original(*a))), r)[1]
    )
    with pytest.raises(FileError, match=r"attributes .*its texts have more than 536870912 bytes"):
        ImageFile(file)
    assert 512 < sum(read) < 600  # of 1 MiB each


def test_chunks_that_are_unpacked_for_each_image_are_refused(tmp_path):
    """A chunk of 512 MiB with 64 images of 8 MiB."""
    heads = np.zeros(64, image_header_dtype)
    heads["data_type"], heads["channels"], heads["matrix_size"] = 1, 1, (2048, 2048, 1)
    for images, count, message in [(64, 64, "chunks of 536870912 bytes"), (128, 2, "chunks of 1073741824")]:
        with h5py.File(tmp_path / "a.h5", "w") as output:
            group = output.create_group("dataset/image_0")
            chunks, shape = (images, 1, 1, 2048, 2048), (count, 1, 1, 2048, 2048)
            group.create_dataset("data", shape, "<u2", chunks=chunks, maxshape=(None, *shape[1:]))
            group["header"] = heads[:count]
        with pytest.raises(FileError, match=message):
            ImageFile(tmp_path / "a.h5")


def test_values_of_other_files_are_not_read(tmp_path, three):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret!!" * 64)
    write_images(tmp_path / "other.h5", "<a/>", three)

    def external(group, name):
        group.create_dataset(name, (2, 1, 1, 8, 8), "<f4", external=[(str(secret), 0, 512)])

    def virtual(group, name):
        layout = h5py.VirtualLayout((2, 1, 1, 8, 8), "<f4")
        layout[:2] = h5py.VirtualSource(tmp_path / "other.h5", "dataset/image_1/data", (2, 1, 1, 8, 8))
        group.create_virtual_dataset(name, layout)

    for change in (external, virtual):
        with pytest.raises(FileError, match=r"image_0 .*its values lie in other files"):
            ImageFile(altered(tmp_path / "a.h5", change))
    for link in (h5py.ExternalLink(str(tmp_path / "other.h5"), "/dataset"), h5py.SoftLink("/away/dataset")):
        with h5py.File(tmp_path / "a.h5", "w") as output:
            output["away"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
            output["dataset"] = link
        for group in ("", "dataset", "away/dataset"):
            with pytest.raises(FileError, match=r"links into other files are not followed"):
                ImageFile(tmp_path / "a.h5", group)


def test_soft_links_within_a_file_are_followed(three, tmp_path):
    file = stored(tmp_path / "a.h5", three)
    with h5py.File(file, "a") as made:
        made["dataset/xml"] = "<a/>"
        made.create_group("far/away")
        for name in list(made["dataset"]):
            made.move(f"dataset/{name}", f"far/away/{name}")
            made[f"dataset/{name}"] = h5py.SoftLink(f"/far/away/{name}")
        made["dataset/one"], made["dataset/two"] = h5py.SoftLink("two"), h5py.SoftLink("one")
        made["dataset/image_9"] = h5py.ExternalLink("other.h5", "/dataset/image_1")
    with ImageFile(file) as found:
        assert (list(found.images()), found.header) == (three, "<a/>")
        assert found.notes == ["dataset/image_9 lies in another file, which is not read"]


def test_an_empty_text_is_none(three, tmp_path):
    file = stored(tmp_path / "a.h5", three)
    with h5py.File(file, "a") as made:
        made["dataset"].create_dataset("xml", data=h5py.Empty(h5py.string_dtype()))
    with ImageFile(file) as found:
        assert (list(found.images()), found.header) == (three, "")


def test_sizes_that_no_memory_holds_are_refused(tmp_path):
    file = tmp_path / "a.h5"
    stated(file)
    with ImageFile(file) as opened:
        assert len(list(opened.images())) == 2
    stated(file, header=1 << 40)
    with pytest.raises(FileError, match="1099511627776 elements; at most 1048576 images"):
        ImageFile(file)
    stated(file, attributes=1 << 40)
    with pytest.raises(FileError, match="109951162777600 bytes; at most 536870912"):
        ImageFile(file)
    stated(file, shape=(1, 1, 60_000, 60_000))
    with (
        ImageFile(file) as opened,
        pytest.raises(FileError, match="images of 14400000000 bytes; at most 536870912"),
    ):
        next(opened.images())


def test_reading_leaves_the_warning_filters_of_the_program():
    """The library sets a filter when it is imported."""
    script = (
        "import numpy, warnings; warnings.simplefilter('error'); first = warnings.filters[0]; "
        "import inline.mrd.files, inline.replay.simulate; assert warnings.filters[0] == first"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
