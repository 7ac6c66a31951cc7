import numpy as np
import pytest

from model.engines.torch_engine import TorchEngine
from model.engines.trial import pictures, try_out


class Altered:
    """Plain torch with its answers changed."""

    name = "altered"

    def __init__(self, network, change):
        self._engine, self._change = TorchEngine(network), change

    def infer(self, images):
        return self._change(self._engine.infer(images))


def test_what_rounds_a_little_may_run(network):
    try_out(Altered(network, lambda answers: answers.astype(np.float16).astype(np.float32)), network)


@pytest.mark.parametrize(
    "change",
    [
        lambda answers: answers[:, ::-1],
        lambda answers: np.full_like(answers, np.nan),
        lambda answers: answers * 0.99,
    ],
)
def test_what_answers_otherwise_may_not(network, change):
    with pytest.raises(RuntimeError, match="otherwise than float32"):
        try_out(Altered(network, change), network)


def test_pictures_are_like_prepared_images():
    images = pictures()
    assert images.shape == (2, 224, 224)
    assert images.dtype == np.float32
    assert abs(images.mean()) < 0.5
    assert 0.5 < images.std() < 1.5
