"""Synthetic slices: what every one of them must be, whatever the seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.synthesis.anatomy import loosened, make_anatomy
from model.synthesis.examination import simulate_slice
from model.synthesis.generator import make_batch, normalise_batch
from model.synthesis.heart import left_ventricle
from model.synthesis.pathology import Pathology
from model.synthesis.randomness import Draw
from model.synthesis.tissues import RELAXATION, Tissue


@given(seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_tissue_shares_fill_every_pixel(seed: int) -> None:
    anatomy = make_anatomy(Draw(2, torch.Generator().manual_seed(seed)), 96, 96, 1.5)
    assert torch.allclose(anatomy.fractions.sum(dim=1), torch.ones(2, 96, 96), atol=1e-4)
    assert anatomy.fractions.min() >= -1e-6


@given(seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_labels_lie_on_their_tissue(seed: int) -> None:
    anatomy = make_anatomy(Draw(4, torch.Generator().manual_seed(seed)), 128, 128, 1.5)
    muscle = anatomy.fractions[:, Tissue.MYOCARDIUM][anatomy.labels == 2]
    assert muscle.numel() > 0
    assert muscle.mean() > 0.6
    cavity = anatomy.labels == 1
    inside = anatomy.fractions[:, Tissue.LV_BLOOD] + anatomy.fractions[:, Tissue.MYOCARDIUM]
    assert inside[cavity].mean() > 0.95


def test_labels_divide_where_half_of_a_pixel_is_blood() -> None:
    """Beside the border of the cavity, one pixel inside and one outside hold half of the blood on average."""
    anatomy = make_anatomy(Draw(12, torch.Generator().manual_seed(8)), 160, 160, 1.5, 0.4, usual=True)
    blood = anatomy.fractions[:, Tissue.LV_BLOOD]
    cavity, wall = anatomy.labels == 1, anatomy.labels == 2
    beside = cavity[:, :, :-1] & wall[:, :, 1:]
    both = (blood[:, :, :-1][beside].mean() + blood[:, :, 1:][beside].mean()) / 2
    assert 0.35 < both < 0.6


def test_insertion_points_lie_where_the_right_ventricle_meets_the_left() -> None:
    anatomy = make_anatomy(Draw(16, torch.Generator().manual_seed(9)), 160, 160, 1.5, 0.4, usual=True)
    y, x = (torch.arange(160)[:, None], torch.arange(160)[None])
    for labels, fractions, points in zip(anatomy.labels, anatomy.fractions, anatomy.insertions, strict=True):
        (ax, ay), (ix, iy) = points.tolist()
        # Septum on the left, diaphragm below: the anterior point lies above the inferior one.
        assert ay < iy
        for px, py in ((ax, ay), (ix, iy)):
            far = torch.hypot(x - px, y - py)
            assert far[labels > 0].min() < 2.0
            assert far[labels == 0].min() < 2.0
            assert far[fractions[Tissue.RV_BLOOD] > 0.5].min() < 9.0
    far_away = make_anatomy(Draw(40, torch.Generator().manual_seed(9)), 96, 96, 1.5, 1.0)
    gone = far_away.fractions[:, Tissue.RV_BLOOD].amax((1, 2)) < 0.05
    assert gone.any()
    assert far_away.insertions[gone].isnan().all()


def thickness_mm(pathology, level):
    """Mean of the septal and of the lateral wall, mm, and radius of the cavity."""
    n = 40
    draw = Draw(n, torch.Generator().manual_seed(10))
    grid = (torch.arange(128) - 63.5) * 1.5
    u, v = (each.expand(n, 128, 128) for each in (grid[None, None], grid[None, :, None]))
    levels = torch.full((n, 1, 1), level)
    state = torch.full((n,), int(pathology))
    left = left_ventricle(draw, u, v, levels, state, usual=False, overload=torch.zeros(n, 1, 1), apices=None)
    return (
        float(left.wall[:, 63, 40].mean()),
        float(left.wall[:, 63, 87].mean()),
        float(left.cavity.mean()),
    )


def test_walls_are_as_thick_as_disease_makes_them() -> None:
    septal, lateral, radius = thickness_mm(Pathology.NONE, 0.3)
    assert 7.0 < septal < 10.5
    assert 7.0 < lateral < 10.5
    thick, other, _ = thickness_mm(Pathology.SEPTAL_HCM, 0.3)
    assert thick > 14.0
    assert other < 12.0
    assert thickness_mm(Pathology.APICAL_HCM, 0.9)[1] > 14.0
    assert thickness_mm(Pathology.APICAL_HCM, 0.2)[1] < 10.5
    dilated = thickness_mm(Pathology.DILATED, 0.3)
    assert dilated[2] > radius + 5.0
    assert dilated[1] < lateral


def gap_degrees(labels):
    """Largest angle around the cavity's centre without myocardium."""
    ys, xs = torch.nonzero(labels == 1, as_tuple=True)
    y, x = torch.nonzero(labels == 2, as_tuple=True)
    angles = torch.rad2deg(torch.atan2(y - ys.float().mean(), x - xs.float().mean())).sort().values
    return float(torch.diff(torch.cat([angles, angles[:1] + 360.0])).max())


def test_only_the_very_base_has_an_open_ring() -> None:
    def gaps(level, *, usual=False):
        draw = Draw(16, torch.Generator().manual_seed(5))
        labels = make_anatomy(draw, 160, 160, 1.5, level, usual=usual).labels
        return [gap_degrees(each) for each in labels if (each == 1).any()]

    base = gaps(0.02)
    assert 4 <= sum(gap > 15.0 for gap in base) <= 12
    assert max(gaps(0.4)) < 15.0
    assert max(gaps(0.02, usual=True)) < 15.0


def test_what_surrounds_the_heart_is_bent_and_the_heart_is_not() -> None:
    draw = Draw(4, torch.Generator().manual_seed(2))
    grid = (torch.arange(160) - 79.5) * 1.5
    u, v = (each.expand(4, 160, 160) for each in (grid[None, None], grid[None, :, None]))
    bent = torch.stack(loosened(draw, u, v, torch.full((4, 1, 1), 40.0))) - torch.stack([u, v])
    from_heart = torch.hypot(u, v)
    assert bent[:, from_heart < 40.0].abs().max() == 0.0
    assert bent[:, from_heart > 95.0].abs().mean() > 2.0


@given(seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_batches_are_finite_and_normalised(seed: int) -> None:
    batch = make_batch(4, 96, torch.Generator().manual_seed(seed))
    assert torch.isfinite(batch.images).all()
    assert set(batch.labels.unique().tolist()) <= {0, 1, 2}
    assert torch.allclose(batch.images.mean(dim=(1, 2)), torch.zeros(4), atol=1e-3)


def test_seed_fixes_the_batch() -> None:
    one, same, other = (make_batch(2, 96, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.labels, same.labels)
    assert not torch.equal(one.images, other.images)


def test_constant_image_normalises_to_zero() -> None:
    assert torch.equal(normalise_batch(torch.full((1, 32, 32), 7.0)), torch.zeros(1, 32, 32))


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_simulated_slice_has_its_truth(level: float) -> None:
    made = simulate_slice(3, size=128, level=level)
    assert made.molli.shape == (8, 128, 128)
    assert made.t2prep.shape == (3, 128, 128)
    assert made.level == pytest.approx(level)
    myocardium = made.labels == 2
    assert myocardium.any()
    true_t1 = float(torch.tensor(made.t1_ms[myocardium]).median())
    assert true_t1 == pytest.approx(RELAXATION[Tissue.MYOCARDIUM].t1, rel=0.1)
