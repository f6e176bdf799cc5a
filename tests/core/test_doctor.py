"""The doctor: each check in each of its states, whole runs against servers on this machine, and the key never shown."""

from __future__ import annotations

import io
import json
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from modelstudio_core import __main__ as command
from modelstudio_core import config, doctor
from modelstudio_core.config import resolve
from modelstudio_core.doctor import Check, Settings
from modelstudio_core.errors import APIConnectionError, NotFoundError, ServerError
from modelstudio_core.http import environment
from modelstudio_core.http.probe import Answer, ModelListing
from tests.core.transport.conftest import own_connections
from tests.core.transport.test_proxies import tunnel_to
from tests.loopback import Exchange, Loopback, Script, reply_json
from tests.service import USAGE
from tests.service import Answer as Said

__all__ = ["own_connections"]  # fixtures

KEY, PLAN_KEY = "sk-not-a-real-key", "sk-sp-not-a-real-key"
PLAN_URL = "https://coding-intl.dashscope.aliyuncs.com/v1"
LOCAL = "http://127.0.0.1:9"


class Package:
    """An installed distribution that promises these ranges."""

    name, version = "modelstudio-integrations", "0.1.0"

    def __init__(self, *requires: str) -> None:
        self.requires = requires


def packages(monkeypatch: pytest.MonkeyPatch, installed: Mapping[str, str], *requires: str) -> Check:
    monkeypatch.setattr(doctor, "_version", installed.get)
    return doctor.packages_check(Package(*requires))  # type: ignore[arg-type]  # has what is read


@pytest.mark.parametrize(("running", "state"), [((3, 10, 0), "ok"), ((3, 13, 9), "ok"), ((3, 99, 0), "warn")])
def test_python(running: tuple[int, ...], state: str) -> None:
    """A Python that is newer than the tested ones is a warning; an older one cannot import the package."""
    assert doctor.python_check(running).state == state


@pytest.mark.parametrize(
    ("installed", "requires", "state", "says"),
    [
        ({"httpx": "0.28.1", "langchain-core": "1.8"}, ["httpx<1,>=0.27"], "ok", "httpx 0.28.1"),
        ({"httpx": "0.28.1"}, ["httpx<1,>=0.27"], "warn", "no framework"),
        ({"httpx": "0.26"}, ["httpx<1,>=0.27"], "fail", "httpx 0.26 is outside <1,>=0.27"),
        ({"httpx": "1.0"}, ["httpx<1,>=0.27"], "fail", "httpx 1.0 is outside"),
        ({"langchain-core": "1.7"}, ["langchain-core<2,>=1.7.5; extra == 'langchain'"], "fail", "core 1.7 is"),
        ({"ruff": "0.1", "langchain-core": "2"}, ["ruff>=0.11; extra == 'dev'"], "ok", "langchain-core 2"),
    ],
)  # fmt: skip
def test_packages(
    installed: dict[str, str], requires: list[str], state: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions are compared with the promised ranges of the base install and of the frameworks that are installed."""
    check = packages(monkeypatch, installed, *requires)
    assert (check.state, says in check.found) == (state, True)
    assert bool(check.advice) == (state != "ok")


def test_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without metadata there are no promises to compare with."""
    monkeypatch.setattr(doctor, "_distribution", lambda: None)
    assert doctor.packages_check().state == "warn"
    assert doctor.python_check().state == "ok"


@pytest.mark.parametrize(
    ("key", "url", "states"),
    [
        (KEY, None, ["ok", "ok"]),
        (PLAN_KEY, PLAN_URL, ["ok", "ok"]),
        (PLAN_KEY, None, ["ok", "fail"]),
        (KEY, PLAN_URL, ["ok", "fail"]),
        ("not-a-key", None, ["ok", "warn"]),
        (PLAN_KEY, LOCAL, ["ok", "ok"]),
        (None, None, ["fail"]),
        (None, LOCAL, ["ok"]),
    ],
)
def test_the_key_and_its_kind(key: str | None, url: str | None, states: list[str]) -> None:
    """A plan key is for plan hosts, others for the others; a server on this machine needs none."""
    environ = {} if key is None else {config.API_KEY_VARIABLE: key}
    checks = list(doctor.key_checks(doctor._resolve(Settings(base_url=url), environ)))
    assert [check.state for check in checks] == states
    assert key is None or key not in doctor.render(checks)
    if states == ["fail"]:
        assert "get-api-key" in checks[0].advice
        assert "local_model" in checks[0].advice


@pytest.mark.parametrize(
    ("settings", "environ", "state", "says"),
    [
        (Settings(), {}, "ok", "(region singapore), by the default; protocol openai"),
        (Settings(region="beijing"), {"DASHSCOPE_REGION": "us-east-1"}, "ok", "(region beijing), by --region"),
        (Settings(), {"DASHSCOPE_REGION": "us-east-1"}, "ok", "(region virginia), by DASHSCOPE_REGION"),
        (Settings(), {"DASHSCOPE_BASE_URL": LOCAL}, "ok", f"{LOCAL}/compatible-mode/v1, by DASHSCOPE_BASE_URL"),
        (Settings(base_url=PLAN_URL), {}, "ok", "by --base-url"),
        (Settings(base_url=PLAN_URL, protocol="dashscope"), {}, "warn", "protocol dashscope"),
    ],
)
def test_the_endpoint(settings: Settings, environ: dict[str, str], state: str, says: str) -> None:
    """URL, region and protocol, and which setting they come from."""
    check = doctor.endpoint_check(settings, doctor._resolve(settings, environ), environ)
    assert (check.state, says in check.found) == (state, True)


@pytest.mark.parametrize(
    ("check", "state", "says"),
    [
        (doctor.proxy_check(None), "ok", "none"),
        (doctor.proxy_check("proxy:3128"), "ok", "proxy:3128"),
        (doctor.clock_check(3, "https://host"), "ok", "within 60 s"),
        (doctor.clock_check(-3600, "https://host"), "warn", "3600 s behind"),
        (doctor.clock_check(90, "https://host"), "warn", "90 s ahead of"),
        (doctor.clock_check(None, "https://host"), "warn", "no Date header"),
        (doctor.clock_check(None, LOCAL), "ok", "on this machine"),
        (doctor.model_check("qwen-plus"), "ok", "in the catalogue"),
        (doctor.model_check("qwen-plus-2027-01-01"), "ok", "a version of qwen-plus"),
        (doctor.model_check("qvq-max"), "warn", "was retired on"),
        (doctor.model_check("qwen-pluss"), "warn", "not in the catalogue"),
        (doctor.model_check("no-such-model"), "warn", "not in the catalogue"),
        (doctor.listed_check("a", ModelListing(0.1, models=frozenset("ab"))), "ok", "is listed for this key (2 models"),
        (doctor.listed_check("a", ModelListing(0.1, models=frozenset("a"))), "ok", "key (1 model in all)"),
        (doctor.listed_check("c", ModelListing(0.1, models=frozenset("ab"))), "warn", "c is not listed for this key"),
        (doctor.listed_check("a", ModelListing(0.1, error=NotFoundError("no path"))), "warn", "no path"),
        (doctor.listed_check("a", ModelListing(0.1)), "warn", "not a list"),
        (doctor.call_check("a", Answer(0.5, 0.25, 30)), "ok", "after 250 ms, all after 500 ms, 30 tokens"),
        (doctor.call_check("a", Answer(12.5, 12.0)), "warn", "after 12000 ms"),
        (doctor.call_check("a", Answer(0.5)), "warn", "without text"),
        (doctor.call_check("a", Answer(0.5, error=ServerError("down"))), "fail", "ServerError: down"),
    ],
)  # fmt: skip
def test_a_check_in_each_state(check: Check, state: str, says: str) -> None:
    """What is not ok says what to do."""
    assert (check.state, says in check.found) == (state, True)
    assert bool(check.advice) == (state != "ok")


def test_a_failed_call_names_the_row_of_the_page() -> None:
    advice = doctor.call_check("a", Answer(0.5, error=ServerError("down"))).advice
    assert advice == "docs/errors.md says what to do on ServerError"
    assert "| `ServerError` " in (Path(__file__).parents[2] / "docs/errors.md").read_text(encoding="utf-8")


def test_a_similar_model_is_named() -> None:
    assert "did you mean qwen-plus?" in doctor.model_check("qwen-pluss").advice


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("certificate has expired", "set the clock"),
        ("certificate is not yet valid", "set the clock"),
        ("self-signed certificate in certificate chain", "SSL_CERT_FILE"),
        ("unable to get local issuer certificate", "SSL_CERT_FILE"),
        ("Hostname mismatch, certificate is not valid for 'host'", "host name"),
    ],
)
def test_a_certificate_that_is_not_trusted(reason: str, says: str) -> None:
    """Dates point to the clock, an unknown issuer to a proxy that inspects TLS, anything else to a wrong host."""
    text = f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {reason} (_ssl.c:1006)"
    check = doctor.certificate_problem_check(APIConnectionError(text))
    assert check is not None
    assert (check.state, says in check.advice) == ("fail", True)
    assert doctor.certificate_problem_check(APIConnectionError("refused")) is None


# ---------------------------------------------------------------- whole runs


def service(models: Any, answer: Script, date: float | None = None) -> Script:
    """A service with a list of models, which is a script if it fails."""

    def script(exchange: Exchange) -> None:
        headers = {"Date": formatdate(date or time.time(), usegmt=True)}
        if exchange.request.path.endswith("/models"):
            reply = models if callable(models) else reply_json(200, {"data": [{"id": id} for id in models]}, headers)
            reply(exchange)
        else:
            answer(exchange)

    return script


HELLO = Said(text=["Hel", "lo"], usage=USAGE)
WRONG_KEY = reply_json(401, {"error": {"code": "invalid_api_key", "message": f"Incorrect API key: {KEY}"}})
NO_PATH = reply_json(404, {"error": {"message": "no path"}})
RUNS: dict[str, tuple[Script, dict[str, str], int]] = {
    "healthy": (service(["qwen-plus"], HELLO), {"available": "ok", "clock": "ok", "call": "ok"}, 0),
    "no list": (service(NO_PATH, HELLO), {"available": "warn", "call": "ok"}, 0),
    "other models": (service(["qwen-max"], HELLO), {"available": "warn", "call": "ok"}, 0),
    "wrong clock": (service(["qwen-plus"], HELLO, 1e9), {"clock": "warn", "call": "ok"}, 0),
    "wrong key": (service(WRONG_KEY, WRONG_KEY), {"host": "ok", "key accepted": "fail"}, 1),
    "failed call": (service(["qwen-plus"], WRONG_KEY), {"available": "ok", "call": "fail"}, 1),
}


def states(printed: str) -> dict[str, str]:
    return {check["name"]: check["state"] for check in json.loads(printed)["checks"]}


@pytest.mark.parametrize(
    ("name", "protocol"), [*((name, "openai") for name in RUNS), ("healthy", "dashscope"), ("healthy", "responses")]
)
def test_a_run(name: str, protocol: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The states, the exit status, and the same list of models in each protocol; the key is not printed."""
    script, expected, status = RUNS[name]
    monkeypatch.setenv(config.API_KEY_VARIABLE, KEY)
    with Loopback(script) as server:
        assert command.main(["doctor", "--base-url", server.url, "--protocol", protocol, "--json"]) == status
        assert server.requests[0].path == "/compatible-mode/v1/models"
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    printed = capsys.readouterr().out
    assert states(printed).items() >= expected.items()
    assert KEY not in printed


def test_the_report_as_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each check, and one for what to do."""
    monkeypatch.setenv(config.API_KEY_VARIABLE, KEY)
    with Loopback(service(["qwen-max"], HELLO)) as server:
        assert command.main(["doctor", "--base-url", server.url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split(maxsplit=2) == ["ok", "key", f"found in DASHSCOPE_API_KEY ({len(KEY)} characters)"]
    assert [line.split()[0] for line in lines].count("->") == 1
    assert lines[-1].startswith("ok    call          qwen-plus answered: first token after ")


def test_the_tiny_call_is_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for a few tokens, without thinking where that can be turned off."""
    with Loopback(service(["qwen-plus"], HELLO)) as server:
        assert command.main(["doctor", "--base-url", server.url, "--json"]) == 0
        body = server.requests[-1].json()
    assert (body["max_tokens"], body["enable_thinking"], body["stream"]) == (16, False, True)


@pytest.mark.parametrize(
    ("environ", "failed", "says"),
    [
        ({}, "key", "get-api-key"),
        ({"DASHSCOPE_REGION": "atlantis"}, "settings", "atlantis"),
        ({"DASHSCOPE_REGION": "tokyo"}, "settings", "DASHSCOPE_WORKSPACE"),
        ({"DASHSCOPE_API_KEY": "sk with spaces"}, "settings", "invalid characters"),
        ({"HTTPS_PROXY": "ftp://proxy"}, "proxy", "not an http, https or socks5 URL"),
        ({"SSL_CERT_FILE": "/nonexistent/ca.pem"}, "proxy", "SSL_CERT_FILE"),
    ],
)
def test_a_run_that_cannot_reach_the_service(
    environ: dict[str, str], failed: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings that no request can be sent with end the run; without a key the host is tried all the same."""
    for name, value in ({"HTTPS_PROXY": "http://127.0.0.1:9"} | environ).items():
        monkeypatch.setenv(name, value)
    assert command.main(["doctor", "--json"]) == 1
    printed = capsys.readouterr().out
    assert states(printed)[failed] == "fail"
    assert says in printed
    assert "call" not in states(printed)
    assert ("host" in states(printed)) == (failed == "key")


@pytest.mark.parametrize("seconds", ["0", "-3", "nan"])
def test_a_timeout_that_cannot_be_one(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["doctor", "--timeout", seconds, "--json"]) == 1
    printed = capsys.readouterr().out
    assert states(printed)["settings"] == "fail"
    assert "timeout= must be a positive number of seconds" in printed


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"], ["chat"]])
def test_text_that_the_output_cannot_encode(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The service may answer in Chinese, and files on Windows are often encoded in cp1252."""
    monkeypatch.setenv(config.API_KEY_VARIABLE, KEY)
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    typed = io.StringIO("Hi\n")
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)
    failed = reply_json(400, {"error": {"code": "InvalidParameter", "message": "\u53c2\u6570 \xe9"}})
    with Loopback(failed) as server:
        status = command.main([*arguments, "--base-url", server.url])
    out.seek(0)
    printed = out.read()
    assert "\\u53c2" in printed
    assert status == (arguments != ["chat"])
    assert "--json" not in arguments or states(printed)["call"] == "fail"


@pytest.mark.parametrize(
    ("url", "says"),
    [("http://127.0.0.1:8000", "-m local_model --force-auto --port 8000`"), ("https://example.com", "the proxy")],
)
def test_a_host_that_does_not_answer(url: str, says: str) -> None:
    """On this machine a server has to be started; elsewhere it is the network."""
    listing = ModelListing(0.1, error=APIConnectionError("refused"))
    (check,) = doctor.network_checks(resolve(base_url=url, api_key=KEY), listing)
    assert (check.name, check.state) == ("host", "fail")
    assert says in check.advice


def test_a_server_that_wants_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """Also on this machine, a server may refuse a request without a key."""
    with Loopback(WRONG_KEY) as server:
        assert command.main(["doctor", "--base-url", server.url, "--json"]) == 1
    assert states(capsys.readouterr().out)["key accepted"] == "fail"


@pytest.fixture
def behind_a_proxy(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """A healthy service that a proxy tunnels to, with a certificate of its own authority."""
    monkeypatch.setenv(config.API_KEY_VARIABLE, KEY)
    environment._ssl_context.cache_clear()
    with (
        Loopback(service(["qwen-plus"], HELLO), tls=certificate[1]) as server,
        Loopback(tunnel_to(server.port)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:secret-word@"))
        yield monkeypatch
    environment._ssl_context.cache_clear()


@pytest.mark.parametrize("trusted", [True, False])
def test_tls_through_a_proxy(
    trusted: bool,
    behind_a_proxy: pytest.MonkeyPatch,
    certificate: tuple[Path, ssl.SSLContext],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A certificate of an unknown authority fails with what to do, and is trusted with SSL_CERT_FILE."""
    if trusted:
        behind_a_proxy.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert command.main(["doctor", "--base-url", "https://service.invalid", "--json"]) == (0 if trusted else 1)
    printed = capsys.readouterr().out
    assert states(printed)["certificate"] == ("ok" if trusted else "fail")
    assert "127.0.0.1:" in printed
    assert "secret-word" not in printed
    assert ("call" in states(printed)) == trusted
    assert ("proxy that inspects TLS" in printed) != trusted


def test_resolve_still_wants_a_key() -> None:
    """The doctor alone sends requests without one."""
    with pytest.raises(Exception, match="no API key"):
        resolve(environ={})
