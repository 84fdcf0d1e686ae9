"""The probe reads each part's colour by itself, and captions are understood as they are meant."""

from pathlib import Path

import pytest
import torch

from stackgan.classifier import ask, resize
from stackgan.classifier_training import PROBE_VIEWS, ClassifierTraining
from stackgan.errors import UserError
from stackgan.judge_config import JudgeConfig
from stackgan.probe import PartReader, Probe, ProbeCard, agreement, hold_out_species, load, outlines, parts_told, said
from stackgan.views import roughen
from tests.stackgan.toys import COLOURS, Toys, toys

CONFIG = JudgeConfig(seed=0, size=64, width=8, epochs=16, batch_size=16, lr=0.01, held_out=0.2)
PARTS = ("head", "belly")


def train_probe(birds: Toys, epochs: int = CONFIG.epochs) -> Probe:
    """A small probe of all the given toys."""
    words = tuple(sorted(COLOURS))
    targets = {part: torch.tensor([words.index(truth[part]) for truth in birds.truths]) for part in PARTS}
    torch.manual_seed(0)
    reader = PartReader(CONFIG.size, CONFIG.width, PARTS, len(words))
    config = CONFIG.model_copy(update={"epochs": epochs})
    training = ClassifierTraining(reader, birds.crops, targets, config, PROBE_VIEWS)
    for _ in range(epochs):
        training.run_epoch()
    reader.load_state_dict(training.average.network.state_dict())
    return Probe(reader, ProbeCard(size=CONFIG.size, width=CONFIG.width, parts=PARTS, colours=words, accuracy={}))


@pytest.fixture(scope="module")
def flock() -> Toys:
    return toys(species=12, pictures=20)


@pytest.fixture(scope="module")
def probe(flock: Toys) -> Probe:
    """One that never saw the last two species."""
    return train_probe(flock.take(range(10 * 20)))


def test_it_reads_colours_of_species_that_it_never_saw(probe: Probe, flock: Toys) -> None:
    unseen = flock.take(range(10 * 20, 12 * 20))
    read = probe.read(unseen.images)
    for part in PARTS:
        hits = [word == truth[part] for word, truth in zip(read[part], unseen.truths, strict=True)]
        assert sum(hits) / len(hits) > 0.8, part


def test_it_reads_coarse_and_noisy_pictures(probe: Probe, flock: Toys) -> None:
    """As young generators draw them: one that learnt from clean pictures alone misreads them."""
    unseen = flock.take(range(10 * 20, 12 * 20))
    rough = (roughen(unseen.images.float() / 255, torch.Generator().manual_seed(5)) * 255).byte()
    read = probe.read(rough)
    for part in PARTS:
        hits = [word == truth[part] for word, truth in zip(read[part], unseen.truths, strict=True)]
        assert sum(hits) / len(hits) > 0.6, part


def test_size_changes_little(probe: Probe, flock: Toys) -> None:
    small = flock.images[::6]
    large = resize(small.float(), 256).byte()
    for part in PARTS:
        pairs = list(zip(probe.read(small)[part], probe.read(large)[part], strict=True))
        assert sum(a == b for a, b in pairs) / len(pairs) > 0.85


def test_saved_and_loaded_it_reads_the_same(probe: Probe, flock: Toys, tmp_path: Path) -> None:
    probe.save(tmp_path)
    again = load(tmp_path)
    assert again.card == probe.card
    assert again.read(flock.images[:9]) == probe.read(flock.images[:9])
    (tmp_path / "probe.safetensors").write_text("nonsense")
    with pytest.raises(UserError, match="holds no readable probe"):
        load(tmp_path)


def test_outlines_tell_nothing_of_colour_and_brightness(flock: Toys) -> None:
    images = flock.images[:4].float() / 255
    for changed in (images.flip(1), 1 - images, 0.5 * images + 0.2):
        assert torch.allclose(outlines(changed), outlines(images), rtol=0.05, atol=0.05)
    assert outlines(torch.full((1, 3, 8, 8), 0.3)).abs().max() == 0


def test_chances_of_colours_sum_to_one(probe: Probe, flock: Toys) -> None:
    logits = ask(probe.reader, flock.images[:5]).logits
    for part in PARTS:
        assert torch.allclose(logits[part].exp().sum(1), torch.ones(5), atol=1e-3)


TRUTH = {"head": "red", "wing": "black", "belly": "white", "bill": "orange", "pose": "perched"}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("this bird has a red head, black wings and a white belly.", {"head", "wing", "belly"}),
        ("a red headed bird with a white breast", {"head", "belly"}),
        ("This bird has wings that are black, and a crown that is red", {"head", "wing"}),
        ("its chest is white and it has black wing feathers", {"belly", "wing"}),
        ("a bird that is white on its underbelly, with a short pointed orange beak", {"belly", "bill"}),
        ("a small bird perched on a branch", set()),
        ("a bird with a crest on its head and black wing bars", set()),
        ("a bird with a hooked bill, white all over", set()),
    ],
)
def test_said(caption: str, expected: set[str]) -> None:
    assert said(caption, TRUTH) == {part: TRUTH[part] for part in expected}


def test_agreement_counts_what_was_said() -> None:
    drawn = {"head": ["red", "blue", "red"], "wing": ["black", "black", "grey"], "bill": ["grey"] * 3}
    sayings = [{"head": "red", "wing": "black"}, {"head": "red"}, {"wing": "black"}]
    assert agreement(drawn, sayings) == {"head": 0.5, "wing": 0.5}


def test_parts_told() -> None:
    assert parts_told([TRUTH, TRUTH | {"tail": "grey"}]) == ("head", "wing", "belly", "bill")
    assert parts_told([TRUTH, {}]) == ()


def test_whole_species_are_held_out() -> None:
    species = [index // 4 for index in range(40)]
    held_out = hold_out_species(species, 0.2)
    by_species = held_out.view(10, 4)
    assert by_species.all(1).sum() == 2
    assert (by_species.all(1) | ~by_species.any(1)).all()
