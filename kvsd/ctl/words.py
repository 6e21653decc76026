"""
Numbers as people read them, and text that is safe to show.
"""

UNITS = ("KiB", "MiB", "GiB", "TiB")
UNKNOWN = "?"


def count(number: float | None) -> str:
    """A number with commas, or a question mark where nobody knows it."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def things(number: int | None, one: str, many: str = "") -> str:
    """A number of things: ``1 key``, ``2 keys``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def size(number_bytes: float | None) -> str:
    """A number of bytes in the unit that suits it."""
    if number_bytes is None:
        return UNKNOWN
    if number_bytes < 1024:
        return f"{number_bytes:.0f} B"
    for unit in UNITS:
        number_bytes /= 1024
        if number_bytes < 1024 or unit == UNITS[-1]:
            break
    return f"{number_bytes:,.1f} {unit}"


def duration(seconds: float | None) -> str:
    """A time span, to the precision that matters: ``0.3 s``, ``42 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def harmless(text: str, keep: str = "") -> str:
    r"""Text whose control characters are shown (``\x1b``), so that nothing that was stored can steer a terminal."""
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def one_line(text: str) -> str:
    """Text without line breaks or control characters."""
    return harmless(" ".join(text.split()))
