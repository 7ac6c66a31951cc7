import numpy as np

from model.evaluation.synthetic import make_slices


def test_slices_are_the_same_for_a_seed():
    one, other = (list(make_slices(3, "t1")) for _ in range(2))
    for (a, path_a), (b, path_b) in zip(one, other, strict=True):
        assert np.array_equal(a.image, b.image)
        assert path_a == path_b
