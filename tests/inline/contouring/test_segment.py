"""Network input of a map, and the way from a map to labels."""

import numpy as np
import pytest
import torch

from calibration.slices import MAPS
from inline.contouring.segment import contour_slice, network_input, segment
from inline.data.flags import Flag
from inline.data.results import Insertions
from inline.data.series import Quantity
from model.engines.openvino_engine import OpenVinoEngine, Precision
from model.engines.openvino_graph import build_model
from model.engines.torch_engine import TorchEngine
from model.frame import Frame
from model.relaxometry.parametric_map import ParametricMap
from model.synthesis.generator import make_batch
from model.weights import load_network, tensors_of

FRAME = Frame((224, 224), (1.5, 1.5))


def fitted(values, sd):
    return ParametricMap(values, sd, np.ones_like(values), np.zeros(values.shape, bool))


@pytest.fixture(scope="module")
def synthetic():
    """Output of torch and of OpenVINO in float32 for fresh slices, and their true insertion points."""
    batch, network = make_batch(8, 224, torch.Generator().manual_seed(8101), MAPS), load_network()
    engines = (TorchEngine(network), OpenVinoEngine(build_model(tensors_of(network)), Precision.F32))
    return [engine.infer(batch.images.numpy()) for engine in engines], batch.insertions.numpy()


def points_of(outputs):
    """Insertion points (x, y) in pixels, NaN where not found, ``(n, 2, 2)``."""
    found = [contour_slice(output, FRAME).insertions for output in outputs]
    return np.array(
        [
            [(point.x, point.y) if point else (np.nan, np.nan) for point in (each.anterior, each.inferior)]
            for each in found
        ]
    )


def test_insertion_points_of_synthetic_slices_are_found(synthetic):
    (output, _), truth = synthetic
    found = points_of(output)
    error_mm = 1.5 * np.linalg.norm(found - truth, axis=2)
    there = np.isfinite(truth).all(axis=2)
    assert there.mean() > 0.8
    assert np.isfinite(error_mm[there]).mean() >= 0.9
    assert np.nanmedian(error_mm) <= 3.0


def test_insertion_points_are_those_of_every_engine(synthetic):
    """The other ones have their gate."""
    (ours, theirs), _ = synthetic
    np.testing.assert_allclose(points_of(ours), points_of(theirs), atol=0.02)


@pytest.fixture
def values():
    return np.random.default_rng(0).uniform(900.0, 1100.0, (224, 224)).astype(np.float32)


@pytest.mark.parametrize(("share", "seen"), [(0.0, True), (0.29, True), (0.31, False), (2.0, False)])
def test_pixels_whose_deviation_is_above_three_tenths_are_zero(values, share, seen):
    quarter = np.s_[:112, :112]
    sd = np.zeros_like(values)
    sd[quarter] = share * values[quarter]
    expected = values.copy()
    if not seen:
        expected[quarter] = 0.0
    made = network_input(fitted(values, sd), Quantity.T1, FRAME)
    assert np.array_equal(made, FRAME.network_input(expected))


def test_pixels_without_a_fit_are_zero(values):
    failed = np.zeros(values.shape, bool)
    failed[:50] = True
    parametric = ParametricMap(values, np.zeros_like(values), np.ones_like(values), failed)
    expected = np.where(failed, np.float32(0.0), values)
    assert np.array_equal(network_input(parametric, Quantity.T1, FRAME), FRAME.network_input(expected))


@pytest.mark.parametrize(("quantity", "longest"), [(Quantity.T1, 3000.0), (Quantity.T2, 300.0)])
def test_times_longer_than_those_of_tissue_are_clipped(values, quantity, longest):
    values = values * np.float32(longest / 1000.0)
    values[:40] = np.linspace(0.98, 8.0, 224) * longest
    made = network_input(fitted(values, np.zeros_like(values)), quantity, FRAME)
    assert np.array_equal(made, FRAME.network_input(np.minimum(values, np.float32(longest))))
    lower = FRAME.network_input(np.minimum(values, np.float32(0.99 * longest)))
    assert not np.array_equal(made, lower)


def disc_at_the_edge(columns, pixel_mm, outside, drawn_to=-np.inf):
    """Segmentation of a disc of 37.5 mm whose left border lies that far, mm, beyond the image or the frame.

    The network draws it up to ``drawn_to`` from that edge, pixels of the frame.
    """
    frame = Frame((200, columns), (pixel_mm, 1.5))
    border = max(0.5 * (224 - columns * pixel_mm / 1.5), 0.0) - 0.5
    y, x = np.mgrid[:224, :224]
    drawn = np.clip(0.5 + x - (border + drawn_to), 0.0, 1.0)
    heart, cavity = (
        np.clip(0.5 + radius - np.hypot(x - (border + 25.0 - outside / 1.5), y - 100.0), 0.0, 1.0) * drawn
        for radius in (25.0, 17.0)
    )
    found = contour_slice(np.stack([1.0 - heart, cavity, heart - cavity]).astype(np.float32), frame)
    assert found.contours is not None
    return found, frame.to_frame_points(found.contours.epi)[:, 0].min() - border


@pytest.mark.parametrize(("columns", "pixel_mm"), [(224, 1.5), (240, 1.5), (224, 2.0), (140, 1.5), (70, 3.0)])
@pytest.mark.parametrize("outside", [-2.0, 2.0, 12.0])
def test_a_heart_beyond_the_image_or_the_frame_is_cut_off(columns, pixel_mm, outside):
    found, _ = disc_at_the_edge(columns, pixel_mm, outside)
    assert found.flags == ((Flag.CUT_OFF,) if outside > 0.0 else ())


@pytest.mark.parametrize(("columns", "pixel_mm"), [(200, 1.5), (140, 1.5), (70, 3.0)])
@pytest.mark.parametrize("outside", [4.0, 6.0])
def test_a_heart_whose_wall_is_drawn_along_the_inside_of_the_edge_is_cut_off(columns, pixel_mm, outside):
    found, distance = disc_at_the_edge(columns, pixel_mm, outside, 0.8)
    assert 0.3 < distance < 1.0
    assert found.flags == (Flag.CUT_OFF,)


def test_the_engine_receives_the_normalised_image_and_its_ring_lies_in_the_image(ring_engine):
    seen = []

    class Watched:
        name = "watched"

        def infer(self, images):
            seen.append(images)
            return ring_engine.infer(images)

    image = np.random.default_rng(1).uniform(0.0, 100.0, (128, 192)).astype(np.float32)
    found = segment(image, (3.0, 1.5), Watched())
    labels, contours, flags, insertions = found.labels, found.contours, found.flags, found.insertions
    assert np.array_equal(seen[0][0], Frame((128, 192), (3.0, 1.5)).network_input(image))
    assert flags == ()
    assert insertions == Insertions()
    assert labels.shape == (128, 192)
    # A radius of 20 frame pixels is 30 mm: 10 columns of 3 mm, 20 rows of 1.5 mm.
    assert np.ptp(contours.endo, axis=0) / 2 == pytest.approx([10.0, 20.0], abs=0.3)
    assert contours.endo.mean(axis=0) == pytest.approx([95.5, 63.5], abs=0.1)
