"""The Python API under the name of the distribution: ``import myostream`` is ``import inline``.

A module of its own, since a second name for the folder ``inline/`` would load all its modules twice.
"""

from typing import TYPE_CHECKING

from inline import __all__ as __all__

if TYPE_CHECKING:
    from inline import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import inline

        return getattr(inline, name)
