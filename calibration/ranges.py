"""``myostream calibrate ranges``: reference ranges from a site's own normal persons.

Each JSON file of ``myostream replay --json`` is one person, each examination of ``myostream cohort``, and
each folder with results of ``myostream process -o``. The value of a person in a region is the mean of the
region's medians over the slices. The mean of a range is that of the persons; its SD is that of a single
slice, which is what it is compared with. Maps that were fitted and maps that the scanner made are never
mixed: their T1 differs by more than the SD.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.contouring.blood import robust_sd
from inline.data.client_text import as_utf8
from inline.data.errors import MyostreamError
from inline.data.flags import Flag
from inline.data.series import Enhancement
from inline.emit.record import Record, unusable
from inline.emit.schema import Ecv, read_record
from inline.reference import ReferenceRange
from inline.terminal.tables import print_table
from inline.terminal.text import make_console, print_text
from model.output import write_json, write_text

FEWEST: Final = 20
"""Persons below which a warning is printed. Chosen: the SD of 20 is known to 16 %, that of 50 to 10 %."""
_OUTLIER: Final = 3.0
"""Distance from the median, in robust SDs, from which a person is named."""
_FEWEST_FOR_OUTLIERS: Final = 10
"""Persons below which none is named. Chosen: the median absolute deviation of few values is uncertain.

Of simulated Gaussian values 11 % are further than 3 robust SDs from the median of 3 persons, 2.9 % from that
of 10 and 1.4 % from that of 20.
"""
_MOST_REGIONS: Final = 3
"""Regions of a person that are named, those furthest from the median."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Slices that ranges are made of, and what the ranges state of them.

    Attributes:
        sequence: text that the series description must contain, in either case.
        sex: M or F, where all persons are of one sex.
        source: of the values.
        scanner_made: use the maps that the scanner made, not the fitted ones.

    Raises:
        MyostreamError: ``sex`` is neither M nor F.
    """

    sequence: str = ""
    sex: str | None = None
    source: str = "site"
    scanner_made: bool = False

    def __post_init__(self) -> None:
        if self.sex not in (None, "M", "F"):
            raise MyostreamError(f"--sex is M or F, not {self.sex}")

    def of_sequence(self, record: Record) -> bool:
        """Return whether the series of a record is of the sequence."""
        return self.sequence.lower() in record["description"].lower()


_EVERY: Final = Selection()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Examination and evaluation of a slice, which must be those of all slices of a range.

    Attributes:
        field_strength: tesla.
        convention: distances of the contours from the borders of the wall as set, (endo, epi), mm.
        inset: share of the wall that the regions leave out at each contour.
        t1_scale: factor on T1; None of T2.
    """

    field_strength: float
    convention: tuple[float, float]
    inset: float
    t1_scale: float | None


@dataclass(frozen=True, slots=True)
class Person:
    """Values of one normal person.

    Attributes:
        name: of the file; of an examination of a cohort, its name and that of its file.
        medians: of each slice by quantity and region; ms, of ECV percent.
        evaluations: of the slices.
        schemes: of each T1 slice and ECV, whether its images are of ShMOLLI.
        left_out: why each slice or ECV was not used: an error, its flags, an unknown enhancement, no
            haematocrit, or native maps of both kinds at its place.
        other_maps: number of maps of the other kind, fitted or the scanner's, which were not used.
        other_sequences: quantity of each slice and ECV whose series description is of another sequence.
    """

    name: str
    medians: Mapping[tuple[str, str], list[float]]
    evaluations: frozenset[Evaluation]
    schemes: frozenset[bool]
    left_out: tuple[str, ...] = ()
    other_maps: int = 0
    other_sequences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outlier:
    """Person whose value is far from the others'."""

    name: str
    quantity: str
    region: str
    value: float
    robust_sds: float


@dataclass(slots=True)
class _Sorted:
    """Records of a person by their use; see :class:`Person`."""

    used: list[Record] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    other_maps: int = 0
    other_sequences: list[str] = field(default_factory=list)


def read_person(file: Path, selection: Selection = _EVERY) -> Person:
    """Return the values of the results of one person.

    Args:
        file: of ``myostream replay --json`` or of an examination of ``myostream cohort``, or a folder with
            results of ``myostream process -o``.
        selection: of the slices.

    Raises:
        MyostreamError: it is no file of results, or its slices state no field strength or convention.
    """
    name = file.name if file.is_dir() else file.stem
    try:
        content = _read_folder(file) if file.is_dir() else json.loads(file.read_text(encoding="utf-8"))
        kind = next((each for each in ("slices", "results") if each in content), None)
        if kind is None or not isinstance(content, dict):
            raise ValueError("it has neither results nor slices")
        if "examination" in content:
            name = f"{content['examination']} ({file.name})"
        records = [read_record(each) for each in content[kind]]
        ecv_records = [read_record(each, Ecv) for each in content.get("ecv", [])]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise MyostreamError(
            f"{file} is no file of results (of myostream replay --json or of an examination of myostream "
            f"cohort; or a folder of myostream process -o): {error}"
        ) from error
    slices, ecv = _slices_of(records, selection), _ecv_of(ecv_records, records, selection)
    medians: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for record in (*slices.used, *ecv.used):
        for region in record["regions"]:
            if region["median"] is not None:
                medians[record.get("quantity", "ECV"), region["name"]].append(float(region["median"]))
    with_t1 = (*(each for each in slices.used if each["quantity"] == "T1"), *ecv.used)
    return Person(
        name,
        medians,
        frozenset(_evaluation(each, file) for each in slices.used),
        frozenset(Flag.SHMOLLI in each["flags"] for each in with_t1),
        (*slices.left_out, *ecv.left_out),
        slices.other_maps,
        (*slices.other_sequences, *ecv.other_sequences),
    )


def _slices_of(records: Iterable[Record], selection: Selection) -> _Sorted:
    """Sort the slices of a person."""
    found = _Sorted()
    for each in records:
        if each["enhancement"] == Enhancement.POST_CONTRAST:
            continue
        unknown = each["quantity"] == "T1" and each["enhancement"] != Enhancement.NATIVE
        if not selection.of_sequence(each):
            found.other_sequences.append(each["quantity"])
        elif each["scanner_made_map"] != selection.scanner_made:
            found.other_maps += not unknown
        elif reason := unusable(each) or ("unknown enhancement" if unknown else ""):
            found.left_out.append(reason)
        else:
            found.used.append(each)
    return found


def _ecv_of(records: Iterable[Record], slices: Iterable[Record], selection: Selection) -> _Sorted:
    """Sort the ECV of a person; whether the native map was fitted is stated by the slice at its place."""
    found, natives = _Sorted(), defaultdict[tuple[int, ...], set[bool]](set)
    for each in slices:
        if each["quantity"] == "T1" and each["enhancement"] == Enhancement.NATIVE:
            natives[_place(each, each)].add(each["scanner_made_map"])
    for each in records:
        kinds = natives[_place(each, each["native"])]
        reasons = (
            unusable(each),
            "" if kinds else "unknown enhancement",
            "native maps of both kinds" if len(kinds) > 1 else "",
            "no haematocrit" if each["haematocrit"] is None else "",
        )
        if not selection.of_sequence(each["native"]):
            found.other_sequences.append("ECV")
        elif kinds == {not selection.scanner_made}:  # which counts as such a map
            continue
        elif reason := next(filter(None, reasons), ""):
            found.left_out.append(reason)
        else:
            found.used.append(each)
    return found


def _place(record: Record, acquisition: Record) -> tuple[int, ...]:
    """Return what identifies a slice among the records of a person; those of a cohort state their part."""
    names = ("series_index", "slice_index", "time_stamp")
    return record.get("part", 1), *(acquisition[name] for name in names)


def _read_folder(folder: Path) -> dict[str, list[Record]]:
    """Return the records of a folder of ``process -o``, as a file of ``replay --json`` holds them."""
    found: dict[str, list[Record]] = {"results": [], "ecv": []}
    for file in sorted(_visible(folder, "**/slice-*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        found["ecv" if "post_contrast" in content else "results"].append(content)
    return found


def _persons(data: Path) -> dict[Path, int]:
    """Return the files and folders of results in a folder, and the number of examinations of each folder.

    Raises:
        MyostreamError: a file and a folder have one name, so that one person would count twice.
    """
    examinations = _visible(data, "*/**/examination.json")
    folders = Counter(data / each.relative_to(data).parts[0] for each in examinations)
    files = dict.fromkeys(_visible(data, "*.json"), 1)
    if (of_cohort := data / "examinations").is_dir():
        others = ("failures.json", "run.json")
        files = {each: 1 for each in (*files, *_visible(of_cohort, "*.json")) if each.name not in others}
    if twice := sorted(each.name for each in files if each.with_suffix("") in folders):
        raise MyostreamError(
            f"{data} holds {', '.join(twice)} beside a folder of the same name, which would make two persons "
            "of one: keep one of both"
        )
    return dict(sorted({**files, **folders}.items()))


def _visible(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what matches a pattern in a folder, without names that begin with a dot: unfinished files."""
    for each in folder.glob(pattern):
        if not any(name.startswith(".") for name in each.relative_to(folder).parts):
            yield each


def make_ranges(
    persons: Iterable[Person], selection: Selection = _EVERY
) -> tuple[list[ReferenceRange], list[Outlier]]:
    """Return the ranges of every quantity and region that at least two persons have, and the outliers.

    Outliers are named, not left out: a person decides on them.

    Raises:
        MyostreamError: the persons were not examined and evaluated in one way.
    """
    known = list(persons)
    common = _common(known, selection)
    ranges: list[ReferenceRange] = []
    outliers: list[Outlier] = []
    for quantity, region in dict.fromkeys(key for each in known for key in each.medians):
        having = [each for each in known if (quantity, region) in each.medians]
        medians = [each.medians[quantity, region] for each in having]
        means = [float(np.mean(each)) for each in medians]
        sd = round(_sd_of_slices(medians), 3) if len(medians) > 1 else 0.0
        if sd <= 0.0:
            continue
        own = {"quantity": quantity, "region": region, "mean": round(float(np.mean(means)), 3), "sd": sd}
        not_of_t2 = {"t1_scale": None, "shmolli": False} if quantity == "T2" else {}
        ranges.append(ReferenceRange.model_validate({**own, "n": len(having), **common, **not_of_t2}))
        outliers += _outliers(quantity, region, [each.name for each in having], np.array(means))
    if not ranges:
        raise MyostreamError(
            f"{len(known)} files give no range: two persons with different values are needed at least"
        )
    return ranges, outliers


def _common(persons: Sequence[Person], selection: Selection) -> dict[str, Any]:
    """Return what all ranges state alike.

    Raises:
        MyostreamError: the persons were not examined and evaluated in one way.
    """
    found = frozenset[Evaluation]().union(*(each.evaluations for each in persons))
    if not found:
        kind, option = ("scanner-made", "leave out") if selection.scanner_made else ("fitted", "give")
        others = any(each.other_maps for each in persons)
        hint = f"there are others, {option} --scanner-maps" if others else "check --sequence and the flags"
        raise MyostreamError(
            f"no person has a usable {kind} native T1 or T2 map; {hint}. "
            f"{_left_out(persons)} {_of_other_sequences(persons, selection.sequence)}".rstrip()
        )
    fields = sorted({each.field_strength for each in found})
    conventions = sorted({each.convention for each in found})
    insets = sorted({each.inset for each in found})
    scales = sorted({each.t1_scale for each in found if each.t1_scale is not None})
    if max(len(fields), len(conventions), len(insets), len(scales)) > 1:
        raise MyostreamError(
            f"the persons were not examined and evaluated in one way: {_listed(fields)} T, t1_scale "
            f"{_listed(scales)}, contour convention (endo, epi) {'; '.join(map(_listed, conventions))} mm, "
            f"regions.inset {_listed(insets)}"
        )
    schemes = frozenset[bool]().union(*(each.schemes for each in persons))
    if len(schemes) > 1:
        raise MyostreamError(
            "the persons were not examined and evaluated in one way: some T1 slices are of ShMOLLI (flag "
            "shmolli) and others are not; separate them by --sequence or by persons"
        )
    return {
        **asdict(selection),
        "field_strength": fields[0],
        "contour_convention_mm": conventions[0],
        "region_inset": insets[0],
        "t1_scale": next(iter(scales), None),
        "shmolli": True in schemes,
    }


def _sd_of_slices(persons: Sequence[Sequence[float]]) -> float:
    """Return the SD of single slices over persons, from the values of the slices of each.

    The mean of k slices has only 1/k of the variance between the slices of a person.
    """
    means = np.array([np.mean(each) for each in persons])
    squares = sum(float(np.var(each)) * len(each) for each in persons)
    within = squares / max(sum(len(each) - 1 for each in persons), 1)
    missing = within * float(np.mean([1.0 - 1.0 / len(each) for each in persons]))
    return float(np.sqrt(means.var(ddof=1) + missing))


def as_toml(ranges: Iterable[ReferenceRange]) -> str:
    """Return the ranges as the file of the setting ``reference.file``."""
    tables = (
        "\n".join(f"{name} = {_toml(value)}" for name, value in each.model_dump(exclude_none=True).items())
        for each in ranges
    )
    return "".join(f"[[range]]\n{table}\n\n" for table in tables)


def _toml(value: object) -> str:
    """Return a value as TOML: as JSON, but for U+007F."""
    text = json.dumps(as_utf8(value) if isinstance(value, str) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def calibrate(
    data: Path,
    selection: Selection = _EVERY,
    *,
    output: Path | None = None,
    json_file: Path | None = None,
) -> list[ReferenceRange]:
    """Make the ranges of a folder, write and print them.

    Raises:
        MyostreamError: the folder holds no usable results or a person twice.
    """
    files = _persons(data)
    if not files:
        raise MyostreamError(
            f"{data} holds no JSON files and no results; make them with myostream replay FILE --json, "
            "myostream process FILES -o FOLDER or myostream cohort ROOT -o FOLDER"
        )
    persons, copies = _distinct(read_person(file, selection) for file in files)
    ranges, outliers = make_ranges(persons, selection)
    if json_file is not None:
        write_json(json_file, [each.model_dump() for each in ranges])
    if output is not None:
        write_text(output, as_toml(ranges))
    rows = [
        (each.quantity, each.region, f"{each.mean:.1f}", f"{each.sd:.1f}", str(each.n)) for each in ranges
    ]
    print_table("Normal values", ("quantity", "region", "mean", "SD", "n"), rows, texts=("region",))
    several = {file.name: count for file, count in files.items() if count > 1}
    for text in (*_pooled(several), *copies, *_remarks(persons, ranges, outliers)):
        print_text(text)
    if output is not None:
        make_console().print(
            f'Written. Use them with the setting reference.file = "{output.absolute()}"', markup=False
        )
    return ranges


def _distinct(persons: Iterable[Person]) -> tuple[list[Person], list[str]]:
    """Return the persons without those that have all values of an earlier one, and remarks on these."""
    kept, remarks = list[Person](), list[str]()
    for each in persons:
        same = [other.name for other in kept if each.medians and each.medians == other.medians]
        if same:
            remarks.append(f"{each.name} has all values of {same[0]}: they count as one person.")
        else:
            kept.append(each)
    return kept, remarks


def _pooled(examinations: Mapping[str, int]) -> Iterator[str]:
    """Yield a remark on each person of several examinations, by the name of the folder."""
    for name, count in examinations.items():
        yield (
            f"Person {name}: {count} examinations, whose mean counts as one value. If they are of several "
            "persons, run myostream process with -o FOLDER/PERSON for each."
        )


def _remarks(persons: list[Person], ranges: list[ReferenceRange], outliers: list[Outlier]) -> Iterator[str]:
    """Yield remarks on the ranges: slices left out, too few persons, outliers."""
    yield from filter(None, (_left_out(persons), _of_other_sequences(persons, ranges[0].sequence)))
    if other := sum(each.other_maps for each in persons):
        kind, option = ("fitted", "without") if ranges[0].scanner_made else ("made by the scanner", "with")
        yield f"{other} maps were {kind} and left out; their ranges are made {option} --scanner-maps."
    smallest = min(each.n for each in ranges) if ranges else 0
    if smallest < FEWEST:
        error = 100.0 / np.sqrt(2.0 * max(smallest - 1, 1))
        yield (
            f"Warning: some ranges are of {smallest} persons, below {FEWEST} (chosen); their SD is "
            f"uncertain by {error:.0f} %."
        )
    if smallest < _FEWEST_FOR_OUTLIERS:
        yield f"No outliers are named below {_FEWEST_FOR_OUTLIERS} persons: their spread is uncertain."
    for name in sorted({each.name for each in outliers}):
        own = sorted((each for each in outliers if each.name == name), key=lambda each: -abs(each.robust_sds))
        named = ", ".join(
            f"{each.quantity} {each.region} {each.value:.1f} ({each.robust_sds:+.1f})"
            for each in own[:_MOST_REGIONS]
        )
        more = f" and {len(own) - _MOST_REGIONS} more" if len(own) > _MOST_REGIONS else ""
        yield f"Outlier: {name} {named}{more}"
    if outliers:
        yield (
            "The values of outliers (distance from the median in robust SDs) are part of the ranges; check "
            "whether these persons are normal."
        )


def _outliers(
    quantity: str, region: str, names: Sequence[str], values: NDArray[np.float64]
) -> Iterator[Outlier]:
    """Yield the persons whose value of a region is an outlier; none of too few persons."""
    if len(values) < _FEWEST_FOR_OUTLIERS:
        return
    median = float(np.median(values))
    robust = robust_sd(values, median)
    if robust <= 0.0:
        return
    for name, value in zip(names, values.tolist(), strict=True):
        distance = (value - median) / robust
        if abs(distance) > _OUTLIER:
            yield Outlier(name, quantity, region, value, distance)


def _left_out(persons: Iterable[Person]) -> str:
    """Return a sentence on the slices that were left out; empty for none."""
    reasons = Counter(reason for each in persons for reason in each.left_out)
    named = "; ".join(f"{count} for {reason}" for reason, count in reasons.most_common())
    return f"{reasons.total()} slices and ECV were left out: {named}." if named else ""


def _of_other_sequences(persons: Iterable[Person], sequence: str) -> str:
    """Return a sentence on the slices that ``--sequence`` left out; empty for none."""
    quantities = Counter(quantity for each in persons for quantity in each.other_sequences)
    named = ", ".join(f"{quantity} {count}" for quantity, count in sorted(quantities.items()))
    return (
        f"--sequence left out slices and ECV ({named}), whose series descriptions do not contain "
        f"{sequence!r}; without it all series are used."
        if named
        else ""
    )


def _evaluation(record: Record, file: Path) -> Evaluation:
    """Return how a slice was examined and evaluated.

    The convention is that as set: the offsets as applied to a thin wall may be those of another convention.
    """
    convention = record.get("contour_convention_mm")
    stated = convention if isinstance(convention, dict) else {}
    found = record.get("field_strength_T"), stated.get("endo"), stated.get("epi"), record.get("region_inset")
    numbers = [float(each) for each in found if isinstance(each, int | float)]
    if len(numbers) < len(found):
        raise MyostreamError(
            f"{file}: a slice states no field strength, contour convention or inset; its header must have "
            "systemFieldStrength_T, and the results be of this version"
        )
    strength, endo, epi, inset = numbers
    scale = float(record["t1_scale"]) if record["quantity"] == "T1" else None
    return Evaluation(round(strength, 1), (endo, epi), inset, scale)


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(f"{each:g}" for each in numbers)
