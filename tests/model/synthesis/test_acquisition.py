"""Effects of scanner and archive on synthetic images."""

import torch

from model.synthesis.acquisition import degrade, present, resolved
from model.synthesis.randomness import Draw

N, SIZE = 400, 96
LABELS = torch.zeros(N, SIZE, SIZE, dtype=torch.int64)
LABELS[:, 40:60, 40:60] = 2
LABELS[:, 46:54, 46:54] = 1


def draw() -> Draw:
    return Draw(N, torch.Generator().manual_seed(3))


def test_bands_are_few_and_keep_clear_of_the_heart() -> None:
    """Nothing but bands darkens a map without structure: maps get no noise, and blur and ghosts keep it."""
    kinds = torch.zeros(N, dtype=torch.int64)
    dark = degrade(draw(), torch.ones(N, SIZE, SIZE), kinds, LABELS, 1.5) < 0.9
    banded = dark.any(dim=2).any(dim=1)
    assert 0.02 < banded.float().mean() < 0.15
    elsewhere = dark[banded][LABELS[banded] == 0].float().mean()
    heart = dark[banded][LABELS[banded] > 0].float().mean()
    assert heart < 0.25 * elsewhere
    # At most a line or two across: half a cycle is seldom passed twice.
    assert elsewhere < 0.3


def test_a_field_of_view_never_cuts_the_heart() -> None:
    image = torch.rand(N, SIZE, SIZE, generator=torch.Generator().manual_seed(4)) * 800.0 + 400.0
    kinds = torch.zeros(N, dtype=torch.int64)
    shown = present(draw(), image, kinds, LABELS)
    assert (shown[LABELS > 0] > 0).all()
    assert (shown == 0).any()


def test_degraded_images_are_finite() -> None:
    kinds = torch.arange(N) % 6
    degraded = degrade(draw(), torch.rand(N, SIZE, SIZE), kinds, LABELS, 1.5)
    assert degraded.shape == (N, SIZE, SIZE)
    assert torch.isfinite(degraded).all()


def test_voxels_keep_the_mean_and_lose_what_is_finer_than_they_are() -> None:
    n = 80
    some = Draw(n, torch.Generator().manual_seed(3))
    plain = resolved(some, torch.full((n, 1, SIZE, SIZE), 3.0), 1.5)
    torch.testing.assert_close(plain, torch.full_like(plain, 3.0))
    stripes = (torch.arange(SIZE) % 2 * 2.0 - 1.0).expand(n, 1, SIZE, SIZE)
    left = resolved(some, stripes, 1.5)[:, 0, 20:-20, 20:-20].abs().mean((1, 2))
    assert left.max() < 1.1
    # Voxels of more than two pixels hold none of it, those of less than one nearly all.
    assert (left < 0.1).float().mean() > 0.2
    assert (left > 0.9).float().mean() > 0.2
