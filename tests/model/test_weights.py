"""Weights survive the way to disk and back, and damage is named."""

import hashlib
import os
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import numpy as numpy_files
from safetensors.torch import load_file, save_file

from model import weights
from model.engines.torch_engine import TorchEngine
from model.output import OutputError
from model.unet import UNet
from model.weights import DEFAULT, WeightsError, load_network, save_weights


@pytest.fixture(scope="module")
def network() -> UNet:
    torch.manual_seed(0)
    return UNet().eval()


@pytest.fixture(scope="module")
def folder(network: UNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_weights(network, folder)
    return folder


def test_parts_are_small_enough_for_any_host(folder: Path) -> None:
    sizes = [file.stat().st_size for file in folder.glob("*.safetensors")]
    assert len(sizes) > 1
    assert max(sizes) <= 16 * 2**20


def test_round_trip_is_the_same_to_half_precision(network: UNet, folder: Path) -> None:
    loaded = load_network(folder).state_dict()
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            assert torch.equal(loaded[name], value.half().float()), name
        elif value.is_floating_point():
            assert torch.equal(loaded[name], value), name


def test_a_running_variance_beyond_half_precision_survives(tmp_path: Path) -> None:
    wild = UNet()
    wild.state_dict()["encoder.bn1.running_var"].fill_(1e6)
    save_weights(wild, tmp_path)
    assert load_network(tmp_path).state_dict()["encoder.bn1.running_var"].max() == 1e6


def test_kernels_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    wild = UNet()
    wild.state_dict()["encoder.conv1.weight"].fill_(1e6)
    with pytest.raises(ValueError, match="fp16"):
        save_weights(wild, tmp_path)


def test_weights_that_cannot_be_written_whole_leave_the_earlier_ones(
    network: UNet, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the size of files from the second part on stands for a full disk."""
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    before = {file.name: file.read_bytes() for file in kept.iterdir()}
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)
    parts: list[bytes] = []

    def limited(tensors: dict[str, np.ndarray]) -> bytes:
        if parts:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, earlier[1]))
        parts.append(numpy_files.save(tensors))
        return parts[-1]

    monkeypatch.setattr(weights, "save", limited)
    try:
        with pytest.raises(OutputError, match="File too large; the earlier file of that name is kept"):
            save_weights(network, kept)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)
    assert len(parts) == 2
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == before


def test_all_parts_are_on_disk_before_the_first_one_replaces_another(
    network: UNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the last one has, the folder holds parts of two sets."""
    synced: dict[int, int] = {}
    first_rename: list[dict[int, int]] = []

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.setdefault(status.st_ino, status.st_size)

    def replace(file: Path, target: Path) -> None:
        first_rename.append(dict(synced))
        file.rename(target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    save_weights(network, tmp_path)
    written = [file.stat() for file in tmp_path.iterdir()]
    assert first_rename[0] == {each.st_ino: each.st_size for each in written}


def test_parts_of_earlier_weights_go(network: UNet, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "unet-01-of-99.safetensors").write_bytes(b"earlier")
    save_weights(network, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(file.name for file in folder.iterdir())


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy of the weights to spoil."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def part(folder: Path, number: int) -> Path:
    (file,) = folder.glob(f"unet-{number:02d}-of-??.safetensors")
    return file


def last(folder: Path) -> Path:
    return part(folder, len(list(folder.glob("*.safetensors"))))


def one_line(folder: Path) -> str:
    """What loading reports."""
    with pytest.raises(WeightsError) as error:
        load_network(folder)
    message = str(error.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_missing_part_is_named(copied: Path) -> None:
    part(copied, 2).unlink()
    assert re.search(r"\d of \d parts", one_line(copied))


def test_parts_of_other_weights_beside_them_are_named(copied: Path) -> None:
    (copied / "unet-09-of-10.safetensors").write_bytes(part(copied, 1).read_bytes())
    assert "parts of different weights" in one_line(copied)


@pytest.mark.parametrize(
    "stray",
    [
        "unet- (1).safetensors",
        "unet-01-of-06 (1).safetensors",
        "unet-old.safetensors",
        "unet-1-of-6.safetensors",
    ],
)
def test_a_stray_file_is_named(copied: Path, stray: str) -> None:
    """A browser's second copy may be newer or older than the first."""
    (copied / stray).write_bytes(part(copied, 1).read_bytes())
    assert "is no part of these weights" in one_line(copied)


@pytest.mark.parametrize("with_digests", [True, False])
@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 1000, b"\xff" * 1000, b"PK\x03\x04", b'\x10\0\0\0\0\0\0\0{"a": 1}        ', None],
)
def test_a_part_that_is_damaged_is_named(copied: Path, content: bytes | None, with_digests: bool) -> None:
    damaged = part(copied, 2)
    damaged.write_bytes(damaged.read_bytes()[:-1000] if content is None else content)
    if not with_digests:
        (copied / "unet.sha256").unlink()
    assert str(damaged) in one_line(copied)


def test_a_single_flipped_bit_is_found(copied: Path) -> None:
    content = bytearray(part(copied, 2).read_bytes())
    content[len(content) // 2] ^= 0x40
    part(copied, 2).write_bytes(content)
    assert str(part(copied, 2)) in one_line(copied)


@pytest.mark.parametrize("kept", [0, 30])
def test_digests_that_are_cut_off_are_named(copied: Path, kept: int) -> None:
    sums = copied / "unet.sha256"
    sums.write_text(sums.read_text()[:kept])
    assert f"{sums} names no part of the weights" in one_line(copied)


def test_weights_without_digests_load(copied: Path) -> None:
    (copied / "unet.sha256").unlink()
    load_network(copied)


@pytest.mark.parametrize("shipped", [True, False])
def test_digests_are_those_of_sha256sum(folder: Path, shipped: bool) -> None:
    weights = DEFAULT if shipped else folder
    lines = (weights / "unet.sha256").read_text().splitlines()
    assert len(lines) == len(list(weights.glob("*.safetensors")))
    for line in lines:
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((weights / name).read_bytes()).hexdigest() == digest


Tensors = dict[str, torch.Tensor]


def alter(file: Path, change: Callable[[Tensors], object]) -> None:
    """Give a part other tensors, and take the digests away."""
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    (file.parent / "unet.sha256").unlink()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_with_values_that_are_not_finite_is_named(copied: Path, value: float) -> None:
    alter(last(copied), lambda tensors: tensors["decoder.3.bn1.bias"].fill_(value))
    message = one_line(copied)
    assert "decoder.3.bn1.bias holds values that are not finite" in message
    assert str(last(copied)) in message


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("decoder.3.bn1.bias"),
        lambda tensors: tensors.update({"decoder.3.bn1.bias": torch.zeros(7)}),
        lambda tensors: tensors.update({"decoder.9.bias": torch.zeros(7)}),
    ],
)
def test_weights_of_another_network_are_named(copied: Path, change: Callable[[Tensors], object]) -> None:
    alter(last(copied), change)
    assert re.search(r"those of another network: 1 tensors differ, decoder.\d.*bias first", one_line(copied))


def test_what_cannot_be_opened_is_named(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, read = part(copied, 2), Path.read_bytes

    def refuse(file: Path) -> bytes:
        if file == locked:
            raise PermissionError(13, "Permission denied", str(file))
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert f"Permission denied: '{locked}'" in one_line(copied)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    assert "no weights" in one_line(tmp_path)
    assert "No such file or directory" in one_line(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "Not a directory" in one_line(tmp_path / "file")
    assert "null byte" in one_line(tmp_path / "a\0b")


def test_shipped_parts_are_small_enough() -> None:
    assert all(file.stat().st_size <= 16 * 2**20 for file in DEFAULT.glob("*.safetensors"))


def test_engine_gives_probabilities(network: UNet) -> None:
    images = np.random.default_rng(0).normal(size=(2, 224, 224)).astype(np.float32)
    probabilities = TorchEngine(network).infer(images)
    assert probabilities.shape == (2, 3, 224, 224)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
