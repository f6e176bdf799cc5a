"""Check an installation step by step: versions, key, endpoint, network, model, and one tiny call.

Each check is a line: ok, warn or fail, what was found, and what to do. The key is never part of it. Requests go through
the same client as all others, so what the doctor finds is what a program would.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from modelstudio_core import config
from modelstudio_core.catalogue import model_info, similar_model
from modelstudio_core.config import Config, Protocol
from modelstudio_core.errors import AuthenticationError, ConfigurationError, ModelStudioError
from modelstudio_core.http import probe
from modelstudio_core.http.advice import PLAN_KEYS, PLAN_PROTOCOL
from modelstudio_core.http.client import Client
from modelstudio_core.http.transport import Transport
from modelstudio_core.terminal import printable
from modelstudio_core.types import ChatRequest, Message

__all__ = ["Check", "Settings", "examine", "is_healthy", "render"]

State = Literal["ok", "warn", "fail"]
DISTRIBUTION = "modelstudio-integrations"
GET_A_KEY = (
    f"get a key at https://www.alibabacloud.com/help/en/model-studio/get-api-key and set {config.API_KEY_VARIABLE}. "
    "To try without one, serve a small local model from a clone of the repository (`make demo` installs it; then "
    "`.venv/bin/python -m local_model --force-auto --port 8000`) and set "
    f"{config.BASE_URL_VARIABLE}=http://127.0.0.1:8000"
)
CLOCK_SECONDS = 60.0
"""Difference of the clocks, in seconds, from which it is reported. Certificates and signed uploads have dates."""
SLOW_SECONDS = 10.0
"""Time to the first token from which the call is reported as slow."""
_FRAMEWORKS = ("langchain-core", "llama-index-core")
_SHOWN = ("httpx", "pydantic", "anyio", *_FRAMEWORKS)
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
# OpenSSL's reasons (x509_vfy.h): outside the certificate's dates, and an issuer that is not known
_CERTIFICATE_ADVICE = (
    (
        ("has expired", "not yet valid"),
        "set the clock of this machine; if it is right, the host's certificate has to be renewed",
    ),
    (
        ("self-signed", "self signed", "issuer certificate", "verify the first certificate"),
        "a proxy that inspects TLS shows its own certificate: set SSL_CERT_FILE to a file with the certificate of its "
        "authority, which your administrator has",
    ),
)
_BOUND = re.compile(r"(>=|<)\s*([\d.]+)")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: what was checked, its state, what was found, and what to do (empty if nothing)."""

    name: str
    state: State
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is examined. None and the defaults are those of a model object; `timeout` is in seconds."""

    model: str = "qwen-plus"
    base_url: str | None = None
    region: str | None = None
    workspace: str | None = None
    protocol: Protocol = "openai"
    timeout: float = 30.0


def examine(settings: Settings, environ: Mapping[str, str] | None = None) -> Iterator[Check]:
    """Yield the checks one by one. They end early if a check fails that all later ones need."""
    environ = os.environ if environ is None else environ
    yield python_check()
    yield packages_check()
    try:
        resolved = _resolve(settings, environ)
        transport = Transport(timeout=settings.timeout)
    except ConfigurationError as error:
        yield Check("settings", "fail", error.message, "correct the setting that the message names")
        return
    yield from key_checks(resolved)
    yield endpoint_check(settings, resolved, environ)
    try:
        yield proxy_check(probe.proxy_of(resolved.base_url))
    except ConfigurationError as error:
        yield Check("proxy", "fail", error.message, "correct the environment variable that the message names")
        return
    client = Client(resolved, transport)
    try:
        listing = probe.request_models(client)
        yield from network_checks(resolved, listing)
        if not listing.reached:
            return
        yield clock_check(listing.clock_offset, resolved.base_url)
        yield model_check(settings.model)
        if not _lacks_key(resolved) and not isinstance(listing.error, AuthenticationError):
            yield listed_check(settings.model, listing)
            yield call_check(settings.model, _tiny_call(client, settings.model))
    finally:
        client.close()


def _resolve(settings: Settings, environ: Mapping[str, str]) -> Config:
    """Return the settings of the requests, without a key if the environment has none."""
    has_key = bool(environ.get(config.API_KEY_VARIABLE, "").strip())
    resolved = config.resolve(
        api_key=None if has_key else lambda: None,  # a missing key has its own check
        base_url=settings.base_url,
        region=settings.region,
        workspace=settings.workspace,
        protocol=settings.protocol,
        timeout=settings.timeout,
        max_retries=0,
        environ=environ,
    )
    return resolved if has_key else replace(resolved, api_key=None)


def _lacks_key(resolved: Config) -> bool:
    return resolved.api_key is None and not config.is_loopback(resolved.base_url)


# ---------------------------------------------------------------- this machine


def python_check(running: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Compare the running Python with those that the release was tested on."""
    text = ".".join(map(str, running))
    classifiers = [] if (package := _distribution()) is None else package.metadata.get_all("Classifier") or []
    tested = sorted(_numbers(line.rpartition(" ")[2]) for line in classifiers if "Python :: 3." in line)
    if tested and tuple(running[:2]) > tested[-1]:
        newest = ".".join(map(str, tested[-1]))
        return Check("python", "warn", f"{text}, newer than any tested ({newest})", f"use {newest} if something fails")
    return Check("python", "ok", text)


def packages_check(package: Distribution | None = None) -> Check:
    """Compare the installed packages with the ranges that this package promises to work with."""
    package = package or _distribution()
    if package is None:
        return Check(
            "packages", "warn", f"{DISTRIBUTION} is not installed: versions not checked", "pip install it from a clone"
        )
    installed = {name: number for name in _SHOWN if (number := _version(name)) is not None}
    found = ", ".join(f"{name} {number}" for name, number in {package.name: package.version, **installed}.items())
    wrong = []
    for line in package.requires or ():
        requirement, _, marker = line.partition(";")
        name = re.split(r"[^\w-]", requirement.strip(), maxsplit=1)[0]
        number = _version(name) if not marker or name in _FRAMEWORKS else None
        if number and not _in_range(number, requirement):
            wrong.append(f"{name} {number} is outside {requirement.strip().removeprefix(name)}")
    if wrong:
        return Check("packages", "fail", f"{'; '.join(wrong)} ({found})", "install versions within these ranges")
    if not any(name in installed for name in _FRAMEWORKS):
        advice = f"{installing('langchain')}; the extra llama-index is the other one"
        return Check("packages", "warn", f"no framework is installed ({found})", advice)
    return Check("packages", "ok", found)


def installing(extra: str) -> str:
    """Return the commands that install this package with an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]' (in a clone: pip install '.[{extra}]')"


def _distribution() -> Distribution | None:
    try:
        return distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _in_range(number: str, requirement: str) -> bool:
    here = _numbers(number)
    return all((here >= _numbers(bound)) == (sign == ">=") for sign, bound in _BOUND.findall(requirement))


def _numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, without trailing zeros: 1.10.0rc1 -> (1, 10)."""
    numbers = [int(part) for part in re.match(r"[\d.]*", text)[0].split(".") if part]  # type: ignore[index]  # matches ""
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


# ---------------------------------------------------------------- settings


def key_checks(resolved: Config) -> Iterator[Check]:
    """Check where the key was found, and whether its kind is that of the host."""
    key = resolved.api_key
    if _lacks_key(resolved):
        yield Check("key", "fail", f"{config.API_KEY_VARIABLE} is not set", GET_A_KEY)
        return
    if not isinstance(key, SecretStr):
        yield Check("key", "ok", "none, for a server on this machine")
        return
    text = key.get_secret_value()
    yield Check("key", "ok", f"found in {config.API_KEY_VARIABLE} ({len(text)} characters)")
    is_plan = text.startswith("sk-sp-")
    kind = "plan key (sk-sp-...)" if is_plan else "standard key"
    if config.is_loopback(resolved.base_url):
        yield Check("key kind", "ok", kind)
    elif is_plan != resolved.is_plan_host:
        host = "a plan host" if resolved.is_plan_host else "not a plan host"
        yield Check("key kind", "fail", f"{kind}, but {resolved.where} is {host}", f"{PLAN_KEYS}.")
    elif not text.startswith("sk-"):
        yield Check(
            "key kind", "warn", "keys of the service begin with sk-, this one does not", "check what was copied"
        )
    else:
        yield Check("key kind", "ok", kind)


def endpoint_check(settings: Settings, resolved: Config, environ: Mapping[str, str]) -> Check:
    """Tell the URL, the region and the protocol, and where they come from."""
    origins = (
        ("--base-url", settings.base_url),
        ("--region", settings.region),
        (config.BASE_URL_VARIABLE, environ.get(config.BASE_URL_VARIABLE)),
        (config.REGION_VARIABLE, environ.get(config.REGION_VARIABLE)),
        ("the default", True),
    )
    origin = next(name for name, value in origins if value)
    found = f"{resolved.with_region(resolved.base_url)}, by {origin}; protocol {resolved.protocol}"
    if resolved.is_plan_host and resolved.protocol != "openai":
        return Check("endpoint", "warn", found, PLAN_PROTOCOL)
    return Check("endpoint", "ok", found)


def proxy_check(proxy: str | None) -> Check:
    """Tell which proxy the environment sets for the host."""
    return Check("proxy", "ok", "none" if proxy is None else f"{proxy}, set by the environment")


# ---------------------------------------------------------------- network


def network_checks(resolved: Config, listing: probe.ModelListing) -> Iterator[Check]:
    """Check that the host answers, its certificate, and whether it accepts the key."""
    problem = certificate_problem_check(listing.error)
    if problem is not None:
        yield problem
        return
    if not listing.reached:
        message = listing.error.message if listing.error is not None else ""
        yield Check("host", "fail", message, _no_host_advice(resolved.base_url))
        return
    yield Check("host", "ok", f"answered in {listing.seconds * 1000:.0f} ms")
    if resolved.base_url.startswith("https:"):
        own = probe.own_certificates()
        trusted = "by the default authorities" if own is None else f"by {own} (SSL_CERT_FILE or SSL_CERT_DIR)"
        yield Check("certificate", "ok", f"trusted {trusted}")
    else:
        yield Check("certificate", "ok", "none: plain HTTP")
    if isinstance(listing.error, AuthenticationError) and not _lacks_key(resolved):
        yield Check("key accepted", "fail", listing.error.message, "copy the key again, or use the region of the key")


def _no_host_advice(base_url: str) -> str:
    if config.is_loopback(base_url):
        port = urlsplit(base_url).port or 80
        return (
            "start the server there, for example the local model from a clone of the repository "
            f"(`.venv/bin/python -m local_model --force-auto --port {port}`), or correct the URL"
        )
    return "check the network, the proxy and the firewall; --base-url and --region choose another host"


def certificate_problem_check(error: ModelStudioError | None) -> Check | None:
    """Return the failed check of a certificate that is not trusted, or None. The error quotes OpenSSL."""
    if error is None or _UNTRUSTED not in error.message:
        return None
    advice = next((text for reasons, text in _CERTIFICATE_ADVICE if any(each in error.message for each in reasons)), "")
    other = "check that the host name is right, and that no login page of the network answers in its place"
    return Check("certificate", "fail", error.message, advice or other)


def clock_check(offset: float | None, base_url: str) -> Check:
    """Compare the clock of this machine with that of the service."""
    if offset is None:
        if config.is_loopback(base_url):
            return Check("clock", "ok", "the service is on this machine")
        return Check("clock", "warn", "the service sent no Date header: not checked", "compare it with a time server")
    if abs(offset) < CLOCK_SECONDS:
        return Check("clock", "ok", f"within {CLOCK_SECONDS:.0f} s of the service's")
    side = "ahead of" if offset > 0 else "behind"
    return Check("clock", "warn", f"{abs(offset):.0f} s {side} the service's", "synchronize the clock of this machine")


# ---------------------------------------------------------------- model


def model_check(model: str) -> Check:
    """Look the model up in the catalogue."""
    info = model_info(model)
    if info.retired_on:
        return Check("model", "warn", info.retirement, f"use {info.replaced_by}")
    if info.matched is None:
        meant = similar_model(model)
        hint = f"did you mean {meant}?" if meant else "its capabilities are assumed; capabilities= sets them"
        return Check("model", "warn", f"{model} is not in the catalogue", hint)
    if info.matched != model:
        return Check("model", "ok", f"{model} is known as a version of {info.matched}")
    return Check("model", "ok", f"{model} is in the catalogue")


def listed_check(model: str, listing: probe.ModelListing) -> Check:
    """Look the model up in the service's list, which differs by region and key."""
    if listing.models is None:
        reason = listing.error.message if listing.error is not None else "the response is not a list"
        return Check("available", "warn", f"the service sent no list of models: {reason}", "see the call below")
    listed = f"listed for this key ({len(listing.models)} model{'s' * (len(listing.models) != 1)} in all)"
    if model in listing.models:
        return Check("available", "ok", f"{model} is {listed}")
    return Check(
        "available",
        "warn",
        f"{model} is not {listed}",
        "the list may be incomplete: see the call below; models differ by region and account",
    )


def _tiny_call(client: Client, model: str) -> probe.Answer:
    info = model_info(model)
    request = ChatRequest(
        model=model,
        messages=(Message("user", "Say hello."),),
        enable_thinking=False if info.is_hybrid else None,
        parameters={"max_tokens": 16},
    )
    return probe.time_answer(client, request, info)


def call_check(model: str, answer: probe.Answer) -> Check:
    """Judge one tiny call."""
    if answer.error is not None:
        name = type(answer.error).__name__
        return Check("call", "fail", f"{name}: {answer.error}", f"docs/errors.md says what to do on {name}")
    tokens = "" if answer.tokens is None else f", {answer.tokens} tokens"
    if answer.first_token is None:
        return Check("call", "warn", f"{model} answered without text", "try another model with --model")
    found = f"{model} answered: first token after {answer.first_token * 1000:.0f} ms, all after "
    found += f"{answer.seconds * 1000:.0f} ms{tokens}"
    if answer.first_token >= SLOW_SECONDS:
        return Check("call", "warn", found, "a region that is nearer, or a smaller model, answers sooner")
    return Check("call", "ok", found)


# ---------------------------------------------------------------- report


def is_healthy(checks: Sequence[Check]) -> bool:
    """Return True if no check failed."""
    return all(check.state != "fail" for check in checks)


def render(checks: Sequence[Check], *, as_json: bool = False) -> str:
    """Return the report as text, or as JSON: `{"ok": ..., "checks": [{"name", "state", "found", "advice"}]}`."""
    if as_json:
        report = {"ok": is_healthy(checks), "checks": [asdict(check) for check in checks]}
        return json.dumps(report, indent=2)
    lines = []
    for check in checks:
        lines.append(f"{check.state:<5} {check.name:<13} {check.found}")
        if check.advice:
            lines.append(f"{'':<19} -> {check.advice}")
    return printable("\n".join(lines))
