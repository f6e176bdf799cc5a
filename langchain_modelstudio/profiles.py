"""Build langchain-core model profiles from the sourced facts of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.language_models.model_profile import ModelProfile

from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.history import accepts_in_results, is_text_only
from modelstudio_core.settings import ChatSettings
from modelstudio_core.types import ImagePart

PROFILE_KEYS = ModelProfile.__required_keys__ | ModelProfile.__optional_keys__
"""Keys that langchain-core declares for a profile."""


def settings_profile(settings: ChatSettings, call: Mapping[str, Any] | None = None) -> ModelProfile:
    """Return the profile of the model, with token limits that depend on whether these settings enable thinking."""
    call = call or {}
    info = settings._core_model(call.get("model"))
    endpoint = call.get("native_endpoint") or settings.native_endpoint or info.native_endpoint
    text_only = is_text_only(settings.protocol, endpoint)
    return model_profile(info, thinks=settings._core_may_think(call), text_only=text_only)


def model_profile(info: ModelInfo, *, thinks: bool, text_only: bool = False) -> ModelProfile:
    """Return the profile of a model: what it can do, with the token limits of either mode.

    `text_only`: whether the endpoint accepts only text, so that images in tool results are not sent.
    """
    max_input, max_output = info.limits(thinks=thinks)
    can_think = None if info.thinking is None else info.thinking != "none"
    known: dict[str, Any] = {
        "max_input_tokens": max_input or info.context_window,
        "max_output_tokens": max_output,
        "text_inputs": True,
        "image_inputs": info.input_image,
        "image_url_inputs": info.input_image,
        "video_inputs": info.input_video,
        "audio_inputs": info.input_audio,
        "pdf_inputs": False,
        "image_tool_message": accepts_in_results(info, ImagePart, text_only=text_only),
        "pdf_tool_message": False,
        "text_outputs": True,
        "audio_outputs": info.output_audio,
        "reasoning_output": can_think,
        "tool_calling": info.tools,
        "tool_call_streaming": info.tools,
        # thinking-only models accept only auto and none, except those known to accept "required"
        "tool_choice": info.tools and (not info.thinking_only or info.required_tool_choice),
        "structured_output": info.json_schema,
    }
    effort = info.reasoning_effort
    if effort is not None:
        known |= {"reasoning_effort_levels": list(effort.values), "reasoning_effort_default": effort.default}
    return cast("ModelProfile", {name: value for name, value in known.items() if value is not None})
