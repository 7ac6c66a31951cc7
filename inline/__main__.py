"""``python -m inline`` is the ``myostream`` command."""

from inline.cli.commands import app

app()
