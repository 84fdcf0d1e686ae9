"""Command `generate`: draw birds from sentences, or the way from one sentence to another.

Reads   a shipped model, by default models/<preset>/stackgan; sentences from the command line, a file or stdin
Writes  a sheet with the sentences beside their birds (.png, .jpg, .webp), or a folder of single pictures at their own
        size, or an animation (.gif, .webp)

A picture depends on its sentence, the seed and its number alone, so that neither more pictures nor other sentences
change it. Both stages draw from the same noise.
"""

import io
import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from pipeline import console
from pipeline.files import atomic_write, require_writable, require_writable_file
from pipeline.pictures import sheet
from pipeline.shipped_model import model_folder
from stackgan.errors import UserError

if TYPE_CHECKING:
    from stackgan import StackGAN

STDIN = Path("-")
_JPEG: dict[str, Any] = {"quality": 95, "subsampling": 0}
_WEBP: dict[str, Any] = {"quality": 92}
SHEETS = {".png": {"compress_level": 4}, ".jpg": _JPEG, ".jpeg": _JPEG, ".webp": _WEBP}
ANIMATIONS = (".gif", ".webp")
LONGEST_SENTENCE, LARGEST_FILE = 1000, 1_000_000  # characters, bytes
MOST_PICTURES, MOST_ROWS = 1000, 60  # at once; of a sheet, within what a WebP file can hold
TILES = {1: 128, 2: 256}
STEPS, STEP_MS, END_MS = 32, 50, 700  # frames one way, the time that each is shown, and that both ends are


@dataclass(frozen=True)
class Row:
    """Pictures of the sentence that was given as the `number`th, by one stage."""

    sentence: str
    number: int
    stage: int

    @property
    def title(self) -> str:
        return f"Stage {'I' * self.stage}: {self.sentence}"

    def file_name(self, count: int) -> str:
        """As in 001-a-small-red-bird-stage2-01.png: in the order of a listing, and telling."""
        beginning = "-".join(re.findall(r"\w+", self.sentence.lower()))[:48].rstrip("-")
        return f"{self.number:03}-{beginning}-stage{self.stage}-{count:02}.png"


def sentences(given: Sequence[str], file: Path | None = None) -> list[str]:
    """All sentences given: `-` among them stands for the lines of stdin, and those of `file` follow."""
    found: list[str] = []
    for sentence in given:
        found += _lines(STDIN) if sentence == str(STDIN) else [sentence]
    found += _lines(file) if file else []
    if not found:
        raise UserError("nothing to draw: give a sentence in quotes, --file FILE, or - to read from stdin")
    return [checked(sentence, number) for number, sentence in enumerate(found, start=1)]


def draw(
    wanted: Sequence[str],
    output: Path,
    *,
    folder: Path | None = None,
    number: int = 4,
    seed: int = 0,
    stages: Sequence[int] = (2,),
    truncation: float = 1.0,
) -> None:
    """Write `number` pictures of each sentence: a sheet or, if `output` is a folder or has no suffix, single files."""
    rows = [Row(sentence, index, stage) for index, sentence in enumerate(wanted, start=1) for stage in stages]
    singly = output.is_dir() or not output.suffix
    if not singly:
        _require_suffix(
            output,
            tuple(SHEETS),
            "a name without an ending is a folder, for single pictures, and an animation wants --to",
        )
        if len(rows) > MOST_ROWS:
            raise UserError(f"a sheet of {len(rows)} rows is too high, {MOST_ROWS} is the most: give a folder instead")
    if len(rows) * number > MOST_PICTURES:
        raise UserError(f"{len(rows) * number} pictures are too many at once: {MOST_PICTURES} is the most")
    (require_writable if singly else require_writable_file)(output)
    model = _load(folder, wanted)
    drawn = [
        model.generate([row.sentence] * number, seed=seed, stage=row.stage, truncation=truncation)
        for row in console.track(rows, "rows of pictures")
    ]
    if singly:
        for row, pictures in zip(rows, drawn, strict=True):
            for count, picture in enumerate(pictures, start=1):
                _save(picture, output / row.file_name(count))
    else:
        titles = [row.title if len(stages) > 1 else row.sentence for row in rows]
        _save(sheet(drawn, row_titles=titles, tile=TILES[max(stages)]), output)
    console.info(f"wrote {output}")


def animate(
    first: str,
    second: str,
    output: Path,
    *,
    folder: Path | None = None,
    seed: int = 0,
    stage: int = 2,
    truncation: float = 1.0,
) -> None:
    """Write one bird that changes from the first sentence to the second and back, for ever."""
    _require_suffix(output, ANIMATIONS, "--to makes an animation")
    require_writable_file(output)
    model = _load(folder, [first, second])
    way = model.interpolate(first, second, STEPS, seed=seed, stage=stage, truncation=truncation)
    there = [END_MS, *[STEP_MS] * (STEPS - 2)]
    _save_animation([*way, *way[-2:0:-1]], [*there, END_MS, *there[1:]], output)
    console.info(f"wrote {output}")


def _lines(path: Path) -> list[str]:
    """The lines of a file that are not blank; none at all is a `UserError`."""
    try:
        if path == STDIN and sys.stdin is None:
            raise UserError("stdin is closed: give a sentence in quotes, or --file FILE")
        with nullcontext(sys.stdin.buffer) if path == STDIN else path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    name = "stdin" if path == STDIN else path
    if len(content) > LARGEST_FILE:
        raise UserError(f"{name} is too long: a sentence a line, {LARGEST_FILE:,} bytes at most")
    try:
        lines = [line for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise UserError(f"{name} is not text in UTF-8: a sentence a line is wanted") from None
    if not lines:
        raise UserError(f"{name} holds no sentence: a sentence a line is wanted")
    return lines


def checked(sentence: str, number: int) -> str:
    """The sentence given as the `number`th on one line; an empty or an endless one is a `UserError`."""
    sentence = " ".join(sentence.split())
    if not sentence:
        raise UserError(f"sentence {number} is empty: describe a bird, as in 'a small red bird with a short beak'")
    if len(sentence) > LONGEST_SENTENCE:
        raise UserError(f"sentence {number} has {len(sentence)} characters: {LONGEST_SENTENCE} is the most")
    return sentence


def _load(folder: Path | None, wanted: Sequence[str]) -> "StackGAN":
    """The model, and a warning for words that it never read."""
    path = model_folder(folder)
    from stackgan import StackGAN  # here, since torch takes seconds and mistakes above deserve an answer at once

    model = StackGAN.from_pretrained(path)
    unknown = list(dict.fromkeys(word for sentence in wanted for word in model.unknown_words(sentence)))
    if unknown:
        more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        console.warn(f"no caption in training held {', '.join(unknown[:10])}{more}: expect the model to guess")
    return model


def _require_suffix(output: Path, known: Sequence[str], otherwise: str) -> None:
    if output.suffix.lower() not in known:
        raise UserError(f"{output} must end in {', '.join(known[:-1])} or {known[-1]}: {otherwise}")


def _save(picture: Image.Image, path: Path) -> None:
    buffer = io.BytesIO()
    suffix = path.suffix.lower()
    picture.save(buffer, Image.registered_extensions()[suffix], **SHEETS[suffix])
    atomic_write(path, buffer.getvalue())


def _save_animation(frames: Sequence[Image.Image], milliseconds: list[int], path: Path) -> None:
    form, options = "WEBP", _WEBP
    if path.suffix.lower() == ".gif":
        form, options, frames = "GIF", {}, _with_one_palette(frames)
    buffer = io.BytesIO()
    more = frames[1:]
    frames[0].save(buffer, form, save_all=True, append_images=more, duration=milliseconds, loop=0, **options)
    atomic_write(path, buffer.getvalue())


def _with_one_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """A palette of its own for each frame of a GIF would make the ground flicker."""
    side = frames[0].width
    strip = Image.new("RGB", (side * len(frames), side))
    for index, frame in enumerate(frames):
        strip.paste(frame, (index * side, 0))
    palette = strip.quantize(256, Image.Quantize.MEDIANCUT)
    return [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
