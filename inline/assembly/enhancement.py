"""Recognition of native and post-contrast images by what their sender states."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from inline.data.series import Enhancement

_LONGEST: Final = 1024
"""Characters of a description that are read."""
_SEPARATED: Final = r"(?<![a-z]){}(?![a-z])"
_OF_CONTRAST: Final = (
    r"(?![\s_.-]*+(?:stress|exerci|adenosin|regadenoson|dobutamin|ablat|op(?![a-z])|operat|surg|interven|procedur"
    r"|process|transplant|therap|treat))"
)
"""End of ``pre`` and ``post`` that may state the contrast agent: those of stress and treatment do not."""
_NATIVE: Final = re.compile(
    _SEPARATED.format(
        rf"(?:native|nativ|nat|pre{_OF_CONTRAST}|un-?enhanced|non-?enhanced"
        r"|(?:pre|non|no|without|w/o|vor|ohne)[\s_.-]*+(?:contrast|con|gd|gad\w*+|km|kontrastmittel|gbca|ce))"
    )
)
_POST: Final = re.compile(
    _SEPARATED.format(
        rf"(?:post{_OF_CONTRAST}"
        r"|post[\s_.-]*+(?:contrast|con|gd|gad\w*+|km|gbca|ce)"
        r"|(?:after|with|nach|mit)[\s_.-]*+(?:contrast|gd|gad\w*+|km|kontrastmittel|gbca|ce))"
    )
)
_NO_AGENT: Final = re.compile(
    r"[\W_]*+(?:no(?!\.?\s*+\d)|none|non(?![\W_]*+ioni)|not|nil|n|n/?a|without|w/o|kein\w*+|nein|ohne|sans|aucun|sin"
    r"|senza)(?![^\W_])"
)
"""Word of denial at the beginning; neither a number, as in No. 3, nor non-ionic agents."""


def stated_enhancement(descriptions: Iterable[str], agents: Iterable[str]) -> tuple[Enhancement | None, str]:
    """Return whether images are native or post-contrast, and where that is stated; None where it is not.

    Words of the first description that has any decide; then a named contrast agent. No agent proves nothing:
    many senders name none.

    Args:
        descriptions: of the series, the most trusted first.
        agents: contrast agents that the headers name.
    """
    for text in descriptions:
        low = text[:_LONGEST].lower()
        post, native = bool(_POST.search(low)), bool(_NATIVE.search(low))
        if native and not post:
            return Enhancement.NATIVE, "series description"
        if post and not native:
            return Enhancement.POST_CONTRAST, "series description"
    if any(map(_names_agent, agents)):
        return Enhancement.POST_CONTRAST, "contrast agent in the header"
    return None, ""


def _names_agent(text: str) -> bool:
    low = text[:_LONGEST].lower()
    return any(map(str.isalpha, low)) and not _NO_AGENT.match(low)
