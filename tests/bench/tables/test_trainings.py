from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.tables import trainings
from bench.tables.trainings import ShortTraining, metrics, table_6, table_7, table_a1, train_briefly
from inline.data.results import ContourOffsets
from model.evaluation.cases import LabelledSlice

SIZE = 224


def ring(inner=20.0):
    rows, columns = np.indices((SIZE, SIZE))
    rho = np.hypot(columns - 111.5, rows - 111.5)
    return np.where(rho < inner, 1, np.where(rho < inner + 8, 2, 0)).astype(np.uint8)


class Same:
    """Returns the same labels for every image."""

    name = "same"

    def __init__(self, labels):
        self._labels = np.stack([labels == value for value in range(3)]).astype(np.float32)

    def infer(self, images):
        return np.repeat(self._labels[None], len(images), axis=0)


def slice_(kind):
    nothing = np.empty((0, SIZE, SIZE), np.float32)
    return LabelledSlice(
        kind, kind, kind, np.zeros((SIZE, SIZE), np.float32), nothing, (1.5, 1.5), {"r": ring()}
    )


SLICES = [slice_("t1"), slice_("t2")]


@pytest.fixture
def trained(monkeypatch):
    """Trainings that take no time; what they were asked for."""
    asked = []

    def run(self, make, mix=None, start=""):
        asked.append((make, mix))
        return Same(ring()), 12.0

    monkeypatch.setattr(ShortTraining, "run", run)
    return asked


def test_without_steps_the_tables_say_that_nothing_was_trained():
    nothing = ShortTraining(0)
    for table in (table_7(SLICES, nothing, None), table_a1(SLICES, nothing)):
        assert not table.rows
        assert any("Nothing was trained" in note for note in table.notes)
    assert "ImageNet weights are missing" in table_7(SLICES, nothing, None).notes[1]


def test_architectures_have_their_parameters_and_figures(trained, monkeypatch):
    monkeypatch.setattr(trainings, "inference_ms", lambda *_: 5.0)
    found = table_6(SLICES, ShortTraining(3), Same(ring(16.0)), 1)
    values = found.values
    assert values["U-Net with ResNet-50 encoder"]["parameters_millions"] == pytest.approx(32.5, abs=0.1)
    assert values["original U-Net"]["parameters_millions"] == pytest.approx(31.0, abs=0.1)
    assert values["original U-Net"]["training_s"] == 12.0
    assert values["product"]["dice"] < values["original U-Net"]["dice"]
    assert len(trained) == 2


def test_dedicated_models_see_one_kind_of_map(trained):
    found = table_a1(SLICES, ShortTraining(3))
    assert list(found.values) == ["T1 alone", "T2 alone", "combined"]
    mixes = [mix for _, mix in trained]
    assert mixes[0].t2_map == 0.0
    assert mixes[1].t1_map == mixes[1].t1_map_post == 0.0
    assert mixes[2].t1_map + mixes[2].t1_map_post == pytest.approx(mixes[2].t2_map)
    assert found.values["combined"]["t1"]["dice"] > 0.97


def test_a_pretrained_encoder_starts_from_its_checkpoint(trained, tmp_path):
    found = table_7(SLICES, ShortTraining(3), None)
    assert [row[0] for row in found.rows] == ["random", "ImageNet: not run"]
    (tmp_path / "resnet50.pth").write_bytes(b"encoder")
    found = table_7(SLICES, ShortTraining(3), tmp_path / "resnet50.pth")
    assert found.rows[1][1] == "12"
    assert len(trained) == 3


def test_a_kept_network_of_another_encoder_is_not_taken(monkeypatch, tmp_path):
    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Conv2d(1, 1, 1)
            self.encoder.load_imagenet = self.encoder.load_state_dict

    started = []

    def briefly(make, steps, **_):
        network = make()
        started.append(network.encoder.weight.item())
        return network

    monkeypatch.setattr(trainings, "train_briefly", briefly)
    monkeypatch.setattr(trainings, "UNet", Small)
    monkeypatch.setattr(trainings, "metrics", lambda *_: {})
    for number in (3.0, 4.0, 4.0):
        file = tmp_path / "encoder.pth"
        torch.save({"weight": torch.full((1, 1, 1, 1), number), "bias": torch.zeros(1)}, file)
        trainings._trained.cache_clear()
        table_7(SLICES, ShortTraining(8, keep=tmp_path / "kept"), file)
    # Random ones first, once; then each encoder once.
    assert started[1:] == [3.0, 4.0]


def test_slices_without_a_contour_have_no_distance():
    found = metrics(SLICES, Same(np.zeros((SIZE, SIZE), np.uint8)))
    assert found == {"dice": 0.0, "without_contour": 2}


def test_short_trainings_repeat_and_learn():
    def make():
        return torch.nn.Conv2d(1, 3, 3, padding=1)

    start = torch.manual_seed(7) and make().weight
    one, other = (train_briefly(make, 2, batch=2, size=64) for _ in range(2))
    assert torch.equal(one.weight, other.weight)
    assert not torch.equal(one.weight, start)
    assert not one.training


def test_the_same_training_is_run_once(monkeypatch):
    made = []

    def briefly(make, steps, **_):
        made.append(steps)
        return make()

    monkeypatch.setattr(trainings, "train_briefly", briefly)

    def make():
        return torch.nn.Conv2d(1, 3, 3, padding=1)

    first = ShortTraining(4).run(make)
    assert ShortTraining(4).run(make) is first
    assert ShortTraining(5).run(make) is not first
    assert made == [4, 5]


def test_kept_networks_are_taken_from_their_folder(monkeypatch, tmp_path):
    made = []

    def briefly(make, steps, **_):
        made.append(make())
        return made[-1]

    def make():
        return torch.nn.Conv2d(1, 3, 3, padding=1)

    monkeypatch.setattr(trainings, "train_briefly", briefly)
    training = ShortTraining(6, keep=tmp_path)
    first, took = training.run(make)
    trainings._trained.cache_clear()
    second, stored = training.run(make)
    image = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32)
    assert len(made) == 1
    assert stored == took
    np.testing.assert_array_equal(first.infer(image), second.infer(image))
    ShortTraining(7, keep=tmp_path).run(make)
    assert len(made) == 2


def test_contours_are_drawn_by_the_convention_of_the_readers(trained):
    """The reader draws 3 mm, two pixels, into the wall of 20 to 28 pixels."""
    rows, columns = np.indices((SIZE, SIZE))
    rho = np.hypot(columns - 111.5, rows - 111.5)
    inside = np.where(rho < 22, 1, np.where(rho < 26, 2, 0)).astype(np.uint8)
    slices = [replace(each, readers={"r": inside}) for each in SLICES]
    offsets = ContourOffsets(3.0, 3.0)
    shipped = Same(ring())
    tables = (
        table_6(slices, ShortTraining(3), shipped, 1, offsets),
        table_7(slices, ShortTraining(3), None, offsets),
        table_a1(slices, ShortTraining(3), offsets),
    )
    found = [tables[0].values["product"], tables[1].values["random"], tables[2].values["combined"]["t1"]]
    assert [each["dice"] > 0.97 for each in found] == [True] * 3
    assert metrics(slices, shipped)["dice"] < 0.85
