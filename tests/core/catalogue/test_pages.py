"""The catalogue has the facts of the cited vendor pages; facts without a source are absent."""

from __future__ import annotations

import pytest

from modelstudio_core.catalogue import ModelInfo, model_info
from tests.core.catalogue.models import DATES, FIELDS, IDS

CLASSES: dict[str, str] = {
    "hybrid-default-on": """
        qwen3.8-max qwen3.8-max-0902 qwen3.8-flash qwen3.8-27b qwen3.8-2.4t-a95b qwen3.8-omni-flash
        qwen3.7-max qwen3.7-max-2026-05-20 qwen3.7-max-2026-06-08 qwen3.7-plus qwen3.7-plus-2026-05-26
        qwen3.7-flash qwen3.7-flash-2026-07-15 qwen3.6-max-preview qwen3.6-plus qwen3.6-flash qwen3.6-27b
        qwen3.5-plus qwen3.5-plus-2026-02-15 qwen3.5-flash qwen3.5-397b-a17b qwen3.5-122b-a10b
        qwen3-235b-a22b qwen3-32b qwen3-30b-a3b qwen3-14b qwen3-8b qwen3-4b qwen3-1.7b qwen3-0.6b
        deepseek-v4-pro deepseek-v4-flash glm-5.2 glm-5.1 glm-5 glm-4.7 glm-4.6 glm-4.5 glm-4.5-air kimi-k3
        kimi/kimi-k2.6 kimi/kimi-k2.5 MiniMax/MiniMax-M3 ZHIPU/GLM-5.1""",
    "hybrid-default-off": """
        qwen3-max qwen3-max-2026-01-23 qwen3-max-preview qwen-plus qwen-plus-latest qwen-plus-2025-04-28
        qwen-plus-2025-12-01-us qwen-flash qwen-flash-2025-07-28 qwen-turbo qwen-turbo-latest
        qwen-turbo-2025-04-28 qwen3-vl-plus qwen3-vl-plus-2025-12-19 qwen3-vl-flash qwen3-omni-flash
        deepseek-v3.2 deepseek-v3.2-exp deepseek-v3.1 siliconflow/deepseek-v3.2 kimi-k2.5 kimi-k2.6""",
    "only": """
        qwen3.7-max-preview qwen3.7-max-2026-05-17 qwen3-next-80b-a3b-thinking qwen3-235b-a22b-thinking-2507
        qwen3-30b-a3b-thinking-2507 qwen3-vl-235b-a22b-thinking qwen3-vl-8b-thinking qwq-plus qwq-plus-latest
        qwq-plus-2025-03-05 qwq-32b qvq-max qvq-max-latest qvq-plus deepseek-r1 deepseek-r1-0528
        deepseek-r1-distill-qwen-32b deepseek-r1-distill-llama-8b siliconflow/deepseek-r1-0528 glm-5.3
        ZHIPU/GLM-5.3 kimi-k2-thinking kimi-k2.7-code kimi/kimi-k3 kimi/kimi-k2.7-code MiniMax-M2.5
        MiniMax/MiniMax-M2.7""",
    "none": """
        qwen-max qwen-max-latest qwen-max-2025-01-25 qwen3-coder-plus qwen3-coder-480b-a35b-instruct
        qwen3-235b-a22b-instruct-2507 qwen3-vl-8b-instruct qwen2.5-72b-instruct qwen-vl-max qwen-vl-ocr
        qwen-omni-turbo qwen-math-plus qwen-coder-turbo qwen-long qwen-mt-plus qwen-mt-turbo deepseek-v3
        vanchin/deepseek-v3 Moonshot-Kimi-K2-Instruct qwen-plus-2025-01-25 qwen-turbo-2024-11-01""",
}
EXPECTED_CLASS = [(model, thinking) for thinking, listed in CLASSES.items() for model in listed.split()]

# ---------------------------------------------------------------- what the pages say


@pytest.mark.parametrize(("model", "thinking"), EXPECTED_CLASS)
def test_thinking_class_of_the_vendor_pages(model: str, thinking: str) -> None:
    """Models on the Deep thinking and Visual reasoning pages have the class stated there."""
    info = model_info(model)
    assert info.thinking == thinking
    assert info.matched == info.id == model
    assert info.may_think_by_default is (thinking in ("only", "hybrid-default-on"))
    assert info.is_hybrid is thinking.startswith("hybrid")
    assert info.thinking_only is (thinking == "only")


# (streaming only, streaming while it thinks)
STREAMING: dict[tuple[bool, bool], str] = {
    (True, True): """
        qwq-plus qwq-plus-latest qwq-plus-2025-03-05 qwq-32b qvq-max qvq-max-latest qvq-plus qvq-plus-latest
        qwen3-omni-flash qwen3.5-omni-plus qwen3.5-omni-flash qwen3.8-omni-flash qwen-omni-turbo
        qwen-omni-turbo-latest qwen2.5-omni-7b
        qwq-next qvq-72b-preview qwen3-omni-flash-2025-12-01 qwen4-omni-plus""",
    (False, True): """
        qwen3-235b-a22b qwen3-32b qwen3-30b-a3b qwen3-14b qwen3-8b qwen3-4b qwen3-1.7b qwen3-0.6b""",
    (False, False): """
        qwen3-max-preview qwen-plus qwen3.5-plus qwen3.5-plus-2026-02-15 qwen3.5-397b-a17b qwen-flash
        qwen-flash-2025-07-28 qwen-turbo qwen3-next-80b-a3b-thinking qwen3-235b-a22b-thinking-2507
        qwen3-30b-a3b-thinking-2507 deepseek-v3.2 deepseek-v3.2-exp deepseek-r1 deepseek-r1-0528
        deepseek-r1-distill-qwen-7b kimi-k2-thinking qwen3-vl-plus kimi-k2.5 qwen3.8-max""",
}


@pytest.mark.parametrize(("model", "must"), [(m, must) for must, ms in STREAMING.items() for m in ms.split()])
def test_models_that_must_stream(model: str, must: tuple[bool, bool]) -> None:
    """QwQ, QVQ and Qwen-Omni only stream (Streaming page), open Qwen3 models while thinking.

    The last group follows the Deep thinking and Visual reasoning pages on non-streaming output.
    """
    info = model_info(model)
    assert (info.streaming_only, info.thinking_requires_stream) == must


QWEN38_ALIASES = {"max": "xhigh", "high": "xhigh", "minimal": "low", "none": "off"}
GLM5_ALIASES = {"low": "high", "medium": "high", "xhigh": "max"}
EFFORTS: list[tuple[str, str, str | None, dict[str, str], bool | None]] = [
    *(
        (m, "low medium xhigh", "xhigh", QWEN38_ALIASES, True)
        for m in ("qwen3.8-max", "qwen3.8-max-0902", "qwen3.8-max-2026-09-02")
    ),
    *(
        (m, "low medium xhigh", "xhigh", QWEN38_ALIASES, True)
        for m in ("qwen3.8-flash", "qwen3.8-27b", "qwen3.8-max-2026-09-02")
    ),
    ("qwen3.8-2.4t-a95b", "low medium xhigh", "xhigh", QWEN38_ALIASES, True),
    ("qwen3.8-omni-flash", "low medium xhigh", "xhigh", QWEN38_ALIASES, None),
    *((m, "low high max", "max", {}, None) for m in ("glm-5.3", "ZHIPU/GLM-5.3", "kimi-k3")),
    *((m, "high max", "high", GLM5_ALIASES, None) for m in ("glm-5.2", "glm-5.1", "glm-5")),
    *((m, "high max", "high", GLM5_ALIASES, None) for m in ("deepseek-v4-pro", "deepseek-v4-flash")),
    ("deepseek-v4-flash-0731", "low high max", "high", {"medium": "high", "xhigh": "high"}, None),
    ("deepseek-v4-pro-0813", "low high max", "high", {"medium": "high", "xhigh": "high"}, None),
    (
        "deepseek-v4.1-flash",
        "low high max",
        "high",
        {"minimal": "low", "medium": "high", "xhigh": "high"},
        None,
    ),
    ("kimi/kimi-k3", "max", "max", {}, None),
    ("stepfun/step-3.7-flash", "low medium high", None, {}, None),
]


@pytest.mark.parametrize(("model", "values", "default", "aliases", "exclusive"), EFFORTS)
def test_reasoning_effort_table(
    model: str, values: str, default: str | None, aliases: dict[str, str], exclusive: bool | None
) -> None:
    """Values, default, aliases and combination with a budget, from the model cards."""
    effort = model_info(model).reasoning_effort
    assert effort is not None
    assert effort.values == tuple(values.split())
    assert effort.default == default
    assert dict(effort.aliases) == aliases
    assert effort.exclusive_with_thinking_budget is exclusive


def test_no_other_model_has_an_effort() -> None:
    """Models that the cards do not list support no effort."""
    assert {i for i in IDS if model_info(i).reasoning_effort} == {row[0] for row in EFFORTS}


LIMITS = [
    ("qwen3.8-max", 1_000_000, 991_808, 983_616, 131_072, None, 262_144),
    ("qwen3.7-plus", 1_000_000, 991_808, None, 65_536, None, 262_144),
    ("qwen3.6-flash", 1_000_000, 991_808, None, 65_536, None, 131_072),
    ("qwen3.5-plus", 1_000_000, 991_808, 983_616, 65_536, 65_536, 81_920),
    ("qwen3-max", 262_144, 258_048, None, 65_536, 32_768, 81_920),
    ("qwen-plus", 1_000_000, 997_952, 995_904, 32_768, 32_768, 81_920),
    ("qwen3-vl-plus", 262_144, 260_096, None, 32_768, 32_768, 81_920),
    ("qwen3-coder-plus", 1_000_000, 997_952, None, 65_536, None, None),
    ("qvq-max", 131_072, 106_496, None, 8_192, None, None),
    ("qwq-plus", 131_072, 98_304, None, 8_192, None, None),
    ("glm-5.3", 1_048_576, 1_048_576, None, 131_072, None, 131_072),
    ("deepseek-v4-pro", 1_000_000, 1_000_000, None, 393_216, None, None),
    ("kimi-k2.5", 262_144, 229_376, None, 16_384, None, 81_920),
]


@pytest.mark.parametrize(("model", "context", "inp", "inp_thinking", "out", "out_thinking", "cot"), LIMITS)
def test_limits(
    model: str,
    context: int,
    inp: int,
    inp_thinking: int | None,
    out: int,
    out_thinking: int | None,
    cot: int | None,
) -> None:
    """Token limits from the model pages. Limits that are not stated are None."""
    info = model_info(model)
    assert (info.context_window, info.max_input, info.max_input_thinking) == (context, inp, inp_thinking)
    assert (info.max_output, info.max_output_thinking, info.max_cot) == (out, out_thinking, cot)


FACTS: list[tuple[str, str, object]] = [
    (
        "json_schema",
        "qwen3.8-max qwen3.8-flash qwen3.7-max qwen3.7-plus qwen3.7-flash qwen3.7-plus-2026-05-26",
        True,
    ),
    ("json_schema", "qwen3.6-plus qwen-plus qwen3-max qwen-max qwen3-8b", False),
    ("json_schema", "deepseek-v4-pro glm-5.2 kimi-k2.6 qwen3.7-max-preview", None),
    ("json_object", "qwen-plus qwen3.8-max qwen-vl-max", True),
    ("json_object", "qwq-plus qvq-max", False),
    ("tools", "qwen-plus qwen3.8-max glm-5.3 kimi/kimi-k3", True),
    ("tools", "qwen-mt-plus qwen-vl-ocr", False),
    ("tools", "qwen-vl-max qwen-long", None),
    ("input_image", "qwen3.8-max qwen3.5-plus qwen3-vl-plus qvq-max qwen-vl-ocr kimi-k3", True),
    ("input_image", "qwen-plus qwen3.7-max glm-5.2", False),
    ("input_image", "qwen3.7-flash kimi/kimi-k3", None),
    ("input_audio", "qwen3-omni-flash qwen3.8-omni-flash", True),
    ("output_audio", "qwen3-omni-flash qwen3.5-omni-plus qwen-omni-turbo", True),
    ("output_audio", "qwen-plus", False),
    ("output_audio", "qwen3.8-omni-flash", None),
    (
        "native_endpoint",
        "qwen-plus qwen3-max qwen3-8b qwq-plus deepseek-v3.2 kimi-k2-thinking",
        "text-generation",
    ),
    (
        "native_endpoint",
        "qwen3-vl-plus qvq-max qwen3.5-27b qwen3.6-plus qwen3.7-plus",
        "multimodal-generation",
    ),
    ("native_endpoint", "qwen3.8-27b qwen3.8-plus qwen3.5-mini kimi-k2.5", "multimodal-generation"),
    ("native_endpoint", "qwen3.7-max glm-5.2 qwen3-omni-flash", None),
    ("preserve_thinking", "qwen3.8-max qwen3.8-max-0902 qwen3.8-flash", "default-on"),
    ("preserve_thinking", "qwen3.7-max qwen3.6-plus kimi-k2.6 kimi-k2.7-code kimi/kimi-k2.6", "default-off"),
    ("preserve_thinking", "qwen-plus qwen3-max kimi-k3", None),
    ("replay_reasoning", "qwen3.8-max qwen3.8-max-0902 qwen3.8-flash", "all"),
    ("replay_reasoning", "glm-5.2 glm-5 glm-4.7 glm-4.5-air ZHIPU/GLM-5.1 glm-6", "all"),
    ("replay_reasoning", "kimi/kimi-k3 kimi/kimi-k2.6 kimi/kimi-k2.7-code kimi/kimi-k9", "all"),
    ("replay_reasoning", "glm-5.3 ZHIPU/GLM-5.3 ZHIPU/GLM-5.3-Flash glm-5.3-2026-12-01", "current"),
    ("replay_reasoning", "qwen-plus qwen3.7-max kimi-k2.6 kimi-k3 deepseek-v3.2", None),
    ("thinking_budget", "kimi-k3 glm-5.3", False),
    ("thinking_budget", "qwen-plus glm-5.2", None),
    ("partial_mode", "qwen3.7-max qwen-plus qwen3-coder-plus qwen-turbo kimi/kimi-k2.5", True),
    ("regions", "qwen-plus-us qwen-flash-2025-07-28-us", ("virginia",)),
    ("regions", "qwen-plus", ("global", "singapore", "beijing")),
    ("regions", "kimi-k3", ("beijing", "singapore", "frankfurt", "virginia", "tokyo", "hongkong")),
    ("regions", "glm-5.2", None),
    ("snapshot_of", "qwen-plus-2025-04-28 qwen-plus-us", "qwen-plus"),
    ("snapshot_of", "qwen-plus qwen3.7-max-preview", None),
]


@pytest.mark.parametrize(("name", "model", "value"), [(f, m, v) for f, ms, v in FACTS for m in ms.split()])
def test_facts_by_model(name: str, model: str, value: object) -> None:
    """Facts from the model pages. Facts that are not stated are None."""
    assert getattr(model_info(model), name) == value


@pytest.mark.parametrize(
    ("name", "value", "having"),
    [
        ("cumulative_stream", True, {"qwen-mt-plus", "qwen-mt-turbo"}),
        ("required_tool_choice", True, {"kimi/kimi-k3"}),
        ("thinking_switch", "thinking", {"MiniMax/MiniMax-M3"}),
        ("replay_reasoning", "current", {"glm-5.3", "ZHIPU/GLM-5.3", "ZHIPU/GLM-5.3-Flash", "ZHIPU/GLM-5.3-FlashX"}),
        (
            "preserve_thinking",
            "default-on",
            {"qwen3.8-max", "qwen3.8-max-0902", "qwen3.8-max-2026-09-02", "qwen3.8-flash"},
        ),
    ],
)
def test_exceptions_apply_to_these_models_only(name: str, value: object, having: set[str]) -> None:
    """As stated on the vendor's pages."""
    assert {model for model in IDS if getattr(model_info(model), name) == value} == having


def test_shorthands() -> None:
    """`supports_` properties are True only if a source says so."""
    assert model_info("qwen3.8-max").supports_json_schema
    assert model_info("qwen3.8-max").supports_vision
    for unknown_or_no in ("qwen-plus", "deepseek-v4-pro", "no-such-model"):
        assert not model_info(unknown_or_no).supports_json_schema
        assert not model_info(unknown_or_no).supports_vision
    assert ModelInfo("m", input_image=False, input_video=True).supports_vision


# ---------------------------------------------------------------- ids that are not listed


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("qwen-plus-2026-01-01", "qwen-plus"),
        ("qwen-plus-2026-01-01-us", "qwen-plus"),
        ("qwen3-max-latest", "qwen3-max"),
        ("qwen3-max-us", "qwen3-max"),
        ("qwen3-vl-plus-2026-03-03", "qwen3-vl-plus"),
        ("qwen3-coder-plus-2025-09-23", "qwen3-coder-plus"),
        ("qvq-max-2025-03-25", "qvq-max"),
        ("qwen3.8-max-0930", "qwen3.8-max"),
        ("qwen3.5-397b-a17b-2026-09-09", "qwen3.5-397b-a17b"),
        ("qwen-mt-plus-2026-09-09", "qwen-mt-plus"),
        ("kimi/kimi-k3-2026-12-12", "kimi/kimi-k3"),
    ],
)
def test_newer_snapshots_inherit_facts(model: str, base: str) -> None:
    """A snapshot newer than the listed ones differs only in name, dates and regions."""
    info, of = model_info(model), model_info(base)
    assert info.id == model
    assert info.matched == info.snapshot_of == base
    assert info.regions is None
    same = FIELDS - {"id", "regions", "snapshot_of", *DATES}
    assert {name: getattr(info, name) for name in same} == {name: getattr(of, name) for name in same}


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("qwen-plus-2025-02-14", "qwen-plus"),  # before qwen-plus could think
        ("qwen-turbo-2025-02-11", "qwen-turbo"),
        ("qwen-plus-2024-12-20-us", "qwen-plus"),
        ("qwen3-max-2025-10-01", "qwen3-max"),
        ("qwen3.7-max-2026-05-01", "qwen3.7-max"),
        ("qwen-plus-0806", "qwen-plus"),  # month and day of an unknown year
        ("qwen-vl-max-0809", "qwen-vl-max"),
        ("qwen3.8-max-0101", "qwen3.8-max"),
        ("qwen-plus-20260101", "qwen-plus"),  # no form of date that the vendor uses
        ("qwen3.7-max-ultra", "qwen3.7-max"),
        ("qwen-plus-vl-max", "qwen-plus"),
        ("qwen-mt-plus-pro", "qwen-mt-plus"),
        ("qwen3-8b-awq", "qwen3-8b"),
        ("qwen-plus-character-ja", "qwen-plus-character"),  # the longest listed id, not qwen-plus
        ("MiniMax/MiniMax-M3-Fast", "MiniMax/MiniMax-M3"),
    ],
)
def test_variants_do_not_inherit_thinking(model: str, base: str) -> None:
    """An older snapshot or a variant may differ in thinking and in accepted input."""
    info, of = model_info(model), model_info(base)
    assert info.matched == base
    assert info.thinking is None
    assert info.may_think_by_default
    assert not info.is_hybrid
    harmless = {"id", "matched", "source", "native_endpoint", "replay_reasoning"}
    harmless |= {"streaming_only", "thinking_requires_stream"}
    neutral = ModelInfo(model)
    known = {name for name in FIELDS if getattr(info, name) != getattr(neutral, name)}
    assert known <= harmless
    assert info.streaming_only == (of.streaming_only or None)
    assert info.thinking_requires_stream == (of.thinking_requires_stream or None)
    assert info.replay_reasoning == of.replay_reasoning


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("qwen3-max-xyz-thinking", "only"),
        ("qwen3.8-max-thinking", "only"),
        ("qwen3-235b-a22b-thinking-2601", "only"),
        ("qwen3-next-80b-a3b-thinking-2026-01-01", "only"),
        ("kimi-k2-thinking-turbo", "only"),
        ("siliconflow/Kimi-K9-Thinking", "only"),
        ("qwen3-235b-a22b-instruct-2601", "none"),
        ("qwen2.5-14b-instruct-1m", "none"),
        ("qwen9-7b-instruct", "none"),
        ("qwen3-8b-instruct", "none"),
        ("thinking-machine", None),
        ("qwen9-rethinking", None),
    ],
)
def test_suffixes_determine_the_class(model: str, thinking: str | None) -> None:
    """-thinking and -instruct override the class of the base model."""
    assert model_info(model).thinking == thinking


def test_an_instruct_variant_need_not_stream() -> None:
    """It does not think, so it does not inherit that rule."""
    assert model_info("qwen3-8b").thinking_requires_stream is True
    assert model_info("qwen3-8b-instruct").thinking_requires_stream is None


def test_listed_facts_override_the_name() -> None:
    """A fact from a page overrides words in the ID."""
    assert model_info("vanchin/deepseek-v3.2-think").thinking == "hybrid-default-off"
    assert "name" not in model_info("kimi-k2-thinking").source


@pytest.mark.parametrize(
    "model",
    ["", "-", "qwen", "qwen-plusser", "QWEN-PLUS", "Qwen-Plus", "qwen3.9-max", "qwen3.9-max-2026-11-01"],
)
def test_unknown_ids_are_neutral(model: str) -> None:
    """Their facts are unknown. IDs are case-sensitive."""
    assert model_info(model) == ModelInfo(model)
    assert model_info(model).may_think_by_default


@pytest.mark.parametrize(
    ("hosted", "plain"),
    [
        ("kimi/kimi-k2.6", "kimi-k2.6"),
        ("kimi/kimi-k3", "kimi-k3"),
        ("ZHIPU/GLM-5.1", "glm-5.1"),
        ("vanchin/deepseek-r1", "deepseek-r1"),
    ],
)
def test_models_of_other_hosts(hosted: str, plain: str) -> None:
    """A prefixed ID has its own line, and inherits nothing from the plain ID."""
    assert model_info(hosted).matched == hosted
    assert model_info(hosted) != model_info(plain)
    assert model_info(f"elsewhere/{plain}") == ModelInfo(f"elsewhere/{plain}")
