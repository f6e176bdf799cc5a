#!/usr/bin/env bash
# Guess:     the cache of an IngestionPipeline returns the nodes of the documents that it is given.
# Really:    its key is the joined text and metadata of all documents, without their IDs and without the borders
#            between them. A second document with the same text gets the nodes of the first, with their IDs and
#            ref_doc_id, and the documents "a", "bc" get the nodes of "ab", "c". The cache is on by default.
# Version:   llama-index-core 0.14.25
# Date:      2026-11-30
# Seen:      ref_doc_id: ['A', 'A'], same node ID: True; nodes of "a", "bc": ['ab', 'c']
# Matters:   in a vector store the nodes of the second document replace those of the first, and delete_ref_doc("B")
#            deletes nothing. Put the document's ID in its metadata, or pass disable_cache=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check llama-index-core==0.14.25

cat > "$folder/run.py" <<'PYTHON'
from llama_index.core import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import TokenTextSplitter


def pipeline(**kwargs: bool) -> IngestionPipeline:
    return IngestionPipeline(transformations=[TokenTextSplitter(chunk_size=200, chunk_overlap=0)], **kwargs)


def run(used: IngestionPipeline, name: str, metadata: dict[str, str]) -> tuple[str | None, str]:
    [node] = used.run(documents=[Document(text="Closed on Monday.", id_=name, metadata=metadata)])
    return node.ref_doc_id, node.node_id


cached, uncached, marked = pipeline(), pipeline(disable_cache=True), pipeline()
nodes = [run(cached, name, {}) for name in "AB"]
owners = [owner for owner, _ in nodes]
same = nodes[0][1] == nodes[1][1]
avoided = [[run(used, name, metadata)[0] for name, metadata in (("A", {}), ("B", second))]
           for used, second in ((uncached, {}), (marked, {"document": "B"}))]
used = pipeline()
used.run(documents=[Document(text="ab"), Document(text="c")])
moved = [node.text for node in used.run(documents=[Document(text="a"), Document(text="bc")])]
print(f'ref_doc_id: {owners}, same node ID: {same}; nodes of "a", "bc": {moved}')
assert owners == ["A", "A"] and same
assert moved == ["ab", "c"]
assert avoided == [["A", "B"], ["A", "B"]]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
