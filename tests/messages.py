"""Exact messages, of which a library may word a part."""


def agrees(said: str, expected: str) -> bool:
    """Whether the line is the one expected, where `…` stands for words of a library."""
    before, *others = expected.split("…")
    if not others:
        return said == expected
    return said.startswith(before) and said.endswith(others[-1]) and all(part in said for part in others)
