"""Settings of the Responses protocol as pydantic fields, inherited by both adapters' chat models.

Source: the vendor's Responses API reference (October 2026).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from modelstudio_core.connection_settings import ConnectionSettings


class ResponsesSettings(ConnectionSettings):
    """Protocol and conversation state. All fields except `protocol` may also be set per call."""

    protocol: Literal["openai", "dashscope", "responses"] = Field(  # type: ignore[assignment]  # embeddings have two
        default="openai",
        description="Wire protocol: 'openai' (OpenAI-compatible), 'dashscope' (native) or 'responses', with built-in "
        "tools and conversations stored by the service.",
    )
    store: bool | None = Field(
        default=None,
        description="Responses protocol: if False, the service does not store the response, so it cannot be "
        "continued. Default: True, for 7 days.",
    )
    previous_response_id: str | None = Field(
        default=None, description="Responses protocol: ID of the response to continue; only new messages are sent."
    )
    use_previous_response_id: bool | None = Field(
        default=None,
        description="Responses protocol: continue the last response in the history, sending only the messages after "
        "it. If the service has deleted it, the whole history is sent.",
    )
    conversation: str | None = Field(
        default=None, description="Responses protocol: ID of the conversation to continue."
    )
    session_cache: bool | None = Field(
        default=None, description="Responses protocol: cache the input of the session if it has at least 1,024 tokens."
    )
