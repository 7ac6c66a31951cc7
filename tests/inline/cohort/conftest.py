"""A small cohort, and pipelines that a worker in another process makes without importing the tests."""

import shutil

import pytest

from inline.cohort.provenance import CohortProvenance
from inline.cohort.task import CohortTask
from inline.replay.simulate import simulate_examination, write_examination
from inline.settings import load_settings


@pytest.fixture(scope="session")
def examinations(tmp_path_factory):
    """Folder of six examinations of one slice each, two of them in a folder of their own."""
    root = tmp_path_factory.mktemp("cohort")
    (root / "site").mkdir()
    for number in range(6):
        file = root / ("site" if number < 2 else ".") / f"exam-{number}.h5"
        write_examination(file, simulate_examination(1, seed=number + 1, size=96))
    return root


@pytest.fixture
def root(examinations, tmp_path):
    """The same, to change."""
    return shutil.copytree(examinations, tmp_path / "root")


@pytest.fixture
def task(tmp_path):
    settings = load_settings()
    return CohortTask(settings, CohortProvenance.of(settings), tmp_path / "out")


@pytest.fixture(scope="session")
def ring():
    """Maker of a pipeline that finds the same ring in every image.

    Args of the maker: ``seconds`` that an inference takes; ``poison``: an examination whose largest network
    input ends the process, as a lack of memory does.
    """

    def make(seconds=0.0, poison=None):
        # Written out here: workers receive functions of functions by value.
        import os
        import time

        import numpy as np

        from inline.pipeline import Pipeline

        class Ring:
            name = "ring"

            def infer(self, images):
                time.sleep(seconds)
                if poison is not None and float(images.max()) == poison:
                    os._exit(9)
                y, x = np.mgrid[:224, :224]
                radius = np.hypot(x - 111.5, y - 111.5)
                classes = np.where(radius < 20, 1, np.where(radius < 28, 2, 0))
                one = np.stack([(classes == k).astype(np.float32) for k in range(3)])
                return np.repeat(one[None], len(images), axis=0)

        return Pipeline(Ring())

    return make
