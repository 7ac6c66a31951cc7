"""Trainings end to end, on little."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from inline.cli.commands import app
from model.evaluation.cases import CaseError
from model.synthesis.generator import make_batch
from model.training.data import SyntheticBatches
from model.training.module import SegmentationModule
from model.training.recipe import PUBLISHED, RECIPES, SYNTHETIC
from model.training.train import Training, make_network, shortened, train
from model.unet import UNet
from model.weights import load_network

TINY = replace(SYNTHETIC, epochs=1, slices_per_epoch=8, batch=4, size=64, full_frames=())


class Fixed(torch.nn.Module):
    """A network with the same scores for all pictures."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, pictures):
        return self.scores


@pytest.fixture
def labelled_folder(tmp_path):
    """One slice each of a case for the test, two for training, one for validation, as the split has it."""
    folder = tmp_path / "cases"
    names = ("case-001", "case-002", "case-003", "case-014")
    made = make_batch(len(names), 96, torch.Generator().manual_seed(1))
    for name, image, labels in zip(names, made.images.numpy(), made.labels.numpy(), strict=True):
        place = folder / name / "mid"
        (place / "t1_images").mkdir(parents=True)
        np.savez(place / "t1.npz", image=image, pixel_spacing_mm=1.5)
        np.savez(place / "t1.anna.npz", image=labels.astype(np.uint8), pixel_spacing_mm=1.5)
        np.savez(place / "t1_images" / "all.npz", image=np.stack([image, -image]), pixel_spacing_mm=1.5)
    return folder


def test_the_published_recipe_runs_end_to_end(labelled_folder, tmp_path, monkeypatch):
    """All of its phases in two epochs: maps and weighted images, then maps alone, with a restart."""
    monkeypatch.setitem(RECIPES, "published", replace(PUBLISHED, batch=2))
    command = ["train", "--recipe", "published", "--data", str(labelled_folder), "--maps", "t1"]
    result = CliRunner().invoke(app, [*command, "-o", str(tmp_path), "--epochs", "2", "--accelerator", "cpu"])
    assert result.exit_code == 0, result.output
    assert "validation_cavity" in result.output
    parts = json.loads((tmp_path / "split.json").read_text())
    assert parts == {"train": ["case-002", "case-003"], "validation": ["case-014"], "test": ["case-001"]}
    assert isinstance(load_network(tmp_path / "weights"), UNet)
    assert (tmp_path / "log-1" / "metrics.csv").read_text().count("\n") > 2
    steps = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=False)["global_step"]
    # An epoch of six pictures, three batches of two; then one of two maps, one batch.
    assert steps == 3 + 1


def test_the_published_recipe_is_the_published_one():
    assert (PUBLISHED.epochs, PUBLISHED.weighted_until, PUBLISHED.size) == (150, 70, 224)
    assert PUBLISHED.cross_entropy == 0
    assert PUBLISHED.weight_decay == 0
    assert shortened(PUBLISHED, 15).weighted_until == 7


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    """Folder of a synthetic training of one epoch."""
    folder = tmp_path_factory.mktemp("one-epoch")
    train(Training(TINY, folder, accelerator="cpu"))
    return folder


def test_the_same_seed_gives_the_same_network(one_epoch, tmp_path):
    train(Training(TINY, tmp_path, accelerator="cpu"))
    one, other = (load_network(folder / "weights").state_dict() for folder in (one_epoch, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_synthetic_training_can_be_resumed(one_epoch, tmp_path):
    shutil.copytree(one_epoch, tmp_path, dirs_exist_ok=True)
    first = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=False)
    figures = train(Training(replace(TINY, epochs=2), tmp_path, accelerator="cpu", resume=True))
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=False)
    assert (first["global_step"], last["global_step"]) == (2, 4)
    assert len(list(tmp_path.glob("log-*"))) == 2
    assert 0 < figures["train_loss"] < 3


def test_normalisation_knows_the_whole_frames_that_the_network_is_for(tmp_path):
    """The frames of the last epoch, whose kinds of images are others than the first's."""
    recipe = replace(TINY, epochs=2, weighted_until=1, slices_per_epoch=4, full_frames=(0.5,))
    train(Training(recipe, tmp_path, accelerator="cpu"))
    encoder = load_network(tmp_path / "weights").encoder
    frames = SyntheticBatches(1, replace(recipe, full_frames=(1.0,)), seed=1 + 555_555)
    frames.epoch = 1
    means = torch.stack([encoder.conv1(pictures).mean((0, 2, 3)) for pictures, _ in frames])
    assert torch.allclose(encoder.bn1.running_mean, means.mean(0), atol=2e-3)


def test_an_imagenet_encoder_is_taken_from_a_file(tmp_path):
    state = {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in UNet().encoder.state_dict().items()
    }
    grey = state["conv1.weight"]
    state["conv1.weight"] = grey.repeat(1, 3, 1, 1) / 3
    torch.save({**state, "fc.weight": torch.zeros(2, 2)}, tmp_path / "resnet50.pth")
    network = make_network(Training(TINY, tmp_path, encoder=tmp_path / "resnet50.pth"))
    assert torch.allclose(network.encoder.conv1.weight, grey, atol=1e-6)
    torch.save({"layer": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="no checkpoint of torchvision"):
        make_network(Training(TINY, tmp_path, encoder=tmp_path / "other.pth"))


def test_the_original_architecture_trains_too(tmp_path):
    figures = train(Training(TINY, tmp_path, architecture="original", accelerator="cpu"))
    assert figures["train_loss"] > 0


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
@pytest.mark.parametrize(("by_slice", "expected"), [(0.0, 0.52), (0.25, 0.515), (1.0, 0.5)])
def test_the_recipe_weighs_the_loss_by_slice(by_slice, expected):
    """A cavity of 24 pixels is found, one of a single pixel missed, and there is no myocardium.

    By slice the index is the mean of 1 and 0; over the batch, that of 24/25 and, for the myocardium, 0.
    """
    labels = torch.zeros(2, 6, 6, dtype=torch.long)
    labels[0, :4] = 1
    labels[1, 0, 0] = 1
    scores = 100.0 * functional.one_hot(labels, 3).movedim(-1, 1).float()
    scores[1, :, 0, 0] = torch.tensor([100.0, 0.0, 0.0])
    recipe = replace(SYNTHETIC, by_slice=by_slice, cross_entropy=0.0)
    module = SegmentationModule(Fixed(scores), recipe)
    loss = module.training_step((torch.zeros(2, 1, 6, 6), labels), 0)
    assert loss.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (lambda path: Training(PUBLISHED, path), "needs labelled cases"),
        (lambda path: Training(PUBLISHED, path, data=path / "none"), "not a folder"),
        (lambda path: Training(TINY, path, architecture="vgg"), "no architecture"),
        (lambda path: Training(TINY, path, resume=True), "nothing to resume"),
    ],
)
def test_mistakes_are_named(training, message, tmp_path):
    with pytest.raises((CaseError, ValueError), match=message):
        train(training(tmp_path))


def test_recipes_have_their_names():
    assert set(RECIPES) == {"synthetic", "published", "fine-tune"}
    result = CliRunner().invoke(app, ["train", "--recipe", "secret", "-o", "/tmp/none"])
    assert result.exit_code == 1
    assert "synthetic, published, fine-tune" in result.output.replace("\n", " ")
