"""`make catalogue` prints every kind of difference, for the saved list and a live one with several pages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import compare_catalogue
from tests.loopback import Exchange, Loopback, reply_json

SAVED = json.loads(compare_catalogue.SAVED.read_text(encoding="utf-8"))
MODELS: list[dict[str, Any]] = SAVED["output"]["models"]


def test_the_saved_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key: IDs, retirements, limits, modalities, tiers and prices."""
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    assert compare_catalogue.main() == 0
    first, *found, missing, last = capsys.readouterr().out.splitlines()
    assert first == "DASHSCOPE_API_KEY is not set: comparing with the saved examples in model_list.json"
    assert set(found) == {
        "example-model-1: not in the catalogue",
        "qwen3-max: listed, but retired on 2026-10-10 in the catalogue, as the reseller says",
        "qwen3-max: 3 price tiers, 0 in the list",
        "qwen3.7-plus: input_video is True, False in the list",
        "qwen3.7-plus: 2 price tiers, 1 in the list",
        "prices in the list alone: qwen3.6-plus",
        "qwen3.5-plus: max_output is 65536, 131072 in the list",
        "qwen3.5-plus (0<Token<=256K): price of output cannot be read: 'on request'",
        "qwen-flash: max_input_thinking is None, 995904 in the list",
        "qwen-flash: max_output_thinking is None, 32768 in the list",
        "qwen-flash (256K<Token<=1M): price of output is 2, 2.5 USD/1M tokens in the list",
    }
    assert missing.startswith("not in the list, which differs by region: ")
    names = missing.partition(": ")[2].split(", ")
    assert "qwen-plus" in names
    assert not {"qwen3.8-max", "qwen-turbo"} & {*names}  # listed without a difference, and retired
    assert last == f"{len(MODELS)} models in the list, {len(found) + 1} differences"


def test_the_live_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a key, all pages are requested from the configured host. Prices of other regions are unknown."""

    def page(exchange: Exchange) -> None:
        number = int(exchange.request.path.partition("page_no=")[2].partition("&")[0])
        reply_json(200, {"output": {"total": len(MODELS), "models": MODELS[number * 3 - 3 : number * 3]}})(exchange)

    with Loopback(page) as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-for-the-catalogue")
        assert compare_catalogue.main() == 0
        paths = [request.path.partition("?")[0] for request in server.requests]
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-for-the-catalogue"}
    assert paths == ["/api/v1/models"] * 3
    printed = capsys.readouterr().out
    assert "example-model-1: not in the catalogue" in printed
    assert "price" not in printed
    assert f"{len(MODELS)} models in the list" in printed
