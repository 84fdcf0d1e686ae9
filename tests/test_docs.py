"""The pages in docs/ lead nowhere that is not there, and what they give to run or copy works."""

import json
import re
import shlex
from pathlib import Path

import pytest

from pipeline import cli, params
from stackgan.reader import loader
from stackgan.shards import Shards
from tests.conftest import PROJECT
from tests.stackgan.shard_maker import make_shards

PAGES = sorted((PROJECT / "docs").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_stages_and_parameters_that_exist(page: Path) -> None:
    lines = "".join(blocks(page, "console") + blocks(page, "sh")).replace("\\\n", " ").splitlines()
    for line in lines:
        words = shlex.split(line, comments=True)
        if "pipeline" in words and words[words.index("pipeline") - 1] == "-m":
            assert words[words.index("pipeline") + 1] in cli.STAGES, line
        overrides = [words[place + 1] for place, word in enumerate(words) if word == "-S"]
        presets = [each.removeprefix("preset=") for each in overrides if each.startswith("preset=")]
        known = presets[0] if presets and (PROJECT / "presets" / f"{presets[0]}.yaml").exists() else "sample"
        values = [each.removeprefix(f"presets/{known}.yaml:") for each in overrides if not each.startswith("preset=")]
        params.load(known, values)


def test_parts_of_the_shards_are_joined_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, counts in enumerate([(3, 4), (5,)]):
        make_shards(Path("shards/256") / f"part-{number:04d}", *counts, first=50 * number)
    [snippet] = blocks(PROJECT / "docs" / "scaling.md", "python")
    exec(re.sub(r"^  ", "", snippet, flags=re.MULTILINE), {})
    joined = Shards.find(Path("shards/256"), "train")
    assert joined.samples == 12
    assert len(list(joined.read(joined.paths))) == 12
    # Parts name their shards and samples alike; what one holds must not be taken for what another does.
    batches = loader(Path("shards/256"), "train", batch_size=12, size=64, seed=0, transform="none", captions=3)
    for epoch in range(2):
        batches.set_epoch(epoch)
        [batch] = batches
        assert sorted(batch.embedding[:, 0].tolist()) == sorted([*(10 * n + 1 for n in range(7)), *range(501, 551, 10)])
    assert json.loads(Path("shards/256/index.json").read_text())["splits"].keys() == {"train"}
