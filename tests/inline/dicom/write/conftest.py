"""Results of a simulated examination with the DICOM images that they come from."""

from dataclasses import replace

import pytest
from pydicom import dcmread

from inline.dicom.read import open_dicom
from inline.dicom.write.objects import write_objects
from inline.dicom.write.output import DicomSource
from inline.dicom.write.provenance import Provenance
from inline.dicom.write.source import SourceImages
from inline.pipeline import Pipeline
from inline.settings import Settings

from .. import scanner


def read_sources(files, engine, provenance):
    """The result of each slice of these files, as the node makes them."""
    made = []
    pipeline = Pipeline(engine, Settings(regions={"levels": {0: "basal", 1: "apical"}}))
    for examination in open_dicom(files).examinations():
        for each in examination.series:
            result = pipeline.process(each)
            datasets = [dcmread(file, stop_before_pixels=True) for file in examination.files[each.identity]]
            made.append(DicomSource(result, SourceImages.of(datasets, result.geometry), provenance))
    return made


@pytest.fixture(scope="session")
def provenance():
    return Provenance.of(Settings(), "ring")


@pytest.fixture(scope="session")
def scanned():
    """Classic objects of two slices: MOLLI."""
    return scanner.series_of(scanner.classic(scanner.examination(2, size=96)[1]), 1)


@pytest.fixture(scope="session")
def classic_sources(scanned, tmp_path_factory, ring_engine, provenance):
    return read_sources(save(scanned, tmp_path_factory.mktemp("classic")), ring_engine, provenance)


@pytest.fixture(scope="session")
def enhanced_sources(scanned, tmp_path_factory, ring_engine, provenance):
    return read_sources(
        save([scanner.enhanced(scanned)], tmp_path_factory.mktemp("enhanced")), ring_engine, provenance
    )


@pytest.fixture(scope="session", params=["classic", "enhanced"])
def sources(request):
    return request.getfixturevalue(f"{request.param}_sources")


@pytest.fixture(scope="session")
def written(sources):
    """The objects of both slices of the first series, maps and captures first, the report last."""
    return write_objects(sources[:2], ("map", "segmentation", "report", "capture")).objects


@pytest.fixture
def source(classic_sources):
    return classic_sources[0]


@pytest.fixture
def changed(source):
    """The first source with another result."""
    return lambda **values: replace(source, result=replace(source.result, **values))


def save(datasets, folder):
    """Write objects and return their files."""
    files = []
    for number, each in enumerate(datasets):
        files.append(folder / f"{number:03d}.dcm")
        each.save_as(files[-1], enforce_file_format=True)
    return files
