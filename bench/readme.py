"""The results in the documentation, from the files that measurements wrote: ``python -m bench.readme``.

Each measurement is run with ``--json bench/results/NAME.json`` (``docs/benchmarks.md`` has the commands);
this command writes one table between two marks of the README, and the longer ones between those of
``docs/benchmarks.md``. A test fails when files and pages differ. Without results there is nothing between the
marks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from inline.cli.evaluation import OFFSET_CORRECTED, SHIFTED_READERS
from model.output import write_text

Rows = list[tuple[str, str]]
"""What was measured, and its figure."""

ROOT: Final = Path(__file__).parent.parent
RESULTS: Final = Path(__file__).parent / "results"
_BEGIN: Final = "<!-- results: python -m bench.readme -->"
_END: Final = "<!-- end of results -->"


def _read(name: str) -> dict[str, Any] | None:
    file = RESULTS / f"{name}.json"
    if not file.exists():
        return None
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _fit_rows(content: dict[str, Any]) -> Rows:
    cases = {name: case for name, case in content.items() if name != "machine"}
    within = min(case["within_0.5_ms"] for case in cases.values())
    rows = [(f"{name}, 256 x 256 pixels", f"{case['map_ms']:.0f} ms") for name, case in cases.items()]
    pixels = min(case["pixels"] for case in cases.values())
    rows.append((f"within 0.5 ms of scipy's optimum, {pixels} pixels each", f"{100 * within:.2f} % at least"))
    return rows


def _phantom_rows(content: dict[str, Any]) -> Rows:
    share = 100 * content["median_difference"]
    return [("T1 of a scanned phantom, median vial", f"{share:.1f} % from the reference")]


def _real_rows(content: dict[str, Any]) -> Rows:
    rows = []
    for name, summary in content["summaries"].items():
        what = f"real {content['map'].upper()} maps, {name} ({summary['slices']})"
        rows.append(
            (
                f"{what}: Dice, mean / cavity / myocardium",
                f"{summary['dice']:.3f} / {summary['dice_cavity']:.3f} / {summary['dice_myocardium']:.3f}",
            )
        )
        ours = not name.endswith(SHIFTED_READERS)
        if ours:
            found = summary["slices"] - summary["without_contour"]
            rows.append((f"{what}: with a contour", f"{found:.0f}"))
        if "hausdorff" in summary:
            rows.append((f"{what}: Hausdorff distance", f"{summary['hausdorff']:.2f} mm"))
            if ours and content["map"] == "t2":
                rows.append((f"{what}: median from the expert's", f"{summary['bias']:+.1f} ms"))
        if f"{name}, {OFFSET_CORRECTED}" in content["summaries"]:
            across, down = summary["offset_x"], summary["offset_y"]
            asked = f"{summary['image_shift_x']:+.1f}, {summary['image_shift_y']:+.1f} mm"
            rows.append((f"{what}: from the expert's, right and down", f"{across:+.1f}, {down:+.1f} mm"))
            rows.append((f"{what}: by the image alone, the expert's should move right and down", asked))
            spread = f"{summary['spread']:.1f} / {summary['reader_spread']:.1f}"
            unit = " ms" if content["map"] == "t2" else " grey levels"
            rows.append((f"{what}: spread within the myocardium, ours / the expert's", spread + unit))
    return rows


def _synthetic_rows(content: dict[str, Any]) -> Rows:
    summary = content["summaries"]["all"]
    what = f"synthetic {content['map'].upper()} maps ({summary['slices']})"
    dice = f"{summary['dice']:.3f} / {summary['dice_cavity']:.3f} / {summary['dice_myocardium']:.3f}"
    return [(f"{what}: Dice, mean / cavity / myocardium", dice)]


def _throughput_rows(content: dict[str, Any]) -> Rows:
    warm, cold = content["warm"], content["cold"]
    stages = sorted(warm["stages_ms"].items(), key=lambda stage: -stage[1]["p50"])
    return [
        (
            f"{content['slices']} slices, first byte to last result, warm (published, V100, without fits and "
            "streaming: 12.3 s for 100)",
            f"{warm['seconds']:.2f} s",
        ),
        ("the same, cold", f"{cold['seconds']:.2f} s"),
        ("images lost / budget missed, warm", f"{warm['images_lost']} / {warm['late']}"),
        (
            "where a slice's time goes, median",
            ", ".join(f"{name} {values['p50']:.1f}" for name, values in stages[:4]) + " ms",
        ),
        ("largest memory of the server", f"{content['peak_memory_mib']:.0f} MiB"),
    ]


def _latency_rows(content: dict[str, Any]) -> Rows:
    rows = []
    for pace in content["paces"]:
        what = f"a slice every {pace['interval_ms']:.0f} ms, {content['slices']} slices"
        values, worst = pace["latency_ms"], pace["worst"]
        ratio = values["p99"] / values["p50"]
        rows.append(
            (
                f"{what}: last byte to last result, p50 / p99",
                f"{values['p50']:.0f} / {values['p99']:.0f} ms ({ratio:.2f} x)",
            )
        )
        rows.append((f"{what}: worst, and what held it up", f"{values['max']:.0f} ms, {worst['part']}"))
    return rows


def _scaling_rows(content: dict[str, Any]) -> Rows:
    def ends(name: str, key: str) -> str:
        first, last = content[name][0], content[name][-1]
        return f"{first[key]:.1f} / {last[key]:.1f} ms"

    def values(name: str) -> str:
        return f"{content[name][0]['value']} / {content[name][-1]['value']}"

    return [
        (f"a T1 slice of 8 images, rows and columns {values('matrix')}", ends("matrix", "whole")),
        (f"network, a slice in batches of {values('batch')}", ends("batch", "network")),
        (f"whole stream, a slice with {values('connections')} connections", ends("connections", "whole")),
    ]


def _peer_lines(content: dict[str, Any]) -> list[str]:
    lines = _heading("stage", "plainly", f"myostream ({content['engine']})", "ratio")
    for name, stage in content["stages"].items():
        ratio = stage["ratio"]
        cells = (
            f"{stage['plain_ms']:.2f} ms",
            f"{stage['ours_ms']:.2f} ms",
            f"{ratio:.{1 if ratio < 10 else 0}f} x",
        )
        lines.append(_line((name, *cells)))
    for name, fit in content["fits"].items():
        side = 256 * 256
        ours = f"{fit['map_ms']:.1f} ms"
        for peer, key in (("curve_fit", "curve_fit_ms_per_pixel"), ("qmri", "qmri_ms_per_pixel")):
            if key in fit:
                whole = fit[key] * side
                cells = (f"{whole:.0f} ms", ours, f"{whole / fit['map_ms']:.0f} x")
                lines.append(_line((f"{name}, 256 x 256, against {peer}", *cells)))
    return lines


def _engine_lines(content: dict[str, Any]) -> list[str]:
    lines = _heading("engine", "p50", "mean", "p99", "against torch, p50 / mean", "Dice with torch")
    torch = content["engines"]["torch"]
    for name, engine in content["engines"].items():
        used = " (in use)" if name == content["chosen"] else ""
        cells = (
            f"{engine['p50']:.1f} ms",
            f"{engine['mean']:.1f} ms",
            f"{engine['p99']:.1f} ms",
            f"{torch['p50'] / engine['p50']:.1f} / {torch['mean'] / engine['mean']:.1f} x",
            f"{engine['dice_with_f32']:.4f}",
        )
        lines.append(_line((f"{name}{used}", *cells)))
    return lines


_METRICS: Final = (
    ("dice", "Dice", 3),
    ("iou", "IoU", 3),
    ("hausdorff", "Hausdorff mm", 2),
    ("surface", "surface mm", 2),
)


def _agreement_lines(content: dict[str, Any]) -> list[str]:
    """Tables 2 to 4: means and standard deviations, of pairs on the whole, by map and by level."""
    tables = content["tables"]
    overall = tables["2"]["values"]
    rows = [(side, overall[side]) for side in ("myostream - readers", "among readers") if side in overall]
    for number in ("3", "4"):
        for side, groups in tables[number]["values"].items():
            rows += [(f"{side}: {name}", figures) for name, figures in groups.items()]
    lines = [
        f"{content['about']}",
        "",
        *_heading("pairs", "slices", *(heading for _, heading, _ in _METRICS)),
    ]
    for name, figures in rows:
        cells = [
            f"{figures[key][0]:.{digits}f} ± {figures[key][1]:.{digits}f}" if key in figures else "-"
            for key, _, digits in _METRICS
        ]
        lines.append(_line((name, str(figures["slices"]), *cells)))
    return lines


def _step_lines(content: dict[str, Any]) -> list[str]:
    """Table 8."""
    sets = content["tables"]["8"]["values"]
    lines = _heading("post-processing, mean Hausdorff mm", *sets)
    for number, step in enumerate(next(iter(sets.values()))):
        found = [steps[step]["hausdorff"] for steps in sets.values()]
        cells = ["-" if value is None else f"{value:.2f}" for value in found]
        lines.append(_line((f"{'+ ' if number else ''}{step}", *cells)))
    return lines


def _architecture_lines(content: dict[str, Any]) -> list[str]:
    """What the architectures of table 6 cost; what they reach takes whole trainings to tell."""
    lines = _heading("architecture", "parameters, millions", "inference ms")
    for name, figures in content["tables"]["6"]["values"].items():
        millions = figures.get("parameters_millions")
        cells = ("-" if millions is None else f"{millions:.1f}", f"{figures['inference_ms']:.1f}")
        lines.append(_line((name, *cells)))
    return lines


def _group_lines(content: dict[str, Any]) -> list[str]:
    """Synthetic slices by level and pathology."""
    what = f"{content['map'].upper()}, synthetic"
    lines = _heading(what, "slices", "Dice", "cavity", "myocardium", "Hausdorff mm")
    for name, figures in content["summaries"].items():
        dice = (f"{figures[key]:.3f}" for key in ("dice", "dice_cavity", "dice_myocardium"))
        apart = f"{figures['hausdorff']:.2f}" if "hausdorff" in figures else "-"
        lines.append(_line((name, str(figures["slices"]), *dice, apart)))
    return lines


def _ablation_lines(content: dict[str, Any]) -> list[str]:
    """What each part of the generator is worth."""
    columns = ("real_t2", "real_t1", "synthetic_t2", "synthetic_t1")
    headings = ("real T2", "real T1, not saturated", "synthetic T2", "synthetic T1")
    lines = _heading(f"generator, mean Dice after {content['steps']} steps", *headings)
    for name, figures in content["variants"].items():
        lines.append(_line((name, *(f"{figures[key]:.3f}" for key in columns))))
    return lines


_ROWS: Final[tuple[tuple[str, str, Callable[[dict[str, Any]], Rows]], ...]] = (
    ("throughput", "myostream bench throughput", _throughput_rows),
    ("latency", "myostream bench latency --slices {slices}", _latency_rows),
    ("scaling", "myostream bench scaling", _scaling_rows),
    ("fits", "python -m bench.fits", _fit_rows),
    ("phantom", "python -m bench.phantom FILE", _phantom_rows),
    ("real-t2", "myostream evaluate --data FOLDER --map t2", _real_rows),
    ("real-t1", "myostream evaluate --data FOLDER --map t1", _real_rows),
    ("synthetic-t1", "myostream evaluate --synthetic 500 --map t1", _synthetic_rows),
    ("synthetic-t2", "myostream evaluate --synthetic 500 --map t2", _synthetic_rows),
)
"""Results that are rows of one table: file, command, rows."""
_TABLES: Final[tuple[tuple[str, str, Callable[[dict[str, Any]], list[str]]], ...]] = (
    ("engines", "myostream engines", _engine_lines),
    ("peers", "myostream bench peers", _peer_lines),
    ("tables-real", "myostream bench tables --data FOLDER", _agreement_lines),
    ("tables-synthetic", "myostream bench tables --synthetic 100", _agreement_lines),
    ("tables-synthetic", "myostream bench tables --synthetic 100", _step_lines),
    ("tables-real", "myostream bench tables --data FOLDER", _architecture_lines),
    ("synthetic-t1", "myostream evaluate --synthetic 500 --map t1", _group_lines),
    ("synthetic-t2", "myostream evaluate --synthetic 500 --map t2", _group_lines),
    (
        "ablation",
        "python -m bench.ablation --data FOLDER --steps {steps} --synthetic {synthetic}",
        _ablation_lines,
    ),
)
"""Results with a table of their own: file, command, lines."""


def summary() -> str:
    """Every result that is a row, as one table in Markdown; empty without any."""
    found, beside, usual = _found(_ROWS)
    rows = [
        _line((what, figure, beside(name, command.format(**content))))
        for name, command, make in _ROWS
        if (content := found.get(name)) is not None
        for what, figure in make(content)
    ]
    if not rows:
        return ""
    heading = [_line(("what", "figure", "command")), _line(["---"] * 3)]
    return "\n".join([f"On {usual}. The command beside a figure prints it.", "", *heading, *rows])


def details() -> str:
    """The results with tables of their own, as Markdown; empty without any."""
    found, beside, usual = _found(_TABLES)
    parts = [
        f"{beside(name, command.format(**found[name]))}:\n\n" + "\n".join(make(found[name]))
        for name, command, make in _TABLES
        if name in found
    ]
    return "\n\n".join([f"On {usual}.", *parts]) if parts else ""


def _found(
    sources: Sequence[tuple[str, str, Any]],
) -> tuple[dict[str, dict[str, Any]], Callable[[str, str], str], str]:
    """The results that there are, how to name the command of one, and the machine of most of them."""
    found = {name: content for name, *_ in sources if (content := _read(name)) is not None}
    machines = {name: _machine(content) for name, content in found.items()}
    usual = Counter(machines.values()).most_common(1)[0][0] if machines else ""

    def beside(name: str, command: str) -> str:
        elsewhere = "" if machines[name] == usual else f", on {machines[name]}"
        return f"`{command}`{elsewhere}"

    return found, beside, usual


def _machine(content: dict[str, Any]) -> str:
    machine = content["machine"]
    # Results from before this was noted come from processors without.
    vnni = " with VNNI" if machine.get("vnni") else ""
    return f"{machine['cores']} cores of an {machine['processor']}{vnni}, without a GPU"


def _heading(*columns: str) -> list[str]:
    """The first two lines of a table of figures: names on the left, figures on the right."""
    return [_line(columns), _line(["---", *["---:"] * (len(columns) - 1)])]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


PAGES: Final = {ROOT / "README.md": summary, ROOT / "docs" / "benchmarks.md": details}
"""What stands between the marks of each page."""


def filled(page: str, between: str) -> str:
    """A page with something else between its marks."""
    before, rest = page.split(_BEGIN)
    after = rest.split(_END)[1]
    return f"{before}{_BEGIN}\n{between}{chr(10) if between else ''}{_END}{after}"


if __name__ == "__main__":
    for path, make in PAGES.items():
        write_text(path, filled(path.read_text(encoding="utf-8"), make()))
