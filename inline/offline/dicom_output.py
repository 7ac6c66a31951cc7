"""Results of files as DICOM objects in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from inline.data.errors import DicomError
from inline.dicom.write.objects import encoded, write_examination
from inline.dicom.write.provenance import Provenance
from inline.offline.left_over import files_left_over
from inline.offline.process import Output, Processed
from inline.settings import Settings
from model.engines.base import Engine
from model.output import atomic_output, check_folder


def dicom_output(folder: Path, settings: Settings, engine: Engine) -> Output:
    """Return the output of DICOM objects (``docs/dicom-node.md``), in a folder for each examination.

    Files have mode 0600 and are named by their UIDs, so that a rerun replaces them.

    Args:
        folder: of all examinations.
        settings: of the program, with the kinds of objects (``dicom.outputs``).
        engine: that runs; each object states the one in use after its examination.
    """
    started = Provenance.of(settings, engine.name)

    def write(processed: Processed) -> str:
        own = folder / f"{processed.number:03d}"
        outputs = settings.dicom.outputs
        # Another engine follows one that fails.
        provenance = replace(started, engine=engine.name)
        written = write_examination(
            processed.examination, processed.results, provenance, outputs, processed.ecv
        )
        objects = {f"{each.SOPInstanceUID}.dcm": each for each in written.objects}
        if objects:
            check_folder(own)
        for name, each in objects.items():
            with atomic_output(own / name, private=True) as beside:
                beside.write_bytes(encoded(each))
        if written.problems:
            raise DicomError("; ".join(written.problems))
        return f"DICOM objects: {len(objects)} in {own}{files_left_over(own, objects)}"

    return write
