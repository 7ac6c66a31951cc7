import pytest
import torch

from inline.mapping.blocks import fit_in_blocks


def test_blocks_come_back_in_order():
    signals = torch.arange(2 * 70_000, dtype=torch.float32).view(2, -1)
    total, first = fit_in_blocks(lambda block: (block.sum(0), block[0]), signals)
    assert torch.equal(total, signals.sum(0))
    assert torch.equal(first, signals[0])


def test_large_images_are_shared_out_one_thread_each():
    seen = []

    def fit(block):
        seen.append((block.shape[1], torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return (block[0],)

    before = torch.get_num_threads()
    with torch.inference_mode():
        fit_in_blocks(fit, torch.zeros(3, 256 * 256))
    assert {threads for _, threads, _ in seen} == {1}
    assert all(inference for *_, inference in seen)
    assert max(pixels for pixels, *_ in seen) <= 16384
    assert sum(pixels for pixels, *_ in seen) == 256 * 256
    assert torch.get_num_threads() == before
    fit_in_blocks(fit, torch.zeros(3, 100))
    assert seen[-1] == (100, before, False)


def test_an_error_in_a_block_is_the_callers():
    def fit(_):
        raise ValueError("this block")

    with pytest.raises(ValueError, match="this block"):
        fit_in_blocks(fit, torch.zeros(3, 256 * 256))
