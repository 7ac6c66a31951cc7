"""The label against the server: every parameter is one that it takes, with the same range and default."""

import base64
import json
from collections import Counter
from functools import partial

import pytest

from inline.mrd.messages import Close, ConfigFile, ConfigText, Header, Text
from inline.mrd.protocol import encode
from inline.package.label import decoded, encoded, make_label, package_name
from inline.package.schema import ChoiceParameter, DoubleParameter, IntParameter, PackageError
from inline.replay.replies import records
from inline.serving.parameters import OF_PATIENT, PARAMETERS, parameter_name, with_parameters
from inline.settings import Settings
from tests.inline.serving.messages import originals, talk

LABEL = make_label("site", "1.2.3")
NUMBERS = [each for each in LABEL.parameters if isinstance(each, IntParameter | DoubleParameter)]
CHOICES = [each for each in LABEL.parameters if isinstance(each, ChoiceParameter) and each.id != "config"]

IDS = {
    "config": ("choice", {"mapping", "passthrough"}),
    "budgetMs": ("int", set()),
    "originals": ("choice", {"as-is", "keep-geometry", "none"}),
    "overlay": ("boolean", set()),
    "report": ("boolean", set()),
    "uncertainty": ("boolean", set()),
    "motion": ("choice", {"prefer-corrected", "corrected", "uncorrected", "both"}),
    "t1Scale": ("choice", {"1", "1.0365"}),
    "endoOffsetMm": ("double", set()),
    "epiOffsetMm": ("double", set()),
    "haematocritPercent": ("double", set()),
    "syntheticHaematocrit": ("boolean", set()),
}
"""Of all versions. Never remove a line or a choice: protocols on scanners hold these ids."""


def values(settings, identifier):
    """Value of a parameter in the settings."""
    for name in PARAMETERS[parameter_name(identifier)]:
        settings = settings.model_dump()[name] if isinstance(settings, Settings) else settings[name]
    return settings


def test_the_label_holds_every_id_type_and_choice_of_all_versions():
    now = {
        each.id: (
            each.type,
            {value.id for value in each.values} if isinstance(each, ChoiceParameter) else set(),
        )
        for each in LABEL.parameters
    }
    assert now == IDS


def test_the_defaults_are_those_of_the_settings_as_values_and_as_texts():
    defaults = {name: value for name, value in LABEL.defaults().items() if name != "config"}
    assert len(defaults) == len(LABEL.parameters) - 1
    for sent in (defaults, {name: str(value) for name, value in defaults.items()}):
        assert with_parameters(Settings(), sent) == (Settings(), [])


OWN = {
    "budget_ms": 2500.0,
    "emit": {"originals": "none", "overlay": False, "report": True, "uncertainty": True},
    "assembly": {"motion": "both"},
    "mapping": {"t1_scale": 1.02},
    "contours": {"endo_offset_mm": 1.8, "epi_offset_mm": 0.4},
    "ecv": {"synthetic": True},
}
"""Every parameter is not at its default, but for that of a patient."""


def test_the_defaults_are_the_settings_of_the_site():
    """A measurement where nobody changes a parameter leaves them as they are, as values and as texts."""
    own = Settings.model_validate(OWN)
    made = make_label("site", "1.2.3", own)
    defaults = {name: value for name, value in made.defaults().items() if name != "config"}
    for sent in (defaults, {name: str(value) for name, value in defaults.items()}):
        assert with_parameters(own, sent) == (own, [])
        assert with_parameters(Settings(), sent) == (own, [])
    (factor,) = (each for each in made.parameters if each.id == "t1Scale")
    assert [each.id for each in factor.values] == ["1", "1.0365", "1.02"]


def test_a_haematocrit_of_the_settings_is_not_that_of_the_next_patient():
    own = Settings.model_validate({"ecv": {"haematocrit": 0.42}})
    assert make_label("site", "1.2.3", own).defaults()["haematocritPercent"] == 0.0


@pytest.mark.parametrize("offset", [1.83, -0.25])
def test_a_setting_between_the_steps_of_a_host_is_refused_and_not_rounded(offset):
    own = Settings.model_validate({"contours": {"epi_offset_mm": offset}})
    with pytest.raises(PackageError, match=rf"contours\.epi_offset_mm = {offset} .* steps of 0\.1; round it"):
        make_label("site", "1.2.3", own)


def test_a_budget_between_milliseconds_is_refused_and_a_factor_keeps_its_digits():
    for budget_ms in (2500.5, 0.4):
        own = Settings.model_validate({"budget_ms": budget_ms})
        with pytest.raises(PackageError, match=rf"budget_ms = {budget_ms} .* steps of 1; round it"):
            make_label("site", "1.2.3", own)
    for factor in (1.0123456789012, 1.0365000000000002):
        own = Settings.model_validate({"mapping": {"t1_scale": factor}})
        defaults = make_label("site", "1.2.3", own).defaults()
        del defaults["config"]
        assert with_parameters(Settings(), defaults) == (own, [])


def other(parameter):
    """A value that is not the default."""
    if isinstance(parameter, ChoiceParameter):
        return next(each.id for each in parameter.values if each.id != parameter.default)
    return not parameter.default if isinstance(parameter.default, bool) else parameter.maximum


@pytest.mark.parametrize("parameter", LABEL.parameters[1:], ids=lambda each: each.id)
@pytest.mark.parametrize("as_sent", [lambda value: value, str])
def test_the_server_takes_each_parameter_and_its_default_puts_it_back(parameter, as_sent):
    settings, problems = with_parameters(Settings(), {parameter.id: as_sent(other(parameter))})
    assert problems == []
    assert settings != Settings()
    assert with_parameters(settings, {parameter.id: as_sent(parameter.default)}) == (Settings(), [])


@pytest.mark.parametrize("parameter", NUMBERS, ids=lambda each: each.id)
def test_the_server_has_the_range_of_the_label(parameter):
    step = 1 if isinstance(parameter, IntParameter) else 0.1
    for value in (parameter.minimum, parameter.maximum):
        assert with_parameters(Settings(), {parameter.id: str(value)})[1] == []
    for value in (parameter.minimum - step, parameter.maximum + step):
        settings, problems = with_parameters(Settings(), {parameter.id: value})
        assert len(problems) == 1
        assert settings == Settings()


@pytest.mark.parametrize("parameter", CHOICES, ids=lambda each: each.id)
def test_every_choice_is_one_of_the_settings(parameter):
    for each in parameter.values:
        settings, problems = with_parameters(Settings(), {parameter.id: each.id})
        assert problems == []
        assert str(values(settings, parameter.id)).removesuffix(".0") == each.id


def test_haematocrit_in_percent_is_a_fraction_or_not_known():
    assert parameter_name("haematocritPercent") in OF_PATIENT
    everybody = Settings.model_validate({"ecv": {"haematocrit": 0.45}})
    for sent, haematocrit in ((42.3, 0.423), ("42.3", 0.423), (0, None), ("0.0", None)):
        settings, problems = with_parameters(everybody, {"haematocritPercent": sent})
        assert (settings.ecv.haematocrit, problems) == (haematocrit, [])
    for sent in (0.42, 19.9, 65.1, -42, "42 %", "nan", float("inf"), True, [42], 10**400):
        settings, problems = with_parameters(everybody, {"haematocritPercent": sent})
        assert settings.ecv.haematocrit is None  # not that of everybody
        assert len(problems) == 1
    assert "give 20 to 65 percent, or 0" in with_parameters(everybody, {"haematocritPercent": 1})[1][0]


@pytest.mark.parametrize(
    "sent",
    [{"haematocrit": 0.42, "haematocritPercent": 30}, {"haematocrit_percent": 42, "haematocritPercent": 42}],
)
def test_a_setting_that_is_given_twice_is_not_used(sent):
    settings, problems = with_parameters(Settings.model_validate({"ecv": {"haematocrit": 0.45}}), sent)
    assert settings.ecv.haematocrit is None
    assert all("given more than once" in each for each in problems)
    assert problems
    settings, problems = with_parameters(Settings(), {"t1Scale": "1.0365", "t1_scale": 1.5, "overlay": False})
    assert (settings.mapping.t1_scale, settings.emit.overlay) == (1.0, False)
    assert problems == ["parameter t1_scale is not used: its setting is given more than once"]


def as_text(header, parameters):
    """As python-ismrmrd-server reads them: the name of a configuration, the header, a text."""
    return ConfigFile("openrecon"), Header(header), Text(parameters)


def as_configuration(header, parameters):
    """As the tutorial of OpenRecon has them: in the place of the configuration."""
    return ConfigText(parameters), Header(header)


def session(server, opening, images, parameters):
    """Everything that a server sends to a host of OpenRecon."""
    messages = (*opening(json.dumps({"parameters": parameters})), *images, Close())
    return talk(server.address, b"".join(map(encode, messages)), shut=False)


@pytest.mark.parametrize("opening", [as_text, as_configuration])
def test_a_server_applies_the_defaults_that_a_host_sends(serving, examination, opening):
    """Its own settings are others, so that each default is seen."""
    _, header, images = examination
    opening = partial(opening, header)
    images = [each for each in images if each.header.image_series_index == 1 and each.header.slice == 0]
    own = {
        "emit": {"overlay": False, "originals": "none", "uncertainty": True},
        "mapping": {"t1_scale": 1.2},
        "contours": {"endo_offset_mm": 0.0, "epi_offset_mm": 0.5},
    }
    with serving(**own) as server:
        by_server = session(server, opening, images, {})
        by_host = session(server, opening, images, LABEL.defaults())
        changed = {"endoOffsetMm": "0.5", "epiOffsetMm": 1.0, "t1Scale": "1.0365", "overlay": "false"}
        by_user = session(server, opening, images, {**LABEL.defaults(), **changed})
    for messages in (by_server, by_host, by_user):
        assert not [
            each.text for each in messages if isinstance(each, Text) and not each.text.startswith("DBG")
        ]
    seen = []
    for messages in (by_server, by_host, by_user):
        sent = [each for each in messages if hasattr(each, "pixels")]
        ((record, _),) = records(sent)
        offsets = tuple(record["contour_offsets_mm"].values())
        seen.append((len(originals(sent)), record["t1_scale"], offsets))
        assert Counter(originals(sent)) in (Counter(), Counter(images))
    assert seen == [(0, 1.2, (0.0, 0.5)), (8, 1.0, (1.5, 1.5)), (8, 1.0365, (0.5, 1.0))]
    numbers = [
        {each.header.image_series_index % 10 for each in messages if hasattr(each, "pixels")} - {1}
        for messages in (by_server, by_host, by_user)
    ]
    assert [2 in each for each in numbers] == [False, True, False]  # overlay
    assert [3 in each for each in numbers] == [True, False, False]  # uncertainty


def test_the_label_in_the_image_is_json_in_base64_on_one_line():
    value = encoded(LABEL)
    assert json.loads(base64.b64decode(value)) == LABEL.content()
    assert not set(value) & set("\n\"'\\ $")
    assert decoded(value).content() == LABEL.content()
    for wrong in ("", "e30=", "not base64", base64.b64encode(b"\xff{").decode()):
        with pytest.raises(PackageError, match="OpenRecon label"):
            decoded(wrong)


def test_vendor_and_version_make_the_name():
    assert package_name(LABEL) == "OpenRecon_site_myostream_V1.2.3"
    for vendor in ("", "two words", "a_b", "../x", "é", ".", "-x", "Site.", "a..b", "a.-b", "x" * 65, "a\n"):
        with pytest.raises(PackageError, match="vendor"):
            make_label(vendor, "1.2.3")
    for version in ("unknown", "1.2", "1.2.3.dev4"):
        with pytest.raises(PackageError, match="version"):
            make_label("site", version)


def test_the_label_is_for_research_and_names_no_device():
    content = LABEL.content()
    assert content["reconstruction"]["content_qualification_type"] == "RESEARCH"
    regulatory = content["general"]["regulatory_information"]
    assert regulatory["gtin"] == regulatory["udi"] == ""
    assert "Not a medical device" in regulatory["safety_advices"]
