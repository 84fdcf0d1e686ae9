"""dvc.yaml names, for every stage, the very modules that the stage imports: no more, or a stage runs in vain;
no fewer, or it keeps a stale result."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline import cli
from tests.conftest import PROJECT

STAGES = YAML(typ="safe", pure=True).load((PROJECT / "dvc.yaml").read_text())["stages"]
# Values and terminal, never results: DVC tracks the values themselves as params. `stackgan` itself imports lazily,
# and no stage asks it to.
EXEMPT = {
    "pipeline/__init__.py",
    "pipeline/cli.py",
    "pipeline/console.py",
    "pipeline/params.py",
    "stackgan/__init__.py",
    "stackgan/errors.py",
}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_import_graph(stage: str) -> None:
    deps = STAGES[stage].get("deps", [])
    declared = {str(file.relative_to(PROJECT)) for dep in deps for file in _modules(PROJECT / dep)}
    imported = {str(file.relative_to(PROJECT)) for file in _closure(PROJECT / "pipeline" / f"{stage}.py")} - EXEMPT
    assert declared == imported


def test_processes_of_a_stage_that_has_any_are_expected() -> None:
    with_processes = {stage for stage in STAGES if "pipeline/workers.py" in STAGES[stage].get("deps", [])}
    quick_to_import = {"download"}
    assert with_processes - quick_to_import == {name.replace("-", "_") for name in cli.CUTS_CROPS}


def _modules(path: Path) -> list[Path]:
    if "${" in str(path):  # data of the preset
        return []
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _closure(module: Path) -> set[Path]:
    found, waiting = {module}, [module]
    while waiting:
        for imported in _imports(waiting.pop()) - found:
            found.add(imported)
            if str(imported.relative_to(PROJECT)) not in EXEMPT:
                waiting.append(imported)
    return found


def _imports(module: Path) -> set[Path]:
    """Project files that `module` imports when it runs, those in functions included, those for types alone not."""
    files: set[Path] = set()
    for node in _runtime_nodes(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in ("pipeline", "stackgan"):
                parts = name.split(".")
                packages = [PROJECT.joinpath(*parts[:end], "__init__.py") for end in range(1, len(parts) + 1)]
                files |= {file for file in [*packages, PROJECT.joinpath(*parts).with_suffix(".py")] if file.is_file()}
    return files


def _runtime_nodes(node: ast.AST) -> list[ast.AST]:
    nodes = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        nodes += [child, *_runtime_nodes(child)]
    return nodes
