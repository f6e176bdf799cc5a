"""`ModelStudioEmbedding`: the core's embeddings as LlamaIndex has them. It translates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.embeddings import BaseEmbedding
from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from modelstudio_core.embedding import EmbeddingRequest, TextType, texts_a_request
from modelstudio_core.parameters import checked_model
from modelstudio_core.settings import ConnectionSettings


class ModelStudioEmbedding(ConnectionSettings, BaseEmbedding):
    """Text embeddings of Alibaba Cloud Model Studio.

    Its arguments are the fields of `modelstudio_core.settings.ConnectionSettings` and of LlamaIndex's `BaseEmbedding`.
    `embed_batch_size` is what one request of the model may hold, unless it is said; more texts go in several requests.

    Example:
        embedding = ModelStudioEmbedding(model="text-embedding-v4", dimensions=512)
        index = VectorStoreIndex.from_documents(documents, embed_model=embedding)

    Raises:
        modelstudio_core.errors.ModelStudioError: all errors are its subclasses; a text is never without its vector.
    """

    model_name: str = "text-embedding-v4"
    """Model id; also taken as `model`."""
    if TYPE_CHECKING:  # so that a type checker takes either name
        model: str = ""
    else:

        @property
        def model(self) -> str:
            """The model id, under the name that the chat model has for it."""
            return self.model_name

    dimensions: int | None = Field(default=None, gt=0)
    """The length of a vector, where the model offers several."""
    instruct: str | None = None
    """What queries are for, in a sentence; native protocol (`protocol="dashscope"`) only, as is telling queries from
    documents, which it does by itself."""
    extra_body: dict[str, Any] | None = None
    """Parameters of the service that have no field here, sent as they are."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_batches(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if "model" in values:
            values = {"model_name": values["model"], **values}
            del values["model"]
        name = values.get("model_name", cls.model_fields["model_name"].default)
        return {"embed_batch_size": texts_a_request(str(name)), **values}

    @field_validator("model_name", mode="after")
    @classmethod
    def _check_model(cls, model: str) -> str:
        return checked_model(model)

    @model_validator(mode="after")
    def _check_modelstudio_settings(self) -> Self:
        self.core_client()
        return self

    @classmethod
    def class_name(cls) -> str:
        """Its name in what LlamaIndex serialises."""
        return "ModelStudioEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self.core_client().embed(self._request([query], "query"))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self.core_client().aembed(self._request([query], "query")))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self.core_client().embed(self._request(texts, "document"))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self.core_client().aembed(self._request(texts, "document"))

    def _request(self, texts: list[str], text_type: TextType) -> EmbeddingRequest:
        return EmbeddingRequest(
            model=self.model_name,
            texts=tuple(texts),
            dimensions=self.dimensions,
            text_type=text_type if self.protocol == "dashscope" else None,
            instruct=self.instruct if text_type == "query" else None,
            extra_body=self.extra_body or {},
        )
