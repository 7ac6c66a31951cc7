"""Small hearts are computed again, magnified, and come back to their place; other slices stay as they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.engines import magnifying
from model.engines.magnifying import MagnifyingEngine
from model.frame import FRAME_PIXELS

HEAT = 0.4


@pytest.fixture(scope="module", autouse=True)
def grey_levels_kept():
    """Normalisation would clip the few pixels of a ring on a plain background."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(magnifying, "normalise", lambda image: image)
        yield


class RingEngine:
    """Finds cavity and wall of rings, of 3 and 1 on a background of 0."""

    name = "ring"

    def __init__(self):
        self.batches = []

    def infer(self, images):
        self.batches.append(len(images))
        return np.stack([self._one(image) for image in images])

    def _one(self, image):
        output = np.zeros((5, *image.shape), np.float32)
        output[1], output[2] = image > 2.0, (image > 0.5) & (image <= 2.0)
        output[0] = 1.0 - output[1] - output[2]
        output[3:] = HEAT
        return output


def ring(x, y, radius, inner=0.5):
    """Image of a ring at (x, y), its radius in pixels, drawn with the shares of its pixels."""
    down, right = np.mgrid[:FRAME_PIXELS, :FRAME_PIXELS]
    distance = np.hypot(right - x, down - y)
    heart, cavity = (np.clip(r - distance + 0.5, 0.0, 1.0) for r in (radius, inner * radius))
    return (heart + 2.0 * cavity).astype(np.float32)


def centre_and_area(mask):
    ys, xs = np.nonzero(mask)
    return np.array([xs.mean(), ys.mean()]), len(xs)


@given(st.floats(60.0, 160.0), st.floats(60.0, 160.0), st.floats(4.0, 11.5))
def test_a_small_heart_comes_back_to_its_place_and_size(x, y, radius):
    network = RingEngine()
    output = MagnifyingEngine(network).infer(ring(x, y, radius)[None])[0]
    assert network.batches == [1, 1]
    for found, truth in ((output[0] < 0.5, radius), (output[1] > 0.5, radius / 2)):
        centre, area = centre_and_area(found)
        assert centre == pytest.approx([x, y], abs=0.6)
        assert np.sqrt(area / np.pi) == pytest.approx(truth, abs=0.6)
    assert output[:3].sum(axis=0) == pytest.approx(1.0, abs=1e-5)


def test_the_heart_of_the_magnified_pass_is_larger():
    seen = []

    class Recorder(RingEngine):
        def infer(self, images):
            output = super().infer(images)
            seen.append(int((output[0, 0] < 0.5).sum()))
            return output

    MagnifyingEngine(Recorder()).infer(ring(100, 90, 6.0)[None])
    # 18 mm become 38 mm.
    assert np.sqrt(seen[1] / seen[0]) == pytest.approx(38 / 18, rel=0.1)


def test_other_slices_take_one_pass_and_keep_their_output():
    """Three slices of a batch; a disc of 45 mm has a radius of 15 pixels."""
    images = np.stack([ring(110, 110, 30.0), ring(80, 120, 6.0), ring(110, 110, 15.5)])
    alone, network = RingEngine().infer(images), RingEngine()
    output = MagnifyingEngine(network).infer(images)
    assert network.batches == [3, 1]
    np.testing.assert_array_equal(output[[0, 2]], alone[[0, 2]])


@given(st.floats(40.2, 44.8))
def test_nearly_large_hearts_are_replaced_in_part(diameter):
    """The magnified pass of this engine finds a cavity of a few rows."""

    class Slit(RingEngine):
        def infer(self, images):
            output = super().infer(images)
            if len(self.batches) == 2:
                output[:, 2] += output[:, 1]
                output[:, 1, :109] = output[:, 1, 114:] = 0.0
                output[:, 2] -= output[:, 1]
            return output

    image = ring(110, 110, diameter / 3.0, 0.8)[None]
    first, output = RingEngine().infer(image)[0], MagnifyingEngine(Slit()).infer(image)[0]
    seen = 1.5 * np.sqrt(4.0 / np.pi * (first[0] < 0.5).sum())
    at = (round(110 - 0.55 * diameter / 3.0), 110)
    assert first[1][at] == 1.0
    assert output[1][at] == pytest.approx(min(1.0, max(0.0, 1.0 - (45.0 - seen) / 5.0)), abs=1e-5)
    assert output[:3].sum(axis=0) == pytest.approx(1.0, abs=1e-5)


def test_a_heart_that_the_magnified_pass_does_not_find_stays():
    class Once(RingEngine):
        def infer(self, images):
            output = super().infer(images)
            if len(self.batches) > 1:
                output[:, :3] = np.array([1.0, 0.0, 0.0])[:, None, None]
            return output

    image = ring(110, 90, 7.0)[None]
    np.testing.assert_array_equal(MagnifyingEngine(Once()).infer(image), RingEngine().infer(image))


def test_parts_beside_the_window_are_background_after_a_magnified_pass():
    """Else the contour search would take the larger one of two hearts, of which one lies far away."""
    network = RingEngine()
    image = ring(60, 60, 8.0) + ring(200, 200, 5.0)
    output = MagnifyingEngine(network).infer(image[None])[0]
    assert (output[0, :100, :100] < 0.5).any() != (output[0, 150:, 150:] < 0.5).any()


def test_a_heart_is_looked_for_where_the_first_pass_shows_one_faintly():
    class Faint(RingEngine):
        def _one(self, image):
            output = super()._one(image)
            if len(self.batches) == 1:
                output[1:3] *= 0.3
                output[0] = 1.0 - output[1] - output[2]
            return output

    output = MagnifyingEngine(Faint()).infer(ring(140, 100, 7.0)[None])[0]
    assert centre_and_area(output[0] < 0.5)[0] == pytest.approx([140, 100], abs=0.6)


def test_an_empty_image_takes_one_pass():
    network = RingEngine()
    flat = np.zeros((1, FRAME_PIXELS, FRAME_PIXELS), np.float32)
    assert (MagnifyingEngine(network).infer(flat)[0, 0] == 1.0).all()
    assert network.batches == [1]


def test_heat_maps_are_those_of_the_first_pass():
    output = MagnifyingEngine(RingEngine()).infer(ring(110, 110, 6.0)[None])[0]
    assert (output[3:] == np.float32(HEAT)).all()


def test_nan_is_returned_to_the_caller():
    class Broken(RingEngine):
        def _one(self, image):
            return np.full((5, *image.shape), np.nan, np.float32)

    network = Broken()
    assert np.isnan(MagnifyingEngine(network).infer(ring(110, 110, 6.0)[None])).all()
    assert network.batches == [1]


def test_the_clearer_of_two_places_is_taken():
    """The first pass finds a larger structure, the second one only the ring."""

    class Misled(RingEngine):
        def _one(self, image):
            output = super()._one(image)
            if len(self.batches) == 1:
                output[2, 40:56, 40:56] = 1.0
                output[0] = 1.0 - output[1] - output[2]
            return output

    network = Misled()
    output = MagnifyingEngine(network).infer(ring(150, 120, 6.0)[None])[0]
    assert network.batches == [1, 2]
    assert centre_and_area(output[0] < 0.5)[0] == pytest.approx([150, 120], abs=0.6)


@pytest.mark.parametrize("at", [1, 2])
def test_a_part_that_is_not_finite_is_not_hidden(at):
    class Broken(RingEngine):
        def _one(self, image):
            output = super()._one(image)
            if len(self.batches) == at:
                output[:, 5, 5] = np.nan
            return output

    engine, image = MagnifyingEngine(Broken()), ring(110, 110, 6.0)[None]
    if at == 1:
        assert np.isnan(engine.infer(image)).any()
    else:
        with pytest.raises(RuntimeError, match="not finite"):
            engine.infer(image)


def test_the_name_and_the_part_are_those_of_the_engine():
    network = RingEngine()
    engine = MagnifyingEngine(network)
    assert (engine.name, engine.parts) == ("ring", (network,))
