"""Captions as letters: the 70-letter alphabet of the char-CNN-RNN, and how any text is brought to it.

Text is lower-cased, accents are taken off (é → e), runs of white space become one space. A character that is then still
outside the alphabet (漢, ☃) is read as the one letter `UNKNOWN`, so that it is neither dropped nor an error.
"""

import string
import unicodedata
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from stackgan.errors import UserError

LETTERS = string.ascii_lowercase + string.digits + string.punctuation + " "
PADDING, UNKNOWN = 0, len(LETTERS) + 1
ALPHABET_SIZE = UNKNOWN  # the known letters and UNKNOWN; padding is no letter

_INDEX = {letter: index for index, letter in enumerate(LETTERS, start=1)}


def normalise(text: str) -> str:
    """The text as the encoder reads it. Nothing but white space is a `UserError`."""
    decomposed = unicodedata.normalize("NFKD", text)
    plain = " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).lower().split())
    require_text(plain)
    return plain


def require_text(text: str) -> None:
    """Refuse what holds nothing but white space, by a `UserError`."""
    if not text.strip():
        raise UserError("the text is empty: describe a bird, as in 'a small red bird with a short beak'")


def letters(texts: Sequence[str], max_length: int, *, warn: bool = True) -> tuple[Tensor, Tensor]:
    """Indices of the letters, int64 [N, longest text], padded with 0, and the lengths, int64 [N].

    Text beyond `max_length` characters is cut off, with a warning unless `warn` is off.
    """
    plain = [normalise(text) for text in texts]
    long = [text for text in plain if len(text) > max_length]
    if long and warn:
        more = f" and {len(long) - 1} more" if len(long) > 1 else ""
        warnings.warn(f"only the first {max_length} characters are read of {long[0][:40]!r}…{more}", stacklevel=2)
    rows = [[_INDEX.get(letter, UNKNOWN) for letter in text[:max_length]] for text in plain]
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    indices = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.int64)
    for index, row in enumerate(rows):
        indices[index, : len(row)] = torch.tensor(row)
    return indices, lengths
