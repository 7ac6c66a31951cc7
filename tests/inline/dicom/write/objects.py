"""Written objects, as their readers see them."""

from io import BytesIO

from pydicom import dcmread, dcmwrite

ALL = ("map", "segmentation", "report", "capture")
KNOWN = ("Segmentation", "ParametricMap", "SCImage", "ComprehensiveSR")


def again(dataset):
    """The object as a reader of its file sees it."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


def values_by_region(dataset):
    """Numbers of a report by tracking identifier: ``{identifier: {(concept, modifier): value}}``."""
    found = {}
    measurements = next(
        each for each in dataset.ContentSequence if each.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    for group in measurements.ContentSequence:
        items = [(each.ConceptNameCodeSequence[0].CodeMeaning, each) for each in group.ContentSequence]
        (identifier,) = [each.TextValue for name, each in items if name == "Tracking Identifier"]
        numbers = {}
        for name, each in items:
            if each.ValueType == "NUM":
                below = each.get("ContentSequence", [])
                modifier = next((item.ConceptCodeSequence[0].CodeMeaning for item in below), "")
                numbers[name, modifier] = float(each.MeasuredValueSequence[0].NumericValue)
        texts = [(name, each.TextValue) for name, each in items if each.ValueType == "TEXT"]
        found[identifier] = (numbers, texts)
    return found


def in_columns_of_the_first_group(found):
    """Whether each group has its measurements in the order of the first one, as 3D Slicer's table has them.

    Its columns are the measurements of the first group, and a row fills them from the left.
    """
    first, *others = [list(numbers) for numbers, _ in found.values()]
    return all(each == first[: len(each)] for each in others)
