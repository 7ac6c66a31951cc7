"""The loss against Jaccard indices counted by hand."""

import pytest
import torch
from torch.nn import functional

from model.loss import jaccard_loss, jaccard_loss_by_slice


def certain(labels: torch.Tensor) -> torch.Tensor:
    return 100.0 * functional.one_hot(labels, 3).movedim(-1, 1).float()


def test_perfect_prediction_costs_nothing() -> None:
    labels = torch.tensor([[[0, 1], [2, 2]]])
    assert jaccard_loss(certain(labels), labels).item() == pytest.approx(0.0, abs=1e-6)


def test_counts_by_hand() -> None:
    labels = torch.tensor([[[1, 1, 2, 2], [0, 0, 2, 2]]])
    predicted = torch.tensor([[[1, 0, 2, 2], [0, 0, 2, 1]]])
    cavity, myocardium = 1 / 3, 3 / 4
    expected = 1 - (cavity + myocardium) / 2
    assert jaccard_loss(certain(predicted), labels).item() == pytest.approx(expected, abs=1e-6)


def test_background_counts_for_nothing() -> None:
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, 1, 1] = 1
    labels[0, 2, 2] = 2
    predicted = torch.roll(labels, 1, dims=2)
    predicted[0, 2, 2] = 2
    small = jaccard_loss(certain(predicted), labels)
    wide = functional.pad(labels, (4, 4))
    large = jaccard_loss(certain(functional.pad(predicted, (4, 4))), wide)
    assert small.item() == pytest.approx(large.item(), abs=1e-6)


def test_by_slice_a_small_heart_counts_as_much_as_a_large_one() -> None:
    labels = torch.zeros(3, 6, 6, dtype=torch.long)
    labels[0, :4] = 1
    labels[1, 0, 0] = 1
    predicted = labels.clone()
    predicted[1, 0, 0] = 0  # the small heart is missed; the third slice holds none
    assert jaccard_loss_by_slice(certain(predicted), labels).item() == pytest.approx(0.5, abs=1e-6)
    assert jaccard_loss(certain(predicted), labels).item() == pytest.approx(0.5 + 1 / 50, abs=1e-6)


def test_by_slice_one_slice_is_the_batch() -> None:
    labels = torch.tensor([[[1, 1, 2, 2], [0, 0, 2, 2]]])
    scores = torch.randn(1, 3, 2, 4, generator=torch.Generator().manual_seed(1))
    assert jaccard_loss_by_slice(scores, labels).item() == pytest.approx(
        jaccard_loss(scores, labels).item(), abs=1e-6
    )
