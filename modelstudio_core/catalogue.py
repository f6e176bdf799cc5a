"""Look up facts of chat models. Facts without a source are None, and the caller can override each.

The facts are in `catalogue.json`, where each model names the vendor pages it was read from (Deep thinking,
Visual reasoning, Streaming, Structured output, Function calling, Partial mode, chat reference, model cards).
The file is loaded at the first lookup, not at import. Policies that use the facts are in `policies.py`.

An id is looked up in four steps; the last may add facts that an earlier one does not have:

1. The id as printed. Ids are case-sensitive.
2. Snapshots. A listed id with a date, `-latest` or `-us` after it has that id's facts, except the regions.
   But an unlisted snapshot that is older than a listed one, or cannot be compared with it, is a variant:
   `qwen-plus` can think, `qwen-plus-2025-01-25` could not.
3. Variants. Any other id that starts with a listed one and a hyphen has only the facts that are harmless if
   wrong: whether it requires streaming, its native endpoint, how reasoning is replayed. Whether it thinks is
   known only from its name (`-thinking`, `-instruct`): `qwen3.7-max` can stop thinking,
   `qwen3.7-max-preview` cannot.
4. Families, by glob. An id outside them has no facts, and is assumed to think.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

__all__ = ["ModelInfo", "NativeEndpoint", "ReasoningEffort", "Thinking", "listed_models", "model_info", "similar_model"]

NativeEndpoint: TypeAlias = Literal["text-generation", "multimodal-generation"]
Thinking: TypeAlias = Literal["none", "hybrid-default-on", "hybrid-default-off", "only"]
PreserveThinking: TypeAlias = Literal["default-on", "default-off"]
ReplayReasoning: TypeAlias = Literal["all", "current"]
ThinkingSwitch: TypeAlias = Literal["enable_thinking", "thinking"]
ClosedThought: TypeAlias = Literal["always", "never"]
ToolsFormat: TypeAlias = Literal["qwen-agent"]
RetiredBy: TypeAlias = Literal["vendor", "reseller"]


UNKNOWN_WINDOW: Final = 32_768
"""Context window in tokens of an unknown model: the smallest of the listed general-purpose models."""


@dataclass(frozen=True, slots=True)
class ReasoningEffort:
    """Values of `reasoning_effort` that a model accepts: `values` and `aliases`. Others are an error.

    `aliases` are pairs of an accepted value and its meaning ("off": thinking disabled).
    `exclusive_with_thinking_budget`: sending both is an error (None: not sourced). Source: the model cards.
    """

    values: tuple[str, ...]
    default: str | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    exclusive_with_thinking_budget: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Facts of one model. None means that a fact has no source, not that it is false. Limits are in tokens."""

    id: str
    """Requested model id."""
    matched: str | None = None
    """Catalogue id that the facts come from; None if only the family, or nothing, is known."""

    thinking: Thinking | None = None
    """Whether the model thinks never, always ("only"), or optionally, and the default (Deep thinking page)."""
    thinking_switch: ThinkingSwitch = "enable_thinking"
    """Request parameter that disables thinking: `enable_thinking`, or the object `thinking`."""
    thinking_budget: bool | None = None
    """False if the service ignores `thinking_budget`."""
    streaming_only: bool | None = None
    """Non-streaming requests are rejected or return nothing (Streaming page)."""
    thinking_requires_stream: bool | None = None
    """The same, but only if thinking is enabled."""
    cumulative_stream: bool = False
    """Stream events of the compatible endpoint repeat the text so far."""

    input_image: bool | None = None
    input_video: bool | None = None
    input_audio: bool | None = None
    output_audio: bool | None = None

    tools: bool | None = None
    required_tool_choice: bool = False
    """The tool choice "required" is accepted, besides auto, none and a name (Function calling page)."""
    needs_tool_stream: bool = False
    """Tool calls are streamed only with `tool_stream` (Function calling page)."""
    json_object: bool | None = None
    json_schema: bool | None = None
    """Supported types of `response_format` (Structured output page)."""

    context_window: int | None = None
    max_input: int | None = None
    max_input_thinking: int | None = None
    max_output: int | None = None
    max_output_thinking: int | None = None
    max_cot: int | None = None
    """Maximum number of reasoning tokens, which is also the maximum `thinking_budget`."""

    native_endpoint: NativeEndpoint | None = None
    """Endpoint in the native protocol; the other one returns "url error"."""
    reasoning_effort: ReasoningEffort | None = None
    preserve_thinking: PreserveThinking | None = None
    """Default of `preserve_thinking`; None if the model is not known to support it."""
    replay_reasoning: ReplayReasoning | None = None
    """Turns whose reasoning the model reads in the history: "all" or the "current" one."""
    partial_mode: bool | None = None
    """The model can continue an assistant message (Partial mode page; never with thinking)."""

    closed_thought: ClosedThought | None = None
    """Whether the input ends with an empty thought (recorded token counts); None: not recorded, see `chat_format`."""
    tools_format: ToolsFormat | None = None
    """Format of tools in the input (recorded token counts); None: that of Qwen's chat template."""

    regions: tuple[str, ...] | None = None
    """Regions known to have it, not all of them; "global" is reached through virginia and frankfurt."""
    snapshot_of: str | None = None
    since: str | None = None
    """Date of the release, YYYY-MM-DD."""
    retired_on: str | None = None
    """Date of the retirement, YYYY-MM-DD; None if no source says that the model is retired."""
    retired_by: RetiredBy | None = None
    """Who says that it is retired: the vendor, or a reseller alone."""
    replaced_by: str | None = None
    """Current model of the same kind to use instead of a retired one."""
    source: tuple[str, ...] = field(default=(), repr=False)
    """Keys into `_meta.sources` of the catalogue."""

    @property
    def may_think_by_default(self) -> bool:
        """Return True if the model may think by default. True for unknown models."""
        return self.thinking not in ("none", "hybrid-default-off")

    @property
    def is_hybrid(self) -> bool:
        """Return True if thinking is known to be switchable per request."""
        return self.thinking in ("hybrid-default-on", "hybrid-default-off")

    @property
    def thinking_only(self) -> bool:
        """Return True if the model is known to always think."""
        return self.thinking == "only"

    @property
    def supports_json_schema(self) -> bool:
        """Return True if the model is listed for `response_format` json_schema."""
        return self.json_schema is True

    @property
    def retirement(self) -> str:
        """Return a sentence on the retirement of the model and its replacement, or "" if it is not retired."""
        if self.retired_on is None:
            return ""
        says = "was retired" if self.retired_by == "vendor" else "is listed by a reseller as retired"
        return f"{self.id} {says} on {self.retired_on}: use {self.replaced_by} instead"

    @property
    def supports_vision(self) -> bool:
        """Return True if the model is listed for image or video input."""
        return self.input_image is True or self.input_video is True

    def limits(self, *, thinks: bool) -> tuple[int | None, int | None]:
        """Return the maximum input and output tokens, with or without thinking."""
        if not thinks:
            return self.max_input, self.max_output
        # limits with thinking are lower, unless the caller overrides the others
        inputs, outputs = (self.max_input, self.max_input_thinking), (self.max_output, self.max_output_thinking)
        return min(filter(None, inputs), default=None), min(filter(None, outputs), default=None)

    def token_limits(
        self, *, thinks: bool, max_tokens: int | None = None, window: int | None = None
    ) -> tuple[int, int]:
        """Return the context window, and the part of it that is reserved for the output, in tokens.

        Frameworks subtract the second from the first to fit the input. The difference is at most the model's input
        limit, and at least a quarter of the window or that limit.

        Args:
            thinks: whether the model may think on the request.
            max_tokens: the caller's limit of the output. Default: the model's limit, but at most a quarter.
            window: overrides the model's context window.
        """
        max_input, max_output = self.limits(thinks=thinks)
        window = window or self.context_window or max(UNKNOWN_WINDOW, max_input or 0)
        most = min(max_input or window, window)
        if max_tokens is not None:
            output = min(max_tokens, window * 3 // 4)
            return min(window, most + output), output
        return window, max(min(max_output or window, window // 4), window - most)


def model_info(model: str, overrides: Mapping[str, Any] | None = None) -> ModelInfo:
    """Return the facts of a model. Unknown ids have no facts.

    `overrides` replaces facts by field name, e.g. `{"thinking": "only", "max_input": 8192}`. None makes a fact
    unknown, and `reasoning_effort` may be a mapping.

    Raises:
        ValueError: for an unknown field or an invalid value. The message lists what is allowed.
    """
    info = _look_up(model)
    if not overrides:
        return info
    return replace(info, **{name: _check_override(name, value) for name, value in overrides.items()})


def listed_models() -> list[ModelInfo]:
    """Return the facts of each model in the catalogue, in its order."""
    return [_look_up(model) for model in _catalogue().models]


def similar_model(model: str) -> str | None:
    """Return the current id most similar to an unlisted one, or None if the id is listed or none is similar."""
    ids = _catalogue().models
    if model in ids:
        return None
    return most_similar(model, (listed for listed, facts in ids.items() if "retired_on" not in facts))


def most_similar(model: str, ids: Iterable[str]) -> str | None:
    """Return the one of `ids` most similar to `model`, ignoring case, or None if none is similar."""
    from difflib import get_close_matches  # imported at first use

    folded = {listed.lower(): listed for listed in ids}
    close = get_close_matches(model.lower(), folded, n=1, cutoff=0.85)
    return folded[close[0]] if close else None


class _Catalogue(NamedTuple):
    models: dict[str, dict[str, Any]]
    families: tuple[tuple[str, dict[str, Any]], ...]
    newest: dict[tuple[str, str], str]
    """Date of the last listed snapshot, by base id and date format ("date" or "day")."""


_SNAPSHOT: Final = re.compile(r"(?:-(?P<date>\d{4}-\d{2}-\d{2})|-(?P<day>\d{4})|-latest)?(?:-us)?")
_SAFE_FOR_VARIANTS: Final = (
    "streaming_only",
    "thinking_requires_stream",
    "native_endpoint",
    "replay_reasoning",
)
_NOT_INHERITED: Final = ("since", "retired_on", "retired_by", "replaced_by")
_NOT_OVERRIDABLE: Final = frozenset({"id", "matched", "snapshot_of", "source", *_NOT_INHERITED})
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "thinking": get_args(Thinking),
    "thinking_switch": get_args(ThinkingSwitch),
    "native_endpoint": get_args(NativeEndpoint),
    "preserve_thinking": get_args(PreserveThinking),
    "replay_reasoning": get_args(ReplayReasoning),
    "closed_thought": get_args(ClosedThought),
    "tools_format": get_args(ToolsFormat),
}
_LIMITS: Final = frozenset(
    {"context_window", "max_input", "max_input_thinking", "max_output", "max_output_thinking", "max_cot"}
)
_NEVER_UNKNOWN: Final = frozenset({"thinking_switch", "cumulative_stream", "required_tool_choice", "needs_tool_stream"})


@lru_cache(maxsize=1)
def _catalogue() -> _Catalogue:
    # imported here to keep the import of this module fast
    import json
    from importlib.resources import files

    raw = json.loads(files("modelstudio_core").joinpath("catalogue.json").read_text(encoding="utf-8"))
    models = {line.pop("id"): line for line in raw["models"]}
    families = tuple((line.pop("match"), line) for line in raw["families"])
    newest: dict[tuple[str, str], str] = {}
    for listed in models:
        for base, rest in _prefixes(listed):
            form, when = _parse_date(rest)
            if base in models and form is not None:
                newest[base, form] = max(when, newest.get((base, form), ""))
    return _Catalogue(models, families, newest)


@lru_cache(maxsize=256)
def _look_up(model: str) -> ModelInfo:
    catalogue = _catalogue()
    matched: str | None = model if model in catalogue.models else None
    facts = dict(catalogue.models.get(model, {}))
    if matched is None:
        matched, facts = _facts_of_base(model, catalogue)
    sources = list(facts.get("source", ()))
    for glob, family in catalogue.families:
        if fnmatchcase(model, glob):
            sources += [key for key in family["source"] if key not in sources]
            facts = {**family, **facts}
    facts.pop("disputed", None)  # a note for maintainers of the file
    facts["source"] = sources
    known = {name: _frozen(name, value) for name, value in facts.items()}
    return ModelInfo(id=model, matched=matched, **known)


def _facts_of_base(model: str, catalogue: _Catalogue) -> tuple[str | None, dict[str, Any]]:
    """Return the facts of an unlisted id, from the longest listed id that it starts with."""
    for base, rest in _prefixes(model):
        if base not in catalogue.models:
            continue
        facts = dict(catalogue.models[base])
        if _is_current_snapshot(base, rest, catalogue):
            for name in ("regions", *_NOT_INHERITED):
                facts.pop(name, None)
            facts.setdefault("snapshot_of", base)
            return base, facts
        safe = {name: facts[name] for name in _SAFE_FOR_VARIANTS if facts.get(name)}
        told = _facts_from_name(model)
        return base, {**safe, **told, "source": [*facts["source"], *told.get("source", ())]}
    return None, _facts_from_name(model)


def _is_current_snapshot(base: str, rest: str, catalogue: _Catalogue) -> bool:
    """Return True if the rest of the id is only a date or region, no earlier than the listed snapshots."""
    if not _SNAPSHOT.fullmatch(rest):
        return False
    form, when = _parse_date(rest)
    if form is None:
        return True
    listed = {known: date for (of, known), date in catalogue.newest.items() if of == base}
    if not listed:
        return form == "date"  # four digits were the format of 2024, and are again in 2026
    return form in listed and when >= listed[form]


def _prefixes(model: str) -> Iterable[tuple[str, str]]:
    """Split an id at each hyphen, the longest prefix first: a-b-c -> (a-b, -c), (a, -b-c)."""
    at = model.rfind("-")
    while at > 0:
        yield model[:at], model[at:]
        at = model.rfind("-", 0, at)


def _parse_date(rest: str) -> tuple[str | None, str]:
    """Return the format and date of a snapshot, or (None, "") if the rest of the id is not a date."""
    found = _SNAPSHOT.fullmatch(rest)
    if found is None or found.lastgroup is None:
        return None, ""
    return found.lastgroup, found[found.lastgroup]


def _facts_from_name(model: str) -> dict[str, Any]:
    words = model.lower().split("-")[1:]
    if "thinking" in words:
        return {"thinking": "only", "source": ["name"]}
    if "instruct" in words:
        return {"thinking": "none", "thinking_requires_stream": None, "source": ["name"]}
    return {}


def _frozen(name: str, value: Any) -> Any:
    """Convert a JSON value to a field value."""
    if name == "reasoning_effort" and isinstance(value, Mapping):
        parts = {**value, "values": tuple(value["values"])}
        if "aliases" in parts:
            parts["aliases"] = tuple(dict(parts["aliases"]).items())
        return ReasoningEffort(**parts)
    return tuple(value) if isinstance(value, list) else value


def _check_override(name: str, value: Any) -> Any:
    """Convert the value of an override to a field value. Raises ValueError."""
    allowed = [known.name for known in fields(ModelInfo) if known.name not in _NOT_OVERRIDABLE]
    if name not in allowed:
        raise ValueError(f"unknown model override {name!r}; allowed: {', '.join(allowed)}")
    # an invalid mapping stays a mapping, and is rejected below
    with suppress(KeyError, TypeError, ValueError):
        value = _frozen(name, value)
    if value is None:
        fits, expected = name not in _NEVER_UNKNOWN, "a value"
    elif name in _CHOICES:
        fits, expected = value in _CHOICES[name], "one of " + ", ".join(map(repr, _CHOICES[name]))
    elif name in _LIMITS:
        fits, expected = type(value) is int and value > 0, "a positive number of tokens"
    elif name == "reasoning_effort":
        fits, expected = isinstance(value, ReasoningEffort), "a ReasoningEffort or a mapping with 'values'"
    elif name == "regions":
        fits = isinstance(value, tuple) and all(isinstance(each, str) for each in value)
        expected = "a tuple or list of region names"
    else:
        fits, expected = isinstance(value, bool), "True or False"
    if not fits:
        raise ValueError(f"model override {name!r} must be {expected}, not {value!r:.80}")
    return value
