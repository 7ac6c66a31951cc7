"""Simulated examinations as the DICOM objects of a scanner: classic MR images, enhanced ones, map series."""

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from inline.assembly.geometry import read_geometry
from inline.replay.simulate import simulate_examination, to_images

PATIENT = "Mustermännin^Planted"
STUDY = generate_uid(entropy_srcs=["study"])
FRAME = generate_uid(entropy_srcs=["frame"])


def examination(slices=1, size=128, seed=5):
    """The simulated slices with their truth, and their MRD images."""
    simulated = simulate_examination(slices, seed=seed, size=size)
    return simulated, to_images(simulated)


def classic(images, study=STUDY):
    """One classic object per MRD image, in a series for each MRD series."""
    return [_classic(image, study) for image in images]


def series_of(datasets, number):
    return [each for each in datasets if each.SeriesNumber == number]


def map_series(simulated, study=STUDY, number=3):
    """T1 maps as a scanner sends them, ms, one object a slice."""
    _, images = simulated, to_images(simulated)
    first = {}
    for image in images:
        first.setdefault(image.header.slice, image)
    made = []
    for index, each in enumerate(simulated):
        dataset = _classic(first[index], study, number=number, name="T1map_MOLLI_T1")
        del dataset.InversionTime
        dataset.ImageType = ["DERIVED", "PRIMARY", "M", "ND", "T1 MAP"]
        dataset.PixelData = np.round(each.t1_ms).astype(np.uint16).tobytes()
        made.append(dataset)
    return made


def enhanced(datasets):
    """One enhanced object with a frame for each classic object of a series."""
    first = datasets[0]
    made = _common(first.StudyInstanceUID, f"enhanced {first.SeriesInstanceUID}")
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = EnhancedMRImageStorage
    for name in (
        "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "ProtocolName", "Rows", "Columns",
        "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
        "PhotometricInterpretation",
    ):  # fmt: skip
        setattr(made, name, first[name].value)
    made.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    made.NumberOfFrames = len(datasets)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, first.SliceThickness
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = []
    for each in datasets:
        item, position = Dataset(), Dataset()
        position.ImagePositionPatient = each.ImagePositionPatient
        item.PlanePositionSequence = [position]
        if "InversionTime" in each:
            modifier = Dataset()
            modifier.InversionRecovery, modifier.InversionTimes = "YES", [float(each.InversionTime)]
            item.MRModifierSequence = [modifier]
        else:
            echo = Dataset()
            echo.EffectiveEchoTime = float(each.EchoTime)
            item.MREchoSequence = [echo]
        made.PerFrameFunctionalGroupsSequence.append(item)
    made.PixelData = b"".join(each.PixelData for each in datasets)
    return made


def _common(study, key):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientName, made.PatientID = PATIENT, "Planted-ID-4711"
    made.PatientBirthDate, made.PatientSex = "19700101", "F"
    made.PatientComments = "Planted comment"
    made.StudyInstanceUID, made.StudyID, made.AccessionNumber = study, "S1", "Planted-ACC"
    made.StudyDate, made.StudyTime = "20240102", "101112"
    made.ReferringPhysicianName = "Planted^Doctor"
    made.OperatorsName = "Planted^Operator"
    made.ImageComments = "Planted image comment"
    made.Modality, made.Manufacturer = "MR", "Simulated"
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = FRAME, ""
    made.SOPInstanceUID = generate_uid(entropy_srcs=[study, key])
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def _classic(image, study, number=None, name=None):
    header, meta = image.header, image.meta()
    series = header.image_series_index if number is None else number
    place = read_geometry(header).geometry
    made = _common(study, f"{series} {header.image_index}")
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = MRImageStorage
    made.SeriesInstanceUID = generate_uid(entropy_srcs=[study, f"series {series}"])
    made.SeriesNumber, made.InstanceNumber = series, header.image_index
    made.SeriesDescription = made.ProtocolName = name or meta["SequenceDescription"][0]
    made.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    made.ScanningSequence, made.SequenceVariant, made.ScanOptions = "GR", "SS", ""
    made.MRAcquisitionType, made.EchoTrainLength = "2D", 1
    made.RepetitionTime, made.EchoTime = 2.8, 1.1
    if "InversionTime" in meta:
        made.InversionTime = float(meta["InversionTime"][0])
    else:
        made.EchoTime = float(meta["T2PrepDuration"][0])
    made.AcquisitionDate, made.AcquisitionTime = "20240102", f"1012{header.image_index % 60:02d}"
    made.AcquisitionNumber = header.image_index
    made.ImagePositionPatient = [round(float(each), 6) for each in place.to_patient(np.zeros((1, 2)))[0]]
    made.ImageOrientationPatient = [
        round(float(each), 7) for each in (*place.row_direction, *place.column_direction)
    ]
    made.PixelSpacing = [place.spacing[1], place.spacing[0]]
    made.SliceThickness = float(header.field_of_view[2])
    made.Rows, made.Columns = place.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    made.PixelData = image.pixels[0, 0].astype(np.uint16).tobytes()
    return made
