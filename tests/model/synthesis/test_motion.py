"""Simulated breathing: what is known of it must be true."""

import numpy as np
import pytest
import torch

from model.synthesis.examination import simulate_slice
from model.synthesis.motion import breathing, moved
from model.synthesis.randomness import Draw
from model.synthesis.sequences import Molli


@pytest.mark.parametrize("kind", ["rigid", "elastic"])
@pytest.mark.parametrize("images", [3, 8])
def test_the_heart_moves_by_the_stated_distance_and_the_rest_does_not(kind, images):
    heart = torch.zeros(160, 160, dtype=torch.bool)
    heart[60:100, 65:95] = True
    draw = Draw(1, torch.Generator().manual_seed(4))
    field = breathing(draw, [900.0 * number for number in range(images)], heart, 1.5, 12.0, kind)
    length = field.norm(dim=1)
    largest = length[:, heart].amax(dim=1)
    assert float(largest.max()) == pytest.approx(12.0, rel=1e-4)
    assert float(largest.min()) == pytest.approx(0.0, abs=1e-4)
    assert float(length[:, :2].max()) < 2.0
    if kind == "rigid":
        assert float(length[:, heart].std(dim=1).max()) < 0.01


def test_a_moved_image_shows_the_tissue_at_the_pixel_plus_the_displacement():
    image = torch.rand(1, 20, 30, generator=torch.Generator().manual_seed(1))
    field = torch.zeros(1, 2, 20, 30)
    field[:, 0], field[:, 1] = 3.0, -4.5  # mm, pixels of 1.5 mm
    shifted = moved(image, field, 1.5)
    assert torch.allclose(shifted[0, 3:, :-2], image[0, :-3, 2:], atol=1e-5)


def test_noise_and_truth_are_those_of_the_breath_hold():
    still, moving = (simulate_slice(5, size=96, usual=True, motion_mm=motion) for motion in (0.0, 8.0))
    assert still.molli_motion_mm is None
    for name in ("t1_ms", "t2_ms", "labels"):
        assert np.array_equal(getattr(still, name), getattr(moving, name))
    for images, same, motion in (
        (still.molli, moving.molli, moving.molli_motion_mm),
        (still.t2prep, moving.t2prep, moving.t2prep_motion_mm),
    ):
        assert motion.shape == (len(images), 2, 96, 96)
        rest = int(np.abs(motion).max(axis=(1, 2, 3)).argmin())
        assert np.allclose(images[rest], same[rest], atol=0.05)
        farthest = int(np.abs(motion).max(axis=(1, 2, 3)).argmax())
        assert np.abs(images[farthest] - same[farthest]).max() > 50.0


def test_heartbeats_of_a_scheme_include_its_rests():
    assert Molli.parse("5(3)3").beats() == [0, 1, 2, 3, 4, 8, 9, 10]
    assert Molli.parse("4(1)3(1)2").beats() == [0, 1, 2, 3, 5, 6, 7, 9, 10]
