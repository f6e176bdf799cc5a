"""langchain-tests' integration suite, unmodified, with the local model, thinking off and on.

The properties state what a model of 135 million parameters can do: it reads text only, and writes JSON only if forced.
test_standard_documented.py runs the suite for the rest.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_modelstudio import ChatModelStudio

pytestmark = pytest.mark.slow


class _Integration(ChatModelIntegrationTests):
    base_url = ""
    cassette = "local/plain_stream"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _local_model(cls, local_model_url: str) -> None:
        cls.base_url = local_model_url

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatModelStudio

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "qwen-plus", "base_url": self.base_url, "max_retries": 0}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0, "max_tokens": 200, "timeout": 120}

    @property
    def model_override_value(self) -> str:
        return "qwen-flash"

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> Any:
        return {"invoke": ["cache_read_input"], "stream": ["cache_read_input"]}

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        llm = ChatModelStudio(**self.chat_model_params, max_tokens=16)
        if not stream:
            return llm.invoke("Hello")
        first, *rest = llm.stream("Hello")
        return first + rest


class TestThinkingOff(_Integration):
    """A hybrid model whose thinking is off by default."""


class TestThinkingOn(_Integration):
    """The same with thinking: invoke streams, and forced tool choices become auto."""

    cassette = "local/thinking_stream"

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return super().chat_model_params | {"enable_thinking": True, "thinking_budget": 16}
