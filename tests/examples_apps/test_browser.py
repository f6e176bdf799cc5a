"""The page of the FastAPI example in headless Chromium: thinking and answer stream into it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from playwright.sync_api import Page, expect, sync_playwright

from examples import fastapi_chat
from tests.loopback import Exchange, Loopback, Script, reply_json
from tests.service import USAGE, Answer

ANSWER = Answer(reasoning=["Light ", "scatters."], text=["Blue ", "<b>mostly</b>.\n", "Yes."], usage=USAGE)


@pytest.fixture(scope="session")
def browser_page() -> Iterator[Page]:
    """A page of the Chromium on the machine (apt-get install chromium), or of playwright's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 390, "height": 844})
        browser.close()


@pytest.fixture
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Loopback]]:
    """The address of the service, which asks a model that is the test's parameter, and that model."""
    script: Script = request.param
    with Loopback(script) as model:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", model.url)
        server = uvicorn.Server(uvicorn.Config(fastapi_chat.app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            thread.join(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", model
        server.should_exit = True
        thread.join(10)


def ask(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_label("Question").fill("Why is the sky blue?")
    page.get_by_role("button", name="Ask").click()


@pytest.mark.parametrize("site", [ANSWER], indirect=True, ids=["answer"])
def test_thinking_and_answer(site: tuple[str, Loopback], browser_page: Page) -> None:
    """Both are shown as text, markup too, with the tokens below; nothing is wider than a phone."""
    ask(browser_page, site[0])
    expect(browser_page.get_by_role("status")).to_have_text("30 tokens")
    assert browser_page.locator("#thinking").inner_text() == "Light scatters."
    assert browser_page.locator("#answer").inner_text() == "Blue <b>mostly</b>.\nYes."
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 390
    assert site[1].requests[0].json()["messages"][-1]["content"] == "Why is the sky blue?"


def never_ends(exchange: Exchange) -> None:
    """Stream a thought, then nothing until the client leaves."""
    exchange.send_head(200, {"content-type": "text/event-stream"})
    exchange.send_chunk(b'data: {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]}\n\n')
    exchange.client_gone(10)
    exchange.close()


@pytest.mark.parametrize("site", [never_ends], indirect=True, ids=["slow"])
def test_it_streams_and_leaving_stops_the_answer(site: tuple[str, Loopback], browser_page: Page) -> None:
    """A thought is shown before the answer ends; when the page is left, so is the call."""
    ask(browser_page, site[0])
    expect(browser_page.locator("#thinking")).to_have_text("Hm.")
    assert site[1].open_connections == 1
    browser_page.goto("about:blank")
    assert site[1].wait_until(lambda model: model.open_connections == 0, 5)


@pytest.mark.parametrize(
    "site", [reply_json(401, {"error": {"code": "invalid_api_key", "message": "no"}})], indirect=True, ids=["wrong-key"]
)
def test_an_error_is_shown(site: tuple[str, Loopback], browser_page: Page) -> None:
    ask(browser_page, site[0])
    expect(browser_page.get_by_role("status")).to_contain_text("AuthenticationError")
