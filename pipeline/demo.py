"""Command `demo`: a web page, served from here, that draws birds from sentences.

Reads   a shipped model, by default models/<preset>/stackgan
Serves  a sentence, optionally a second one to go towards, seed, number and truncation; Stage I beside Stage II

The page works without a network and asks for none: no analytics, no fonts or scripts from elsewhere. Since a drawing
takes seconds, all that a visitor can ask for is bounded, and one drawing runs at a time.
"""

import errno
import functools
import importlib.util
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from pipeline import console
from pipeline.shipped_model import model_folder
from stackgan import StackGAN
from stackgan.errors import UserError
from stackgan.model import STAGES, to_pictures
from stackgan.networks import STAGE_SIZES

if TYPE_CHECKING:
    import gradio

LONGEST_SENTENCE = 300  # characters
MOST_PICTURES = 8
LARGEST_SEED = 2**32 - 1
EXAMPLES = (
    "a small bird with a red head, a white belly and brown wings",
    "this bird has blue wings, a yellow breast and a black crown",
    "a bird with a black head, brown wings and a long pointed beak",
    "a little green bird with a red belly and a short pointed bill",
)
_STYLE = """
#stage1 img { image-rendering: pixelated; }
#remark { color: #b45309; font-weight: 600; }
"""

Answer = tuple[str, list[Image.Image], list[Image.Image]]


class Studio:
    """What the page asks of a model."""

    def __init__(self, model: StackGAN) -> None:
        self.model = model

    def draw(self, first: str, second: str, way: float, seed: float | None, number: float, truncation: float) -> Answer:
        """A remark, then `number` pictures by Stage I and by Stage II.

        They show the sentence `first` or, where `second` is one too, what lies at `way` (0 to 1) between the two.
        What is out of bounds is a `UserError`.
        """
        captions = [_checked(caption) for caption in (first, second) if caption and caption.strip()]
        if not captions:
            raise UserError("there is no sentence: describe a bird, as in 'a small red bird with a short beak'")
        number, seed = _within(number, 1, MOST_PICTURES, "number"), _within(seed, 0, LARGEST_SEED, "seed")
        way, truncation = _within(way, 0, 1, "way"), _within(truncation, 0, 1, "truncation")
        ends = self.model.encode(captions)
        embeddings = torch.lerp(ends[0], ends[-1], way).expand(int(number), -1)
        noise = truncation * self.model.noise(int(number), int(seed))
        small, large = (to_pictures(self.model.draw(embeddings, noise, stage)) for stage in STAGES)
        return self.remark(captions), small, large

    def remark(self, captions: list[str]) -> str:
        """A warning for words that the model cannot know; nothing where it knows them all."""
        unknown = self.model.unknown_words(" ".join(captions))
        if not unknown:
            return ""
        return f"Never seen in training, so expect the model to guess: {', '.join(unknown)}"


def run(folder: Path | None = None, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the page at http://host:port until Ctrl-C. No Gradio, no model or a port in use are a `UserError`."""
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the demo needs Gradio: run pip install -e '.[demo]'")
    _require_free(host, port)
    studio = Studio(StackGAN.from_pretrained(model_folder(folder)))
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # some of Gradio reads this alone, when it is imported
    page = build(studio)
    try:
        console.info(f"the demo is at {_launch(page, host, port)} (Ctrl-C ends it)")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    finally:
        page.close(verbose=False)


def _launch(page: "gradio.Blocks", host: str, port: int) -> str:
    """Serve the page in the background; its address."""
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size="1kb",  # the page takes no files, so its server need not either
            run_history=False,
            footer_links=[],
            theme=_theme(),
            css=_STYLE,
        )
    except Exception as error:  # Gradio asks the page from itself first, and has a type of error for each failure
        raise UserError(
            f"{host}:{port} could not be served ({error}): unset HTTP_PROXY, or try when the machine is less busy"
        ) from error
    return str(url)


def build(studio: Studio) -> "gradio.Blocks":
    """The page, not yet served."""
    import gradio as gr

    # Pictures lie in Gradio's folder of temporary files until they are an hour old or the demo ends.
    with gr.Blocks(title="StackGAN", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown("# StackGAN\nDescribe a bird. Stage I sketches it, Stage II redraws the sketch.")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                first = _sentence("Sentence", EXAMPLES[0])
                button = gr.Button("Draw", variant="primary")
                examples = gr.Examples([[example] for example in EXAMPLES], first, cache_examples=False)
                second = _sentence("Towards another sentence", "", "optional: the bird turns into this one")
                way = gr.Slider(0, 1, 0, step=0.05, label="How far towards it", elem_id="way")
                with gr.Row():
                    seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=LARGEST_SEED, min_width=100)
                    number = gr.Slider(1, MOST_PICTURES, 4, step=1, label="Pictures", min_width=140)
                truncation = gr.Slider(
                    0, 1, 1, step=0.05, label="Truncation", info="Scale of the noise: less noise, less variety."
                )
            with gr.Column(scale=5):
                remark = gr.Markdown(elem_id="remark")
                with gr.Row():
                    galleries = [_gallery(stage) for stage in STAGES]
        ask = {
            "fn": _in_the_page(studio.draw),
            "inputs": [first, second, way, seed, number, truncation],
            "outputs": [remark, *galleries],
            "api_visibility": "private",
        }
        gr.on([page.load, button.click, first.submit, second.submit], **ask)
        examples.load_input_event.then(**ask)
        # While the slider moves, only the last of its positions is worth a drawing.
        way.input(**ask, trigger_mode="always_last", show_progress="hidden")
    return page.queue(max_size=20, default_concurrency_limit=1)


def _sentence(label: str, value: str, placeholder: str = "") -> "gradio.Textbox":
    import gradio as gr

    return gr.Textbox(value, label=label, placeholder=placeholder, max_length=LONGEST_SENTENCE, max_lines=3)


def _gallery(stage: int) -> "gradio.Gallery":
    import gradio as gr

    size = STAGE_SIZES[stage]
    return gr.Gallery(
        label=f"Stage {'I' * stage}, {size}×{size}",
        format="png",
        columns=2,
        height="auto",
        object_fit="contain",
        buttons=["download", "fullscreen"],
        interactive=False,
        elem_id=f"stage{stage}",
    )


def _theme() -> "gradio.themes.ThemeClass":
    import gradio as gr

    # Fonts that come with Gradio: others would be asked of the network.
    font = [gr.themes.LocalFont("Source Sans 3"), "system-ui", "sans-serif"]
    return gr.themes.Soft(primary_hue="teal", secondary_hue="teal", neutral_hue="stone", font=font)


def _in_the_page(answer: Callable[..., Answer]) -> Callable[..., Answer]:
    """`answer`, whose errors reach the visitor as a sentence; the unforeseen ones are told whole in the terminal."""
    import gradio as gr

    @functools.wraps(answer)
    def told(*values: Any) -> Answer:
        try:
            return answer(*values)
        except UserError as error:
            raise gr.Error(str(error), title="Not drawn", print_exception=False) from None
        except Exception as error:
            raise gr.Error("something broke: the terminal that runs the demo says what", title="Not drawn") from error

    return told


def _checked(caption: str) -> str:
    if len(caption) > LONGEST_SENTENCE:
        raise UserError(f"a sentence of {len(caption)} characters is too long: {LONGEST_SENTENCE} is the most")
    return caption


def _within(value: float | None, least: float, most: float, name: str) -> float:
    if value is None or not least <= value <= most:
        raise UserError(f"{name} must be a number from {least} to {most}")
    return value


def _require_free(host: str, port: int) -> None:
    """Tell before the model is loaded, and better than the server would."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except (socket.gaierror, UnicodeError):
        raise UserError(f"{host} is no address of this machine: give another --host") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is taken: stop what listens there, or give another --port") from None
        raise UserError(f"{host}:{port} cannot be served ({error.strerror}): give another --host or --port") from None
