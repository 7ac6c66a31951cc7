"""Schema of the OpenRecon label: what it refuses, and that the message names the place."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.package.label import make_label
from inline.package.schema import PackageError, check_label

LABEL = make_label("site", "1.2.3").content()


def changed(path, value):
    """The label with one field set, or left out where the value is ``...``."""
    content = copy.deepcopy(LABEL)
    *parents, last = path
    inner = content
    for each in parents:
        inner = inner[each]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return content


def place(identifier):
    return [each["id"] for each in LABEL["parameters"]].index(identifier)


def test_our_label_follows_the_schema_and_is_read_back_from_json():
    assert check_label(json.loads(json.dumps(LABEL))).content() == LABEL


REQUIRED = [
    ("general",),
    ("reconstruction",),
    ("parameters",),
    *(
        ("general", name)
        for name in ("name", "version", "vendor", "information", "id", "regulatory_information")
    ),
    *(("general", "regulatory_information", name) for name in LABEL["general"]["regulatory_information"]),
    *(
        ("reconstruction", name)
        for name in (
            *("transfer_protocol", "port", "emitter", "injector", "can_use_gpu"),
            *("min_required_memory", "min_count_required_cpu_cores"),
        )
    ),
    *(("parameters", 0, name) for name in ("id", "type", "label", "default", "values")),
    *(("parameters", place("budgetMs"), name) for name in ("minimum", "maximum", "default")),
    *(("parameters", place("epiOffsetMm"), name) for name in ("minimum", "maximum", "default")),
    ("parameters", place("overlay"), "default"),
    ("parameters", place("overlay"), "label", "en"),
]


@pytest.mark.parametrize("path", REQUIRED, ids=lambda path: ".".join(map(str, path)))
def test_a_missing_field_is_refused_and_named(path):
    with pytest.raises(PackageError, match=r"metadata 1\.1\.0: ") as caught:
        check_label(changed(path, ...))
    named = "parameters.0" if path[-1] == "type" else str(path[-1])
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("general", "version"), "1.0"),
        (("general", "version"), "1.0.0\n"),
        (("general", "version"), "01.0.0"),
        (("general", "version"), 1),
        (("general", "id"), None),
        (("general", "name"), "myostream"),
        (("general", "author"), "site"),
        (("reconstruction", "port"), "9002"),
        (("reconstruction", "port"), True),
        (("reconstruction", "can_use_gpu"), 0),
        (("reconstruction", "can_use_gpu"), "false"),
        (("reconstruction", "emitter"), "images"),
        (("reconstruction", "injector"), "raw"),
        (("reconstruction", "content_qualification_type"), "CLINICAL"),
        (("reconstruction", "transfer_protocol", "version"), "1.4.2"),
        (("reconstruction", "min_count_required_cpu_cores"), 0),
        (("reconstruction", "min_required_memory"), -1),
        (("parameters", 0, "id"), "two_words"),
        (("parameters", 0, "id"), ""),
        (("parameters", 0, "type"), "list"),
        (("parameters", 0, "default"), "reconstruct"),
        (("parameters", 0, "values"), []),
        (("parameters", place("budgetMs"), "default"), 3000.5),
        (("parameters", place("budgetMs"), "default"), "3000"),
        (("parameters", place("budgetMs"), "default"), 0),
        (("parameters", place("budgetMs"), "maximum"), 1 << 31),
        (("parameters", place("budgetMs"), "unit"), {"en": "msec"}),
        (("parameters", place("budgetMs"), "values"), []),
        (("parameters", place("epiOffsetMm"), "default"), 1.55),
        (("parameters", place("epiOffsetMm"), "default"), 5.1),
        (("parameters", place("epiOffsetMm"), "default"), "1.5"),
        (("parameters", place("epiOffsetMm"), "maximum"), float("inf")),
        (("parameters", place("epiOffsetMm"), "maximum"), 1e300),
        (("parameters", place("overlay"), "default"), 1),
        (("parameters", place("overlay"), "default"), "true"),
        (("parameters", place("overlay"), "information"), None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_field_of_another_type_or_out_of_range_is_refused(path, value):
    with pytest.raises(PackageError, match=r"metadata 1\.1\.0"):
        check_label(changed(path, value))


def test_fourteen_parameters_pass_and_fifteen_do_not():
    content = copy.deepcopy(LABEL)
    switch = content["parameters"][place("overlay")]
    while len(content["parameters"]) < 14:
        content["parameters"].append({**switch, "id": f"more{len(content['parameters'])}"})
    assert len(check_label(content).parameters) == 14
    content["parameters"].append({**switch, "id": "fifteenth"})
    with pytest.raises(PackageError, match="at most 14 items"):
        check_label(content)


def test_ids_of_parameters_and_choices_differ():
    content = copy.deepcopy(LABEL)
    content["parameters"].append({**content["parameters"][place("overlay")], "default": False})
    with pytest.raises(PackageError, match="id 'overlay' is there twice"):
        check_label(content)
    choices = LABEL["parameters"][0]["values"]
    with pytest.raises(PackageError, match="choice 'mapping' is there twice"):
        check_label(changed(("parameters", 0, "values"), [*choices, choices[0]]))


def test_what_the_public_schema_leaves_open_passes():
    content = changed(("general", "name", "de"), "myostream")
    del content["parameters"][0]["information"]
    content["parameters"].append(
        {"id": "note", "type": "string", "label": {"en": "Note"}, "isLargeText": True}
    )
    content["reconstruction"]["channel_compression"] = {"require_state": "off"}
    content["general"]["version"] = "1.2.3-rc.1+build5"
    for name in ("can_process_adjustment_data", "min_required_gpu_memory", "content_qualification_type"):
        del content["reconstruction"][name]
    assert check_label(content).content() == content


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(LABEL)), inner),
        max_leaves=8,
    )
)
@settings(max_examples=25)
def test_any_json_is_refused_with_our_error(content):
    with pytest.raises(PackageError):
        check_label(content)
