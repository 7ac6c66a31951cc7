"""The buffer of received bytes beside a plain bytearray."""

from hypothesis import given
from hypothesis import strategies as st

from inline.mrd.protocol import Buffer

STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "peek", "drop"]), st.integers(0, 200_000), st.integers(0, 200_000)),
    max_size=30,
)


@given(STEPS)
def test_it_holds_what_a_bytearray_holds(steps):
    buffer, expected = Buffer(), bytearray()
    for step, a, b in steps:
        if step == "append":
            data = bytes([a % 251, b % 251]) * (a // 2)
            buffer.append(data)
            expected += data
        else:
            start = a % (len(expected) + 1)
            size = b % (len(expected) - start + 1)
            if step == "peek":
                assert buffer.peek(start, size) == expected[start : start + size]
            else:
                buffer.drop(start)
                del expected[:start]
        assert len(buffer) == len(expected)
    assert buffer.peek(0, len(buffer)) == expected


def test_large_parts_are_joined_from_bytes_alone():
    # bytes.join lets other threads run, where every part is of type bytes.
    buffer = Buffer()
    pieces = [bytes(1 << 20) for _ in range(3)]
    for piece in pieces:
        buffer.append(piece)
    buffer.append(b"x" * 10)
    assert all(type(piece) is bytes for piece in buffer._pieces)
    assert buffer.peek(0, 1 << 20) is pieces[0]
