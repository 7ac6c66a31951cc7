import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        assert opened.header == b"<ismrmrdHeader/>"
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


@settings(max_examples=20, deadline=None)
@given(stamps=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6))
def test_images_come_in_the_order_of_their_time_stamps(stamps, tmp_path_factory):
    file = tmp_path_factory.mktemp("order") / "a.h5"
    write_images(file, "", [image(series=1 + n % 2, stamp=stamp, seed=n) for n, stamp in enumerate(stamps)])
    with ImageFile(file) as opened:
        read = [each.header.acquisition_time_stamp for each in opened.images()]
    assert read == sorted(stamps)


def test_errors_name_the_file_and_the_groups(tmp_path):
    (tmp_path / "text").write_text("no")
    with pytest.raises(FileError, match="not a readable HDF5 file"):
        ImageFile(tmp_path / "text")
    with h5py.File(tmp_path / "two.h5", "w") as made:
        made.create_group("a")
        made.create_group("b")
    with pytest.raises(FileError, match="groups a, b"):
        ImageFile(tmp_path / "two.h5")
    with ImageFile(tmp_path / "two.h5", "b") as opened:
        assert len(opened) == 0
