"""The report served to a browser on this machine, following the files while a training writes them (``sym3d view``)."""

import ipaddress
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from urllib.parse import urlsplit

from stages.errors import OutputError, Sym3dError, UsageError
from stages.interrupt import stop_requested
from stages.pages import find_sources, page, read_items, read_overview, stamp, to_json
from stages.progress import Report, Silent

__all__ = ["ViewRequest", "run"]

MOST_CONNECTIONS = 64  # open at once; a browser keeps six

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True)
class ViewRequest:
    """inputs, most: as for a report; folders may still be empty. port: 0 takes a free one."""

    inputs: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 0
    most: int = 500


def run(request: ViewRequest, *, ready: Callable[[str], None], report: Report = Silent()) -> None:
    """Serve until Ctrl-C or SIGTERM; calls ``ready`` with the address once the pages can be read.

    Three addresses are answered, from memory: the page and its two documents. No path of a request ever becomes the
    name of a file. Raises InputError as a report does, OutputError when the port cannot be had.
    """
    pages = Pages(request, report)
    pages.refresh()
    with stop_requested() as stopping, listen(request, pages) as server:
        host = f"[{request.host}]" if ":" in request.host else request.host
        ready(f"http://{host}:{server.server_address[1]}/")
        server.timeout = 0.5  # seconds until it looks up whether to stop
        while not stopping():
            server.handle_request()


@dataclass
class Pages:
    """The documents in memory, made again when the files that they are made of have changed."""

    request: ViewRequest
    report: Report
    lock: threading.Lock = field(default_factory=threading.Lock)
    overview: bytes = b""
    items: bytes = b""
    seen: list | None = None  # stamps of all files
    seen_items: list | None = None  # of those that the items are made of
    number: int = 0  # of versions of the items

    def refresh(self) -> None:
        """Raises InputError and leaves the documents as they are when a file cannot be read."""
        sources = find_sources(self.request.inputs, empty=True)
        stamps = [(path, stamp(path)) for path in sources.files()]
        if stamps == self.seen:
            return
        of_items = [(path, stamp(path)) for path in (sources.prediction, *sources.scores) if path]
        if of_items != self.seen_items:
            items = read_items(sources.prediction, sources.scores, self.request.most, self.report)
            self.items = to_json(items).encode()
            self.seen_items, self.number = of_items, self.number + 1
        self.overview = to_json(read_overview(sources) | {"items": self.number}).encode()
        self.seen = stamps

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Content type and content for one of the addresses, None for every other."""
        if path == "/":
            return "text/html; charset=utf-8", page(live=True).encode()
        with self.lock:
            if path == "/items.json":
                return "application/json", self.items
            if path == "/overview.json":
                try:
                    self.refresh()
                except (Sym3dError, OSError) as error:  # a file may come back: the page keeps what it has
                    return "application/json", to_json({"fault": str(error)}).encode()
                return "application/json", self.overview
        return None


def listen(request: ViewRequest, pages: Pages) -> ThreadingHTTPServer:
    """A server on the request's address, not yet serving.

    Raises UsageError when there is no address, OutputError when the port cannot be had.
    """
    if not request.host:
        raise UsageError("--host", "is empty", "name an address, such as 127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "sym3d", ""
        timeout = 30  # seconds that a silent connection is kept

        def do_GET(self) -> None:
            hosts = self.headers.get_all("Host", [])
            if len(hosts) != 1 or not is_own_name(hosts[0], request.host):
                self.reply(403, "text/plain", b"this server answers only to the address that it was started with\n")
            elif "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
                self.close_connection = True  # lest what follows is taken for the next request
                self.reply(400, "text/plain", b"nothing is taken here\n")
            elif found := pages.answer(self.path.partition("?")[0]):
                self.reply(200, *found)
            else:
                self.reply(404, "text/plain", b"there is nothing here\n")

        def reply(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        """Of too many connections it closes the oldest: who opens them and stays silent keeps nobody out for long."""

        request_queue_size = MOST_CONNECTIONS
        address_family = socket.AF_INET6 if ":" in request.host else socket.AF_INET
        server_bind = TCPServer.server_bind  # HTTP's own also asks the network for the name of this address

        def process_request(self, connection: socket.socket, address: object) -> None:
            connections.append(connection)
            if len(connections) > MOST_CONNECTIONS:
                with suppress(OSError):
                    connections.popleft().shutdown(socket.SHUT_RDWR)
            super().process_request(connection, address)

        def shutdown_request(self, connection: socket.socket) -> None:
            with suppress(ValueError):
                connections.remove(connection)
            super().shutdown_request(connection)

        def handle_error(self, *_: object) -> None:
            error = sys.exc_info()[1]
            if not isinstance(error, OSError):  # those are of browsers that went away
                pages.report.warn(f"a request was not answered ({type(error).__name__}: {error})")

    connections: deque[socket.socket] = deque()  # the oldest first
    try:
        return Server((request.host, request.port), Handler)
    except (OSError, OverflowError, TypeError, ValueError) as error:  # the last two of names that none can have
        where = f"{request.host}:{request.port}"
        raise OutputError(where, f"cannot be served on ({error})", "choose another --port or --host") from error


def is_own_name(header: str, host: str) -> bool:
    """Whether a request's Host header is one of ours.

    A web page elsewhere can point a name of its own at 127.0.0.1 and have the browser ask us under that name (DNS
    rebinding); it cannot do so under "localhost" or a bare number.
    """
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", host.lower()):
        return True
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return False
