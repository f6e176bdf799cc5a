"""Return the codec of a protocol. Each is imported at its first use, because programs use one or two."""

from __future__ import annotations

from functools import cache

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.protocols.codec import Codec

PROTOCOLS = ("openai", "dashscope", "responses")


@cache
def codec_for(protocol: str) -> Codec:
    """Return the codec of `protocol`. Raises ConfigurationError if it is not one of `PROTOCOLS`."""
    if protocol == "openai":
        from modelstudio_core.protocols.openai import OpenAICodec

        return OpenAICodec()
    if protocol == "dashscope":
        from modelstudio_core.protocols.dashscope import DashScopeCodec

        return DashScopeCodec()
    if protocol == "responses":
        from modelstudio_core.protocols.responses import ResponsesCodec

        return ResponsesCodec()
    raise ConfigurationError(f"protocol={protocol!r} is unknown: use {' or '.join(map(repr, PROTOCOLS))}")
