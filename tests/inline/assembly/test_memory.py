"""Memory and account of the assembly."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.assembly import assembler as assembler_module
from inline.assembly.account import MEMORY, Account
from inline.assembly.assembled import Failed, Ready
from inline.assembly.assembler import SeriesAssembler
from inline.data.flags import Flag
from inline.data.memory import MemoryBudget
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageType
from inline.mrd.messages import Image
from inline.settings import AssemblySettings

from .builders import AT_ONCE, counted, feed, image, moco, molli, replace_type, t2prep


def test_a_connection_remembers_a_bounded_number_of_slices(monkeypatch):
    monkeypatch.setattr(assembler_module, "_REMEMBERED", 20)
    assembler = SeriesAssembler(MeasurementHeader(maxima={"set": 2}), AT_ONCE)
    for place in range(60):
        for each in t2prep(position=(0.0, 0.0, 10.0 * place)):
            assembler.add(each, float(place))
    assert assembler.account().series == 60
    assert max(len(each) for each in vars(assembler).values() if isinstance(each, dict | set)) <= 20


def test_every_image_is_accounted_for():
    others = [
        image(meta={"SequenceDescription": "cine_sax"}),
        image(meta={"GADGETRON_DataRole": "Gfactor"}),
        replace_type(image(), ImageType.PHASE),
        image(meta={"DataRole": "T1", "MYOSTREAM_RESULT": "{}"}),
        image(meta={"SequenceDescription": "PSIR", "InversionTime": 300.0}, image_series_index=7),
        replace(image(image_series_index=8), attributes=b"<no"),
    ]
    assembler = SeriesAssembler(counted(8), AT_ONCE)
    for each in (*others, *molli(), molli()[0]):
        assembler.add(each, 0.0)
    assembler.finish()
    account = assembler.account()
    assert (account.images, account.used, account.series) == (15, 8, 1)
    assert sum(account.unused.values()) == 7
    assert account.unused["sent twice"] == 1
    assert any("unreadable" in reason for reason in account.unused)
    assert any("Gfactor" in reason for reason in account.unused)
    assert account.images == account.used + sum(account.unused.values())


@settings(max_examples=60)
@given(st.lists(st.sampled_from(range(33)), max_size=80), st.booleans())
def test_the_account_always_adds_up(chosen, early):
    pool = [
        *(each for s in range(2) for each in molli(slice_index=s)),
        *moco(slice_index=0),
        *t2prep(image_series_index=2),
        *(image(meta={"SequenceDescription": "T1map"}, image_series_index=i) for i in range(4)),
        image(950.0, {"DataRole": "T1"}),
        image(950.0, {"GADGETRON_DataRole": "T1SD"}),
    ]
    assembler = SeriesAssembler(counted(8), AssemblySettings())
    for number, index in enumerate(chosen):
        assembler.add(pool[index], 0.2 * number)
        assembler.expire(0.2 * number)
        account = assembler.account()
        assert account.images == number + 1 == account.used + sum(account.unused.values())
    assembler.finish(early=early)
    account = assembler.account()
    assert account.images == len(chosen) == account.used + sum(account.unused.values())
    assert "waiting for the rest of their series" not in account.unused


# An image of the tests has 1 KiB of pixels, and 4 KiB are counted for what belongs to it.
EACH = 4096 + 1024 + 512
"""More than one image counts."""


def held(images, limit, settings=AT_ONCE, header=None, step=0.0):
    share = MemoryBudget(2 * limit, limit, connections=1000).connection()
    assembler = SeriesAssembler(header or counted(8), settings, share)
    ready, most = [], 0
    for number, each in enumerate(images):
        ready += assembler.add(each, step * number)
        most = max(most, share.held)
    return assembler, share, ready, most


def test_bytes_of_open_series_are_bounded_and_the_oldest_goes():
    opened = [each for index in range(10) for each in molli(slice_index=index)[:7]]
    limit = 20 * EACH
    assembler, share, ready, most = held(opened, limit, step=0.001)
    assert most <= limit
    assert ready == []
    assert assembler.refused > 0
    assert assembler.account().unused[MEMORY] == assembler.refused
    # The latest series are complete with their last image.
    last = molli(slice_index=9)[7]
    (complete,) = assembler.add(last, 1.0)
    assert isinstance(complete, Ready)
    assert Flag.MISSING_IMAGES not in complete.flags
    # The rest of one that was given up is no series.
    assert assembler.add(molli(slice_index=0)[7], 1.0) == []
    assembler.finish()
    assert share.held == 0
    account = assembler.account()
    assert account.images == 72 == account.used + sum(account.unused.values())


def test_a_series_that_is_larger_than_the_memory_is_never_fitted_from_its_rest():
    """Without a stated number of images its rest would be a map without a flag."""
    assembler, share, ready, most = held(molli(), 5 * EACH, header=MeasurementHeader())
    assert ready == [] == assembler.finish()
    assert assembler.refused == 8
    assert (share.held, most <= 5 * EACH) == (0, True)


def test_a_series_given_up_may_come_again_later():
    assembler, _, _, _ = held(molli(), 5 * EACH)
    assert [each for item in molli()[:4] for each in assembler.add(item, 100.0)] == []
    (again,) = assembler.finish()
    assert "missing-images" in again.flags


def test_memory_is_free_again_after_every_way_out_of_the_assembly():
    settings = AssemblySettings(corrected_wait_s=5.0, patience_s=10.0)
    assembler, share, _, _ = held([*molli(), *molli(slice_index=1)[:5]], 1 << 20, settings)
    assert share.held > 8 * 1024
    assert len(assembler.expire(6.0)) == 1  # the twin did not come
    assert share.held > 0
    assert len(assembler.expire(11.0)) == 1  # nor the other images
    assert share.held == 0


def test_series_that_wait_for_their_twin_go_on_where_there_is_no_room():
    settings = AssemblySettings(corrected_wait_s=50.0)
    assembler, share, ready, most = held(
        [each for index in range(6) for each in molli(slice_index=index)], 12 * EACH, settings
    )
    assert len(ready) >= 4
    assert most <= 12 * EACH
    assert assembler.refused == 0
    assert len(ready + assembler.finish()) == 6
    assert share.held == 0


def test_large_images_hold_no_pixels_and_are_reported():
    settings = AssemblySettings(fitted_pixels=64 * 64, corrected_wait_s=0.0)
    big = [replace_shape(each, (65, 64)) for each in molli()]
    assembler, _, ready, most = held(big, 1 << 20, settings)
    (only,) = ready
    assert isinstance(only, Failed)
    assert "65 x 64 pixels" in only.error
    assert "assembly.fitted_pixels" in only.error
    assert most < 8 * (4096 + 512)
    (fits,) = held([replace_shape(each, (64, 64)) for each in molli()], 1 << 20, settings)[2]
    assert isinstance(fits, Ready)
    assert assembler.add(big[0], 9.0) == []  # sent again


def test_series_of_too_many_pixels_are_reported():
    settings = AssemblySettings(fitted_values=5 * 32 * 32, corrected_wait_s=0.0)
    _, share, ready, most = held([replace_shape(each, (32, 32)) for each in molli()], 1 << 20, settings)
    (only,) = ready
    assert "8 images of 32 x 32 pixels" in only.error
    assert "assembly.fitted_values" in only.error
    assert most < 5 * (4096 + 4096 + 512) + 3 * (4096 + 512)
    assert share.held == 0


def test_a_large_map_of_the_scanner_is_reported():
    scan = image(1000.0, {"GADGETRON_DataRole": "T1"}, shape=(65, 64))
    (only,) = feed([scan], settings=AssemblySettings(fitted_pixels=64 * 64))[1]
    assert "assembly.fitted_pixels" in only.error


def replace_shape(each, shape):
    pixels = np.full((1, 1, *shape), float(each.pixels.flat[0]), np.float32)
    return Image.from_pixels(pixels, each.header, each.meta())


def test_reasons_that_quote_the_sender_are_bounded_in_number():
    total = Account(0, 0, 0, {})
    for each in range(3):
        assembler = SeriesAssembler(MeasurementHeader(), AT_ONCE)
        for number in range(200):
            assembler.add(image(meta={"GADGETRON_DataRole": f"Role{each}-{number}"}), 0.0)
        total += assembler.account()
    assert total.images == sum(total.unused.values()) == 600
    assert len(total.unused) == 65
    assert total.unused["for further reasons"] == 600 - 64
