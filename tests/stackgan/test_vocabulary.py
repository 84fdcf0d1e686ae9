"""Which words a model knows."""

from pathlib import Path

import pytest

from stackgan.errors import UserError
from stackgan.vocabulary import Vocabulary, words_of


def test_words_are_read_as_the_text_encoder_reads_them() -> None:
    assert words_of("This BIRD's  red-headed,\nwith a café_brown\tbelly.") == [
        *("this", "bird's", "red", "headed", "with", "a", "cafe", "brown", "belly")
    ]
    assert words_of("2 鳥 …") == ["2", "鳥"]


def test_unknown_words_come_once_in_their_order() -> None:
    vocabulary = Vocabulary.of(["a small red bird", "this bird has brown wings"])
    assert vocabulary.unknown("A Red bird") == []
    assert vocabulary.unknown("a penguin with turquoise wings, a turquoise penguin") == ["penguin", "with", "turquoise"]
    assert vocabulary.unknown("a red 🐦→bird!") == ["🐦→"]
    assert vocabulary.unknown("?!") == ["?!"]
    with pytest.raises(UserError, match="empty"):
        vocabulary.unknown(" ")


def test_it_survives_the_disk(tmp_path: Path) -> None:
    vocabulary = Vocabulary.of(["red 鳥 bird", "a bird"])
    vocabulary.save(tmp_path / "words.txt")
    assert (tmp_path / "words.txt").read_text(encoding="utf-8") == "a\nbird\nred\n鳥\n"
    assert Vocabulary.load(tmp_path / "words.txt").words == vocabulary.words
    (tmp_path / "words.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"words\.txt is no list of words"):
        Vocabulary.load(tmp_path / "words.txt")
