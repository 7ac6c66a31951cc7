import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np

from bench import ablation
from bench.ablation import VARIANTS
from model.evaluation.cases import read_slices
from model.original_unet import OriginalUNet
from model.synthesis.generator import Parts


def test_each_variant_has_one_part_more_up_to_the_default():
    parts_of = list(VARIANTS.values())
    parts = [{name for name, value in asdict(each).items() if value is True} for each in parts_of]
    assert parts[0] == set()
    assert all(before < after and len(after - before) == 1 for before, after in pairwise(parts))
    assert parts_of[-1] == Parts()


def test_every_variant_is_trained_and_evaluated(tmp_path, monkeypatch, capsys):
    rows, columns = np.indices((224, 224))
    rho = np.hypot(columns - 112.0, rows - 112.0)
    labels = np.where(rho < 10, 1, np.where(rho < 16, 2, 0)).astype(np.uint8)
    image = np.array([10.0, 110.0, 45.0], np.float32)[labels]
    window = (image * 2).astype(np.uint8)
    np.savez(tmp_path / "a-slice-1.npz", t2_ms=image, t1_window=window, label=labels, pixel_spacing_mm=1.5)
    trained = []

    def train(make, steps, *, parts):
        trained.append((steps, parts))
        return OriginalUNet((2, 2, 2, 2, 2)).eval()

    monkeypatch.setattr(ablation, "train_briefly", train)
    monkeypatch.setattr(ablation, "make_slices", lambda _, kind: [(read_slices(tmp_path, kind)[0], "none")])
    file = tmp_path / "ablation.json"
    ablation.main(tmp_path, steps=3, synthetic=1, json_file=file)
    assert trained == [(3, parts) for parts in VARIANTS.values()]
    made = json.loads(file.read_text())
    assert list(made["variants"]) == list(VARIANTS)
    for dice in made["variants"].values():
        assert set(dice) == {"real_t2", "real_t1", "synthetic_t2", "synthetic_t1"}
        assert all(0.0 <= value <= 1.0 for value in dice.values())
    assert "real T1" in capsys.readouterr().out
