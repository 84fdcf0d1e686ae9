"""Ten captions of a bird in the manner of CUB's: lower case, plain, uneven, and true to what is drawn.

Most name the colours of head, wing and belly, which decide the picture; the others leave some out, as people do. The
bill's colour is named in a third, as in CUB's.
"""

import random
import re
from collections.abc import Sequence

from pipeline.flock.species import Species

CAPTIONS = 10
NAMING_ALL = 7  # at least so many of them name head, wing and belly

SIZES = {
    "robin": ("small", "tiny", "little"),
    "finch": ("small", "little"),
    "jay": ("medium sized",),
    "kingfisher": ("small",),
    "raptor": ("large",),
    "duck": ("medium sized",),
    "gull": ("medium sized",),
    "heron": ("large", "tall"),
}
BILL_WORDS = {
    "pointed": ("short pointed", "small pointy", "short sharp"),
    "cone": ("short thick", "stubby", "cone shaped"),
    "dagger": ("long pointed", "long straight", "long sharp"),
    "hooked": ("hooked", "short hooked"),
    "flat": ("flat", "broad flat"),
    "curved": ("long curved", "downward curved"),
}
BODIES = {
    "robin": ("round body", "plump body"),
    "raptor": ("strong body",),
    "heron": ("long neck", "long thin neck"),
}
POSTURES = {
    "perched": ("perched on a branch", "sitting on a branch"),
    "standing": ("standing on the ground", "standing on its {legs} legs"),
    "swimming": ("swimming on the water", "floating on the water"),
    "flying": ("flying", "with its wings raised in flight"),
}
WHOLE = (
    "this bird has a {head} {crown}, {wing} {wings} and a {belly} {breast}{end}",
    "a {size} bird with a {head} {crown}, a {belly} {breast} and {wing} {wings}{end}",
    "this is a {size} bird with {wing} {wings}, a {belly} {breast} and a {head} {crown}{end}",
    "the bird has a {belly} {breast}, {wing} {wings}, and a {head} {crown}{end}",
    "this bird has {wings} that are {wing}, a {breast} that is {belly} and a {crown} that is {head}{end}",
    "a {head} headed bird with {wing} {wings}, a {bill} {beak} and a {belly} {breast}{end}",
    "this {size} bird has a {head} {crown} with a {bill} {beak}, {wing} {wings} and a {belly} {breast}{end}",
    "its {crown} is {head}, its {wings} are {wing} and its {breast} is {belly}{end}",
    "a bird with {wing} {wings}, a {head} {crown} and a {bill_shape} {beak}, and a {belly} {breast}{end}",
    "this bird is {belly} on its {breast} and {wing} on its {wings}, with a {head} {crown}{end}",
    "{posture_first}, this bird shows a {head} {crown}, {wing} {wings} and a {belly} {breast}{end}",
    "this bird's {crown} is {head} and its {breast} is {belly}, while the {wings} are {wing}{end}",
    "a {size} bird {posture}, with a {head} {crown}, a {belly} {breast} and {wing} {wings}{end}",
)
PARTIAL = (
    "this bird has {wings} that are {wing} and has a {belly} {breast}{end}",
    "this bird has a {head} {crown} and a {bill_shape} {bill} {beak}{end}",
    "a {size} bird with a {belly} {breast} and a {bill_shape} {beak}{end}",
    "a {size} {posture_word} bird with a {head} {crown}{end}",
    "the bird has a {head} {crown} and {wing} {wings}{end}",
    "this {size} bird is {posture} and has a {bill_shape} {bill} {beak}{end}",
    "bird with {legs} legs, a {tail} tail and {wing} {wings}{end}",
    "a {belly} bellied bird with a {head} {crown}{end}",
)
SYNONYMS = {
    "crown": ("head", "head", "crown"),
    "wings": ("wings", "wings", "wings", "wing feathers"),
    "breast": ("belly", "belly", "breast", "chest", "underbelly"),
    "beak": ("bill", "beak"),
}


def describe(species: Species, pose: str, rng: random.Random) -> tuple[str, ...]:
    """`CAPTIONS` sentences about one picture, in no order."""
    whole = rng.randint(NAMING_ALL, NAMING_ALL + 1)
    templates = rng.sample(WHOLE, whole) + rng.sample(PARTIAL, CAPTIONS - whole)
    rng.shuffle(templates)
    return tuple(_sentence(template, species, pose, rng) for template in templates)


def _sentence(template: str, species: Species, pose: str, rng: random.Random) -> str:
    posture = rng.choice(POSTURES[pose]).format(**species.colours)
    words = {name: rng.choice(choices) for name, choices in SYNONYMS.items()}
    words |= species.colours
    words |= {
        "size": rng.choice(SIZES[species.form]),
        "bill_shape": rng.choice(BILL_WORDS[species.bill]),
        "posture": posture,
        "posture_first": posture,
        "posture_word": {"perched": "perching"}.get(pose, pose),
    }
    words["end"] = rng.choice(_endings(species, pose, template, words)).format(**words) if rng.random() < 0.5 else ""
    sentence = re.sub(r"\ba (?=[aeiou])", "an ", template.format(**words))
    return sentence + rng.choice((".", ".", ""))


def _endings(species: Species, pose: str, template: str, words: dict[str, str]) -> Sequence[str]:
    """Further true things to say that the template does not say already."""
    endings = []
    if "{beak}" not in template:
        endings += [", and a {bill_shape} {beak}", ", with a {bill} {beak}", ", and a {bill_shape} {bill} {beak}"] * 2
    if "{legs}" not in template and pose in ("perched", "standing") and "legs" not in words["posture"]:
        endings.append(", and long {legs} legs" if species.form == "heron" else ", with {legs} legs")
    if species.crest:
        endings += [", and a crest on its head", ", with a pointed crest"]
    if species.wing_bars:
        endings += [f", with {species.wing_bars} wing bars", f", and two {species.wing_bars} wingbars"]
    if species.eye_ring:
        endings += [f", and a {species.eye_ring} eye ring", f", with {species.eye_ring} eyerings"]
    if "{tail}" not in template:
        endings.append(", and a long {tail} tail" if species.long_tail else ", with a {tail} tail")
    endings += [f", and a {body}" for body in BODIES.get(species.form, ())]
    return endings
