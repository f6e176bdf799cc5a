"""Let langchain-core load a serialized ChatModelStudio.

    load(dumpd(llm), allowed_objects="all", valid_namespaces=["langchain_modelstudio"], secrets_from_env=True)

langchain-core loads other classes only if its table of partner classes lists them, and it has no function to register
one. Users who import this package trust it, so it adds its own class to the table, and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from langchain_core.load.serializable import Serializable


def register(cls: type[Serializable]) -> None:
    """Register `cls` under its own id."""
    module: Any = import_module(
        "langchain_core.load.load"
    )  # `langchain_core.load.load` as an attribute is the function
    path = tuple(cls.lc_id())
    module.ALL_SERIALIZABLE_MAPPINGS[path] = path
    # "all" is resolved at its first use, which may have been before this import
    if known := getattr(module, "_default_class_paths_cache", {}).get("all"):
        known.add(path)
