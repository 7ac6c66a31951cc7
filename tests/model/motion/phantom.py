"""Analytic phantom: a ring and structures around it, with exact signals and exact shifts.

Also a simulated slice with known motion, and a simulated recovery with fat off resonance.
"""

import numpy as np
import torch

from bench.motion import MovingSeries
from model.synthesis.anatomy import make_anatomy
from model.synthesis.examination import simulate_slice
from model.synthesis.randomness import Draw
from model.synthesis.tissues import RELAXATION, Tissue

T1_TIMES = np.array([100.0, 180.0, 1000.0, 1080.0, 1900.0, 1980.0, 2800.0, 3700.0])
T2_TIMES = np.array([0.0, 25.0, 55.0])


def _soft(distance):
    """Share of a pixel inside, with a border 2 pixels wide."""
    return np.clip(distance / 2.0 + 0.5, 0.0, 1.0)


def tissues(shape, spacing, shift_mm=(0.0, 0.0)):
    """Shares of blood, wall, fat in each pixel; the heart in the middle, shifted (x, y), the fat at rest."""
    rows, columns = shape
    y = (np.arange(rows)[:, None] - (rows - 1) / 2) * spacing[1]
    x = (np.arange(columns)[None] - (columns - 1) / 2) * spacing[0]
    hx, hy = x - shift_mm[0], y - shift_mm[1]
    radius, angle = np.hypot(hx, hy), np.arctan2(hy, hx)
    # Lobes and a second cavity, so that no shift along the border is without a trace.
    outer, inner = 33.0 + 2.0 * np.cos(3 * angle), 23.0 + 2.0 * np.cos(2 * angle + 0.5)
    heart, cavity = _soft(outer - radius), _soft(inner - radius)
    right = _soft(20.0 - np.hypot(hx + 48.0, hy + 6.0)) * (1.0 - heart)
    fat = _soft(np.hypot(x, y) - 92.0)
    blood = cavity + right
    return np.stack([blood, heart - cavity, fat])


def molli(shifts_mm, shape=(128, 128), spacing=(1.5, 1.5), noise=2.0, seed=1):
    """Signed MOLLI images, one for each shift (x, y) in mm; T1* of 1400, 900 and 250 ms."""
    apparent, scale = np.array([1400.0, 900.0, 250.0]), np.array([600.0, 450.0, 700.0])
    images = [
        np.tensordot(scale * (1.0 - 1.95 * np.exp(-time / apparent)), tissues(shape, spacing, shift), 1)
        for time, shift in zip(T1_TIMES, shifts_mm, strict=True)
    ]
    return _noisy(images, noise, seed)


def t2prep(shifts_mm, shape=(128, 128), spacing=(1.5, 1.5), noise=2.0, seed=1):
    """T2-prep images, one for each shift (x, y) in mm; T2 of 200, 48 and 80 ms."""
    t2, scale = np.array([200.0, 48.0, 80.0]), np.array([600.0, 450.0, 700.0])
    images = [
        np.tensordot(scale * np.exp(-time / t2), tissues(shape, spacing, shift), 1)
        for time, shift in zip(T2_TIMES, shifts_mm, strict=True)
    ]
    return np.abs(_noisy(images, noise, seed))


def _noisy(images, noise, seed):
    stack = np.stack(images)
    return (stack + noise * np.random.default_rng(seed).standard_normal(stack.shape)).astype(np.float32)


def simulated(seed, quantity, motion_mm=0.0, kind="elastic"):
    made = simulate_slice(seed, size=192, level=0.4, usual=True, motion_mm=motion_mm, motion=kind)
    return MovingSeries.of(made, quantity)


def molli_with_fat(seed, fat_hz, heartbeat_ms=900.0, snr=60.0):
    """Native 5(3)3 magnitudes of a heart at rest, and their times; the fat is ``fat_hz`` off resonance."""
    t1, t2, density = np.array([[each.t1, each.t2, each.density] for each in RELAXATION.values()]).T
    turn = 2e-3 * np.pi * np.where(np.arange(len(t1)) == Tissue.FAT, fat_hz, 0.0)
    across, along = np.zeros(len(t1), complex), np.ones(len(t1))

    def wait(ms):
        nonlocal across, along
        across, along = (
            across * np.exp((1j * turn - 1 / t2) * ms),
            1.0 + (along - 1.0) * np.exp(-ms / t1),
        )

    def pulse(angle):
        nonlocal across, along
        y, z = across.imag, along
        across = across.real + 1j * (np.cos(angle) * y - np.sin(angle) * z)
        along = np.sin(angle) * y + np.cos(angle) * z

    times, signals = [], []
    for first_ms, count in ((100.0, 5), (180.0, 3)):
        across, along = 0.0 * across, -0.96 * along
        wait(first_ms - 22 * 2.7)
        for beat in range(count):
            pulse(-0.305)
            wait(1.35)
            for number in range(56):
                pulse(0.61 * (-1.0) ** number)
                wait(1.35)
                if number == 22:  # centre of k-space
                    signals.append(across * density)
                wait(1.35)
            across = 0.0 * across
            times.append(first_ms + beat * heartbeat_ms)
            wait(heartbeat_ms - 56 * 2.7)
        wait(3 * heartbeat_ms - 180.0)
    draw = Draw(1, torch.Generator().manual_seed(seed))
    fractions = make_anatomy(draw, 160, 160, 1.5, 0.4, usual=True).fractions[0].numpy()
    mixed = np.tensordot(np.array(signals), fractions, 1)
    noise = np.random.default_rng(seed).standard_normal((2, *mixed.shape)) * 0.24 / snr
    order = np.argsort(times)
    return np.abs(mixed + noise[0] + 1j * noise[1])[order].astype(np.float32), np.array(times)[order]
