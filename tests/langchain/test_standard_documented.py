"""langchain-tests' integration suite, unmodified, for documented features that the local model lacks: Omni.

Images, audio and video as input, JSON mode and thoughts as output, and all details of usage; the service is
tests/langchain/capable.py. Tests stay skipped only for features that no vendor page documents: PDF, and media in tool
results. Files that the suite would download are provided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_modelstudio import ChatModelStudio
from tests.langchain.capable import Capable
from tests.langchain.service import chat
from tests.loopback import Loopback

pytestmark = pytest.mark.slow

PNG = b"\x89PNG\r\n\x1a\n"
WAV = {"type": "audio", "base64": "UklGRiQA", "mime_type": "audio/wav"}
DETAILS: Any = ["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]


class _Documented(ChatModelIntegrationTests):
    server: Loopback
    cassette = "documented/thinking_usage"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _service(cls) -> Iterator[None]:
        with Loopback(Capable()) as cls.server:
            yield

    @pytest.fixture(autouse=True)
    def _no_internet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "tests")
        monkeypatch.setattr(httpx, "get", lambda url, **_: httpx.Response(200, content=PNG))

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatModelStudio

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "qwen3.8-omni-flash", "base_url": self.server.url, "max_retries": 0}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_video_inputs(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "qwen3-omni-flash"

    @property
    def supported_usage_metadata_details(self) -> Any:
        return {"invoke": DETAILS, "stream": DETAILS}

    def invoke_with_audio_input(self, *, stream: bool = False) -> AIMessage:
        return self._asked([HumanMessage([WAV])], stream=stream)

    def invoke_with_audio_output(self, *, stream: bool = False) -> AIMessage:
        # no audio comes while the model thinks (Omni page)
        spoken = {"modalities": ["text", "audio"], "audio": {"voice": "Cherry", "format": "wav"}}
        message = self._asked("Hello", stream=stream, enable_thinking=False, **spoken)
        assert message.additional_kwargs["audio"]["data"] == "AAAAAAAB"
        return message

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._asked("Hello", stream=stream, enable_thinking=True)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        self._marked("read", stream=stream)
        return self._marked("read", stream=stream)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._marked(f"create {len(self.server.requests)}", stream=stream)

    def _marked(self, text: str, *, stream: bool) -> AIMessage:
        block = {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
        return self._asked([HumanMessage([block, {"type": "text", "text": "Hello"}])], stream=stream)

    def _asked(self, given: Any, *, stream: bool, **settings: Any) -> AIMessage:
        llm = chat(self.server, **{"model": "qwen3.8-omni-flash", **settings})
        if not stream:
            return llm.invoke(given)
        first, *rest = llm.stream(given)
        return first + rest


class TestOmni(_Documented):
    """With default settings: it thinks, and always streams."""


class TestOmniV1(_Documented):
    """The same with v1 content."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return super().chat_model_params | {"output_version": "v1"}
