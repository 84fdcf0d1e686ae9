"""Text encoders: letters, the char-CNN-RNN, its two trainings, the saved form, and pretrained models."""

import math
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stackgan import text
from stackgan.classifier import centre, resize
from stackgan.classifier import normalise as normalised
from stackgan.cycle import CycleTraining
from stackgan.errors import UserError
from stackgan.text.alphabet import ALPHABET_SIZE, LETTERS, UNKNOWN, letters, normalise
from stackgan.text.char_cnn_rnn import POOL, CharCnnRnn, CharEncoder
from stackgan.text.config import TextEncoderConfig
from stackgan.text.joint import JointTraining, read_loss, structured_loss
from stackgan.text.official import Distillation, standardise
from stackgan.text.official_vectors import load_vectors, save_vectors
from stackgan.text.retrieval import paraphrases_nearer, retrieval
from stackgan.text.sentence import SentenceEncoder
from stackgan.text.standardise import standardisation
from stackgan.text.words import Words, words_of

CPU = torch.device("cpu")
CAPTIONS = ["a red bird with a long beak", "its head is blue", "this small bird has yellow wings and a white belly"]
GROUPS = [CAPTIONS[:2], CAPTIONS[2:]]  # by picture


def config(**changes: Any) -> TextEncoderConfig:
    values: dict[str, Any] = {
        "kind": "char-cnn-rnn",
        "max_length": 64,
        "conv_widths": (16, 16),
        "rnn_width": 8,
        "dim": 12,
        "image_size": 32,
        "image_width": 8,
        "epochs": 4,
        "batch_size": 8,
        "lr": 0.01,
        "model": "none",
    }
    return TextEncoderConfig(**values | changes)


def encoder(**changes: Any) -> CharEncoder:
    torch.manual_seed(0)
    chosen = config(**changes)
    return CharEncoder.standardised(CharCnnRnn(chosen.conv_widths, chosen.rnn_width, chosen.dim), chosen, GROUPS)


class TestLetters:
    def test_the_alphabet_has_seventy_letters(self) -> None:
        assert ALPHABET_SIZE == 70
        assert len(set(LETTERS)) == 69

    def test_case_accents_and_white_space_do_not_matter(self) -> None:
        assert normalise("  A Rosé\n\tBIRD ") == "a rose bird"

    def test_unknown_characters_are_read_as_one_letter(self) -> None:
        indices, lengths = letters(["a☃漢"], 10)
        assert indices.tolist() == [[1, UNKNOWN, UNKNOWN]]
        assert lengths.tolist() == [3]

    @pytest.mark.parametrize("nothing", ["", " \n\t ", "\u0301"])
    def test_empty_text_is_refused(self, nothing: str) -> None:
        with pytest.raises(UserError, match="the text is empty"):
            letters(["a bird", nothing], 10)

    def test_longer_text_is_cut_with_a_warning(self) -> None:
        with pytest.warns(UserWarning, match=r"only the first 6 characters are read of 'a bird with'.* and 1 more"):
            indices, lengths = letters(["a bird with", "a bird", "a bird sings"], 6)
        assert lengths.tolist() == [6, 6, 6]
        assert indices[0].tolist() == indices[1].tolist() == indices[2].tolist()


class TestWords:
    def test_a_fact_is_the_same_however_it_is_said(self) -> None:
        assert "head red" in words_of("a bird with a Red head")
        assert "head red" in words_of("its head is red, its wings are blue")

    def test_facts_stay_within_their_phrase(self) -> None:
        assert "blue head" not in words_of("its head is red, and blue wings")

    def test_targets_are_distributions_in_which_rare_words_weigh_more(self) -> None:
        words = Words(["red bird", "blue bird", "grey bird"])
        row = words.targets(["red bird", "nothing known"])
        assert row.sum(1).tolist() == pytest.approx([1, 0])
        assert row[0, words.index["red"]] > row[0, words.index["bird"]] > 0

    def test_only_the_most_frequent_are_kept(self) -> None:
        assert set(Words(["red bird", "bird", "bird"], limit=1).index) == {"bird"}


class TestCharEncoder:
    def test_embeddings_are_standardised_over_the_training_captions(self) -> None:
        embeddings = encoder().encode(CAPTIONS)
        assert embeddings.dtype == torch.float32
        assert embeddings.shape == (3, 12)
        torch.testing.assert_close(embeddings.mean(0), torch.zeros(12), atol=1e-5, rtol=0)
        assert float(embeddings.square().mean()) == pytest.approx(1, abs=1e-4)

    def test_an_embedding_depends_on_no_other_caption(self) -> None:
        chosen = encoder()
        alone = torch.cat([chosen.encode([caption]) for caption in CAPTIONS])
        torch.testing.assert_close(chosen.encode(CAPTIONS), alone, atol=1e-4, rtol=1e-4)

    def test_every_letter_of_the_text_counts(self) -> None:
        chosen = encoder()
        for length in range(1, 40):
            caption = "x" * length
            assert not torch.equal(chosen.encode([caption]), chosen.encode([caption[:-1] + "y"]))

    def test_the_published_sizes_can_be_built(self) -> None:
        network = CharCnnRnn((384, 512, 512), 512, 1024)
        assert (network.field, network.stride) == (48, 9)
        assert network(torch.ones(1, 201, dtype=torch.int64), torch.tensor([201])).shape == (1, 1024)

    def test_products_and_look_ups_are_torchs_convolutions(self) -> None:
        network = CharCnnRnn((16, 24), 8, 12)
        indices, lengths = letters([(3 * caption)[:39] for caption in CAPTIONS], 39)
        x = F.one_hot(indices, ALPHABET_SIZE + 1)[:, :, 1:].float().transpose(1, 2)
        x = F.relu(network.norms[0](F.max_pool1d(network.convolutions[0](x), POOL).transpose(1, 2)))
        x = F.relu(network.norms[1](network.convolutions[1](x.transpose(1, 2)).transpose(1, 2)))
        expected = network.project(torch.cat([x, network.rnn(x)[0]], dim=2).amax(1))
        torch.testing.assert_close(network(indices, lengths), expected)

    def test_texts_are_computed_in_parts_of_like_length_and_stay_in_order(self) -> None:
        network = CharCnnRnn((16, 24), 8, 12)
        indices, lengths = letters([CAPTIONS[0], CAPTIONS[2], CAPTIONS[1]], 64)
        torch.testing.assert_close(network.in_parts(indices, lengths, 2), network(indices, lengths))

    def test_no_captions_give_no_rows(self) -> None:
        assert encoder().encode([]).shape == (0, 12)

    def test_what_is_loaded_encodes_to_the_same_bits(self, tmp_path: Path) -> None:
        saved = encoder()
        saved.save(tmp_path)
        loaded = text.load(tmp_path)
        assert loaded.dim == 12
        assert torch.equal(loaded.encode(CAPTIONS), saved.encode(CAPTIONS))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "encoder.safetensors"]

    def test_a_folder_without_an_encoder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"holds no text encoder: config\.json is missing"):
            text.load(tmp_path)

    @pytest.mark.parametrize("content", ["", "{}", '{"kind": "oracle"}'])
    def test_a_foreign_config_is_a_user_error(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UserError, match="is no text encoder's"):
            text.load(tmp_path)

    @pytest.mark.parametrize("kept", [0, 40, 400])
    def test_damaged_weights_are_a_user_error(self, tmp_path: Path, kept: int) -> None:
        encoder().save(tmp_path)
        weights = tmp_path / "encoder.safetensors"
        weights.write_bytes(weights.read_bytes()[:kept])
        with pytest.raises(UserError, match=r"encoder\.safetensors is no readable weights file"):
            text.load(tmp_path)


class TestLosses:
    def test_the_structured_loss_by_hand(self) -> None:
        scores = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
        rows = (math.log(1 + math.exp(1 - 2)) + math.log(1 + math.exp(0 - 3))) / 2
        columns = (math.log(1 + math.exp(0 - 2)) + math.log(1 + math.exp(1 - 3))) / 2
        assert float(structured_loss(scores)) == pytest.approx((rows + columns) / 2, rel=1e-5)

    def test_the_reading_loss_by_hand(self) -> None:
        logits, targets = torch.tensor([[0.0, math.log(3)], [5.0, 5.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
        assert float(read_loss(logits, targets)) == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-5)


class TestRetrieval:
    def test_measures_by_hand(self) -> None:
        images = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=1)
        species = torch.tensor([7, 7, 9])
        owner = torch.tensor([0, 1, 2])
        measures = retrieval(images[[0, 0, 2]], owner, images, species)
        assert measures["recall_at_1"] == pytest.approx(2 / 3)
        assert measures["ap_50"] == measures["species_accuracy"] == 1
        assert measures["recall_at_1_chance"] == pytest.approx(1 / 3)
        assert measures["ap_50_chance"] == measures["species_accuracy_chance"] == 0.5

    def test_a_species_sought_by_the_other_ones_captions_is_not_found(self) -> None:
        images = torch.eye(4)
        measures = retrieval(images[[2, 3, 0, 1]], torch.arange(4), images, torch.tensor([1, 1, 2, 2]))
        assert (measures["recall_at_1"], measures["ap_50"], measures["species_accuracy"]) == (0, 0, 0)

    def test_paraphrases(self) -> None:
        texts = torch.eye(2)[[0, 0, 1, 1]]
        owner = torch.tensor([0, 0, 1, 1])
        for species in ([1, 2], [1, 1]):
            assert paraphrases_nearer(texts, owner, torch.tensor(species))["paraphrases_nearer"] == 1
        assert paraphrases_nearer(texts, owner.flip(0)[[0, 2, 1, 3]], torch.tensor([1, 2]))["paraphrases_nearer"] == 0


def joint(seed: int = 0, species: int = 9, **changes: Any) -> JointTraining:
    """Two pictures of each species, in its own shade, with captions that name the species' number as a word."""
    shades = torch.linspace(0, 255, species).round().byte().repeat_interleave(2)
    crops = shades[:, None, None, None].expand(-1, 3, 38, 38).contiguous()
    numbers = [index // 2 + 1 for index in range(2 * species)]
    captions = [[f"a {'abcdefghijk'[number - 1] * 4} bird", f"bird {number}"] for number in numbers]
    return JointTraining(config(**changes), crops, numbers, captions, seed=seed, device=CPU)


def weights(training: CycleTraining) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in training.model.state_dict().items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


class TestJointTraining:
    def test_a_batch_holds_one_picture_per_species(self) -> None:
        training = joint(batch_size=32)
        batches = training.batches(torch.Generator().manual_seed(1))
        assert len(batches) == 2
        for batch in batches:
            assert sorted(index // 2 for index in batch.tolist()) == list(range(9))

    def test_few_species_are_told_apart_picture_by_picture(self) -> None:
        training = joint(species=1, batch_size=32)
        (batch,) = training.batches(torch.Generator())
        assert sorted(batch.tolist()) == [0, 1]

    def test_a_single_picture_is_refused(self) -> None:
        with pytest.raises(UserError, match="single picture"):
            JointTraining(config(), torch.zeros(1, 3, 38, 38).byte(), [1], [["a bird"]], seed=0, device=CPU)

    def test_it_learns(self) -> None:
        training = joint(epochs=20)
        losses = [training.run_epoch() for _ in range(20)]
        assert losses[-1] < 0.8 * losses[0]

    def test_pictures_of_species_that_captions_do_not_tell_apart_are_named_all_the_same(self) -> None:
        training = joint(epochs=30)
        training.captions = [["a bird"]] * len(training.captions)
        for _ in range(30):
            training.run_epoch()
        views = resize(centre(training.crops).float() / 255, training.config.image_size)
        with torch.no_grad():
            named = training.joint.image.eval()(normalised(views)).species.argmax(1)
        assert float((named == training.species).float().mean()) > 0.5  # chance 0.11

    def test_a_resumed_training_ends_in_the_same_bits(self, tmp_path: Path) -> None:
        whole = joint()
        for _ in range(4):
            whole.run_epoch()
        stopped = joint()
        stopped.run_epoch()
        torch.save(stopped.state(), tmp_path / "state.pt")
        resumed = joint(seed=0)
        resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
        while resumed.epoch < resumed.epochs:
            resumed.run_epoch()
        assert_equal(weights(whole), weights(resumed))

    def test_another_seed_is_another_training(self) -> None:
        first, second = joint(seed=0), joint(seed=1)
        assert first.run_epoch() != second.run_epoch()

    def test_a_sign_that_comes_to_nothing_is_no_word(self) -> None:
        crops, captions = torch.zeros(2, 3, 38, 38).byte(), [["´ a red bird ¨"]] * 2
        training = JointTraining(config(), crops, [1, 2], captions, seed=0, device=CPU)
        for _ in range(4):
            training.run_epoch()

    @pytest.mark.parametrize("image_size", [48, 80, 112])
    def test_pictures_of_any_allowed_size_are_looked_at(self, image_size: int) -> None:
        joint(image_size=image_size).run_epoch()

    def test_a_loss_that_is_no_number_is_a_user_error(self) -> None:
        training = joint()
        next(iter(training.model.parameters())).data.fill_(float("nan"))
        with pytest.raises(UserError, match="no finite number: lower"):
            training.run_epoch()

    def test_long_captions_are_cut_in_silence(self) -> None:
        training = joint(max_length=32)
        training.captions = [["a bird that goes on and on and on and on"]] * len(training.captions)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            training.run_epoch()


class TestStandardisation:
    def test_what_differs_between_captions_of_one_picture_fades(self) -> None:
        """Pictures differ in the first dimension a little; how captions are worded, in the second a lot."""
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randn(50, 1, 1, generator=generator).expand(50, 10, 1)
        wording = 20 * torch.randn(50, 10, 1, generator=generator)
        groups = torch.cat([pictures, wording], dim=2)
        given = standardisation([*groups])(groups)
        assert given.mean((0, 1)).tolist() == pytest.approx([0, 0], abs=1e-5)
        assert float(given.square().mean()) == pytest.approx(1, abs=1e-5)
        assert float(given[..., 0].std() / given[..., 1].std()) > 0.4  # 0.05 before
        turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])  # not only along the axes
        turned = groups @ turn
        assert torch.allclose(standardisation([*turned])(turned) @ turn.T, given, atol=1e-4)

    def test_a_fact_that_few_captions_mention_comes_forward_and_pure_wording_does_not(self) -> None:
        generator = torch.Generator().manual_seed(0)
        loud, rare = torch.randn(2, 300, 1, generator=generator).expand(2, 300, 10)
        mentioned = torch.rand(300, 10, generator=generator) < 0.3
        wording = torch.randn(300, 10, generator=generator)
        groups = torch.stack([5 * loud + 0.5 * torch.randn(300, 10, generator=generator), rare * mentioned, wording], 2)
        deviation = standardisation([*groups])(groups).std((0, 1))
        assert deviation[1] / deviation[0] > 0.3  # 0.13 before
        assert deviation[2] / deviation[1] < 0.9  # 1.6 before

    def test_with_one_caption_a_picture_directions_are_evened_out(self) -> None:
        generator = torch.Generator().manual_seed(0)
        embeddings = torch.randn(400, 3, generator=generator) * torch.tensor([1.0, 5.0, 9.0]) + 7
        deviation = standardisation([*embeddings[:, None]])(embeddings).std(0)
        assert deviation.max() / deviation.min() < 3  # 9 before

    def test_one_caption_alone_is_nothing_but_finite(self) -> None:
        assert standardisation([torch.ones(1, 3)])(torch.ones(1, 3)).tolist() == [[0, 0, 0]]

    def test_what_is_no_number_is_a_user_error(self) -> None:
        with pytest.raises(UserError, match="the text encoder gives no finite numbers"):
            standardisation([torch.tensor([[0.0, torch.nan]])])


class TestOfficial:
    def test_vectors_are_standardised_over_the_training_pictures(self) -> None:
        vectors = {name: torch.tensor([[x, 5.0], [x + 1, 5.0]]) for name, x in (("a", 0.0), ("b", 4.0))}
        vectors["c"] = torch.tensor([[8.0, 6.0]])
        result = standardise(vectors, ["a", "b"])
        learnt = torch.cat([result["a"], result["b"]])
        assert learnt.mean(0).tolist() == pytest.approx([0, 0], abs=1e-6)
        assert learnt.square().mean() == pytest.approx(1)
        assert result["c"][0].tolist() == pytest.approx(
            [(8 - 2.5) / 4 * float((learnt[2] - learnt[0])[0]), 0], rel=1e-4
        )

    def test_vectors_are_kept_beside_the_encoder(self, tmp_path: Path) -> None:
        assert load_vectors(tmp_path) is None
        save_vectors(tmp_path, {"001.X/X_1.jpg": torch.ones(10, 4)})
        loaded = load_vectors(tmp_path)
        assert loaded is not None
        assert loaded["001.X/X_1.jpg"].dtype == torch.float16
        assert loaded["001.X/X_1.jpg"].shape == (10, 4)

    def test_an_encoder_learns_to_give_them(self) -> None:
        vectors = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
        training = Distillation(config(epochs=60, batch_size=3), CAPTIONS, vectors, seed=0, device=CPU)
        for _ in range(60):
            training.run_epoch()
        given = CharEncoder(training.network, training.config).encode(CAPTIONS)
        assert torch.nn.functional.cosine_similarity(given, vectors).min() > 0.9

    def test_another_dimension_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"text_encoder\.dim is 12, the official embeddings have 5"):
            Distillation(config(), CAPTIONS, torch.zeros(3, 5), seed=0, device=CPU)


class FakeModel:
    """Stands for a pretrained model: an embedding is the length of a text, and its first letter."""

    opened: list[tuple[str, dict[str, Any]]]

    def __init__(self, name: str, **options: Any) -> None:
        if name == "absent":
            raise OSError("absent is not a local folder\nand not a model's name")
        FakeModel.opened.append((name, options))

    def encode(self, captions: list[str], **_: Any) -> Tensor:
        return torch.tensor([[float(len(caption)), float(ord(caption[0]))] for caption in captions])


@pytest.fixture
def sentence_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = FakeModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    FakeModel.opened = []


class TestSentenceEncoder:
    def test_a_missing_extra_names_the_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(UserError, match=r"pip install -e '\.\[text\]'"):
            SentenceEncoder.standardised(config(kind="sentence-transformers"), GROUPS)

    def test_a_model_that_cannot_be_loaded_is_a_user_error(self, sentence_transformers: None) -> None:
        with pytest.raises(UserError, match=r"text_encoder\.model 'absent' cannot be loaded: absent is not"):
            SentenceEncoder.standardised(config(kind="sentence-transformers", model="absent"), GROUPS)

    def test_a_named_model_is_saved_as_its_name(self, sentence_transformers: None, tmp_path: Path) -> None:
        saved = SentenceEncoder.standardised(config(kind="sentence-transformers", model="MiniLM"), GROUPS)
        embeddings = saved.encode(CAPTIONS)
        assert saved.dim == 2
        torch.testing.assert_close(embeddings.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
        saved.save(tmp_path)
        assert torch.equal(text.load(tmp_path).encode(CAPTIONS), embeddings)
        assert [name for name, _ in FakeModel.opened] == ["MiniLM", "MiniLM"]
        assert all(options["trust_remote_code"] is False for _, options in FakeModel.opened)
        assert all(options["model_kwargs"] == {"use_safetensors": True} for _, options in FakeModel.opened)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "encoder.safetensors"]

    def test_a_local_model_travels_without_its_pickles(self, sentence_transformers: None, tmp_path: Path) -> None:
        model, folder = tmp_path / "local", tmp_path / "saved"
        model.mkdir()
        folder.mkdir()
        for name in ("model.safetensors", "pytorch_model.bin", "config.json"):
            (model / name).write_text("{}")
        SentenceEncoder.standardised(config(kind="sentence-transformers", model=str(model)), GROUPS).save(folder)
        assert sorted(path.name for path in (folder / "model").iterdir()) == ["config.json", "model.safetensors"]
        text.load(folder)
        assert FakeModel.opened[-1][0] == str(folder / "model")

    def test_empty_text_is_refused(self, sentence_transformers: None) -> None:
        chosen = SentenceEncoder.standardised(config(kind="sentence-transformers"), GROUPS)
        with pytest.raises(UserError, match="the text is empty"):
            chosen.encode([" "])
