"""Trainings end to end, on little."""

import csv
import io
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from typer.testing import CliRunner

from inline.cli.commands import app
from model.evaluation.cases import CaseError
from model.original_unet import OriginalUNet
from model.output import OutputError
from model.synthesis.generator import make_batch
from model.training import train as module
from model.training.recipe import PUBLISHED, RECIPES
from model.training.split import seen_in_training
from model.training.train import Training, begun, make_network, shortened, train
from model.unet import UNet
from model.weights import load_network

TINY = replace(PUBLISHED, epochs=1, weighted_until=0)


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


@pytest.fixture
def small(monkeypatch):
    """The original U-Net with two channels at each depth."""
    monkeypatch.setattr(module, "OriginalUNet", lambda: OriginalUNet((2, 2, 2, 2, 2)))
    return {"kinds": ("t1",), "architecture": "original", "accelerator": "cpu"}


@pytest.mark.parametrize("architecture", ["original", pytest.param("resnet50", marks=pytest.mark.slow)])
@pytest.mark.usefixtures("small")
def test_the_published_recipe_runs_end_to_end(labelled_folder, tmp_path, monkeypatch, architecture):
    """All of its phases in two epochs: maps and weighted images, then maps alone, with a restart."""
    monkeypatch.setitem(RECIPES, "published", replace(PUBLISHED, batch=2))
    command = ["train", "--recipe", "published", "--data", str(labelled_folder), "--maps", "t1"]
    command += ["--architecture", architecture, "-o", str(tmp_path), "--epochs", "2", "--accelerator", "cpu"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "validation_cavity" in result.output
    parts = json.loads((tmp_path / "split.json").read_text())
    assert parts == {"train": ["case-002", "case-003"], "validation": ["case-014"], "test": ["case-001"]}
    if architecture == "resnet50":
        assert isinstance(load_network(tmp_path / "weights"), UNet)
    assert (tmp_path / "log-1" / "metrics.csv").read_text().count("\n") > 2
    steps = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=False)["global_step"]
    # An epoch of six images, three batches of two; then one of two maps, one batch.
    assert steps == 3 + 1


def test_the_published_recipe_is_the_published_one():
    assert (PUBLISHED.epochs, PUBLISHED.weighted_until) == (150, 70)
    assert PUBLISHED.cross_entropy == 0
    assert PUBLISHED.weight_decay == 0
    assert shortened(PUBLISHED, 15).weighted_until == 7


def checkpoint(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=False)


def test_a_training_can_be_resumed(labelled_folder, tmp_path, small):
    train(Training(TINY, tmp_path, labelled_folder, **small))
    first = checkpoint(tmp_path)
    figures = train(Training(replace(TINY, epochs=2), tmp_path, labelled_folder, **small, resume=True))
    assert (first["global_step"], checkpoint(tmp_path)["global_step"]) == (1, 2)
    assert len(list(tmp_path.glob("log-*"))) == 2
    assert 0 < figures["train_loss"] < 3


def test_the_figures_are_those_of_the_weights_that_are_kept(labelled_folder, tmp_path, small):
    recipe = replace(TINY, epochs=4, learning_rate=1.0, restart_epochs=0)
    figures = train(Training(recipe, tmp_path, labelled_folder, **small))
    with (tmp_path / "log-1" / "metrics.csv").open() as file:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(file) if row["validation_loss"]]
    assert len(losses) == 4
    assert min(losses) < losses[-1]
    assert figures["validation_loss"] == pytest.approx(min(losses), abs=1e-5)


class Worsening(module.SegmentationModule):
    """Its validation loss is the number of the epoch, so the first epoch is the best."""

    def validation_step(self, *_):
        self.log("validation_loss", float(self.current_epoch))


@pytest.mark.parametrize("change", ["none", "moved", "best gone"])
def test_a_resumed_run_keeps_its_best_epoch(labelled_folder, tmp_path, small, monkeypatch, change):
    monkeypatch.setattr(module, "SegmentationModule", Worsening)
    run = tmp_path / "run"
    train(Training(replace(TINY, epochs=2), run, labelled_folder, **small))
    if change == "moved":
        run = run.rename(tmp_path / "elsewhere")
    if change == "best gone":
        (run / "checkpoints" / "best.ckpt").unlink()
    figures = train(Training(replace(TINY, epochs=4), run, labelled_folder, **small, resume=True))
    assert figures["validation_loss"] == (2.0 if change == "best gone" else 0.0)
    kept = torch.load(run / "checkpoints" / "best.ckpt", weights_only=False)
    assert kept["epoch"] == figures["validation_loss"]
    assert sorted(file.name for file in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert checkpoint(run)["epoch"] == 3


def test_a_run_that_lightnings_own_checkpoints_began_keeps_its_best_epoch(
    labelled_folder, tmp_path, small, monkeypatch
):
    """Runs already made have the key of Lightning's class in their checkpoints."""
    monkeypatch.setattr(module, "SegmentationModule", Worsening)
    with monkeypatch.context() as earlier:
        earlier.setattr(module, "_Checkpoint", ModelCheckpoint)
        train(Training(replace(TINY, epochs=2), tmp_path, labelled_folder, **small))
    figures = train(Training(replace(TINY, epochs=3), tmp_path, labelled_folder, **small, resume=True))
    assert figures["validation_loss"] == 0.0


def test_a_run_that_ended_without_its_best_epoch_needs_more_epochs(labelled_folder, tmp_path, small):
    train(Training(TINY, tmp_path, labelled_folder, **small))
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.unlink()
    with pytest.raises(ValueError, match=re.escape(f"{best} is gone or damaged; give more --epochs")):
        train(Training(TINY, tmp_path, labelled_folder, **small, resume=True))


def test_a_checkpoint_that_cannot_be_read_is_no_damaged_one(labelled_folder, tmp_path, small, monkeypatch):
    train(Training(TINY, tmp_path, labelled_folder, **small))
    opened, denied = io.open, "last.ckpt"

    def refusing(file, *more, **options):
        if str(file).endswith(denied):
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, *more, **options)

    monkeypatch.setattr("io.open", refusing)
    monkeypatch.setattr("builtins.open", refusing)
    with pytest.raises(ValueError, match=r"cannot be read: .*Permission denied.*last\.ckpt"):
        begun(tmp_path)
    denied = "best.ckpt"
    longer = Training(replace(TINY, epochs=2), tmp_path, labelled_folder, **small, resume=True)
    with pytest.raises(OutputError, match=r"Permission denied.*best\.ckpt"):
        train(longer)


def test_a_checkpoint_that_a_full_disk_cuts_off_leaves_the_earlier_one(
    labelled_folder, tmp_path, small, monkeypatch
):
    """A limit on the size of files stands for the disk; the folder of temporary files has no part in it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    run = tmp_path / "run"
    train(Training(TINY, run, labelled_folder, **small))
    before = contents(run / "checkpoints")
    longer = Training(replace(TINY, epochs=2), run, labelled_folder, **small, resume=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    half = min(map(len, before.values())) // 2
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, limits[1]))
        with pytest.raises(OutputError, match=r"large; .* is kept; the same command with --resume"):
            train(longer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(run / "checkpoints") == before
    train(longer)
    assert checkpoint(run)["epoch"] == 1


def cut_off(file):
    """As a copy that was killed leaves it."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def test_a_damaged_last_checkpoint_is_named_with_what_to_do(labelled_folder, tmp_path, small, monkeypatch):
    monkeypatch.setattr(module, "SegmentationModule", Worsening)
    training = Training(replace(TINY, epochs=3), tmp_path, labelled_folder, **small)
    train(training)
    folder = tmp_path / "checkpoints"
    last, best = folder / "last.ckpt", folder / "best.ckpt"
    cut_off(last)
    damaged = re.escape(f"{last} is damaged; copy {best} over it to go on after the best epoch with --resume")
    for each in (training, replace(training, resume=True)):
        with pytest.raises(ValueError, match=damaged):
            train(each)
    shutil.copy(best, last)
    left = folder / ".myostream-0123456789abcdef.ckpt"
    left.write_bytes(b"of a killed run")
    with monkeypatch.context() as stopped:
        end_before_the_first_epoch(stopped, KeyboardInterrupt())
        stopped.setattr(module.SegmentationModule, "on_fit_start", lambda _: cut_off(last))
        with pytest.raises(KeyboardInterrupt, match=damaged):
            train(replace(training, resume=True))
    assert not left.exists()
    shutil.copy(best, last)
    assert train(replace(training, resume=True))["validation_loss"] == 0.0
    assert checkpoint(tmp_path)["epoch"] == 2
    cut_off(last)
    cut_off(best)
    with pytest.raises(ValueError, match=re.escape(f"{last} is damaged; delete {folder} to begin anew")):
        train(replace(training, resume=True))


def test_the_split_of_a_resumed_training_keeps_its_earlier_cases(labelled_folder, tmp_path, small):
    train(Training(TINY, tmp_path, labelled_folder, **small))
    (labelled_folder / "case-003").rename(labelled_folder / "case-019")
    train(Training(replace(TINY, epochs=2), tmp_path, labelled_folder, **small, resume=True))
    assert json.loads((tmp_path / "split.json").read_text())["train"] == ["case-002", "case-003", "case-019"]


def contents(run):
    return {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


@pytest.mark.parametrize("kept", ["checkpoints", "weights"])
def test_another_training_in_the_folder_of_a_run_is_refused(labelled_folder, tmp_path, small, kept):
    run = tmp_path / "run"
    train(Training(TINY, run, labelled_folder, **small))
    advice = "go on with --resume"
    if kept == "weights":
        (run / "checkpoints").rename(tmp_path / "checkpoints")
        (run / "weights").mkdir()
        advice = f"start from its weights with --start {run / 'weights'}"
    before = contents(run)
    with pytest.raises(ValueError, match=re.escape(f"run; {advice}, or give another --output")):
        train(Training(replace(TINY, epochs=2), run, labelled_folder, **small, seed=2))
    assert contents(run) == before


def end_before_the_first_epoch(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module.SegmentationModule, "training_step", fail)


@pytest.fixture
def adapted(labelled_folder, tmp_path, small, monkeypatch):
    """A run that started from the weights of another one, and itself has weights and checkpoints."""
    first, run = tmp_path / "first", tmp_path / "run"
    for folder, start, case in ((first, None, "case-019"), (run, first / "weights", "case-003")):
        (folder / "weights").mkdir(parents=True)
        parts = {"train": [case], "validation": [], "test": []}
        (folder / "split.json").write_text(json.dumps(parts))
        (folder / "training.json").write_text(json.dumps({"start": start and str(start)}))
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").write_bytes(b"of the earlier training")
    tiny = OriginalUNet((2, 2, 2, 2, 2))
    monkeypatch.setattr(module, "make_network", lambda _: tiny)
    return Training(TINY, run, labelled_folder, kinds=("t1",), start=run / "weights", accelerator="cpu")


def test_a_run_restarted_from_its_own_weights_is_not_resumed_from_the_earlier_one(adapted, monkeypatch):
    with monkeypatch.context() as stopped:
        end_before_the_first_epoch(stopped, RuntimeError("stopped"))
        with pytest.raises(RuntimeError, match="stopped"):
            train(adapted)
    with pytest.raises(ValueError, match="nothing to resume"):
        train(replace(adapted, resume=True))


def test_a_restart_that_ends_before_its_training_has_no_checkpoint_to_resume(adapted, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(RECIPES, "published", TINY)
    monkeypatch.setattr(module, "read_kinds", stop)
    command = ["train", "--recipe", "published", "--data", str(adapted.data), "--maps", "t1"]
    result = CliRunner().invoke(app, [*command, "-o", str(adapted.output), "--start", str(adapted.start)])
    assert result.exit_code == 130
    assert "Interrupted: give the same command again." in " ".join(result.stderr.split())


def test_cases_of_all_earlier_runs_count_after_restarts_and_resumes(adapted):
    for again in (adapted, adapted, replace(adapted, recipe=replace(TINY, epochs=2), resume=True)):
        train(again)
        counts = seen_in_training(["case-002", "case-003", "case-019"], adapted.output / "weights")
        assert counts == {"cases": 3, "missing": 0, "train": 3, "validation": 0}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(28, "No space left on device"), 1, "myostream: the training in {run} ended with an error:"),
        (KeyboardInterrupt(), 130, "Interrupted:"),
    ],
)
def test_a_training_that_is_stopped_states_how_it_goes_on(
    labelled_folder, tmp_path, monkeypatch, epochs, error, code, line
):
    monkeypatch.setitem(RECIPES, "published", TINY)
    command = ["train", "--recipe", "published", "--data", str(labelled_folder), "--maps", "t1"]
    command += ["--architecture", "original", "-o", str(tmp_path), "--accelerator", "cpu"]
    if epochs:
        assert CliRunner().invoke(app, [*command, "--epochs", "1"]).exit_code == 0
        command += ["--epochs", "2", "--resume"]
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # Lightning ignores SIGINT from then on
    end_before_the_first_epoch(monkeypatch, error)
    result = CliRunner().invoke(app, command)
    text = " ".join(result.stderr.split())
    assert result.exit_code == code
    assert line.format(run=tmp_path) in text
    assert ("--resume goes on after the last epoch" in text) is bool(epochs)
    assert ("no epoch was kept; give the same command again" in text) is not bool(epochs)


def test_the_same_seed_gives_the_same_network(labelled_folder, tmp_path, small):
    for name in ("a", "b"):
        train(Training(TINY, tmp_path / name, labelled_folder, **small))
    one, other = (checkpoint(tmp_path / name)["state_dict"] for name in ("a", "b"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_imagenet_encoder_is_taken_from_a_file(tmp_path):
    state = {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in UNet().encoder.state_dict().items()
    }
    grey = state["conv1.weight"]
    state["conv1.weight"] = grey.repeat(1, 3, 1, 1) / 3
    torch.save({**state, "fc.weight": torch.zeros(2, 2)}, tmp_path / "resnet50.pth")
    network = make_network(Training(TINY, tmp_path, tmp_path, encoder=tmp_path / "resnet50.pth"))
    assert torch.allclose(network.encoder.conv1.weight, grey, atol=1e-6)
    torch.save({"layer": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="no checkpoint of torchvision"):
        make_network(Training(TINY, tmp_path, tmp_path, encoder=tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (lambda path: Training(PUBLISHED, path, path / "none"), "not a folder"),
        (lambda path: Training(TINY, path, path, architecture="vgg"), "no architecture"),
        (lambda path: Training(TINY, path, path, resume=True), "nothing to resume"),
    ],
)
def test_mistakes_are_named(training, message, tmp_path):
    with pytest.raises((CaseError, ValueError), match=message):
        train(training(tmp_path))


@pytest.mark.parametrize(
    "mistake",
    [
        {"resume": True},
        {"data": Path("none")},
        {"kinds": ("t2",)},
        {"accelerator": "none"},
        {"precision": "none"},
    ],
)
def test_a_mistaken_command_leaves_what_an_earlier_run_wrote(labelled_folder, tmp_path, small, mistake):
    run = tmp_path / "run"
    run.mkdir()
    earlier = {"training.json": '{"log": [1, 2, 3]}', "split.json": '{"train": ["a"]}'}
    for name, text in earlier.items():
        (run / name).write_text(text)
    with pytest.raises((CaseError, ValueError)):
        train(replace(Training(TINY, run, labelled_folder, **small), **mistake))
    assert {file.name: file.read_text() for file in run.iterdir()} == earlier


@pytest.fixture
def stopped(tmp_path):
    """A run that began with options of its own and was stopped."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    torch.save({}, run / "checkpoints" / "last.ckpt")
    settings = {
        "recipe": asdict(replace(PUBLISHED, epochs=90, learning_rate=0.01)),
        "output": "an earlier place",
        "data": "site",
        "kinds": ["t2"],
        "architecture": "resnet50",
        "encoder": None,
        "start": str(tmp_path / "first" / "weights"),
        "seed": 5,
        "resume": False,
        "accelerator": "gpu",
        "precision": "bf16-mixed",
    }
    (run / "training.json").write_text(json.dumps(settings))
    return run


def resume(run, *options):
    command = ["train", "-o", str(run), "--recipe", "published", "--data", "site", "--resume", *options]
    return CliRunner().invoke(app, command)


def test_a_resumed_training_keeps_the_settings_that_it_began_with(stopped, monkeypatch):
    """But for the number of epochs and the device."""
    asked = []
    monkeypatch.setattr(module, "train", lambda training: asked.append(training) or {})
    for options in ([], ["--epochs", "120", "--accelerator", "cpu", "--seed", "5", "--maps", "t2"]):
        result = resume(stopped, *options)
        assert result.exit_code == 0, result.output
    first, longer = asked
    assert first == Training(
        replace(PUBLISHED, epochs=90, learning_rate=0.01),
        stopped,
        Path("site"),
        kinds=("t2",),
        start=stopped.parent / "first" / "weights",
        seed=5,
        resume=True,
        precision="bf16-mixed",
    )
    assert longer == replace(first, recipe=replace(first.recipe, epochs=120), accelerator="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "fine-tune"], "began with recipe published, not fine-tune"),
        (["--maps", "t1,t2"], "began with maps t2, not t1,t2"),
        (["--architecture", "original"], "began with architecture resnet50, not original"),
        (["--start", "random"], "weights, not none"),
        (["--start", "/others"], "weights, not /others"),
        (["--seed", "1"], "began with seed 5, not 1"),
        (["--precision", "32-true"], "began with precision bf16-mixed, not 32-true"),
    ],
)
def test_options_that_contradict_the_resumed_run_are_refused(stopped, options, message):
    before = (stopped / "training.json").read_text()
    result = resume(stopped, *options)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert (stopped / "training.json").read_text() == before


def test_a_resumed_run_keeps_its_recipe_but_for_the_number_of_epochs(stopped, monkeypatch):
    settings = json.loads((stopped / "training.json").read_text())
    recipe = shortened(PUBLISHED, 10)
    (stopped / "training.json").write_text(json.dumps({**settings, "recipe": asdict(recipe)}))
    asked = []
    monkeypatch.setattr(module, "train", lambda training: asked.append(training.recipe) or {})
    assert resume(stopped, "--epochs", "30").exit_code == 0
    assert asked == [replace(recipe, epochs=30)]


@pytest.mark.parametrize("insertions", [True, False])
def test_the_network_of_a_resumed_run_is_that_of_its_checkpoint(stopped, insertions):
    """The weights that it started from may be gone."""
    state = {f"network.{name}": value for name, value in UNet(insertions=insertions).state_dict().items()}
    torch.save({"state_dict": state}, stopped / "checkpoints" / "last.ckpt")
    network = make_network(begun(stopped))
    assert {f"network.{name}" for name in network.state_dict()} == set(state)
    assert all(value.requires_grad for value in network.parameters())


def test_a_run_without_its_settings_is_not_resumed(stopped):
    (stopped / "training.json").write_text('{"training": {"minutes": 10}}')
    result = resume(stopped)
    assert result.exit_code == 1
    assert "does not state the settings of the run to resume" in " ".join(result.output.split())


def test_recipes_have_their_names():
    assert set(RECIPES) == {"published", "fine-tune"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "secret"], "synthetic, published, fine-tune"),
        (["--recipe", "published"], "needs labelled cases"),
        (["--recipe", "published", "--data", "cases", "--minutes", "2"], "go with the recipe synthetic"),
        (["--recipe", "published", "--data", "cases", "--apices", "0.1"], "go with the recipe synthetic"),
        (["--minutes", "2", "--epochs", "3"], "go with another --recipe"),
    ],
)
def test_options_that_do_not_fit_the_recipe_are_named(options, message, tmp_path):
    result = CliRunner().invoke(app, ["train", "-o", str(tmp_path), *options])
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())


def test_minutes_count_from_the_start_of_the_process():
    code = "import time; time.sleep(0.5); from inline.cli.training import _seconds_running as s; print(s())"
    began = time.monotonic()
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 0.45 < float(printed) < time.monotonic() - began + 0.05
