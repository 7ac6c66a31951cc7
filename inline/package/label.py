"""OpenRecon label of myostream: its parameters with range and default of the settings, and its needs."""

from __future__ import annotations

import base64
import binascii
import json
import re
from decimal import Decimal
from typing import Final

from inline.package.schema import (
    STEP,
    BooleanParameter,
    Choice,
    ChoiceParameter,
    DoubleParameter,
    General,
    IntParameter,
    Label,
    PackageError,
    Parameter,
    Protocol,
    Reconstruction,
    Regulatory,
    Unit,
    Words,
    check_label,
    reported_problems,
)
from inline.report.content import DISCLAIMER
from inline.settings import FURTHEST_MM, Settings
from model.relaxometry.ecv import HAEMATOCRIT

LABEL_NAME: Final = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"
"""Name of the label of the image (``build.py`` of neurodesk/openrecon, benoitberanger/openrecon-template)."""
PORT: Final = 9002
NAME: Final = "myostream"
_VENDOR: Final = re.compile(r"[A-Za-z0-9]+([.-][A-Za-z0-9]+)*")
"""Names of images, in lower case, take no other (distribution/reference)."""
_LONGEST: Final = 64
_MEMORY_MB: Final = 4096
"""With default settings docs/protocol.md adds up to 2.4 GB at most."""


def make_label(vendor: str, version: str, settings: Settings | None = None) -> Label:
    """Return the label.

    The host sends every parameter with each measurement, so the defaults must be the settings of the site.

    Args:
        vendor: who makes the package; letters and digits, with single dots and hyphens between them, since
            file names and the name of the image hold it.
        version: of myostream, ``MAJOR.MINOR.PATCH``.
        settings: that the defaults come from; None for the defaults of the program.

    Raises:
        PackageError: vendor, version or a setting cannot be used.
    """
    if len(vendor) > _LONGEST or not _VENDOR.fullmatch(vendor):
        raise PackageError(
            f"vendor {vendor[:_LONGEST]!r} cannot be used; give up to {_LONGEST} letters and digits, "
            "with single dots and hyphens between them"
        )
    with reported_problems():
        return Label(
            general=_general(vendor, version),
            reconstruction=_reconstruction(),
            parameters=_parameters(settings or Settings()),
        )


def package_name(label: Label) -> str:
    """Return the name that archive, image and manual of a package have, less their suffixes."""
    general = label.general
    return f"OpenRecon_{general.vendor}_{general.name.en}_V{general.version}"


def encoded(label: Label) -> str:
    """Return the value of the image's label: JSON in base64, one line."""
    return base64.b64encode(json.dumps(label.content()).encode()).decode()


def decoded(value: str) -> Label:
    """Return the label of an image from its value.

    Raises:
        PackageError: it is no JSON in base64, or does not follow the schema.
    """
    try:
        content = json.loads(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise PackageError(f"the OpenRecon label of the image is no JSON in base64: {error}") from error
    return check_label(content)


def _general(vendor: str, version: str) -> General:
    return General(
        name=Words(en=NAME),
        version=version,
        vendor=vendor,
        information=Words(en=f"T1, T2 and ECV of the myocardium from MOLLI and T2-prep images. {DISCLAIMER}"),
        id=NAME,
        # No device: without address, article number (GTIN) and device identifier (UDI).
        regulatory_information=Regulatory(
            device_trade_name=NAME,
            production_identifier=version,
            manufacturer_address="",
            made_in="",
            manufacture_date="",
            material_number=f"{NAME}_{version}",
            gtin="",
            udi="",
            safety_advices=f"{DISCLAIMER} Not for diagnosis.",
            special_operating_instructions="See the manual.",
            additional_relevant_information="",
        ),
    )


def _reconstruction() -> Reconstruction:
    return Reconstruction(
        transfer_protocol=Protocol(),
        port=PORT,
        emitter="image",
        injector="image",
        can_process_adjustment_data=False,
        can_use_gpu=False,  # torch of this version needs a later CUDA than a host has
        min_count_required_gpus=0,
        min_required_gpu_memory=0,
        min_required_memory=_MEMORY_MB,
        min_count_required_cpu_cores=Settings().workers,
        content_qualification_type="RESEARCH",
    )


def _parameters(settings: Settings) -> list[Parameter]:
    millimetres, percent = Unit(en="mm"), Unit(en="%")
    factors = {"1": "1: as fitted", "1.0365": "1.0365: as maps of Siemens"}
    t1_scale = repr(settings.mapping.t1_scale).removesuffix(".0")  # all digits
    factors.setdefault(t1_scale, f"{t1_scale}: of this site")
    offset = "Contour convention: distance of the contour from the {} border of the wall, positive into it."
    return [
        ChoiceParameter(
            id="config",
            label=Words(en="Processing"),
            information=Words(en="Maps and contours, or images as they come."),
            default="mapping",
            values=_choices(mapping="Maps and contours", passthrough="None: images pass"),
        ),
        IntParameter(
            id="budgetMs",
            label=Words(en="Time per slice"),
            information=Words(en="From the last image of a slice on; then the result goes out unfinished."),
            minimum=1,
            maximum=3_600_000,
            default=int(_in_steps("budget_ms", settings.budget_ms, 1)),
            unit=Unit(en="ms"),
        ),
        ChoiceParameter(
            id="originals",
            label=Words(en="Original images"),
            information=Words(en="Without them the host keeps results alone."),
            default=settings.emit.originals,
            values=_choices(
                **{
                    "as-is": "Send back bit-exact",
                    "keep-geometry": "Send back, keep geometry",
                    "none": "Do not send back",
                }
            ),
        ),
        BooleanParameter(
            id="overlay",
            label=Words(en="Contour overlay"),
            information=Words(en="Colour image of map and contours."),
            default=settings.emit.overlay,
        ),
        BooleanParameter(
            id="report",
            label=Words(en="Report"),
            information=Words(en="Colour image of all results of the measurement, at its end."),
            default=settings.emit.report,
        ),
        BooleanParameter(
            id="uncertainty",
            label=Words(en="Uncertainty maps"),
            information=Words(en="Standard deviation of each pixel, and of the contours."),
            default=settings.emit.uncertainty,
        ),
        ChoiceParameter(
            id="motion",
            label=Words(en="Images to fit"),
            information=Words(en="Where the scanner sends a series as acquired and motion-corrected."),
            default=settings.assembly.motion,
            values=_choices(
                **{
                    "prefer-corrected": "Corrected where there are any",
                    "corrected": "Corrected only",
                    "uncorrected": "As acquired only",
                    "both": "Both, separately",
                }
            ),
        ),
        ChoiceParameter(
            id="t1Scale",
            label=Words(en="Factor on T1"),
            information=Words(
                en="On every fitted T1. Use one factor for all examinations that are compared."
            ),
            default=t1_scale,
            values=_choices(**factors),
        ),
        DoubleParameter(
            id="endoOffsetMm",
            label=Words(en="Endocardial offset"),
            information=Words(en=offset.format("inner")),
            minimum=-FURTHEST_MM,
            maximum=FURTHEST_MM,
            default=_in_steps("contours.endo_offset_mm", settings.contours.endo_offset_mm),
            unit=millimetres,
        ),
        DoubleParameter(
            id="epiOffsetMm",
            label=Words(en="Epicardial offset"),
            information=Words(en=offset.format("outer")),
            minimum=-FURTHEST_MM,
            maximum=FURTHEST_MM,
            default=_in_steps("contours.epi_offset_mm", settings.contours.epi_offset_mm),
            unit=millimetres,
        ),
        DoubleParameter(
            id="haematocritPercent",
            label=Words(en="Haematocrit"),
            information=Words(
                en="Of this patient, for ECV: {:g} to {:g} %, 0 where it is not known.".format(
                    *(100.0 * each for each in HAEMATOCRIT)
                )
            ),
            minimum=0.0,
            maximum=100.0 * HAEMATOCRIT[1],
            default=0.0,  # that of the settings is not that of the next patient
            unit=percent,
        ),
        BooleanParameter(
            id="syntheticHaematocrit",
            label=Words(en="Synthetic haematocrit"),
            information=Words(en="Estimate from native blood T1 where none is given; results are flagged."),
            default=settings.ecv.synthetic,
        ),
    ]


def _in_steps(name: str, value: float, step: Decimal | int = STEP) -> float:
    """Return a setting as a default; a rounded one would make other values than the site's."""
    if Decimal(repr(value)) % step:
        raise PackageError(
            f"{name} = {value!r} cannot be in a label, where it has steps of {step}; round it in the "
            "settings file"
        )
    return value


def _choices(**names: str) -> list[Choice]:
    return [Choice(id=each, name=Words(en=name)) for each, name in names.items()]
