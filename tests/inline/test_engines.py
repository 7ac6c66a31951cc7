import numpy as np
import pytest
import torch

from inline.engines import make_engine
from inline.errors import ConfigurationError
from inline.settings import load_settings
from model.unet import UNet
from model.weights import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("weights")
    save_weights(UNet(), folder)
    file = folder / "s.toml"
    file.write_text(f'weights = "{folder}"\n')
    return file


def test_auto_takes_openvino_and_falls_back_to_torch(weights, monkeypatch):
    chain = make_engine(load_settings(weights))
    assert chain.name == "openvino-f32"
    monkeypatch.setattr("openvino.Core", lambda: (_ for _ in ()).throw(RuntimeError("no processor")))
    chain = make_engine(load_settings(weights))
    assert chain.name == "torch"
    assert "no processor" in chain.failures[0]


def test_the_one_that_was_asked_for_comes_first(weights):
    images = np.zeros((1, 224, 224), np.float32)
    for name in ("torch", "openvino-bf16"):
        chain = make_engine(load_settings(weights, engine=name))
        assert chain.name == name
        assert chain.infer(images).shape == (1, 3, 224, 224)


def test_weights_that_are_not_there_are_an_error(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(f'weights = "{tmp_path}"\n')
    with pytest.raises(ConfigurationError, match="no weights"):
        make_engine(load_settings(file))
