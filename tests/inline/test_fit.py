import numpy as np
import pytest

from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.series import MappingSeries, Quantity, SeriesIdentity
from inline.fit import NotFittedError, check_images


@pytest.mark.parametrize(
    ("times", "molli"),
    [
        (np.linspace(100.0, 3700.0, 5), True),
        (np.linspace(100.0, 3700.0, 25), False),
        # 5(3)3 without its first image: of the two inversions, one has no short time.
        (np.array([260.0, 1180.0, 1260.0, 2180.0, 2260.0, 3180.0, 4180.0]), True),
    ],
)
def test_images_that_recover_from_saturation_may_be_of_a_molli_that_lacks_others(times, molli):
    number = len(times)
    signal = 100.0 * (1.0 - np.exp(-times / 900.0))
    images = np.broadcast_to(signal[:, None, None], (number, 64, 64)).astype(np.float32)
    geometry = SliceGeometry.unoriented((1.5, 1.5), (64, 64))
    series = MappingSeries(Quantity.T1, images, times, geometry, SeriesIdentity(0, 0))
    with pytest.raises(NotFittedError, match="recovers from saturation") as raised:
        check_images(series)
    assert (f"images of MOLLI are missing: {number} came" in str(raised.value)) == molli


@pytest.mark.parametrize("flat", [0, 1, 7])
@pytest.mark.parametrize("scaled", [False, True])
def test_saturation_recovery_is_not_fitted_where_an_image_holds_no_signal(flat, scaled):
    times = np.linspace(100.0, 3700.0, 8)
    images = 100.0 * np.broadcast_to(1.0 - np.exp(-times / 900.0)[:, None, None], (8, 64, 64))
    images = images * np.linspace(0.8, 1.2, 64)
    images[flat] = 0.0
    geometry = SliceGeometry.unoriented((1.5, 1.5), (64, 64))
    flags = (Flag.SCALED_IMAGES,) if scaled else ()
    series = MappingSeries(
        Quantity.T1, images.astype(np.float32), times, geometry, SeriesIdentity(0, 0), flags=flags
    )
    with pytest.raises(NotFittedError, match="recovers from saturation"):
        check_images(series)
