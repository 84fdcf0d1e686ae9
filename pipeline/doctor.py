"""Command `doctor`: whether a run can start here, what it would do and about how long. It changes nothing.

Reads   packages, device, disk, parameters, archives, the shipped model, DVC's state, the times that stages took here
Prints  a line on each, with what to do where something is amiss; exit code 1 where that blocks a run
"""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import durations, params
from pipeline.files import sha256
from pipeline.paths import Paths, project_root
from stackgan.errors import UserError, make_anew

if TYPE_CHECKING:
    from pipeline.params import Params, RuntimeConfig
    from pipeline.source_config import ArchivesSource, Mirrors

EXTRAS = {"demo": "gradio", "onnx": "onnx", "text": "sentence_transformers", "inception": "torch_fidelity"}
SHOWN_PACKAGES = ("torch", "lightning-fabric", "dvc", "webdataset", "albumentations")
# The synthetic birds fill half a gigabyte; CUB's pictures are 1.2 and held twice while they are fetched, before shards
# and checkpoints at the paper's widths.
WANTED_GB = {"flock": 0.5, "archives": 6.0}
_STYLES = {"ok": "green", "note": "yellow", "stop": "bold red"}


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found and, where something is amiss, what to do about it."""

    subject: str
    text: str
    remedy: str = ""
    blocks: bool = False

    @property
    def verdict(self) -> str:
        return "stop" if self.blocks else "note" if self.remedy else "ok"

    @property
    def lines(self) -> list[str]:
        return [*self.text.splitlines(), *([f"→ {self.remedy}"] if self.remedy else [])]


def run() -> None:
    """Print all findings; raise a `UserError` where one blocks a run."""
    found = list(findings())
    _show(found)
    if blocking := [finding.subject for finding in found if finding.blocks]:
        raise UserError(f"no run can start here before these are mended: {', '.join(blocking)}")


def findings() -> Iterator[Finding]:
    """All that is looked at; without valid parameters only what needs none."""
    yield Finding("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    yield _packages()
    yield _extras()
    try:
        loaded = params.load()
    except UserError as error:
        yield Finding("parameters", str(error), "mend this first, then ask again for the rest", blocks=True)
        return
    yield Finding("parameters", f"valid, preset {loaded.preset}")
    yield _device(loaded.runtime)
    yield _disk(loaded)
    yield _archives(loaded)
    yield _model(Paths(loaded.preset).stackgan)
    yield _repro(loaded.preset)


def _show(found: list[Finding]) -> None:
    """A table on a terminal; elsewhere a line each, unwrapped."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for finding in found:
            print(f"{finding.verdict:4}  {finding.subject:10}  {'; '.join(finding.lines)}")
        return
    table = Table.grid(padding=(0, 2))
    for finding in found:
        verdict = Text(finding.verdict, _STYLES[finding.verdict])
        table.add_row(verdict, Text(finding.subject, "bold"), Text("\n".join(finding.lines)))
    console.print(table)


def _packages() -> Finding:
    """What pyproject.toml asks for, against what is installed."""
    try:
        wanted = [Requirement(line) for line in metadata.requires("stackgan") or ()]
    except metadata.PackageNotFoundError:
        return Finding("packages", "this project is not installed", "pip install -e '.[dev]'")
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    if wrong := [problem for each in needed if (problem := _unmet(each))]:
        return Finding("packages", ", ".join(wrong), "pip install -e '.[dev]'", blocks=True)
    return Finding("packages", ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN_PACKAGES))


def _unmet(requirement: Requirement) -> str:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    fits = requirement.specifier.contains(version, prereleases=True)
    return "" if fits else f"{requirement.name} is {version} where {requirement.specifier} is wanted"


def _extras() -> Finding:
    there = {extra: find_spec(module) is not None for extra, module in EXTRAS.items()}
    return Finding("extras", ", ".join(f"{extra} {'installed' if found else '–'}" for extra, found in there.items()))


def _device(runtime: "RuntimeConfig") -> Finding:
    import torch

    from pipeline.devices import computes_in_bfloat16

    gpus = torch.cuda.device_count()
    cuda = gpus > 0 if runtime.device == "auto" else runtime.device == "cuda"
    if cuda and gpus < runtime.devices:
        remedy = "set runtime.device to cpu, or runtime.devices lower, in params.yaml"
        return Finding("device", f"{runtime.devices} GPUs are wanted and {gpus} are there", remedy, blocks=True)
    bfloat16 = computes_in_bfloat16(cuda) if runtime.precision == "auto" else runtime.precision == "bfloat16"
    name = f"{runtime.devices} × {torch.cuda.get_device_name()}" if cuda else f"CPU, {torch.get_num_threads()} threads"
    return Finding("device", f"{name}, {'bfloat16' if bfloat16 else 'float32'}")


def _disk(loaded: "Params") -> Finding:
    free, wanted = shutil.disk_usage(".").free / 1e9, WANTED_GB[loaded.source.kind]
    if free >= wanted:
        return Finding("disk", f"{free:.0f} GB free")
    remedy = f"preset {loaded.preset} may need {wanted} GB: free some"
    return Finding("disk", f"{free:.1f} GB free", remedy, blocks=free < min(WANTED_GB.values()))


def _archives(loaded: "Params") -> Finding:
    raw = Paths(loaded.preset).raw
    wanted = (loaded.source.images, loaded.source.captions)
    if all((raw / archive.name).is_file() for archive in wanted):
        return Finding("archives", ", ".join(_sized(raw / archive.name) for archive in wanted))
    if loaded.source.kind == "flock":
        return Finding("archives", "drawn by the first run: nothing to fetch")
    return _sources(loaded.source, loaded.mirrors, f"presets/{loaded.preset}.yaml")


def _sources(source: "ArchivesSource", mirrors: "Mirrors", preset_file: str) -> Finding:
    """Where the archives would come from, in the order in which stage `download` looks."""
    from pipeline.download import FOLDER_VARIABLE

    named = os.environ.get(FOLDER_VARIABLE)
    if named and not Path(named).is_dir():
        return Finding("archives", f"{FOLDER_VARIABLE} is {named}, no folder", "name one that holds them", blocks=True)
    origins = []
    for role, archive, urls in (
        ("images", source.images, mirrors.images),
        ("captions", source.captions, mirrors.captions),
    ):
        path = Path(named) / archive.name if named else None
        if path and path.is_file():
            if archive.sha256 and sha256(path) != archive.sha256:
                remedy = f"put the official file there, or set source.{role}.sha256 to null in {preset_file}"
                return Finding("archives", f"{path} is not the official file", remedy, blocks=True)
            origins.append(_sized(path))
        elif urls and "://" in urls[0]:
            origins.append(f"{archive.name} from {urlsplit(urls[0]).netloc}")
        elif urls and (project_root() / urls[0]).is_file():
            origins.append(_sized(project_root() / urls[0]))
        elif urls:
            return Finding("archives", f"{urls[0]} is missing", "put it back, or pack your pictures again", blocks=True)
        else:
            remedy = f"put it into a folder and set {FOLDER_VARIABLE} to that folder"
            return Finding("archives", f"{archive.name} is nowhere and has no mirror", remedy, blocks=True)
    return Finding("archives", ", ".join(origins))


def _sized(path: Path) -> str:
    return f"{path} {path.stat().st_size / 1e6:,.0f} MB"


def _model(folder: Path) -> Finding:
    if not folder.exists():
        return Finding("model", "none yet: `dvc repro` makes one")
    from stackgan import StackGAN

    try:
        StackGAN.from_pretrained(folder, "cpu")
    except UserError as error:
        return Finding("model", str(error), f"or {make_anew('evaluate')}")
    return Finding("model", f"{folder} draws")


def _repro(preset: str) -> Finding:
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    try:
        due, after = _plan()
    except LockError:
        return Finding("dvc repro", "is running just now, or another command of DVC is", "ask again when it has ended")
    except DvcException as error:
        return Finding("dvc repro", str(error), "mend it, or run this in the project's root folder", blocks=True)
    if not due:
        return Finding("dvc repro", "nothing to do: all is up to date")
    text = f"runs {', '.join(due)}" + (f"; then, where they bring anything new, {', '.join(after)}" if after else "")
    return Finding("dvc repro", f"{text}\n{_time([*due, *after], durations.of_stages(preset))}")


def _plan() -> tuple[list[str], list[str]]:
    """Stages that are due by what lies here, and those that depend on them, both in their order."""
    import networkx
    from dvc.repo import Repo

    with Repo() as repo:
        changed = repo.status()
        graph = networkx.relabel_nodes(repo.index.graph.reverse(), lambda stage: stage.addressing)
    after = {stage for each in changed for stage in networkx.descendants(graph, each)}
    order = list(networkx.lexicographical_topological_sort(graph))
    return [name for name in order if name in changed], [name for name in order if name in after - changed.keys()]


def _time(stages: list[str], seconds: durations.Seconds) -> str:
    known = [seconds[stage] for stage in stages if stage in seconds]
    unknown = [stage for stage in stages if stage not in seconds]
    if not known:
        return "how long is unknown: none of them has run here from beginning to end"
    total = f"about {sum(known) / 60:.0f} min" if sum(known) >= 90 else f"about {sum(known):.0f} s"
    return f"{total}, as last time" + (f", and {', '.join(unknown)}, whose time is unknown" if unknown else "")
