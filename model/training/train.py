"""Training on labelled cases by a recipe."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from zipfile import is_zipfile

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn
from torch.utils.data import DataLoader

from model.evaluation.cases import CaseError, LabelledSlice, read_kinds
from model.original_unet import OriginalUNet
from model.output import OutputError, atomic_output, check_folder, write_json, write_text
from model.training.data import LabelledImages
from model.training.module import FIGURES, SegmentationModule
from model.training.recipe import Recipe
from model.training.split import FILE, Part, earlier_starts, own_start, part_of, read_split, split
from model.unet import UNet
from model.weights import load_network, save_weights

ARCHITECTURES: Final = ("resnet50", "original")


@dataclass(frozen=True, slots=True)
class Training:
    """Training on labelled cases: recipe, data, output.

    Attributes:
        recipe: numbers of the training.
        output: folder of the run: checkpoints, metrics, split, weights.
        data: folder of labelled cases.
        kinds: maps to learn from, of ``t1`` and ``t2``.
        architecture: ``resnet50`` or ``original``.
        encoder: torchvision checkpoint of an ImageNet ResNet-50, or None.
        start: folder of weights to start from, or None.
        seed: fixes everything random.
        resume: go on from the run's last checkpoint, with the settings that the run began with.
        accelerator: of Lightning: ``auto``, ``cpu``, ``gpu``.
        precision: of Lightning: ``32-true``, ``bf16-mixed``.
    """

    recipe: Recipe
    output: Path
    data: Path
    kinds: tuple[str, ...] = ("t1", "t2")
    architecture: str = "resnet50"
    encoder: Path | None = None
    start: Path | None = None
    seed: int = 1
    resume: bool = False
    accelerator: str = "auto"
    precision: str = "32-true"


_SETTINGS: Final = "training.json"
_KEPT: Final = ("recipe", "kinds", "architecture", "encoder", "start", "seed", "precision")
"""Settings that a resumed run has from its beginning, but for the number of epochs."""


def begun(run: Path) -> Training:
    """Return the training that began in the folder of a run, to be resumed.

    Raises:
        ValueError: the folder has no checkpoint, or one that is damaged or cannot be read, or does not state
            its settings.
    """
    last, file = _last(run), run / _SETTINGS
    if not last.exists():
        raise ValueError(f"{last} is not there; nothing to resume")
    if damage := _damage(run):
        raise ValueError(damage)
    try:
        stated = json.loads(file.read_text(encoding="utf-8"))
        kept = {name: stated[name] for name in _KEPT} | {
            "recipe": Recipe(**stated["recipe"]),
            "kinds": tuple(stated["kinds"]),
            **{name: Path(stated[name]) for name in ("encoder", "start") if stated[name] is not None},
        }
        return Training(**kept, output=run, data=Path(stated["data"]), resume=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} does not state the settings of the run to resume ({error})") from error


def _check_resumed(training: Training) -> None:
    earlier = begun(training.output)
    epochs = training.recipe.epochs
    for name in _KEPT:
        was, now = getattr(earlier, name), getattr(training, name)
        advice = "leave that option out"
        if name == "recipe":
            was, advice = replace(was, epochs=epochs), f"give --recipe {was.name}"
        if was != now:
            raise ValueError(
                f"the run in {training.output} began with {'maps' if name == 'kinds' else name} "
                f"{_named(was)}, not {_named(now)}; {advice}, or begin another run"
            )


def _named(value: Any) -> str:
    if isinstance(value, Recipe):
        return value.name
    if isinstance(value, tuple):
        return ",".join(value)
    return "none" if value is None else str(value)


class _Checkpoint(ModelCheckpoint):
    """Checkpoint of a run whose folder may be moved: its files are found by their names in the folder."""

    @property
    def state_key(self) -> str:
        """Key of Lightning's own class, as the checkpoints of runs already made have it."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best epoch of the run, or none where its file is gone or damaged."""
        folder = Path(str(self.dirpath))

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        best = here(state_dict["best_model_path"])
        if not best or not _is_whole(Path(best)):
            return
        moved = {
            "dirpath": self.dirpath,
            "best_k_models": {here(path): score for path, score in state_dict["best_k_models"].items()},
            **{name: here(state_dict[name]) for name in paths},
        }
        super().load_state_dict({**state_dict, **moved})


class _Files(TorchCheckpointIO):
    """Files of checkpoints, each written beside its place.

    Lightning writes into the folder of temporary files; on another file system, the move from there is a copy
    over the earlier checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint whole; else the earlier one stays."""
        content = io.BytesIO()  # the errors of torch.save with a file are no OSError
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(Path(path)) as beside:
            beside.write_bytes(content.getbuffer())


class _Images(lightning.LightningDataModule):
    """Images of a training; reloaded each epoch, since weighted images are left out after their last one."""

    def __init__(self, recipe: Recipe, slices: list[LabelledSlice], seed: int) -> None:
        super().__init__()
        self._recipe, self._seed = recipe, seed
        self._of = {
            part: [each for each in slices if part_of(each.case) is part]
            for part in (Part.TRAIN, Part.VALIDATION)
        }

    def train_dataloader(self) -> Any:
        """Return maps and, in the first epochs, the images that made them; maps alone afterwards."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        weighted = epoch < self._recipe.weighted_until
        images = LabelledImages(
            self._of[Part.TRAIN], weighted=weighted, augment=True, seed=self._seed + epoch
        )
        return DataLoader(
            images, self._recipe.batch, shuffle=True, drop_last=len(images) > self._recipe.batch
        )

    def val_dataloader(self) -> Any:
        """Return maps alone, as they are."""
        images = LabelledImages(self._of[Part.VALIDATION], weighted=False, augment=False)
        return DataLoader(images, self._recipe.batch)


def train(training: Training) -> dict[str, float]:
    """Run a training; returns the figures of the epoch whose weights are kept.

    Raises:
        CaseError: the labelled cases cannot be used, or are too few for a split.
        ValueError: an architecture or a combination of options that does not exist, a run that cannot be
            resumed, settings that are not those that it began with, or an earlier run in the folder.
        OutputError: the folder cannot be written, at the beginning or later.
        KeyboardInterrupt: where Lightning would end the process, and from then on with how the run goes on.
    """
    recipe = training.recipe
    own = own_start(training.output, training.start)
    if training.resume:
        _check_resumed(training)
    elif not own:
        _check_no_run(training.output)
    earlier = earlier_starts(training.output) if training.resume or own else []
    lightning.seed_everything(training.seed, verbose=False)
    # Convolutions on a CPU take a quarter less time in this order of memory, and no more on a GPU.
    network = make_network(training).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    last = _last(training.output)
    folder = last.parent
    slices = _slices(training)
    parts = _all_parts(training, slices)
    # A resumed run logs into a folder of its own: the logger would empty the first one.
    number = len(list(training.output.glob("log-*"))) + 1
    best = _Checkpoint(
        folder, filename="best", monitor="validation_loss", save_top_k=1, enable_version_counter=False
    )
    try:
        trainer = lightning.Trainer(
            default_root_dir=training.output,
            max_epochs=recipe.epochs,
            accelerator=training.accelerator,
            devices=1,
            precision=training.precision,  # type: ignore[arg-type]
            gradient_clip_val=recipe.clip or None,
            logger=CSVLogger(training.output, name="", version=f"log-{number}"),
            callbacks=[
                best,
                _Checkpoint(folder, filename="last", save_top_k=1, enable_version_counter=False),
            ],
            plugins=[_Files()],
            # Weighted images are left out after their last epoch, so the loader is made anew each epoch.
            reload_dataloaders_every_n_epochs=1,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
        )
    except MisconfigurationException as error:
        raise ValueError(f"Lightning cannot train so: {error}") from error
    module = SegmentationModule(network, recipe)
    checkpoint = str(last) if training.resume else None
    # The run's own checkpoint holds an optimiser beside the weights.
    options: dict[str, Any] = {"ckpt_path": checkpoint, "weights_only": False} if checkpoint else {}
    images = _Images(recipe, slices, training.seed)
    # Written after all checks: a mistaken command leaves what an earlier run wrote into the folder.
    check_folder(training.output)
    # Unfinished files of a killed run go, and all where another run begins: until its first checkpoint,
    # --resume would go on from the earlier one.
    for old in folder.glob(".myostream-*.ckpt" if training.resume else "*.ckpt"):
        old.unlink()
    described = {**asdict(training), "recipe": asdict(recipe), "earlier_starts": earlier}
    write_text(training.output / _SETTINGS, json.dumps(described, indent=1, default=str))
    write_json(training.output / FILE, parts)
    try:
        trainer.fit(module, datamodule=images, **options)
        if not best.best_model_path:  # a resumed run without an epoch of its own
            raise ValueError(f"{folder / 'best.ckpt'} is gone or damaged; give more --epochs")
        # Few cases are soon overfitted: the weights with the lowest validation loss are kept.
        kept = torch.load(best.best_model_path, weights_only=False)
        module.load_state_dict(kept["state_dict"])
        if isinstance(network, UNet):
            save_weights(network, training.output / "weights")
    except (OSError, OutputError) as error:
        raise OutputError(
            f"the training in {training.output} ended with an error: {error}; "
            f"{_how_to_go_on(training.output)}"
        ) from error
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning ends the process at Ctrl-C.
        if KeyboardInterrupt in (type(error), type(error.__context__)):
            raise KeyboardInterrupt(_how_to_go_on(training.output)) from None
        raise
    figures: dict[str, float] = kept[FIGURES]
    return figures


def make_network(training: Training) -> nn.Module:
    """Return the network that a training starts from; the weights of a resumed one are in its checkpoint.

    Raises:
        ValueError: no such architecture, or weights that do not fit it.
    """
    if training.architecture not in ARCHITECTURES:
        raise ValueError(
            f"there is no architecture {training.architecture!r}; {', '.join(ARCHITECTURES)} are"
        )
    if training.architecture == "original":
        if training.encoder or training.start:
            raise ValueError("the original U-Net takes neither an ImageNet encoder nor shipped weights")
        return OriginalUNet()
    if training.resume:
        state = torch.load(_last(training.output), map_location="cpu", weights_only=False)["state_dict"]
        return UNet(insertions="network.insertion_head.weight" in state).train()
    network = load_network(training.start).requires_grad_(True) if training.start else UNet()
    if training.encoder:
        try:
            network.encoder.load_imagenet(torch.load(training.encoder, weights_only=True))
        except Exception as error:  # whatever reading a foreign file meets
            raise ValueError(
                f"{training.encoder} is no checkpoint of torchvision's resnet50 ({type(error).__name__})"
            ) from error
    return network.train()


def _check_no_run(run: Path) -> None:
    """Check that a folder holds no run that its split and checkpoints would be mixed with."""
    last, weights = _last(run).exists(), (run / "weights").exists()
    if last or ((run / FILE).exists() and weights):
        resume = f"{_damage(run) or 'go on with --resume'}, " * last
        start = f"start from its weights with --start {run / 'weights'}, " * weights
        raise ValueError(f"{run} holds an earlier run; {resume}{start}or give another --output")


def _how_to_go_on(run: Path) -> str:
    """Return how a run that was stopped goes on."""
    if not _last(run).exists():
        return "no epoch was kept; give the same command again"
    return _damage(run) or "the same command with --resume goes on after the last epoch"


def _damage(run: Path) -> str:
    """Return what is wrong with the last checkpoint of a run, and what to do; empty where it is whole."""
    last = _last(run)
    best = last.with_name("best.ckpt")
    try:
        if _is_whole(last):
            return ""
        if _is_whole(best):
            return f"{last} is damaged; copy {best} over it to go on after the best epoch with --resume"
    except OSError as error:
        return f"the checkpoints cannot be read: {error}"
    return f"{last} is damaged; delete {last.parent} to begin anew"


def _is_whole(checkpoint: Path) -> bool:
    """Return whether a checkpoint is there and was not cut off.

    Raises:
        OSError: it is there, and cannot be read.
    """
    try:
        with checkpoint.open("rb") as file:  # of a path, is_zipfile takes errors for damage
            return is_zipfile(file)  # as torch writes them: a ZIP file, whose directory is at its end
    except FileNotFoundError:
        return False


def _last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def shortened(recipe: Recipe, epochs: int | None) -> Recipe:
    """Return a recipe with another number of epochs, its phases in proportion."""
    if epochs is None:
        return recipe
    share = epochs / recipe.epochs
    return replace(
        recipe,
        epochs=epochs,
        weighted_until=round(recipe.weighted_until * share),
        restart_epochs=max(round(recipe.restart_epochs * share), 1) if recipe.restart_epochs else 0,
    )


def _slices(training: Training) -> list[LabelledSlice]:
    slices = read_kinds(training.data, training.kinds)
    parts = split(each.case for each in slices)
    for part in (Part.TRAIN, Part.VALIDATION):
        if not parts[part]:
            number = len({each.case for each in slices})
            raise CaseError(f"of {number} cases none falls to {part}; the split needs more cases")
    return slices


def _all_parts(training: Training, slices: list[LabelledSlice]) -> dict[Part, list[str]]:
    """Return the cases of each part, with those that the weights of this folder may have learned from."""
    own = own_start(training.output, training.start)
    earlier = (read_split(training.output) if training.resume or own else None) or {}
    return split([*(each.case for each in slices), *(name for names in earlier.values() for name in names)])
