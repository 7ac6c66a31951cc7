"""Simulated maps against what is known of them."""

import pytest
import torch

from inline.mapping.fits import PRODUCT_FITS
from model.synthesis.anatomy import make_anatomy
from model.synthesis.contrast import Mix
from model.synthesis.generator import Parts, make_batch
from model.synthesis.pathology import EFFECTS, Pathology, diseased, draw_pathology, is_focal, wall_ratio
from model.synthesis.physics import t1_maps, t2_maps
from model.synthesis.randomness import Draw
from model.synthesis.tissues import Tissue, mean_tissue_values

NATIVE = torch.zeros(4, dtype=torch.bool)


def slices(seed):
    draw = Draw(4, torch.Generator().manual_seed(seed))
    return draw, make_anatomy(draw, 96, 96, 1.5)


@pytest.mark.parametrize("seed", range(4))
def test_t1_reads_a_little_short_of_the_tissue(seed):
    draw, anatomy = slices(seed)
    maps = t1_maps(draw, anatomy, mean_tissue_values(draw, NATIVE), PRODUCT_FITS.t1)
    pure = anatomy.fractions[:, Tissue.MYOCARDIUM] > 0.99
    assert 0.82 < float(maps[pure].median()) / 1020.0 < 1.0
    assert torch.isfinite(maps).all()
    assert maps.max() <= 4000


@pytest.mark.parametrize("seed", range(4))
def test_t2_is_that_of_the_tissue(seed):
    draw, anatomy = slices(seed)
    maps = t2_maps(draw, anatomy, mean_tissue_values(draw, NATIVE), PRODUCT_FITS.t2)
    pure = anatomy.fractions[:, Tissue.MYOCARDIUM] > 0.99
    assert 0.85 < float(maps[pure].median()) / 50.0 < 1.1


def test_every_pathology_changes_what_it_should():
    n = 200
    for pathology, effect in EFFECTS.items():
        draw = Draw(n, torch.Generator().manual_seed(int(pathology)))
        which = torch.full((n,), int(pathology))
        native = torch.zeros(n, dtype=torch.bool)
        healthy = mean_tissue_values(draw, native)
        values = diseased(draw, healthy, which, native)
        ratio = values.t1[:, Tissue.MYOCARDIUM] / healthy.t1[:, Tissue.MYOCARDIUM]
        assert effect.t1[0] - 1e-5 <= ratio.min()
        assert ratio.max() <= effect.t1[1] + 1e-5
        lesion = values.t2[:, Tissue.LESION] / values.t2[:, Tissue.MYOCARDIUM]
        assert effect.lesion_t2[0] - 1e-5 <= lesion.min()
        assert bool(is_focal(which).bool().all()) == effect.focal
        assert wall_ratio(draw, which).max() <= effect.wall[1] + 1e-5
        assert torch.equal(values.t1[:, Tissue.LIVER], healthy.t1[:, Tissue.LIVER])


def test_pathologies_come_in_their_shares():
    drawn = draw_pathology(Draw(4000, torch.Generator().manual_seed(1)))
    for pathology, effect in EFFECTS.items():
        assert abs(float((drawn == pathology).float().mean()) - effect.share) < 0.03
    assert abs(sum(effect.share for effect in EFFECTS.values()) - 1.0) < 1e-6


def test_lesions_lie_in_the_wall():
    n = 6
    draw = Draw(n, torch.Generator().manual_seed(2))
    scar = torch.full((n,), int(Pathology.SCAR))
    anatomy = make_anatomy(draw, 128, 128, 1.5, pathology=scar)
    lesion = anatomy.fractions[:, Tissue.LESION] > 0.4
    assert lesion.any(dim=(1, 2)).all()
    heart = anatomy.labels > 0
    near = torch.nn.functional.max_pool2d(heart.float()[:, None], 9, 1, 4)[:, 0] > 0
    assert (lesion & ~near).sum() < 0.02 * lesion.sum()


def test_fewer_parts_make_plainer_pictures():
    def values(parts):
        batch = make_batch(4, 96, torch.Generator().manual_seed(3), Mix(1, 0, 0, 0, 0, 0), parts=parts)
        return [len(image.unique()) for image in batch.images]

    plain = values(Parts(physics=False, acquisition=False, randomisation=False))
    full = values(Parts(simulated=0.0))
    assert max(plain) < min(full)


def test_fits_are_used_when_given():
    one = make_batch(2, 96, torch.Generator().manual_seed(4), fits=PRODUCT_FITS, parts=Parts(simulated=1.0))
    other = make_batch(2, 96, torch.Generator().manual_seed(4))
    assert torch.isfinite(one.images).all()
    assert not torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
