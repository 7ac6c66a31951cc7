import pytest

from inline.errors import ConfigurationError
from inline.results import SliceLevel
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
    ],
)
def test_mistakes_are_named(tmp_path, content, named):
    file = tmp_path / "s.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=named):
        load_settings(file)


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings().workers = 3
