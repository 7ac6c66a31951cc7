"""Mutations of the corpus, as a strategy of hypothesis."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"
_PIECES = (
    b"\0", b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0" * 16,
    b"<a>", b"</a>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&#0;", b"]]>", b"\xff\xfe", b"\xfe\xff",
    b"{", b"[" * 200, b'"', b"\\ud800", b"nan", b"1e999", b"-1", b" " * 200, b"T2prep", b"inf",
)  # fmt: skip

_EDITS = st.lists(
    st.tuples(
        st.integers(0, 1 << 16),
        st.sampled_from(("put", "insert", "delete", "repeat", "flip", "cut")),
        st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(_PIECES)),
    ),
    max_size=8,
)


def seeds(target: str) -> list[bytes]:
    """Return the corpus of a target."""
    return [file.read_bytes() for file in sorted((CORPUS / target).iterdir())]


def mutated(target: str) -> st.SearchStrategy[bytes]:
    """Return mutated members of a target's corpus, and some bytes that are nothing of the kind."""
    return st.one_of(
        st.builds(_edited, st.sampled_from(seeds(target)), _EDITS),
        st.builds(_edited, st.sampled_from(seeds(target)), _EDITS),
        st.binary(max_size=512),
    )


def _edited(seed: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    data = bytearray(seed)
    for number, kind, piece in edits:
        at = number % (len(data) + 1)
        match kind:
            case "put":
                data[at : at + len(piece)] = piece
            case "insert":
                data[at:at] = piece
            case "delete":
                del data[at : at + len(piece)]
            case "repeat":
                data[at:at] = data[at : at + 64 * len(piece)][:4096]
            case "flip" if data:
                data[at % len(data)] ^= 1 << (number % 8)
            case "cut" if number % 5 == 0:
                del data[at:]
    return bytes(data[: 1 << 16])
