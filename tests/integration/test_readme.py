"""What README.md prints works as printed: its `bash` and `python` blocks are run, line by line, on a tiny flock.

Blocks marked `console` need a GPU, the network or hours, as the text beside them says; `sh` blocks are the targets
of the Makefile, which these very tests are run by.
"""

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.integration.conftest import Clone

README = (PROJECT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands(language: str) -> list[str]:
    """One command a line; a backslash continues it, a comment ends it."""
    lines = "".join(blocks(language)).replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


@pytest.mark.parametrize("command", commands("bash"))
def test_commands_work_as_printed(clone: Clone, command: str) -> None:
    clone.run("bash", "-euo", "pipefail", "-c", command)
    clone.run("git", "clean", "-fdq")  # the pictures it drew: other tests look whether the folder is clean


@pytest.mark.parametrize("snippet", blocks("python"))
def test_snippets_work_as_printed(clone: Clone, snippet: str) -> None:
    assert len(snippet.splitlines()) <= 20
    clone.run("python", "-c", snippet)
    clone.run("git", "clean", "-fdq")


def test_unrun_commands_name_commands_that_exist() -> None:
    from pipeline import cli

    for command in commands("console"):
        words = [word for word in shlex.split(command, comments=True) if "=" not in word.split("-")[0]]
        assert words[0] in {"dvc", "python", "stackgan", "torchrun", "pip", "export", "make"}, command
        if words[0] == "stackgan":
            assert words[1] in {registered.name for registered in cli.app.registered_commands}, command


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:|#)([^)#]+)", README))
def test_links_lead_to_files(link: str) -> None:
    assert (PROJECT / link).exists()


def test_the_setup_is_what_the_makefile_does() -> None:
    targets = {line.split()[1] if len(line.split()) > 1 else "all" for line in "".join(blocks("sh")).splitlines()}
    makefile = Path(PROJECT / "Makefile").read_text()
    for target in targets - {"#"}:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_make_ends_with_where_the_pictures_are_and_a_command(clone: Clone) -> None:
    # `-o` takes the setup for done; nothing is due in the clone. Run by `make test`, make would name its folder last.
    said = clone.run("make", "--no-print-directory", "-o", "setup", "all").stdout.splitlines()
    picture = next(word for word in said[-3].split() if word.endswith(".png"))
    assert (clone.folder / picture).exists()
    clone.run("bash", "-euc", said[-1])
    clone.run("git", "clean", "-fdq")
