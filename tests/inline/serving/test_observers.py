"""Observers: each receives everything, and the error of one reaches nobody else."""

from inline.serving.observers import Observers
from inline.serving.tally import Tally


class Kept:
    def __init__(self):
        self.events = []

    def opened(self, session, tally):
        self.events.append(("opened", session, tally.images))

    def delivered(self, delivery):
        self.events.append(("delivered", delivery))

    def closed(self, session, tally):
        self.events.append(("closed", session, tally.images))


class Broken:
    def opened(self, session, tally):
        raise RuntimeError("no")

    delivered = closed = opened


def test_an_observer_that_raises_is_logged_and_the_others_go_on(caplog):
    kept = Kept()
    observers = Observers(Broken(), kept)
    observers.opened("a", Tally(images=1))
    observers.delivered("a delivery")
    observers.closed("a", Tally(images=2))
    assert kept.events[0] == ("opened", "a", 1)
    assert kept.events[2] == ("closed", "a", 2)
    assert len(kept.events) == 3
    assert caplog.text.count("an observer failed") == 3


def test_images_are_lost_only_where_the_server_failed():
    assert Tally(images=5, returned=5).lost == 0
    assert Tally(images=5, returned=3).lost == 2
    assert Tally(images=5, returned=3, withheld=2).lost == 0
    assert Tally(images=5, returned=3, refused=True).lost == 0  # the peer left
    assert Tally(images=5, returned=3, refused=True, failed=True).lost == 2
