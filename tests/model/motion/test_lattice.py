"""Working grid of the registration: its place in the image."""

import numpy as np
import pytest

from model.motion.lattice import Lattice

IMAGES = [((128, 128), (1.5, 1.5)), ((192, 160), (1.4, 1.4)), ((101, 76), (1.8, 2.1))]


@pytest.mark.parametrize(("shape", "spacing"), IMAGES)
def test_the_window_holds_the_pixels_between_the_outermost_working_pixels(shape, spacing):
    """Both grids have the same middle; a working pixel is 3 mm wide."""
    lattice = Lattice.of(shape, spacing)
    for axis, part in enumerate(lattice.window):
        place = (np.arange(shape[axis]) - (shape[axis] - 1) / 2) * spacing[1 - axis]
        reach = 3.0 * (lattice.working_shape[axis] - 1) / 2
        assert np.arange(shape[axis])[part].tolist() == np.flatnonzero(np.abs(place) <= reach).tolist()


@pytest.mark.parametrize(("shape", "spacing"), IMAGES)
@pytest.mark.parametrize("nodes", [False, True])
def test_the_middle_is_a_disc_around_the_middle_of_the_image(shape, spacing, nodes):
    lattice = Lattice.of(shape, spacing)
    disc = lattice.middle(60.0, nodes=nodes)
    assert disc.shape == (lattice.nodes if nodes else lattice.working_shape)
    assert np.array_equal(disc, disc[::-1])
    assert np.array_equal(disc, disc[:, ::-1])
    assert disc.sum() * (12.0 if nodes else 3.0) ** 2 == pytest.approx(np.pi * 60.0**2, rel=0.1)
