import json

import pytest

from bench import readme

MACHINE = {"processor": "Z80", "cores": 2}
METRICS = {
    "slices": 9,
    "dice": [0.9, 0.01],
    "iou": [0.8, 0.02],
    "hausdorff": [2.5, 0.5],
    "surface": [0.6, 0.1],
}
FIT = {"map_ms": 10.0, "curve_fit_ms_per_pixel": 0.1, "within_0.5_ms": 1.0, "pixels": 100}
RESULTS = {
    "throughput": {
        "slices": 100,
        "peak_memory_mib": 900.0,
        "cold": {"seconds": 5.25},
        "warm": {
            "seconds": 3.5,
            "images_lost": 0,
            "late": 0,
            "stages_ms": {"fit": {"p50": 11.0}, "network": {"p50": 22.0}},
        },
    },
    "latency": {
        "slices": 1000,
        "paces": [
            {
                "interval_ms": 2000.0,
                "latency_ms": {"p50": 50.0, "p99": 60.0, "max": 77.0},
                "worst": {"part": "network"},
            }
        ],
    },
    "scaling": {
        "matrix": [{"value": 128, "whole": 30.0}, {"value": 384, "whole": 90.0}],
        "batch": [{"value": 1, "network": 20.0}, {"value": 8, "network": 17.5}],
        "connections": [{"value": 1, "whole": 40.0}, {"value": 4, "whole": 41.0}],
    },
    "fits": {"T1, 8 images": FIT},
    "phantom": {"median_difference": 0.012},
    "real-t2": {
        "map": "t2",
        "summaries": {
            "all slices": {
                "slices": 19,
                "without_contour": 1,
                "dice": 0.8,
                "dice_cavity": 0.9,
                "dice_myocardium": 0.7,
                "hausdorff": 3.0,
                "bias": -0.5,
                "offset_x": -2.04,
                "offset_y": 1.0,
                "image_shift_x": -1.96,
                "image_shift_y": 0.9,
                "spread": 3.5,
                "reader_spread": 6.25,
            },
            "all slices, offset-corrected": {
                "slices": 19,
                "without_contour": 1,
                "dice": 0.85,
                "dice_cavity": 0.92,
                "dice_myocardium": 0.78,
            },
            "all slices, shifted reader": {
                "slices": 19,
                "without_contour": 0,
                "dice": 0.82,
                "dice_cavity": 0.93,
                "dice_myocardium": 0.71,
                "hausdorff": 3.3,
                "bias": 0.4,
            },
        },
    },
    "synthetic-t1": {
        "map": "t1",
        "summaries": {
            "all": {"slices": 500, "dice": 0.85, "dice_cavity": 0.9, "dice_myocardium": 0.8},
            "oedema": {
                "slices": 40,
                "dice": 0.75,
                "dice_cavity": 0.8,
                "dice_myocardium": 0.7,
                "hausdorff": 4.25,
            },
        },
    },
    "ablation": {
        "steps": 600,
        "synthetic": 50,
        "variants": {
            "anatomy alone": {"real_t2": 0.1, "real_t1": 0.2, "synthetic_t2": 0.3, "synthetic_t1": 0.4}
        },
    },
    "engines": {
        "chosen": "openvino-int8",
        "engines": {
            "torch": {"p50": 100.0, "mean": 105.0, "p99": 120.0, "dice_with_f32": 1.0},
            "openvino-int8": {"p50": 20.0, "mean": 30.0, "p99": 24.0, "dice_with_f32": 0.998},
        },
    },
    "peers": {
        "engine": "openvino-int8",
        "stages": {"network": {"plain_ms": 100.0, "ours_ms": 20.0, "ratio": 5.0}},
        "fits": {"T1, 8 images": FIT},
    },
    "tables-synthetic": {
        "about": "The readers are SIMULATED.",
        "tables": {
            "2": {"values": {"a - b": METRICS, "myostream - readers": METRICS, "among readers": METRICS}},
            "3": {"values": {"myostream - readers": {"T1": METRICS}}},
            "4": {"values": {"among readers": {"basal": METRICS}}},
            "8": {
                "values": {
                    "masks with defects": {
                        "outlines of the masks": {"hausdorff": 40.0},
                        "largest": {"hausdorff": None},
                    }
                }
            },
        },
    },
}
RESULTS["tables-real"] = {
    **RESULTS["tables-synthetic"],
    "tables": {
        **RESULTS["tables-synthetic"]["tables"],
        "6": {
            "values": {
                "U-Net": {"parameters_millions": 32.51, "inference_ms": 20.0},
                "product": {"inference_ms": 9.04},
            }
        },
    },
}
SHOWN = {
    "tables-real": ("| U-Net | 32.5 | 20.0 |", "| product | - | 9.0 |"),
    "throughput": (
        "| 3.50 s |",
        "| 5.25 s |",
        "network 22.0, fit 11.0 ms",
        "| 0 / 0 |",
        "`myostream bench throughput`",
    ),
    "latency": ("`myostream bench latency --slices 1000`", "50 / 60 ms (1.20 x)", "77 ms, network"),
    "scaling": ("30.0 / 90.0 ms", "20.0 / 17.5 ms", "with 1 / 4 connections"),
    "fits": ("| 10 ms |",),
    "phantom": ("1.2 % from the reference",),
    "real-t2": (
        "0.800 / 0.900 / 0.700",
        "| 18 |",
        "-0.5 ms",
        "all slices, offset-corrected (19): Dice, mean / cavity / myocardium | 0.850 / 0.920 / 0.780",
        "shifted reader (19): Dice, mean / cavity / myocardium | 0.820 / 0.930 / 0.710",
        "| -2.0, +1.0 mm |",
        "| 3.5 / 6.2 ms |",
    ),
    "synthetic-t1": ("0.850 / 0.900 / 0.800", "| oedema | 40 | 0.750 | 0.800 | 0.700 | 4.25 |"),
    "ablation": (
        "FOLDER --steps 600 --synthetic 50`",
        "after 600 steps",
        "| anatomy alone | 0.100 | 0.200 | 0.300 | 0.400 |",
    ),
    "engines": ("| openvino-int8 (in use) | 20.0 ms | 30.0 ms | 24.0 ms | 5.0 / 3.5 x | 0.9980 |",),
    "peers": (
        "| network | 100.00 ms | 20.00 ms | 5.0 x |",
        "against curve_fit | 6554 ms | 10.0 ms | 655 x |",
    ),
    "tables-synthetic": (
        "SIMULATED",
        "| among readers: basal | 9 | 0.900 ± 0.010 |",
        "| outlines of the masks | 40.00 |",
        "| + largest | - |",
    ),
}


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Puts results where the command looks for them."""

    def put(results):
        for name, content in results.items():
            (tmp_path / f"{name}.json").write_text(json.dumps({"machine": MACHINE, **content}))
        monkeypatch.setattr(readme, "RESULTS", tmp_path)

    return put


@pytest.mark.parametrize("page", readme.PAGES)
def test_the_pages_say_what_was_measured(page):
    text = page.read_text(encoding="utf-8")
    assert readme.filled(text, readme.PAGES[page]()) == text, "run: python -m bench.readme"


def test_without_results_there_is_nothing_between_the_marks(measured):
    measured({})
    text = "before\n<!-- results: python -m bench.readme -->\nold | 3 ms |\n<!-- end of results -->\nafter"
    for make in readme.PAGES.values():
        assert readme.filled(text, make()).splitlines() == ["before", *text.splitlines()[1:4:2], "after"]


@pytest.mark.parametrize("name", RESULTS)
def test_each_result_alone_is_shown(measured, name):
    measured({name: RESULTS[name]})
    shown = readme.summary() + readme.details()
    for text in ("2 cores of an Z80", *SHOWN[name]):
        assert text in shown


def test_every_result_that_is_read_is_tested():
    names = {name for name, *_ in (*readme._ROWS, *readme._TABLES)}
    assert names - set(RESULTS) == {"real-t1", "synthetic-t2"}


def test_a_changed_figure_is_noticed(measured):
    measured(RESULTS)
    empty = "<!-- results: python -m bench.readme -->\n<!-- end of results -->"
    text = readme.filled(empty, readme.summary())
    changed = text.replace("3.50 s", "2.50 s")
    assert changed != text
    assert readme.filled(changed, readme.summary()) == text


def test_another_machine_is_named_beside_its_figure(measured):
    other = {"machine": {"processor": "6502", "cores": 1}}
    measured(RESULTS | {"phantom": RESULTS["phantom"] | other})
    shown = readme.summary()
    assert "`python -m bench.phantom FILE`, on 1 cores of an 6502" in shown
    assert shown.count("6502") == 1
