import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.relaxometry.ecv import (
    BloodChange,
    check_haematocrit,
    partition_coefficient,
    synthetic_haematocrit,
    tissue_sd,
    total_sd,
)

BLOOD = BloodChange(1600.0, 320.0, 16.0, 3.0)


def test_a_case_by_hand():
    """Blood 1/400 - 1/1600 = 3/1600; myocardium 1/500 - 1/1000 = 1/1000 per ms: 16/30."""
    blood = BloodChange(1600.0, 400.0)
    assert blood.rate == pytest.approx(3 / 1600)
    partition = partition_coefficient([[1000.0]], [[500.0]], blood)
    assert partition == pytest.approx(np.array([[16 / 30]]))
    assert float(partition[0, 0]) * (1.0 - 0.4) == pytest.approx(0.32)


def test_blood_itself_has_a_partition_coefficient_of_1_and_unchanged_tissue_0():
    assert partition_coefficient([1600.0, 1000.0], [320.0, 1000.0], BLOOD) == pytest.approx([1.0, 0.0])


def test_pixels_without_t1_have_none():
    assert partition_coefficient([0.0, 1000.0], [500.0, 0.0], BLOOD).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("post", [1600.0, 1700.0, 0.0])
def test_blood_that_does_not_become_shorter_is_an_error(post):
    with pytest.raises(ValueError, match="does not become shorter"):
        partition_coefficient([1000.0], [500.0], BloodChange(1600.0, post))


@given(st.floats(0.0, 1.2), st.floats(700.0, 1400.0), st.floats(150.0, 900.0))
def test_the_partition_coefficient_that_made_post_contrast_t1_is_found(partition, native, post_blood):
    blood = BloodChange(1600.0, post_blood)
    post = 1.0 / (1.0 / native + partition * blood.rate)
    assert partition_coefficient(native, post, blood) == pytest.approx(partition, abs=1e-9)


@given(st.floats(0.9, 1.1))
def test_a_scale_of_all_t1_changes_nothing(scale):
    scaled = BloodChange(1600.0 * scale, 320.0 * scale)
    expected = partition_coefficient(1000.0, 450.0, BLOOD)
    assert partition_coefficient(1000.0 * scale, 450.0 * scale, scaled) == pytest.approx(expected)


def test_standard_deviations_are_those_of_simulated_noise():
    random = np.random.default_rng(1)
    number = 200_000
    native, post = random.normal(1000.0, 30.0, number), random.normal(450.0, 8.0, number)
    before = random.normal(BLOOD.native_ms, BLOOD.native_error_ms, number)
    after = random.normal(BLOOD.post_ms, BLOOD.post_error_ms, number)
    exact = partition_coefficient(1000.0, 450.0, BLOOD)
    tissue = tissue_sd(1000.0, 450.0, 30.0, 8.0, BLOOD)
    assert tissue == pytest.approx(partition_coefficient(native, post, BLOOD).std(), rel=0.01)
    noisy = (1.0 / post - 1.0 / native) / (1.0 / after - 1.0 / before)
    assert total_sd(exact, tissue, BLOOD) == pytest.approx(noisy.std(), rel=0.01)


@pytest.mark.parametrize("value", [0.2, 0.42, 0.65])
def test_a_haematocrit_within_the_limits_is_taken(value):
    assert check_haematocrit(value) == value


@pytest.mark.parametrize(
    ("value", "hint"),
    [(42.0, r"give 0\.42 for 42 %"), (0.1, r"such as 0\.42"), (0.66, "0.65"), (-0.4, "0.2"), (420.0, "0.42")],
)
def test_any_other_haematocrit_is_an_error_with_a_hint(value, hint):
    with pytest.raises(ValueError, match=hint):
        check_haematocrit(value)


def test_not_a_number_is_no_haematocrit():
    with pytest.raises(ValueError, match="fraction"):
        check_haematocrit(float("nan"))


@pytest.mark.parametrize(
    ("field", "blood", "value", "source"),
    [
        (1.5, 1600.0, 866.0 / 1600.0 - 0.1232, "Treibel"),
        (1.494, 1600.0, 866.0 / 1600.0 - 0.1232, "Treibel"),
        (3.0, 1850.0, 1355.52 / 1850.0 - 0.310, "Reiter"),
        (2.894, 1850.0, 1355.52 / 1850.0 - 0.310, "Reiter"),
    ],
)
def test_the_formula_is_that_of_the_field_strength(field, blood, value, source):
    found, stated = synthetic_haematocrit(blood, field)
    assert found == pytest.approx(value)
    assert source in stated


@pytest.mark.parametrize(
    ("field", "blood", "reason"),
    [
        (None, 1600.0, "no field strength"),
        (0.55, 1200.0, "no formula for 0.55 T"),
        (7.0, 2000.0, "no formula for 7 T"),
        (1.5, 300.0, "outside 0.2 to 0.65"),
        (1.5, 4000.0, "outside 0.2 to 0.65"),
    ],
)
def test_where_no_formula_holds_there_is_no_haematocrit(field, blood, reason):
    found, why = synthetic_haematocrit(blood, field)
    assert found is None
    assert reason in why
