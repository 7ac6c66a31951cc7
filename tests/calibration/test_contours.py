"""The convention of a site, against labels that were drawn at known distances from known borders."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from calibration import contours
from calibration.contours import estimate, fit, offsets_of, reader_offsets, readers_apart
from inline.__main__ import app
from inline.data.errors import MyostreamError
from inline.data.results import ContourOffsets, Contours
from inline.settings import Settings, load_settings
from model.polygons import ring_labels

ANGLE = np.linspace(0, 2 * np.pi, 96, endpoint=False)
AROUND = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)
SHAPE = (150, 160)
CENTRE = np.array([80.3, 74.6])


def ring(inner, outer, spacing, middle=CENTRE):
    """Contours in pixels from radii in mm, one for all angles or one for each."""
    return Contours(*(middle + np.reshape(each, (-1, 1)) * AROUND / spacing for each in (inner, outer)))


def labels_at(offsets, spacing, inner=20.0, outer=31.0, noise=0.0, seed=0):
    """Labels of a reader, by polar radii: no parallel curve of ours is used."""
    random = np.random.default_rng(seed)
    harmonics = np.arange(1, 9)[:, None]

    def wobble():
        phases = random.uniform(0, 2 * np.pi, (8, 1))
        made = np.cos(harmonics * ANGLE + phases).sum(axis=0)
        return noise * made / made.std()

    drawn = ring(inner + offsets[0] + wobble(), outer - offsets[1] + wobble(), spacing)
    return ring_labels(drawn.endo, drawn.epi, SHAPE)


@pytest.mark.parametrize("spacing", [(1.4, 1.4), (0.9, 2.1), (2.1, 2.1)])
@pytest.mark.parametrize("offsets", [(0.0, 0.0), (1.5, 1.5), (3.2, -1.3), (-2.0, 4.0)])
def test_known_offsets_are_found(offsets, spacing):
    found = reader_offsets(ring(20.0, 31.0, spacing), labels_at(offsets, spacing), spacing)
    assert found == pytest.approx(offsets, abs=0.2)


@pytest.mark.parametrize("offsets", [(1.5, 1.5), (0.3, 2.4)])
def test_a_reader_whose_hand_trembles_has_the_same_habit(offsets):
    spacing = (1.4, 1.4)
    found = [
        reader_offsets(ring(20.0, 31.0, spacing), labels_at(offsets, spacing, noise=0.8, seed=seed), spacing)
        for seed in range(12)
    ]
    assert np.mean(found, axis=0) == pytest.approx(offsets, abs=0.2)
    assert np.std(found, axis=0).max() < 0.4


def test_a_border_that_is_wrong_on_a_fifth_of_its_length_moves_the_offset_little():
    spacing = (1.4, 1.4)
    leak = np.where(np.abs(ANGLE - np.pi) < np.pi / 5, 8.0, 0.0)
    found = reader_offsets(ring(20.0, 31.0 + leak, spacing), labels_at((1.5, 1.5), spacing), spacing)
    assert found.epi_mm == pytest.approx(1.5, abs=0.5)  # the mean would be off by 1.6


def test_another_heart_or_none_has_no_offsets():
    spacing = (1.4, 1.4)
    labels = labels_at((1.5, 1.5), spacing)
    assert reader_offsets(ring(20.0, 31.0, spacing, CENTRE + 25.0), labels, spacing) is None
    assert reader_offsets(ring(20.0, 31.0, spacing), np.where(labels == 2, 2, 0), spacing) is None


def test_without_cases_the_default_holds_and_with_many_their_mean():
    assert estimate([], 1.5).offset == 1.5
    assert estimate([], 1.5).error == pytest.approx(contours.BETWEEN_SITES_MM)
    many = estimate([-0.5 + 0.2 * (number % 3 - 1) for number in range(300)], 1.5)
    assert many.offset == pytest.approx(-0.5, abs=0.03)
    assert many.error < 0.03


def test_two_cases_are_drawn_towards_the_default_as_the_formula_says():
    """s² = (4 + 0.5) / 5 = 0.9; 2 / (2 + 0.9) of the way from 1.5 to 3.5; none of the two is an outlier."""
    found = estimate([3.0, 4.0], 1.5)
    assert found.spread == pytest.approx(np.sqrt(0.9))
    assert found.offset == pytest.approx(1.5 + 2.0 / 2.9 * 2.0)
    assert found.error == pytest.approx(np.sqrt(1.0 / (1.0 + 2.0 / 0.9)))
    assert found.wanted == int(np.ceil(0.9 * (1.0 / 0.09 - 1.0)))


@pytest.mark.parametrize("values", [[2.0], [1.0, 3.0], [0.0, 1.5, 5.0, 2.0]])
def test_the_number_of_wanted_cases_is_the_first_that_gives_the_error(values):
    found = estimate(values, 1.5)

    def error(cases):
        return np.sqrt(1.0 / (1.0 / contours.BETWEEN_SITES_MM**2 + cases / found.spread**2))

    assert error(found.wanted) <= contours.ENOUGH_MM < error(found.wanted - 1)


def test_one_case_of_another_habit_hardly_counts():
    usual = [2.0, 2.1, 1.9, 2.2, 1.8, 2.0]
    assert estimate([*usual, 5.0], 1.5).offset - estimate(usual, 1.5).offset < 0.3


def test_the_truth_lies_where_the_standard_error_says():
    """Sites and cases drawn from the model itself."""
    random = np.random.default_rng(5)
    scores = []
    for _ in range(400):
        habit = random.normal(1.5, contours.BETWEEN_SITES_MM)
        found = estimate(random.normal(habit, contours.WITHIN_SITE_MM, 5), 1.5)
        scores.append((found.offset - habit) / found.error)
    assert abs(np.mean(scores)) < 0.1
    assert np.std(scores) == pytest.approx(1.0, abs=0.1)


HABIT = ContourOffsets(0.4, 2.6)
MM = 1.5


class Borders:
    """Returns the borders that an image shows: 20 mm of cavity, 11 mm of wall, where the image has values."""

    name = "borders"

    def infer(self, images):
        y, x = np.mgrid[:224, :224]
        found = []
        for image in images:
            there = image > image.min()
            rows, columns = np.nonzero(there)
            radius = MM * np.hypot(x - columns.mean(), y - rows.mean())
            cavity, heart = (np.clip(0.5 + (edge - radius) / MM, 0.0, 1.0) for edge in (20.0, 31.0))
            found.append(np.stack([1.0 - heart, cavity, heart - cavity]))
        return np.array(found, np.float32)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Writes a site: labelled slices by case and reader."""
    monkeypatch.setattr("inline.engine_selection.make_engine", lambda settings, **_kwargs: Borders())
    random = np.random.default_rng(3)

    def write(habits, readers=("anna",), slices=2, apart=0.0):
        folder = tmp_path / "site"
        for number, habit in enumerate(habits):
            for place in range(slices):
                middle = CENTRE + random.uniform(-3, 3, 2)
                slice_folder = folder / f"case-{number}" / f"{place + 1}-mid"
                slice_folder.mkdir(parents=True)
                rows, columns = np.indices(SHAPE)
                heart = np.hypot(columns - middle[0], rows - middle[1]) < 20
                image = np.where(heart, 50.0, 0.0).astype(np.float32)
                np.savez(slice_folder / "t2.npz", image=image, pixel_spacing_mm=MM)
                for shift, reader in enumerate(readers):
                    drawn = ring(20.0 + habit[0] + apart * shift, 31.0 - habit[1], (MM, MM), middle)
                    content = {"endo": drawn.endo.tolist(), "epi": drawn.epi.tolist()}
                    (slice_folder / f"t2.{reader}.json").write_text(json.dumps(content))
        return folder

    return write


def test_the_command_finds_the_habit_of_a_site_and_writes_it(site, tmp_path):
    folder = site([HABIT] * 8, slices=1)
    file, figures = tmp_path / "site.toml", tmp_path / "figures.json"
    command = ["calibrate", "contours", "--data", str(folder), "-o", str(file), "--json", str(figures)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    content = json.loads(figures.read_text())
    for case in content["cases"].values():
        assert list(case["offsets"].values()) == pytest.approx(list(HABIT), abs=0.2)
    # Eight cases weigh 8 / (8 + 0.4) against the default of 1.5.
    written = load_settings(file).contours
    assert written.endo_offset_mm == pytest.approx(1.5 + 0.95 * (HABIT.endo_mm - 1.5), abs=0.2)
    assert written.epi_offset_mm == pytest.approx(1.5 + 0.95 * (HABIT.epi_mm - 1.5), abs=0.2)
    assert content["after"]["dice"] > content["before"]["dice"] + 0.03
    assert content["after"]["hausdorff"] < content["before"]["hausdorff"]
    assert content["after"]["slices"] == 8
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1
    assert "is there already" in again.output.replace("\n", " ")


def test_the_kinds_of_maps_that_were_read_are_stated(site, tmp_path, capsys):
    file = tmp_path / "site.toml"
    figures = contours.calibrate(Settings(), site([HABIT]), ["t1", "t2"], output=file)
    assert figures["maps"] == ["t2"]
    assert "t1" not in capsys.readouterr().out
    assert "t1" not in file.read_text()


def test_a_case_has_no_part_in_the_convention_it_is_scored_by(site):
    folder = site([HABIT, HABIT, (3.0, 0.0)])
    figures = contours.calibrate(Settings(), folder, ["t2"])
    others = [ContourOffsets(**figures["cases"][name]["offsets"]) for name in ("case-0", "case-1")]
    left_out = figures["cases"]["case-2"]["left_out"]
    assert left_out == pytest.approx(offsets_of(fit(others))._asdict())
    assert left_out["endo_mm"] < 1.0


def test_cases_of_several_habits_and_too_few_of_them_are_a_warning(site, capsys):
    contours.calibrate(Settings(), site([(3.0, 1.5), (-1.0, 1.5)]), ["t2"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "The endocardial offset varies from case to case by 2.8" in printed
    assert "epicardial offset varies" not in printed
    assert "2 of " in printed


def test_readers_that_differ_are_a_warning_and_their_mean_is_the_habit(site, capsys):
    figures = contours.calibrate(Settings(), site([HABIT] * 3, ("anna", "ben"), apart=2.0), ["t2"])
    assert figures["readers_apart"]["endo_mm"] == pytest.approx(2.0, abs=0.2)
    assert figures["readers_apart"]["epi_mm"] < 0.2
    for case in figures["cases"].values():
        assert case["offsets"]["endo_mm"] == pytest.approx(HABIT.endo_mm + 1.0, abs=0.2)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Readers of the same slices differ at the endocardial border by" in printed
    assert "at the epicardial border" not in printed


def test_a_first_reader_who_drew_some_slices_alone_is_stated(site, capsys):
    folder = site([HABIT], ("anna", "ben"))
    assert contours.calibrate(Settings(), folder, ["t2"])["first_readers"] == {"anna": 2}
    assert "first reader" not in capsys.readouterr().out
    (folder / "case-0" / "1-mid" / "t2.anna.json").unlink()
    assert contours.calibrate(Settings(), folder, ["t2"])["first_readers"] == {"anna": 1, "ben": 1}
    printed = " ".join(capsys.readouterr().out.split())
    assert "The first reader by name is not the same on all slices: anna on 1, ben on 1." in printed


def test_cases_that_the_weights_were_trained_on_are_counted(site, tmp_path, capsys):
    (tmp_path / "weights").mkdir()
    parts = {"train": ["case-0", "case-7"], "validation": ["case-1"], "test": []}
    (tmp_path / "split.json").write_text(json.dumps(parts))
    contours.calibrate(Settings(weights=tmp_path / "weights"), site([HABIT] * 3), ["t2"])
    assert "1 of 3 cases were trained on, and 1 chose" in " ".join(capsys.readouterr().out.split())


def test_one_reader_cannot_differ(site):
    measured, engine = contours.measure(contours.read_kinds(site([HABIT]), ["t2"]), Settings())
    assert readers_apart(measured) is None
    assert engine == "borders"


def test_labels_of_another_heart_alone_are_an_error(site, monkeypatch):
    folder = site([HABIT])
    monkeypatch.setattr(contours, "reader_offsets", lambda *_: None)
    with pytest.raises(MyostreamError, match=r"on none of 2 slices .*; give maps in ms"):
        contours.calibrate(Settings(), folder, ["t2"])


@pytest.mark.usefixtures("site")
def test_slices_that_are_left_out_as_saturated_are_counted_where_none_remains(tmp_path):
    labels = labels_at(HABIT, (MM, MM))
    for case in (1, 2):
        image = np.full(SHAPE, 255.0, np.float32)
        np.savez(tmp_path / f"p{case}-slice-1.npz", t1_window=image, label=labels, pixel_spacing_mm=MM)
    with pytest.raises(MyostreamError, match=r"on none of 0 slices .*; 2 more were left out: .* saturates"):
        contours.calibrate(Settings(), tmp_path, ["t1"])


def test_the_settings_file_counts_what_the_convention_was_fitted_on(site, tmp_path):
    folder = site([HABIT] * 3)
    for case in ("case-0", "case-2"):
        for file in folder.glob(f"{case}/*/t2.anna.json"):
            drawn = json.loads(file.read_text())
            far = {name: (np.array(border) + 40.0).tolist() for name, border in drawn.items()}
            file.write_text(json.dumps(far))
    figures = contours.calibrate(Settings(), folder, ["t2"], output=tmp_path / "site.toml")
    assert (len(figures["cases"]), figures["slices"], figures["without_offsets"]) == (3, 6, 4)
    assert "contours: 1 of 3 cases, 2 of 6 slices, t2" in (tmp_path / "site.toml").read_text()


def test_the_files_are_there_when_nobody_reads_the_terminal(site, tmp_path, monkeypatch):
    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr(contours, "show", closed)
    settings, figures = tmp_path / "site.toml", tmp_path / "figures.json"
    with pytest.raises(BrokenPipeError):
        contours.calibrate(Settings(), site([HABIT]), ["t2"], output=settings, json_file=figures)
    assert settings.exists()
    assert figures.exists()


def test_one_file_for_figures_and_settings_is_an_error(site, tmp_path):
    both = str(tmp_path / "both")
    command = ["calibrate", "contours", "--data", str(site([HABIT])), "--json", both, "-o", both]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert "is given for two outputs" in result.output.replace("\n", " ")


def test_a_case_whose_name_looks_like_markup_is_named(site, capsys):
    folder = site([HABIT])
    (folder / "case-0").rename(folder / "a[red]b")
    contours.calibrate(Settings(), folder, ["t2"])
    assert "a[red]b" in capsys.readouterr().out
