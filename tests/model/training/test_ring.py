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


def test_the_share_of_small_apices_is_that_of_the_training() -> None:
    """A heart of 25 mm has the area of 218 pixels of 1.5 mm."""
    largest = []
    for share in (0.0, 1.0):
        ring = Ring(16, 96, torch.Generator().manual_seed(3), share)
        ring.make(16, MOSTLY_MAPS)
        largest.append(int((ring.draw(64).labels > 0).sum((1, 2)).max()))
    assert largest[1] < 400 < largest[0]


def test_the_oldest_slices_go() -> None:
    ring = Ring(4, 64, torch.Generator().manual_seed(3))
    ring.make(3)
    assert ring.held == 3
    ring.make(3)
    assert (ring.held, ring.made) == (4, 6)
