"""Simulated maps against what is known of them."""

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit

from model.synthesis.anatomy import make_anatomy
from model.synthesis.contrast import Mix
from model.synthesis.generator import make_batch
from model.synthesis.pathology import EFFECTS, Pathology, diseased, draw_pathology, is_focal, wall_ratio
from model.synthesis.physics import PREPARATIONS_MS, SCHEMES, t1_maps, t2_maps
from model.synthesis.randomness import Draw
from model.synthesis.sequences import Molli, Readout, molli_signals, t2prep_signals
from model.synthesis.tissues import RELAXATION, Tissue, TissueValues


def mean_values(n):
    """The table's means, native."""
    table = torch.tensor([[each.t1, each.t2, each.density] for each in RELAXATION.values()])
    return TissueValues(*(column.expand(n, -1) for column in table.unbind(dim=1)))


def slices(seed):
    draw = Draw(4, torch.Generator().manual_seed(seed))
    return draw, make_anatomy(draw, 96, 96, 1.5)


def noiseless_t1(values, scheme, heartbeat, inversion, share):
    """T1 of pure myocardium as scipy reads it from its signed signals."""
    molli = Molli.parse(scheme)
    readout = Readout(share * 0.61)
    signals = molli_signals(values, molli, heartbeat, inversion, readout)[0, :, Tissue.MYOCARDIUM].numpy()
    (a, b, apparent), _ = curve_fit(
        lambda t, a, b, apparent: a - b * np.exp(-t / apparent),
        molli.times_ms(heartbeat),
        signals,
        (0.5, 1.0, 800.0),
    )
    return apparent * (b / a - 1.0)


def noiseless_t2(values, times, heartbeat, rest, share):
    readout = Readout(share * 1.22, to_centre=0)
    signals = t2prep_signals(values, times, heartbeat, rest, readout)[0, :, Tissue.MYOCARDIUM].numpy()
    (_, t2), _ = curve_fit(lambda t, a, t2: a * np.exp(-t / t2), times, signals, (0.5, 50.0))
    return t2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("maps_of", "noiseless", "sequences", "preparations", "above"),
    [
        (t1_maps, noiseless_t1, sorted(set(SCHEMES)), (0.9, 0.99), 1.03),
        (t2_maps, noiseless_t2, PREPARATIONS_MS, (2, 3), 1.05),
    ],
    ids=["T1", "T2"],
)
def test_a_map_is_what_the_sequence_reads_of_the_tissue(
    maps_of, noiseless, sequences, preparations, above, seed
):
    """``preparations``: efficiency of the inversion, or heartbeats of rest."""
    draw, anatomy = slices(seed)
    values = mean_values(4)
    maps = maps_of(draw, anatomy, values, 1.5)
    pure = anatomy.fractions[:, Tissue.MYOCARDIUM] > 0.99
    reads = [
        noiseless(values, sequence, heartbeat, preparation, share)
        for sequence in sequences
        for heartbeat in (600.0, 1200.0)
        for preparation in preparations
        for share in (0.67, 1.0)
    ]
    assert max(reads) < 1020.0
    assert 0.97 * min(reads) < float(maps[pure].median()) < above * max(reads)
    assert torch.isfinite(maps).all()
    assert maps.max() <= 4000


def test_every_pathology_changes_what_it_should():
    n = 200
    for pathology, effect in EFFECTS.items():
        draw = Draw(n, torch.Generator().manual_seed(int(pathology)))
        which = torch.full((n,), int(pathology))
        native = torch.zeros(n, dtype=torch.bool)
        healthy = mean_values(n)
        values = diseased(draw, healthy, which, native)
        ratio = values.t1[:, Tissue.MYOCARDIUM] / healthy.t1[:, Tissue.MYOCARDIUM]
        assert effect.t1[0] - 1e-5 <= ratio.min()
        assert ratio.max() <= effect.t1[1] + 1e-5
        wall = values.t2[:, Tissue.MYOCARDIUM] / healthy.t2[:, Tissue.MYOCARDIUM]
        assert effect.t2[0] - 1e-5 <= wall.min()
        assert wall.max() <= effect.t2[1] + 1e-5
        assert wall.mean() == pytest.approx(sum(effect.t2) / 2, abs=0.04)
        lesion = values.t2[:, Tissue.LESION] / values.t2[:, Tissue.MYOCARDIUM]
        assert effect.lesion_t2[0] - 1e-5 <= lesion.min()
        assert bool(is_focal(which).bool().all()) == effect.focal
        assert wall_ratio(draw, which).max() <= effect.wall[1] + 1e-5
        assert torch.equal(values.t1[:, Tissue.LIVER], healthy.t1[:, Tissue.LIVER])


def test_t2_maps_show_iron_as_short_and_oedema_as_long():
    """Iron shortens T2 of the wall, by 15 % at least; oedema prolongs it, in its lesion most."""
    batch = make_batch(160, 64, torch.Generator().manual_seed(6), Mix(0, 0, 1, 0, 0, 0))
    walls = [image[labels == 2] for image, labels in zip(batch.unscaled, batch.labels, strict=True)]

    def typical(pathology, quantile):
        chosen = [
            float(wall.quantile(quantile))
            for wall, which in zip(walls, batch.pathology, strict=True)
            if which == pathology and len(wall) > 40
        ]
        assert len(chosen) > 3
        return np.median(chosen)

    healthy = typical(Pathology.NONE, 0.5)
    assert 42.0 < healthy < 58.0  # at 1.5 T
    assert typical(Pathology.IRON, 0.5) < 0.85 * healthy
    assert typical(Pathology.OEDEMA, 0.5) > 1.03 * healthy
    assert typical(Pathology.OEDEMA, 0.9) > 1.15 * typical(Pathology.NONE, 0.9)
    assert 0.9 * healthy < typical(Pathology.SCAR, 0.5) < 1.1 * healthy


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
    # In the thinnest walls a lesion never fills a pixel by half.
    assert (anatomy.fractions[:, Tissue.LESION].amax(dim=(1, 2)) > 0.2).all()
    lesion = anatomy.fractions[:, Tissue.LESION] > 0.4
    assert lesion.any()
    heart = anatomy.labels > 0
    near = torch.nn.functional.max_pool2d(heart.float()[:, None], 9, 1, 4)[:, 0] > 0
    assert (lesion & ~near).sum() < 0.02 * lesion.sum()


def test_simulated_maps_differ_from_those_of_tissue_values():
    one = make_batch(2, 96, torch.Generator().manual_seed(4), simulated=1.0)
    other = make_batch(2, 96, torch.Generator().manual_seed(4), simulated=0.0)
    assert torch.isfinite(one.images).all()
    assert not torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
