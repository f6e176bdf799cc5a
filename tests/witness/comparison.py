"""Compare what the vendor's SDK and the core sent or read, value by value.

Both sides are flattened to `{place: value}`, with places such as `input.messages[].content`. A place whose values
differ must be a row of `differences`, and each row that a case names must occur.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.loopback import Received
from tests.witness.differences import ABSENT, Difference

# of the connection, or a result of the body's bytes
_IGNORED = {"connection", "content-length", "date", "host", "transfer-encoding"}

Flat = dict[str, Any]


def flatten(value: Any, place: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the place and value of each leaf. Empty objects and lists are leaves."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from flatten(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            yield from flatten(inner, f"{place}[{position}]")
    else:
        yield place, value


def flat_request(request: Received) -> Flat:
    """Return the method, path, query, headers and body of a request."""
    url = urlsplit(request.path)
    flat: Flat = {"method": request.method, "path": url.path}
    flat |= {f"query {name}": value for name, value in parse_qsl(url.query)}
    flat |= {f"header {name}": value for name, value in request.headers.items() if name not in _IGNORED}
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/form-data"):
        flat["header content-type"] = "multipart/form-data"  # the boundary is random
        return flat | dict(_form(kind, request.body))
    return flat | (dict(flatten(request.json())) if request.body else {})


def _form(kind: str, body: bytes) -> Iterable[tuple[str, Any]]:
    """Yield the fields of a multipart form, and the name, type and content of its file."""
    form = BytesParser(policy=HTTP).parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
    for part in form.iter_parts():  # type: ignore[attr-defined]  # of an EmailMessage, as the policy says
        name = part.get_param("name", header="content-disposition")
        if filename := part.get_filename():
            yield f"form {name}.filename", filename
            yield f"form {name}.type", part.get_content_type()
        yield f"form {name}", part.get_payload(decode=True).decode()


def differing(sdk: Flat, ours: Flat) -> list[tuple[str, Any, Any]]:
    """Return the places whose values differ, without positions in lists, and both values."""
    places = [*sdk, *(place for place in ours if place not in sdk)]
    found = [(place, sdk.get(place, ABSENT), ours.get(place, ABSENT)) for place in places]
    return [(_general(place), theirs, mine) for place, theirs, mine in found if not _same(theirs, mine)]


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _general(place: str) -> str:
    return re.sub(r"\[\d+\]", "[]", place)


def explain(found: Iterable[tuple[str, Any, Any]], rows: Mapping[str, Difference]) -> tuple[set[str], list[str]]:
    """Return the names of the rows that occur, and the differences that no row explains."""
    used: set[str] = set()
    unexplained = []
    for place, theirs, mine in found:
        names = [name for name, row in rows.items() if row.explains(place, theirs, mine)]
        used.update(names)
        if not names:
            unexplained.append(f"{place}: SDK {_brief(theirs)}, ours {_brief(mine)}")
    return used, unexplained


def _brief(value: Any) -> str:
    return "absent" if value is ABSENT else json.dumps(value, ensure_ascii=False, default=repr)[:200]
