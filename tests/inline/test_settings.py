import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

import inline
from inline.data.errors import ConfigurationError
from inline.data.results import SliceLevel
from inline.settings import Settings, load_settings


def test_a_file_and_the_command_line_over_it(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(
        'engine = "torch"\n[server]\nport = 9003\nhost = "0.0.0.0"\n[regions]\nlevels = { 0 = "apical" }\n'
    )
    settings = load_settings(file, server={"port": 9004, "host": None})
    assert settings.server.port == 9004
    assert settings.server.host == "0.0.0.0"
    assert settings.engine == "torch"
    assert settings.regions.levels == {0: SliceLevel.APICAL}
    assert load_settings(file, engine="auto").engine == "auto"


@pytest.fixture
def environment(monkeypatch):
    """Sets variables; those of the machine that runs the tests are removed."""
    for name in [name for name in os.environ if name.upper().startswith("MYOSTREAM_")]:
        monkeypatch.delenv(name)

    def state(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return state


def test_the_environment_over_the_file_and_the_command_line_over_both(tmp_path, environment):
    file = tmp_path / "s.toml"
    file.write_text(
        "workers = 3\nbudget_ms = 900\n[server]\nport = 9003\nhost = '::1'\nqueue_bytes = 2097152\n"
    )
    environment(
        MYOSTREAM_SETTINGS=str(file),
        MYOSTREAM_WORKERS="4",
        myostream_server__port="9004",
        MYOSTREAM_SERVER__HOST="0.0.0.0",
        MYOSTREAM_SERVER__PEERS='["192.0.2.0/24"]',
        MYOSTREAM_REGIONS__LEVELS='{"0": "apical"}',
        MYOSTREAM_EMIT__OVERLAY="false",
        MYOSTREAM_ENGINE="",
    )
    settings = load_settings(server={"port": 9005, "host": None})
    assert (settings.budget_ms, settings.workers, settings.engine) == (900.0, 4, "auto")
    assert (settings.server.port, settings.server.host) == (9005, "0.0.0.0")
    assert settings.server.queue_bytes == 2097152
    assert [str(each) for each in settings.server.peers] == ["192.0.2.0/24"]
    assert settings.regions.levels == {0: SliceLevel.APICAL}
    assert not settings.emit.overlay
    assert Settings().workers == 2  # the defaults, whatever the environment says


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "MYOSTREAM_SERVER__PORT",
            "http",
            r"server.port \(MYOSTREAM_SERVER__PORT\): Input should be",
        ),
        (
            "MYOSTREAM_SERVER__PROT",
            "1",
            r"no setting 'server\.prot' \(MYOSTREAM_SERVER__PROT\); did you mean 'server\.port'\?",
        ),
        ("MYOSTREAM_BUDGT_MS", "2000", r"MYOSTREAM_BUDGT_MS is no .* did you mean MYOSTREAM_BUDGET_MS\?$"),
        ("MYOSTREAM_SEVER__PORT", "1", r"SEVER__PORT is no .* did you mean MYOSTREAM_SERVER__PORT\?$"),
        ("myostream_emit_overlay", "1", r"emit_overlay is no .* did you mean MYOSTREAM_EMIT__OVERLAY\?$"),
        ("MYOSTREAM_SERVER_PORT", "9100", r"SERVER_PORT is no .* did you mean MYOSTREAM_SERVER__PORT\?$"),
        ("MYOSTREAM_SERVER_HOST", "::1", r"SERVER_HOST is no .* did you mean MYOSTREAM_SERVER__HOST\?$"),
        ("MYOSTREAM_DICOM_PORT", "104", r"DICOM_PORT is no .* did you mean MYOSTREAM_DICOM__PORT\?$"),
        ("MYOSTREAM_ENGIN", "torch", r"ENGIN is no .* did you mean MYOSTREAM_ENGINE\?$"),
        ("MYOSTREAM_REGIONS__LEVELS", "basal", "not valid JSON: .*regions"),
        ("MYOSTREAM_MAPPING__T1_SCALE", "true", r"mapping\.t1_scale .*valid number"),
        ("MYOSTREAM_MAPPING", '{"t1_scale": true}', r"mapping\.t1_scale: .*valid number, not true$"),
        ("MYOSTREAM_SETTINGS", "/nowhere.toml", "the settings file /nowhere.toml cannot be read"),
    ],
)
def test_mistakes_in_the_environment_are_named_in_a_line(name, value, message, environment):
    environment(**{name: value})
    with pytest.raises(ConfigurationError, match=message) as error:
        load_settings()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("USER", "ENV", "CACHE_DIR", "DIR", "COMMIT", "SLOT", "REVISION", "SERVICE", "WEIGHTS_DIR", "HOME"),
        *("SETTINGS_DIR", "BUDGET", "REGION", "LOGS", "OPERATOR", "VERSION", "IMAGE", "NAME"),
    ],
)
def test_variables_that_are_no_settings_are_passed_over(name, environment):
    environment(MYOSTREAM_CACHE="/c", **{f"MYOSTREAM_{name}": "site"})
    assert load_settings() == Settings()


@pytest.mark.parametrize("service", ["", "_SERVER", "_DICOM", "_MONITOR"])
def test_variables_that_kubernetes_makes_of_services_are_passed_over(service, environment):
    """Those that the kubelet sets for a service of one port named mrd."""
    link = "tcp://192.0.2.1:9002"
    values = {
        "SERVICE_HOST": "192.0.2.1",
        "SERVICE_PORT": "9002",
        "SERVICE_PORT_MRD": "9002",
        "PORT": link,
        "PORT_9002_TCP": link,
        "PORT_9002_TCP_PROTO": "tcp",
        "PORT_9002_TCP_PORT": "9002",
        "PORT_9002_TCP_ADDR": "192.0.2.1",
    }
    environment(**{f"MYOSTREAM{service}_{name}": value for name, value in values.items()})
    assert load_settings() == Settings()


def test_defaults_listen_on_this_host_alone():
    assert load_settings() == Settings()
    assert (Settings().server.host, Settings().server.port) == ("127.0.0.1", 9002)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[server]\nport = 99999", "server.port"),
        ("[regions]\ninset = 0.6", "regions.inset"),
        ("[regons]\ninset = 0.1", r"there is no setting 'regons'; did you mean 'regions'\?$"),
        ("engin = 'torch'", r"there is no setting 'engin'; did you mean 'engine'\?$"),
        ("port = 9003", r"there is no setting 'port'; did you mean 'server\.port'\?$"),
        (
            "[server]\nbudget_ms = 3000",
            r"there is no setting 'server\.budget_ms'; did you mean 'budget_ms', above all sections\?$",
        ),
        (
            "[dicom]\nae_title = 'ABCDEFGHIJKLMNOPQRST'",
            r"dicom\.ae_title: an AE title has at most 16 characters",
        ),
        (
            "[[dicom.destinations]]\nname = 'a'\nhost = 'h'\nae_title = 'ABCDEFGHIJKLMNOPQRST'",
            r"dicom\.destinations\.0\.ae_title: an AE title has at most 16 characters",
        ),
        (
            "[dicom.destinations]\nname = 'a'\nhost = 'h'\nae_title = 'A'",
            r"dicom\.destinations: it is a list of tables; write \[\[dicom\.destinations\]\] above",
        ),
        (
            "[[dicom.destinations]]\nname = 'a'\nhost = 'h'\nae_title = 'A'\nprot = 104",
            r"no setting 'dicom\.destinations\.0\.prot'; did you mean 'dicom\.destinations\.0\.port'\?$",
        ),
        (
            "[[dicom.destinations]]\nname = 'a'\nhost = 'h'\nae_title = 'A'\nfoo = 1",
            r"no setting 'dicom\.destinations\.0\.foo'; \[\[dicom\.destinations\]\] has name, .*port, ",
        ),
        ("[dicom]\nae_title = 'A\\B'", r"dicom\.ae_title: an AE title has .* without a backslash$"),
        ("[dicom]\nae_title = ''", r"dicom\.ae_title: "),
        (
            "[dicom]\ncalling_ae_titles = ['A', 'ABCDEFGHIJKLMNOPQRST']",
            r"dicom\.calling_ae_titles\.1: an AE title has at most 16 characters",
        ),
        ("xyzzy = 1", r"there is no setting 'xyzzy'$"),
        ("[mapping]\nfoo = 1", r"there is no setting 'mapping\.foo'; \[mapping\] has .*t1_scale[\w, ]*$"),
        (
            "[mapping]\nt1scale = 1",
            r"there is no setting 'mapping\.t1scale'; did you mean 'mapping\.t1_scale'\?$",
        ),
        ("[ecv]\nhaematocrit = 42", r"cannot be used: ecv\.haematocrit: [^V]*0\.42"),
        ('"a\\nb" = 1', "there is no setting"),
        ('[regions.levels]\n"a\\nb" = "mid"', "regions.levels"),
        ('engine = "abacus"', "engine"),
        ("not toml", "cannot be read"),
        ("server = 5", "server: Input should be a valid dictionary"),
        ("emit = [1]\nregions = 'x'", r"regions: .*; emit: "),
        ("a = " + "[" * 100_000, "cannot be read"),
        ("workers = " + "9" * 5000, "cannot be read"),
        (b"weights = 'K\xf6ln'", r"not UTF-8: .* save it as UTF-8"),
        ("workers = 2".encode("utf-16"), "not UTF-8"),
        ("[server]\nstalled_s = inf", "server.stalled_s: Input should be a finite number"),
        ("[server]\nstalled_s = 1e300", "server.stalled_s"),
        ("[server]\nslices_in_flight = 1_000_000_000", "server.slices_in_flight"),
        ("[regions]\nseptum_degrees = inf", "regions.septum_degrees"),
        ("[assembly]\nidle_s = nan", "assembly.idle_s"),
        ("budget_ms = inf", "budget_ms"),
        ("[mapping]\nt1_scale = true", r"mapping\.t1_scale: Input should be a valid number, not true$"),
        ('[ecv]\nsynthetic = "yes"', r'ecv\.synthetic: Input should be a valid boolean, not "yes"$'),
        ('[mapping]\nt1_scale = "1"', r'mapping\.t1_scale: Input should be a valid number, not "1"$'),
        ("workers = true", r"workers: Input should be a valid integer, not true$"),
        ('workers = "many"', r'workers: Input should be a valid integer, not "many"$'),
        ('[ecv]\nhaematocrit = "0.4"', r'ecv\.haematocrit: .* not "0\.4"$'),
        ("[server]\nconnection_bytes = false", r"server\.connection_bytes: .* not false$"),
        (
            "[[dicom.destinations]]\nname = 'a'\nhost = 'h'\nae_title = 'A'\nport = true",
            r"dicom\.destinations\.0\.port: .* not true$",
        ),
        ("xyzzy = 1\n[regions]\ninset = false", r"'xyzzy'; regions\.inset: .* not false$"),
    ],
)
def test_mistakes_are_named_in_a_line(tmp_path, content, named):
    file = tmp_path / "s.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError, match=named) as error:
        load_settings(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"workers": "2"}, r'workers: Input should be a valid integer, not "2"$'),
        ({"mapping": {"t1_scale": "1"}}, r'mapping\.t1_scale: Input should be a valid number, not "1"$'),
        ({"ecv": {"synthetic": "yes"}}, r'ecv\.synthetic: Input should be a valid boolean, not "yes"$'),
        ({"ecv": {"haematocrit": True}}, r"ecv\.haematocrit: Input should be a valid number, not true$"),
        ({"ecv": {("a", 1): 0.4}}, r"ecv\.\('a', 1\): Keys should be strings"),
    ],
)
def test_mistakes_of_the_python_api_are_named_in_a_line(keywords, named, environment):
    with pytest.raises(ConfigurationError, match=named):
        load_settings(**keywords)
    environment(MYOSTREAM_WORKERS="3", MYOSTREAM_ECV__SYNTHETIC="yes")
    assert load_settings(budget_ms=np.float32(100.0)).budget_ms == 100.0
    assert load_settings().workers == 3
    assert load_settings().ecv.synthetic


def test_the_name_of_a_file_may_be_a_text(tmp_path):
    (tmp_path / "site.toml").write_text("workers = 3")
    assert load_settings(str(tmp_path / "site.toml")).workers == 3


def test_relative_paths_lie_beside_the_file_and_those_of_the_environment_in_the_current_folder(
    tmp_path, environment, monkeypatch
):
    (tmp_path / "etc").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "etc" / "site.toml").write_text(
        'weights = "own"\n[reference]\nfile = "../ranges.toml"\n[emit]\nzmq_keys = "/keys"\n'
        '[dicom]\nspool = "spool"\ntls_certificate = "a.pem"\ntls_key = "b.pem"\ntls_ca = "c.pem"\n'
    )
    monkeypatch.chdir(tmp_path / "run")
    environment(MYOSTREAM_DICOM__SPOOL="queue", MYOSTREAM_SETTINGS="../etc/site.toml")
    made = load_settings()
    etc = tmp_path / "run" / ".." / "etc"
    assert (made.weights, made.emit.zmq_keys) == (etc / "own", Path("/keys"))
    assert made.reference.file == etc / "../ranges.toml"
    node = made.dicom
    assert (node.tls_certificate, node.tls_key, node.tls_ca) == (etc / "a.pem", etc / "b.pem", etc / "c.pem")
    assert node.spool == Path("queue")


def test_a_current_folder_that_is_gone_matters_for_relative_names_alone(tmp_path, environment, monkeypatch):
    (tmp_path / "s.toml").write_text('weights = "own"')
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    environment(MYOSTREAM_REFERENCE__FILE="/ranges.toml")
    made = load_settings(tmp_path / "s.toml")
    assert (made.weights, made.reference.file) == (tmp_path / "own", Path("/ranges.toml"))
    with pytest.raises(ConfigurationError, match=r"the settings file s\.toml cannot be read"):
        load_settings("s.toml")


@pytest.mark.parametrize("name", ["weights", "reference.file", "dicom.spool", "dicom.tls_ca"])
def test_an_empty_path_is_no_folder(name, tmp_path):
    (tmp_path / "s.toml").write_text(f'{name} = ""')
    with pytest.raises(ConfigurationError, match=rf"{re.escape(name)}: .* leave the setting out"):
        load_settings(tmp_path / "s.toml")


def test_a_section_that_is_none_is_named_when_the_command_line_states_it_too(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("server = 5\nemit = 'no'\n")
    with pytest.raises(ConfigurationError, match=r"server: .*; emit: "):
        load_settings(file, server={"port": 9003}, emit={"zmq": "tcp://*:1"})


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("workers = 3\n", encoding="utf-8-sig")
    assert load_settings(file).workers == 3


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load_settings(tmp_path)


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings().workers = 3


def test_the_page_lists_every_setting_with_its_default():
    page = (Path(inline.__file__).parent.parent / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (?:none|`(.+?)`) \|", page, re.MULTILINE)
    listed = {name: tomllib.loads(f"default = {text}")["default"] if text else None for name, text in rows}
    defaults = {}
    for name, value in Settings():
        section = isinstance(value, BaseModel)
        defaults |= {f"{name}.{each}": default for each, default in value} if section else {name: value}
    defaults = {name: list(each) if isinstance(each, tuple) else each for name, each in defaults.items()}
    assert listed == defaults
