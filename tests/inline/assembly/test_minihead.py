import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.assembly import minihead

TEXT = """<XProtocol>
{
  <Name> "PhoenixMetaProtocol"
  <ParamMap."DICOM">
  {
    <ParamDouble."TI"> { <Precision> 6  260.500000 }
    <ParamString."AcquisitionTime"> { "101220.012000" }
    <ParamString."SequenceDescription"> { "T1map_MOLLI" }
    <ParamLong."InstanceNumber"> { 3 }
    <ParamDouble."Empty"> { <Precision> 6 }
    <ParamArray."ImageTypeValue4">
    {
      <Default> <ParamString."">
      {
        "IGNORED"
      }
      { "MOCO" }
      { "ND" }
    }
    <ParamDouble."Limited"> { <LimitRange> { 0.0 100.0 } <Comment> "TI" 42.0 }
  }
}
"""


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("TI", ("260.500000",)),
        ("AcquisitionTime", ("101220.012000",)),
        ("SequenceDescription", ("T1map_MOLLI",)),
        ("InstanceNumber", ("3",)),
        ("Empty", ()),
        ("ImageTypeValue4", ("MOCO", "ND")),
        ("Limited", ("42.0",)),
        ("Absent", ()),
    ],
)
def test_values_by_name(name, values):
    text = minihead.decode(base64.b64encode(TEXT.encode()).decode())
    assert minihead.values(text, name) == values


def test_a_parameter_without_values_does_not_hide_one_with_values():
    assert minihead.values('<ParamDouble."TI"> { } <ParamDouble."TI"> { 100.0 }', "TI") == ("100.0",)


@pytest.mark.parametrize("encoded", ["", "no base64!", "AAA", "\u00e4"])
def test_what_is_no_base64_has_no_values(encoded):
    assert minihead.values(minihead.decode(encoded), "TI") == ()


@given(st.text(alphabet='{}<>". TIx', max_size=400))
def test_any_text_is_read(text):
    minihead.values(f'<ParamDouble."TI"> {text}', "TI")


@pytest.mark.parametrize("text", ['"TI">{' * 200_000, '"TI">{ "' + "x" * 10**6, '"TI">' + "{" * 10**6])
def test_no_text_is_read_without_end(text):
    assert sum(map(len, minihead.values(text, "TI"))) <= 1 << 16
