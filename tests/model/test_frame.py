"""The network's frame and the way back from it, against analytic images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.frame import FRAME_MM, FRAME_PIXELS, Frame, normalise
from model.synthesis import generator

FRAMES = st.builds(
    Frame,
    st.tuples(st.integers(30, 400), st.integers(30, 400)),
    st.tuples(st.floats(0.6, 3.0), st.floats(0.6, 3.0)),
)


@given(FRAMES, st.floats(0, 223), st.floats(0, 223))
def test_points_come_back(frame: Frame, x: float, y: float) -> None:
    points = np.array([[x, y]])
    np.testing.assert_allclose(frame.to_frame_points(frame.to_image_points(points)), points, atol=1e-9)


def blob(shape: tuple[int, int], spacing: tuple[float, float], centre_mm: tuple[float, float]) -> np.ndarray:
    """A Gaussian of 12 mm whose centre is given in mm from the image's centre."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    dx = (x - (shape[1] - 1) / 2) * spacing[0] - centre_mm[0]
    dy = (y - (shape[0] - 1) / 2) * spacing[1] - centre_mm[1]
    return np.exp(-(dx**2 + dy**2) / (2 * 12.0**2)).astype(np.float32)


def centroid(image: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(x * image).sum(), (y * image).sum()]) / image.sum()


@pytest.mark.parametrize("shape", [(256, 256), (255, 192), (128, 301)])
@pytest.mark.parametrize("spacing", [(1.5, 1.5), (1.41, 1.41), (0.9, 2.1), (2.0, 1.0)])
def test_an_image_lands_where_its_points_do(shape: tuple[int, int], spacing: tuple[float, float]) -> None:
    frame, centre = Frame(shape, spacing), (11.0, -7.5)
    image = frame.to_frame(blob(shape, spacing, centre))
    expected = np.array(centre) / FRAME_MM + (FRAME_PIXELS - 1) / 2
    np.testing.assert_allclose(centroid(image), expected, atol=0.03)


@pytest.mark.parametrize("shape", [(256, 256), (255, 192), (128, 301)])
@pytest.mark.parametrize("spacing", [(1.5, 1.5), (0.9, 2.1), (2.0, 1.0)])
def test_values_of_the_frame_come_back_to_their_place(
    shape: tuple[int, int], spacing: tuple[float, float]
) -> None:
    centre = (11.0, -7.5)
    returned = Frame(shape, spacing).to_image(
        blob((FRAME_PIXELS, FRAME_PIXELS), (FRAME_MM, FRAME_MM), centre)
    )
    assert returned.shape == shape
    np.testing.assert_allclose(returned, blob(shape, spacing, centre), atol=0.01)


def test_beyond_the_frame_there_is_nothing() -> None:
    returned = Frame((400, 400), (1.5, 1.5)).to_image(np.ones((FRAME_PIXELS, FRAME_PIXELS)))
    assert returned[200, 200] == 1.0
    assert returned[0].max() == returned[:, -1].max() == 0.0


def test_same_grid_is_left_alone() -> None:
    image = np.random.default_rng(0).normal(size=(224, 224)).astype(np.float32)
    frame = Frame((224, 224), (1.5, 1.5))
    np.testing.assert_allclose(frame.to_frame(image), image, atol=1e-6)


def test_large_images_are_cropped_and_small_ones_padded() -> None:
    ones = np.ones((300, 100), np.float32)
    image = Frame((300, 100), (1.5, 1.5)).to_frame(ones)
    assert image[:, 62:162].min() == 1.0
    assert image[:, :61].max() == 0.0


def test_non_finite_pixels_become_zero() -> None:
    image = np.full((64, 64), np.nan, np.float32)
    image[10, 10] = np.inf
    assert np.array_equal(Frame((64, 64), (1.5, 1.5)).to_frame(image), np.zeros((224, 224)))


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (float("nan"), 1.0), (1.0, 1e6)])
def test_impossible_spacing_is_refused(spacing: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="no image has"):
        Frame((10, 10), spacing)


def test_normalisation_is_the_one_of_training() -> None:
    image = np.random.default_rng(0).gamma(2.0, size=(224, 224)).astype(np.float32)
    expected = generator.normalise_batch(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(normalise(image), expected, atol=1e-4)
    assert np.array_equal(normalise(np.full((224, 224), 3.0, np.float32)), np.zeros((224, 224)))
