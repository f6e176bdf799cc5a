"""Find the JSON object in an answer: alone, in a code fence, or surrounded by text. Nothing is repaired."""

from __future__ import annotations

import json
import re

_DECODER = json.JSONDecoder()
_FENCED = re.compile(r"```\w*[ \t]*\r?\n\s*(?=\{)")  # cannot match inside JSON, whose strings have no line breaks
_FENCE_END = re.compile(r"\s*```(?=\s|$)")
_MORE_JSON = re.compile(r"\s*[\],:]|[^{}]*[{}]")  # after the object: it is part of a larger value, or not the only one


def object_start(text: str) -> int | None:
    """Return the index at which the object in `text` begins: in its code fence, or else at its first brace.

    None if there is no brace or a list begins first. Brackets before a code fence, such as in a citation, are allowed.
    """
    if fenced := _FENCED.search(text):
        return fenced.end()
    brace, fence = text.find("{"), text.find("```")
    if brace < 0 or text.find("[", fence if 0 <= fence < brace else 0, brace) >= 0:
        return None
    return brace


def object_text(text: str) -> str:
    """Return the part of `text` that is its one JSON object.

    Raises:
        ValueError: if there is no object, it is not valid JSON, or there are several. The message quotes the text.
    """
    start = object_start(text)
    if start is None:
        raise ValueError(f"no JSON object in {text[:200]!r}")
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}, in {text[:200]!r}") from None
    fence = _FENCE_END.match(text, end)  # after the fence, braces may be prose
    if _FENCED.search(text, fence.end()) if fence else _MORE_JSON.match(text, end):
        raise ValueError(f"more than one JSON object in {text[:200]!r}")
    return text[start:end]
