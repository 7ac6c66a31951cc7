"""Slices from the ring against their own truth."""

import torch

from model.synthesis.contrast import MOSTLY_MAPS
from model.synthesis.generator import Batch
from model.training import ring as module
from model.training.ring import Ring


def test_a_slice_moves_with_its_labels_and_points(monkeypatch) -> None:
    made = module.make_batch(4, 96, torch.Generator().manual_seed(2))
    # Labels as the image and points in the middle of their cavity: after any change they must still agree.
    cavity = (made.labels == 1).float()
    grid = torch.arange(96.0)
    middle = (
        torch.stack([(cavity.sum(1) * grid).sum(1), (cavity.sum(2) * grid).sum(1)], dim=1)
        / cavity.sum((1, 2)).clamp(min=1.0)[:, None]
    )
    labelled = Batch(
        made.images,
        cavity,
        made.labels,
        made.kinds,
        made.level,
        made.pathology,
        middle[:, None].expand(4, 2, 2),
    )
    monkeypatch.setattr(module, "make_batch", lambda *_, **__: labelled)
    ring = Ring(8, 96, torch.Generator().manual_seed(3))
    ring.make(4)
    slices = ring.draw(32)
    assert slices.images.shape == (32, 1, 96, 96)
    assert torch.allclose(slices.images.mean((1, 2, 3)), torch.zeros(32), atol=0.05)
    for image, labels, points in zip(slices.images[:, 0], slices.labels, slices.insertions, strict=True):
        inside = labels == 1
        if not inside.any() or points.isnan().any() or inside[[0, -1]].any() or inside[:, [0, -1]].any():
            continue
        assert image[inside].mean() > image[~inside].mean() + 1.0
        y, x = torch.nonzero(inside, as_tuple=True)
        assert torch.hypot(x.float().mean() - points[0, 0], y.float().mean() - points[0, 1]) < 1.0


def test_the_share_of_small_apices_is_that_of_the_training(monkeypatch) -> None:
    """A heart of 25 mm has the area of 218 pixels of 1.5 mm."""
    monkeypatch.setattr(module, "_MAGNIFIED", 0.0)
    monkeypatch.setattr(module, "_ELSEWHERE", 0.0)
    largest = []
    for share in (0.0, 1.0):
        ring = Ring(16, 96, torch.Generator().manual_seed(3), share)
        ring.make(16, MOSTLY_MAPS)
        largest.append(int((ring.draw(64).labels > 0).sum((1, 2)).max()))
    assert largest[1] < 400 < largest[0]


def test_half_of_the_small_hearts_are_magnified_about_their_centre(monkeypatch) -> None:
    """To 38 mm, by a factor of at most 3; a turn of the dice scales by 0.8 to 1.2 besides."""
    monkeypatch.setattr(module, "_ELSEWHERE", 0.0)
    ring = Ring(16, 128, torch.Generator().manual_seed(3), apices=1.0)
    ring.make(16, MOSTLY_MAPS)
    hearts = ring.draw(200).labels > 0
    across = 1.5 * (4.0 / torch.pi * hearts.sum((1, 2))).sqrt()
    assert 0.35 < (across > 31.0).float().mean() < 0.65
    assert across.max() < 38.0 * 1.35
    large = hearts[across > 31.0].float()
    at = torch.arange(128.0) - 63.5
    x, y = ((large.sum(axis) * at).sum(1) / large.sum((1, 2)) for axis in (1, 2))
    # The largest shift is 6.4 pixels of the slice, magnified by at most 3.
    assert torch.hypot(x, y).max() < 6.4 * 3 * 1.42 * 1.2


def test_a_magnified_part_elsewhere_mostly_holds_no_heart(monkeypatch) -> None:
    monkeypatch.setattr(module, "_ELSEWHERE", 1.0)
    ring = Ring(8, 224, torch.Generator().manual_seed(3))
    ring.make(8, MOSTLY_MAPS)
    there = (ring.draw(32).labels > 0).any(dim=(1, 2))
    assert 0.1 < there.float().mean() < 0.9


def test_the_oldest_slices_go() -> None:
    ring = Ring(4, 64, torch.Generator().manual_seed(3))
    ring.make(3)
    assert ring.held == 3
    ring.make(3)
    assert (ring.held, ring.made) == (4, 6)
