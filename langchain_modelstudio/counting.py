"""Count the tokens of texts and of whole requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel

from langchain_modelstudio.binding import Tool
from langchain_modelstudio.errors import langchain_errors

if TYPE_CHECKING:
    from langchain_modelstudio.chat_models import ChatModelStudio


class TokenCounting:
    """Implement the token counts of `ChatModelStudio`."""

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of `text`. Raises ImportError if the extra `tokenizer` is not installed."""
        from modelstudio_core.tokens import token_ids  # imported at first use, as few programs count tokens

        model = cast("ChatModelStudio", self)
        return model.custom_get_token_ids(text) if model.custom_get_token_ids else token_ids(text, model.model)

    def get_num_tokens(self, text: str) -> int:
        """Return the number of tokens of `text`: exact for Qwen with the extra `tokenizer`, else an estimate."""
        from modelstudio_core.tokens import count_tokens

        model = cast("ChatModelStudio", self)
        return len(self.get_token_ids(text)) if model.custom_get_token_ids else count_tokens(text, model.model)

    def get_num_tokens_from_messages(
        self,
        messages: LanguageModelInput,
        tools: Sequence[Tool] | None = None,
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        response_format: dict[str, Any] | type | None = None,
        **kwargs: Any,
    ) -> int:
        """Return the number of input tokens of a request, counted with the settings of this object.

        The count is exact for text input to models whose counts were verified against recorded requests, with the
        extra `tokenizer`. Where it may differ from the service's count, it is a
        `modelstudio_core.tokens.TokenEstimate`, whose `reason` says why.

        Args:
            messages: the conversation, in any form that `invoke` takes. Images, video and audio are not counted.
            tools, tool_choice: as in `bind_tools`.
            response_format: a schema, or the service's `response_format`.
            **kwargs: any other parameter of a call, such as `enable_thinking`.
        """
        model = cast("ChatModelStudio", self)
        read = model._convert_input(messages).to_messages()
        if model.custom_get_token_ids:
            return BaseChatModel.get_num_tokens_from_messages(model, read, tools)
        given = {"tools": tools, "tool_choice": tool_choice, "response_format": response_format}
        call = kwargs | {name: value for name, value in given.items() if value is not None}
        with langchain_errors():
            return model._core_tokens(*model._request(read, None, call)) if read else 0
