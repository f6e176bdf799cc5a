"""The SDK and the core send the same requests, except for the differences in docs/vendor-sdk.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dashscope
import pytest

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.types import CallOptions, ChatRequest, ImagePart, LocalFile, Message, TextPart
from tests.loopback import Loopback
from tests.witness.calls import CALLS, KEY, VL, Call
from tests.witness.comparison import differing, explain, flat_request
from tests.witness.differences import REQUESTS
from tests.witness.service import answer, run_ours

ALWAYS = {"user-agent", "accept-encoding", "sdk client", "sdk session", "content-type"}
CLIENT = {"accept of Client", "partial of Client"}
REFUSED = {"search with options": "enable_source"}
STORE = {"accept of the store", "stored name", "file type"}
GENERATION = "/api/v1/services/aigc/multimodal-generation/generation"


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback(answer) as server:
        dashscope.base_http_api_url = f"{server.url}/api/v1"
        yield server


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_a_request(call: Call, server: Loopback) -> None:
    """Method, path, headers and body differ only as stated."""
    server.requests.clear()
    call.sdk()
    run_ours(server, call.ours, stream=call.stream, **call.settings)
    theirs, mine = map(flat_request, server.requests)
    expected = {*call.differs, *ALWAYS, "buffering" if call.stream else "accept"}
    if "stream of unknown models" in call.differs:
        expected -= {"accept"}  # as for streams
    used, unexplained = explain(differing(theirs, mine), {name: REQUESTS[name] for name in expected})
    assert unexplained == []
    assert used == expected


@pytest.mark.parametrize("protocol", ["dashscope", "openai"])
@pytest.mark.parametrize("call", [call for call in CALLS if call.client], ids=lambda call: call.name)
def test_a_request_of_the_client(call: Call, protocol: str, server: Loopback) -> None:
    """The SDK's newer `Client` supports both protocols, and has no more differences."""
    native = protocol == "dashscope"
    allowed = {*call.differs, *ALWAYS, *CLIENT}
    server.requests.clear()
    with dashscope.Client(
        api_key=KEY,
        base_url=f"{server.url}/{'api/v1' if native else 'compatible-mode/v1'}",
        max_retries=0,
        protocol="native" if native else "openai",
    ) as client:
        answer = client.chat.completions.create(**call.client)
        if call.stream:
            list(answer)
    if not native and call.name in REFUSED:
        with pytest.raises(ConfigurationError, match=REFUSED[call.name]):
            run_ours(server, call.ours, stream=True, protocol="openai")
        return
    run_ours(server, call.ours, stream=call.stream, protocol=protocol)
    theirs, mine = map(flat_request, server.requests)
    found = [(place if native else _native(place), *values) for place, *values in differing(theirs, mine)]
    used, unexplained = explain(found, {name: REQUESTS[name] for name in allowed})
    assert unexplained == []
    assert ("partial of Client" in used) == (not native and call.name == "the beginning of the answer")


def _native(place: str) -> str:
    """Return the location in a native request for one in a compatible request."""
    if place.startswith("messages"):
        return f"input.{place}"
    return place if place.startswith(("header", "path", "stream")) else f"parameters.{place}"


def test_an_upload(server: Loopback, tmp_path: Path) -> None:
    """A local file needs a policy, a form and the chat. The form has the same fields."""
    file = tmp_path / "cat.png"
    file.write_bytes(b"png")
    server.requests.clear()
    content = [{"image": file.as_uri()}, {"text": "What is it?"}]
    dashscope.MultiModalConversation.call(
        model=VL, api_key=KEY, messages=[{"role": "user", "content": content}], result_format="message"
    )
    parts = (ImagePart(LocalFile(str(file), "image/png", "cat.png")), TextPart("What is it?"))
    run_ours(server, ChatRequest(VL, (Message("user", parts),), options=CallOptions(upload="always")))
    requests = [flat_request(request) for request in server.requests]
    assert [request["path"] for request in requests] == ["/api/v1/uploads", "/store", GENERATION] * 2
    identity, chat = {"user-agent", "accept-encoding"}, {"sdk client", "sdk session", "accept"}
    expected = [identity | chat, identity | STORE, identity | chat | {"content-type", "stored name"}]
    for theirs, mine, names in zip(requests[:3], requests[3:], expected, strict=True):
        used, unexplained = explain(differing(theirs, mine), {name: REQUESTS[name] for name in names})
        assert unexplained == []
        assert used == names


def test_each_row_occurs() -> None:
    """There are at least 40 calls with unique names. No row is outdated."""
    assert len({call.name for call in CALLS}) == len(CALLS) >= 40
    named = {name for call in CALLS for name in call.differs}
    assert named | ALWAYS | STORE | CLIENT | {"accept", "buffering", "parameters of the other protocol"} == {*REQUESTS}
