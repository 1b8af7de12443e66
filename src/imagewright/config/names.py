"""The nearest right name to a wrong one."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(wrong: str, known: Iterable[str], count: int = 3) -> str:
    """A remedy for a misspelt name: `did you mean ...?`, or all that are known where none is near."""
    names = sorted(set(known))
    if near := get_close_matches(wrong.lower(), names, n=count, cutoff=0.5):
        return f"did you mean {' or '.join(repr(name) for name in near)}?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"known names: {shown or 'none'}"
