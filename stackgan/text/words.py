"""Facts of captions: what an embedding must let one read, so that it tells a bird's parts and not just its species."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

import torch
from torch import Tensor

LIMIT = 2048
REACH = 3
_SMALL_WORDS = """
a an the this that these those is are was has have had having its it of on in to from at by for as s be been which who
there their they very
"""
STOP = frozenset(_SMALL_WORDS.split())
_PHRASE = re.compile(r"[,.;:()]|\b(?:and|with|while|but|or)\b")


class Words:
    """The most frequent words of the training captions, and pairs of words that stand together in a phrase."""

    def __init__(self, captions: Sequence[str], limit: int = LIMIT) -> None:
        counts = Counter(word for caption in captions for word in sorted(words_of(caption)))
        # Sorted by count, then by first appearance: most_common is stable.
        self.index = {word: column for column, (word, _) in enumerate(counts.most_common(limit))}
        present = torch.tensor([counts[word] for word in self.index], dtype=torch.float32)
        self.weight = torch.log1p(len(captions) / present)

    def __len__(self) -> int:
        return len(self.index)

    def targets(self, captions: Iterable[str]) -> Tensor:
        """What to read from each caption: float32 [N, words], rows of sum 1 in which rare words weigh more (tf-idf).

        A caption without a known word has a row of zeros.
        """
        rows = [sorted(self.index[word] for word in words_of(caption) if word in self.index) for caption in captions]
        targets = torch.zeros(len(rows), len(self))
        for row, columns in enumerate(rows):
            targets[row, columns] = self.weight[columns]
        return targets / targets.sum(1, keepdim=True).clamp_min(1e-6)


def words_of(caption: str) -> set[str]:
    """Words of a caption, and pairs in either order: "a red head" and "its head is red" both hold "head red"."""
    found: set[str] = set()
    for phrase in _PHRASE.split(caption.lower()):
        words = [word for word in re.findall(r"[a-z]+", phrase) if word not in STOP]
        found.update(words)
        for (i, first), (j, second) in combinations(enumerate(words), 2):
            if j - i <= REACH:
                found.add(" ".join(sorted((first, second))))
    return found
