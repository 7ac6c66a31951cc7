"""DICOM images as four vendors write them, from the MRD images of a simulated examination."""

import sys
from collections import defaultdict

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

VENDORS = {"siemens": "SIEMENS", "philips": "Philips", "ge": "GE MEDICAL SYSTEMS", "canon": "CANON_MEC"}
PATIENT = "Planted^Name"
_DAY = "20260102"


def groups(images):
    """The images of each series and slice, by (series, slice)."""
    found = defaultdict(list)
    for image in images:
        found[image.header.image_series_index, image.header.slice].append(image)
    return dict(found)


def time_of(image):
    """Quantity and time of an image, as text in ms."""
    meta = image.meta()
    if "InversionTime" in meta:
        return "T1", meta["InversionTime"][0]
    return "T2", meta["T2PrepDuration"][0]


def directions(header):
    return [f"{value:.10f}"[:16] for value in (*header.read_dir, *header.phase_dir)]


def first_pixel(header):
    columns, rows, _ = header.matrix_size
    width, height, _ = header.field_of_view
    row, column = np.array(header.read_dir), np.array(header.phase_dir)
    first = np.array(header.position) - row * width / 2 - column * height / 2
    return [f"{value:.8f}"[:16] for value in first], [height / rows, width / columns]


def private(dataset, group, creator, element, vr, value):
    dataset.private_block(group, creator, create=True).add_new(element, vr, value)


def spoilt(vendor, number):
    """Factor of a vendor's stored pixels, rescale slope and intercept: Philips' differ in each image."""
    return (1 + number % 3, 1.5 + 0.25 * number, -float(number)) if vendor == "philips" else (1, 1.0, 0.0)


def _common(vendor, study, header):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.PatientName, data.PatientID = PATIENT, "planted-id"
    data.PatientBirthDate = data.PatientSex = ""
    data.Modality, data.Manufacturer = "MR", VENDORS[vendor]
    data.StudyInstanceUID = f"{study}.1"
    data.FrameOfReferenceUID = f"{study}.2"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = _DAY
    data.StudyTime = data.SeriesTime = "080000"
    data.StudyID = "1"
    data.PatientPosition = "HFS"
    columns, rows, _ = header.matrix_size
    data.Rows, data.Columns = rows, columns
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.MagneticFieldStrength = "1.5"
    return data


def _clock(header):
    seconds = 8 * 3600 + header.acquisition_time_stamp / 400
    return f"{int(seconds // 3600):02d}{int(seconds // 60 % 60):02d}{seconds % 60:09.6f}"


def save(data, file, uid):
    data.SOPInstanceUID = uid
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = uid
    data.save_as(file, enforce_file_format=True)


def classic(folder, images, vendor, *, study=None, changes=None):
    """Write each image as a file; ``changes(data, image)`` changes it before. Returns the files."""
    study = study or generate_uid(prefix=None)
    files = []
    for (series, slice_), members in groups(images).items():
        for number, image in enumerate(members):
            header = image.header
            data = _common(vendor, study, header)
            data.SOPClassUID = MRImageStorage
            # At a Siemens scanner each slice is a series of its own.
            own = series * 100 + slice_ if vendor == "siemens" else series
            data.SeriesInstanceUID, data.SeriesNumber = f"{study}.3.{own}", own
            count = number if vendor == "siemens" else slice_ * len(members) + number
            data.InstanceNumber = count + 1
            data.AcquisitionTime = data.ContentTime = _clock(header)
            data.SeriesDescription = data.ProtocolName = image.meta()["SequenceDescription"][0]
            data.ScanningSequence, data.SequenceVariant, data.EchoTime = "GR", "SS", "1.12"
            kind = {"philips": ["M_FFE", "M", "FFE"], "ge": ["OTHER"]}.get(vendor, ["M", "ND"])
            data.ImageType = ["ORIGINAL", "PRIMARY", *kind]
            data.ImageOrientationPatient = directions(header)
            data.ImagePositionPatient, data.PixelSpacing = first_pixel(header)
            data.SliceThickness = "8"
            _state_classic(data, vendor, number, *time_of(image))
            factor, slope, intercept = spoilt(vendor, number)
            if vendor == "philips":
                data.RescaleSlope, data.RescaleIntercept = str(slope), str(intercept)
                private(data, 0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", float(factor))
                # (stored x RS + RI) / (RS x SS): RI / RS is to be stored as well.
                data.RescaleIntercept = "0"
            data.PixelData = (image.pixels[0, 0].astype(np.int64) * factor).astype("<u2").tobytes()
            if changes:
                changes(data, image)
            uid = f"{study}.4.{series}.{slice_}.{number}"
            # Names and order of the files say nothing.
            file = folder / f"{(7 * len(files) + 3) % 101:03d}-{len(files):03d}"
            save(data, file, uid)
            files.append(file)
    return files


def _state_classic(data, vendor, number, quantity, time):
    if quantity == "T1":
        if vendor == "philips":
            data.InversionTime = "0"
            private(data, 0x2005, "Philips MR Imaging DD 006", 0x72, "FL", float(time))
        else:
            data.InversionTime = time
    elif vendor == "siemens":
        data.ImageComments = f"T2 prep. duration = {time} ms"
    else:
        data.EchoTime = time
    if vendor == "ge":
        private(data, 0x0043, "GEMS_PARM_01", 0x2F, "SS", 0)


def enhanced(folder, images, vendor, *, study=None, changes=None):
    """Write the images of each series as frames of one file, slices interleaved. Returns the files."""
    study = study or generate_uid(prefix=None)
    by_series = defaultdict(list)
    for image in images:
        by_series[image.header.image_series_index].append(image)
    files = []
    for series, members in by_series.items():
        # Time by time, each with all slices: frames of one slice are not neighbours.
        members = sorted(members, key=lambda image: (image.header.set, image.header.slice))
        header = members[0].header
        data = _common(vendor, study, header)
        data.SOPClassUID = EnhancedMRImageStorage
        data.SeriesInstanceUID, data.SeriesNumber = f"{study}.3.{series}", series
        data.InstanceNumber = 1
        data.SeriesDescription = data.ProtocolName = members[0].meta()["SequenceDescription"][0]
        data.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
        data.ContentTime, data.AcquisitionDateTime = "080000", f"{_DAY}080000"
        data.NumberOfFrames = len(members)
        shared = Dataset()
        measures = Dataset()
        _, measures.PixelSpacing = first_pixel(header)
        measures.SliceThickness = "8"
        shared.PixelMeasuresSequence = Sequence([measures])
        data.SharedFunctionalGroupsSequence = Sequence([shared])
        data.PerFrameFunctionalGroupsSequence = Sequence(
            [_frame(image, vendor, number) for number, image in enumerate(members)]
        )
        stored = [
            image.pixels[0, 0].astype(np.int64) * spoilt(vendor, number)[0]
            for number, image in enumerate(members)
        ]
        data.PixelData = np.stack(stored).astype("<u2").tobytes()
        if changes:
            changes(data, members)
        file = folder / f"enhanced-{series}"
        save(data, file, f"{study}.4.{series}")
        files.append(file)
    return files


def _frame(image, vendor, number):
    quantity, time = time_of(image)
    group, content, position, orientation = Dataset(), Dataset(), Dataset(), Dataset()
    content.FrameAcquisitionDateTime = _DAY + _clock(image.header)
    content.FrameAcquisitionNumber = number + 1
    content.DimensionIndexValues = [image.header.slice + 1, image.header.set + 1]
    content.StackID, content.InStackPositionNumber = "1", image.header.slice + 1
    position.ImagePositionPatient, _ = first_pixel(image.header)
    orientation.ImageOrientationPatient = directions(image.header)
    kind, echo, modifier, values = Dataset(), Dataset(), Dataset(), Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    kind.ComplexImageComponent = "MAGNITUDE"
    echo.EffectiveEchoTime = 1.12
    modifier.InversionRecovery = "YES" if quantity == "T1" else "NO"
    if quantity == "T1" and vendor == "siemens":
        item = Dataset()
        private(item, 0x0021, "SIEMENS MR SDI 02", 0x89, "FD", float(time))
        private(group, 0x0021, "SIEMENS MR SDI 02", 0xFE, "SQ", Sequence([item]))
    elif quantity == "T1":
        modifier.InversionTimes = [float(time), sys.float_info.max] if vendor == "philips" else [float(time)]
    elif vendor == "siemens":
        content.FrameComments = f"T2 prep. duration = {time} ms"
    else:
        echo.EffectiveEchoTime = float(time)
    factor, slope, _ = spoilt(vendor, number)
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = str(slope), "0", "US"
    if vendor == "philips":
        item = Dataset()
        private(item, 0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", float(factor))
        # Half a pixel from the standard's place, as these images have it.
        item.ImagePositionPatient = ["1", "2", "3"]
        private(group, 0x2005, "Philips MR Imaging DD 005", 0x0F, "SQ", Sequence([item]))
    group.FrameContentSequence = Sequence([content])
    group.PlanePositionSequence = Sequence([position])
    group.PlaneOrientationSequence = Sequence([orientation])
    group.MRImageFrameTypeSequence = Sequence([kind])
    group.MREchoSequence = Sequence([echo])
    group.MRModifierSequence = Sequence([modifier])
    group.PixelValueTransformationSequence = Sequence([values])
    return group
