import numpy as np
import pytest

from model.engines.magnifying import MagnifyingEngine
from model.engines.reevaluation import ReevaluatingEngine
from model.engines.self_test import (
    LARGEST_DIFFERENCE,
    LARGEST_DRIFT,
    Reference,
    difference,
    run_self_test,
    self_test_images,
)
from model.weights import load_weights, tensors_of


class Altered:
    """Returns the stored output, changed."""

    name = "altered"

    def __init__(self, reference, change=lambda output: output):
        self._output, self.change = reference.output, change

    def infer(self, images):
        return self.change(self._output.copy())


@pytest.fixture(scope="module")
def reference():
    return Reference.of(load_weights())


def test_the_weights_find_the_rings_in_the_images(reference):
    assert reference.images.shape == (2, 224, 224)
    assert reference.images.dtype == np.float32
    assert abs(reference.images.mean()) < 0.5
    assert 0.5 < reference.images.std() < 1.5
    y, x = np.mgrid[:224, :224]
    for labels, (r, right, down) in zip(
        reference.output[:, :3].argmax(1), ((22, 9, -14), (20, -17, 6)), strict=True
    ):
        cavity = labels == 1
        assert abs(cavity.sum() / (np.pi * r**2) - 1.0) < 0.25
        assert np.hypot(x[cavity].mean() - 111.5 - right, y[cavity].mean() - 111.5 - down) < 1.5


def test_what_rounds_a_little_may_run(reference):
    run_self_test(Altered(reference, lambda output: output.astype(np.float16).astype(np.float32)), reference)


WRONG = {
    "classes exchanged": lambda output: output[:, ::-1],
    "mirrored, left and right": lambda output: output[..., ::-1],
    "mirrored, up and down": lambda output: output[..., ::-1, :],
    "rows and columns exchanged": lambda output: output.swapaxes(2, 3),
    "images exchanged": lambda output: output[::-1],
    "one pixel aside": lambda output: np.roll(output, 1, axis=3),
    "no heart": lambda output: np.broadcast_to(np.float32([1, 0, 0, 0, 0])[:, None, None], output.shape),
    "too little": lambda output: output * 0.99,
    "not finite": lambda output: np.full_like(output, np.nan),
    "one no number": lambda output: np.where(output == output.max(), np.float32(np.inf), output),
    "too small": lambda output: output[..., :-1],
    "one image": lambda output: output[:1],
    "two classes": lambda output: output[:, :2],
    "no heat maps": lambda output: output[:, :3],
    "heat everywhere": lambda output: np.concatenate([output[:, :3], np.ones_like(output[:, 3:])], axis=1),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_returns_other_output_may_not_run(reference, what):
    with pytest.raises(RuntimeError, match=r"differs from float32|not finite|of shape"):
        run_self_test(Altered(reference, WRONG[what]), reference)


@pytest.mark.parametrize("what", WRONG)
def test_what_returns_other_output_later_is_found_too(reference, what):
    engine = Altered(reference)
    self_test = run_self_test(engine, reference)
    self_test.repeat()
    engine.change = WRONG[what]
    with pytest.raises(RuntimeError, match=r"differs from its output|not finite|of shape"):
        self_test.repeat()


def test_an_engine_that_rounds_is_compared_with_itself_and_more_strictly(reference):
    """Eight bits may differ from float32 by more than from what they were."""

    def rounded(output):
        return np.round(output * 50) / np.float32(50)

    engine = Altered(reference, rounded)
    self_test = run_self_test(engine, reference)
    first = rounded(reference.output)
    assert LARGEST_DRIFT < difference(first, reference.output) < LARGEST_DIFFERENCE
    self_test.repeat()
    engine.change = lambda output: output  # nearer to float32, and not what it was
    with pytest.raises(RuntimeError, match=r"differs from its output at the start"):
        self_test.repeat()


@pytest.mark.parametrize("outer", [lambda engine: engine, MagnifyingEngine])
@pytest.mark.parametrize("wrong", ["fast", "exact"])
def test_both_engines_of_a_reevaluation_are_verified(reference, wrong, outer):
    """No image here is uncertain, so the fast engine alone would be verified otherwise."""
    engines = {"fast": Altered(reference), "exact": Altered(reference)}
    both = outer(ReevaluatingEngine(engines["fast"], engines["exact"], threshold=1e9))
    self_test = run_self_test(both, reference)
    engines[wrong].change = WRONG["no heart"]
    with pytest.raises(RuntimeError, match="differs"):
        self_test.repeat()
    with pytest.raises(RuntimeError, match="differs"):
        run_self_test(both, reference)


def test_the_difference_is_the_share_of_the_heart_that_changed_class():
    stored = np.zeros((1, 3, 40, 40), np.float32)
    stored[0, 0] = 1.0
    stored[0, :, 10:30, 10:20] = np.float32([0, 1, 0])[:, None, None]
    stored[0, :, 10:30, 20:30] = np.float32([0, 0, 1])[:, None, None]
    found = stored.copy()
    found[0, :, 10, 10:20] = np.float32([1, 0, 0])[:, None]  # 10 of 400 pixels
    assert difference(found, stored) == pytest.approx(10 / 400)
    assert difference(np.concatenate([stored, found]), np.concatenate([stored, stored])) == pytest.approx(
        10 / 400
    )
    found[0, 0, 0, 0] = np.nan
    assert np.isnan(difference(found, stored))


def test_a_network_that_gives_no_numbers_is_no_reference(network):
    broken = tensors_of(network)
    broken["head.bias"] = np.full_like(broken["head.bias"], np.nan)
    with pytest.raises(RuntimeError, match="not finite"):
        Reference.of(broken)


def test_images_are_the_same_every_time():
    assert np.array_equal(self_test_images(), self_test_images())
