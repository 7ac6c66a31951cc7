"""Decisions on each message of a peer, without sockets and threads."""

import gzip
import logging
import re
import struct
import sys
from dataclasses import replace

import pytest

from inline.mrd.header import MeasurementHeader, parse_header
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Acquisition, ConfigFile, ConfigText, Header, Image, Text, Waveform
from inline.mrd.protocol import encode
from inline.mrd.text import decode
from inline.serving.configuration import Configuration
from inline.serving.dialect import CHAIN, PIPE, Severity, takes_texts
from inline.serving.dialogue import Assemble, Begin, Dialogue, Forward, Reject, Withhold
from inline.settings import load_settings
from tests.inline.serving.messages import of, parameters, texts

IMAGE = Image(ImageHeader(matrix_size=(4, 4, 1), data_type=1), b"<ismrmrdMeta/>", bytes(32))
RAW = Acquisition(bytes(340))
WAVE = Waveform(bytes(28) + struct.pack("<HH", 2, 1) + bytes(8 + 8))
XML = "<ismrmrdHeader xmlns='http://www.ismrm.org/ISMRMRD'><studyInformation><studyInstanceUID>{}</studyInstanceUID></studyInformation></ismrmrdHeader>"
HEADER, OTHER, THIRD = (Header(XML.format(uid)) for uid in ("1.2.3", "1.2.4", "1.2.5"))
SAME_STUDY = Header(HEADER.xml.replace("</studyI", "<studyTime>10:00</studyTime></studyI"))
PREFIXED = re.compile(r"(DBG|WRN|ERR) myostream: \S")


def dialogue(*messages, dialect=None, configuration=None, **settings):
    """A dialogue and its decisions on some messages."""
    more = {} if dialect is None else {"dialect": dialect}
    made = Dialogue(load_settings(**settings), configuration=configuration, **more)
    return made, [decision for each in messages for decision in made.receive(each)]


def decisions(*messages, **more):
    return dialogue(*messages, **more)[1]


def test_an_image_goes_back_before_it_is_assembled():
    assert decisions(ConfigFile("mapping"), HEADER, IMAGE) == [
        Begin(parse_header(HEADER.xml)),
        Forward(IMAGE),
        Assemble(IMAGE),
    ]


@pytest.mark.parametrize(
    "first",
    [
        ConfigFile("passthrough"),
        ConfigFile("passthrough.xml"),
        ConfigText("passthrough"),
        ConfigText("passthrough.xml\n"),
        ConfigText('{"config": "passthrough"}'),
        ConfigText('<configuration><!-- Prüfung --><myostream config="passthrough"/></configuration>'),
        parameters(config="passthrough", customconfig=""),
        parameters(config="openrecon", customconfig="passthrough"),
        Text('{"config": "passthrough"}'),
    ],
    ids=range(9),
)
def test_passthrough_by_every_message_that_may_request_it(first):
    assert decisions(first, IMAGE) == [Forward(IMAGE)]


def test_a_custom_configuration_goes_before_the_configuration():
    found = decisions(parameters(config="passthrough", customconfig="mapping"), IMAGE)
    assert found == [Forward(IMAGE), Assemble(IMAGE)]


@pytest.mark.parametrize("name", ["openrecon", "mapping.xml", "invertcontrast", "default.xml"])
def test_a_name_as_text_is_taken_as_that_of_a_file(name):
    as_file, as_text = (decisions(first(name), HEADER, IMAGE, RAW) for first in (ConfigFile, ConfigText))
    assert as_text == as_file
    assert Reject(RAW) in as_text


@pytest.mark.parametrize("name", ["a", "0", "other.xml", "_a", ".a", "-a", "\u00e9", "<a/>"])
def test_who_sends_a_name_takes_texts_by_its_first_bytes_too(name):
    text = ConfigText(name)
    assert bool(texts(decisions(text, RAW))) is takes_texts(encode(text)[:8])


@pytest.mark.parametrize(
    "message",
    [
        Text('{"parameters": null}'),
        Text('{"parameters": {"config": null, "customconfig": null}}'),
        Text('{"config": null}'),
        ConfigText("null\n"),
    ],
    ids=range(4),
)
def test_null_counts_as_not_given(message):
    assert decisions(ConfigFile("passthrough"), message, IMAGE) == [Forward(IMAGE)]


def test_an_unknown_configuration_is_named_and_never_imported(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = decisions(ConfigFile("evil"), IMAGE)
    (text,) = texts(found)
    assert "there is no configuration 'evil' (mapping, passthrough)" in text
    assert "evil" not in sys.modules
    assert of(Assemble, found) == [Assemble(IMAGE)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (Text("[" * 60_000), "nested too deeply"),
        (Text('{"parameters": ' * 2_000), "nested too deeply"),
        (Text('{"parameters": {"t1_scale": 1.1'), "cannot be read"),
        (Text('{"parameters": 5}'), "holds no object of parameters"),
        (Text('{"parameters": []}'), "holds no object of parameters"),
        (Text("[1, 2]"), "holds no object of parameters"),
        (Text('{"a": "' + "x" * 100_000 + '"}'), "characters is not read"),
        (ConfigText("{broken"), "cannot be read"),
        (parameters(weights="/etc/passwd"), "no parameter is named 'weights'"),
        (parameters(t1_scale="three"), "t1_scale cannot be 'three'"),
        (parameters(config="evil"), "there is no configuration 'evil'"),
        (parameters(config=7), "config is no text"),
    ],
    ids=range(12),
)
@pytest.mark.parametrize("start", [[ConfigFile("mapping"), HEADER], []], ids=["client", "unknown"])
def test_what_cannot_be_used_is_a_warning_and_changes_nothing(start, text, expected):
    made, found = dialogue(*start, text, IMAGE)
    assert made.settings == load_settings()
    (warning,) = texts(found)
    assert warning.startswith("WRN myostream:")
    assert expected in warning
    assert found[-2:] == [Forward(IMAGE), Assemble(IMAGE)]


def test_words_are_no_parameters():
    assert decisions(ConfigFile("mapping"), Text("scan started")) == []


@pytest.mark.parametrize(
    "message",
    [
        parameters(t1_scale="1.1"),
        Text('{"t1_scale": 1.1}'),
        ConfigText('{"t1_scale": 1.1}'),
        ConfigText('<configuration><myostream t1_scale="1.1"/></configuration>'),
    ],
    ids=range(4),
)
def test_parameters_hold_for_the_connection_alone(message):
    program = load_settings()
    made, found = dialogue(message)
    assert found == []
    assert made.settings.mapping.t1_scale == 1.1
    assert program.mapping.t1_scale == 1.0


def test_a_parameter_that_replaces_what_the_site_has_set_is_reported(caplog):
    caplog.set_level(logging.INFO, "inline")
    own = {"mapping": {"t1_scale": 1.0365}, "contours": {"endo_offset_mm": 2.0}, "ecv": {"haematocrit": 0.45}}
    sent = {
        "t1Scale": "1",
        "endoOffsetMm": 2.0,
        "epiOffsetMm": 0.5,
        "haematocritPercent": 40,
        "overlay": False,
    }
    made, found = dialogue(ConfigFile("mapping"), HEADER, parameters(**sent), **own)
    assert made.settings.mapping.t1_scale == 1.0
    sentence = "parameter t1_scale 1 replaces mapping.t1_scale = 1.0365, which is set on this server"
    assert texts(found) == [f"DBG myostream: {sentence}"]
    assert [each for each in caplog.messages if "replaces" in each] == [f"client: {sentence}"]


def test_motion_comes_before_the_first_image_of_a_measurement():
    late = parameters(motion="uncorrected", t1_scale=1.1)
    made, found = dialogue(ConfigFile("mapping"), HEADER, IMAGE, late)
    assert "motion came after the first image" in texts(found)[0]
    assert (made.settings.assembly.motion, made.settings.mapping.t1_scale) == ("prefer-corrected", 1.1)
    made, found = dialogue(ConfigFile("mapping"), HEADER, IMAGE, Header(XML.format("1.2.4")), late)
    assert texts(found) == []
    assert made.settings.assembly.motion == "uncorrected"


@pytest.mark.parametrize(("attribute", "overlay"), [("", False), ('overlay="true"', True)])
def test_a_chain_gets_no_overlay_unless_it_asks(attribute, overlay):
    xml = ConfigText(f"<configuration><myostream {attribute}/></configuration>")
    assert dialogue(xml)[0].settings.emit.overlay is overlay


def test_a_chain_gets_raw_data_back_and_no_text():
    found = decisions(ConfigText("<configuration>"), ConfigText("<a/>"), HEADER, RAW, WAVE, parameters(x=1))
    assert found == [Begin(parse_header(HEADER.xml)), Forward(RAW), Forward(WAVE)]


def test_a_client_gets_no_raw_data_and_one_error():
    found = decisions(ConfigFile("mapping"), HEADER, WAVE, RAW, RAW)
    assert of(Forward, found) == []
    assert of(Reject, found) == [Reject(WAVE), Reject(RAW), Reject(RAW)]
    assert texts(found) == ["ERR myostream: raw data is not reconstructed here; send images"]


def test_a_peer_that_named_nothing_gets_no_text():
    assert texts(decisions(HEADER, RAW, IMAGE)) == []


@pytest.mark.parametrize(("xml", "warned"), [("Dummy XML header", 0), ("<broken", 1), ("", 0)])
def test_a_line_in_place_of_the_header_is_no_obstacle(xml, warned):
    found = decisions(ConfigFile("mapping"), Header(xml), IMAGE)
    assert of(Begin, found) == [Begin(MeasurementHeader())]
    assert len(texts(found)) == warned
    assert of(Assemble, found) == [Assemble(IMAGE)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (XML.format("1.2.3").replace("</studyI", "<studyTime>10:00</studyTime></studyI"), 0.42),
        (XML.format("1.2.4"), 0.35),
        (XML.format(""), 0.35),
    ],
    ids=["same study", "other study", "no study"],
)
def test_a_haematocrit_goes_with_the_study_it_was_sent_for(header, expected):
    sent = (HEADER, parameters(haematocrit=0.42, t1_scale=1.1), IMAGE, Header(header))
    made, _ = dialogue(*sent, ecv={"haematocrit": 0.35})
    assert made.settings.ecv.haematocrit == expected
    assert made.settings.mapping.t1_scale == 1.1
    made, _ = dialogue(*sent[:3], parameters(haematocrit=0.5), Header(header), ecv={"haematocrit": 0.35})
    assert made.settings.ecv.haematocrit == 0.5


@pytest.mark.parametrize(
    "sent",
    [
        (HEADER, parameters(haematocrit=0.42), OTHER),
        (parameters(haematocrit=0.42), HEADER, OTHER),
        (HEADER, IMAGE, parameters(haematocrit=0.42), HEADER, OTHER),
        (HEADER, IMAGE, parameters(haematocrit=0.42), IMAGE, OTHER),
        (HEADER, IMAGE, parameters(haematocrit=0.42), OTHER, THIRD),
        (HEADER, parameters(haematocrit=0.42), SAME_STUDY, OTHER),
        (HEADER, IMAGE, parameters(haematocrit=0.42), SAME_STUDY, OTHER),
        (HEADER, parameters(haematocrit_percent=0), OTHER),
    ],
    ids=[
        "after",
        "before any",
        "same header",
        "more images",
        "between",
        "two of a study",
        "between two of a study",
        "not known",
    ],
)
def test_a_haematocrit_goes_with_its_study_although_no_image_came(sent):
    """Scanners send parameters after the header, other clients before the first one."""
    made, _ = dialogue(*sent, IMAGE, ecv={"haematocrit": 0.35})
    assert (made.settings.ecv.haematocrit, made.haematocrit_stated) == (0.35, False)
    made, _ = dialogue(*sent[:-1], IMAGE, ecv={"haematocrit": 0.35})
    assert made.settings.ecv.haematocrit != 0.35
    assert made.haematocrit_stated


def test_the_same_header_again_begins_no_measurement():
    other = Header(XML.format("1.2.4"))
    found = decisions(ConfigFile("mapping"), HEADER, IMAGE, HEADER, IMAGE, other, IMAGE)
    assert [each for each in found if not isinstance(each, Forward)] == [
        Begin(parse_header(HEADER.xml)),
        Assemble(IMAGE),
        Assemble(IMAGE),
        Begin(parse_header(other.xml)),
        Assemble(IMAGE),
    ]


def test_the_first_header_after_images_is_said_to_have_come_late():
    for header in (HEADER, Header(ANONYMISED.format("Mustermann", "1", "3"))):
        (text,) = of(Text, decisions(ConfigFile("mapping"), IMAGE, header, IMAGE))
        assert "after the first images" in text.text
        assert of(Text, decisions(ConfigFile("mapping"), header, IMAGE)) == []


@pytest.mark.parametrize(
    ("sent", "warned"),
    [
        (decode(gzip.compress(b"<ismrmrdHeader/>")), True),
        ("Dummy XML header", False),
        ("two lines\r\n\tof text", False),
        ("", False),
    ],
)
def test_a_header_that_is_no_text_is_reported(sent, warned):
    texts = of(Text, decisions(ConfigFile("mapping"), Header(sent), IMAGE))
    assert bool(texts) is warned
    assert all("without a header" in each.text for each in texts)


ANONYMISED = """<ismrmrdHeader><subjectInformation><patientName>{}</patientName><patientID>{}</patientID>
<patientBirthdate>1960-01-01</patientBirthdate></subjectInformation><studyInformation><studyDescription>CMR
</studyDescription></studyInformation><measurementInformation><measurementID>{}</measurementID><protocolName>MOLLI</protocolName>
</measurementInformation></ismrmrdHeader>"""


@pytest.mark.parametrize(
    "other",
    [
        Header(ANONYMISED.format("Mustermann", "2", "3")),
        Header(ANONYMISED.format("B", "1", "3")),
        Header(ANONYMISED.format("Mustermann", "1", "3").replace("1960", "1961")),
        Header(ANONYMISED.format("Mustermann", "1", "3").replace("CMR", "CMR 2")),
        Header(ANONYMISED.format("", "Mustermann1", "3")),
        Header(ANONYMISED.format("Mustermann", "1", "3").replace("</ismrmrdHeader>", "")),
    ],
    ids=["patientID", "patientName", "birth date", "study description", "moved text", "broken off"],
)
def test_headers_of_two_patients_are_two_although_no_uid_and_nothing_else_differs(other, caplog):
    one = Header(ANONYMISED.format("Mustermann", "1", "3"))
    sent = (one, parameters(haematocrit=0.42), IMAGE, other, IMAGE)
    made, found = dialogue(*sent, ecv={"haematocrit": 0.35})
    assert len(of(Begin, found)) == 2
    assert made.settings.ecv.haematocrit == 0.35
    assert "Mustermann" not in repr(vars(made)) + str(made.measurement.content) + caplog.text
    assert len(of(Begin, decisions(one, IMAGE, other, IMAGE, other, IMAGE, one))) == 3
    texts = [each.text for each in of(Text, found) if "another examination" in each.text]
    assert len(texts) == 1
    assert "state studyInstanceUID" in texts[0]


@pytest.mark.parametrize(
    ("element", "other"),
    [
        ("<measurementID>3</measurementID>", "<measurementID>4</measurementID>"),
        ("<protocolName>", "<seriesTime>10:00:00</seriesTime><protocolName>"),
        ("</ismrmrdHeader>", "<sequenceParameters><TR>2.7</TR></sequenceParameters></ismrmrdHeader>"),
    ],
    ids=["measurementID", "seriesTime", "TR"],
)
@pytest.mark.parametrize(
    ("name", "number", "stated"),
    [
        ("Mustermann", "1", True),
        ("XXXX", "1", True),
        ("", "", False),
        ("XXXX", "0000", False),
        ("Anonymous", "anon-id", False),
        ("unknown", "n/a", False),
    ],
)
def test_headers_that_differ_in_the_measurement_alone_are_of_one_patient_that_they_state(
    element, other, name, number, stated
):
    """Clients without UIDs may send a header for each series; anonymised patients may all have one name."""
    xml = ANONYMISED.format(name, number, "3")
    again = Header(xml.replace(element, other))
    made, found = dialogue(Header(xml), parameters(haematocrit=0.42), IMAGE, again, IMAGE)
    assert len(of(Begin, found)) == 2
    assert made.haematocrit_stated is stated
    assert (made.settings.ecv.haematocrit == 0.42) is stated
    assert bool([each for each in of(Text, found) if "another examination" in each.text]) is not stated


def test_headers_without_a_patient_that_differ_in_the_measurement_are_of_two():
    xml = ANONYMISED[ANONYMISED.index("<measurementInformation>") :]
    xml = "<ismrmrdHeader>" + xml
    sent = (Header(xml.format(1)), parameters(haematocrit=0.42), IMAGE, Header(xml.format(2)), IMAGE)
    assert dialogue(*sent)[0].settings.ecv.haematocrit is None


@pytest.mark.parametrize(
    "again",
    [
        ANONYMISED.format("A", "1", "3").replace("<", " <").replace(">", ">\n"),
        '<?xml version="1.0"?>' + ANONYMISED.format("A", "1", "3") + "\n",
        ANONYMISED.format("A", "1", "3").replace(
            "Header>", "Header xmlns='http://www.ismrm.org/ISMRMRD'>", 1
        ),
    ],
    ids=["white space", "declaration", "name space"],
)
def test_the_same_header_in_another_layout_begins_no_measurement(again):
    found = decisions(Header(ANONYMISED.format("A", "1", "3")), IMAGE, Header(again), IMAGE)
    assert len(of(Begin, found)) == 1


@pytest.mark.parametrize("broken", ["<broken>{}", "Dummy XML header {}"])
def test_texts_in_place_of_headers_are_compared_too(broken):
    sent = [Header(broken.format(number)) for number in (1, 1, 2)]
    assert len(of(Begin, decisions(*sent))) == 2


def test_a_pipe_gets_the_first_header_before_all_else_and_no_texts():
    sent = [ConfigFile("nonsense"), HEADER, HEADER, Text("hello"), parameters(x=1), WAVE, RAW, IMAGE, HEADER]
    found = decisions(*sent, dialect=PIPE)
    assert of(Text, found) == []
    assert of(Forward, found) == [Forward(HEADER), Forward(WAVE), Forward(RAW), Forward(IMAGE)]


@pytest.mark.parametrize("first", [IMAGE, RAW])
def test_a_header_after_the_first_message_does_not_go_back(first):
    assert of(Forward, decisions(first, HEADER, dialect=PIPE)) == [Forward(first)]


def test_a_fixed_dialect_stays():
    made, _ = dialogue(ConfigFile("mapping"), ConfigText("<a/>"), dialect=CHAIN)
    assert list(made.say("hello")) == []


def test_a_fixed_configuration_goes_before_what_the_peer_requests():
    sent = [ConfigFile("mapping"), HEADER, parameters(config="mapping"), IMAGE]
    found = decisions(*sent, configuration=Configuration.PASSTHROUGH)
    assert of(Assemble, found) == []


def test_originals_stay_away_where_results_alone_are_wanted():
    none = {"originals": "none"}
    assert decisions(IMAGE, emit=none) == [Withhold(), Assemble(IMAGE)]
    assert decisions(parameters(originals="none"), IMAGE) == [Withhold(), Assemble(IMAGE)]
    assert decisions(ConfigFile("passthrough"), IMAGE, emit=none) == [Forward(IMAGE)]


def test_originals_may_keep_their_geometry_at_the_console():
    odd = replace(IMAGE, attributes=b"<broken")
    back, same = (
        each.message for each in of(Forward, decisions(IMAGE, odd, emit={"originals": "keep-geometry"}))
    )
    assert same == odd
    assert (back.data, back.meta()) == (IMAGE.data, {"Keep_image_geometry": ("1",)})
    assert back.header.attribute_string_len == len(back.attributes)


def test_an_image_goes_back_whatever_fails_in_its_attributes(monkeypatch, caplog):
    def failing(*_):
        raise KeyError("a bug")

    monkeypatch.setattr("inline.serving.dialogue.returned", failing)
    assert decisions(IMAGE) == [Forward(IMAGE), Assemble(IMAGE)]
    assert "the attributes of an image were not changed" in caplog.text


@pytest.mark.parametrize("severity", Severity)
def test_a_text_begins_with_the_severity_that_consoles_colour_by(severity):
    made, _ = dialogue(ConfigFile("mapping"))
    (reply,) = made.say("a sentence", severity)
    assert reply == Text(f"{severity} myostream: a sentence")
    assert PREFIXED.match(reply.text)


def test_a_warning_is_logged_without_the_texts_of_the_client(caplog):
    decisions(ConfigFile("Mustermann"))
    assert "there is no configuration" in caplog.text
    assert "Mustermann" not in caplog.text
