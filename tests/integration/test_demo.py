"""The demo's page in a real browser, cut off from everything but this machine: type, click, move, look."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.demo import EXAMPLES
from tests.conftest import PROJECT
from tests.stackgan.test_model import amplify, make_model, make_parts

pytest.importorskip("gradio", reason="the demo needs the extra `demo`")
sync_api = pytest.importorskip("playwright.sync_api", reason="a browser is driven by the extra `browser`")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The command line with a guard: the first attempt to reach further than this machine ends the demo.
OFFLINE = """
import os, sys

HERE = ("127.0.0.1", "::1", "localhost", None)

def guard(event, arguments):
    if event == "socket.connect":
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host not in HERE:
        print(f"the demo wanted to reach {host}", file=sys.stderr, flush=True)
        os._exit(9)

sys.addaudithook(guard)
from pipeline.cli import main
main()
"""
MINUTE = 60_000  # milliseconds, a bound for slow machines


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo of a model whose pictures differ, served until the module's tests have run; Ctrl-C then ends it well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = amplify(make_model(make_parts(tmp_path_factory.mktemp("parts")), tmp_path_factory.mktemp("model")))
    command = [sys.executable, "-c", OFFLINE, "demo", "--model", str(model), "--port", str(port)]
    with subprocess.Popen(
        command,
        cwd=model,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        try:
            said = ""
            while "Ctrl-C" not in said:
                line = demo.stdout.readline()
                assert line, said
                said += line
            yield f"http://127.0.0.1:{port}"
            assert demo.poll() is None, demo.stdout.read()
            demo.send_signal(signal.SIGINT)
            assert demo.wait(60) == 0
        finally:
            demo.kill()


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    """The page as it opens, its first birds drawn; in the end no console error and no request elsewhere is forgiven."""
    problems: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(MINUTE)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.on("request", lambda sent: None if sent.url.startswith((address, "data:")) else problems.append(sent.url))
        page.goto(address)
        for stage in (1, 2):
            sync_api.expect(pictures(page, stage)).to_have_count(4, timeout=MINUTE)
        yield page
        browser.close()
    assert problems == []


def pictures(page: Any, stage: int) -> Any:
    return page.locator(f"#stage{stage} .grid-container img")


def sources(page: Any, stage: int) -> list[str]:
    """The pictures' addresses, which hold the hashes of their contents."""
    return [str(picture.get_attribute("src")) for picture in pictures(page, stage).all()]


def expect_others(page: Any, before: list[str], stage: int = 2) -> None:
    sync_api.expect(pictures(page, stage).first).not_to_have_attribute("src", before[0], timeout=MINUTE)


def test_another_sentence_gives_other_pictures_by_both_stages(page: Any) -> None:
    before = {stage: sources(page, stage) for stage in (1, 2)}
    page.get_by_label("Sentence", exact=True).fill("a large bird with black wings")
    page.get_by_role("button", name="Draw").click()
    for stage in (1, 2):
        expect_others(page, before[stage], stage)
    assert page.locator("#remark").inner_text().strip() == ""


def test_words_never_seen_are_warned_of(page: Any) -> None:
    page.get_by_label("Sentence", exact=True).fill("a small red zebra")
    page.get_by_label("Sentence", exact=True).press("Enter")
    sync_api.expect(page.locator("#remark")).to_contain_text("zebra", timeout=MINUTE)


def test_the_slider_leads_to_a_second_sentence(page: Any) -> None:
    before = sources(page, 2)
    page.get_by_label("Towards another sentence").fill("a large bird with black wings")
    page.locator("#way input[type=range]").press("End")
    expect_others(page, before)


def test_an_example_is_drawn_by_one_click(page: Any) -> None:
    before = sources(page, 2)
    page.get_by_text(EXAMPLES[-1][:40]).click()  # the page cuts long ones
    expect_others(page, before)
    sync_api.expect(page.get_by_label("Sentence", exact=True)).to_have_value(EXAMPLES[-1])


def test_a_mistake_is_told_in_the_page_by_a_sentence(page: Any) -> None:
    page.get_by_label("Sentence", exact=True).fill(" ")
    page.get_by_role("button", name="Draw").click()
    sync_api.expect(page.get_by_text("there is no sentence")).to_be_visible(timeout=MINUTE)
    assert "Traceback" not in page.content()
