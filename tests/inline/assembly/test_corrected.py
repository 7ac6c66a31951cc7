"""Images as acquired beside those that the scanner corrected for motion."""

import pytest

from inline.assembly.assembler import SeriesAssembler
from inline.mrd.header import MeasurementHeader
from inline.settings import AssemblySettings

from .builders import TIMES, counted, feed, image, moco, molli, pixels_of


@pytest.mark.parametrize("index", [3, 4], ids=["one series", "two series"])
def test_raw_beside_motion_corrected_images_make_one_series_of_the_corrected(index):
    images = [each for s in range(3) for each in molli(slice_index=s)]
    images += [each for s in range(3) for each in moco(slice_index=s, image_series_index=index)]
    for order in (images, images[::-1], [*images[24:], *images[:24]]):
        _, everything = feed(order, counted(8), AssemblySettings())
        assert [each.motion_corrected for each in everything] == [True] * 3
        assert {each.identity.slice_index for each in everything} == {0, 1, 2}
        assert all("MOCO" in each.identity.description for each in everything)


@pytest.mark.parametrize("meta", [{"DataRole": ["Image", "MOCO"]}, {"SequenceDescriptionAdditional": "MOCO"}])
def test_corrected_images_named_as_a_map_whose_times_are_listed_are_a_twin(meta):
    header = MeasurementHeader(maxima={"set": 7}, inversion_times=tuple(map(str, TIMES["5(3)3"])))
    sent = [
        image(100.0 * series + k, {"SequenceDescription": "T1map_MOLLI"} | (meta if series > 3 else {}),
              set=k, image_series_index=series)
        for series in (3, 4)
        for k in range(8)
    ]  # fmt: skip
    for order in (sent, sent[8:] + sent[:8]):
        _, (only,) = feed(order, header, AssemblySettings())
        assert only.motion_corrected
        assert only.series.images.min() == 400.0


@pytest.mark.parametrize(
    ("motion", "corrected"), [("corrected", [True]), ("uncorrected", [False]), ("both", [False, True])]
)
def test_the_setting_decides_which_images_are_fitted(motion, corrected):
    assembler = SeriesAssembler(counted(8), AssemblySettings(motion=motion))
    ready = [each for one in (*molli(), *moco()) for each in assembler.add(one, 0.0)]
    assert [each.motion_corrected for each in ready] == corrected
    assert assembler.finish() == []
    assert sum(assembler.account().unused.values()) == 16 - 8 * len(corrected)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_corrected_images_of_a_repeated_t2_leave_the_first_acquisition(order):
    """Preparation times are the same in both; only the second acquisition is corrected by the scanner."""

    def series(index, start, value, **meta):
        return [
            image(
                value + k,
                {"SequenceDescription": "T2map", "T2PrepDuration": time, **meta},
                set=k,
                image_series_index=index,
                acquisition_time_stamp=start + 1600 * k,
            )
            for k, time in enumerate((0, 25, 55))
        ]

    sent = [series(1, 1000, 1.0), series(2, 61_000, 11.0), series(3, 61_000, 21.0, DataRole="MOCO")]
    settings = AssemblySettings(images=3)
    _, everything = feed([each for number in order for each in sent[number]], settings=settings)
    assert sorted(pixels_of(everything)) == [[1.0, 2.0, 3.0], [21.0, 22.0, 23.0]]


def test_a_series_as_acquired_waits_only_while_a_corrected_one_may_come():
    assembler = SeriesAssembler(counted(8), AssemblySettings(corrected_wait_s=1.0))
    assert [each for one in molli() for each in assembler.add(one, 0.0)] == []
    assert assembler.expire(0.5) == []
    assert len(assembler.expire(1.0)) == 1
    # This sender has shown that it sends none.
    assert len([each for one in molli(slice_index=1) for each in assembler.add(one, 2.0)]) == 1


@pytest.mark.parametrize("size", [12, 32])
def test_corrected_images_of_another_size_are_those_of_the_slice(size):
    waits = AssemblySettings(corrected_wait_s=80_000.0)
    corrected = molli(description="MOLLI_MOCO", image_series_index=4, shape=(size, size))
    _, ready = feed([*molli(), *corrected], settings=waits)
    assert [series.motion_corrected for series in ready] == [True]


def test_complete_series_still_wait_for_their_corrected_twin():
    """A file's series has no more images; the corrected ones may be another series of the file."""
    assembler = SeriesAssembler(MeasurementHeader(), AssemblySettings())
    assert [each for one in molli() for each in assembler.add(one, 0.0)] == []
    assert assembler.complete() == []
    corrected = molli(description="T1map_MOLLI_MOCO", image_series_index=4)
    assert [each for one in corrected for each in assembler.add(one, 0.0)] == []
    (ready,) = assembler.complete()
    assert ready.motion_corrected
    assert assembler.finish() == []
    assert sum(assembler.account().unused.values()) == 8
