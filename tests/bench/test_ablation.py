import json
from dataclasses import fields

import numpy as np
import pytest
import torch

from bench import ablation
from bench.ablation import UNTRAINED, VARIANTS, Variant, drawn_inside, train_variant
from model.training.ring import StepSlices
from model.unet import UNet
from model.weights import save_weights


def ring_labels(size, inner, outer):
    rows, columns = np.indices((size, size))
    rho = np.hypot(columns - size / 2, rows - size / 2)
    return np.where(rho < inner, 1, np.where(rho < outer, 2, 0)).astype(np.uint8)


def test_variants_differ_from_the_default_in_one_thing():
    default, *others = VARIANTS.values()
    assert default == Variant()
    for other in others:
        assert sum(getattr(other, each.name) != getattr(default, each.name) for each in fields(Variant)) == 1


def test_labels_inside_leave_a_rim_at_either_border():
    labels = torch.from_numpy(ring_labels(64, 12, 20).astype(np.int64))[None]
    drawn = drawn_inside(labels)
    # 8 pixels of 1.5 mm: the rim is 1 + 1.2 mm.
    for mask, other, change in (
        (drawn == 1, labels == 1, 2.2 / 1.5),
        (drawn > 0, labels > 0, -2.2 / 1.5),
    ):
        radius, before = (float(each.sum() / np.pi) ** 0.5 for each in (mask, other))
        assert abs(radius - before - change) < 0.3
    thin = drawn_inside(torch.from_numpy(ring_labels(64, 12, 14).astype(np.int64))[None])
    assert (thin == 2).any()


@pytest.mark.parametrize(
    "variant",
    [
        Variant(inside=True),
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (Variant(insertions=False), Variant(start=False))
        ),
    ],
)
def test_a_variant_is_trained_from_weights_or_without(variant, tmp_path):
    torch.manual_seed(1)
    save_weights(UNet(), tmp_path)
    slices = StepSlices(torch.randn(2, 1, 64, 64), torch.randint(3, (2, 64, 64)), torch.full((2, 2, 2), 30.0))
    network = train_variant(variant, tmp_path, [slices])
    with torch.inference_mode():
        scores = network(slices.images)
    assert scores.shape == (2, 5 if variant.insertions else 3, 64, 64)
    assert scores.isfinite().all()


def test_every_variant_is_judged_by_the_convention_and_at_the_borders(tmp_path, monkeypatch, capsys):
    labels = ring_labels(224, 10, 17)
    image = np.array([10.0, 110.0, 45.0], np.float32)[labels]
    window = (image * 2).astype(np.uint8)
    np.savez(tmp_path / "a-slice-1.npz", t2_ms=image, t1_window=window, label=labels, pixel_spacing_mm=1.5)

    class Knowing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            classes = torch.nn.functional.one_hot(torch.from_numpy(labels.astype(np.int64)), 3)
            return 20.0 * classes.movedim(-1, 0)[None].float()

    trained = []
    monkeypatch.setattr(ablation, "start_network", lambda _: Knowing())
    monkeypatch.setattr(ablation, "train_variant", lambda variant, *_: trained.append(variant) or Knowing())
    file = tmp_path / "ablation.json"
    ablation.main(tmp_path, tmp_path, steps=1, json_file=file)
    assert trained == list(VARIANTS.values())
    made = json.loads(file.read_text())
    assert list(made["variants"]) == [UNTRAINED, *VARIANTS]
    for dice in made["variants"].values():
        # The reader drew the borders.
        assert dice["t2_borders"] > 0.97 > 0.9 > dice["t2"] > 0.5
        assert dice["t1_borders"] > dice["t1"]
    assert "mean Dice on real maps" in capsys.readouterr().out
