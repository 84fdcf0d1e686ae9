"""What `doctor` says of the real pipeline, before and after a change of params.yaml."""

import re

from tests.integration.conftest import Clone, change


def test_it_tells_what_a_run_would_do_and_how_long(clone: Clone) -> None:
    rested = clone.run("python", "-m", "pipeline", "doctor").stdout
    assert "nothing to do" in rested
    assert "models/sample/stackgan draws" in rested

    change(clone.folder / "params.yaml", {"lr_g": 0.00031})
    before = clone.run("git", "status", "--porcelain", "--ignored").stdout
    told = clone.run("python", "-m", "pipeline", "doctor").stdout
    assert "runs stage1, stage2; then, where they bring anything new, evaluate" in told
    assert re.search(r"about \d+ (s|min), as last time", told)  # the fixture's `dvc repro` was timed
    assert clone.run("git", "status", "--porcelain", "--ignored").stdout == before
    clone.run("git", "checkout", "-q", "--", "params.yaml")
