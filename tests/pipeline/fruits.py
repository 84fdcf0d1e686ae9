"""A folder of drawn fruits, as a person would lay out pictures that are not birds."""

import random
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"apple": "red", "banana": "yellow", "lime": "green", "ripe plum": "purple"}


def draw_fruits(folder: Path, pictures: int) -> Path:
    """`pictures` of each of four kinds, with two captions each; give the folder back."""
    chance = random.Random(0)
    for kind, colour in COLOURS.items():
        (folder / kind).mkdir(parents=True)
        for number in range(pictures):
            width, height = chance.randint(80, 120), chance.randint(80, 120)
            ground = chance.choice(["white", "grey", "tan"])
            image = Image.new("RGB", (width, height), ground)
            x, y, size = chance.randint(5, 20), chance.randint(5, 20), chance.randint(40, 55)
            ImageDraw.Draw(image).ellipse((x, y, x + size, y + size * 0.8), fill=colour)
            image.save(folder / kind / f"no {number}.{'png' if number % 3 == 0 else 'jpg'}")
            (folder / kind / f"no {number}.txt").write_text(
                f"a {colour} {kind} on a {ground} ground\nthis fruit is {colour}\n"
            )
    return folder
