"""Imports go down: no module imports one of a higher layer, wherever in the file the import stands.

The layers of ``inline/`` are the rows of the table in ``docs/architecture.md``.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("| in `inline/` |")[2]
ROWS = [re.findall(r"`(\w[\w/]*)`", row.split("|")[1]) for row in TABLE.partition("\n\n")[0].splitlines()[2:]]
INLINE = [
    [f"inline.{name.strip('/').replace('/', '.')}".removesuffix(".__init__") for name in row] for row in ROWS
]
LAYERS = (["model"], *INLINE[:-1], ["calibration"], ["bench"], INLINE[-1])
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def rank(module):
    """Rank of the longest name that the module lies in; None for other people's."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((RANKS[name] for name in names if name in RANKS), None)


def imports(file):
    """Every name that a file imports, with the line; of ``from a import b`` both a and a.b."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def modules():
    for folder in ("model", "inline", "calibration", "bench"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            yield file, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_imports_go_down():
    upwards = [
        f"{file.relative_to(ROOT)}:{line} imports {imported}"
        for file, module in modules()
        for imported, line in imports(file)
        if rank(imported) is not None and rank(imported) > rank(module)
    ]
    assert upwards == []


def test_every_module_of_inline_has_a_layer_of_its_own():
    """Only the package's own file is the API; a new room must be put in the list above."""
    unplaced = {module for _, module in modules() if rank(module) == RANKS["inline"]}
    assert unplaced == {"inline", "inline._alias.myostream"}
