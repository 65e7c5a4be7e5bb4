"""The server of the local exchange: WebSocket streams, REST and the control plane on one port."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import WSMsgType, web
from pydantic import TypeAdapter, ValidationError

from common.market_kind import HEADER, SIMULATED
from common.web_guard import refuse_foreign_pages
from standins.exchange import faults, run_record
from standins.exchange.config import ExchangeConfig, Pace
from standins.exchange.connections import POLICY, PONG, Connection, ConnectionHub, encode
from standins.exchange.frame_source import FrameSource, SyntheticSource
from standins.exchange.playback import TICK_S, Playback, progress
from standins.exchange.request_weights import WeightLimiter
from standins.exchange.rest_server import RestServer

LIVE_FAULT: TypeAdapter[faults.Transport] = TypeAdapter(faults.LiveFault)
PACE: TypeAdapter[Pace] = TypeAdapter(Pace)
CONTROL = "/tickhouse/"
RECORD_EVERY_S = 1.0
CONNECT_WINDOW_S = 300.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def wall_us() -> int:
    """Return the wall clock, UTC microseconds."""
    return time.time_ns() // 1_000


class ExchangeServer:
    """One local exchange.

    Args:
        config: The whole configuration.
        source: The market.
        record_file: File of the run record; None keeps it in memory only.
    """

    def __init__(self, config: ExchangeConfig, source: FrameSource, record_file: Path | None) -> None:
        self.config = config
        self.record_file = record_file
        self.hub = ConnectionHub(config.websocket, time.monotonic)
        self.limiter = WeightLimiter(config.rest, time.monotonic)
        self.playback = Playback(
            config, source, hub=self.hub, limiter=self.limiter, clock=time.monotonic, wall_us=wall_us
        )
        self.rest = RestServer(self.playback, self.limiter)
        self._connects_s: deque[float] = deque()

    def app(self) -> web.Application:
        """Return the application, which also runs the background tasks."""
        app = web.Application(middlewares=[refuse_foreign_pages, self._drop_when_refused])
        routes = ("",) if self.playback.source.market == "spot" else ("", "/public", "/market")
        for route in routes:
            app.router.add_get(f"{route}/ws", self._websocket)
            app.router.add_get(f"{route}/ws/{{streams:.*}}", self._websocket)
            app.router.add_get(f"{route}/stream", self._websocket)
        app.router.add_post("/tickhouse/start", self._start)
        app.router.add_post("/tickhouse/fault", self._fault)
        app.router.add_post("/tickhouse/pace", self._pace)
        app.router.add_get("/tickhouse/state", self._state)
        app.router.add_get("/tickhouse/truth", self._truth)
        self.rest.add_routes(app)
        app.cleanup_ctx.append(self._background)
        if isinstance(self.playback.source, SyntheticSource):
            app.on_response_prepare.append(_add_simulated_header)
        return app

    # -- background --------------------------------------------------------------------------------

    async def _background(self, _app: web.Application) -> AsyncIterator[None]:
        async with _running(self._play(), self._keep_alive_and_record()):
            yield
        self._write_record()

    async def _play(self) -> None:
        while True:
            is_hurried = self.playback.step()
            await asyncio.sleep(0 if is_hurried else TICK_S)

    async def _keep_alive_and_record(self) -> None:
        every_s = min(0.25, self.config.websocket.ping_interval_s / 4)
        written_s = 0.0
        while True:
            self.hub.keep_alive()
            if time.monotonic() - written_s >= RECORD_EVERY_S:
                self._write_record()
                written_s = time.monotonic()
            await asyncio.sleep(every_s)

    def _write_record(self) -> None:
        if self.record_file is not None:
            run_record.write_atomically(self.record_file, run_record.describe_run(self.playback, self.rest, wall_us()))

    # -- WebSocket ---------------------------------------------------------------------------------

    @web.middleware
    async def _drop_when_refused(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.playback.is_refused(time.monotonic()) and not request.path.startswith(CONTROL):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        return await handler(request)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self.playback.is_blocked(time.monotonic()) or not self._may_connect():
            return web.Response(status=403, text="Forbidden")
        is_combined = request.path in ("/stream", "/public/stream", "/market/stream")
        names = [n for n in _names(request, is_combined) if n]
        socket = web.WebSocketResponse(autoping=False, autoclose=False, compress=False)
        await socket.prepare(request)
        if request.transport is None:
            return socket
        is_micro = request.query.get("timeUnit", "").upper() == "MICROSECOND"
        route = request.path.split("/")[1] if request.path.startswith(("/public/", "/market/")) else ""
        connection = self.hub.open(request.transport, is_combined=is_combined, is_micro=is_micro, route=route)
        try:
            self._subscribe_url(connection, names)
            await self._listen(socket, connection)
        finally:
            self.hub.closed(connection)
        return socket

    def _may_connect(self) -> bool:
        """Count a connection attempt and return whether it is allowed: 300 in 5 minutes."""
        now_s = time.monotonic()
        self._connects_s.append(now_s)
        while self._connects_s[0] <= now_s - CONNECT_WINDOW_S:
            self._connects_s.popleft()
        return len(self._connects_s) <= self.config.websocket.connects_per_5min

    def _subscribe_url(self, connection: Connection, names: list[str]) -> None:
        if len(set(names)) > self.config.websocket.max_streams:
            connection.close(POLICY, "Too many streams")
            return
        self.hub.subscribe(connection, names)
        if names:
            self.playback.client_activity("subscription")

    async def _listen(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        while True:
            message = await socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG):
                break
            if connection.is_frozen(time.monotonic()):
                continue
            is_asked_for = message.type == WSMsgType.PONG and connection.receive_pong(bytes(message.data))
            if not self.hub.count_message(connection, is_asked_for=is_asked_for):
                break
            if message.type == WSMsgType.PING:
                connection.out.append(encode(PONG, bytes(message.data)))
                connection.flush(time.monotonic())
            elif message.type != WSMsgType.PONG:
                self.hub.respond(connection, message.data)
                if connection.streams:
                    self.playback.client_activity("subscription")
        await self._close_socket(socket, connection)

    async def _close_socket(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        """Complete the closing handshake.

        On a half-open connection only when that fault has ended.
        """
        while connection.is_frozen(time.monotonic()) and not connection.transport.is_closing():
            await asyncio.sleep(0.05)
        if connection.is_open:
            await socket.close()

    # -- control plane -----------------------------------------------------------------------------

    async def _start(self, _request: web.Request) -> web.Response:
        self.playback.start()
        return web.json_response(progress(self.playback))

    async def _pace(self, request: web.Request) -> web.Response:
        try:
            pace = PACE.validate_json(await request.read())
        except ValidationError as error:
            problems = json.loads(error.json(include_url=False, include_context=False))
            return web.json_response({"error": problems}, status=400)
        self.playback.set_speed(pace.speed)
        return web.json_response(progress(self.playback))

    async def _state(self, _request: web.Request) -> web.Response:
        return web.json_response(progress(self.playback))

    async def _truth(self, _request: web.Request) -> web.Response:
        return web.json_response(run_record.describe_run(self.playback, self.rest, wall_us()))

    async def _fault(self, request: web.Request) -> web.Response:
        try:
            fault = LIVE_FAULT.validate_json(await request.read())
        except ValidationError as error:
            problems = json.loads(error.json(include_url=False, include_context=False))
            return web.json_response({"error": problems}, status=400)
        self.playback.inject(fault)
        return web.json_response({"injected": fault.model_dump(mode="json", exclude_none=True)})


async def _add_simulated_header(_request: web.Request, response: web.StreamResponse) -> None:
    """Mark every response, so that clients know before the first trade that it is simulated."""
    response.headers[HEADER] = SIMULATED


def _names(request: web.Request, is_combined: bool) -> list[str]:
    given = request.query.get("streams", "") if is_combined else request.match_info.get("streams", "")
    return given.split("/")


@asynccontextmanager
async def _running(*jobs: Awaitable[None]) -> AsyncIterator[None]:
    """Run jobs while the body runs; when one crashes, stop the event loop."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    for task in tasks:
        task.add_done_callback(_stop_loop_on_crash)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def _stop_loop_on_crash(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        task.get_loop().stop()
