import numpy as np
import pytest
import torch

from model.evaluation import synthetic
from model.evaluation.synthetic import evaluate_networks, make_slices
from model.insertion import heat_maps
from model.synthesis.apex import SHARE
from model.synthesis.pathology import Pathology

SLICES = 6


def test_slices_are_the_same_for_a_seed():
    one, other = (list(make_slices(2, "t1")) for _ in range(2))
    for (a, path_a), (b, path_b) in zip(one, other, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.insertions, b.insertions, equal_nan=True)
        assert path_a == path_b


class Knowing:
    """Engine that returns the truth of slices in turn: labels, and heat of the insertion points if wanted."""

    name = "knowing"

    def __init__(self, slices, *, heat):
        self._slices, self._heat = iter(slices), heat

    def infer(self, images):
        slice_ = next(self._slices)
        output = [(slice_.labels == value).astype(np.float32) for value in range(3)]
        if self._heat:
            output += list(heat_maps(torch.from_numpy(slice_.insertions[None]), 224, 224)[0].numpy())
        return np.stack(output)[None]


@pytest.fixture(scope="module")
def found():
    slices = [slice_ for slice_, _ in make_slices(SLICES, "t2", apices=SHARE)]
    engines = {"both": Knowing(slices, heat=True), "labels": Knowing(slices, heat=False)}

    def contour(probabilities):
        labels = probabilities.argmax(axis=0).astype(np.uint8)
        # The first slice has no contour.
        return labels * (not np.array_equal(labels, slices[0].labels))

    return slices, evaluate_networks(SLICES, "t2", engines, contour)


def test_a_slice_without_a_contour_counts_as_nothing(found):
    _, summaries = found
    assert summaries["both"]["all"]["dice"] == pytest.approx((SLICES - 1) / SLICES)
    assert summaries["both"]["all"]["without_contour"] == 1
    # One 0 among n - 1 times 1: a variance of 1 / n.
    assert summaries["both"]["all"]["dice_standard_error"] == pytest.approx(1 / SLICES)


def test_no_slice_is_left_out(found):
    slices, summaries = found
    for groups in summaries.values():
        levels = [groups[name] for name in ("basal", "mid", "apical")]
        pathologies = [groups[each.name.lower()] for each in Pathology]
        contrasts = [groups[name] for name in synthetic.CONTRASTS]
        for parts in (levels, pathologies, contrasts):
            assert sum(each["slices"] for each in parts) == SLICES
            assert sum(each.get("share", 0.0) for each in parts) == pytest.approx(1.0)
        smallest = min((each.labels > 0).sum() for each in slices)
        assert groups["all"]["smallest_mm"] == pytest.approx(1.5 * np.sqrt(4 / np.pi * smallest))


@pytest.mark.parametrize(("apart", "contrast"), [(0.0, 0.0), (1.0, 0.5), (3.0, 1.5)])
def test_contrast_is_the_difference_of_wall_and_blood_in_their_spread(apart, contrast):
    random = np.random.default_rng(1)
    labels = np.repeat(np.array([0, 1, 2], np.uint8), 20_000).reshape(3, -1)
    image = random.normal([[9.0], [apart], [0.0]], [[1.0], [1.6], [1.2]], labels.shape).astype(np.float32)
    image[1:, :200] = 1000.0  # a hundredth that is something else
    assert synthetic.wall_contrast(image, labels) == pytest.approx(contrast, abs=0.03)


def test_small_apices_are_a_group_of_their_own(monkeypatch):
    monkeypatch.setattr(synthetic, "SHARE", 1.0)
    slices = [slice_ for slice_, _ in make_slices(SLICES, "t2", apices=1.0)]
    engines = {"labels": Knowing(slices, heat=False)}
    groups = evaluate_networks(SLICES, "t2", engines, lambda labels: labels.argmax(axis=0).astype(np.uint8))
    large, small = (groups["labels"][name]["slices"] for name in synthetic.SIZES)
    assert small == sum(synthetic.diameter_mm(each.labels) < 25.0 for each in slices) >= SLICES - 1
    assert small + large == groups["labels"]["apical"]["slices"] == SLICES


def test_insertion_points_are_found_where_the_network_has_them(found):
    slices, summaries = found
    points = np.concatenate([each.insertions for each in slices])
    assert summaries["both"]["all"]["insertions"] == np.isfinite(points).all(axis=1).sum()
    assert summaries["both"]["all"]["insertions_found"] == 1.0
    assert summaries["both"]["all"]["insertions_mm"] < 0.5
    assert summaries["both"]["all"].get("insertions_false", 0.0) == 0.0
    assert not any(name.startswith("insertions") for name in summaries["labels"]["all"])


def test_insertion_points_of_which_none_is_found_have_the_share_0(found):
    slices, _ = found
    engines = {"both": Knowing(slices, heat=True)}
    cold = Knowing(slices, heat=True)
    engines["both"].infer = lambda images: cold.infer(images) * np.array([1, 1, 1, 0, 0])[:, None, None]
    groups = evaluate_networks(SLICES, "t2", engines, lambda labels: labels.argmax(axis=0).astype(np.uint8))
    assert groups["both"]["all"]["insertions"] > 0
    assert groups["both"]["all"]["insertions_found"] == 0.0
    assert "insertions_mm" not in groups["both"]["all"]
