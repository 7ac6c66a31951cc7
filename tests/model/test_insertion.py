"""Heat maps of points and back."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.insertion import heat_maps, locate

PLACE = st.floats(5.0, 55.0)


@settings(max_examples=50)
@given(PLACE, PLACE)
def test_a_point_is_found_again_between_pixels(x: float, y: float) -> None:
    points = torch.tensor([[[x, y], [y, x]]])
    found, confidence = locate(heat_maps(points, 60, 60)[0].numpy())
    np.testing.assert_allclose(found, points[0], atol=0.1)
    assert confidence.min() > 0.9


def test_no_point_gives_no_heat() -> None:
    heat = heat_maps(torch.full((1, 2, 2), torch.nan), 20, 20)
    assert torch.equal(heat, torch.zeros(1, 2, 20, 20))
    assert locate(heat[0].numpy())[1].tolist() == [0.0, 0.0]


def test_a_point_at_the_border_is_found_without_what_lies_beyond() -> None:
    found, _ = locate(heat_maps(torch.tensor([[[0.0, 19.0]]]), 20, 20)[0].numpy())
    np.testing.assert_allclose(found, [[0.0, 19.0]], atol=2.0)
