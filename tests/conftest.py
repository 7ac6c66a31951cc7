"""Settings of hypothesis for all tests."""

from hypothesis import settings

# An example that compiles or loads takes seconds the first time, and any does on a host with other work.
settings.register_profile("myostream", deadline=None)
settings.load_profile("myostream")
