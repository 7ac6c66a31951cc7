import numpy as np
import pytest

from bench.tables.defects import DEFECTS, with_defects
from bench.tables.postprocessing import STEPS, by_step, hard, stages
from inline.contouring.contours import ContourSteps, rasterise
from inline.data.results import Contours

SIZE = 224


def heart(random):
    """Smooth contours of a heart, drawn here by a formula: nothing of the product is in them."""
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    wave = 1 + sum(
        random.normal(0, 0.03) * np.cos(k * angle + random.uniform(0, 2 * np.pi)) for k in (2, 3, 4)
    )
    centre = random.uniform(90, 130, 2)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner, wall = random.uniform(11, 19), random.uniform(5, 8)
    return Contours(
        endo=centre + inner * wave[:, None] * circle, epi=centre + (inner * wave[:, None] + wall) * circle
    )


@pytest.fixture(scope="module")
def hearts():
    random = np.random.default_rng(6)
    return [heart(random) for _ in range(12)]


def test_the_last_stage_is_the_product():
    assert len(stages()) == len(STEPS) + 1
    assert list(stages().values())[-1] == ContourSteps()


@pytest.mark.parametrize("seed", [1, 2])
def test_each_step_lowers_the_hausdorff_distance_where_masks_have_defects(hearts, seed):
    random = np.random.default_rng(seed)
    slices = [(hard(with_defects(rasterise(each, (SIZE, SIZE)), random)), each) for each in hearts]
    found = np.array([each.hausdorff_mm for each in by_step(slices).values()])
    means = found[:, np.isfinite(found).all(axis=0)].mean(axis=1)
    # Dominant points alone leave a mask as it is, to a tenth of a pixel.
    assert (np.diff(means) < 0.1).all()
    assert (np.diff(means)[1:] < 0.0).all()
    assert means[-1] < 0.4 * means[0]


def test_clean_masks_keep_their_contours_through_every_step(hearts):
    slices = [(hard(rasterise(each, (SIZE, SIZE))), each) for each in hearts]
    for step in by_step(slices).values():
        assert step.hausdorff_mm.mean() < 1.5
        assert step.without_contour == 0


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_changes_the_mask_and_nothing_but_its_own(hearts, defect):
    random = np.random.default_rng(1)
    for each in hearts[:10]:
        labels = rasterise(each, (SIZE, SIZE))
        defective = defect(labels, random)
        changed = defective != labels
        assert changed.any()
        added = defect.__name__ in ("specks", "streak", "spur")
        assert ((labels[changed] == 0) == added).all()
        assert ((defective[changed] == 0) != added).all()
