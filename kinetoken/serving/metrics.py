"""What the server counts of itself, for Prometheus."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from kinetoken.serving.asgi import App, Message, Receive, Scope, Send
from kinetoken.serving.sessions import OnlineSessions
from kinetoken.serving.workers import Workers

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TEXT = CONTENT_TYPE_LATEST


class ServerMetrics:
    """Requests by endpoint and status, their seconds and bytes, and how much is going on."""

    def __init__(self, workers: Workers, sessions: OnlineSessions) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "kinetoken_requests", "Requests answered.", ("endpoint", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "kinetoken_request_seconds", "From the head of a request to the end of its response.", ("endpoint",),
            buckets=SECONDS, registry=self.registry,
        )
        self.received = Counter(
            "kinetoken_received_bytes", "Bytes of the bodies of requests.", ("endpoint",), registry=self.registry
        )
        self.sent = Counter(
            "kinetoken_sent_bytes", "Bytes of the bodies of responses.", ("endpoint",), registry=self.registry
        )
        self.in_flight = Gauge("kinetoken_requests_in_flight", "Requests under way.", registry=self.registry)
        for name, words, value in (
            ("kinetoken_sessions_open", "Online sessions that are open.", lambda: len(sessions)),
            ("kinetoken_models_loaded", "Models that are loaded.", lambda: len(workers.loaded)),
            ("kinetoken_workers_restarted", "Worker processes that were started again.", lambda: workers.restarted),
        ):
            Gauge(name, words, registry=self.registry).set_function(value)

    def page(self) -> bytes:
        return bytes(generate_latest(self.registry))


class RequestMeter:
    """Counts requests and WebSocket connections of an application. Paths of no endpoint are all called `other`."""

    def __init__(self, app: App, metrics: ServerMetrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._stream(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        received, sent, status = 0, 0, 500
        start = time.perf_counter()

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal sent, status
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            await send(message)

        metrics = self.metrics
        metrics.in_flight.inc()
        try:
            await self.app(scope, counted_receive, counted_send)
        finally:
            metrics.in_flight.dec()
            endpoint = getattr(scope.get("route"), "path", "other")
            metrics.requests.labels(endpoint, status).inc()
            metrics.seconds.labels(endpoint).observe(time.perf_counter() - start)
            metrics.received.labels(endpoint).inc(received)
            metrics.sent.labels(endpoint).inc(sent)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket connection is one request; its seconds are those from each message to what is sent next.

        The status is the code that this server closes it with (1000 if the client does), or the refusal's status.
        """
        metrics, status, came = self.metrics, 1000, None

        def endpoint() -> str:  # is known once the connection was routed
            return getattr(scope.get("route"), "path", "other")

        async def counted_receive() -> Message:
            nonlocal came
            message = await receive()
            if message["type"] == "websocket.receive":
                content = message.get("bytes") or (message.get("text") or "").encode()
                metrics.received.labels(endpoint()).inc(len(content))
                came = time.perf_counter()
            return message

        async def counted_send(message: Message) -> None:
            nonlocal came, status
            await send(message)
            content = message.get("bytes") or (message.get("text") or "").encode() or message.get("body", b"")
            metrics.sent.labels(endpoint()).inc(len(content))
            if message["type"] == "websocket.close":
                status = message.get("code", 1000)
            elif message["type"] == "websocket.http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.send" and came is not None:
                metrics.seconds.labels(endpoint()).observe(time.perf_counter() - came)
                came = None

        metrics.in_flight.inc()
        try:
            await self.app(scope, counted_receive, counted_send)
        except Exception:
            status = 1011 if status == 1000 else status
            raise
        finally:
            metrics.in_flight.dec()
            metrics.requests.labels(endpoint(), status).inc()
