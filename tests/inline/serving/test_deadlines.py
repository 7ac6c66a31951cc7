"""Limits on the time of a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.errors import ProtocolError
from inline.serving.deadlines import Patience

TIMES = st.floats(0, 1e4)
PATIENCE = Patience(60.0, 1000.0)


@given(TIMES, TIMES, st.integers(0, 10**9))
def test_a_message_must_come_at_the_least_rate_and_without_long_silence(waited, silent, received):
    good = silent <= 60.0 and waited <= 60.0 + received / 1000.0
    if good:
        PATIENCE.check_rest(waited, silent, received)
    else:
        with pytest.raises(ProtocolError, match="message"):
            PATIENCE.check_rest(waited, silent, received)


@given(TIMES, TIMES, st.integers(-10, 10**9))
def test_a_message_must_be_taken_alike(waited, still, taken):
    if still <= 60.0 and waited <= 60.0 + max(taken, 0) / 1000.0:
        PATIENCE.check_taken(waited, still, taken)
    else:
        with pytest.raises(TimeoutError, match="it took"):
            PATIENCE.check_taken(waited, still, taken)
