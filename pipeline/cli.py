"""The command line: every stage as a command, over the same params.yaml as `dvc repro`.

Stage modules are imported when they run: torch and albumentations take seconds that `--help` must not pay.
"""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, TextIO

import typer

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
    typer.Option("--set", "-S", metavar="KEY=VALUE", help="Change a parameter for this run: -S stage1.epochs=3."),
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


def _stage_command(name: str) -> Callable[[Preset, Overrides], None]:
    def command(preset: Preset = None, overrides: Overrides = None) -> None:
        from pipeline import params

        loaded = params.load(preset, overrides or ())  # before the slow import: a typo is named at once
        import_module(f"pipeline.{name.replace('-', '_')}").run(loaded)

    return command


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
    from pipeline import params, shard

    for each in [size] if size else shard.SIZES:
        shard.run(params.load(preset, overrides or ()), each)


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


@app.command(rich_help_panel="Tools")
def bench(
    seconds: Annotated[
        float, typer.Option(min=0, help="Time for each figure; a figure takes three rounds at least.")
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
    _share_cores()
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        # A full disk, a read-only folder, a file that vanished: the system's own words say it best.
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _share_cores() -> None:
    """Have idle threads wait asleep after some microseconds, unless the user has chosen how. Read as torch is imported.

    By default they spin for milliseconds; beside other busy processes every parallel operation then waits for a thread
    that spins in another's stead, and training is ten times slower.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


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
