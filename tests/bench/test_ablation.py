import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np

from bench.ablation import VARIANTS, main
from model.synthesis.generator import Parts


def test_each_variant_has_one_part_more_up_to_the_default():
    parts_of = list(VARIANTS.values())
    parts = [{name for name, value in asdict(each).items() if value is True} for each in parts_of]
    assert parts[0] == set()
    assert all(before < after and len(after - before) == 1 for before, after in pairwise(parts))
    assert parts_of[-1] == Parts()


def test_every_variant_is_trained_and_evaluated(tmp_path, capsys):
    rows, columns = np.indices((64, 64))
    rho = np.hypot(columns - 32.0, rows - 32.0)
    labels = np.where(rho < 10, 1, np.where(rho < 16, 2, 0)).astype(np.uint8)
    image = np.array([10.0, 110.0, 45.0], np.float32)[labels]
    np.savez(
        tmp_path / "a-slice-1.npz",
        t2_ms=image,
        t1_window=(image * 2).astype(np.uint8),
        label=labels,
        pixel_spacing_mm=np.float32(1.5),
    )
    file = tmp_path / "ablation.json"
    main(tmp_path, steps=1, synthetic=1, json_file=file)
    made = json.loads(file.read_text())
    assert made["steps"] == 1
    assert list(made["variants"]) == list(VARIANTS)
    for figures in made["variants"].values():
        assert set(figures) == {"real_t2", "real_t1", "synthetic_t2", "synthetic_t1"}
        assert all(0.0 <= value <= 1.0 for value in figures.values())
    assert "real T1" in capsys.readouterr().out
