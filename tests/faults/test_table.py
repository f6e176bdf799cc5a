"""The cells of the table of faults: the expected answer or error, immediately, without leaks."""

from __future__ import annotations

import itertools
import logging
import pickle
import socket
import ssl
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelstudio_core.http.transport import Transport
from tests.faults.dialects import REQUEST_ID, RESPONSES, TEXT, Dialect
from tests.faults.fault import Fault
from tests.faults.steps import KEY, good
from tests.faults.table import DEADLINE, NOT_IN_RESPONSES, TABLE, cells, responses_faults
from tests.faults.ways import WAYS, Heard, Way
from tests.ids import short
from tests.loopback import Exchange, Loopback

CELLS = cells(list(itertools.chain(*TABLE.values())))


def parameters() -> Iterator[Any]:
    """Yield the cells: two ways of each row for `make test`, one in each protocol, the others for `make test-all`."""
    for number, (_, group) in enumerate(itertools.groupby(CELLS, lambda cell: cell[0].name)):
        several = list(group)
        chosen = {number % len(several), (number + len(several) // 2 + 1) % len(several)}
        for place, (fault, dialect, way) in enumerate(several):
            marks = () if place in chosen else (pytest.mark.slow,)
            yield pytest.param(fault, dialect, way, marks=marks, id=short(f"{fault.name}-{dialect.name}-{way.name}"))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the delays before retries, without sleeping."""
    found: list[float] = []

    async def asleep(_: Transport, seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(Transport, "sleep", lambda _, seconds: found.append(seconds))
    monkeypatch.setattr(Transport, "asleep", asleep)
    return found


def scripts(fault: Fault, dialect: Dialect) -> list[Any]:
    """Return the server's scripts: one per request of the faulty call, then a correct answer."""

    def faulty(exchange: Exchange) -> None:
        for step in fault.steps:
            step(exchange, dialect)

    def healthy(exchange: Exchange) -> None:
        good(exchange, dialect)

    last = healthy if fault.last_step else faulty
    return [*[faulty] * (fault.requests - 1), last, healthy]


@pytest.mark.parametrize(("fault", "dialect", "way"), list(parameters()))
async def test_cell(
    fault: Fault,
    dialect: Dialect,
    way: Way,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    """Answer or error with all fields, number of requests, duration, reuse of the connection, and no key."""
    await run_cell(fault, dialect, way, waits, caplog, request)


async def run_cell(
    fault: Fault,
    dialect: Dialect,
    way: Way,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Check a cell. With a TLS context, the server uses TLS."""
    caplog.set_level(logging.DEBUG)
    settings: dict[str, Any] = {"model": "qwen-plus", "protocol": dialect.name, "api_key": KEY, **fault.settings}
    if fault.wire == "stream":
        settings["streaming"] = True
    with Loopback(scripts(fault, dialect), tls=tls) as server:
        if fault.requests == 0:
            await refused(fault, way, settings)
            return
        if fault.pooled:
            request.getfixturevalue("patient_drain")
        model = way.make(base_url=server.url, **settings)
        heard = await way(model)
        check(fault, dialect, way, heard)
        assert len(server.requests) == fault.requests
        if fault.waits is not None:
            assert waits == list(fault.waits)
        assert len(waits) == fault.requests - 1
        left = 1 if fault.pooled else 0
        assert server.wait_until(lambda it: it.open_connections == left, DEADLINE), server.open_connections
        opened = server.connections
        again = await way(model.model_copy(update={"timeout": 10}))
        assert (again.text, again.error) == (TEXT, None)
        assert server.connections == opened + (not fault.pooled)
        await model.aclose()
    shown = caplog.text + "".join(f"{record.args}" for record in caplog.records)
    assert KEY not in shown
    assert "because" not in shown  # nor what was said


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=short(fault.name), marks=() if number % 3 == 0 else pytest.mark.slow)
        for number, fault in enumerate(responses_faults())
    ],
)
async def test_cell_of_the_responses_protocol(
    fault: Fault, waits: list[float], caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    """Each row with one method, because only the codec differs."""
    await run_cell(fault, RESPONSES, WAYS[1], waits, caplog, request)


def one_of_each_row() -> Iterator[Any]:
    """Yield one cell of each row, in another way from row to row, and a quarter of them for `make test`."""
    for number, (_, group) in enumerate(itertools.groupby(CELLS, lambda cell: cell[0].name)):
        several = list(group)
        fault, dialect, way = several[number * 3 % len(several)]
        marks = pytest.mark.slow if number % 4 else ()
        yield pytest.param(fault, dialect, way, marks=marks, id=short(f"{fault.name}-{dialect.name}-{way.name}"))


@pytest.mark.parametrize(("fault", "dialect", "way"), list(one_of_each_row()))
@pytest.mark.usefixtures("httpcore_connections")
async def test_cell_on_a_connection_of_httpcore(
    fault: Fault,
    dialect: Dialect,
    way: Way,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    """One cell of each row, on the connections that injected clients and proxies have."""
    await run_cell(fault, dialect, way, waits, caplog, request)


@pytest.mark.parametrize(("fault", "dialect", "way"), list(one_of_each_row()))
async def test_cell_over_tls(
    fault: Fault,
    dialect: Dialect,
    way: Way,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
    certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One cell of each row, on an encrypted connection, as with the service."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    await run_cell(fault, dialect, way, waits, caplog, request, certificate[1])


async def refused(fault: Fault, way: Way, settings: dict[str, Any]) -> None:
    """An address that is bound, but does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        model = way.make(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}", **settings)
        heard = await way(model)
    assert type(heard.error).__name__ == fault.error.__name__  # type: ignore[union-attr]
    assert fault.message in str(heard.error)
    assert heard.seconds < DEADLINE


def check(fault: Fault, dialect: Dialect, way: Way, heard: Heard) -> None:
    """Compare the result of a call with its row."""
    assert heard.seconds < DEADLINE
    if fault.error is None:
        assert (heard.text, heard.error) == (fault.text, None)
        assert heard.request_id == (REQUEST_ID if fault.has_request_id else None)
        return
    error = heard.error
    assert error is not None, f"{heard.text!r} was taken for an answer"
    # the class itself, as the adapter knows it, and no subclass: those say more than is known
    assert (type(error).__name__, isinstance(error, fault.error)) == (fault.error.__name__, True), repr(error)
    assert fault.message in error.message
    if fault.status is not None:
        assert error.status_code == fault.status
    if fault.code is not None:
        assert error.code == fault.code.get(dialect.name, fault.code["dashscope"])
    assert error.request_id == (REQUEST_ID if fault.has_request_id else None)
    assert ((error.partial and error.partial.text) or None) == (fault.partial or None)
    assert heard.text == ((fault.partial or "") if way.streams and fault.delivered else "")
    survives_pickle(error)
    assert KEY not in "".join(traceback.format_exception(error)) + repr(error.__dict__)


def survives_pickle(error: Exception) -> None:
    """Check that an error keeps all fields when pickled."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.__dict__) == (str(error), error.__dict__)


def test_rows_are_valid() -> None:
    """Names are unique, and each row has either an answer or an error."""
    rows: list[Fault] = list(itertools.chain(*TABLE.values()))
    assert len({row.name for row in rows}) == len(rows)
    assert all((row.text is None) != (row.error is None) for row in rows)
    assert {*NOT_IN_RESPONSES} <= {row.name for row in rows}
