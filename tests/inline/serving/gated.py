"""Engine that a test holds up."""

import threading


class Gated:
    """As the engine behind it, once it is allowed to.

    Attributes:
        open: set to let it go on.
        entered: set with its first call.
        met: number of slices that it was given.
    """

    name = "gated"

    def __init__(self, engine):
        self._engine, self.met = engine, 0
        self.entered, self.open = threading.Event(), threading.Event()

    def infer(self, images):
        self.met += len(images)
        self.entered.set()
        self.open.wait(60)
        return self._engine.infer(images)
