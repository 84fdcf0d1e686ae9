import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.checkpoints import Checkpoints, fingerprint
from stackgan.errors import UserError


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return Checkpoints("stage1", "abc", seconds=1000)


def test_the_last_two_are_kept_and_the_newest_is_read(checkpoints: Checkpoints) -> None:
    assert checkpoints.load() is None
    for step in (9, 10, 100):
        checkpoints.save(step, {"step": step})
    assert [path.name for path in sorted(checkpoints.folder.iterdir())] == ["000000010.pt", "000000100.pt"]
    assert checkpoints.load() == {"step": 100}


@pytest.mark.parametrize("damage", [b"", b"garbage", None], ids=["empty", "garbage", "cut short"])
def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(
    damage: bytes | None, checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (1, 2):
        checkpoints.save(step, {"step": step, "weights": torch.zeros(1000)})
    newest = checkpoints.folder / "000000002.pt"
    newest.write_bytes(newest.read_bytes()[:-100] if damage is None else damage)
    state = checkpoints.load()
    assert state is not None
    assert state["step"] == 1
    assert "going back" in capsys.readouterr().err
    (checkpoints.folder / "000000001.pt").write_bytes(b"")
    assert checkpoints.load() is None


def test_a_checkpoint_that_does_not_fit_is_one_clear_line(checkpoints: Checkpoints) -> None:
    network = torch.nn.Linear(2, 2)
    assert not checkpoints.restore(network.load_state_dict)
    checkpoints.save(1, torch.nn.Linear(2, 2).state_dict())
    assert checkpoints.restore(network.load_state_dict)
    for foreign in (torch.nn.Linear(3, 2).state_dict(), {"weight": 1}):
        checkpoints.save(2, foreign)
        with pytest.raises(UserError, match=r"does not fit this training \(RuntimeError: .*delete the folder") as error:
            checkpoints.restore(network.load_state_dict)
        assert "\n" not in str(error.value)


def test_removal_leaves_nothing_not_even_what_a_killed_run_half_wrote(checkpoints: Checkpoints) -> None:
    checkpoints.claim()
    checkpoints.save(1, {})
    (checkpoints.folder / ".000000002.pt.x.stackgan.tmp").mkdir()
    checkpoints.remove()
    assert list(checkpoints.folder.parent.iterdir()) == []
    checkpoints.remove()


def test_a_second_run_waits_until_the_first_has_removed_its_own(
    checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints.claim()
    checkpoints.save(1, {"step": 1})
    second = Checkpoints("stage1", "abc", seconds=1000)
    thread = threading.Thread(target=second.claim)
    thread.start()
    while "waiting for it to end" not in capsys.readouterr().err:
        assert thread.is_alive()
        time.sleep(0.01)
    checkpoints.remove()
    thread.join()
    assert second.load() is None
    second.remove()


def test_they_are_due_after_their_seconds(checkpoints: Checkpoints) -> None:
    assert not checkpoints.due()
    assert Checkpoints("stage1", "abc", seconds=0).due()


def test_a_full_disk_ends_in_one_line_and_keeps_the_last_checkpoint(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(1, {"step": 1})

    save = torch.save

    def full(state: dict[str, Any], _file: object) -> None:
        with Path("/dev/full").open("wb") as disk:
            save(state, disk)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="No space left"):
        checkpoints.save(2, {"step": 2, "weights": torch.zeros(10_000)})
    assert [path.name for path in checkpoints.folder.iterdir()] == ["000000001.pt"]


def test_the_fingerprint_depends_on_values_and_content(tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    index.write_text("1")
    first = fingerprint({"lr_g": 0.1}, [index])
    assert fingerprint({"lr_g": 0.1}, [index]) == first
    assert fingerprint({"lr_g": 0.2}, [index]) != first
    index.write_text("2")
    assert fingerprint({"lr_g": 0.1}, [index]) != first
