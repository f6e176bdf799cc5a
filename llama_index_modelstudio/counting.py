"""Count tokens for LlamaIndex: a tokenizer for texts, and the input tokens of whole requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import BaseTool

from llama_index_modelstudio.messages import to_core_messages

if TYPE_CHECKING:
    from llama_index_modelstudio.llm import ModelStudio


class TokenCounting:
    """Implement the token counts of `ModelStudio`."""

    @property
    def tokenizer(self) -> Callable[[str], list[int]]:
        """Return the function from text to token ids that LlamaIndex takes: `Settings.tokenizer = llm.tokenizer`.

        It needs the extra `tokenizer` and is exact for Qwen models.
        """
        from modelstudio_core.tokens import token_ids  # imported at first use, as few programs count tokens

        return partial(token_ids, model=cast("ModelStudio", self).model)

    def get_num_tokens_from_messages(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[BaseTool] | None = None,
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        response_format: dict[str, Any] | type | None = None,
        **kwargs: Any,
    ) -> int:
        """Return the number of input tokens of a request, counted with the settings of this object.

        It is exact for text to the recorded models, with the extra `tokenizer`. Where it may differ from the service's
        count, it is a `modelstudio_core.tokens.TokenEstimate`, whose `reason` says why.

        Args:
            messages: the conversation. Images, video and audio are not counted.
            tools, tool_choice: as in `chat_with_tools`.
            response_format: a pydantic class, or the service's `response_format`.
            **kwargs: any other parameter of a call, such as `enable_thinking`.

        Raises:
            ConfigurationError: for a request that the service is documented to reject.
        """
        if not messages:
            return 0
        if response_format is not None:
            kwargs["response_format"] = response_format
        llm = cast("ModelStudio", self)
        call = llm._prepare_chat_with_tools(
            tools or (), chat_history=list(messages), tool_choice=tool_choice, allow_parallel_tool_calls=True, **kwargs
        )
        return llm._core_tokens(*llm._request(to_core_messages(call.pop("messages")), call))
