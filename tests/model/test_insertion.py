"""Heat maps of points and back."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.insertion import heat_maps, locate

PLACE = st.floats(5.0, 55.0)


@settings(max_examples=50)
@given(PLACE, PLACE)
def test_a_point_is_found_again_between_pixels(x: float, y: float) -> None:
    points = torch.tensor([[[x, y], [y, x]]])
    found, confidence = locate(heat_maps(points, 60, 60))
    assert (found - points).abs().max() < 0.1
    assert confidence.min() > 0.9


def test_no_point_gives_no_heat() -> None:
    heat = heat_maps(torch.full((1, 2, 2), torch.nan), 20, 20)
    assert torch.equal(heat, torch.zeros(1, 2, 20, 20))
    assert torch.equal(locate(heat)[1], torch.zeros(1, 2))


def test_a_point_at_the_border_is_found_without_what_lies_beyond() -> None:
    found, _ = locate(heat_maps(torch.tensor([[[0.0, 19.0]]]), 20, 20))
    assert (found - torch.tensor([[[0.0, 19.0]]])).abs().max() < 2.0
