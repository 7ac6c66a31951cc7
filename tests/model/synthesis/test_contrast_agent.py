"""Contrast agent in blood and myocardium, against a case computed by hand."""

import numpy as np
import pytest
import torch

from model.synthesis.contrast_agent import ContrastAgent
from model.synthesis.examination import simulate_slice
from model.synthesis.tissues import Tissue, TissueValues

AGENT = ContrastAgent(blood_t1_ms=320.0, haematocrit=0.4, ecv=0.3)


def tissue_values():
    t1 = torch.full((1, len(Tissue)), 1000.0)
    t1[:, Tissue.LV_BLOOD] = 1600.0
    t1[:, Tissue.RV_BLOOD] = 1600.0
    return TissueValues(t1, torch.full_like(t1, 50.0), torch.ones_like(t1))


def test_myocardium_takes_its_share_of_the_agent():
    """R1 of blood rises by 1/320 - 1/1600 = 2.5 /s; of that the myocardium has 0.3 / 0.6: 1 + 1.25 /s."""
    found = AGENT.enhanced(tissue_values())
    assert found.t1[0, Tissue.LV_BLOOD] == pytest.approx(320.0)
    assert found.t1[0, Tissue.RV_BLOOD] == pytest.approx(320.0)
    assert found.t1[0, Tissue.MYOCARDIUM] == pytest.approx(1000.0 / 2.25, rel=1e-5)


def test_native_values_and_t2_stay():
    native = tissue_values()
    found = AGENT.enhanced(native)
    assert (native.t1[:, Tissue.MYOCARDIUM] == 1000.0).all()
    assert torch.equal(found.t2, native.t2)
    assert torch.equal(found.density, native.density)


def test_no_extracellular_space_takes_no_agent():
    found = ContrastAgent(320.0, 0.4, 0.0).enhanced(tissue_values())
    assert found.t1[0, Tissue.MYOCARDIUM] == pytest.approx(1000.0)


def test_the_heart_is_the_same_but_its_noise_is_not():
    native, post = (simulate_slice(3, size=96, level=0.5, usual=True, agent=each) for each in (None, AGENT))
    assert np.array_equal(native.labels, post.labels)
    rates = [
        [1.0 / np.median(each.t1_ms[native.labels == label]) for label in (2, 1)] for each in (native, post)
    ]
    rise = np.subtract(rates[1], rates[0])
    assert (1.0 - 0.4) * rise[0] / rise[1] == pytest.approx(0.3, abs=0.002)
    # Long preparation leaves air and its noise alone, which contrast agent does not change.
    assert not np.array_equal(native.t2prep[0], post.t2prep[0])
