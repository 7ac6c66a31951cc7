"""Examination of three slices with T1, T2 and ECV."""

import pytest

from .examinations import make_examination


@pytest.fixture(scope="session")
def examination():
    return make_examination()
