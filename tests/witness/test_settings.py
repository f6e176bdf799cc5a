"""Environment, dropped connections and rejections with the SDK and the core; rows of docs/vendor-sdk.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dashscope
import pytest
from dashscope.v2 import errors
from dashscope.v2._config import resolve_config

from modelstudio_core.config import Config, resolve
from modelstudio_core.errors import APIConnectionError, ConfigurationError, RateLimitError
from tests.loopback import Exchange, Loopback, Script, reply_json
from tests.witness.calls import ASK, KEY, PLUS, chat
from tests.witness.differences import SETTINGS
from tests.witness.service import answer, run_ours

Environment = pytest.MonkeyPatch
BUSY = {"code": "Throttling", "message": "Requests throttled.", "request_id": "r"}


def dropped(exchange: Exchange) -> None:
    """Close the connection before the answer."""
    exchange.close()


def refused(headers: Mapping[str, str]) -> Script:
    return reply_json(429, BUSY, {"retry-after-ms": "1", **headers})


def call_sdk(server: Loopback, **arguments: Any) -> Any:
    dashscope.base_http_api_url = f"{server.url}/api/v1"
    return dashscope.Generation.call(model=PLUS, messages=[ASK], api_key=KEY, **arguments)


def call_client(server: Loopback) -> Any:
    with dashscope.Client(api_key=KEY, base_url=f"{server.url}/api/v1") as client:
        return client.chat.completions.create(model=PLUS, messages=[ASK])


def requests_of(script: Script | list[Script], call: Callable[[Loopback], Any]) -> int:
    """Return the number of requests that `call` sends to a server with `script`."""
    with Loopback(script) as server:
        call(server)
        return len(server.requests)


def fails(error: type[Exception], **settings: Any) -> Callable[[Loopback], None]:
    """Return a call of the core that raises `error`."""

    def call(server: Loopback) -> None:
        with pytest.raises(error):
            run_ours(server, chat(PLUS), **settings)

    return call


def ours(**environ: str) -> Config:
    return resolve(api_key=KEY, protocol="dashscope", environ=environ)


def theirs() -> str:
    """Return the base URL of the SDK's Client."""
    return str(resolve_config(api_key=KEY).base_url)


def check_region(environment: Environment, folder: Path) -> None:
    assert theirs() == "https://dashscope.aliyuncs.com/api/v1"
    assert ours().base_url == "https://dashscope-intl.aliyuncs.com/api/v1"
    environment.setenv("DASHSCOPE_REGION", "ap-southeast-1")
    assert theirs() == ours(DASHSCOPE_REGION="ap-southeast-1").base_url == "https://dashscope-intl.aliyuncs.com/api/v1"


def check_workspace(environment: Environment, folder: Path) -> None:
    environment.setenv("DASHSCOPE_WORKSPACE", "ws-1")
    environment.setenv("DASHSCOPE_REGION", "ap-southeast-1")
    assert theirs() == "https://ws-1.ap-southeast-1.maas.aliyuncs.com/api/v1"
    config = ours(DASHSCOPE_WORKSPACE="ws-1", DASHSCOPE_REGION="ap-southeast-1")
    assert config.base_url == "https://dashscope-intl.aliyuncs.com/api/v1"
    assert config.headers == {"x-dashscope-workspace": "ws-1"}
    environment.setenv("DASHSCOPE_REGION", "ap-northeast-1")
    config = ours(DASHSCOPE_WORKSPACE="ws-1", DASHSCOPE_REGION="ap-northeast-1")
    assert theirs() == config.base_url == "https://ws-1.ap-northeast-1.maas.aliyuncs.com/api/v1"


def check_base_url(environment: Environment, folder: Path) -> None:
    url = "https://dashscope-us.aliyuncs.com"
    environment.setenv("DASHSCOPE_BASE_URL", f"{url}/compatible-mode/v1")
    assert theirs() == f"{url}/compatible-mode/v1"
    assert ours(DASHSCOPE_BASE_URL=f"{url}/compatible-mode/v1").base_url == f"{url}/api/v1"


def check_files(environment: Environment, folder: Path) -> None:
    environment.setenv("HOME", str(folder))
    (folder / ".dashscope").mkdir()
    (folder / ".dashscope/api_key").write_text("sk-of-a-file", encoding="utf-8")
    (folder / ".dashscope/config.toml").write_text('region = "us-east-1"\n', encoding="utf-8")
    config = resolve_config()
    assert (config.api_key, config.region) == ("sk-of-a-file", "us-east-1")
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        resolve(protocol="dashscope", environ={})


def check_dropped(environment: Environment, folder: Path) -> None:
    assert requests_of([dropped, answer], call_sdk) == 2
    assert requests_of([dropped, answer], fails(APIConnectionError, max_retries=0)) == 1
    assert requests_of([dropped, answer], lambda server: run_ours(server, chat(PLUS), max_retries=1)) == 2


def check_throttled(environment: Environment, folder: Path) -> None:
    scripts = [refused({}), refused({}), answer]
    assert requests_of(scripts, call_sdk) == 1
    assert requests_of(scripts, call_client) == 3
    assert requests_of(scripts, lambda server: run_ours(server, chat(PLUS), max_retries=None)) == 3


def check_forbidden(environment: Environment, folder: Path) -> None:
    scripts = [refused({"x-should-retry": "false"}), answer]

    def call(server: Loopback) -> None:
        with pytest.raises(errors.RateLimitError):
            call_client(server)

    assert requests_of(scripts, call) == 1
    assert requests_of(scripts, lambda server: run_ours(server, chat(PLUS), max_retries=1)) == 2
    assert requests_of(scripts, fails(RateLimitError, max_retries=0)) == 1


def check_timeout(environment: Environment, folder: Path) -> None:
    with Loopback(answer) as server:
        call_sdk(server, timeout=5)
        run_ours(server, chat(PLUS), timeout=5)
        sent = [request.json()["parameters"].get("timeout") for request in server.requests]
    assert sent == [5, None]


CHECKS = {
    "region": check_region,
    "workspace": check_workspace,
    "base URL": check_base_url,
    "files of settings": check_files,
    "dropped connection": check_dropped,
    "throttled": check_throttled,
    "forbidden retries": check_forbidden,
    "timeout": check_timeout,
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_setting(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both sides behave as stated."""
    CHECKS[name](monkeypatch, tmp_path)


def test_each_row_is_checked() -> None:
    """Every row of the table has a check."""
    assert [*CHECKS] == [*SETTINGS]
