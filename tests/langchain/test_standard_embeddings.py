"""langchain-tests' embeddings suite, unmodified, with the local model, in both protocols."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests

from langchain_modelstudio import ModelStudioEmbeddings

pytestmark = pytest.mark.slow


class TestCompatible(EmbeddingsIntegrationTests):
    """The default protocol."""

    settings: dict[str, Any]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _local_model(cls, local_model_url: str) -> None:
        cls.settings = {"base_url": local_model_url}

    @property
    def embeddings_class(self) -> type[ModelStudioEmbeddings]:
        return ModelStudioEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return self.settings


class TestNative(TestCompatible):
    """The native protocol, which distinguishes queries from documents."""

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        base_url = self.settings["base_url"].replace("/compatible-mode/v1", "/api/v1")
        return {"base_url": base_url, "protocol": "dashscope"}
