"""Record of a slice."""


def made(**more):
    ring = {"name": "global", "median": 950.0, "q1": 940.0, "q3": 960.0, "mean": 1.0, "sd": 1.0, "pixels": 9}
    return {
        "series_index": 1,
        "slice_index": 0,
        "level": "mid",
        "quantity": "T1",
        "motion_corrected": False,
        "t1_scale": 1.0,
        "regions": [ring],
        "confidence": 0.9,
        "times_ms": {"fit": 20.0},
        "flags": [],
        "notes": [],
        "error": "",
        **more,
    }
