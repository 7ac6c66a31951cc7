import json

import numpy as np

from bench.synthetic import make_slices, run


class Oracle:
    """Answers with the truth of the slices in turn."""

    name = "oracle"

    def __init__(self, count, kind):
        self._truth = iter([slice_.labels for slice_, _ in make_slices(count, kind)])

    def infer(self, images):
        labels = next(self._truth)
        return np.stack([(labels == value).astype(np.float32) for value in range(3)])[None]


def test_the_truth_scores_nearly_one_in_every_group(tmp_path):
    summaries = run(10, "t2", Oracle(10, "t2"), tmp_path / "figures.json")
    assert summaries["all"]["slices"] == 10
    assert summaries["all"]["dice_cavity"] > 0.9
    assert sum(summaries[level]["slices"] for level in ("basal", "mid", "apical")) == 10
    assert json.loads((tmp_path / "figures.json").read_text())["summaries"]["all"] == summaries["all"]


def test_slices_are_the_same_for_a_seed():
    one, other = (list(make_slices(3, "t1")) for _ in range(2))
    for (a, path_a), (b, path_b) in zip(one, other, strict=True):
        assert np.array_equal(a.image, b.image)
        assert path_a == path_b
