"""Small apices: their sizes, their insertion points, and that the other slices do not notice them."""

import math

import pytest
import torch

from model.synthesis.anatomy import make_anatomy
from model.synthesis.apex import draw_small_apices
from model.synthesis.generator import make_batch
from model.synthesis.pathology import Pathology
from model.synthesis.randomness import Draw
from model.synthesis.tissues import Tissue

PIXEL_MM = 0.75


def apices(pathology=Pathology.NONE):
    """Small apices on a fine grid, and what was drawn of them."""
    draw = Draw(24, torch.Generator().manual_seed(21))
    small = draw_small_apices(Draw(24, torch.Generator().manual_seed(22)), 1.0)
    state = torch.full((24,), int(pathology))
    return make_anatomy(draw, 192, 192, PIXEL_MM, pathology=state, apices=small), small


@pytest.mark.parametrize("pathology", [Pathology.NONE, Pathology.APICAL_HCM, Pathology.DILATED])
def test_small_apices_are_as_large_as_drawn_in_any_disease(pathology):
    anatomy, small = apices(pathology)
    inner = anatomy.labels[:, 20:-20, 20:-20]
    whole = (inner > 0).sum((1, 2)) == (anatomy.labels > 0).sum((1, 2))
    assert whole.sum() > 12
    for value, radius in ((0, small.radius), (1, small.cavity)):
        area = ((anatomy.labels > 0) if value == 0 else (anatomy.labels == 1)).sum((1, 2))[whole]
        across = 2.0 * PIXEL_MM * torch.sqrt(area / math.pi)
        assert torch.allclose(across, 2.0 * radius[whole, 0, 0], rtol=0.2, atol=1.0)
    assert 9.0 < 2.0 * small.radius.min() < 13.0
    assert 22.0 < 2.0 * small.radius.max() < 26.0
    assert (anatomy.level == 1.0).all()


def test_insertion_points_are_where_the_right_ventricle_reaches_the_apex():
    anatomy, small = apices()
    there = small.right[:, 0, 0]
    assert there.any()
    assert not there.all()
    right = anatomy.fractions[:, Tissue.RV_BLOOD].amax((1, 2))
    assert (right[~there] < 0.05).all()
    assert anatomy.insertions[~there].isnan().all()
    y, x = (torch.arange(192)[:, None], torch.arange(192)[None])
    seen = [
        (labels, point)
        for labels, points in zip(anatomy.labels[there], anatomy.insertions[there], strict=True)
        for point in points
        if not point.isnan().any()
    ]
    assert seen
    for labels, (px, py) in seen:
        far = PIXEL_MM * torch.hypot(x - px, y - py)
        assert far[labels > 0].min() < 2.0
        assert far[labels == 0].min() < 2.0


def test_the_other_slices_are_the_same_without_small_apices():
    generators = [torch.Generator().manual_seed(3) for _ in "ab"]
    without, some = (
        make_batch(12, 96, each, apices=share) for each, share in zip(generators, (0.0, 0.4), strict=True)
    )
    same = torch.tensor([torch.equal(*pair) for pair in zip(without.labels, some.labels, strict=True)])
    assert same.any()
    assert not same.all()
    assert torch.equal(without.images[same], some.images[same])
    assert ((some.labels[~same] > 0).sum((1, 2)) * 1.5**2 < math.pi * 13.5**2).all()
    assert (some.level[~same] == 1.0).all()
    assert torch.equal(*(each.get_state() for each in generators))
