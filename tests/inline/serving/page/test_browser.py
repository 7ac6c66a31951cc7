"""The page in a real browser: slice by slice, colours, contours, keys, and a server that goes."""

from contextlib import contextmanager

import numpy as np
import pytest

from bench.browser import browser, executable
from inline.replay.client import exchange
from inline.serving.health import Checkup
from inline.serving.observers import Observers
from inline.serving.page.feed import PageFeed
from inline.settings import MonitorSettings

pytestmark = pytest.mark.skipif(executable() is None, reason="there is no chromium")


class Results:
    """Observer that keeps the results of T1 by slice."""

    def __init__(self):
        self.t1 = {}

    def delivered(self, delivery):
        if delivery.result.quantity == "T1":
            self.t1[delivery.result.identity.slice_index] = delivery.result

    def opened(self, session, tally):
        pass

    closed = opened


@contextmanager
def live_page(serving, **settings):
    checkup, results = Checkup(), Results()
    feed = PageFeed(MonitorSettings(page_port=0), checkup)
    try:
        with serving(observers=Observers(feed, results), **settings) as server:
            checkup.server = server
            yield server, feed, results.t1
    finally:
        feed.close()


def pixel(window, point, shape):
    """Return the colour of the whole map at a point in pixels of the image."""
    rows, columns = shape
    return window.evaluate(
        "(function () { const map = document.getElementById('map');"
        f"const x = {(point[0] + 0.5) / columns} * map.width, y = {(point[1] + 0.5) / rows} * map.height;"
        "return Array.from(map.getContext('2d').getImageData(Math.floor(x), Math.floor(y), 1, 1).data); })()"
    )[:3]


def text(window, name):
    return window.evaluate(f"document.getElementById('{name}').textContent")


def flat_pixel(values):
    """Return (x, y) of the pixel whose neighbours differ least from it, among those within the window."""
    blocks = np.lib.stride_tricks.sliding_window_view(values, (5, 5))
    spread = np.ptp(blocks, axis=(2, 3))
    spread[(blocks.min((2, 3)) < 200) | (blocks.max((2, 3)) > 1900)] = np.inf
    row, column = np.unravel_index(np.argmin(spread), spread.shape)
    return column + 2, row + 2


def test_an_examination_in_the_browser(serving, examination):
    _, header, images = examination
    with live_page(serving, emit={"uncertainty": True}) as (server, feed, t1), browser() as window:
        window.open("http://{}:{}/".format(*feed.address))
        window.wait("document.getElementById('state').textContent.startsWith('ready')")
        exchange(server.address, header, images)
        window.wait("document.querySelectorAll('.card.drawn').length === 4")
        window.wait("/ended/.test(document.getElementById('connections').textContent)")
        assert window.evaluate("document.querySelectorAll('#studies button').length") == 1
        window.evaluate("document.querySelectorAll('.card')[0].click()")
        assert text(window, "name").endswith("slice 0 · T1 native")
        median = t1[0].regions[0].median
        assert text(window, "median").startswith(f"{median:.0f} ms [")

        # The whole map in grey, from 0 to 2000 ms.
        window.press("z")
        while window.evaluate("document.getElementById('colours').value") != "Grey":
            window.press("m")
        values = t1[0].map.values_ms
        flat = flat_pixel(values)
        expected = values[flat[1], flat[0]] / 2000.0 * 255.0
        assert pixel(window, flat, values.shape) == pytest.approx([expected] * 3, abs=4)
        window.evaluate(
            "document.getElementById('high').value = 4000;"
            "document.getElementById('high').dispatchEvent(new Event('change'))"
        )
        assert pixel(window, flat, values.shape) == pytest.approx([expected / 2] * 3, abs=3)

        on_contour = t1[0].contours.endo[0]
        red, green, blue = pixel(window, on_contour, values.shape)
        assert red > 1.5 * max(green, blue)
        window.press("c")
        red, green, blue = pixel(window, on_contour, values.shape)
        assert red == green == blue
        window.press("u")
        red, green, blue = pixel(window, t1[0].contours.endo[0], values.shape)
        assert red == blue >= green, "the ring is certain: at most a tint of magenta"

        window.press("ArrowRight")
        assert text(window, "name").endswith("slice 0 · T2")
        window.press("f")  # the newest again
        assert window.evaluate("document.getElementById('follow').checked")

        # The scanner's next measurement, without a study of its own.
        exchange(server.address, header, images[:11])
        window.wait("document.querySelectorAll('#studies button').length === 2")
        window.wait("document.querySelectorAll('.card.drawn').length === 2")
        assert not window.evaluate("document.getElementById('detail').hidden")

        feed.close()
        window.wait("!document.getElementById('alarm').hidden")
        assert text(window, "state") == "not connected"
