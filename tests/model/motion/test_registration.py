"""Parts of the registration against direct computation."""

import numpy as np
import pytest

from model.motion.equations import normal_equations, solve
from model.motion.lattice import CELL, PIXEL_MM, Lattice
from model.motion.signal_models import Linearised, MolliModel, T2PrepModel

from .phantom import T1_TIMES, T2_TIMES, molli, t2prep


@pytest.mark.parametrize("parameters", [2, 3])
def test_the_normal_equations_are_those_of_a_projected_least_squares_problem(parameters):
    rng = np.random.default_rng(parameters)
    n, size, damping = 5, 8, 0.1
    images, polarity = rng.normal(size=(n, size, size)), rng.choice([-1.0, 1.0], (n, size, size))
    columns, residuals = (
        rng.normal(size=(parameters, n + 1, size, size)),
        rng.normal(size=(n + 1, size, size)),
    )
    weights = rng.uniform(0.0, 1.0, (size, size)) * (rng.uniform(size=(size, size)) > 0.2)
    given = (each.astype(np.float32) for each in (polarity, residuals, columns))
    found = Linearised(*given, np.ones((size, size), np.float32), weights == 0.0)
    gradients = np.stack([polarity * np.gradient(images, axis=axis) for axis in (2, 1)])
    sums = normal_equations(gradients.astype(np.float32), found, weights.astype(np.float32), 4, damping)
    expected = np.zeros(sums.shape)
    for y in range(size):
        for x in range(size):
            basis, _ = np.linalg.qr(columns[:, :, y, x].T)
            projector = np.eye(n + 1) - basis @ basis.T
            g = np.zeros((n + 1, 2 * n))
            g[:n, :n], g[:n, n:] = np.diag(gradients[0, :, y, x]), np.diag(gradients[1, :, y, x])
            normal = g.T @ (projector + damping * np.eye(n + 1)) @ g
            along = g.T @ projector @ residuals[:, y, x]
            expected[y // 4, x // 4] += weights[y, x] * np.column_stack([normal, along])
    assert np.allclose(sums, expected, atol=2e-4)


@pytest.mark.parametrize("nodes", [(1, 1), (5, 7)])
def test_a_step_solves_its_normal_equations(nodes):
    rng = np.random.default_rng(4)
    root = rng.normal(size=(*nodes, 12, 6)) * 10.0 ** rng.uniform(-3.0, 0.0, (*nodes, 1, 1))
    normal, right = root.swapaxes(2, 3) @ root, rng.normal(size=(*nodes, 6))
    found = solve(np.concatenate([normal, right[..., None]], axis=-1).astype(np.float32))
    ridge = 0.02 * np.trace(normal.mean(axis=(0, 1))) / 6
    expected = -np.linalg.solve(normal + ridge * np.eye(6), right[..., None])[..., 0]
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_without_texture_there_is_no_step():
    assert not solve(np.zeros((2, 3, 6, 7), np.float32)).any()


@pytest.mark.parametrize(
    ("model", "images", "times"),
    [
        (MolliModel(), np.abs(molli([(0.0, 0.0)] * 8)), T1_TIMES),
        (MolliModel(signed=True), molli([(0.0, 0.0)] * 8), T1_TIMES),
        (MolliModel(signed=True), -molli([(0.0, 0.0)] * 8), T1_TIMES),
        (T2PrepModel(), t2prep([(0.0, 0.0)] * 3), T2_TIMES),
    ],
    ids=["magnitude", "signed", "inverted", "T2"],
)
def test_residuals_of_a_fit_are_orthogonal_to_what_the_model_can_follow(model, images, times):
    found = model.linearise(images, times)
    good = ~found.failed & (found.r_squared > 0.99)
    assert good.sum() > 1000
    n = len(images)
    signal = np.abs(found.polarity * images)[:, good].max(axis=0)
    assert np.abs(found.residuals[:n, good] / signal).mean() < 0.02
    for column in found.columns:
        along = (column[:n] * found.residuals[:n])[:, good].sum(axis=0)
        length = np.linalg.norm(column[:n, good], axis=0) * signal
        assert np.quantile(np.abs(along) / length, 0.99) < 2e-3


def test_a_displacement_has_the_same_length_on_every_grid():
    lattice = Lattice.of((150, 220), (1.2, 2.0))
    node = np.zeros((*lattice.nodes, 2), np.float32)
    node[...] = 2.0, -1.0  # working pixels of 3 mm
    rows, columns = lattice.window
    window = lattice.on_window(node)
    assert window.shape == (rows.stop - rows.start, columns.stop - columns.start, 2)
    inner = window[2:-2, 2:-2].reshape(-1, 2) * (1.2, 2.0)
    assert np.allclose(inner, (6.0, -3.0), atol=1e-3)
    assert np.allclose(lattice.on_working_grid(node, 2), (1.0, -0.5), atol=1e-4)


def test_the_working_grid_shares_the_middle_of_the_image():
    lattice = Lattice.of((150, 220), (1.2, 2.0))
    y, x = np.indices((150, 220)).astype(np.float32)
    in_mm = np.stack([(x - 109.5) * 1.2, (y - 74.5) * 2.0])
    reduced = lattice.reduced(in_mm)
    height, width = lattice.working_shape
    assert height % CELL == width % CELL == 0
    across = (np.arange(width) - (width - 1) / 2) * PIXEL_MM
    assert np.allclose(reduced[0, height // 2], across, atol=0.05)
    assert np.abs(reduced[1].mean(axis=1) - (np.arange(height) - (height - 1) / 2) * PIXEL_MM).max() < 0.05
