import pytest

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


def test_defaults_listen_on_this_host_alone():
    assert load_settings() == Settings()
    assert (Settings().server.host, Settings().server.port) == ("127.0.0.1", 9002)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[server]\nport = 99999", "server.port"),
        ("[regions]\ninset = 0.6", "regions.inset"),
        ("[regons]\ninset = 0.1", "regons"),
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
    ],
)
def test_mistakes_are_named_in_a_line(tmp_path, content, named):
    file = tmp_path / "s.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError, match=named) as error:
        load_settings(file)
    assert "\n" not in str(error.value)


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
