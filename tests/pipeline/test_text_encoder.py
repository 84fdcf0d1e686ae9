"""The stage `text-encoder` on tiny archives, the official pickles in their Python 2 format, and `embed-text`."""

import itertools
import json
import os
import pickle
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline import embed, embed_text, manifest, official_embeddings, prepare, text_encoder
from pipeline.params import Params
from pipeline.paths import Paths
from stackgan import text
from stackgan.cycle import CycleTraining
from stackgan.errors import UserError
from stackgan.text.official_vectors import load_vectors
from tests.pipeline.conftest import PRESET, Project
from tests.pipeline.tiny import SOURCE, Tiny, tiny
from tests.stackgan.test_text import sentence_transformers  # noqa: F401 — a fixture

SMALL = [
    "source.images.sha256=null",
    "text_encoder.max_length=64",
    "text_encoder.conv_widths=[16, 16]",
    "text_encoder.rnn_width=8",
    "text_encoder.dim=12",
    "text_encoder.image_size=32",
    "text_encoder.image_width=8",
    "text_encoder.epochs=2",
    "text_encoder.lr=0.01",
    "runtime.checkpoint_seconds=0",
]
PATHS = Paths(PRESET)


def prepared(project: Project, data: Tiny, *overrides: str) -> Params:
    params = project(data, *SMALL, *overrides)
    prepare.run(params)
    return params


def made() -> dict[str, bytes]:
    """Everything that the stage wrote, by path."""
    files = [PATHS.text_encoder_metrics, *PATHS.text_encoder.iterdir(), *PATHS.text_encoder_pictures.iterdir()]
    return {str(path): path.read_bytes() for path in files}


def metrics() -> Any:
    return json.loads(PATHS.text_encoder_metrics.read_text())


def test_the_stage_writes_encoder_measures_and_picture(project: Project) -> None:
    params = prepared(project, tiny())
    text_encoder.run(params)
    assert text.load(PATHS.text_encoder).encode(["a red bird"]).shape == (1, 12)
    for split, chance in (("train", 1 / 3), ("test", 1)):
        values = metrics()[split]
        assert values["ap_50_chance"] == values["species_accuracy_chance"] == pytest.approx(chance)
        assert all(0 <= value <= 1 for value in values.values())
    with Image.open(PATHS.text_encoder_pictures / "retrieval.png") as picture:
        assert picture.width > 500
    assert not [path for path in Path("checkpoints").rglob("*") if path.is_file()]


def test_two_runs_make_the_same_bytes(project: Project) -> None:
    params = prepared(project, tiny())
    text_encoder.run(params)
    first = made()
    text_encoder.run(params)
    assert made() == first


def test_a_killed_run_resumes_to_the_same_bytes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    params = prepared(project, tiny())
    text_encoder.run(params)
    whole = made()
    run_epoch, epochs = CycleTraining.run_epoch, itertools.count()

    def killed_in_the_second(training: CycleTraining) -> float:
        if next(epochs) == 1:
            raise KeyboardInterrupt
        return run_epoch(training)

    monkeypatch.setattr(CycleTraining, "run_epoch", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        text_encoder.run(params)
    assert made() == whole  # the old results stand until new ones are whole
    monkeypatch.setattr(CycleTraining, "run_epoch", lambda training: (next(epochs), run_epoch(training))[1])
    text_encoder.run(params)
    assert next(epochs) == 3  # one epoch before the kill, the killed one, and only one more
    assert made() == whole


def test_a_single_species_split_by_image_is_trained_on(project: Project) -> None:
    text_encoder.run(prepared(project, tiny(8), "species=1", "split=by-image"))
    assert metrics()["test"]["species_accuracy_chance"] == 1


def test_a_split_without_test_pictures_is_a_user_error(project: Project) -> None:
    params = prepared(project, tiny())
    pictures = [picture for picture in manifest.read(PATHS.manifest) if picture.split == "train"]
    manifest.write(PATHS.manifest, pictures)
    with pytest.raises(UserError, match="has no test pictures"):
        text_encoder.run(params)


def test_embed_text_prints_shape_and_nearest_captions(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    params = prepared(project, tiny())
    text_encoder.run(params)
    embed.run(params)
    caption = manifest.read(PATHS.manifest)[0].captions[0]
    embed_text.run(params, [caption, "a blue bird"], nearest=3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{caption!r}: embedding float32 [12], nearest captions:"
    assert lines[1].split("  ") == ["", "+1.00", caption, "(001.Red_Cardinal)"]
    assert len(lines) == 8


def test_embed_text_refuses_embeddings_of_another_encoder(project: Project) -> None:
    params = prepared(project, tiny())
    text_encoder.run(params)
    embed.run(params)
    text_encoder.run(prepared(project, tiny(), "text_encoder.dim=16"))
    with pytest.raises(UserError, match="made by another text encoder"):
        embed_text.run(params, ["a bird"])


@pytest.mark.usefixtures("sentence_transformers")
def test_a_pretrained_model_is_taken_as_it_is(project: Project) -> None:
    text_encoder.run(prepared(project, tiny(), "text_encoder.kind=sentence-transformers"))
    assert metrics()["dim"] == 2
    assert set(metrics()["test"]) == {"paraphrases_nearer", "paraphrases_nearer_chance"}
    assert (PATHS.text_encoder_pictures / "retrieval.png").is_file()


@pytest.mark.usefixtures("sentence_transformers")
def test_a_queued_experiment_finds_a_model_in_the_project(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = prepared(project, tiny(), "text_encoder.kind=sentence-transformers", "text_encoder.model=MiniLM")
    root = tmp_path_factory.mktemp("project")
    (root / "MiniLM").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(root))
    text_encoder.run(params)
    assert (PATHS.text_encoder / "model").is_dir()


def test_a_missing_extra_names_the_command(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[text\]'"):
        text_encoder.run(prepared(project, tiny(), "text_encoder.kind=sentence-transformers"))


# The official embeddings.


def python2_pickle(arrays: Sequence[NDArray[np.float32]]) -> bytes:
    """What `pickle.dump(arrays, file, 2)` of Python 2 with NumPy 1 writes: byte strings, module numpy.core."""
    items = b"".join(
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01"
        + b"".join(b"J" + struct.pack("<i", side) for side in array.shape)
        + b"\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"T"
        + struct.pack("<i", array.nbytes)
        + array.tobytes()
        + b"tb"
        for array in arrays
    )
    return b"\x80\x02](" + items + b"e."


def with_embeddings(data: Tiny, change: Callable[[bytes], bytes] = bytes, dim: int = 12, captions: int = 3) -> Tiny:
    """Put official pickles into the captions archive; `change` damages that of the training pictures."""
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        names = pickle.loads(data.captions[f"birds/{split}/filenames.pickle"])
        arrays = [draw.standard_normal((captions, dim), np.float32) + 1 for _ in names]
        content = python2_pickle(arrays)
        data.captions[f"birds/{split}/char-CNN-RNN-embeddings.pickle"] = (
            change(content) if split == "train" else content
        )
    return data


def test_the_writer_of_the_tests_makes_what_python_2_made() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (loaded,) = pickle.loads(python2_pickle([array]), encoding="latin1")
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, array)


def test_official_embeddings_are_kept_and_imitated(project: Project) -> None:
    params = prepared(project, with_embeddings(tiny()), "text_encoder.kind=official")
    text_encoder.run(params)
    vectors = load_vectors(PATHS.text_encoder)
    assert vectors is not None
    pictures = manifest.read(PATHS.manifest)
    assert vectors.keys() == {picture.name for picture in pictures}
    learnt = torch.cat([vectors[picture.name].float() for picture in pictures if picture.split == "train"])
    torch.testing.assert_close(learnt.mean(0), torch.zeros(12), atol=1e-3, rtol=0)
    assert float(learnt.square().mean()) == pytest.approx(1, abs=5e-3)
    assert text.load(PATHS.text_encoder).encode(["any sentence"]).shape == (1, 12)
    assert -1 <= metrics()["test"]["cosine_to_official"] <= 1


def test_each_picture_gets_its_own_vectors(project: Project) -> None:
    data = with_embeddings(tiny())
    prepared(project, data)
    pictures = manifest.read(PATHS.manifest)
    vectors = official_embeddings.read(PATHS.raw / SOURCE.captions.name, pictures)
    for split in ("train", "test"):
        names = pickle.loads(data.captions[f"birds/{split}/filenames.pickle"])
        content = data.captions[f"birds/{split}/char-CNN-RNN-embeddings.pickle"]
        for name, array in zip(names, pickle.loads(content, encoding="latin1"), strict=True):
            assert np.array_equal(vectors[f"{name}.jpg"].numpy(), array)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hostile",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.replace(b"\n", b"\r\n"), "line endings were converted to CRLF"),
        (lambda content: content[: len(content) // 2], "not a readable pickle"),
        (lambda content: b"", "not a readable pickle"),
        (lambda content: pickle.dumps([Hostile()], 2), "this pickle asks for posix.system, not for data"),
        (lambda content: python2_pickle([np.ones((3, 12), np.float32)] * 14), "14 arrays for the 15 names"),
        (lambda content: python2_pickle([np.ones((3, 9), np.float32)] * 15), r"differ in length: \[9, 12\]"),
        (lambda content: python2_pickle([np.ones((2, 12), np.float32)] * 15), "3 captions and 2 official embeddings"),
        (lambda content: python2_pickle([np.full((3, 12), np.nan, np.float32)] * 15), "list of arrays of numbers"),
        (lambda content: pickle.dumps({"a": 1}, 2), "not a readable pickle .*holds a mapping"),
        (lambda content: pickle.dumps([1.5] * 15, 2), "list of arrays of numbers"),
    ],
    ids=["crlf", "truncated", "empty", "hostile", "misaligned", "lengths", "captions", "nan", "dict", "scalars"],
)
def test_broken_official_embeddings_are_user_errors(
    project: Project, change: Callable[[bytes], bytes], message: str
) -> None:
    params = prepared(project, with_embeddings(tiny(), change), "text_encoder.kind=official")
    with pytest.raises(UserError, match=message) as error:
        text_encoder.run(params)
    assert "birds.zip" in str(error.value)
    assert not Path("hostile").exists()
    assert not PATHS.text_encoder.exists()


def test_absent_official_embeddings_name_the_way_out(project: Project) -> None:
    params = prepared(project, tiny(), "text_encoder.kind=official")
    with pytest.raises(UserError, match=r"is missing, which text_encoder\.kind official needs"):
        text_encoder.run(params)


def test_another_dim_than_the_official_one_is_refused(project: Project) -> None:
    params = prepared(project, with_embeddings(tiny(), dim=20), "text_encoder.kind=official")
    with pytest.raises(UserError, match=r"text_encoder\.dim is 12, the official embeddings have 20"):
        text_encoder.run(params)
