"""What the demo says where things go otherwise than in the best case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk

from examples import demo
from langchain_modelstudio import ChatModelStudio
from tests.loopback import Loopback, reply_json

METADATA = {"model_name": "qwen-plus", "finish_reason": "stop"}


def spent(tokens: int) -> AIMessageChunk:
    usage: Any = {"input_tokens": tokens, "output_tokens": tokens, "total_tokens": 2 * tokens}
    return AIMessageChunk("x", usage_metadata=usage, response_metadata=METADATA)


def test_the_usage_of_several_calls_is_their_sum(capsys: pytest.CaptureFixture[str]) -> None:
    """What a tool call costs is what both of its calls cost."""
    demo.show_usage(spent(3), spent(40))
    printed = capsys.readouterr().out
    assert "2 calls" in printed
    assert "43" in printed
    assert "86" in printed
    demo.show_usage(AIMessageChunk("x", response_metadata=METADATA))
    assert "sent no usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("failure", "status", "said"), [(None, 1, "AuthenticationError"), (KeyboardInterrupt(), 130, "stopped")]
)
def test_a_failure_is_a_sentence_and_a_status(
    failure: BaseException | None,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No traceback: the error's own words, or that it was stopped."""
    with Loopback(reply_json(401, {"error": {"code": "invalid_api_key", "message": "no"}})) as server:

        @contextmanager
        def model(**settings: Any) -> Iterator[ChatModelStudio]:
            if failure:
                raise failure
            yield ChatModelStudio(model="qwen-plus", base_url=server.url, **settings)

        monkeypatch.setattr(demo, "a_model", model)
        assert demo.main() == status
    assert said in capsys.readouterr().out
