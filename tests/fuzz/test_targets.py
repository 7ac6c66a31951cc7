"""The corpus and a thousand mutations of it through all targets; ten thousand in the slow tests."""

import pytest
from hypothesis import HealthCheck, given, seed, settings

from .mutations import mutated, seeds
from .targets import TARGETS

INPUTS = {
    "decoder": 1800,
    "header": 1200,
    "attributes": 1200,
    "mini_head": 900,
    "dicom": 900,
    "parameters": 900,
    "settings_file": 900,
    "hdf5": 500,
    "dicom_file": 300,
    "contour_file": 200,
    "contours": 400,
    "t1_fit": 600,
    "t2_fit": 600,
    "assembler": 600,
}
"""By their cost; together more than ten thousand."""


def test_every_target_has_its_share():
    assert set(INPUTS) == set(TARGETS)
    assert sum(INPUTS.values()) >= 10_000


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name):
    assert seeds(name)
    for data in seeds(name):
        TARGETS[name](data)


@pytest.mark.parametrize("share", [0.1, pytest.param(1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name, share):
    @seed(20260601)
    @settings(
        max_examples=round(share * INPUTS[name]),
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(name))
    def check(data):
        TARGETS[name](data)

    check()
