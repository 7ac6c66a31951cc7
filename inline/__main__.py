"""``python -m inline`` is the ``myostream`` command."""

from inline.cli import app

app()
