"""No pickle, no shell, no evaluation of text: read off the sources, so that none slips in."""

import ast
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.flock import archive as flock
from pipeline.source_config import FlockSource
from tests.conftest import PROJECT

SOURCES = sorted(path for folder in ("pipeline", "stackgan") for path in (PROJECT / folder).rglob("*.py"))
UNPICKLING = "pipeline/pickles.py"  # reads them as data alone
PICKLING = "pipeline/cub_archives.py"  # CUB's layout holds pickled lists
# Keyword and value that a call must have.
REQUIRED = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "np.save": ("allow_pickle", False),
    "np.lib.format.read_array": ("allow_pickle", False),
    "np.lib.format.write_array": ("allow_pickle", False),
    "SentenceTransformer": ("trust_remote_code", False),
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads"}
FORBIDDEN_MODULES = {"subprocess", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml", "pty"}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_the_sources_neither_pickle_nor_run_what_they_read(path: Path) -> None:
    name = str(path.relative_to(PROJECT))
    found = imports(path)
    assert not found & FORBIDDEN_MODULES
    assert "pickle" not in found or name in (UNPICKLING, PICKLING)
    for function, call in calls(path):
        where = f"{name}:{call.lineno}: {function}"
        assert function not in FORBIDDEN_CALLS, where
        given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg in WATCHED}
        assert not given.get("shell"), where
        if function in REQUIRED:
            keyword, value = REQUIRED[function]
            assert given.get(keyword) is value, f"{where} must say {keyword}={value}"


WATCHED = {"shell", *(keyword for keyword, _ in REQUIRED.values())}


def test_the_drawn_archives_pickle_nothing_but_lists(tmp_path: Path) -> None:
    source = FlockSource(kind="flock", species=8, pictures=1, scenes="wild", seed=0)
    images, captions = tmp_path / "images.tgz", tmp_path / "captions.zip"
    flock.pack(source, flock.draw(source, flock.entries(source), processes=1), images, captions)
    with zipfile.ZipFile(captions) as file:
        pickles = [file.read(name) for name in file.namelist() if name.endswith(".pickle")]
    assert len(pickles) == 4
    for content in pickles:
        opcodes = {opcode.name for opcode, _, _ in pickletools.genops(content)}
        assert not opcodes & {"GLOBAL", "STACK_GLOBAL", "REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"}
