"""Helpers shared by the tests of the catalogue."""

from __future__ import annotations

import json
from dataclasses import fields
from importlib.resources import files
from typing import Any

from modelstudio_core.catalogue import ModelInfo

TEXT = files("modelstudio_core").joinpath("catalogue.json").read_text(encoding="utf-8")
RAW: dict[str, Any] = json.loads(TEXT)
LINES: list[dict[str, Any]] = RAW["models"]
IDS = [line["id"] for line in LINES]
FIELDS = {known.name for known in fields(ModelInfo)}
DATES = {"since", "retired_on", "retired_by", "replaced_by"}
