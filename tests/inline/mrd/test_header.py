"""The XML header as the ``ismrmrd`` package and real senders write it."""

import ismrmrd
import pytest

from inline.data.errors import ProtocolError
from inline.mrd.header import MeasurementHeader, StudyKey, parse_header, shared_studies


def test_header_of_the_package() -> None:
    xsd = ismrmrd.xsd
    header = xsd.ismrmrdHeader(
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType.HFS, protocolName="MOLLI_5(3)3_base"
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(systemFieldStrength_T=1.5),
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63000000),
        sequenceParameters=xsd.sequenceParametersType(TI=[100.0, 180.5], TE=[1.1]),
        userParameters=xsd.userParametersType(
            userParameterDouble=[xsd.userParameterDoubleType(name="T2PrepDuration_0", value=25.0)],
            userParameterLong=[xsd.userParameterLongType(name="count", value=3)],
        ),
    )
    limits = xsd.encodingLimitsType(
        slice=xsd.limitType(minimum=0, maximum=2, center=0), set=xsd.limitType(minimum=0, maximum=7, center=0)
    )
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=4, y=4, z=1), fieldOfView_mm=xsd.fieldOfViewMm(x=4, y=4, z=1)
    )
    header.encoding.append(
        xsd.encodingType(
            encodedSpace=space,
            reconSpace=space,
            encodingLimits=limits,
            trajectory=xsd.trajectoryType("cartesian"),
        )
    )
    parsed = parse_header(header.toXML())
    assert parsed.protocol_name == "MOLLI_5(3)3_base"
    assert parsed.field_strength == 1.5
    assert parsed.inversion_times == ("100.0", "180.5")
    assert parsed.echo_times == ("1.1",)
    assert parsed.maxima == {"slice": 2, "set": 7}
    assert parsed.parameters == {"T2PrepDuration_0": "25.0", "count": "3"}
    assert parsed.recon_spaces == ((4, 4, 4.0, 4.0),)


@pytest.mark.parametrize(("text", "sex"), [("F", "F"), (" m ", "M"), ("O", ""), ("", ""), ("female", "")])
def test_the_sex_is_read_where_it_is_one_of_two(text: str, sex: str) -> None:
    xml = f"<h><subjectInformation><patientGender>{text}</patientGender></subjectInformation></h>"
    assert parse_header(xml).sex == sex


@pytest.mark.parametrize(
    ("text", "tesla"),
    [("0.55", 0.55), ("2.89362", 2.89362), ("20", 20.0), ("15000", 0.0), ("0", 0.0), ("-3", 0.0), ("x", 0.0)],
)
def test_a_field_strength_that_no_scanner_has_is_not_used(text: str, tesla: float) -> None:
    """1.5 T are 15000 gauss."""
    place = "acquisitionSystemInformation"
    xml = f"<h><{place}><systemFieldStrength_T>{text}</systemFieldStrength_T></{place}></h>"
    assert parse_header(xml).field_strength == tesla


def test_nearly_empty_header() -> None:
    assert parse_header("<ismrmrdHeader/>") == MeasurementHeader()


def test_entries_of_a_list_keep_their_place() -> None:
    xml = "<h><sequenceParameters><TI>abc</TI><TI>5</TI><TI/><TI>nan</TI></sequenceParameters></h>"
    assert parse_header(xml).inversion_times == ("abc", "5", "", "nan")


def test_limits_of_several_encodings_are_the_largest() -> None:
    def encoding(maximum: int) -> str:
        limits = f"<set><minimum>0</minimum><maximum>{maximum}</maximum></set>"
        return f"<encoding><encodingLimits>{limits}</encodingLimits></encoding>"

    assert parse_header(f"<h>{encoding(0)}{encoding(7)}{encoding(-4)}</h>").maxima == {"set": 7}
    assert parse_header(f"<h>{encoding(-4)}</h>").maxima == {}


@pytest.mark.parametrize(
    ("minimum", "maximum", "first", "values"),
    [
        ("0", "7", 0, 8),
        ("1", "8", 1, 8),
        ("", "7", 0, 8),
        ("-2", "7", 0, 8),
        ("9", "7", 0, 8),
        ("3", "3", 3, 1),
    ],
)
def test_limits_of_a_counter_from_its_minimum(minimum: str, maximum: str, first: int, values: int) -> None:
    limits = f"<set><minimum>{minimum}</minimum><maximum>{maximum}</maximum></set>"
    parsed = parse_header(f"<h><encoding><encodingLimits>{limits}</encodingLimits></encoding></h>")
    assert (parsed.first("set"), parsed.values("set")) == (first, values)
    assert (parsed.first("slice"), parsed.values("slice")) == (0, 0)


@pytest.mark.parametrize(
    ("limits", "first", "values"),
    [
        ([(0, 4), (5, 7)], 0, 8),  # an encoding for each inversion
        ([(5, 7), (0, 4)], 0, 8),
        ([(0, 0), (1, 1), (2, 2)], 0, 3),  # for each slice
        ([(0, 0), (1, 8)], 1, 8),  # a reference scan before
        ([(0, 0), (3, 3)], 3, 1),
        ([(1, 8), (1, 8)], 1, 8),
    ],
)
def test_a_counter_begins_at_the_minimum_over_the_encodings_that_count_by_it(
    limits: list[tuple[int, int]], first: int, values: int
) -> None:
    encodings = "".join(
        f"<encoding><encodingLimits><set><minimum>{low}</minimum><maximum>{high}</maximum></set>"
        "</encodingLimits></encoding>"
        for low, high in limits
    )
    parsed = parse_header(f"<h>{encodings}</h>")
    assert (parsed.first("set"), parsed.values("set")) == (first, values)


@pytest.mark.parametrize("xml", ["Dummy XML header", "", "<a>", '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'])
def test_what_is_not_a_header(xml: str) -> None:
    with pytest.raises(ProtocolError):
        parse_header(xml)


def test_texts_that_are_kept_are_cut() -> None:
    name = "MOLLI" + "x" * 100_000
    made = parse_header(
        f"<ismrmrdHeader><measurementInformation><protocolName>{name}</protocolName></measurementInformation>"
        "</ismrmrdHeader>"
    )
    assert made.protocol_name == name[:1024]


def test_a_study_uid_is_shared_where_its_headers_state_two_patients() -> None:
    keys = [
        StudyKey(b"one patient", b"1", b"7", b"A"),
        StudyKey(b"one patient", b"2", b"7", b"A"),
        StudyKey(b"numbers", b"", b"7", b"A"),
        StudyKey(b"numbers", b"", b"8", b"A"),
        StudyKey(b"one number", b"", b"7", b"A"),
        StudyKey(b"one number", b"", b"7", b"B"),
        StudyKey(b"names", b"", b"", b"A"),
        StudyKey(b"names", b"", b"7", b"B"),
        StudyKey(b"names", b"", b"", b""),
        StudyKey(b"nothing stated", b"", b"", b""),
        StudyKey(b"nothing stated", b"", b"7", b""),
        StudyKey(b"", b"", b"7", b""),
        StudyKey(b"", b"", b"8", b""),
    ]
    assert shared_studies(keys) == shared_studies(reversed(keys)) == {b"numbers", b"names"}


def test_patients_are_compared_within_a_study_uid_alone(monkeypatch) -> None:
    compared = []
    monkeypatch.setattr(StudyKey, "of_another_patient", lambda *pair: compared.append(pair))
    keys = [StudyKey(b"%d" % (number // 2), b"", b"%d" % number) for number in range(1000)]
    assert (shared_studies(keys), len(compared)) == (set(), 500)
