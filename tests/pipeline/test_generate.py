"""Sentences to pictures on disk, by a small model that never trained."""

import errno
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from pipeline import cli, generate
from pipeline.shipped_model import model_folder
from stackgan import StackGAN
from stackgan.errors import UserError
from tests.stackgan.test_model import amplify, make_model, make_parts

RED, BLACK = "a small bird with a red head", "this bird has black wings"
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return amplify(make_model(make_parts(tmp_path_factory.mktemp("parts")), tmp_path_factory.mktemp("model")))


@pytest.fixture
def run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `stackgan generate` in an empty folder: exit status and what it told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # pytest's own handler stays

    def command(*arguments: str, stdin: bytes = b"") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        monkeypatch.setattr(sys, "argv", ["stackgan", "generate", "--model", str(folder), *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return int(stopped.value.code or 0), capsys.readouterr().err

    return command


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_single_pictures_are_what_the_library_draws(run: Run, folder: Path) -> None:
    assert run(RED, BLACK, "-n", "2", "--seed", "3", "--stage", "both", "--truncation", "0.5", "-o", "birds")[0] == 0
    files = sorted(Path("birds").iterdir())
    assert len(files) == 8
    assert files[0].name == "001-a-small-bird-with-a-red-head-stage1-01.png"
    model = StackGAN.from_pretrained(folder, "cpu")
    for number, sentence in enumerate((RED, BLACK)):
        for stage in (1, 2):
            expected = model.generate([sentence] * 2, seed=3, stage=stage, truncation=0.5)
            drawn = files[4 * number + 2 * (stage - 1) :][:2]
            for picture, path in zip(expected, drawn, strict=True):
                assert np.array_equal(np.asarray(picture), pixels(path))


def test_a_sheet_has_a_row_a_sentence_and_other_sentences_do_not_change_it(run: Run) -> None:
    assert run(RED, BLACK, "-n", "3", "-o", "new/both.png")[0] == 0
    assert run(BLACK, "-n", "3", "-o", "one.png")[0] == 0
    both, one = pixels(Path("new/both.png")), pixels(Path("one.png"))
    assert both.shape[1] == one.shape[1] > 3 * 256
    assert both.shape[0] - one.shape[0] >= 256
    assert np.array_equal(both[-one.shape[0] + 24 :], one[24:])
    assert one[:, :250].min() < 80  # the caption is on it


def test_sentences_come_from_a_file_and_from_stdin(run: Run, tmp_path: Path) -> None:
    Path("captions.txt").write_bytes(f"\ufeff{RED}\r\n\n  \n{BLACK}".encode())
    assert generate.sentences([], tmp_path / "captions.txt") == [RED, BLACK]
    assert run("--file", "captions.txt", "--stage", "1", "-o", "file.png")[0] == 0
    assert run("-", "--stage", "1", "-o", "stdin.png", stdin=f"{RED}\n{BLACK}\n".encode())[0] == 0
    assert Path("file.png").read_bytes() == Path("stdin.png").read_bytes()


@pytest.mark.parametrize("name", ["bird.gif", "bird.webp"])
def test_an_animation_goes_there_and_back_for_ever_in_small_steps(run: Run, name: str) -> None:
    assert run(RED, "--to", BLACK, "--stage", "1", "-o", name)[0] == 0
    with Image.open(name) as animation:
        assert animation.info["loop"] == 0
        frames = [np.asarray(frame.convert("RGB"), dtype=float) for frame in ImageSequence.Iterator(animation)]
    assert len(frames) == 2 * generate.STEPS - 2

    def apart(first: int, second: int) -> float:
        return float(np.abs(frames[first] - frames[second]).mean())

    ends = apart(0, generate.STEPS - 1)
    assert ends > 5
    assert max(apart(index, index - 1) for index in range(len(frames))) < ends / 4  # the last leads to the first
    assert apart(1, -1) < ends / 20


def test_words_that_training_never_saw_are_named(run: Run) -> None:
    assert "purple, penguin" in run("a purple bird with a penguin head", "--stage", "1")[1]
    assert "held 🐦:" in run("🐦", "--stage", "1")[1]
    assert "warning" not in run(RED, "--stage", "1")[1]


def test_without_params_or_model_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="--model FOLDER"):
        generate.draw([RED], Path("birds.png"))
    with pytest.raises(UserError, match="run `dvc repro`"):
        generate.draw([RED], Path("birds.png"), folder=tmp_path / "models")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to draw"),
        ((" ",), "sentence 1 is empty"),
        ((RED, "--to", " "), "sentence 2 is empty"),
        (("x" * 1001,), "has 1001 characters"),
        ((RED, "-o", "bird.bmp"), "bird.bmp must end in .png"),
        ((RED, "-o", "bird.gif"), "bird.gif must end in .png"),
        ((RED, "-o", "bird.gif"), "an animation wants --to"),
        ((RED, "--to", BLACK, "-o", "bird.png"), "bird.png must end in .gif or .webp"),
        ((RED, BLACK, "--to", RED), "--to animates one bird"),
        ((RED, "--to", BLACK, "-n", "2"), "--to animates one bird"),
        ((*["bird"] * 61, "-n", "1"), "a sheet of 61 rows is too high"),
        ((*["bird"] * 21, "-n", "50", "-o", "birds"), "1050 pictures are too many"),
        (("--file", "nowhere.txt"), "nowhere.txt cannot be read"),
        ((RED, "-o", "file/birds.png"), "is a file where a folder is wanted"),
        (("-",), "stdin holds no sentence"),
        (("--file", "file"), "file holds no sentence"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_drawn(
    run: Run, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("stackgan.model.StackGAN.from_pretrained")
    Path("file").touch()
    status, told = run(*arguments)
    assert status == 1
    assert message in told
    assert len(told.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_is_told_before_drawing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:  # root may write anywhere
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UserError, match="cannot be written: Read-only file system; choose another --output"):
        generate.draw([RED], tmp_path / "birds" / "red.png", folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"\xff\xfe bird", b"a" * 1_000_001])
def test_a_file_that_is_no_text_or_too_long_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "captions.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"captions\.txt is (not text|too long)"):
        generate.sentences([], tmp_path / "captions.txt")


@pytest.mark.parametrize("arguments", [("-n", "0"), ("-n", "51"), ("--truncation", "1.5"), ("--stage", "3")])
def test_values_out_of_range_are_refused(run: Run, arguments: tuple[str, str]) -> None:
    assert run(RED, *arguments)[0] == 2


def test_outside_the_project_a_model_must_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="--model"):
        model_folder(None)
