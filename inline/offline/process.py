"""Examinations through the pipeline: the one composition for files without a server.

:func:`process_examinations` yields the results of each examination as soon as they are there.
An :class:`Output` writes them, one examination at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inline.assembly.examination import AcquiredExamination
from inline.data.examination import EcvResult
from inline.data.results import SliceResult
from inline.data.series import Quantity
from inline.emit.record import Record, ecv_in_order, ecv_record, file_names, in_order, slice_record
from inline.examination.examine import examine
from inline.examination.haematocrits import HaematocritFile, Haematocrits
from inline.mrd.header import Identities, StudyKey, identity, merged
from inline.offline.left_over import files_left_over
from inline.pipeline import Pipeline, SliceContext
from inline.settings import Settings
from model.output import check_folder, write_json


@dataclass(frozen=True, slots=True)
class Processed:
    """Examination with the result of each of its series.

    Attributes:
        examination: with the sources of each series.
        results: one for each series, in its order.
        number: of the examination, from 1.
        study: number of the first of successive files of the same study; else its own.
        ecv: of each slice position with contrast agent, in their order.
    """

    examination: AcquiredExamination
    results: tuple[SliceResult, ...]
    number: int
    study: int
    ecv: tuple[EcvResult, ...] = ()

    @property
    def records(self) -> list[Record]:
        """Records of the results, by slice, quantity and series."""
        return sorted(map(slice_record, self.results), key=in_order)

    @property
    def ecv_records(self) -> list[Record]:
        """Records of ECV, by slice and series of the native map."""
        return sorted(map(ecv_record, self.ecv), key=ecv_in_order)


class Output(Protocol):
    """Writer of the results of an examination: records or DICOM objects."""

    def __call__(self, processed: Processed) -> str:
        """Write it; return a line that says where it is."""
        ...


def process_examinations(
    examinations: Iterable[AcquiredExamination],
    pipeline: Pipeline,
    settings: Settings,
    name: str = "",
    haematocrits: Haematocrits | None = None,
) -> Iterator[Processed]:
    """Yield the results of each examination.

    The slice level comes from the positions of all its slices. Errors of a slice are stated in its result.
    Successive files of one study, such as native and post-contrast, are examined together: the later one has
    the ECV.

    Args:
        examinations: read from files.
        pipeline: of these settings.
        settings: of ECV and regions.
        name: of the examination in a cohort, for its haematocrit; else empty.
        haematocrits: of the site; None to read the file of the settings anew for each examination.
    """
    # The command has checked the file.
    listed = haematocrits or HaematocritFile(settings.ecv.haematocrits, logged=False)
    in_cohort: Identities = {"examination": frozenset({identity("examination", name)})} if name else {}
    identities = in_cohort
    studies: set[StudyKey | None] = set()
    earlier: list[SliceResult] = []
    first = 1
    for number, examination in enumerate(examinations, 1):
        places = [each.slice_place() for each in examination.series]
        results = tuple(
            pipeline.process(
                series, SliceContext(study=(*places[:place], *places[place + 1 :], places[place]))
            )
            for place, series in enumerate(examination.series)
        )
        study = file_study(examination)
        if not fits_all(study, studies):
            studies, earlier, first, identities = set(), [], number, in_cohort
        studies.add(study)
        identities = merged(identities, examination.identities)
        of_study = listed.of(identities, shared=examination.shared_study)
        examined = examine(
            results, settings.ecv, settings.regions, pipeline.ranges, earlier=earlier, of_study=of_study
        )
        earlier += [each for each in results if each.quantity is Quantity.T1]
        yield Processed(examination, results, number, first, examined.ecv)


def file_study(examination: AcquiredExamination) -> StudyKey | None:
    """Return the study that a file is a part of; None where it states none, or has all of it."""
    stated = any(examination.header.uids) and not examination.files
    return examination.header.study_key if stated else None


def fits_all(study: StudyKey | None, others: Iterable[StudyKey | None]) -> bool:
    """Return whether a file is of one study with others, by :func:`file_study` of each."""
    return all(study is not None and other is not None and study.fits(other) for other in others)


def json_output(folder: Path) -> Output:
    """Return the output of a JSON record of each slice and ECV, in a folder for each examination, mode 0600.

    ``examination.json`` beside them states the source of the images and what was left out.
    """

    def write(processed: Processed) -> str:
        own = folder / f"{processed.number:03d}"
        check_folder(own)
        records, examination = processed.records, processed.examination
        ecv = processed.ecv_records
        placed = [*records, *({**each["native"], "quantity": "ECV"} for each in ecv)]
        names = file_names(placed, ".json")
        for content, name in zip([*records, *ecv], names, strict=True):
            write_json(own / name, content, private=True)
        about = {
            "source": examination.name,
            "images": examination.images,
            "unused": dict(examination.unused),
            "notes": list(examination.notes),
            "problems": list(examination.problems),
        }
        write_json(own / "examination.json", about, private=True)
        left_over = files_left_over(own, [*names, "examination.json"])
        return f"Results: {len(records) + len(ecv)} in {own}{left_over}"

    return write
