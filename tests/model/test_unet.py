"""The architecture against the published description and torchvision's naming."""

import torch
from torch import nn

from model.unet import ResNet50Encoder, UNet


def test_size_is_the_published_one() -> None:
    parameters = sum(p.numel() for p in UNet().parameters())
    assert 31e6 < parameters < 33e6


def test_decoder_has_eight_convolutions() -> None:
    decoder = UNet().decoder
    assert sum(isinstance(m, nn.Conv2d) for m in decoder.modules()) == 8


def test_scores_have_the_size_of_the_image() -> None:
    network = UNet().eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 1, 224, 224)).shape == (2, 3, 224, 224)
        assert network(torch.zeros(1, 1, 96, 160)).shape == (1, 3, 96, 160)


def test_heat_of_insertion_points_follows_the_classes() -> None:
    torch.manual_seed(2)
    network = UNet(insertions=True).eval()
    plain = UNet().eval()
    missing = plain.load_state_dict(network.state_dict(), strict=False)
    assert missing.unexpected_keys == ["insertion_head.weight", "insertion_head.bias"]
    images = torch.randn(1, 1, 64, 96)
    with torch.inference_mode():
        scores = network(images)
        assert scores.shape == (1, 5, 64, 96)
        assert torch.equal(scores[:, :3], plain(images))
        # Before any training hardly a pixel is near a point.
        assert torch.sigmoid(scores[:, 3:]).mean() < 0.2


def torchvision_resnet50_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's resnet50, from its published layout and not from our code."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name: str, n: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (n,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", 64)
    channels = 64
    for layer, (blocks, planes) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for block in range(blocks):
            prefix = f"layer{layer}.{block}"
            for index, shape in enumerate(
                ((planes, channels, 1, 1), (planes, planes, 3, 3), (4 * planes, planes, 1, 1)), start=1
            ):
                shapes[f"{prefix}.conv{index}.weight"] = shape
                norm(f"{prefix}.bn{index}", shape[0])
            if block == 0:
                shapes[f"{prefix}.downsample.0.weight"] = (4 * planes, channels, 1, 1)
                norm(f"{prefix}.downsample.1", 4 * planes)
            channels = 4 * planes
    shapes["fc.weight"], shapes["fc.bias"] = (1000, 2048), (1000,)
    return shapes


def test_imagenet_checkpoint_of_torchvision_loads() -> None:
    state = {
        name: torch.rand(shape) if shape else torch.tensor(0)
        for name, shape in torchvision_resnet50_shapes().items()
    }
    encoder = ResNet50Encoder()
    encoder.load_imagenet(state)
    own = encoder.state_dict()
    assert torch.equal(own["layer3.5.conv3.weight"], state["layer3.5.conv3.weight"])
    grey = torch.rand(1, 1, 32, 32)
    colour = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), state["conv1.weight"], stride=2, padding=3)
    assert torch.allclose(encoder.conv1(grey), colour, atol=1e-4)
