"""Resolve connection settings: argument, then environment, then default. No global state.

Sources of hosts and paths: the vendor's region pages, "OpenAI compatible - Chat" reference, and coding plan and token
plan pages, as of September 2026.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import SecretStr

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.headers import checked_headers
from modelstudio_core.protocols.sse import MAX_EVENT_BYTES
from modelstudio_core.values import value_class

Protocol = Literal["openai", "dashscope", "responses"]
KeyProvider: TypeAlias = Callable[[], Any]
"""A sync or async function that returns the API key of one request as a str or SecretStr."""

API_KEY_VARIABLE, BASE_URL_VARIABLE, REGION_VARIABLE, WORKSPACE_VARIABLE = (
    "DASHSCOPE_API_KEY",
    "DASHSCOPE_BASE_URL",
    "DASHSCOPE_REGION",
    "DASHSCOPE_WORKSPACE",
)
# of the vendor's SDK (dashscope 2.0.2, common/env.py) and of langchain-qwq 0.3
_HOSTS_OF_OTHERS = (
    "DASHSCOPE_HTTP_BASE_URL",
    "DASHSCOPE_COMPATIBLE_BASE_URL",
    "DASHSCOPE_API_REGION",
    "DASHSCOPE_API_BASE",
)
PICKLED_KEY = "\0"  # placeholder in an unpickled object if the environment has no key
PICKLED_KEY_MISSING = (
    f"pickled models do not contain the API key: set the environment variable {API_KEY_VARIABLE} where they are loaded"
)
DEFAULT_REGION = "singapore"
DEFAULT_TIMEOUT = 300.0
BATCH_CHAT_HOST = "batch.dashscope.aliyuncs.com"
BATCH_CHAT_TIMEOUT = 3600.0
"""Batch Chat holds a request for up to an hour (vendor's Batch Chat page)."""
DEFAULT_MAX_RETRIES = 2
_PATHS: dict[str, str] = {
    "openai": "/compatible-mode/v1", "dashscope": "/api/v1", "responses": "/compatible-mode/v1"
}  # fmt: skip
_CODING_PLAN_PATHS = _PATHS | {"openai": "/v1", "responses": "/v1"}
_VENDOR_HOST = re.compile(r"(?:(?:[a-z0-9-]+\.)?dashscope(?:-[a-z0-9-]+)?|[a-z0-9_.-]+\.maas)\.aliyuncs\.com")
_CODING_PLAN_HOST = re.compile(r"coding(?:-[a-z0-9-]+)?\.dashscope\.aliyuncs\.com")
_TOKEN_PLAN_HOST = re.compile(r"token-plan\.[a-z0-9-]+\.maas\.aliyuncs\.com")
_ENDPOINT = re.compile(r"/(?:chat/completions|completions|responses|embeddings|services/.+)$")
# "/compatible-mode/api/v1" is a misprint of the vendor's Streaming page
_SERVICE_PATHS = (
    "/api/v2/apps/protocols/compatible-mode/v1",
    "/compatible-mode/api/v1",
    *_PATHS.values(),
    "/compatible-mode",
    "/compatible-api/v1",
)
_ANTHROPIC = "/apps/anthropic"
_WORKSPACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_WORKSPACE_HEADER = "x-dashscope-workspace"


@value_class
class Region:
    """A region's id and its shared host, which is None if the region has only workspace hosts."""

    id: str
    host: str | None


REGIONS: dict[str, Region] = {
    "singapore": Region("ap-southeast-1", "dashscope-intl.aliyuncs.com"),
    "virginia": Region("us-east-1", "dashscope-us.aliyuncs.com"),
    "beijing": Region("cn-beijing", "dashscope.aliyuncs.com"),
    "beijing-batch": Region("cn-beijing-batch", BATCH_CHAT_HOST),  # Batch Chat; the vendor has no id for it
    "hongkong": Region("cn-hongkong", "cn-hongkong.dashscope.aliyuncs.com"),
    "frankfurt": Region("eu-central-1", None),
    "tokyo": Region("ap-northeast-1", None),
}


_REGION_ALIASES = {
    "intl": "singapore", "international": "singapore", "us": "virginia", "cn": "beijing", "china": "beijing",
    "germany": "frankfurt", "eu": "frankfurt", "japan": "tokyo", "hong kong": "hongkong",
}  # fmt: skip


@value_class
class Config:
    """Resolved connection settings of one model object. `headers` are sent with every request."""

    base_url: str
    api_key: SecretStr | KeyProvider | None
    protocol: Protocol = "openai"
    region: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: Any = DEFAULT_TIMEOUT
    max_retries: int = DEFAULT_MAX_RETRIES
    max_event_bytes: int = MAX_EVENT_BYTES
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    @property
    def is_limited(self) -> bool:
        """Return True if requests or tokens per minute are limited (see `http.limiter`)."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None

    @property
    def where(self) -> str:
        """Return the host, and the region if known, for logs."""
        return self.with_region(urlsplit(self.base_url).netloc)

    @property
    def is_plan_host(self) -> bool:
        """Return True if the host belongs to the coding plan or the token plan."""
        return is_plan_host(urlsplit(self.base_url).hostname or "")

    def with_region(self, location: str) -> str:
        """Return `location`, a host or URL, followed by the region if it is known."""
        return f"{location} (region {self.region})" if self.region else location


def resolve(
    *,
    api_key: SecretStr | str | KeyProvider | None = None,
    base_url: str | None = None,
    region: str | None = None,
    workspace: str | None = None,
    protocol: Protocol = "openai",
    timeout: Any = None,
    max_retries: int | None = None,
    default_headers: Mapping[str, str] | None = None,
    allow_insecure: bool = False,
    max_event_bytes: int | None = None,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Resolve settings from arguments, then the environment, then defaults.

    Raises:
        ConfigurationError: for invalid or contradictory settings, such as a missing key, an unknown region, a region
            that needs a workspace, both region and base_url, another host that only a variable of another package
            names, an unsupported URL, a negative max_retries, or a key that would be sent over plain HTTP to another
            machine.
    """
    environ = os.environ if environ is None else environ
    if protocol not in _PATHS:
        raise ConfigurationError(f"protocol={protocol!r} is unknown: use {' or '.join(map(repr, _PATHS))}")
    if base_url and region:
        raise ConfigurationError("set region or base_url, not both: base_url already determines the host")
    workspace = _checked_workspace(workspace or environ.get(WORKSPACE_VARIABLE) or None)
    url, name = _url_and_region(base_url, region, workspace, protocol, environ)
    headers = _headers(default_headers or {}, workspace, url)
    key = _key(api_key, environ, url)
    if key is not None and not allow_insecure:
        _check_encrypted(url)
    if max_event_bytes is not None and max_event_bytes <= 0:
        raise ConfigurationError(f"max_event_bytes={max_event_bytes} must be positive")
    return Config(
        base_url=url,
        api_key=key,
        protocol=protocol,
        region=name,
        headers=headers,
        timeout=_default_timeout(url) if timeout is None else timeout,
        max_retries=_retries(max_retries),
        max_event_bytes=max_event_bytes or MAX_EVENT_BYTES,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )


def _url_and_region(
    base_url: str | None, region: str | None, workspace: str | None, protocol: str, environ: Mapping[str, str]
) -> tuple[str, str | None]:
    """Return the base URL with the protocol's path, and the name of the region if it is known."""
    argument = "region"
    if not base_url and not region:
        base_url, region, argument = (
            environ.get(BASE_URL_VARIABLE) or None,
            environ.get(REGION_VARIABLE) or None,
            REGION_VARIABLE,
        )
    if base_url:
        return _checked_url(base_url, protocol), _region_of(base_url)
    if not region:
        _check_no_other_host(environ)
    name = _region_name(region or DEFAULT_REGION, argument)
    return f"https://{_host(name, workspace)}{_PATHS[protocol]}", name


def _check_no_other_host(environ: Mapping[str, str]) -> None:
    """Raise ConfigurationError if a variable of another package names another host than the default region's.

    The key would be sent to another host than the user expects.
    """
    default = REGIONS[DEFAULT_REGION]
    for name in _HOSTS_OF_OTHERS:
        host = environ.get(name, "").strip().lower().removeprefix("https://").partition("/")[0]
        if host and host not in (default.host, default.id):
            raise ConfigurationError(
                f"the environment variable {name} is set, but this package does not read it: set {BASE_URL_VARIABLE} "
                f"or {REGION_VARIABLE}, or pass base_url= or region="
            )


def _checked_workspace(workspace: str | None) -> str | None:
    if workspace and not _WORKSPACE_ID.fullmatch(workspace):
        raise ConfigurationError(
            f"workspace={workspace!r:.80} is not a workspace id: use at most 64 letters, digits, - and _"
        )
    return workspace


def _check_encrypted(url: str) -> None:
    """Raise ConfigurationError if a request to `url` would cross a network without encryption."""
    if urlsplit(url).scheme == "http" and not is_loopback(url):
        raise ConfigurationError(
            f"the API key would be sent to {urlsplit(url).netloc} over plain HTTP: use https, or "
            "allow_insecure=True if the network is trusted"
        )


@lru_cache(maxsize=64)  # these take a third of the time of `resolve`
def _default_timeout(url: str) -> float:
    return BATCH_CHAT_TIMEOUT if urlsplit(url).hostname == BATCH_CHAT_HOST else DEFAULT_TIMEOUT


def _retries(max_retries: int | None) -> int:
    if max_retries is None:
        return DEFAULT_MAX_RETRIES
    if not isinstance(max_retries, int):
        raise ConfigurationError(f"max_retries={max_retries!r:.80} is not an integer")
    if max_retries < 0:
        raise ConfigurationError(f"max_retries={max_retries} is negative: use 0 to disable retries")
    return max_retries


@lru_cache(maxsize=64)
def is_loopback(url: str) -> bool:
    """Return True if `url` is on this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _region_name(region: str, argument: str) -> str:
    folded = region.strip().lower()
    for name, known in REGIONS.items():
        if folded in (name, known.id):
            return name
    from difflib import get_close_matches  # imported at first use

    close = [_REGION_ALIASES[folded]] if folded in _REGION_ALIASES else []
    close = close or get_close_matches(folded, [*REGIONS, *(r.id for r in REGIONS.values())], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    known_names = ", ".join(f"{name} ({r.id})" for name, r in REGIONS.items())
    raise ConfigurationError(
        f"{argument}={region!r:.80} is unknown.{hint} Known: {known_names}. For other regions, use base_url="
    )


def _host(name: str, workspace: str | None) -> str:
    region = REGIONS[name]
    if region.host:
        return region.host
    if not workspace:
        raise ConfigurationError(
            f"region {name} has workspace hosts only: set workspace= or {WORKSPACE_VARIABLE} to the id "
            "shown in the console"
        )
    return f"{workspace}.{region.id}.maas.aliyuncs.com"


@lru_cache(maxsize=64)
def _checked_url(base_url: str, protocol: str) -> str:
    parts = _parsed(base_url)
    host, path = (parts.hostname or "").lower(), parts.path.rstrip("/")
    paths = _CODING_PLAN_PATHS if _CODING_PLAN_HOST.fullmatch(host) else _PATHS
    origin, own = f"{parts.scheme}://{parts.netloc}", paths[protocol]
    if not path:
        return origin + own
    if not _VENDOR_HOST.fullmatch(host):  # other hosts under aliyuncs.com are services of customers
        return origin + path
    if f"{_ANTHROPIC}/" in f"{path}/":
        raise ConfigurationError(
            f"base_url={base_url!r} is an Anthropic-compatible URL, not supported here: set base_url={origin + own!r}"
        )
    return origin + _replace_suffix(_ENDPOINT.sub("", path) or own, own, (*_SERVICE_PATHS, *paths.values()))


def _parsed(base_url: str) -> SplitResult:
    try:
        parts = urlsplit(base_url.strip())
    except ValueError:  # an incomplete IPv6 address
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"base_url={base_url!r} is not an http(s) URL, such as https://host/compatible-mode/v1"
        )
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ConfigurationError("base_url must not contain credentials or a query: pass the key as api_key=")
    return parts


def _replace_suffix(path: str, by: str, suffixes: Iterable[str]) -> str:
    """Replace the first matching suffix of `path` with `by`; return `path` unchanged if none matches."""
    known = next((suffix for suffix in suffixes if path.endswith(suffix)), None)
    return path if known is None else path.removesuffix(known) + by


def service_url(base_url: str, path: str) -> str:
    """Return the URL of a service outside the chat protocols, such as rerank.

    `base_url` is `Config.base_url`. Its suffix `/compatible-mode/v1` or `/api/v1` is replaced with
    `path`, which keeps a gateway's prefix. Without such a suffix, `path` is appended.
    """
    parts = urlsplit(base_url)
    own = next((known for known in _PATHS.values() if parts.path.endswith(known)), "")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.removesuffix(own).rstrip("/") + path, "", ""))


def is_plan_host(host: str) -> bool:
    """Return True for a host of the coding plan or the token plan, which accepts only keys of that plan."""
    return bool(_CODING_PLAN_HOST.fullmatch(host) or _TOKEN_PLAN_HOST.fullmatch(host))


@lru_cache(maxsize=64)
def _region_of(base_url: str) -> str | None:
    host = (urlsplit(base_url).hostname or "").lower()
    for name, region in REGIONS.items():
        if host == region.host or host.endswith(f".{region.id}.maas.aliyuncs.com"):
            return name
    return None


def _headers(given: Mapping[str, str], workspace: str | None, url: str) -> dict[str, str]:
    headers = checked_headers(given, "default_headers")
    host = urlsplit(url).hostname or ""
    if workspace and not host.startswith(f"{workspace.lower()}."):
        headers.setdefault(_WORKSPACE_HEADER, workspace)
    return headers


def _key(
    api_key: SecretStr | str | KeyProvider | None, environ: Mapping[str, str], url: str
) -> SecretStr | KeyProvider | None:
    if callable(api_key):
        return api_key
    given = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
    found = environ.get(API_KEY_VARIABLE) or ""
    key = (given if given and given != PICKLED_KEY else found).strip()
    if not key and given == PICKLED_KEY:
        raise ConfigurationError(PICKLED_KEY_MISSING)
    if not key:
        if is_loopback(url):
            return None
        raise ConfigurationError(
            f"no API key: pass api_key=, or set the environment variable {API_KEY_VARIABLE}; "
            "`python -m modelstudio_core doctor` says how to get one or try without"
        )
    return checked_key(key)


def checked_key(key: str) -> SecretStr:
    """Return the key without surrounding whitespace. Raises ConfigurationError if it cannot be a key."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or any(mark in key for mark in " '\""):
        raise ConfigurationError("the API key is empty or contains invalid characters: check how it was copied")
    return SecretStr(key)
