"""Measure retrieval, with and without rerank: hit rate and MRR at 3, on 40 questions about 40 texts.

It prints a table; with matplotlib it also draws retrieval.png, here or at the path in PNG.

Run it with a key in DASHSCOPE_API_KEY:            python examples/evaluation.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/evaluation.py
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_modelstudio import ModelStudioEmbeddings, ModelStudioRerank

TEXTS = Path(__file__).with_name("data") / "texts"
TOP = 3


@dataclass(frozen=True)
class Figures:
    """Hit rate: fraction of questions whose text is among the first three. MRR: mean reciprocal rank, 0 for others."""

    hit_rate: float
    mrr: float


def figures(ranks: Sequence[int]) -> Figures:
    """Return the figures for the ranks of the correct texts, counted from 1; 0 for a text that was not found."""
    hits = [1 / rank for rank in ranks if 0 < rank <= TOP]
    return Figures(len(hits) / len(ranks), sum(hits) / len(ranks))


def rank_of(name: str, found: Iterable[Any]) -> int:
    """Return the rank, from 1, of the document whose source is `name`, or 0."""
    return next((at for at, document in enumerate(found, 1) if document.metadata["source"] == name), 0)


def measured() -> dict[str, Figures]:
    """Return the figures of retrieval without and with reranking of the five nearest texts."""
    # the native protocol embeds queries and documents differently
    store, rerank = InMemoryVectorStore(ModelStudioEmbeddings(protocol="dashscope")), ModelStudioRerank()
    texts = sorted(TEXTS.glob("*.txt"))
    store.add_documents([Document(path.read_text("utf-8").strip(), metadata={"source": path.name}) for path in texts])
    plain, reranked = [], []
    with (TEXTS.parent / "questions.tsv").open(encoding="utf-8", newline="") as file:
        for name, question in csv.reader(file, delimiter="\t"):
            found = store.similarity_search(question, k=5)
            plain.append(rank_of(f"{name}.txt", found))
            reranked.append(rank_of(f"{name}.txt", rerank.compress_documents(found, question)))
    return {"without rerank": figures(plain), "with rerank": figures(reranked)}


def draw(results: dict[str, Figures], path: Path) -> None:
    """Draw the figures as bars, with matplotlib."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6, 3.5), layout="constrained")).add_subplot()
    for shift, (name, each) in enumerate(results.items()):
        bars = axes.bar([shift * 0.4 - 0.2, shift * 0.4 + 0.8], [each.hit_rate, each.mrr], 0.38, label=name)
        axes.bar_label(bars, fmt="%.3f")
    axes.set(ylim=(0, 1.25), xticks=[0, 1], title="Retrieval: 40 questions, 40 texts")
    axes.set_xticklabels([f"hit rate at {TOP}", f"MRR at {TOP}"])
    axes.legend(loc="upper center", ncols=2)
    figure.savefig(path)


def main() -> None:
    """Print the figures, and draw them if matplotlib is installed."""
    results = measured()
    print(f"Retrieval: 40 questions, 40 texts\n\n{'':<15} hit rate at {TOP}  MRR at {TOP}")
    for name, each in results.items():
        print(f"{name:<15} {each.hit_rate:<13.3f}  {each.mrr:.3f}")
    if find_spec("matplotlib"):
        draw(results, path := Path(os.environ.get("PNG", "retrieval.png")))
        print(f"\nChart: {path}")


if __name__ == "__main__":
    main()
