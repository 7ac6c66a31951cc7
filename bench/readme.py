"""The README's table of results, from the files that the measurements wrote: ``python -m bench.readme``.

Each measurement is run with ``--json bench/results/NAME.json``; this command writes the table between two
marks of the README. A test fails when the two differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

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


def _fit_rows(content: dict[str, Any]) -> list[tuple[str, str]]:
    cases = {name: case for name, case in content.items() if name != "machine"}
    within = min(case["within_0.5_ms"] for case in cases.values())
    rows = [(f"{name}, 256 x 256 pixels", f"{case['map_ms']:.0f} ms") for name, case in cases.items()]
    pixels = min(case["pixels"] for case in cases.values())
    rows.append((f"within 0.5 ms of scipy's optimum, {pixels} pixels each", f"{100 * within:.2f} % at least"))
    return rows


def _phantom_rows(content: dict[str, Any]) -> list[tuple[str, str]]:
    share = 100 * content["median_difference"]
    return [("T1 of a scanned phantom, median vial", f"{share:.1f} % from the reference")]


def _real_rows(content: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, summary in content["summaries"].items():
        what = f"real {content['map'].upper()} maps, {name} ({summary['slices']})"
        rows.append(
            (
                f"{what}: Dice, mean / cavity / myocardium",
                f"{summary['dice']:.3f} / {summary['dice_cavity']:.3f} / {summary['dice_myocardium']:.3f}",
            )
        )
        found = summary["slices"] - summary["without_contour"]
        rows.append((f"{what}: with a contour", f"{found:.0f}"))
        if "hausdorff" in summary:
            rows.append((f"{what}: Hausdorff distance", f"{summary['hausdorff']:.2f} mm"))
            if content["map"] == "t2":
                rows.append((f"{what}: median from the expert's", f"{summary['bias']:+.1f} ms"))
    return rows


def _synthetic_rows(content: dict[str, Any]) -> list[tuple[str, str]]:
    summary = content["summaries"]["all"]
    what = f"synthetic {content['map'].upper()} maps ({summary['slices']})"
    dice = f"{summary['dice']:.3f} / {summary['dice_cavity']:.3f} / {summary['dice_myocardium']:.3f}"
    return [(f"{what}: Dice, mean / cavity / myocardium", dice)]


def _throughput_rows(content: dict[str, Any]) -> list[tuple[str, str]]:
    warm = content["warm"]
    return [
        (f"{content['slices']} slices, first byte to last result, warm", f"{warm['seconds']:.2f} s"),
        ("images lost / budget missed", f"{warm['images_lost']} / {warm['late']}"),
    ]


_SOURCES: Final = (
    ("fits", "python -m bench.fits", _fit_rows),
    ("phantom", "python -m bench.phantom FILE", _phantom_rows),
    ("real-t2", "myostream evaluate --data FOLDER --map t2", _real_rows),
    ("real-t1", "myostream evaluate --data FOLDER --map t1", _real_rows),
    ("synthetic-t1", "myostream evaluate --synthetic 500 --map t1", _synthetic_rows),
    ("synthetic-t2", "myostream evaluate --synthetic 500 --map t2", _synthetic_rows),
    ("throughput", "myostream bench throughput", _throughput_rows),
)


def table() -> str:
    """The table of all results there are."""
    machine: dict[str, Any] = {}
    lines = ["| what | figure | command |", "| --- | --- | --- |"]
    for name, command, rows in _SOURCES:
        content = _read(name)
        if content is None:
            continue
        machine = content["machine"]
        lines += [f"| {what} | {figure} | `{command}` |" for what, figure in rows(content)]
    where = f"On {machine['cores']} cores of an {machine['processor']}, without a GPU."
    return "\n".join([f"{where} The command beside a figure prints it.", "", *lines])


def filled(readme: str) -> str:
    """The README with the table between its marks."""
    before, rest = readme.split(_BEGIN)
    after = rest.split(_END)[1]
    return f"{before}{_BEGIN}\n{table()}\n{_END}{after}"


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
