"""The catalogue: overrides, its values, and its file."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from typing import get_args

import pytest

from modelstudio_core import catalogue as models
from modelstudio_core.catalogue import ReasoningEffort, Thinking, model_info
from tests.core.catalogue.models import DATES, FIELDS, IDS, LINES, RAW, TEXT

BY_ID = dict(zip(IDS, LINES, strict=True))

# ---------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [
        ("thinking", "only", "only"),
        ("thinking", None, None),
        ("thinking_switch", "thinking", "thinking"),
        ("streaming_only", True, True),
        ("cumulative_stream", True, True),
        ("required_tool_choice", True, True),
        ("json_schema", True, True),
        ("tools", None, None),
        ("max_input", 8192, 8192),
        ("native_endpoint", "multimodal-generation", "multimodal-generation"),
        ("preserve_thinking", "default-on", "default-on"),
        ("replay_reasoning", "all", "all"),
        ("regions", ["tokyo"], ("tokyo",)),
        (
            "reasoning_effort",
            {"values": ["low"], "aliases": {"none": "off"}},
            ReasoningEffort(values=("low",), aliases=(("none", "off"),)),
        ),
        ("reasoning_effort", ReasoningEffort(values=("low",)), ReasoningEffort(values=("low",))),
    ],
)
@pytest.mark.parametrize("model", ["qwen-plus", "no-such-model"])
def test_an_override_replaces_one_fact(model: str, name: str, given: object, held: object) -> None:
    """For listed and unknown models. The catalogue itself does not change."""
    before = model_info(model)
    info = model_info(model, {name: given})
    assert getattr(info, name) == held
    assert all(getattr(info, other) == getattr(before, other) for other in FIELDS - {name})
    assert model_info(model) is before


def test_every_capability_can_be_overridden() -> None:
    """Except for the identity of the model."""
    with pytest.raises(ValueError, match="allowed: ") as caught:
        model_info("qwen-plus", {"": None})
    allowed = str(caught.value).partition("allowed: ")[2].split(", ")
    assert set(allowed) == FIELDS - {"id", "matched", "snapshot_of", "source", *DATES}


@pytest.mark.parametrize("name", ["jsonschema", "id", "matched", "source", "snapshot_of", "is_hybrid"])
def test_an_unknown_override_name(name: str) -> None:
    """The error has the name and the valid names."""
    with pytest.raises(ValueError, match=rf"'{name}'.*json_schema.*max_cot"):
        model_info("qwen-plus", {"tools": True, name: None})


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("thinking", "on", "hybrid-default-on"),
        ("thinking", True, "hybrid-default-on"),
        ("thinking_switch", None, "not None"),
        ("cumulative_stream", None, "not None"),
        ("native_endpoint", "chat", "multimodal-generation"),
        ("tools", "yes", "True or False"),
        ("streaming_only", 1, "True or False"),
        ("max_input", 0, "positive"),
        ("max_input", True, "positive"),
        ("max_input", "8192", "positive"),
        ("regions", "tokyo", "tuple or list"),
        ("regions", [1], "tuple or list"),
        ("reasoning_effort", "low", "'values'"),
        ("reasoning_effort", {"default": "low"}, "'values'"),
        ("reasoning_effort", {"values": ["low"], "budget": 1}, "'values'"),
        ("reasoning_effort", {"values": ["low"], "aliases": 1}, "'values'"),
    ],
)
def test_an_invalid_override_value(name: str, value: object, takes: str) -> None:
    """The error has the name of the field and the valid values."""
    with pytest.raises(ValueError, match=rf"'{name}' must be .*{re.escape(takes)}"):
        model_info("qwen-plus", {name: value})


# ---------------------------------------------------------------- the values


@pytest.mark.parametrize("model", ["qwen3.8-max", "qwen-plus-2026-01-01", "no-such-model"])
def test_values_are_immutable(model: str) -> None:
    """They are shared between callers. They can be copied and pickled."""
    info = model_info(model)
    assert pickle.loads(pickle.dumps(info)) == copy.deepcopy(info) == info
    hash(info)
    with pytest.raises(FrozenInstanceError):
        info.tools = False  # type: ignore[misc]


def test_the_file_is_read_once_and_lookups_are_cached() -> None:
    """The cache of lookups has a size limit."""
    assert model_info("qwen-plus") is model_info("qwen-plus")
    for number in range(1000):
        model_info(f"made-up-{number}")
    assert models._catalogue.cache_info().misses == 1
    assert models._look_up.cache_info().currsize < 1000


def test_lookups_do_not_change_the_catalogue() -> None:
    """Including lookups of snapshots, variants and families."""
    before = copy.deepcopy(models._catalogue())
    for model in (*IDS, "qwen-plus-2026-01-01", "glm-5.3-x", "kimi/x", "qwen3-max-x-thinking"):
        model_info(model, {"regions": ["tokyo"]})
    assert models._catalogue() == before


def test_import_reads_nothing() -> None:
    """Importing the module reads no catalogue and imports no slow modules."""
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("models", sys.argv[1])
module = sys.modules["models"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert module._catalogue.cache_info().currsize == 0
slow = {"json", "importlib.resources", "httpx", "pydantic", "langchain_core", "llama_index"}
assert not slow & set(sys.modules), slow & set(sys.modules)
"""
    subprocess.run([sys.executable, "-I", "-S", "-c", code, models.__file__], check=True)


# ---------------------------------------------------------------- the file


def test_no_id_twice() -> None:
    """Each ID has one line."""
    assert len(IDS) == len(set(IDS)) == 200


def test_one_model_per_line() -> None:
    """So that a diff shows which model changed."""
    lines = [line.rstrip(",") for line in TEXT.splitlines()]
    assert [json.loads(line) for line in lines if line.startswith('{"id"')] == LINES
    assert [json.loads(line) for line in lines if line.startswith('{"match"')] == RAW["families"]


def test_no_unknown_keys() -> None:
    """A misspelt key would be ignored."""
    assert set(RAW) == {"_meta", "families", "models"}
    assert set(RAW["_meta"]) == {"date", "rule", "families", "regions", "retirement", "disputed", "sources"}
    facts = FIELDS - {"id", "matched"}
    for line in LINES:
        assert set(line) <= facts | {"id", "disputed"}, line["id"]
        assert set(line.get("disputed", ())) <= facts, line["id"]
    for family in RAW["families"]:
        assert set(family) <= facts | {"match"}, family["match"]
    effort = {known.name for known in fields(ReasoningEffort)}
    assert all(set(line.get("reasoning_effort", {})) <= effort for line in LINES)


def test_unknown_facts_are_absent() -> None:
    """There are no nulls."""
    assert not [line["id"] for line in LINES if None in line.values()]


def test_every_line_has_a_source() -> None:
    """And every source is used."""
    used = {key for line in (*LINES, *RAW["families"]) for key in line["source"]}
    assert all(line["source"] for line in (*LINES, *RAW["families"]))
    assert used == set(RAW["_meta"]["sources"])
    assert all(len(line["source"]) == len(set(line["source"])) for line in LINES)
    assert all(set(BY_ID[model]["source"]) <= set(model_info(model).source) for model in IDS)


def test_values_have_the_types_of_their_fields() -> None:
    """Each fact is valid as an override of the same name."""
    for line in (*LINES, *RAW["families"]):
        skip = {"id", "match", "source", "disputed", "snapshot_of", *DATES}
        facts = {name: value for name, value in line.items() if name not in skip}
        model_info("no-such-model", facts)
    assert {line.get("thinking") for line in LINES} == {*get_args(Thinking), None}


def test_regions_are_valid() -> None:
    """Regions are those of the `region` argument, or worldwide."""
    known = {"singapore", "virginia", "beijing", "hongkong", "frankfurt", "tokyo", "global"}
    assert {region for line in LINES for region in line.get("regions", ())} == known


def test_snapshots_name_a_listed_model() -> None:
    """`snapshot_of` is the ID of a line that is not itself a snapshot."""
    for line in LINES:
        if "snapshot_of" in line:
            base = BY_ID[line["snapshot_of"]]
            assert line["id"].startswith(base["id"] + "-")
            assert "snapshot_of" not in base


@pytest.mark.parametrize("model", IDS)
def test_facts_of_a_line_are_consistent(model: str) -> None:
    """Facts about one model do not contradict each other."""
    info = model_info(model)
    if info.streaming_only:
        assert info.thinking_requires_stream is True
    if info.thinking == "none":
        assert not info.max_cot
        assert info.preserve_thinking is None
        assert info.reasoning_effort is None
    if info.thinking == "only":
        assert info.partial_mode is None  # Partial mode page: never while thinking
    if info.context_window is not None:
        limits = (info.max_input, info.max_input_thinking, info.max_output, info.max_output_thinking)
        assert all(limit is None or limit <= info.context_window for limit in limits)
    if info.preserve_thinking == "default-on":
        assert info.replay_reasoning == "all"
    if info.reasoning_effort is not None:
        values = {*info.reasoning_effort.values, "off"}
        assert info.reasoning_effort.default in {*values, None}
        assert {meaning for _, meaning in info.reasoning_effort.aliases} <= values
        assert not {name for name, _ in info.reasoning_effort.aliases} & values
