import pytest

from bench import readme


def test_the_readme_says_what_was_measured():
    if not any(readme.RESULTS.glob("*.json")):
        pytest.fail("there are no results; run the measurements that the README names")
    text = (readme.ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run: python -m bench.readme"


def test_a_changed_figure_is_noticed():
    text = (readme.ROOT / "README.md").read_text(encoding="utf-8")
    changed = text.replace(" ms |", " s |", 1)
    assert changed != text
    assert readme.filled(changed) == text
