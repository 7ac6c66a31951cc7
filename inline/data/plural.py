"""Number and noun."""


def counted(number: int, one: str, many: str = "", *, none: str = "0") -> str:
    """Return a number with its noun: ``1 image``, ``2 images``; ``many`` is an irregular plural."""
    return f"{number or none} {one if number == 1 else many or one + 's'}"
