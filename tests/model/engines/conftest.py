from contextlib import nullcontext

import pytest
import torch

from model.engines import gpu
from model.unet import UNet


@pytest.fixture(scope="session")
def network():
    torch.manual_seed(1)
    network = UNet().eval()
    # Scores of random weights are far apart; probabilities of trained ones are not all 0 or 1.
    with torch.inference_mode():
        network.head.weight.mul_(0.05)
    return network


@pytest.fixture(scope="session")
def network_with_insertions(network):
    made = UNet(insertions=True).eval()
    with torch.inference_mode():
        made.load_state_dict(network.state_dict(), strict=False)
        made.insertion_head.weight.normal_(std=0.01, generator=torch.Generator().manual_seed(2))
        made.insertion_head.bias.zero_()
    return made


class Stream:
    def __init__(self, device):
        pass

    def synchronize(self):
        pass


@pytest.fixture
def cpu_for_gpu(monkeypatch):
    """Lets the engines of a GPU work on the CPU, as far as torch itself can."""
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(gpu, "_pinned", lambda *shape: torch.empty(shape))
