"""The words that a model's training captions hold: what it can be expected to understand.

Words are read as the text encoder reads text: without case and accents, and "red-headed" is two.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from stackgan.errors import UserError, make_anew
from stackgan.text.alphabet import normalise

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_WORD_OR_SIGN = re.compile(rf"{_WORD.pattern}|[^\x00-\x7f\s]+")


def words_of(text: str) -> list[str]:
    """The words of a text in their order. Nothing but white space is a `UserError`."""
    return _WORD.findall(normalise(text))


class Vocabulary:
    """A set of words; as a file, one a line in alphabetical order."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = frozenset(words)

    @classmethod
    def of(cls, captions: Iterable[str]) -> "Vocabulary":
        """All words of some captions."""
        return cls(word for caption in captions for word in words_of(caption))

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read what `save` wrote."""
        try:
            return cls(path.read_text(encoding="utf-8").split())
        except FileNotFoundError:
            raise UserError(f"{path} is missing: run `dvc repro evaluate` to ship the model anew") from None
        except UnicodeDecodeError:
            raise UserError(f"{path} is no list of words: {make_anew('evaluate')}") from None

    def save(self, path: Path) -> None:
        path.write_text("".join(f"{word}\n" for word in sorted(self.words)), encoding="utf-8")

    def unknown(self, text: str) -> list[str]:
        """The words of `text` that are none of these, each once, in their order.

        Signs that no keyboard of the captions' writers had (🐦, →) count as words, and so does a text without any.
        """
        plain = normalise(text)
        return [word for word in dict.fromkeys(_WORD_OR_SIGN.findall(plain) or [plain]) if word not in self.words]
