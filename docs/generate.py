"""Write the tables of the documentation from the code: models, and parameters with what each protocol does with them.

What a protocol does with a parameter is tried out: a request with it is encoded, and compared with one without.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import langchain_modelstudio
import llama_index_modelstudio
from modelstudio_core import catalogue
from modelstudio_core.config import DEFAULT_MAX_RETRIES
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.model_table import cells
from modelstudio_core.parameters import (
    CALL_OPTIONS,
    LOCAL_PARAMETERS,
    PLAIN_PARAMETERS,
    POLICY_PARAMETERS,
    chat_request,
)
from modelstudio_core.protocols.registry import PROTOCOLS, codec_for
from modelstudio_core.types import Message

PACKAGES = ("modelstudio_core", "langchain_modelstudio", "llama_index_modelstudio")
CHAT = {"LangChain": langchain_modelstudio.ChatModelStudio, "LlamaIndex": llama_index_modelstudio.ModelStudio}
RETRIEVAL = {
    "ModelStudioEmbeddings (LangChain)": langchain_modelstudio.ModelStudioEmbeddings,
    "ModelStudioEmbedding, ModelStudioMultiModalEmbedding (LlamaIndex)": llama_index_modelstudio.ModelStudioEmbedding,
    "ModelStudioRerank (LangChain and LlamaIndex)": langchain_modelstudio.ModelStudioRerank,
}

# the groups of the class docstrings
GROUPS = {
    "generation": "model temperature top_p top_k presence_penalty repetition_penalty max_tokens max_completion_tokens "
    "n seed stop logprobs top_logprobs response_format",
    "thinking": "enable_thinking thinking_budget reasoning_effort preserve_thinking reasoning_replay clear_thinking "
    "thinking",
    "tools and media": "parallel_tool_calls tool_stream enable_search search_options enable_code_interpreter "
    "modalities audio vl_high_resolution_images vl_enable_image_hw_output translation_options ocr_options skill",
    "requests": "streaming native_endpoint incremental_output extra_body include_response_headers upload capabilities "
    "context_window is_function_calling_model",
    "Responses protocol": "built_in_tools previous_response_id use_previous_response_id store conversation "
    "session_cache",
    "connection": "api_key base_url region workspace protocol timeout max_retries requests_per_minute "
    "tokens_per_minute default_headers allow_insecure max_event_bytes http_client http_async_client",
}
UNITS = {
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "thinking_budget", "context_window"), "tokens"),
    "timeout": "seconds",
    "max_retries": "retries",
    "requests_per_minute": "requests per minute",
    "tokens_per_minute": "tokens per minute",
    "max_event_bytes": "bytes",
    "n": "answers",
    "top_k": "tokens",
    "top_logprobs": "tokens at each position",
    "dimensions": "numbers in a vector",
    "batch_size": "texts per request",
    "max_concurrency": "requests at once",
    "top_n": "documents",
}
DEFAULTS = {
    "api_key": "`DASHSCOPE_API_KEY`",
    "base_url": "`DASHSCOPE_BASE_URL`",
    "region": "`DASHSCOPE_REGION`, else singapore",
    "workspace": "`DASHSCOPE_WORKSPACE`",
    "timeout": "300 (connecting: 10)",
    "max_retries": str(DEFAULT_MAX_RETRIES),
    "max_event_bytes": "33,554,432",
    "requests_per_minute": "no limit",
    "tokens_per_minute": "no limit",
    "streaming": "if the model may think or only streams",
    "native_endpoint": "from the catalogue",
    "context_window": "from the catalogue",
    "is_function_calling_model": "from the catalogue",
    "dimensions": "the model's",
    "batch_size": "as many as the model takes",
    "top_n": "all",
    "endpoint": "the one that has the model",
    "instruct": "the service's",
    "text_type": "query for queries, document for documents",
}
# the vendor's pages; their addresses change, so they are named by title
_CHAT_PAGE, _THINKING_PAGE = "OpenAI compatible - Chat", "Deep thinking"
SOURCES = {
    **dict.fromkeys(GROUPS["generation"].split(), _CHAT_PAGE),
    **dict.fromkeys(GROUPS["thinking"].split(), _THINKING_PAGE),
    **dict.fromkeys(("parallel_tool_calls", "tool_stream"), "Function calling"),
    **dict.fromkeys(("enable_search", "search_options"), "Web search"),
    "enable_code_interpreter": "Code interpreter",
    **dict.fromkeys(("modalities", "audio"), "Qwen-Omni"),
    **dict.fromkeys(("vl_high_resolution_images", "vl_enable_image_hw_output"), "Visual understanding"),
    "translation_options": "Qwen-MT",
    "ocr_options": "Qwen-OCR",
    "skill": "Qwen-Doc",
    **dict.fromkeys(("native_endpoint", "incremental_output"), "DashScope API reference"),
    "upload": "Upload local files to get temporary URLs",
    **dict.fromkeys(GROUPS["Responses protocol"].split(), "OpenAI compatible - Responses"),
    **dict.fromkeys(("api_key", "base_url", "region", "workspace"), "Regions and API keys"),
    **dict.fromkeys(("requests_per_minute", "tokens_per_minute"), "Rate limits"),
    **dict.fromkeys(("dimensions", "text_type", "instruct", "batch_size"), "Text embedding"),
    **dict.fromkeys(("top_n", "endpoint"), "Text rerank"),
}
OWN = "this package"

# a value of each parameter, to try out
SAMPLES: dict[str, Any] = {
    **{"temperature": 0.5, "top_p": 0.5, "top_k": 5, "presence_penalty": 0.5, "repetition_penalty": 1.5},
    **{"max_tokens": 10, "max_completion_tokens": 10, "n": 2, "seed": 1, "stop": ["a"], "logprobs": True},
    **{"top_logprobs": 2, "response_format": {"type": "json_object"}, "enable_thinking": True, "thinking_budget": 10},
    **{"preserve_thinking": True, "reasoning_effort": "low", "clear_thinking": True, "thinking": {"type": "adaptive"}},
    **{
        "parallel_tool_calls": True,
        "tool_stream": True,
        "enable_search": True,
        "search_options": {"forced_search": True},
    },
    **{"enable_code_interpreter": True, "modalities": ["text"], "audio": {"voice": "Cherry"}},
    **{"vl_high_resolution_images": True, "vl_enable_image_hw_output": True, "ocr_options": {"task": "table_parsing"}},
    **{"translation_options": {"target_lang": "English"}, "skill": [{"type": "ppt"}], "incremental_output": False},
    **{"store": False, "conversation": "conv_1", "previous_response_id": "resp_1", "session_cache": True},
    **{"use_previous_response_id": True, "native_endpoint": "multimodal-generation"},
}
PER_CALL = {*POLICY_PARAMETERS, *PLAIN_PARAMETERS, *LOCAL_PARAMETERS, *CALL_OPTIONS, "model", "built_in_tools"}
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
_HISTORY = (Message("user", "1"), Message("assistant", "2", response_id="resp_0"), Message("user", "3"))


@dataclass(frozen=True)
class Support:
    """The protocols that send a parameter, leave it out, or refuse it with an error."""

    sent: tuple[str, ...]
    left_out: tuple[str, ...]
    refused: tuple[str, ...]

    def __str__(self) -> str:
        kinds = {"": self.sent, "not sent with ": self.left_out, "an error with ": self.refused}
        return "; ".join(how + ", ".join(f"`{name}`" for name in names) for how, names in kinds.items() if names)


def support(name: str) -> Support:
    """Return what each protocol does with a request parameter."""
    found: dict[str, list[str]] = {"sent": [], "left_out": [], "refused": []}
    for protocol, codec in ((name, codec_for(name)) for name in PROTOCOLS):
        try:
            kind = "left_out" if _encoded(codec, {}) == _encoded(codec, {name: SAMPLES[name]}) else "sent"
        except ConfigurationError:
            kind = "refused"
        found[kind].append(protocol)
    return Support(*(tuple(found[kind]) for kind in ("sent", "left_out", "refused")))


def _encoded(codec: Any, values: dict[str, Any]) -> tuple[Any, ...]:
    call = codec.encode(chat_request("qwen-plus", _HISTORY, {"tools": [_TOOL], **values}), stream=True)
    return call.path, call.headers, call.body


# ---------------------------------------------------------------- parameters


def own_fields(cls: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a class that these packages declare."""
    bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] in PACKAGES]
    names = {name for base in bases for name in inspect.get_annotations(base)}
    return {name: field for name, field in cls.model_fields.items() if name in names}


def type_name(annotation: Any) -> str:
    """Return the type of a field as users write it, without pydantic's wrappers."""
    text = annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    if get_origin(annotation) is not None and (inner := re.fullmatch(r"typing\.Annotated\[(.*), .*\]", text)):
        text = inner[1]
    text = re.sub(r"(?:SkipJsonSchema|SkipValidation)\[", "[", text)
    text = re.sub(r"typing\.Annotated\[([^,]+), [^\]]*\]", r"\1", text)
    text = re.sub(r"\b(?:[a-z_]+\.)+([A-Za-z])", r"\1", text).replace("NoneType", "None")
    return re.sub(r"(?:\| None$)|(?:^Optional\[(.*)\]$)", r"\1", text).strip()


def default(name: str, field: FieldInfo) -> str:
    """Return the default of a field in words."""
    if name in DEFAULTS:
        return DEFAULTS[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=False)
    if value is None:
        return "not sent" if name in {*POLICY_PARAMETERS, *PLAIN_PARAMETERS} else "none"
    return f"`{value!r}`"


def parameter(name: str, field: FieldInfo, *, frameworks: tuple[str, ...] = (), chat: bool = True) -> str:
    """Return the entry of a parameter."""
    facts = [f"`{_type_of(name, field)}`"]
    if name in UNITS:
        facts.append(f"in {UNITS[name]}")
    facts.append(f"default: {default(name, field)}")
    if chat:
        facts.append("also per call" if name in PER_CALL else "on the object only")
    if len(frameworks) == 1:
        facts.append(f"{frameworks[0]} only")
    source = SOURCES.get(name)
    lines = [f"### {name}", "", " · ".join(facts), "", _escaped(field.description or ""), ""]
    if chat and name in SAMPLES:
        lines += [f"Protocols: {support(name)}.", ""]
    lines += [f"Source: {f'the vendor’s page “{source}”' if source else OWN}.", ""]
    return "\n".join(lines)


_TYPES = {
    "api_key": "str | SecretStr | Callable[[], str] | Callable[[], Awaitable[str]]",
    "timeout": "float | Mapping[str, float | None] | httpx.Timeout",
    "http_client": "httpx.Client",
    "http_async_client": "httpx.AsyncClient",
    "usage_callback": "Callable[[str, int], Any]",
}


def _type_of(name: str, field: FieldInfo) -> str:
    return _TYPES.get(name) or type_name(field.annotation)


def _escaped(text: str) -> str:
    return re.sub(r"(?<!`)([<*\[])(?!`)", r"\\\1", text)


def chat_parameters() -> str:
    """Return the parameters of both chat classes, by group."""
    fields = {framework: own_fields(cls) for framework, cls in CHAT.items()}
    lines = []
    for group, names in GROUPS.items():
        lines += [f"## {group[0].upper()}{group[1:]}", ""]
        for name in names.split():
            having = tuple(framework for framework in fields if name in fields[framework])
            lines.append(parameter(name, fields[having[0]][name], frameworks=having))
    return "\n".join(lines)


def retrieval_parameters() -> str:
    """Return the parameters of embeddings and rerank, without those of the connection."""
    connection = {*GROUPS["connection"].split()} - {"protocol"}
    lines = []
    for title, cls in RETRIEVAL.items():
        lines += [f"## {title}", ""]
        lines += [
            parameter(name, field, chat=False) for name, field in own_fields(cls).items() if name not in connection
        ]
    return "\n".join(lines)


# ---------------------------------------------------------------- models


def model_ids() -> list[str]:
    """Return the ids of all models of the catalogue."""
    return list(catalogue._catalogue().models)


def model_table() -> str:
    """Return one row for each model of the catalogue."""
    rows = [cells(catalogue.model_info(id)) for id in model_ids()]
    lines = [" | ".join(rows[0]), "|".join("---:" if name in ("context", "output") else "---" for name in rows[0])]
    lines += [" | ".join([f"`{model}`", *others]) for model, *others in (row.values() for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def write(folder: Path) -> None:
    """Write the generated parts of the pages into `folder`."""
    folder.mkdir(exist_ok=True)
    parts = {
        "models.md": model_table(),
        "chat-parameters.md": chat_parameters(),
        "retrieval-parameters.md": retrieval_parameters(),
    }
    for name, text in parts.items():
        (folder / name).write_text(text, encoding="utf-8")
