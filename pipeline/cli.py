"""The command line: every stage as a command, over the same params.yaml as `dvc repro`.

Stage modules are imported when they run: torch and albumentations take seconds that `--help` must not pay.
"""

import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Annotated, TextIO

import typer

from pipeline.allocator import keep_freed_memory
from stackgan.errors import UserError

app = typer.Typer(
    help="StackGAN as a data pipeline: pictures of birds from sentences. `dvc repro` runs every stage that is due; "
    "each command below runs a single one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Preset = Annotated[
    str | None, typer.Option("--preset", help="Use this preset instead of the one that params.yaml names.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-S",
        metavar="KEY=VALUE",
        help="Change a parameter for this run: -S lr_g=0.0005. What stands in the preset may do without its file's "
        "name, which DVC wants: -S stage1.epochs=3.",
    ),
]

STAGES = {
    "download": "Draw the synthetic birds or fetch the archives. Writes data/PRESET/raw.",
    "prepare": "Choose species, split, check everything. Reads the archives; writes manifest.jsonl and a data report.",
    "text-encoder": "Train the text encoder. Reads manifest and archives; writes models/PRESET/text_encoder.",
    "embed": "Turn captions into vectors. Reads manifest and text encoder; writes data/PRESET/embeddings.",
    "judge": "Train the judge of pictures. Reads the archives alone; writes models/PRESET/judge.",
    "stage1": "Train Stage I, 64×64. Reads the 64 shards; writes models/PRESET/stage1 and reports/PRESET/stage1.",
    "stage2": "Train Stage II, 256×256. Reads the 256 shards and Stage I; writes models/PRESET/stage2 and its report.",
    "evaluate": "Measure both stages. Reads models and shards; writes metrics/PRESET/evaluate.json, pictures and "
    "the model to ship, models/PRESET/stackgan.",
}

PARALLEL = ("stage1", "stage2")
CUTS_CROPS = ("prepare", "text-encoder", "judge", "shard")  # and so by processes that need the slow imports as well

# A socket's path holds some hundred bytes (104 on macOS); multiprocessing puts "/pymp-…/listener-…" behind TMPDIR.
_LONGEST_TMPDIR = 70


@app.callback()
def _one_process_for_the_rest(context: typer.Context) -> None:
    """Where torchrun or srun started several processes, all but the first leave what is not parallel to that one."""
    rank = int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)
    if rank > 0 and context.invoked_subcommand not in PARALLEL:
        raise typer.Exit


def _stage_command(name: str) -> Callable[[Preset, Overrides], None]:
    def command(preset: Preset = None, overrides: Overrides = None) -> None:
        from pipeline import durations, params

        loaded = params.load(preset, overrides or ())  # before the slow import: a typo is named at once
        with durations.recorded(name, loaded.preset):
            _imported(name).run(loaded)

    return command


def _imported(stage: str) -> ModuleType:
    name = f"pipeline.{stage.replace('-', '_')}"
    if stage in CUTS_CROPS:
        from pipeline import workers

        workers.expect(name)
    return import_module(name)


def _register_stages() -> None:
    for name, summary in STAGES.items():
        app.command(name, help=summary, rich_help_panel="Stages")(_stage_command(name))
        if name == "embed":  # shard is the one stage with an option of its own; it stands where it runs
            app.command("shard", rich_help_panel="Stages")(shard)


def shard(
    size: Annotated[int | None, typer.Option(help="64 for Stage I or 256 for Stage II; both by default.")] = None,
    preset: Preset = None,
    overrides: Overrides = None,
) -> None:
    """Pack crops, captions and embeddings into WebDataset tars. Writes data/PRESET/shards/SIZE."""
    from pipeline import durations, params

    loaded = params.load(preset, overrides or ())
    with durations.recorded("shard", loaded.preset):
        stage = _imported("shard")
        for each in [size] if size is not None else stage.SIZES:
            stage.run(loaded, each)


_register_stages()


@app.command("embed-text", rich_help_panel="Tools")
def embed_text(
    texts: Annotated[list[str], typer.Argument(help="One or more sentences, each in quotes.")],
    nearest: Annotated[int, typer.Option(min=1, max=50, help="How many captions of the data set to show.")] = 5,
    preset: Preset = None,
    overrides: Overrides = None,
) -> None:
    """Show how a sentence is understood: its embedding and the nearest captions of the data set."""
    from pipeline import embed_text, params

    embed_text.run(params.load(preset, overrides or ()), texts, nearest)


class StageChoice(StrEnum):
    """What `generate` draws with."""

    one = "1"
    two = "2"
    both = "both"

    @property
    def stages(self) -> tuple[int, ...]:
        return (1, 2) if self is StageChoice.both else (int(self),)


Model = Annotated[
    Path | None,
    typer.Option("--model", metavar="FOLDER", help="The trained model. [default: models/PRESET/stackgan]"),
]


@app.command("generate", rich_help_panel="Tools")
def generate(
    sentences: Annotated[
        list[str] | None, typer.Argument(help="Sentences, each in quotes; - reads them from stdin, one a line.")
    ] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of sentences, one a line.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="A sheet (.png, .jpg, .webp), a folder for single pictures, or with --to an animation (.gif, .webp). "
            "[default: birds.png, birds.gif]",
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--number", "-n", metavar="N", min=1, max=50, help="Pictures of each sentence. [default: 4]"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=2**32 - 1, help="Another seed, other birds.")] = 0,
    stage: Annotated[StageChoice, typer.Option(help="1 draws at 64×64, 2 at 256×256.")] = StageChoice.two,
    truncation: Annotated[
        float, typer.Option(metavar="X", min=0, max=1, help="Scale of the noise: less noise, less variety.")
    ] = 1.0,
    to: Annotated[
        str | None, typer.Option(metavar="SENTENCE", help="Animate one bird from the sentence given to this one.")
    ] = None,
    model: Model = None,
) -> None:
    """Draw birds from sentences: `stackgan generate "a small bird with a red head"`."""
    from pipeline import generate

    wanted = generate.sentences(sentences or (), file)
    if to is None:
        output, number = output or Path("birds.png"), number or 4
        generate.draw(
            wanted, output, folder=model, number=number, seed=seed, stages=stage.stages, truncation=truncation
        )
        return
    if len(wanted) > 1 or number is not None or stage is StageChoice.both:
        raise UserError("--to animates one bird: give one sentence, one stage and no --number")
    first, second = wanted[0], generate.checked(to, 2)
    output = output or Path("birds.gif")
    generate.animate(first, second, output, folder=model, seed=seed, stage=stage.stages[0], truncation=truncation)


@app.command("export-onnx", rich_help_panel="Tools")
def export_onnx(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where stage1.onnx and stage2.onnx go.")
    ],
    model: Model = None,
) -> None:
    """Write the generators as ONNX files, checked against PyTorch. Needs the extra `onnx`."""
    from pipeline import export_onnx

    export_onnx.run(output, model)


@app.command("demo", rich_help_panel="Tools")
def demo(
    model: Model = None,
    host: Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve at.")] = 7860,
) -> None:
    """Draw birds in the browser: a web page, for this machine alone unless --host is given. Needs the extra `demo`."""
    from pipeline import demo

    demo.run(model, host, port)


@app.command("doctor", rich_help_panel="Tools")
def doctor() -> None:
    """Tell whether a run can start here, what `dvc repro` would do and about how long. Changes nothing."""
    from pipeline import doctor

    doctor.run()


@app.command("pack", rich_help_panel="Tools")
def pack(
    folder: Annotated[Path, typer.Argument(help="Holds KIND/PICTURE.jpg and KIND/PICTURE.txt, one caption a line.")],
    name: Annotated[str | None, typer.Option(help="Name of the preset; by default the folder's.")] = None,
) -> None:
    """Make a preset of your own pictures and captions: docs/own-data.md. Writes archives/ and presets/NAME.yaml."""
    from pipeline import pack

    pack.run(folder, name)


@app.command("bench", rich_help_panel="Tools")
def bench(
    seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="Time for each figure; a figure takes three rounds at least.")
    ] = 10.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the figures to this JSON file.")] = None,
    preset: Preset = None,
    overrides: Overrides = None,
) -> None:
    """Measure how fast this machine trains, loads and shards, beside its limits and beside plain code."""
    from pipeline import params

    loaded = params.load(preset, overrides or ())
    import_module("pipeline.bench").run(loaded, seconds, output)


def main() -> None:
    """Run the command line; what a user can mend ends in one line and exit code 1, Ctrl-C in 130, SIGTERM in 143."""
    # As an exception, so that temporary files are removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    warnings.showwarning = _show_warning
    keep_freed_memory()
    _leave_room_for_sockets()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # its encoding may lack what captions hold
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        # A full disk, a read-only folder, a file that vanished: the system's own words say it best.
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _leave_room_for_sockets() -> None:
    """Where TMPDIR is a long path, as in a cluster's job, have multiprocessing keep its sockets in /tmp: else none of
    its processes can be started, and those that load pictures wait for ever."""
    chosen = tempfile.gettempdir()
    if len(os.fsencode(chosen)) > _LONGEST_TMPDIR:
        from multiprocessing.util import get_temp_dir

        tempfile.tempdir = "/tmp"
        try:
            get_temp_dir()  # which remembers it, and so do the processes to come
        finally:
            tempfile.tempdir = chosen


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one line; where in a library's code it arose tells a user nothing."""
    from pipeline import console

    console.warn(" ".join(str(message).split()))


def _fail(message: str) -> None:
    from pipeline import console

    console.error(" ".join(message.split()))
    sys.exit(1)
