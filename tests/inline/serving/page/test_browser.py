"""The page in a real browser: slice by slice, colours, contours, keys, and a server that goes."""

import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from bench.browser import browser, executable
from inline.data.flags import Flag
from inline.data.results import SliceLevel
from inline.replay.client import exchange
from inline.serving.health import Checkup
from inline.serving.observers import Delivery, EcvDelivery, Observer, Observers
from inline.serving.page.feed import PageFeed
from inline.settings import MonitorSettings
from tests.inline.examination.phantom import ecv_of
from tests.inline.serving.page.results import final, measured, repeated

pytestmark = pytest.mark.skipif(executable() is None, reason="there is no chromium")


class Results(Observer):
    """Observer that keeps the results of T1 by slice."""

    def __init__(self):
        self.t1 = {}

    def delivered(self, delivery):
        if delivery.result.quantity == "T1":
            self.t1[delivery.result.identity.slice_index] = delivery.result


@pytest.fixture(scope="module")
def window():
    with browser() as made:
        yield made


@contextmanager
def feeding(port=0, **settings):
    """A page without a server, fed by the test."""
    feed = PageFeed(MonitorSettings(page_port=port, **settings), Checkup())
    try:
        yield feed
    finally:
        feed.close()


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


def test_an_examination_in_the_browser(serving, examination, window):
    _, header, images = examination
    with live_page(serving, emit={"uncertainty": True}) as (server, feed, t1):
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


def shown(window, expression):
    return window.evaluate(f"window.getComputedStyle({expression}).display !== 'none'")


def card(window, at):
    return window.evaluate(f"document.querySelectorAll('.card')[{at}].textContent")


def test_ecv_in_words_and_numbers_and_the_final_level(window):
    (pipeline, native), (_, post) = measured(noise=0.02), measured(post=True, noise=0.02)
    ecv = ecv_of(native, post)
    with feeding() as feed:
        window.open("http://{}:{}/".format(*feed.address))
        for each in (native, post):
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('.card.drawn').length === 2")
        assert not shown(window, "document.querySelector('#values th.error')")
        feed.ecv_delivered(EcvDelivery("a", ecv, 1))
        window.wait("document.querySelectorAll('.card.drawn').length === 3")
        ring = ecv.regions[0]
        assert card(window, 2).startswith(f"mid, slice 0 · ECV{ring.median:.1f} %")
        assert "Haematocrit 0.42, as given." in card(window, 2)
        assert "latency" not in card(window, 2)
        assert text(window, "median") == f"{ring.median:.1f} % [{ring.q1:.1f}–{ring.q3:.1f}]"
        assert shown(window, "document.querySelector('#values th.error')")
        assert not shown(window, "document.getElementById('latency')")
        assert f"± {ring.standard_error:.2f}" in text(window, "values")
        assert "ECV by AHA segment, median in %" in text(window, "bullseye-caption")
        # The value under the pointer is that of the map, in percent.
        window.evaluate(
            "(function (map) { const box = map.getBoundingClientRect();"
            "map.dispatchEvent(new MouseEvent('mousemove', { clientX: box.left + 0.5 * box.width,"
            "clientY: box.top + 0.5 * box.height, bubbles: true })); })(document.getElementById('map'))"
        )
        assert float(text(window, "cursor").removesuffix(" %")) == pytest.approx(58.0, abs=6.0)  # plasma

        feed.levels_known(final(pipeline, native, SliceLevel.BASAL))
        window.wait("document.querySelectorAll('.card')[2].textContent.startsWith('basal, slice 0 · ECV')")
        window.wait("/1 basal anterior/.test(document.getElementById('values').textContent)")
        assert card(window, 0).startswith("basal, slice 0 · T1 native")
        assert card(window, 1).startswith("mid, slice 0 · T1 post-contrast"), "its level is not stated"


def test_the_reason_of_a_low_confidence_is_shown_once(window):
    _, native = measured()
    reason = "The expected Dice of 0.829 is below 0.83: the entropy is high."
    low = replace(native, confidence=0.8296, confidence_reason=reason, notes=("Another.", reason))
    with feeding() as feed:
        window.open("http://{}:{}/".format(*feed.address))
        feed.delivered(Delivery("a", low, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('.card.drawn').length === 1")
        assert text(window, "confidence") == reason
        assert "Another." in text(window, "notes")
        assert reason not in text(window, "notes")


def test_segments_of_a_slice_whose_contours_want_review_are_marked(window):
    _, native = measured()
    low = replace(native, flags=(Flag.REVIEW,), identity=replace(native.identity, slice_index=1))
    with feeding() as feed:
        window.open("http://{}:{}/".format(*feed.address))
        feed.delivered(Delivery("a", native, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('#bullseye text').length > 0")
        assert "?" not in text(window, "bullseye")
        feed.delivered(Delivery("a", low, 0.1, False, 1, 500.0))
        window.wait("document.getElementById('bullseye').textContent.includes('?')")
        assert "contours need review" in text(window, "bullseye")


def test_a_repeated_slice_counts_once_in_the_bulls_eye(window):
    """Of a slice that was acquired again, the page states what a report states: the latest result."""
    _, native = measured()

    def scaled(result, factor):
        regions = tuple(replace(each, median=each.median * factor) for each in result.regions)
        return replace(result, regions=regions)

    again = scaled(repeated(native, 5, along=1.0), 1.5)
    other = scaled(repeated(native, 6, along=20.0), 0.7)
    (segment,) = [each.median for each in native.regions if each.name.startswith("AHA 7 ")]
    numbers = (
        "Array.from(document.querySelectorAll('#bullseye text')).map(each => parseInt(each.textContent))"
    )
    with feeding() as feed:
        address = "http://{}:{}/".format(*feed.address)
        window.open(address)
        for each, expected in ((native, 1.0), (again, 1.5), (other, 1.1)):
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
            window.wait(f"{numbers}[0] === {round(expected * segment)}")
        assert window.evaluate("document.querySelectorAll('.card').length") == 3
        window.open(address)
        window.wait(f"{numbers}[0] === {round(1.1 * segment)}")
        assert "the latest result of each" in text(window, "bullseye-caption")


def test_the_mean_of_a_segment_is_by_area_in_mm2(window):
    """Of a slice with pixels of half the sides: as many pixels count a quarter."""
    _, native = measured()
    regions = tuple(replace(each, median=each.median * 1.5) for each in native.regions)
    width, height = native.geometry.spacing
    other = repeated(native, 6, along=20.0)
    fine = replace(other.geometry, spacing=(width / 2.0, height / 2.0))
    (segment,) = [each.median for each in native.regions if each.name.startswith("AHA 7 ")]
    shown = "parseInt(document.querySelector('#bullseye text').textContent)"
    with feeding() as feed:
        window.open("http://{}:{}/".format(*feed.address))
        for each in (native, replace(other, geometry=fine, regions=regions)):
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
        window.wait(f"document.querySelector('#bullseye text') && {shown} === {round(1.1 * segment)}")


def test_a_name_with_markup_is_text(window):
    _, native = measured()
    name = "<img src=x onerror='document.title=1'><b>Mustermann</b>"
    native = replace(native, identity=replace(native.identity, description=name), notes=(name,), error=name)
    with feeding(page_texts=True) as feed:
        window.open("http://{}:{}/".format(*feed.address))
        feed.delivered(Delivery("a", native, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('.card.drawn').length === 1")
        assert text(window, "name").endswith(f"T1 native · {name}")
        assert name in text(window, "notes")
        assert window.evaluate("document.querySelectorAll('img, b').length") == 0
        assert window.evaluate("document.title") == "myostream"


@pytest.mark.parametrize("width", [420, 1280])
def test_a_card_without_a_value_states_its_error_and_long_names_are_broken(window, width):
    _, native = measured()
    name = "T1map_MOLLI_5s_3s_3s_sax_mid_native_FB_MOCO_" + 20 * "X"
    error = "two of 8 images are left, at least 3 are needed"
    failed = replace(
        native, map=None, contours=None, regions=(), flags=(Flag.MISSING_IMAGES,), error=error,
        identity=replace(native.identity, description=name), notes=(name + name,),
    )  # fmt: skip
    whole = replace(native, identity=replace(failed.identity, slice_index=1), notes=(name + name,))
    with feeding(page_texts=True) as feed:
        window.open("http://{}:{}/".format(*feed.address), width, 800)
        feed.delivered(Delivery("a", failed, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('.card').length === 1")
        assert window.evaluate("document.querySelector('.card .failed').textContent") == error
        assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
        feed.delivered(Delivery("a", whole, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('.card.drawn').length === 1")
        assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [420, 800, 1280, 1600])
def test_the_limits_of_a_window_are_legible(window, width):
    _, native = measured()
    with feeding() as feed:
        window.open("http://{}:{}/".format(*feed.address), width, 800)
        feed.delivered(Delivery("a", native, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('.card.drawn').length === 1")
        assert window.evaluate("document.getElementById('high').value") == "2000"
        # 20 px are those of the arrows that change the number.
        assert window.evaluate(
            "(function (field) { const style = getComputedStyle(field);"
            "const text = document.createElement('span');"
            "text.style.font = style.font; text.textContent = field.value; document.body.appendChild(text);"
            "return field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - 20"
            " >= text.offsetWidth; })(document.getElementById('high'))"
        )
        assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    ("failing", "ends"),
    [
        ("tries < 3 ? Promise.reject(new TypeError('refused')) : own(path, options)", "drawn"),
        ("Promise.reject(new TypeError('refused'))", "The map could not be loaded."),
        ("Promise.resolve(new Response('', { status: 404 }))", "The map is not kept any more."),
    ],
)
def test_a_map_whose_request_fails_is_requested_again(window, failing, ends):
    _, native = measured()
    with feeding() as feed:
        window.open("http://{}:{}/".format(*feed.address))
        window.evaluate(
            "(function () { const own = window.fetch; let tries = 0;"
            f"window.fetch = function (path, options) {{ tries += 1; return {failing}; }}; }})()"
        )
        feed.delivered(Delivery("a", native, 0.1, False, 1, 500.0))
        if ends == "drawn":
            window.wait("document.querySelectorAll('.card.drawn').length === 1")
        window.wait(
            f"document.getElementById('findings').textContent.includes('{ends}') || '{ends}' === 'drawn'"
        )
        assert ("The map" in text(window, "findings")) == (ends != "drawn")


def test_the_page_connects_again_and_says_that_earlier_results_are_gone(window):
    _, native = measured()
    with feeding() as feed:
        address = feed.address
        window.open("http://{}:{}/".format(*address))
        feed.delivered(Delivery("a", native, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('.card.drawn').length === 1")
        assert window.evaluate("document.getElementById('notice').hidden")
    window.wait("!document.getElementById('alarm').hidden")
    with feeding(port=address[1]) as feed:
        window.wait("!document.getElementById('notice').hidden", 60.0)
        assert "started anew: earlier results are no longer shown" in text(window, "notice-text")
        assert window.evaluate("document.getElementById('alarm').hidden")
        window.wait("document.querySelectorAll('.card').length === 0")
        feed.delivered(Delivery("a", native, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('.card.drawn').length === 1")
        assert not window.evaluate("document.getElementById('notice').hidden"), "until somebody has read it"
        window.press("Escape")
        assert window.evaluate("document.getElementById('notice').hidden")


def test_200_slices_by_keyboard(window):
    _, native = measured()
    with feeding() as feed:
        window.open("http://{}:{}/".format(*feed.address))
        for number in range(200):
            while len(feed._waiting._entries) > 30:
                time.sleep(0.01)
            each = replace(native, identity=replace(native.identity, slice_index=number))
            feed.delivered(Delivery("a", each, 0.1, False, 1, 500.0))
        window.wait("document.querySelectorAll('.card.drawn').length === 200", 60.0)
        assert feed.dropped == 0
        assert "slice 199" in text(window, "name")
        window.evaluate("document.querySelectorAll('.card')[120].focus()")
        window.press("Enter")
        assert "slice 120" in text(window, "name")
        window.press("ArrowRight")
        window.press("ArrowRight")
        window.press("ArrowLeft")
        assert "slice 121" in text(window, "name")
        within = window.evaluate(
            "(function (card, cards) { return card.top >= cards.top - 1 && card.bottom <= cards.bottom + 1; }"
            ")(document.querySelector('.card[aria-pressed=true]').getBoundingClientRect(),"
            "document.getElementById('cards').getBoundingClientRect())"
        )
        assert within, "the selected card is in sight"
        assert not window.evaluate("document.getElementById('follow').checked")

        # A key that is typed into a field is no command.
        window.evaluate("document.getElementById('low').focus()")
        before = window.evaluate("document.getElementById('colours').value")
        window.press("m")
        assert window.evaluate("document.getElementById('colours').value") == before
        window.press("Tab")
        assert window.evaluate("document.activeElement.id") == "high"
        window.evaluate("document.activeElement.blur()")
        window.press("m")
        assert window.evaluate("document.getElementById('colours').value") != before
