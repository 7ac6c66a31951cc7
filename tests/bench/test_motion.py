import pytest

from bench import motion
from bench.watched import make_stream


def test_the_benchmark_measures_rest_and_motion(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(motion, "SIZES_MM", (0.0, 10.0))
    monkeypatch.setattr(motion, "KINDS", ("elastic",))
    results = motion.measure(1)
    assert set(results["motion"]) == {
        f"{quantity}, {name}" for quantity in ("T1", "T2") for name in ("at rest", "elastic 10 mm")
    }
    for quantity in ("T1", "T2"):
        rest, moving = (results["motion"][f"{quantity}, {name}"] for name in ("at rest", "elastic 10 mm"))
        assert (rest["identical"], rest["corrected"], rest["residual_after_px"]) == (1, 0, 0.0)
        assert (moving["identical"], moving["corrected"]) == (0, 1)
        assert moving["residual_after_px"] < moving["residual_before_px"] / 2
        assert rest["r2_still"] == pytest.approx(rest["r2_after"])
    drawn = []
    monkeypatch.setattr(motion, "draw", lambda plot: drawn.append((plot, capsys.readouterr().out)))
    motion.show(results, tmp_path / "motion.json", tmp_path / "motion.png")
    assert drawn == [(tmp_path / "motion.png", "")]  # before the terminal, which may be closed
    assert "T2, elastic 10 mm" in capsys.readouterr().out
    assert (tmp_path / "motion.json").exists()


@pytest.mark.parametrize(("share", "expected"), [(0.0, []), (0.5, [2, 3, 6, 7]), (1.0, list(range(8)))])
def test_a_share_of_a_stream_moves(share, expected):
    _, still = make_stream(8, size=96)
    _, moving = make_stream(8, size=96, moving=share)
    differ = [
        number
        for number, (one, other) in enumerate(zip(still, moving, strict=True))
        if any((a.pixels != b.pixels).any() for a, b in zip(one, other, strict=True))
    ]
    assert differ == expected
