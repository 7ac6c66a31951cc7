import numpy as np
import pytest

from model.engines.chain import EngineChain, NoEngineError

IMAGES = np.zeros((2, 224, 224), np.float32)


class Constant:
    def __init__(self, name, value=0.5, shape=(2, 3, 224, 224)):
        self.name, self._value, self._shape = name, value, shape

    def infer(self, images):
        return np.full(self._shape, self._value, np.float32)


class Raising:
    name = "raising"

    def infer(self, images):
        raise RuntimeError("out of memory")


def unloadable():
    raise ImportError("no such library")


def test_the_first_that_works_is_used():
    chain = EngineChain([("a", lambda: Constant("a")), ("b", lambda: Constant("b"))])
    assert chain.name == "a"
    assert chain.infer(IMAGES).shape == (2, 3, 224, 224)
    assert chain.failures == ()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Raising, "out of memory"),
        (lambda: Constant("nan", np.nan), "no numbers"),
        (lambda: Constant("small", shape=(2, 3, 10, 10)), "answered"),
        (unloadable, "no such library"),
    ],
)
def test_one_that_fails_is_replaced_and_the_question_is_answered(bad, reason):
    chain = EngineChain([("bad", bad), ("good", lambda: Constant("good", 0.25))])
    assert chain.infer(IMAGES).max() == 0.25
    assert chain.name == "good"
    assert reason in chain.failures[0]


def test_the_last_one_is_kept_and_may_recover():
    engine = Raising()
    chain = EngineChain([("only", lambda: engine)])
    with pytest.raises(NoEngineError, match="no other is left"):
        chain.infer(IMAGES)
    engine.infer = Constant("x").infer
    assert chain.infer(IMAGES).shape == (2, 3, 224, 224)


def test_none_that_loads_is_an_error():
    with pytest.raises(NoEngineError, match="no such library"):
        EngineChain([("a", unloadable), ("b", unloadable)])


def test_giving_up_twice_skips_no_engine():
    chain = EngineChain([(name, lambda name=name: Constant(name)) for name in "abc"])
    first = chain.current
    chain.give_up(first, "hangs")
    chain.give_up(first, "hangs")
    assert chain.name == "b"
