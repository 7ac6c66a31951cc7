"""Pages: links, source files, commands and options, packages, glossary."""

import re
from pathlib import Path

import pytest
import typer

from inline.__main__ import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "model" / "weights" / "README.md"])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ROW = re.compile(r"^\| `(myostream [a-z -]*[a-z])[^`]*`.*$", re.MULTILINE)
SOURCE = re.compile(
    r"\b(?:model|inline|calibration|bench|tests|docs)/[\w./-]+\.(?:py|md|json|toml|png|jpg)\b"
)


def identifier(page):
    return str(page.relative_to(ROOT))


def prose(page):
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    """Anchors of the headings, as GitHub makes them."""
    made = []
    for heading in HEADING.findall(prose(page)):
        plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        made.append(f"{plain}-{made.count(plain)}" if plain in made else plain)
    return made


def linked(page):
    """Target, file and anchor of every relative link of a page."""
    for target in LINK.findall(prose(page)):
        if not target.startswith(("https://", "http://", "mailto:")):
            name, _, anchor = target.partition("#")
            yield target, (page.parent / name).resolve() if name else page, anchor


def commands(group, name="myostream"):
    """Every command by its full name."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


def long_options(command):
    """Long names of the options of a command, but for those that are hidden and ``--help``."""
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    return {name for each in options for name in each.opts if name.startswith("--")} - {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    for target, file, anchor in linked(page):
        assert file.exists(), f"{target} does not exist"
        assert not anchor or anchor in anchors(file), f"{target} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_every_source_file_that_a_page_names_exists(page):
    named = set(SOURCE.findall(page.read_text(encoding="utf-8")))
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]


def test_links_lead_from_the_readme_to_every_page():
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            left += [file for _, file, _ in linked(page) if file.suffix == ".md"]
    assert set(DOCS.glob("*.md")) <= reached


def test_the_page_of_commands_has_every_command_with_its_options():
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    stated = {row[1]: set(re.findall(r"`(--[a-z-]+)`", row[0])) for row in ROW.finditer(page)}
    assert stated == {name: long_options(command) for name, command in commands(typer.main.get_command(app))}


def test_the_glossary_is_sorted_and_has_each_word_once():
    rows = re.findall(
        r"^\| (.+?) \| .+ \|$", (DOCS / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    words = [row.casefold() for row in rows[2:]]
    assert words == sorted(set(words))
