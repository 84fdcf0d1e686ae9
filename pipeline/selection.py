"""Which species, and which of their pictures train and test: pure choices, no disk."""

import difflib
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Literal

from pipeline.manifest import Picture
from stackgan.errors import UserError

SpeciesChoice = int | Literal["all"] | Sequence[int | str]
Split = Literal["zero-shot", "by-image"]

_SHOWN = 3


def choose_species(choice: SpeciesChoice, known: Mapping[int, str]) -> list[int]:
    """Numbers of the chosen species, ascending.

    `choice` is the first N by number, `all`, or a list of numbers, names and globs. A name is known with or without its
    number, with underscores or spaces, in any case: "001.Black_footed_Albatross", "black footed albatross", "*tross".
    An unknown one is a `UserError` that names the nearest.
    """
    if choice == "all":
        return sorted(known)
    if isinstance(choice, int):
        if choice > len(known):
            raise UserError(
                f"species={choice}: the archives know {len(known)} species; choose at most that many, or all"
            )
        return sorted(known)[:choice]
    if not choice:
        raise UserError("species=[] chooses nothing: give a number, all, or a list of names")
    return sorted({number for item in choice for number in _matches(item, known)})


def _matches(item: int | str, known: Mapping[int, str]) -> list[int]:
    if isinstance(item, int):
        if item not in known:
            raise UserError(f"species: there is no number {item}; the archives know {min(known)} to {max(known)}")
        return [item]
    pattern = _spelling(item)
    found = [
        number
        for number, name in known.items()
        if fnmatchcase(_spelling(name), pattern) or fnmatchcase(_spelling(common_name(name)), pattern)
    ]
    if not found:
        raise UserError(f"species: {item!r} is unknown{_nearest(pattern.strip('*?'), known.values())}")
    return found


def common_name(species: str) -> str:
    """Name without its number: "Black_footed_Albatross"."""
    return species.partition(".")[2] or species


def _spelling(name: str) -> str:
    return name.casefold().replace("_", " ")


def _nearest(spelling: str, names: Iterable[str]) -> str:
    """Known names like `spelling`, whole or by their last word ("cuckoos")."""
    by_spelling: dict[str, list[str]] = defaultdict(list)
    for name in map(common_name, names):
        for known in {_spelling(name), *_spelling(name).split()[-1:]}:
            by_spelling[known].append(name)
    close = difflib.get_close_matches(spelling, by_spelling, n=_SHOWN, cutoff=0.6)
    nearest = list(dict.fromkeys(name for known in close for name in by_spelling[known]))[:_SHOWN]
    return f": did you mean {' or '.join(nearest)}?" if nearest else ""


def require_pictures(chosen: Sequence[int], known: Mapping[int, str], pictures: Iterable[Picture]) -> None:
    """Raise a `UserError` that lists the chosen species of which the archive has no picture."""
    if missing := sorted(set(chosen) - {picture.species_id for picture in pictures}):
        first = ", ".join(known[number] for number in missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
        raise UserError(
            f"the images archive has no pictures of {len(missing)} of the {len(chosen)} chosen species, "
            f"numbers {_ranges(missing)} ({first}): choose others, or fetch the whole archive"
        )


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in short: "3, 41-200"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def split_pictures(pictures: Sequence[Picture], choice: SpeciesChoice, split: Split, seed: int) -> list[Picture]:
    """Give every picture its split: `zero-shot` keeps that of the archives, whose train and test share no species;
    `by-image` draws a quarter of each species for test.

    A split without train or test pictures is a `UserError` with the command that has both.
    """
    divided = _by_image(pictures, seed) if split == "by-image" else list(pictures)
    empty = {"train", "test"} - {picture.split for picture in divided}
    if not empty:
        return divided
    if split == "zero-shot":
        command = f"dvc exp run -S {_override(choice)} -S split=by-image"
        reason = f"of these species the zero-shot split has only {divided[0].split} pictures"
    else:
        command = "dvc exp run -S species=all -S split=by-image"
        reason = "each of these species has a single picture"
    raise UserError(f"no {' and no '.join(sorted(empty))} pictures: {reason}; use `{command}`")


def _by_image(pictures: Sequence[Picture], seed: int) -> list[Picture]:
    """A quarter of each species, at least one picture, is for test; drawn by lot from seed and names alone, so that
    other species and other versions of any library change nothing."""
    groups: dict[int, list[Picture]] = defaultdict(list)
    for picture in pictures:
        groups[picture.species_id].append(picture)
    test: set[str] = set()
    for group in groups.values():
        group.sort(key=lambda picture: lot(seed, picture.name))
        test.update(picture.name for picture in group[: max(len(group) // 4, 1)] if len(group) > 1)
    return [replace(picture, split="test" if picture.name in test else "train") for picture in pictures]


def lot(seed: int, name: str) -> bytes:
    """A random key for sorting that depends on nothing but its arguments."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def _override(choice: SpeciesChoice) -> str:
    return f"species={choice}" if isinstance(choice, int | str) else f"'species={json.dumps(list(choice))}'"
