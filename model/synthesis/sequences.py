"""Bloch simulation of the two mapping sequences: what each tissue gives in each image.

Both read out by a balanced steady-state free precession (bSSFP) train without preparation other than a
half-angle pulse, on resonance, so that the magnetisation stays in one plane and two numbers describe it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from model.synthesis.tissues import TissueValues

T2PREP_BEATS: Final = 3
"""Heartbeats between two T2-prep images."""


@dataclass(frozen=True, slots=True)
class Readout:
    """One single-shot bSSFP image: flip angle (radians), repetition time (ms), pulses, pulses to k = 0."""

    flip_angle: float = 0.61
    repetition_ms: float = 2.7
    pulses: int = 56
    to_centre: int = 22

    @property
    def centre_ms(self) -> float:
        """Time from the start of the readout to the centre of k-space, ms."""
        return self.to_centre * self.repetition_ms


@dataclass(frozen=True, slots=True)
class Molli:
    """A MOLLI scheme such as ``5(3)3``: images after each inversion, heartbeats of rest in brackets.

    Attributes:
        images: number of images after each inversion.
        rests: heartbeats of recovery between the groups, one fewer than ``images``.
        first_ms: shortest inversion time.
        step_ms: how much later each further group begins after its inversion.
    """

    images: tuple[int, ...]
    rests: tuple[int, ...]
    first_ms: float = 100.0
    step_ms: float = 80.0

    @classmethod
    def parse(cls, scheme: str) -> Molli:
        """Read a scheme as the field writes it.

        Raises:
            ValueError: the text is not of the form ``5(3)3``.
        """
        if not re.fullmatch(r"\d+(\(\d+\)\d+)*", scheme):
            raise ValueError(f"{scheme!r} is not a MOLLI scheme such as 5(3)3")
        numbers = [int(number) for number in re.findall(r"\d+", scheme)]
        return cls(tuple(numbers[::2]), tuple(numbers[1::2]))

    def times_ms(self, heartbeat_ms: float) -> list[float]:
        """Inversion time of every image in the order of acquisition, ms."""
        return [
            self.first_ms + group * self.step_ms + beat * heartbeat_ms
            for group, count in enumerate(self.images)
            for beat in range(count)
        ]

    def beats(self) -> list[int]:
        """Heartbeat in which every image is acquired, in the same order; the first is 0."""
        beats: list[int] = []
        first = 0
        for count, rest in zip(self.images, (*self.rests, 0), strict=True):
            beats += range(first, first + count)
            first += count + rest
        return beats


class _Spins:
    """Magnetisation of every tissue, starting at rest; density comes in at the end.

    A train of pulses is linear in the magnetisation before it, (across, along, 1): one pulse and the time to
    the next are a matrix of 3 x 3, all of them its power.
    """

    def __init__(self, values: TissueValues, readout: Readout) -> None:
        self._t1 = values.t1
        self.longitudinal = torch.ones_like(values.t1)
        half = readout.flip_angle / 2
        self._half = (math.sin(half), math.cos(half))
        sin, cos = math.sin(2 * half), math.cos(2 * half)
        e1 = torch.exp(-readout.repetition_ms / values.t1)
        e2 = torch.exp(-readout.repetition_ms / values.t2)
        # The pulses alternate in sign; in the frame that alternates with them every pulse is the same.
        pulse = torch.zeros(*e1.shape, 3, 3, device=e1.device)
        pulse[..., 0, 0], pulse[..., 0, 1], pulse[..., 0, 2] = -cos * e2, sin * e1, sin * (1.0 - e1)
        pulse[..., 1, 0], pulse[..., 1, 1], pulse[..., 1, 2] = sin * e2, cos * e1, cos * (1.0 - e1)
        pulse[..., 2, 2] = 1.0
        self._centre = torch.linalg.matrix_power(pulse, readout.to_centre)
        self._train = torch.linalg.matrix_power(pulse, readout.pulses)

    def recover(self, time_ms: Tensor | float) -> None:
        self.longitudinal = 1.0 + (self.longitudinal - 1.0) * torch.exp(-time_ms / self._t1)

    def read(self) -> Tensor:
        """Signed signal at the centre of k-space; leaves the magnetisation as the readout does."""
        sin, cos = self._half
        ones = torch.ones_like(self.longitudinal)
        start = torch.stack([sin * self.longitudinal, cos * self.longitudinal, ones], dim=-1)[..., None]
        across, along = (self._train @ start)[..., :2, 0].unbind(dim=-1)
        # A closing half-angle pulse brings the steady state back along the field.
        self.longitudinal = cos * along + sin * across
        signal: Tensor = (self._centre @ start)[..., 0, 0]
        return signal


def molli_signals(
    values: TissueValues,
    scheme: Molli,
    heartbeat_ms: float,
    inversion: float = 0.96,
    readout: Readout | None = None,
) -> Tensor:
    """Signed signal of every tissue in every image, in the order of :meth:`Molli.times_ms`.

    Args:
        values: tissues of ``n`` examinations.
        scheme: images and rests.
        heartbeat_ms: RR interval, the same in all examinations of the batch.
        inversion: efficiency of the inversion pulse, 0 to 1 (Kellman et al. 2013: 0.96).
        readout: the bSSFP train.

    Returns:
        ``(n, images, tissues)``.
    """
    readout = readout or Readout()
    spins = _Spins(values, readout)
    signals = []
    for group, count in enumerate(scheme.images):
        spins.longitudinal = -inversion * spins.longitudinal
        spins.recover(scheme.first_ms + group * scheme.step_ms - readout.centre_ms)
        between = heartbeat_ms - readout.pulses * readout.repetition_ms
        for beat in range(count):
            if beat:
                spins.recover(between)
            signals.append(spins.read() * values.density)
        if group < len(scheme.rests):
            spins.recover(scheme.rests[group] * heartbeat_ms + between)
    return torch.stack(signals, dim=1)


def t2prep_signals(
    values: TissueValues,
    times_ms: tuple[float, ...],
    heartbeat_ms: float,
    rest: int = T2PREP_BEATS,
    readout: Readout | None = None,
) -> Tensor:
    """Signal of every tissue after each T2 preparation, ``rest`` heartbeats apart.

    The readout passes the centre of k-space first, as T2-prep protocols do, since every pulse before it
    mixes T1 into the decay.

    Returns:
        ``(n, len(times_ms), tissues)``.
    """
    readout = readout or Readout(flip_angle=1.22, to_centre=0)
    spins = _Spins(values, readout)
    signals = []
    for time in times_ms:
        spins.longitudinal = spins.longitudinal * torch.exp(-time / values.t2)
        signals.append(spins.read() * values.density)
        spins.recover(rest * heartbeat_ms)
    return torch.stack(signals, dim=1)
