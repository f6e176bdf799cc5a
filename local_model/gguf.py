"""Convert a BERT embedding model from safetensors to GGUF, the only format that llama.cpp loads.

The weights are copied unchanged. Layout: the GGUF specification, version 3. Names of keys and tensors: llama.cpp's
converter for BERT.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

Value: TypeAlias = "bool | int | float | str | Sequence[str] | Sequence[int]"
Tensor: TypeAlias = Mapping[str, Any]  # safetensors: dtype, shape, data_offsets

_ALIGNMENT = 32
_F32 = 0
_TYPES = {int: 4, float: 6, bool: 7, str: 8}  # uint32, float32, bool, string
_ITEM_TYPES = {int: 5, str: 8}  # int32, string
_ARRAY = 9
_MEAN_POOLING = 1
_NORMAL, _CONTROL = 1, 3
_SPECIAL = {"bos": "[CLS]", "eos": "[SEP]", "unknown": "[UNK]", "seperator": "[SEP]", "padding": "[PAD]",
            "cls": "[CLS]", "mask": "[MASK]"}  # fmt: skip  # llama.cpp spells it "seperator"
_EMBEDDINGS = {"word_embeddings": "token_embd", "position_embeddings": "position_embd",
               "token_type_embeddings": "token_types", "LayerNorm": "token_embd_norm"}  # fmt: skip
_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_NAME = re.compile(r"(?:embeddings|encoder\.layer\.(\d+))\.(.+)\.(weight|bias)")


def write_bert(folder: Path, target: Path) -> None:
    """Write the model in `folder` (config.json, vocab.txt, model.safetensors with float32 weights) to `target`."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    vocabulary = (folder / "vocab.txt").read_text("utf-8").split("\n")[: config["vocab_size"]]
    with (folder / "model.safetensors").open("rb") as source, target.open("wb") as out:
        length = int.from_bytes(source.read(8), "little")
        tensors = dict(_tensors(json.loads(source.read(length))))
        values = _metadata(config, vocabulary)
        out.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)))
        for key, value in values.items():
            out.write(_string(key) + _typed(value))
        at = 0
        for name, tensor in tensors.items():
            shape = tensor["shape"][::-1]  # GGUF lists the contiguous dimension first
            out.write(_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, _F32, at))
            at += _aligned(_size(tensor))
        _pad(out)
        for tensor in tensors.values():
            source.seek(8 + length + tensor["data_offsets"][0])
            out.write(source.read(_size(tensor)))
            _pad(out)


def _metadata(config: Mapping[str, Any], vocabulary: Sequence[str]) -> dict[str, Value]:
    special = {f"tokenizer.ggml.{name}_token_id": vocabulary.index(token) for name, token in _SPECIAL.items()}
    return {
        "general.architecture": "bert",
        "general.name": "all-MiniLM-L6-v2",
        "bert.context_length": config["max_position_embeddings"],
        "bert.embedding_length": config["hidden_size"],
        "bert.feed_forward_length": config["intermediate_size"],
        "bert.block_count": config["num_hidden_layers"],
        "bert.attention.head_count": config["num_attention_heads"],
        "bert.attention.layer_norm_epsilon": float(config["layer_norm_eps"]),
        "bert.attention.causal": False,
        "bert.pooling_type": _MEAN_POOLING,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.token_type_count": config["type_vocab_size"],
        "tokenizer.ggml.tokens": [_token(token) for token in vocabulary],
        "tokenizer.ggml.token_type": [_CONTROL if _is_special(token) else _NORMAL for token in vocabulary],
        **special,
    }


def _token(token: str) -> str:
    """Return a WordPiece token in llama.cpp's format, which marks the start of a word, not a continuation."""
    if _is_special(token):
        return token
    return token[2:] if token.startswith("##") else "\u2581" + token


def _is_special(token: str) -> bool:
    return len(token) > 2 and token.startswith("[") and token.endswith("]")


def _tensors(header: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Return the tensors that llama.cpp needs, under its names. The pooler and position_ids are skipped."""
    for name, tensor in header.items():
        found = _NAME.fullmatch(name)
        if found is None:
            continue
        layer, part, kind = found.groups()
        llama_name = _EMBEDDINGS[part] if layer is None else f"blk.{layer}.{_LAYER[part]}"
        if tensor["dtype"] != "F32":
            raise ValueError(f"the tensor {name} is {tensor['dtype']}, where F32 is expected")
        yield f"{llama_name}.{kind}", tensor


def _typed(value: Value) -> bytes:
    if isinstance(value, (bool, int, float, str)):
        return struct.pack("<I", _TYPES[type(value)]) + _plain(value)
    return struct.pack("<IIQ", _ARRAY, _ITEM_TYPES[type(value[0])], len(value)) + b"".join(map(_plain, value))


def _plain(value: bool | int | float | str) -> bytes:
    if isinstance(value, str):
        return _string(value)
    return struct.pack({bool: "<?", int: "<I", float: "<f"}[type(value)], value)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _size(tensor: Tensor) -> int:
    begin, end = tensor["data_offsets"]
    return int(end - begin)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _pad(out: BinaryIO) -> None:
    out.write(b"\0" * (_aligned(out.tell()) - out.tell()))
