"""One stage's exam: the real pictures of its size, and how an artist is graded who draws for their captions."""

from pathlib import Path

import torch

from pipeline.evaluate_config import LEAST_PICTURES, EvaluateConfig
from pipeline.evaluation_scores import Scores, Yardstick, average, chance, compare, papers_scores
from pipeline.evaluation_views import Artist, Panel, Views, read_split, request, rounds, show
from stackgan.errors import UserError
from stackgan.networks import STAGE_SIZES

DIVERSE_CAPTIONS = 64  # captions of each of which several pictures are compared with each other


class Exam:
    """Reads the shards of Stage `stage` and asks the panel about every real picture in them."""

    def __init__(self, stage: int, shards: Path, panel: Panel, config: EvaluateConfig, noise_dim: int) -> None:
        self.title = f"Stage {'I' * stage}"
        self.panel, self.config, self.noise_dim = panel, config, noise_dim
        size = STAGE_SIZES[stage]
        self.train, train_views = read_split(shards, "train", size, panel)
        self.test, test_views = read_split(shards, "test", size, panel)
        if min(len(self.train), len(self.test)) < LEAST_PICTURES:
            raise UserError(
                f"{shards}: {len(self.train)} training and {len(self.test)} test pictures are too few to measure "
                f"anything: take more pictures or species, so that each split has {LEAST_PICTURES}"
            )
        self.seen = Yardstick(self.train, train_views, train_views.features, panel.judge)
        self.unseen = Yardstick(self.test, test_views, train_views.features, panel.judge)
        count = None if config.captions == "all" else config.captions
        self.test_rounds = rounds(self.test, count, noise_dim, config.seed)
        rows = range(min(len(self.train), len(self.test)))
        captions = [row % len(self.train.embeddings[row]) for row in rows]
        self.train_round = request(self.train, rows, captions, noise_dim, config.seed)

    def grade(self, artist: Artist) -> Scores:
        """Figures of test and of training captions."""
        test_views = show(artist, self.test_rounds, self.panel, f"{self.title}, test captions")
        train_views = show(artist, [self.train_round], self.panel, f"{self.title}, training captions")[0]
        pairs = zip(test_views, self.test_rounds, strict=True)
        test = average([self.unseen.score(views, request) for views, request in pairs])
        test |= papers_scores(self.unseen.views, Views.join(test_views)) | self.diversity(artist)
        return {"test": test, "train": self.seen.score(train_views, self.train_round)}

    def grade_first_round(self, artist: Artist) -> Scores:
        """Figures of each test picture's first caption alone."""
        views = show(artist, self.test_rounds[:1], self.panel, f"{self.title}, untrained")[0]
        return self.unseen.score(views, self.test_rounds[0])

    def diversity(self, artist: Artist) -> Scores:
        """See `Yardstick.diversity`; over captions of evenly spaced test pictures."""
        times = self.config.samples_per_caption
        rows = torch.linspace(0, len(self.test) - 1, min(DIVERSE_CAPTIONS, len(self.test))).round().long()
        asked = rows.repeat_interleave(times).tolist()
        wanted = request(self.test, asked, [0] * len(asked), self.noise_dim, self.config.seed + 1)
        views = show(artist, [wanted], self.panel, f"{self.title}, {times} pictures of one caption")[0]
        return self.unseen.diversity(views, times)

    def real(self) -> Scores:
        """Figures of real pictures: what is within reach, and how far off chance alone puts equal distributions."""
        n = len(self.train_round.rows)
        between = compare(self.unseen.views.features[:n], self.seen.views.features[:n])
        return self.unseen.real_scores() | {"train_against_test": between}

    def chance(self) -> Scores:
        """What blind guessing scores."""
        return chance(self.test, self.panel.judge, self.test_rounds[0])
