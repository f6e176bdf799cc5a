"""Release and retirement of models, according to the vendor and a reseller, with replacements."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import pytest

from modelstudio_core.catalogue import model_info, similar_model

RAW = json.loads(files("modelstudio_core").joinpath("catalogue.json").read_text(encoding="utf-8"))
RETIRED = {
    "vendor": "qwen-turbo qwen-vl-max qwen-vl-plus qwq-plus qvq-max",
    "reseller": """
        qwen3-max qwen3-max-preview qwen3-max-2025-09-23 qwen3.6-max-preview qwen-mt-turbo qwen3-32b qwen3-30b-a3b
        qwen3-30b-a3b-instruct-2507 qwen3-30b-a3b-thinking-2507 qwen3-235b-a22b qwen3-235b-a22b-instruct-2507
        qwen3-235b-a22b-thinking-2507 qwen3-next-80b-a3b-instruct qwen3-coder-plus qwen3-coder-plus-2025-07-22
        qwen3-coder-480b-a35b-instruct qwen-vl-ocr-latest qvq-plus qwen3-vl-flash qwen3-vl-flash-2025-10-15
        qwen3-vl-plus-2025-09-23 qwen3-vl-235b-a22b-instruct qwen3-vl-235b-a22b-thinking qwen3-vl-30b-a3b-thinking
        qwen3-vl-32b-thinking qwen3-omni-flash-2025-09-15 deepseek-r1 deepseek-v3 deepseek-v3.1 deepseek-v3.2
        deepseek-v3.2-exp glm-4.5 glm-4.7""",
}


@pytest.mark.parametrize("by", RETIRED)
def test_retired_models(by: str) -> None:
    """The vendor lists five, a reseller 33 more. Each has a current replacement."""
    listed = RETIRED[by].split()
    assert {line["id"] for line in RAW["models"] if line.get("retired_by") == by} == set(listed)
    for model in listed:
        info = model_info(model)
        assert info.retired_on == "2026-10-10"
        assert info.replaced_by is not None
        assert model_info(info.replaced_by).matched == info.replaced_by
        assert model_info(info.replaced_by).retired_on is None
        assert f"use {info.replaced_by} instead" in info.retirement
        assert "replacement" in info.source


def test_retirement_is_not_inherited() -> None:
    """By snapshots, or by misspelt IDs."""
    assert model_info("qwen-vl-plus-2026-12-01").matched == "qwen-vl-plus"
    assert model_info("qwen-vl-plus-2026-12-01").retired_on is None
    assert model_info("qwen-flash").retirement == ""
    assert similar_model("qwen-turbu") != "qwen-turbo"
    with pytest.raises(ValueError, match="unknown model override 'retired_on'"):
        model_info("qwen-plus", {"retired_on": None})


NEW = {
    "ZHIPU/GLM-5.3-FlashX": "2026-09-21", "ZHIPU/GLM-5.3-Flash": "2026-08-31", "ZHIPU/GLM-5.2": None,
    "vanchin/deepseek-v4.1-flash": "2026-09-21", "vanchin/deepseek-v4-pro": None,
    "qwen3.8-max-2026-09-02": "2026-09-02", "qwen3.8-max-0902": "2026-09-02", "qwen3.5-ocr": "2026-06-16",
    "qwen-mt-uni": "2026-09-16", "xiaomi/mimo-v2.5-pro": None, "stepfun/step-5-preview": "2026-09-21",
}  # fmt: skip


def test_new_models() -> None:
    """The IDs of the release list up to October 2026, with dates if known."""
    assert {model: model_info(model).since for model in NEW} == NEW
    assert all(model_info(model).matched == model for model in NEW)
    assert model_info("qwen-plus-2025-12-01-us").since == "2025-12-01"  # the id says so
    assert replace(model_info("qwen3.8-max-2026-09-02"), id="", matched="", source=()) == replace(
        model_info("qwen3.8-max-0902"), id="", matched="", source=()
    )
    omni = model_info("qwen3.8-omni-flash")
    assert (omni.context_window, omni.max_input, omni.max_input_thinking) == (1_000_000, 991_808, 983_616)
    assert len(omni.regions or ()) == 6
