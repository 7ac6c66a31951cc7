import numpy as np
import pytest

from model.engines.fallback import FallbackEngine, NoEngineError
from model.engines.self_test import Reference
from tests.shapes import Clock, Constant, Raising

IMAGES = np.zeros((2, 224, 224), np.float32)


def unloadable():
    raise ImportError("no such library")


def test_the_first_that_works_is_used():
    fallback = FallbackEngine([("a", lambda: Constant("a")), ("b", lambda: Constant("b"))])
    assert fallback.name == "a"
    assert fallback.infer(IMAGES).shape == (2, 3, 224, 224)
    assert fallback.failures == ()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Raising, "no such kernel"),
        (lambda: Constant("nan", np.nan), "not finite"),
        (lambda: Constant("small", size=10), "of shape"),
        (unloadable, "no such library"),
    ],
)
def test_an_engine_that_fails_is_replaced_by_the_next(bad, reason):
    fallback = FallbackEngine([("bad", bad), ("good", lambda: Constant("good", 0.25))])
    assert fallback.infer(IMAGES).max() == 0.25
    assert fallback.name == "good"
    assert reason in fallback.failures[0]


def test_the_last_one_is_kept_and_may_recover():
    engine = Raising()
    fallback = FallbackEngine([("only", lambda: engine)])
    with pytest.raises(NoEngineError, match="no other is left"):
        fallback.infer(IMAGES)
    engine.infer = Constant("x").infer
    assert fallback.infer(IMAGES).shape == (2, 3, 224, 224)


def test_none_that_loads_is_an_error():
    with pytest.raises(NoEngineError, match="no such library"):
        FallbackEngine([("a", unloadable), ("b", unloadable)])


def test_an_error_without_a_text_is_named(caplog):
    def out_of_memory():
        raise MemoryError

    with pytest.raises(NoEngineError, match=r"no engine works: a: MemoryError$"):
        FallbackEngine([("a", out_of_memory)])
    assert "the engine a is not used: MemoryError" in caplog.text


def test_giving_up_twice_skips_no_engine():
    fallback = FallbackEngine([(name, lambda name=name: Constant(name)) for name in "abc"])
    first = fallback.current
    fallback.give_up(first, "hangs")
    fallback.give_up(first, "hangs")
    assert fallback.name == "b"


# Verification against stored output.


PIXELS = 64
RADIUS = np.hypot(*(np.mgrid[:PIXELS, :PIXELS] - np.array([[[28.0]], [[35.0]]])))
RING = np.stack([RADIUS >= 18, RADIUS < 12, (RADIUS >= 12) & (RADIUS < 18)]).astype(np.float32)


class Ring:
    """Finds a ring in every image, until it has a fault; counts its batches."""

    def __init__(self, name="ring"):
        self.name, self.fault, self.batches = name, None, []

    def infer(self, images):
        self.batches.append(len(images))
        output = np.repeat(RING[None], len(images), axis=0)
        return output if self.fault is None else self.fault(output)


def nothing_found(output):
    """Finite, of the right shape, and wrong."""
    wrong = np.zeros_like(output)
    wrong[:, 0] = 1.0
    return wrong


def aside(output):
    return np.roll(output, 4, axis=3)


def no_numbers(output):
    output[0, 0, 0, 0] = np.nan
    return output


def too_small(output):
    return output[:, :, :10, :10]


def raises(output):
    raise MemoryError("out of GPU memory")


FAULTS = [nothing_found, aside, no_numbers, too_small, raises]


@pytest.fixture
def reference():
    images = slices(2)
    return Reference(images, Ring().infer(images))


@pytest.fixture
def verified(reference):
    """The fallback of some engines (two by default), the engines, and its clock."""

    def make(*engines, **more):
        clock = Clock(5000.0)
        engines = engines or (Ring("first"), Ring("second"))
        makers = [(each.name, lambda each=each: each) for each in engines]
        return FallbackEngine(makers, reference, clock, **more), *engines, clock

    return make


def slices(count):
    return np.zeros((count, PIXELS, PIXELS), np.float32)


def right(output):
    return np.array_equal(output, Ring().infer(slices(len(output))))


@pytest.mark.parametrize("fault", FAULTS)
def test_an_engine_that_is_wrong_at_the_start_is_not_used(verified, caplog, fault):
    wrong = Ring("wrong")
    wrong.fault = fault
    fallback, *_ = verified(wrong, Ring("second"))
    assert fallback.name == "second"
    assert right(fallback.infer(slices(1)))
    (failure,) = fallback.failures
    assert failure.startswith("wrong: ")
    assert "the engine wrong is not used" in caplog.text


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("after", [1, 300, 999])
def test_an_engine_that_becomes_wrong_is_replaced_when_a_thousand_slices_are_full(
    verified, caplog, fault, after
):
    fallback, first, second, _ = verified()
    for _ in range(after // 3):
        assert right(fallback.infer(slices(3)))
    first.fault = fault
    computed, wrong = after // 3 * 3, 0
    while fallback.name == "first":
        output = fallback.infer(slices(3))
        computed += 3
        wrong += 3 * (not right(output))
        assert computed <= 1002
    # The batch that was verified was computed again: what it returned is right, and so is all that follows.
    assert right(output)
    assert right(fallback.infer(slices(2)))
    assert second.batches[:2] == [2, 3]  # its own self-test, and that batch
    failed = [record for record in caplog.records if "the engine first failed" in record.message]
    assert len(failed) == 1
    if fault in (nothing_found, aside):
        assert f"slices computed since it was last verified, 0 s ago: {computed - 3})" in failed[0].message
        assert wrong == computed - 3 - after // 3 * 3
    else:
        assert wrong == 0  # what is no output at all never goes out


def test_right_engines_are_verified_every_thousand_slices_and_stay(verified):
    fallback, first, *_ = verified()
    for _ in range(3003):
        fallback.infer(slices(1))
    assert first.batches.count(2) == 1 + 3
    assert fallback.failures == ()


@pytest.mark.parametrize("fault", FAULTS)
def test_an_engine_that_becomes_wrong_is_replaced_in_a_pause(verified, caplog, fault):
    fallback, first, second, clock = verified()
    fallback.infer(slices(5))
    first.fault = fault
    clock.now += 59.0
    fallback.verify_if_idle()
    assert fallback.name == "first"
    clock.now += 1.0
    fallback.verify_if_idle()
    assert fallback.name == "second"
    assert "slices computed since it was last verified, 60 s ago: 5" in caplog.text
    assert right(fallback.infer(slices(1)))
    assert second.batches == [2, 1]  # it was verified in the pause, and no slice waits for it again


def test_in_a_pause_it_is_verified_once_a_minute(verified):
    fallback, first, _, clock = verified()
    for _ in range(300):
        clock.now += 1.0
        fallback.verify_if_idle()
    assert first.batches == [2] * (1 + 5)
    fallback.infer(slices(1))
    assert first.batches == [2] * 6 + [1]


def test_slices_at_a_scanners_pace_are_no_pause(verified):
    fallback, first, _, clock = verified()
    for _ in range(50):
        clock.now += 30.0
        fallback.verify_if_idle()
        fallback.infer(slices(1))
    assert first.batches == [2] + [1] * 50


@pytest.mark.parametrize("fault", FAULTS)
def test_where_nobody_uses_the_pause_the_first_batch_is_computed_by_a_verified_engine(verified, fault):
    fallback, first, second, clock = verified()
    fallback.infer(slices(1))
    first.fault = fault
    clock.now += 61.0
    assert right(fallback.infer(slices(4)))
    assert fallback.name == "second"
    assert second.batches == [2, 4]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_last_engine_gives_an_error_and_no_wrong_output_until_it_proves_right(verified, caplog, fault):
    fallback, only, clock = verified(Ring("only"))
    fallback.infer(slices(7))
    only.fault = fault
    clock.now += 60.0
    fallback.verify_if_idle()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "the engine only failed" in caplog.text
    assert "60 s ago: 7) and no other is left" in caplog.text
    for _ in range(3):
        with pytest.raises(NoEngineError, match=r"no other is left: (RuntimeError|MemoryError)"):
            fallback.infer(slices(1))
        clock.now += 1.0
    only.fault = None
    assert right(fallback.infer(slices(1)))
    assert fallback.name == "only"
    clock.now += 1.0
    computed = len(only.batches)
    assert right(fallback.infer(slices(1)))
    assert len(only.batches) == computed + 1  # it is trusted again


def test_the_last_engine_that_fails_at_a_thousand_slices_returns_an_error_for_that_batch(verified):
    fallback, only, _ = verified(Ring("only"))
    only.fault = aside
    for _ in range(124):
        fallback.infer(slices(8))
    with pytest.raises(NoEngineError, match="0 s ago: 992"):
        fallback.infer(slices(8))
    with pytest.raises(NoEngineError):
        fallback.infer(slices(1))


def test_an_engine_that_raised_once_as_the_last_is_verified_before_it_is_used_again(verified):
    fallback, only, _ = verified(Ring("only"))
    only.fault = raises
    with pytest.raises(NoEngineError, match="out of GPU memory"):
        fallback.infer(slices(1))
    only.fault = aside
    with pytest.raises(NoEngineError, match="differs"):
        fallback.infer(slices(1))
    only.fault = None
    assert right(fallback.infer(slices(1)))


def test_all_engines_wrong_at_the_start_is_an_error(reference):
    wrong = Ring("wrong")
    wrong.fault = aside
    with pytest.raises(NoEngineError, match="differs from float32"):
        FallbackEngine([("wrong", lambda: wrong)], reference)


def test_an_engine_that_fails_while_none_of_the_rest_loads_is_not_trusted(verified, reference):
    first = Ring("first")
    fallback = FallbackEngine([("first", lambda: first), ("none", unloadable)], reference, Clock(5000.0))
    first.fault = raises
    with pytest.raises(NoEngineError, match="no such library"):
        fallback.infer(slices(1))
    first.fault = aside
    with pytest.raises(NoEngineError, match="differs"):
        fallback.infer(slices(1))
