"""Settings of the Responses protocol as pydantic fields, inherited by both adapters' chat models.

Source: the vendor's Responses API reference (state of October 2026).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelstudio_core.connection_settings import ConnectionSettings


class ResponsesSettings(ConnectionSettings):
    """The choice of the protocol, and where a conversation is kept. All but `protocol` may also be set per call."""

    protocol: Literal["openai", "dashscope", "responses"] = Field(  # type: ignore[assignment]  # embeddings have two
        default="openai",
        description="Wire protocol: 'openai' (OpenAI-compatible), 'dashscope' (native) or 'responses', in which the "
        "service runs built-in tools and can keep the conversation.",
    )
    store: bool | None = Field(
        default=None,
        description="Responses protocol: if False, the service does not keep the response, which then cannot be "
        "continued. Default: True, for 7 days.",
    )
    previous_response_id: str | None = Field(
        default=None, description="Responses protocol: id of the response to continue; only new messages are sent."
    )
    use_previous_response_id: bool | None = Field(
        default=None,
        description="Responses protocol: continue the last response in the history, and send only the messages after "
        "it. If the service no longer has it, the whole history is sent.",
    )
    conversation: str | None = Field(default=None, description="Responses protocol: id of the conversation to add to.")
    session_cache: bool | None = Field(
        default=None, description="Responses protocol: cache the input of the session, from 1,024 tokens on."
    )
