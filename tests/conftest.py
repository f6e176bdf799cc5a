"""Fixtures for all tests, which isolate them from the developer's settings."""

from __future__ import annotations

import gc
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelstudio_core.http.client import _log_once
from tests.ids import LONGEST_ID, LONGEST_VALUE
from tests.protocols import PROTOCOLS, spoken
from tests.rotation import mark_rotated

LOCAL_MODEL = {"local_model_url", "examples_model_url"}  # the fixtures that start it

gc.disable()  # collecting makes only objects that stay


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Truncate the IDs of long texts, after escaping. Leave others to pytest."""
    text = val.decode("latin-1") if isinstance(val, bytes) else val
    if not isinstance(text, str) or len(text.encode("unicode_escape")) <= LONGEST_VALUE:
        return None
    return "".join(character if " " <= character <= "~" else "." for character in text[:LONGEST_VALUE])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_rotated(items)
    for item in items:
        if len(item.name.partition("[")[2]) > LONGEST_ID + 1:
            raise pytest.UsageError(f"{item.nodeid}: an id has at most {LONGEST_ID} characters; see tests/ids.py")
        if "tests/local_model/" in item.nodeid or LOCAL_MODEL.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("local_model")


def pytest_collection_finish() -> None:
    """Exclude all loaded objects from garbage collection, where each run would take 0.1 s."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def no_dashscope_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's key, base URL and region from the environment."""
    for name in [name for name in os.environ if name.startswith("DASHSCOPE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def nothing_logged_yet() -> None:
    """Reset messages that are logged once per process."""
    _log_once.cache_clear()


@pytest.fixture
def patient_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the drain timeout of 0.1 s for tests that count connections, because a busy machine may exceed it."""
    monkeypatch.setattr("modelstudio_core.http.response.DRAIN_SECONDS", 5.0)


@pytest.fixture
def httpcore_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the connections of httpcore, as through a proxy, or where a test patches httpcore."""
    monkeypatch.setattr("modelstudio_core.http.connection.is_httpcore_patched", lambda: True)


@pytest.fixture(params=["own", pytest.param("httpcore", marks=pytest.mark.slow)])
def connections(request: pytest.FixtureRequest) -> str:
    """Use our own connections, and in `make test-all` also those of httpcore."""
    if request.param == "httpcore":
        request.getfixturevalue("httpcore_connections")
    return str(request.param)


@pytest.fixture(params=["own", "httpcore"])
def rotated_connections(request: pytest.FixtureRequest) -> None:
    """Use both kinds of connections, for tests marked `rotated`."""
    if request.param == "httpcore":
        request.getfixturevalue("httpcore_connections")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:service.invalid",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


@pytest.fixture(scope="session")
def local_model_url() -> Iterator[str]:
    """Return the base URL of the local model, started once for all tests of the adapters.

    It is forced to call tools on "auto" after a user turn, because it never does by itself. Its model name is always
    "qwen-flash", the second model of langchain-tests' suite.
    """
    import local_model  # only where it is used: it needs the extra `local`

    with local_model.running(force_auto=True, model_name="qwen-flash") as server:
        yield server.base_url


@pytest.fixture(params=PROTOCOLS)
def each_protocol(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once per protocol, for models created by `chat`."""
    token = spoken.set(request.param)
    yield request.param
    spoken.reset(token)
