"""Pictures for people: sheets of tiles with legible captions, and curves. Equal input makes equal bytes."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.files import atomic_write

Picture = Image.Image | NDArray[np.uint8]

_PAPER, _INK, _FAINT = (252, 251, 248), (38, 38, 42), (110, 110, 118)
_MARGIN, _GAP, _CAPTION_WIDTH = 24, 6, 240
_TITLE_SIZE, _TEXT_SIZE, _LEADING = 22, 14, 1.3
_LONGEST = 1000  # characters of a text that are looked at to see how many there is room for


def sheet(
    rows: Sequence[Sequence[Picture]],
    *,
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    title: str | None = None,
    tile: int | None = None,
) -> Image.Image:
    """Lay pictures out in rows, with a wrapped title at the left of each row and one above each column.

    `rows` hold Pillow images or uint8 [H, W, 3] arrays; each is scaled to `tile` × `tile` pixels (the size of
    the first picture where `tile` is None). Rows may differ in length. Row titles that would be higher than
    the row end in an ellipsis.
    """
    side = tile or _image(rows[0][0]).width
    columns = max(len(row) for row in rows)
    left = _MARGIN + (_CAPTION_WIDTH + 16 if row_titles else 0)
    top = _MARGIN + (round(_TITLE_SIZE * 1.9) if title else 0) + (round(_TEXT_SIZE * 1.9) if column_titles else 0)
    width = left + columns * (side + _GAP) - _GAP + _MARGIN
    height = top + len(rows) * (side + _GAP) - _GAP + _MARGIN
    canvas = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        font = _font(_TITLE_SIZE)
        draw.text((_MARGIN, _MARGIN - 4), _cut(title, font, width - 2 * _MARGIN), _INK, font)
    for column, text in enumerate(column_titles or ()):
        position = (left + column * (side + _GAP), top - round(_TEXT_SIZE * 1.6))
        draw.text(position, _cut(text, _font(_TEXT_SIZE), side), _FAINT, _font(_TEXT_SIZE))
    for index, row in enumerate(rows):
        y = top + index * (side + _GAP)
        if row_titles:
            _paragraph(draw, row_titles[index], (_MARGIN, y), _CAPTION_WIDTH, side)
        for column, picture in enumerate(row):
            scaled = _image(picture).resize((side, side), Image.Resampling.LANCZOS)
            canvas.paste(scaled, (left + column * (side + _GAP), y))
    return canvas


def save_png(image: Image.Image, path: Path) -> None:
    """Write a PNG atomically; equal pixels make equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)  # as small as `optimize` makes it, in an eighth of the time
    atomic_write(path, buffer.getvalue())


def curves(path: Path, x: Sequence[float], panels: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """Draw one panel per entry of `panels` (panel title → line name → values over `x`) side by side as a PNG."""
    # The object interface without pyplot: no global state, no display.
    from matplotlib.figure import Figure

    red, green, blue = (value / 255 for value in _PAPER)
    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained", facecolor=(red, green, blue))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (panel, lines) in zip(axes, panels.items(), strict=True):
        for name, values in lines.items():
            # A line needs two points: one epoch alone would leave the panel empty.
            axis.plot(x, values, label=name, linewidth=1.6, marker="o" if len(x) == 1 else None)
        axis.set_title(panel, loc="left", fontsize=11)
        axis.set_xlabel("epoch")
        axis.locator_params(axis="x", integer=True, min_n_ticks=1)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(
            frameon=False,
            fontsize=9,
            ncols=4,
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.17),
            columnspacing=1,
            handlelength=1,
        )
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    atomic_write(path, buffer.getvalue())


def _image(picture: Picture) -> Image.Image:
    return picture.convert("RGB") if isinstance(picture, Image.Image) else Image.fromarray(picture)


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _paragraph(draw: ImageDraw.ImageDraw, text: str, position: tuple[int, int], width: int, height: int) -> None:
    font, line_height = _font(_TEXT_SIZE), round(_TEXT_SIZE * _LEADING)
    lines = _wrap(text[:_LONGEST], font, width)
    visible = max(1, height // line_height)
    if len(lines) > visible:
        lines = [*lines[: visible - 1], _cut(lines[visible - 1] + " …", font, width)]
    draw.multiline_text(position, "\n".join(lines), _INK, font, spacing=line_height - _TEXT_SIZE)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
