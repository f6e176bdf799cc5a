"""Host and key of a call: arguments override the environment, which overrides the defaults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from modelstudio_core.config import DEFAULT_TIMEOUT, REGIONS, Config, is_loopback, resolve, service_url
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.protocols.sse import MAX_EVENT_BYTES

KEY = {"DASHSCOPE_API_KEY": "sk-environment"}
LOCAL = "http://127.0.0.1:8080/v1"
WORKSPACE = "x-dashscope-workspace"


def resolved(environ: dict[str, str] | None = None, **given: Any) -> Config:
    return resolve(environ=KEY | (environ or {}), **given)


def test_defaults() -> None:
    """With only a key: Singapore, OpenAI-compatible protocol, two retries, 300 s read timeout."""
    assert resolved() == Config(
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        api_key=SecretStr("sk-environment"),
        protocol="openai",
        region="singapore",
        headers={},
        timeout=300.0,
        max_retries=2,
        max_event_bytes=32 * 1024 * 1024,
    )
    assert (DEFAULT_TIMEOUT, MAX_EVENT_BYTES) == (300.0, 32 * 1024 * 1024)


ADDRESSES: list[tuple[str, str, str, str]] = [
    # by name, by id, the host of the vendor's region page
    ("singapore", "ap-southeast-1", "", "https://dashscope-intl.aliyuncs.com"),
    ("virginia", "us-east-1", "", "https://dashscope-us.aliyuncs.com"),
    ("beijing", "cn-beijing", "", "https://dashscope.aliyuncs.com"),
    ("beijing-batch", "cn-beijing-batch", "", "https://batch.dashscope.aliyuncs.com"),
    ("hongkong", "cn-hongkong", "", "https://cn-hongkong.dashscope.aliyuncs.com"),
    ("frankfurt", "eu-central-1", "ws-1", "https://ws-1.eu-central-1.maas.aliyuncs.com"),
    ("tokyo", "ap-northeast-1", "ws-1", "https://ws-1.ap-northeast-1.maas.aliyuncs.com"),
]


@pytest.mark.parametrize(("protocol", "path"), [("openai", "/compatible-mode/v1"), ("dashscope", "/api/v1")])
@pytest.mark.parametrize(("name", "id", "workspace", "host"), ADDRESSES, ids=[name for name, *_ in ADDRESSES])
def test_every_region(name: str, id: str, workspace: str, host: str, protocol: Any, path: str) -> None:
    """A region, as name or ID, argument or environment variable, determines the host."""
    environ = {"DASHSCOPE_WORKSPACE": workspace} if workspace else {}
    expected = resolved(environ, region=name, protocol=protocol)
    assert expected.base_url == host + path
    assert expected.region == name
    for said in (id, f" {name.upper()} "):
        assert resolved(environ, region=said, protocol=protocol) == expected
        assert resolved(environ | {"DASHSCOPE_REGION": said}, protocol=protocol) == expected
    assert resolved(base_url=host + path, protocol=protocol).region == name
    assert {known.id for known in REGIONS.values()} == {id for _, id, _, _ in ADDRESSES}


def test_batch_chat_waits_for_an_hour() -> None:
    """The service holds such calls for up to 3,600 s (vendor's Batch Chat page). The caller's timeout has priority."""
    assert resolved(region="beijing-batch").timeout == 3600.0
    assert resolved(base_url="https://batch.dashscope.aliyuncs.com").timeout == 3600.0
    assert resolved(region="beijing-batch", timeout=60).timeout == 60


PRECEDENCE: list[tuple[str, dict[str, Any], dict[str, str], str, str]] = [
    ("argument key", {"api_key": "sk-argument"}, {}, "sk-argument", "dashscope-intl.aliyuncs.com"),
    ("secret key", {"api_key": SecretStr("sk-argument")}, {}, "sk-argument", "dashscope-intl.aliyuncs.com"),
    ("empty argument key", {"api_key": ""}, {}, "sk-environment", "dashscope-intl.aliyuncs.com"),
    ("region over env region", {"region": "beijing"}, {"DASHSCOPE_REGION": "virginia"}, "", "dashscope.aliyuncs.com"),
    (
        "region over env base_url",
        {"region": "beijing"},
        {"DASHSCOPE_BASE_URL": "https://a"},
        "",
        "dashscope.aliyuncs.com",
    ),
    ("base_url over env region", {"base_url": "https://a"}, {"DASHSCOPE_REGION": "virginia"}, "", "a"),
    ("base_url over env base_url", {"base_url": "https://a"}, {"DASHSCOPE_BASE_URL": "https://b"}, "", "a"),
    ("env base_url", {}, {"DASHSCOPE_BASE_URL": "https://b"}, "", "b"),
    ("env base_url over env region", {}, {"DASHSCOPE_BASE_URL": "https://b", "DASHSCOPE_REGION": "virginia"}, "", "b"),
    ("env region", {}, {"DASHSCOPE_REGION": "virginia"}, "", "dashscope-us.aliyuncs.com"),
    (
        "env base_url over another package's",
        {},
        {"DASHSCOPE_BASE_URL": "https://b", "DASHSCOPE_API_BASE": "https://c"},
        "",
        "b",
    ),
    (
        "region over another package's",
        {"region": "beijing"},
        {"DASHSCOPE_HTTP_BASE_URL": "https://c"},
        "",
        "dashscope.aliyuncs.com",
    ),
    *(
        (f"the default host for another package, {name}", {}, {name: value}, "", "dashscope-intl.aliyuncs.com")
        for name, value in (
            ("DASHSCOPE_HTTP_BASE_URL", "https://dashscope-intl.aliyuncs.com/api/v1"),
            ("DASHSCOPE_API_BASE", " https://DashScope-intl.aliyuncs.com/compatible-mode/v1\n"),
            ("DASHSCOPE_API_REGION", "ap-southeast-1"),
        )
    ),
    (
        "empty env is not set",
        {},
        {"DASHSCOPE_BASE_URL": "", "DASHSCOPE_REGION": "", "DASHSCOPE_WORKSPACE": "", "DASHSCOPE_API_BASE": ""},
        "",
        "dashscope-intl.aliyuncs.com",
    ),
]


@pytest.mark.parametrize(
    ("given", "environ", "key", "host"), [c[1:] for c in PRECEDENCE], ids=[c[0] for c in PRECEDENCE]
)
def test_argument_then_environment_then_default(
    given: dict[str, Any], environ: dict[str, str], key: str, host: str
) -> None:
    """An argument overrides the environment, which overrides the default. An empty string is not set."""
    config = resolved(environ, **given)
    assert config.api_key == SecretStr(key or "sk-environment")
    assert config.base_url == f"https://{host}/compatible-mode/v1"


def test_the_real_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `environ`, the environment of the process."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-process")
    monkeypatch.setenv("DASHSCOPE_REGION", "beijing")
    monkeypatch.setenv("DASHSCOPE_WORKSPACE", "ws-1")
    config = resolve()
    assert config.api_key == SecretStr("sk-process")
    assert (config.region, config.headers) == ("beijing", {WORKSPACE: "ws-1"})


INTL, CODING, CODING_CN, TOKEN = (
    "https://dashscope-intl.aliyuncs.com",
    "https://coding-intl.dashscope.aliyuncs.com",
    "https://coding.dashscope.aliyuncs.com",
    "https://token-plan.cn-beijing.maas.aliyuncs.com",
)
OPENAI, NATIVE = "/compatible-mode/v1", "/api/v1"
BASE_URLS: list[tuple[str, str, str]] = [
    # given, by the compatible protocol, by the native one
    *(
        (INTL + path, INTL + OPENAI, INTL + NATIVE)
        for path in (
            "", "/", OPENAI, f"{OPENAI}/", NATIVE, "/compatible-mode", "/compatible-api/v1", "/compatible-mode/api/v1",
            "/api/v2/apps/protocols/compatible-mode/v1", f"{OPENAI}/chat/completions", "/chat/completions",
            f"{OPENAI}/embeddings", f"{NATIVE}/services/aigc/multimodal-generation/generation",
        )
    ),
    (f"{INTL}/v1", f"{INTL}/v1", f"{INTL}/v1"),
    ("HTTPS://DashScope.aliyuncs.com/api/v1/", f"https://DashScope.aliyuncs.com{OPENAI}", f"https://DashScope.aliyuncs.com{NATIVE}"),
    *(
        (CODING + path, f"{CODING}/v1", CODING + NATIVE)
        for path in ("", "/v1", "/v1/", "/v1/chat/completions", OPENAI, NATIVE)
    ),
    *((CODING_CN + path, f"{CODING_CN}/v1", CODING_CN + NATIVE) for path in ("", "/v1")),
    *((TOKEN + path, TOKEN + OPENAI, TOKEN + NATIVE) for path in ("", OPENAI, NATIVE)),
    # on any other host the path is the caller's
    ("https://host", f"https://host{OPENAI}", f"https://host{NATIVE}"),
    ("https://host/", f"https://host{OPENAI}", f"https://host{NATIVE}"),
    (" https://host:8443 ", f"https://host:8443{OPENAI}", f"https://host:8443{NATIVE}"),
    *(
        (f"https://host{path}", f"https://host{path}", f"https://host{path}")
        for path in (
            OPENAI, NATIVE, "/v1", "/gate/api/v1", "/v1/chat/completions", "/apps/anthropic", "/compatible-mode",
            "/my-compatible-mode-proxy",
        )
    ),
    ("https://host/v1/", "https://host/v1", "https://host/v1"),
    ("https://dashscope.aliyuncs.com.example.com/api/v1",) * 3,
    ("https://mine.cn-beijing.fc.aliyuncs.com/api/v1",) * 3,  # a customer's own service on the vendor's cloud
    ("https://vpc-cn-beijing.dashscope.aliyuncs.com/v1/chat/completions",
     *("https://vpc-cn-beijing.dashscope.aliyuncs.com/v1",) * 2),
    ("http://127.0.0.1:8000/api/v1",) * 3,
]  # fmt: skip


@pytest.mark.parametrize(("given", "openai", "dashscope"), BASE_URLS)
def test_base_url(given: str, openai: str, dashscope: str) -> None:
    """A bare origin, or a known path on a vendor's host, gets the path of the protocol. Others are unchanged."""
    assert resolved(base_url=given).base_url == openai
    assert resolved(base_url=given, protocol="dashscope").base_url == dashscope
    assert resolved({"DASHSCOPE_BASE_URL": given}).base_url == openai


SERVICES: list[tuple[str, str]] = [
    (INTL + OPENAI, INTL),
    (INTL + NATIVE, INTL),
    ("https://host/gate/api/v1", "https://host/gate"),
    ("http://127.0.0.1:8000/compatible-mode/v1", "http://127.0.0.1:8000"),
    ("https://host/v1", "https://host/v1"),
]


@pytest.mark.parametrize(("base_url", "before"), SERVICES)
def test_the_url_of_another_service(base_url: str, before: str) -> None:
    """Its path replaces the known suffix, on any host."""
    assert service_url(base_url, "/compatible-api/v1/reranks") == f"{before}/compatible-api/v1/reranks"


ANTHROPIC: list[tuple[str, str]] = [
    (f"{INTL}/apps/anthropic", INTL + OPENAI),
    (f"{INTL}/apps/anthropic/", INTL + OPENAI),
    (f"{INTL}/apps/anthropic/v1/messages", INTL + OPENAI),
    (f"{CODING}/apps/anthropic", f"{CODING}/v1"),
    (f"{TOKEN}/apps/anthropic", TOKEN + OPENAI),
]


@pytest.mark.parametrize(("given", "right"), ANTHROPIC)
def test_the_anthropic_path_is_rejected(given: str, right: str) -> None:
    """The error has the correct URL."""
    with pytest.raises(ConfigurationError, match=f"Anthropic-compatible.*base_url='{right}'$"):
        resolved(base_url=given)


KNOWN_HOSTS: list[tuple[str, str | None]] = [
    ("https://dashscope.aliyuncs.com/compatible-mode/v1", "beijing"),
    ("https://DashScope-Intl.aliyuncs.com", "singapore"),
    ("https://ws-1.cn-beijing.maas.aliyuncs.com", "beijing"),
    ("https://ws-1.us-east-1.maas.aliyuncs.com", "virginia"),
    ("https://token-plan.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1", "singapore"),
    ("https://dashscope.aliyuncs.com.example.com", None),
    ("https://coding-intl.dashscope.aliyuncs.com/v1", None),
]


@pytest.mark.parametrize(("base_url", "region"), KNOWN_HOSTS)
def test_the_region_of_a_base_url(base_url: str, region: str | None) -> None:
    """Known hosts have a region, for messages about keys. Others have none."""
    config = resolved(base_url=base_url)
    assert config.region == region
    host = base_url.split("/")[2]
    assert config.where == (f"{host} (region {region})" if region else host)


WORKSPACES: list[tuple[str, dict[str, Any], dict[str, str], dict[str, str]]] = [
    ("shared host: a header", {"workspace": "ws-1"}, {}, {WORKSPACE: "ws-1"}),
    ("from the environment", {}, {"DASHSCOPE_WORKSPACE": "ws-2"}, {WORKSPACE: "ws-2"}),
    ("argument over environment", {"workspace": "ws-1"}, {"DASHSCOPE_WORKSPACE": "ws-2"}, {WORKSPACE: "ws-1"}),
    ("workspace host: no header", {"workspace": "ws-1", "region": "tokyo"}, {}, {}),
    (
        "its own host by base_url",
        {"workspace": "WS-1", "base_url": "https://ws-1.cn-beijing.maas.aliyuncs.com"},
        {},
        {},
    ),
    (
        "another's host by base_url",
        {"workspace": "ws-1", "base_url": "https://ws-12.cn-beijing.maas.aliyuncs.com"},
        {},
        {WORKSPACE: "ws-1"},
    ),
    (
        "a header of the caller's wins",
        {"workspace": "ws-1", "default_headers": {"X-DashScope-WorkSpace": "mine"}},
        {},
        {WORKSPACE: "mine"},
    ),
    ("none", {}, {}, {}),
]


@pytest.mark.parametrize(("given", "environ", "headers"), [c[1:] for c in WORKSPACES], ids=[c[0] for c in WORKSPACES])
def test_workspace(given: dict[str, Any], environ: dict[str, str], headers: dict[str, str]) -> None:
    """A header on shared hosts, part of the host name on dedicated ones."""
    assert resolved(environ, **given).headers == headers


@pytest.mark.parametrize("id", ["ws-1", "llm_A9", "0", "w" * 64])
def test_valid_workspace_ids(id: str) -> None:
    """Up to 64 letters, digits, - and _."""
    assert resolved(region="frankfurt", workspace=id).base_url.startswith(f"https://{id}.eu-central-1.")
    assert resolved({"DASHSCOPE_WORKSPACE": id}).headers == {WORKSPACE: id}


def test_default_headers_have_lower_case_names() -> None:
    """The caller's mapping is not changed."""
    given = {"X-Team": "search", "User-Agent": "mine"}
    assert resolved(default_headers=given, workspace="w").headers == {
        "x-team": "search",
        "user-agent": "mine",
        WORKSPACE: "w",
    }
    assert given == {"X-Team": "search", "User-Agent": "mine"}


REFUSED: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
    ("no key", {}, {"DASHSCOPE_API_KEY": ""}, "DASHSCOPE_API_KEY; `python -m modelstudio_core doctor` says how"),
    ("a key of blanks", {"api_key": "  "}, {}, "no API key"),
    ("a key with a line end inside", {"api_key": "sk-a\nb"}, {}, "invalid characters"),
    ("a key with a blank inside", {"api_key": "sk-a b"}, {}, "invalid characters"),
    ("a key with a typographic dash", {"api_key": "sk\u2013a"}, {}, "invalid characters"),
    ("a key with a zero-width space", {"api_key": "sk-a\u200b"}, {}, "invalid characters"),
    ("a key in quotation marks", {"api_key": '"sk-a"'}, {}, "invalid characters"),
    ("a key with NUL", {"api_key": "sk-a\x00"}, {}, "invalid characters"),
    ("a wrong region", {"region": "mars"}, {}, "region='mars' is unknown"),
    ("a misspelt region", {"region": "singapor"}, {}, "Did you mean 'singapore'"),
    ("a misspelt region id", {"region": "ap-southeast1"}, {}, "Did you mean 'ap-southeast-1'"),
    *(
        (
            f"a host for another package, {name}",
            {},
            {name: value, **more},
            f"{name} is set, but this package does not read it: set DASHSCOPE_BASE_URL or",
        )
        for name, value, more in (
            ("DASHSCOPE_HTTP_BASE_URL", "https://dashscope.aliyuncs.com/api/v1", {}),
            ("DASHSCOPE_COMPATIBLE_BASE_URL", "https://dashscope.aliyuncs.com/compatible-mode/v1", {}),
            ("DASHSCOPE_API_REGION", "cn-beijing", {}),
            ("DASHSCOPE_API_BASE", "no URL: http://[", {}),
            ("DASHSCOPE_API_BASE", "https://dashscope-intl.aliyuncs.com.example.org/api/v1", {}),
            ("DASHSCOPE_API_BASE", "https://c", {"DASHSCOPE_API_REGION": "ap-southeast-1"}),
        )
    ),
    ("a wrong region from the environment", {}, {"DASHSCOPE_REGION": "bejing"}, "Did you mean 'beijing'"),
    ("region and base_url", {"region": "beijing", "base_url": "https://a"}, {}, "not both"),
    ("frankfurt without a workspace", {"region": "frankfurt"}, {}, "workspace="),
    ("tokyo without a workspace", {"region": "tokyo"}, {}, "DASHSCOPE_WORKSPACE"),
    ("an unknown protocol", {"protocol": "anthropic"}, {}, "'openai' or 'dashscope'"),
    ("no scheme", {"base_url": "dashscope.aliyuncs.com"}, {}, "not an http"),
    ("another scheme", {"base_url": "ftp://host"}, {}, "not an http"),
    ("no host", {"base_url": "https:///v1"}, {}, "not an http"),
    ("half an IPv6 address", {"base_url": "http://[::1/v1"}, {}, "not an http"),
    ("no address, from the environment", {}, {"DASHSCOPE_BASE_URL": "host"}, "not an http"),
    ("a query", {"base_url": "https://host/v1?key=sk-a"}, {}, "query"),
    ("a fragment", {"base_url": "https://host/v1#a"}, {}, "query"),
    ("credentials in the address", {"base_url": "https://me:secret@host/v1"}, {}, "credentials"),
    ("a header that is no text", {"default_headers": {"x-a": 1}}, {}, "header 'x-a' must be str"),
    ("headers that are none", {"default_headers": "x-a"}, {}, "default_headers must be a mapping"),
    ("a redacted header", {"default_headers": {"x-a": "[redacted]"}}, {}, "x-a is redacted"),
    ("the key among the headers", {"default_headers": {"authorization": "Bearer x"}}, {}, "api_key"),
    ("in any case", {"default_headers": {"AUTHORIZATION": "Bearer x"}}, {}, "api_key"),
    ("negative retries", {"max_retries": -1}, {}, "max_retries=-1"),
    *(
        case
        for bad in ("attacker.example/x?", "ws.1", "ws 1", "a@b", "-ws", "ws/..", "ws\n", "w" * 65, "ws\r\nx: y", "wsé")
        for case in (
            (f"workspace {bad!r:.24}", {"workspace": bad, "region": "frankfurt"}, {}, "not a workspace id"),
            (f"workspace {bad!r:.24}, shared host", {"workspace": bad}, {}, "not a workspace id"),
            (f"workspace {bad!r:.24} from the environment", {}, {"DASHSCOPE_WORKSPACE": bad}, "not a workspace id"),
        )
    ),
    ("no room for an answer", {"max_event_bytes": 0}, {}, "max_event_bytes=0"),
    ("less than none", {"max_event_bytes": -1}, {}, "max_event_bytes=-1"),
    ("plain http", {"base_url": "http://host/v1"}, {}, "plain HTTP"),
    ("plain http to a look-alike", {"base_url": "http://localhost.example.com/v1"}, {}, "plain HTTP"),
    ("plain http in this network", {"base_url": "http://192.168.0.7/v1"}, {}, "plain HTTP"),
]


@pytest.mark.parametrize(("given", "environ", "says"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_invalid_settings(given: dict[str, Any], environ: dict[str, str], says: str) -> None:
    """Settings that cannot work, or would expose the key, raise an error without the key."""
    with pytest.raises(ConfigurationError) as caught:
        resolved(environ, **given)
    assert says in caught.value.message
    assert "sk-" not in str(caught.value).replace("sk-environment", "LEAK")
    assert "LEAK" not in str(caught.value)


LOOPBACK = [
    "http://127.0.0.1:8080/v1",
    "http://localhost",
    "http://LOCALHOST./v1",
    "http://a.localhost",
    "http://[::1]:9/v1",
    "http://127.8.9.1",
]
ELSEWHERE = [
    "http://host",
    "http://127.0.0.1.example.com",
    "http://mylocalhost",
    "http://0.0.0.0",
    "http://10.0.0.1",
    "http://",
    "/v1",
]


@pytest.mark.parametrize("url", LOOPBACK)
def test_loopback_needs_no_key(url: str) -> None:
    """A key may be sent there over plain http."""
    assert is_loopback(url)
    assert resolve(base_url=url, environ={}).api_key is None
    assert resolve(base_url=url, api_key="sk-a", environ={}).api_key == SecretStr("sk-a")


@pytest.mark.parametrize("url", ELSEWHERE)
def test_other_machines_are_not_loopback(url: str) -> None:
    """Only names and addresses that certainly mean this machine."""
    assert not is_loopback(url)


def test_plain_http_with_allow_insecure() -> None:
    """The key is sent over plain http."""
    assert resolved(base_url="http://host/v1", allow_insecure=True).base_url == "http://host/v1"


def test_the_key_is_trimmed_and_hidden() -> None:
    """Surrounding whitespace is removed. No repr contains the key."""
    config = resolved(api_key=" sk-secret\n")
    assert config.api_key is not None
    assert config.api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(config)


def test_zero_is_not_unset() -> None:
    """Zero retries and any timeout or limit are kept."""
    config = resolved(max_retries=0, timeout=0.5, max_event_bytes=1000)
    assert (config.max_retries, config.timeout, config.max_event_bytes) == (0, 0.5, 1000)
    assert replace(config, timeout=1).timeout == 1
