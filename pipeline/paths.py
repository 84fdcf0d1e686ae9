"""Where everything lies, relative to the root of the project (the current folder)."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The files and folders of one preset. Presets never share one, so they coexist."""

    preset: str

    @property
    def raw(self) -> Path:
        return Path("data") / self.preset / "raw"

    @property
    def manifest(self) -> Path:
        return Path("data") / self.preset / "manifest.jsonl"

    @property
    def embeddings(self) -> Path:
        return Path("data") / self.preset / "embeddings"

    def shards(self, size: int) -> Path:
        return Path("data") / self.preset / "shards" / str(size)

    @property
    def dataset_report(self) -> Path:
        return self.report("dataset.json")

    @property
    def contact_sheet(self) -> Path:
        return self.report("contact_sheet.png")

    @property
    def text_encoder(self) -> Path:
        return self.model("text_encoder")

    @property
    def text_encoder_metrics(self) -> Path:
        return self.metrics("text_encoder")

    @property
    def text_encoder_pictures(self) -> Path:
        return self.report("text_encoder")

    @property
    def judge(self) -> Path:
        return self.model("judge")

    @property
    def judge_metrics(self) -> Path:
        return self.metrics("judge")

    def stage(self, number: int) -> Path:
        return self.model(f"stage{number}")

    def stage_metrics(self, number: int) -> Path:
        return self.metrics(f"stage{number}")

    def stage_report(self, number: int) -> Path:
        return self.report(f"stage{number}")

    @property
    def evaluate_metrics(self) -> Path:
        return self.metrics("evaluate")

    @property
    def evaluate_report(self) -> Path:
        return self.report("evaluate")

    @property
    def stackgan(self) -> Path:
        return self.model("stackgan")

    def model(self, name: str) -> Path:
        return Path("models") / self.preset / name

    def metrics(self, stage: str) -> Path:
        return Path("metrics") / self.preset / f"{stage}.json"

    def report(self, name: str) -> Path:
        return Path("reports") / self.preset / name

    @staticmethod
    def checkpoints(stage: str, fingerprint: str) -> Path:
        """Outside DVC's outs, which DVC deletes when a stage starts; and under `DVC_ROOT`, which in a queued
        experiment is the parent project, so that a killed experiment finds its checkpoint again."""
        return project_root() / "checkpoints" / stage / fingerprint

    @staticmethod
    def downloads() -> Path:
        """Partial downloads, kept through a killed run for the same reason."""
        return project_root() / ".cache" / "downloads"

    @staticmethod
    def download(name: str, url: str) -> Path:
        """File `name` from `url`, in a folder of its own: bytes of one mirror are never put behind those of another."""
        return Paths.downloads() / name / hashlib.sha256(url.encode()).hexdigest()[:12] / name

    @staticmethod
    def mirrors() -> Path:
        """Copies of shards that come from a URL; any preset's and any experiment's."""
        return project_root() / ".cache" / "shards"


def project_root() -> Path:
    return Path(os.environ.get("DVC_ROOT", "."))
