"""Conversion of tools, tool choices, schemas and media URLs, shared by both adapters."""

from __future__ import annotations

from typing import Any

import pytest

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.media import audio_format, check_url, data_uri
from modelstudio_core.tools import arguments_text, checked_tool, chosen_tool, json_schema_format

WEATHER: dict[str, Any] = {"type": "function", "function": {"name": "weather", "parameters": {}}}
NAMED = {"type": "function", "function": {"name": "weather"}}


def test_strict() -> None:
    """It is added unless the tool sets it. The caller's tool is not changed."""
    own = {"type": "function", "function": {"name": "weather", "strict": False}}
    assert checked_tool(WEATHER, True)["function"] == {"name": "weather", "parameters": {}, "strict": True}
    assert checked_tool(own, True) == own
    assert checked_tool(WEATHER) == WEATHER
    assert "strict" not in WEATHER["function"]


@pytest.mark.parametrize(
    "tool", [{}, {"type": "web_search"}, {"type": "function"}, {"type": "function", "function": {}}]
)
def test_tools_that_are_not_functions(tool: dict[str, Any]) -> None:
    """The error has the type, and how to use the service's search."""
    with pytest.raises(ConfigurationError, match=r"not a function.*enable_search"):
        checked_tool(tool)


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (None, None),
        (False, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("weather", NAMED),
        (NAMED, NAMED),
        ({"type": "tool", "name": "weather"}, NAMED),
    ],
)
def test_choices(choice: Any, wire: Any) -> None:
    """Every form of the frameworks."""
    assert chosen_tool(choice, [WEATHER]) == wire


@pytest.mark.parametrize("choice", ["wether", {"type": "function", "function": {"name": "wether"}}, {}, 7])
def test_unknown_choices(choice: Any) -> None:
    """The error has the choice and the available tools."""
    with pytest.raises(ConfigurationError, match="tool_choice"):
        chosen_tool(choice, [WEATHER])


def test_schema_names() -> None:
    """They are reduced to 64 letters, digits, - and _. Description and strict are copied if set."""
    made = json_schema_format("Box[int]" + "x" * 99, {"type": "object"})
    assert made == {
        "type": "json_schema",
        "json_schema": {"name": ("Box_int_" + "x" * 99)[:64], "schema": {"type": "object"}},
    }
    said = json_schema_format("a", {}, description="b", strict=False)["json_schema"]
    assert said == {"name": "a", "schema": {}, "description": "b", "strict": False}


def test_arguments_are_json_unescaped() -> None:
    """Values that JSON cannot represent raise an error with the function. NaN is allowed: models may write it."""
    assert arguments_text("f", {"city": "上海", "x": float("nan")}) == '{"city": "上海", "x": NaN}'
    for wrong in ({1, 2}, object()):
        with pytest.raises(ConfigurationError, match="call of f"):
            arguments_text("f", {"x": wrong})


def test_media_urls() -> None:
    """http(s), oss and data URLs are accepted. A local path raises an error with advice."""
    for url in ("https://a/b.png", "http://a", "oss://b/c", data_uri("image/png", "AAAA")):
        assert check_url(url) == url
    with pytest.raises(ConfigurationError, match="read the file"):
        check_url("/home/me/a.png")


@pytest.mark.parametrize(
    ("name", "format"), [("audio/mpeg", "mp3"), ("audio/x-wav", "wav"), ("mp3", "mp3"), ("", None), (None, None)]
)
def test_audio_formats(name: str | None, format: str | None) -> None:
    """From a MIME type or an extension."""
    assert audio_format(name) == format
