"""Observers: each receives everything, and the error of one reaches nobody else."""

from inline.serving.observers import Observer, Observers
from inline.serving.tally import Tally


class Kept:
    def __init__(self):
        self.events = []

    def opened(self, session, tally):
        self.events.append(("opened", session, tally.images))

    def delivered(self, delivery):
        self.events.append(("delivered", delivery))

    def ecv_delivered(self, delivery):
        self.events.append(("ECV", delivery))

    def levels_known(self, levels):
        self.events.append(("levels", levels))

    def closed(self, session, tally):
        self.events.append(("closed", session, tally.images))


class Broken:
    def opened(self, session, tally):
        raise RuntimeError("no")

    delivered = ecv_delivered = levels_known = closed = opened


def test_an_observer_that_raises_is_logged_and_the_others_go_on(caplog):
    kept = Kept()
    observers = Observers(Broken(), Observer(), kept)
    observers.opened("a", Tally(images=1))
    observers.delivered("a delivery")
    observers.ecv_delivered("an ECV")
    observers.levels_known("levels")
    observers.closed("a", Tally(images=2))
    assert kept.events == [
        ("opened", "a", 1),
        ("delivered", "a delivery"),
        ("ECV", "an ECV"),
        ("levels", "levels"),
        ("closed", "a", 2),
    ]
    assert caplog.text.count("an observer failed") == 5


def test_images_are_lost_only_where_the_server_failed():
    assert Tally(images=5, returned=5).lost == 0
    assert Tally(images=5, returned=3).lost == 2
    assert Tally(images=5, returned=3, withheld=2).lost == 0
    assert Tally(images=5, returned=3, refused=True).lost == 0  # the peer left
    assert Tally(images=5, returned=3, refused=True, failed=True).lost == 2
