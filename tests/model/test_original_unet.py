import torch

from model.original_unet import OriginalUNet


def test_size_and_shape():
    network = OriginalUNet().eval()
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == 31.0
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 64, 96)).shape == (1, 3, 64, 96)
