"""A label, and images that carry it."""

import pytest

from inline.package.label import make_label
from tests.inline.package.images import save_image


@pytest.fixture(scope="session")
def label():
    return make_label("site", "1.2.3")


@pytest.fixture
def saved(tmp_path, label):
    """Write a saved image with the label."""

    def write(name="image.tar", **changes):
        return save_image(tmp_path / name, label, **changes)

    return write
