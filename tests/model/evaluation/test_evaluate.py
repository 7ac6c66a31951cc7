from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from model.evaluation import figures
from model.evaluation.cases import LabelledSlice
from model.evaluation.evaluate import (
    compare,
    evaluate,
    label_shift,
    offset_corrected,
    shift_labels,
    shifted_readers,
    summarise,
    systematic_offset,
    to_json,
)
from model.evaluation.figures import best_median_worst, bland_altman, draw_outlines


def labelled(name, value):
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 2
    labels[15:25, 15:25] = 1
    image = np.where(labels == 2, np.float32(value), np.float32(200))
    return LabelledSlice(
        name, "case", "t2", image, np.empty((0, 40, 40), np.float32), (1.5, 1.5), {"a": labels}
    )


SLICES = [labelled("one", 50.0), labelled("two", 40.0), labelled("three", 45.0)]


def test_a_perfect_segmentation():
    outcomes, labels = evaluate(SLICES, lambda image, spacing: SLICES[0].labels)
    summary = summarise(outcomes)
    assert summary["dice"] == 1.0
    assert summary["bias"] == summary["limits_high"] == 0.0
    assert summary["without_contour"] == 0
    assert len(labels) == 3


def test_values_are_those_of_the_myocardium():
    """Label 1 is the cavity (200 here), label 2 the myocardium (50), 0 the background (200)."""
    (outcome,), _ = evaluate(SLICES[:1], lambda image, spacing: SLICES[0].labels)
    assert (outcome.median, outcome.reader_median) == (50.0, 50.0)
    window = replace(SLICES[0], image=np.where(SLICES[0].labels == 2, np.float32(255), 9), in_ms=False)
    assert window.saturated_share() == 1.0
    cavity = replace(SLICES[0], image=np.where(SLICES[0].labels == 1, np.float32(255), 9), in_ms=False)
    assert cavity.saturated_share() == 0.0


@pytest.mark.parametrize(
    ("wall", "in_ms", "expected"),
    [
        (50.0, True, 300.0),
        (np.nan, True, 300.0),
        (500.0, True, 9000.0),  # tenths of a millisecond
        (50.0, False, 9000.0),
    ],
)
def test_a_map_in_ms_goes_to_the_network_as_the_stream_takes_it(wall, in_ms, expected):
    slice_ = labelled("noise", wall)
    slice_.image[0, :3] = 9000.0, np.inf, -5.0
    seen = []
    evaluate([replace(slice_, in_ms=in_ms)], lambda image, spacing: seen.append(image) or slice_.labels)
    rest = (0.0, 0.0) if expected == 300.0 else (np.inf, -5.0)
    assert seen[0][0, :3].tolist() == [expected, *rest]


def test_slices_without_a_contour_count_as_zero_and_have_no_distance():
    found = iter([SLICES[0].labels, np.zeros((40, 40), np.uint8), SLICES[0].labels])
    summary = summarise(evaluate(SLICES, lambda image, spacing: next(found))[0])
    assert summary["without_contour"] == 1
    assert summary["dice"] == pytest.approx(2 / 3)
    assert summary["hausdorff"] == 0.0


def test_limits_of_agreement():
    outcomes, _ = evaluate(SLICES, lambda image, spacing: SLICES[0].labels)
    apart = np.array([-2.0, 1.0, 0.0])
    moved = [replace(each, median=each.reader_median + d) for each, d in zip(outcomes, apart, strict=True)]
    summary = summarise(moved)
    assert summary["bias"] == pytest.approx(-1 / 3)
    assert summary["limits_high"] == pytest.approx(-1 / 3 + 1.96 * apart.std(ddof=1))
    assert summary["absolute_difference"] == pytest.approx(1.0)


def test_no_slices_at_all():
    assert summarise([]) == {"slices": 0}


def test_values_of_json_have_no_nan():
    outcomes, _ = evaluate(SLICES[:1], lambda image, spacing: np.zeros((40, 40), np.uint8))
    (row,) = to_json(outcomes)
    assert row["median"] is None
    assert row["agreement"]["hausdorff_endo"] is None


MANY = [labelled(f"slice {number}", 45.0) for number in range(8)]


def shifted(x, y):
    return np.roll(MANY[0].labels, (y, x), (0, 1))


def test_an_offset_that_all_slices_share_is_found_and_removed():
    found = iter([shifted(2 + number % 2, -1) for number in range(8)])
    outcomes, labels = evaluate(MANY, lambda image, spacing: next(found))
    assert systematic_offset(outcomes) == (pytest.approx(2.5 * 1.5), pytest.approx(-1.5))
    assert summarise(outcomes)["dice"] < 0.8
    aligned = summarise(offset_corrected(MANY, labels, outcomes))
    assert aligned["dice"] > 0.88
    assert abs(aligned["offset_x"]) < 0.1


@given(x=st.floats(-4, 4), y=st.floats(-4, 4))
@settings(max_examples=30)
def test_labels_move_by_parts_of_a_pixel(x, y):
    rows, columns = np.indices((64, 64))

    def disc(x, y):
        rho = np.hypot(columns - 31.3 - x, rows - 32.2 - y)
        return np.where(rho < 9, 1, np.where(rho < 16, 2, 0)).astype(np.uint8)

    moved = shift_labels(disc(0, 0), x, y)
    for inside in (lambda labels: labels == 1, lambda labels: labels > 0):
        ours, theirs = inside(moved), inside(disc(x, y))
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.94
        centre = np.argwhere(ours).mean(axis=0) - np.argwhere(theirs).mean(axis=0)
        assert np.abs(centre).max() < 0.3


def test_shifted_readers_agree_as_contours_that_lie_right():
    moved = summarise(shifted_readers(MANY, (3.0, -1.5)))
    following, _ = evaluate(MANY, lambda image, spacing: shifted(2, -1))
    assert moved["dice"] == pytest.approx(summarise(following)["dice"], abs=0.02)
    assert (moved["offset_x"], moved["offset_y"]) == (
        pytest.approx(3.0, abs=0.1),
        pytest.approx(-1.5, abs=0.1),
    )
    assert summarise(shifted_readers(MANY, (0.0, 0.0)))["dice"] > 0.98


def test_chance_offsets_are_not_systematic():
    found = iter(
        [shifted(x, y) for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1), (2, 1), (-2, -1), (1, 1), (0, 0))]
    )
    outcomes, _ = evaluate(MANY, lambda image, spacing: next(found))
    assert systematic_offset(outcomes) is None


def test_a_slice_without_a_contour_has_no_part_in_the_offset():
    found = iter([np.zeros((40, 40), np.uint8), *[shifted(2, 1)] * 7])
    outcomes, labels = evaluate(MANY, lambda image, spacing: next(found))
    assert systematic_offset(outcomes) == (3.0, 1.5)
    aligned = offset_corrected(MANY, labels, outcomes)
    assert not aligned[0].contour
    assert aligned[1].agreement.dice > 0.97


def test_a_slice_where_another_heart_is_found_does_not_hide_an_offset():
    """Seven slices lie 3 mm to the right; on the last the network finds a structure at the image's corner."""
    other = np.zeros((40, 40), np.uint8)
    other[:12, :12], other[3:9, 3:9] = 2, 1
    found = iter([*[shifted(2, 0)] * 7, other])
    outcomes, labels = evaluate(MANY, lambda image, spacing: next(found))
    assert systematic_offset(outcomes) == (3.0, 0.0)
    summary = summarise(outcomes)
    assert (summary["offset_x"], summary["offset_y"]) == (3.0, 0.0)
    corrected = offset_corrected(MANY, labels, outcomes)
    assert all(each.offset == pytest.approx((0.0, 0.0), abs=0.1) for each in corrected[:7])
    assert to_json(outcomes)[-1]["offset"] == [None, None]


@pytest.mark.parametrize(("right", "one"), [(6, True), (7, False)])
def test_hearts_that_overlap_by_half_have_an_offset(right, one):
    """Squares of 20 pixels, 6 pixels apart: IoU 14 / 26; 7 apart: 13 / 27."""
    (outcome,), _ = evaluate(SLICES[:1], lambda image, spacing: shifted(right, 0))
    assert bool(np.isfinite(outcome.offset).all()) == one


def with_offsets(x, y):
    """Outcomes with offsets of so many slices in x and y, mm."""
    (outcome,), _ = evaluate(SLICES[:1], lambda image, spacing: SLICES[0].labels)
    return [replace(outcome, offset=offset) for offset in zip(x, y, strict=True)]


@pytest.mark.parametrize(("errors", "systematic"), [(2.9, False), (3.1, True), (-3.1, True)])
def test_an_offset_beyond_three_standard_errors_is_systematic(errors, systematic):
    """Eight values of 1 and -1 have a standard error of 1 / sqrt(7); one axis is enough."""
    around = np.array([1.0, -1.0] * 4)
    mean = errors / np.sqrt(7)
    assert (systematic_offset(with_offsets(around + mean, around)) is not None) == systematic
    assert (systematic_offset(with_offsets(around, around + mean)) is not None) == systematic


def test_an_offset_of_fewer_than_five_slices_is_not_systematic():
    assert systematic_offset(with_offsets([2.0] * 4, [1.0] * 4)) is None
    assert systematic_offset(with_offsets([2.0] * 5, [1.0] * 5)) == (2.0, 1.0)


def test_a_slice_has_no_part_in_its_own_correction():
    """Seven slices lie a pixel (1.5 mm) to the left, the last 5 pixels to the right."""
    found = iter([*[shifted(-1, 0)] * 7, shifted(5, 0)])
    outcomes, labels = evaluate(MANY, lambda image, spacing: next(found))
    corrected = offset_corrected(MANY, labels, outcomes)
    assert corrected[-1].offset == pytest.approx((9.0, 0.0), abs=0.1)
    # A square moves by whole pixels.
    assert corrected[0].offset == pytest.approx((-1.5 + (6 * 1.5 - 7.5) / 7, 0.0), abs=0.3)


def test_the_label_shift_is_the_mean_over_slices_in_mm():
    """The image lies where labels shifted by 2 pixels right and 1 up would; a slice without labels is left
    out."""
    image = np.where(shifted(2, -1) == 2, np.float32(50), np.float32(200))
    slices = [replace(each, image=image) for each in SLICES[:2]]
    empty = replace(SLICES[2], readers={"a": np.zeros((40, 40), np.uint8)})
    assert label_shift([*slices, empty]) == pytest.approx((3.0, -1.5), abs=0.2)
    assert np.isnan(label_shift([empty])).all()


def test_what_is_not_myocardium_widens_the_spread():
    outcomes, _ = evaluate(SLICES[:1], lambda image, spacing: shifted(3, 0))
    assert outcomes[0].reader_spread == 0.0
    assert outcomes[0].spread > 50.0


EMPTY = np.zeros((40, 40), np.uint8)


def with_nan(slice_):
    image = slice_.image.copy()
    image[12, 12] = np.nan
    return replace(slice_, image=image)


def test_a_slice_without_readers_contours_has_no_part_in_distances_and_medians():
    """Eight slices whose contours lie 3 mm to the right, and one whose mask is empty."""
    outcomes, labels = evaluate(MANY, lambda image, spacing: shifted(2, 0))
    alone, corrected = summarise(outcomes), summarise(offset_corrected(MANY, labels, outcomes))
    slices = [*MANY, replace(MANY[0], readers={"a": EMPTY})]
    more, labels = evaluate(slices, lambda image, spacing: shifted(2, 0))
    summary = summarise(more)
    assert (alone["without_distances"], alone["without_medians"]) == (0, 0)
    assert (summary["without_distances"], summary["without_medians"]) == (1, 1)
    # A contour where the reader drew none has no overlap.
    assert summary["dice"] == pytest.approx(alone["dice"] * 8 / 9)
    for name in ("hausdorff", "surface_endo", "bias", "limits_high", "spread", "reader_spread", "offset_x"):
        assert summary[name] == alone[name]
    assert systematic_offset(more) == systematic_offset(outcomes) == (3.0, 0.0)
    assert summarise(offset_corrected(slices, labels, more))["surface"] == corrected["surface"]
    assert corrected["surface"] < 0.2 < alone["surface"]


def test_a_mask_without_a_cavity_gives_no_distance_and_an_offset():
    wall = np.where(SLICES[0].labels == 2, 2, 0).astype(np.uint8)
    slices = [*SLICES, replace(SLICES[0], readers={"a": wall})]
    summary = summarise(evaluate(slices, lambda image, spacing: SLICES[0].labels)[0])
    assert (summary["without_distances"], summary["without_medians"]) == (1, 0)
    assert (summary["hausdorff"], summary["hausdorff_epi"], summary["offset_x"]) == (0.0, 0.0, 0.0)


def test_values_that_are_not_finite_have_no_part_in_median_and_spread():
    slices = [with_nan(each) for each in SLICES]
    outcomes, _ = evaluate(slices, lambda image, spacing: SLICES[0].labels)
    assert [(each.median, each.reader_median) for each in outcomes] == [(50, 50), (40, 40), (45, 45)]
    summary = summarise(outcomes)
    assert (summary["bias"], summary["spread"], summary["without_medians"]) == (0.0, 0.0, 0)


def test_a_map_without_values_in_the_wall_has_no_part_in_the_medians():
    nothing = replace(SLICES[0], image=np.full((40, 40), np.nan, np.float32))
    summary = summarise(evaluate([*SLICES, nothing], lambda image, spacing: SLICES[0].labels)[0])
    assert (summary["bias"], summary["without_medians"], summary["hausdorff"]) == (0.0, 1, 0.0)
    alone = summarise(evaluate([nothing], lambda image, spacing: SLICES[0].labels)[0])
    assert "bias" not in alone
    assert alone["hausdorff"] == 0.0
    assert np.isnan(label_shift([nothing])).all()


def test_pixels_that_are_not_finite_do_not_decide_the_label_shift():
    image = np.where(shifted(2, -1) == 2, np.float32(50), np.float32(200))
    image[12, 12] = np.nan
    assert label_shift([replace(SLICES[0], image=image)]) == pytest.approx((3.0, -1.5), abs=0.2)


def test_figures_of_slices_without_contours_or_values(tmp_path):
    slices = [
        replace(SLICES[0], readers={"a": EMPTY}),
        with_nan(SLICES[1]),
        replace(SLICES[2], readers={"a": EMPTY}),
    ]
    for labels in ([SLICES[0].labels] * 3, [EMPTY] * 3):
        best_median_worst(tmp_path / "overlays.png", slices, labels, [0.9, 0.5, 0.0])
        outcomes = [compare(slice_, found) for slice_, found in zip(slices, labels, strict=True)]
        bland_altman(tmp_path / "bland-altman.png", outcomes, "ms")
    for name in ("overlays.png", "bland-altman.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("spacing", [(1.5, 1.5), (1.0, 2.0), (1.7, 1.2)])
def test_a_round_heart_is_round_in_the_overlays(spacing, tmp_path):
    y, x = np.indices((80, 80))
    apart = np.hypot((x - 40) * spacing[0], (y - 40) * spacing[1])
    labels = np.where(apart < 15, 1, np.where(apart < 24, 2, 0)).astype(np.uint8)
    image = np.zeros((80, 80), np.float32)
    slices = [replace(SLICES[0], image=image, spacing=spacing, readers={"a": labels})] * 3
    best_median_worst(tmp_path / "overlays.png", slices, [labels] * 3, [0.9, 0.5, 0.0])
    drawn = cv2.imread(str(tmp_path / "overlays.png"))[:, : 12 * 200 // 3].astype(int)
    rows, columns = np.nonzero(drawn[..., 1] > drawn[..., 2] + 80)
    assert np.ptp(rows) > 100
    # The mask of whole pixels itself is 39 x 1.2 mm tall and 29 x 1.7 mm wide in the last case, 0.949.
    ys, xs = np.nonzero(labels)
    of_mask = (np.ptp(ys) + 1) * spacing[1] / ((np.ptp(xs) + 1) * spacing[0])
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(of_mask, abs=0.02)


def outlines(mask):
    """Outlines (corners, x and y) that are drawn of a mask."""
    drawn = plt.figure().add_subplot()
    draw_outlines(drawn, mask.astype(np.uint8))
    corners = [each for path in drawn.collections[0].get_paths() for each in path.to_polygons()]
    plt.close("all")
    return corners


@pytest.mark.parametrize("radius", [2, 2.5, 3, 4, 6, 8, 12])
def test_outlines_are_round_and_keep_their_place(radius):
    y, x = np.indices((64, 64))
    centres = np.random.default_rng(0).uniform(31.5, 32.5, (20, 2))
    found = []
    for centre in centres:
        (corners,) = outlines(np.hypot(x - centre[0], y - centre[1]) < radius)
        radii = np.hypot(*(corners - centre).T)
        found.append((np.sqrt(cv2.contourArea(corners.astype(np.float32)) / np.pi), radii.std()))
    by_area, spread = np.median(found, axis=0)
    assert by_area == pytest.approx(radius, abs=0.1)
    assert spread < 0.18  # 0.20 to 0.22 along the pixels


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (8, 1), (2, 2), (2, 8), (3, 3)])
def test_no_mask_is_without_outline(shape):
    mask = np.zeros((32, 32), bool)
    mask[10 : 10 + shape[0], 12 : 12 + shape[1]] = True
    (corners,) = outlines(mask)
    assert np.ptp(corners, axis=0) == pytest.approx(shape[::-1], abs=0.5)
    assert corners.mean(axis=0) == pytest.approx((11.5 + shape[1] / 2, 9.5 + shape[0] / 2), abs=0.3)


def test_figures_state_what_they_show(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda made, *_, **__: drawn.append(made))
    best_median_worst(tmp_path / "a.png", SLICES, [each.labels for each in SLICES], [0.9, 0.8, 0.7])
    assert "solid: myostream, dashed: reader" in drawn[0].get_suptitle()
    outcomes = [
        replace(compare(SLICES[0], SLICES[0].labels), median=50.0 + d, reader_median=50.0) for d in (1, 2, 3)
    ]
    bland_altman(tmp_path / "b.png", outcomes, "ms")
    (axes,) = drawn[1].axes
    # differences of 1, 2, 3: bias 2, SD 1
    stated = {tuple(each.get_text().split("\n")) for each in axes.texts}
    assert stated == {(" bias", " +2.0"), (" -1.96 SD", " +0.0"), (" +1.96 SD", " +4.0")}
    assert axes.get_title() == "3 slices"
