"""Read, write and play cassettes.

A cassette can be read in a diff, contains no secrets, states its origin, and must be played completely. The format is
that of vcrpy, with bodies as literal text, one line per event; a body that YAML cannot represent literally is base64.
Requests match by method, path and the value of their JSON body. Host and port are not stored.
"""

from __future__ import annotations

import base64
import datetime
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from vcr import VCR
from vcr.cassette import Cassette
from vcr.request import Request
from vcr.serialize import deserialize, serialize

CASSETTES = Path(__file__).parent.parent / "cassettes"
ORIGIN = "http://127.0.0.1"  # of every URI in a cassette
REQUEST_HEADERS = ("content-type", "accept", "x-dashscope-sse")
RESPONSE_HEADERS = ("content-type", "x-request-id")
REDACTED = b"[redacted]"


@dataclass(frozen=True, slots=True)
class Origin:
    """Origin of a cassette.

    `kind`: "recorded" from a real server, or "documented", written from the vendor's documented wire format.
    `source`: the server with version and model, or the title of the vendor's page. `note`: restrictions.
    """

    kind: Literal["recorded", "documented"]
    source: str
    date: datetime.date
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """Path and JSON of a request, and its response."""

    path: str
    request: Any
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def streams(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")


# ---------------------------------------------------------------- playing and recording


@contextmanager
def play(name: str) -> Iterator[Cassette]:
    """Answer the requests in the block from `cassettes/{name}.yaml`, without a server.

    Raises AssertionError if an interaction was not played, and vcrpy's CannotOverwriteExistingCassetteException in the
    block for a request that is not in the cassette, or was played before.
    """
    path = cassette_path(name)
    if not path.is_file():
        raise FileNotFoundError(f"there is no cassette {name}: record it by `make record`")
    with _vcr(CassetteFormat()).use_cassette(str(path), record_mode="none") as cassette:
        yield cassette
    left = [number for number in range(len(cassette)) if cassette.play_counts[number] != 1]
    if left:
        raise AssertionError(f"of cassette {name}, interactions {left} of {len(cassette)} were not played")


@contextmanager
def play_often(name: str) -> Iterator[Cassette]:
    """Answer each request to a path in `cassettes/{name}.yaml`, any number of times, regardless of its body."""
    with _vcr(CassetteFormat()).use_cassette(
        str(cassette_path(name)), record_mode="none", match_on=("method", "path"), allow_playback_repeats=True
    ) as cassette:
        yield cassette


@contextmanager
def recording(name: str, origin: Origin, *, secrets: Sequence[str] = ()) -> Iterator[None]:
    """Send the requests in the block, and write them and their responses to `cassettes/{name}.yaml`.

    `secrets` are replaced everywhere. The file is not changed if the block raises, or if `leaks` finds something in the
    new content, which raises ValueError.
    """
    path = cassette_path(name)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    try:
        with _vcr(CassetteFormat(origin), secrets).use_cassette(str(part), record_mode="all"):
            yield
        if found := leaks(part.read_text("utf-8")):
            raise ValueError(f"cassette {name} is not written, since it holds {', '.join(found)}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def cassette_path(name: str) -> Path:
    """Return the file of a cassette, given its folder and scenario, such as "local/plain_invoke"."""
    return CASSETTES / f"{name}.yaml"


def cassette_names(*, retrieval: bool = False) -> list[str]:
    """Return the names of all cassettes of chats, or of embeddings and rerank."""
    names = sorted(str(path.relative_to(CASSETTES).with_suffix("")) for path in CASSETTES.rglob("*.yaml"))
    return [name for name in names if name.startswith("retrieval/") == retrieval]


def read(name: str) -> tuple[Origin, list[Interaction]]:
    """Return the origin and interactions of a cassette, parsed without vcrpy."""
    data = _load(cassette_path(name).read_text("utf-8"))
    origin = data["origin"]
    interactions = [
        Interaction(
            path=each["request"]["uri"].removeprefix(ORIGIN),
            request=json.loads(_bytes(each["request"]["body"])),
            status=each["response"]["status"]["code"],
            headers=each["response"]["headers"],
            body=_bytes(each["response"]["body"]),
        )
        for each in data["interactions"]
    ]
    return Origin(origin["kind"], origin["from"], origin["date"], origin.get("note")), interactions


# ---------------------------------------------------------------- the file


class CassetteFormat:
    """Convert vcrpy's data to YAML text and back. `origin` is required for writing only."""

    def __init__(self, origin: Origin | None = None) -> None:
        self.origin = origin

    def serialize(self, data: Mapping[str, Any]) -> str:
        """Return the text of a cassette."""
        if self.origin is None:
            raise ValueError("a cassette without an origin is not written")
        origin = {"kind": self.origin.kind, "from": self.origin.source, "date": self.origin.date}
        if self.origin.note:
            origin["note"] = self.origin.note
        interactions = [{part: _WRITE[part](each[part]) for part in _WRITE} for each in data["interactions"]]
        made = {"origin": origin, "interactions": interactions, "version": data["version"]}
        return str(yaml.dump(made, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**20))

    def deserialize(self, text: str) -> dict[str, Any]:
        """Return vcrpy's data from the text of a cassette."""
        data = _load(text)
        interactions = []
        for each in data["interactions"]:
            request, response = ({**each[part], "headers": _listed(each[part]["headers"])} for part in _WRITE)
            request["body"] = _bytes(request["body"])
            response["body"] = {"string": _bytes(response["body"])}
            interactions.append({"request": request, "response": response})
        return {"interactions": interactions, "version": data["version"]}


def _listed(headers: Mapping[str, str]) -> dict[str, list[str]]:
    return {name: [value] for name, value in headers.items()}


def _request(request: Mapping[str, Any]) -> dict[str, Any]:
    body = request["body"]
    with suppress(ValueError, TypeError):  # what is no JSON is written as it is
        body = json.dumps(json.loads(body), ensure_ascii=False, indent=2) + "\n"
    headers = {name: values[0] for name, values in request["headers"].items()}
    return {"method": request["method"], "uri": request["uri"], "headers": headers, "body": _text(body)}


def _response(response: Mapping[str, Any]) -> dict[str, Any]:
    headers = {name: values[0] for name, values in response["headers"].items()}
    status = {"code": response["status"]["code"], "message": response["status"]["message"]}
    return {"status": status, "headers": headers, "body": _text(response["body"]["string"])}


_WRITE = {"request": _request, "response": _response}


class _Literal(str):
    """Text to write as a literal block."""


class _Dumper(yaml.SafeDumper):
    """Write `_Literal` as a literal block, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(_Literal, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, "|"))


def _load(text: str) -> Any:
    return yaml.load(text, Loader=yaml.SafeLoader)


def _text(body: str | bytes | None) -> _Literal | dict[str, _Literal]:
    """Return a body as a literal block, or as base64 if a literal block would not preserve every byte."""
    data = body.encode() if isinstance(body, str) else body or b""
    try:
        text = _Literal(data.decode())
        written = yaml.dump({"body": text}, Dumper=_Dumper, allow_unicode=True, width=2**20)
        if (written.startswith("body: |") or not text) and _load(written)["body"] == text:
            return text
    except (UnicodeDecodeError, yaml.YAMLError):
        pass
    return {"base64": _Literal(base64.encodebytes(data).decode())}


def _bytes(body: str | Mapping[str, str]) -> bytes:
    return body.encode() if isinstance(body, str) else base64.b64decode(body["base64"])


class _Files:
    """vcrpy's persister, with UTF-8 and LF on all systems."""

    @staticmethod
    def load_cassette(path: str, serializer: Any) -> Any:
        if not Path(path).is_file():
            return [], []
        return deserialize(Path(path).read_text("utf-8"), serializer)

    @staticmethod
    def save_cassette(path: str, cassette: Any, serializer: Any) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(serialize(cassette, serializer).encode())


# ---------------------------------------------------------------- what is kept, and what matches


def _vcr(form: CassetteFormat, secrets: Sequence[str] = ()) -> VCR:
    hidden = [secret.encode() for secret in secrets if secret]

    def request(sent: Request) -> Request:
        headers = {name: sent.headers[name] for name in REQUEST_HEADERS if name in sent.headers}
        return Request(sent.method, ORIGIN + sent.path, _scrubbed(sent.body, hidden), headers)

    def response(came: dict[str, Any]) -> dict[str, Any]:
        given = {name.lower(): values for name, values in came["headers"].items()}
        headers = {name: given[name][:1] for name in RESPONSE_HEADERS if name in given}
        return {
            "status": came["status"],
            "headers": headers,
            "body": {"string": _scrubbed(came["body"]["string"], hidden)},
        }

    made = VCR(
        before_record_request=request,
        before_record_response=response,
        decode_compressed_response=True,
        match_on=("method", "path", "json"),
        serializer="readable",
    )
    made.register_serializer("readable", form)
    made.register_persister(_Files)
    made.register_matcher("json", _same_json)
    return made


def _scrubbed(body: bytes, secrets: Sequence[bytes]) -> bytes:
    for secret in secrets:
        body = body.replace(secret, REDACTED)
    return body


def _same_json(sent: Request, stored: Request) -> None:
    """Return True if JSON values are equal. Key order is ignored, and true differs from 1, but 0 equals 0.0."""
    kept, came = (_lines(request.body) for request in (stored, sent))
    if kept != came:
        raise AssertionError("\n".join(difflib.unified_diff(kept, came, "cassette", "sent", n=1, lineterm="")))


def _lines(body: bytes) -> list[str]:
    return json.dumps(json.loads(body, parse_int=float), indent=1, sort_keys=True).split("\n")


# ---------------------------------------------------------------- what no cassette may hold

_LEAKS = {
    "a key": r"\bsk-[\w-]{6,}|\bLTAI\w{8,}",
    "a bearer token": r"(?i)\bbearer\s+\S",
    "an authorization header": r"(?i)\bauthorization\b\W{0,2}:",
    "a cookie": r"(?i)\bcookie\b\W{0,2}:",
    "a signed URL": r"(?i)[?&](?:x-(?:amz|oss)-[\w-]+|ossaccesskeyid|signature|expires|security-token|sig|token)=",
    "a workspace's host": r"[\w-]+\.[\w-]+\.maas\.aliyuncs\.com",
    "a path of a machine": r"(?<![\w.])/(?:home|root|Users|tmp|work|mnt|opt|var|usr|srv|private)/\w|\b[A-Z]:\\+Users\b|file://",
}


def leaks(text: str) -> list[str]:
    """Return forbidden content of a cassette, also in base64 bodies, or an empty list."""
    inside = [
        _bytes(each[part]["body"]).decode("utf-8", "replace")
        for each in _load(text)["interactions"]
        for part in _WRITE
        if not isinstance(each[part]["body"], str)
    ]
    return [name for name, pattern in _LEAKS.items() if any(re.search(pattern, each) for each in (text, *inside))]
