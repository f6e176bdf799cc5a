"""Convert tools to the format of the service, and select the tool calls of a response.

An invalid call is never selected under its own name. But an agent stops if a response has no call, with an empty answer
if the only call is invalid. So agents get an invalid call as a call of a nonexistent tool, which they answer with an
error before asking the model again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool, ToolMetadata
from pydantic import Field, field_serializer, field_validator

from llama_index_modelstudio.errors import ModelStudioError, NoToolCallError, RefusalError
from llama_index_modelstudio.tracing import without_span
from modelstudio_core.built_in_tools import hidden_tools, mcp_headers
from modelstudio_core.partial_json import read_partial
from modelstudio_core.tools import checked_tool, chosen_tool, function_of, tool_list

_REPORT_INVALID = "report_invalid_tool_calls"


class ToolCallingLLM(FunctionCallingLLM, defer_build=True):
    """Implement the tool methods of `FunctionCallingLLM`."""

    built_in_tools: list[dict[str, Any]] | None = Field(
        default=None,
        repr=False,
        description="Responses protocol: tools that the service runs, such as [{'type': 'web_search'}]. Per call, they "
        "replace these.",
    )

    @field_validator("built_in_tools", mode="after")
    @classmethod
    def _hide_headers_of_tools(cls, tools: Any) -> Any:
        return hidden_tools(tools)

    @field_serializer("built_in_tools")
    def _dump_without_headers(self, tools: Any) -> Any:  # tools that were assigned are not validated
        return hidden_tools(tools)

    def __getstate__(self) -> dict[Any, Any]:
        if any(mcp_headers(tool).credentials() for tool in self.built_in_tools or ()):
            # LlamaIndex's __getstate__ would drop the tools with only a warning
            raise TypeError(
                "built_in_tools with the credentials of an MCP server cannot be pickled: pass them with each call"
            )
        return super().__getstate__()

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        single_turn: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the arguments of `chat` for a call with tools. The caller's history is not changed.

        `tool_choice` is "auto", "none", "any"/"required", a tool's name or the service's own dict, and overrides
        `tool_required`. A choice that the model does not support, for instance with thinking, is sent as "auto" with a
        warning. `strict` is set in each function.
        """
        wire = [openai_tool(tool.metadata, strict) for tool in tool_list(tools)]
        messages = list(chat_history or ())
        if user_msg is not None:
            messages.append(
                ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
            )
        if not wire:
            return {"messages": messages, **kwargs}
        choice = "required" if tool_choice is None and tool_required else tool_choice
        return {
            "messages": messages,
            "tools": wire,
            "tool_choice": chosen_tool(choice, wire),
            **({} if self._ignores_parallel_calls() else {"parallel_tool_calls": allow_parallel_tool_calls}),
            **kwargs,
        }

    def _ignores_parallel_calls(self) -> bool:
        """Return True if the protocol has no `parallel_tool_calls`, which LlamaIndex always passes."""
        return False

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        single_turn: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        """Return the response, with only its first call if parallel calls are not allowed.

        Raises:
            NoToolCallError: if all calls are invalid in the `single_turn` of `predict_and_call`.
        """
        message = response.message
        calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
        if not single_turn:
            _report_invalid_calls(response)
        elif not calls and response.additional_kwargs.get("invalid_tool_calls"):
            raise _missing_call_error(response)
        if allow_parallel_tool_calls or len(calls) < 2:
            return response
        message.blocks = [
            block for block in message.blocks if block is calls[0] or not isinstance(block, ToolCallBlock)
        ]
        message.additional_kwargs["tool_calls"] = message.additional_kwargs["tool_calls"][:1]
        return response

    def stream_chat_with_tools(self, *args: Any, **kwargs: Any) -> ChatResponseGen:
        """Stream the answer to a message, with tools that the model may call. See `chat_with_tools`."""
        responses = super().stream_chat_with_tools(*args, **kwargs)

        def reported() -> ChatResponseGen:
            with closing(responses):
                for response in responses:
                    yield _report_invalid_calls(response)

        return reported()

    async def astream_chat_with_tools(self, *args: Any, **kwargs: Any) -> ChatResponseAsyncGen:
        """Async version of `stream_chat_with_tools`."""
        responses = await super().astream_chat_with_tools(*args, **kwargs)

        async def reported() -> ChatResponseAsyncGen:
            async with aclosing(responses):
                async for response in responses:
                    yield _report_invalid_calls(response)

        return reported()

    def predict_and_call(self, *args: Any, **kwargs: Any) -> AgentChatResponse:
        """Let the model call tools, and run them.

        Raises:
            NoToolCallError: if all calls are invalid, or there is none and `error_on_no_tool_call` is True.
        """
        return without_span(super().predict_and_call)(*args, **kwargs, single_turn=True)

    async def apredict_and_call(self, *args: Any, **kwargs: Any) -> AgentChatResponse:
        """Async version of `predict_and_call`."""
        return await without_span(super().apredict_and_call)(*args, **kwargs, single_turn=True)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the valid calls of a response, or those received so far during a stream.

        With `error_on_no_tool_call` False, which agents use, a response of `chat_with_tools` or its variants also has
        each invalid call, as a call of a nonexistent tool. The agent answers it with an error that tells the model
        what was wrong.

        Raises:
            NoToolCallError: there is no valid call, unless `error_on_no_tool_call` is False.
            RefusalError: the model refused instead.
        """
        calls = _valid_calls(response)
        if not error_on_no_tool_call:
            return calls + _invalid_calls(response)
        if not calls:
            raise _missing_call_error(response)
        return calls


def openai_tool(metadata: ToolMetadata, strict: bool | None = None) -> dict[str, Any]:
    """Return a tool as an OpenAI tool, with `strict` in its function unless it is None."""
    tool = metadata.to_openai_tool(skip_length_check=True)
    function = tool["function"]
    if metadata.fn_schema is not None and "properties" not in function["parameters"]:
        root = metadata.fn_schema.model_json_schema()
        if "$ref" in root:  # ToolMetadata drops it from a recursive schema
            function["parameters"] = {**function["parameters"], "$ref": root["$ref"]}
    return checked_tool(tool, strict)


def _valid_calls(response: ChatResponse) -> list[ToolSelection]:
    """Return the valid calls of a response, or those received so far during a stream.

    Messages of other classes may have them only in `additional_kwargs["tool_calls"]`, in OpenAI's format.
    """
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        return [_selection(block.tool_call_id, block.tool_name, block.tool_kwargs) for block in blocks]
    return [
        _selection(_field(call, "id"), name, _field(_field(call, "function"), "arguments"))
        for call in response.message.additional_kwargs.get("tool_calls") or ()
        if (name := _field(_field(call, "function"), "name"))
    ]


def _report_invalid_calls(response: ChatResponse) -> ChatResponse:
    """Mark a response so that agents get its invalid calls, and return it."""
    if response.additional_kwargs.get("invalid_tool_calls"):
        response.additional_kwargs[_REPORT_INVALID] = True
    return response


def _invalid_calls(response: ChatResponse) -> list[ToolSelection]:
    """Return each invalid call as a call of a nonexistent tool, for agents.

    The tool name says what is wrong, because the agent's error message quotes it.
    """
    if not response.additional_kwargs.get(_REPORT_INVALID):
        return []
    return [
        ToolSelection(
            tool_id=call["id"] or "",
            tool_name=f"{function_of(call['name'])} (call not run: {call['error']}; correct it and call again)",
            tool_kwargs={"arguments": call["args"]},
        )
        for call in response.additional_kwargs["invalid_tool_calls"]
    ]


def _missing_call_error(response: ChatResponse) -> ModelStudioError:
    """Return the error for a response without a valid call."""
    if refusal := response.additional_kwargs.get("refusal"):
        return RefusalError(f"the model refused to call a tool: {refusal}")
    invalid = response.additional_kwargs.get("invalid_tool_calls")
    why = (
        f"the call of {function_of(invalid[0]['name'])} is invalid: {invalid[0]['error']}"
        if invalid
        else f"the response is {response.message.content!r:.200}"
    )
    return NoToolCallError(f"Expected at least one tool call, but got 0 tool calls: {why}")


def _selection(id: str | None, name: str, arguments: Any) -> ToolSelection:
    if isinstance(arguments, str):
        arguments = read_partial(arguments)
    return ToolSelection(tool_id=id or "", tool_name=name, tool_kwargs=arguments if isinstance(arguments, dict) else {})


def _field(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
