"""The flock's species: a body form and a colour for every part, and which of them are kept for testing.

Every fourth species is a test species. No two species have the same three main colours, while each colour, and each
pair of colours, occurs in its parts about as often as any other: a model that draws a test species well has put
together what it only saw apart.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, count, product

PALETTE = {
    "red": (198, 32, 40),
    "orange": (240, 128, 24),
    "yellow": (246, 208, 44),
    "green": (58, 142, 62),
    "blue": (40, 98, 196),
    "brown": (122, 76, 42),
    "black": (36, 36, 42),
    "white": (250, 250, 246),
    "grey": (122, 126, 132),
}
MAIN_PARTS = ("head", "wing", "belly")
MAIN_COLOURS = ("red", "yellow", "green", "blue", "brown", "black", "white", "grey")
BILL_COLOURS = ("orange", "black", "yellow", "grey", "red", "brown")
LEG_COLOURS = ("orange", "black", "grey", "yellow")
TEST_EVERY = 4

NOUNS = {
    "robin": ("Robin", "Wren", "Chat"),
    "finch": ("Finch", "Sparrow", "Bunting"),
    "jay": ("Jay", "Thrush", "Magpie"),
    "kingfisher": ("Kingfisher",),
    "raptor": ("Hawk", "Falcon"),
    "duck": ("Duck", "Teal"),
    "gull": ("Gull", "Tern"),
    "heron": ("Heron", "Egret"),
}
BILLS = {
    "robin": ("pointed",),
    "finch": ("cone", "pointed"),
    "jay": ("pointed", "curved"),
    "kingfisher": ("dagger",),
    "raptor": ("hooked",),
    "duck": ("flat",),
    "gull": ("hooked", "pointed"),
    "heron": ("dagger", "curved"),
}
CRESTED_FORMS = ("robin", "finch", "jay", "kingfisher", "duck", "heron")
PERCHING_FORMS = ("robin", "finch", "jay", "kingfisher")
LONG_TAILED_FORMS = ("robin", "finch", "jay", "raptor")
HAUNTS = (
    "Alpine", "Bay", "Cliff", "Dune", "Elfin", "Fen", "Garden", "Heath", "Island", "Jungle", "Karoo", "Lagoon", "Marsh",
    "Northern", "Orchard", "Prairie", "Quarry", "River", "Savanna", "Tundra", "Upland", "Valley", "Western", "Yucca",
)  # fmt: skip


@dataclass(frozen=True)
class Species:
    """`number` counts from 1; `name` is the folder name, "007.Blue_headed_Marsh_Wren"; colours are words of PALETTE."""

    number: int
    name: str
    form: str
    colours: dict[str, str]
    bill: str
    crest: bool
    eye_ring: str | None
    wing_bars: str | None
    long_tail: bool


def roster(count: int, seed: int, forms: Sequence[str] = tuple(NOUNS)) -> list[Species]:
    """The first `count` species of the flock `seed`, of these `forms`; a longer roster begins with the shorter one."""
    colours = _main_colours(seed)
    return [_species(n, forms[(n + n // len(forms)) % len(forms)], next(colours), seed) for n in range(1, count + 1)]


def _main_colours(seed: int) -> Iterator[tuple[str, ...]]:
    """The colours of head, wing and belly of species 1, 2, …: always those that its split has used the least so far."""
    triples = [triple for triple in product(MAIN_COLOURS, repeat=3) if len(set(triple)) > 1]
    random.Random(f"flock {seed} colours").shuffle(triples)
    used: dict[bool, Counter[object]] = {True: Counter(), False: Counter()}
    for number in count(1):
        uses = used[is_test(number)]
        best = min(triples, key=lambda t: [sum(uses[each] for each in what) for what in (_pairs(t), enumerate(t))])
        triples.remove(best)
        uses.update([*_pairs(best), *enumerate(best)])
        yield best


def _pairs(triple: Sequence[str]) -> list[object]:
    """Any two of its colours with their places."""
    return list(combinations(enumerate(triple), 2))


def is_test(number: int) -> bool:
    return number % TEST_EVERY == 0


def _species(number: int, form: str, main: tuple[str, ...], seed: int) -> Species:
    rng = random.Random(f"flock {seed} species {number}")

    def other_than(*colours: str, among: tuple[str, ...]) -> str:
        return rng.choice([colour for colour in among if colour not in colours])

    head, wing, belly = main
    colours = {
        "head": head,
        "wing": wing,
        "belly": belly,
        "bill": other_than(head, among=BILL_COLOURS),
        "legs": other_than(belly, among=LEG_COLOURS),
        "tail": rng.choice((wing, wing, head, "black")),
    }
    return Species(
        number=number,
        name=f"{number:03d}.{head.capitalize()}_headed_{rng.choice(HAUNTS)}_{rng.choice(NOUNS[form])}",
        form=form,
        colours=colours,
        bill=rng.choice(BILLS[form]),
        crest=form in CRESTED_FORMS and rng.random() < 0.5,
        eye_ring=other_than(head, among=("white", "yellow", "red", "orange")) if rng.random() < 0.4 else None,
        wing_bars=other_than(wing, among=("white", "yellow", "black")) if rng.random() < 0.4 else None,
        long_tail=form in LONG_TAILED_FORMS and rng.random() < 0.5,
    )
