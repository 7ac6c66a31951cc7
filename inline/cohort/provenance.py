"""Provenance of results: what they depend on beside the images."""

from __future__ import annotations

from dataclasses import dataclass

from inline.data.version import software_version
from inline.settings import Settings
from inline.settings_digest import settings_digest
from model.weights import DEFAULT, weights_digest


@dataclass(frozen=True, slots=True)
class CohortProvenance:
    """Program, settings and weights of a result.

    Attributes:
        version: of the program.
        settings: SHA-256 of all settings that a result depends on, and of the confidence of the network.
        weights: SHA-256 of the weights of the network.
    """

    version: str
    settings: str
    weights: str

    @classmethod
    def of(cls, settings: Settings) -> CohortProvenance:
        """Return that of the results made here with some settings.

        Raises:
            OSError: the weights or the reference ranges cannot be read.
        """
        return cls(
            version=software_version(),
            settings=settings_digest(settings),
            weights=weights_digest(settings.weights or DEFAULT),
        )
