"""langchain-tests' own unit suite, unmodified."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_modelstudio import ChatModelStudio


class _Unit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatModelStudio

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "qwen-plus", "api_key": "a-key-for-tests"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"DASHSCOPE_API_KEY": "a-key-for-tests"}, {"model": "qwen-plus"}, {"api_key": "a-key-for-tests"}

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
    def supports_video_inputs(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "qwen-flash"


class TestStandardUnit(_Unit):
    """A hybrid model as it comes."""


class TestStandardUnitThinking(_Unit):
    """The same, thinking."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return super().chat_model_params | {"enable_thinking": True, "thinking_budget": 512}
