"""The server: three addresses, one host name, documents that follow the files, an end at Ctrl-C."""

import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from stages.errors import InputError, OutputError, UsageError
from stages.progress import Silent
from stages.view import MOST_CONNECTIONS, Pages, ViewRequest, is_own_name, listen
from tests.pages.small_files import HOSTILE, write_prediction, write_run


@pytest.fixture
def served(tmp_path):
    """get(path, **headers) → (status, body), for a server over the folder ``tmp_path/run``."""
    (tmp_path / "run").mkdir()
    request = ViewRequest((tmp_path / "run",))
    pages = Pages(request, Silent())
    pages.refresh()
    with listen(request, pages) as server:
        assert server.server_address[0] == "127.0.0.1"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def get(path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection(*server.server_address, timeout=10)
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            assert answer.status != 200 or answer.headers["Cache-Control"] == "no-store"
            return answer.status, body

        get.address = server.server_address
        yield get
        server.shutdown()


def test_the_documents_follow_the_files(served, tmp_path):
    status, body = served("/")
    assert status == 200
    assert b'data-mode="live"' in body
    assert json.loads(served("/overview.json")[1])["runs"] == []  # the training has not saved anything yet
    write_run(tmp_path / "run", rows=2)
    first = json.loads(served("/overview.json")[1])
    assert first["runs"][0]["step"] == 20
    write_run(tmp_path / "run", rows=5)
    second = json.loads(served("/overview.json")[1])
    assert second["runs"][0]["step"] == 50
    assert second["items"] == first["items"], "the items are not fetched again for a step of training"
    write_prediction(tmp_path / "run" / "prediction.h5", HOSTILE)
    third = json.loads(served("/overview.json")[1])
    assert third["items"] != second["items"]
    assert [item["name"] for item in json.loads(served("/items.json")[1])["items"]] == HOSTILE


def test_a_damaged_file_is_said_and_does_not_end_it(served, tmp_path):
    write_run(tmp_path / "run")
    good = served("/overview.json")
    checkpoint = tmp_path / "run" / "checkpoint.h5"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:-1])
    assert "is cut short" in json.loads(served("/overview.json")[1])["fault"]
    checkpoint.write_bytes(content)
    assert json.loads(served("/overview.json")[1])["runs"] == json.loads(good[1])["runs"]


@pytest.mark.parametrize(
    "path",
    [
        "/run/checkpoint.h5",
        "/checkpoint.h5",
        "/../run/checkpoint.h5",
        "/%2e%2e/",
        "//etc/passwd",
        "/overview.json/",
        "/%6fverview.json",
        "http://127.0.0.1/overview.json",
        "*",
    ],
)
def test_no_file_is_served(served, tmp_path, path):
    write_run(tmp_path / "run")
    assert served(path)[0] == 404


def test_other_host_names_are_refused(served):
    """A page elsewhere that points its own name at 127.0.0.1 must not read the results."""
    assert served("/overview.json", Host="evil.example:80")[0] == 403
    assert served("/overview.json", Host="localhost:1")[0] == 200
    assert served("/", "POST")[0] == 501
    allowed = {
        name: is_own_name(name, "127.0.0.1")
        for name in ("127.0.0.1:80", "[::1]:80", "", "a.localhost", "[", "127.1.evil")
    }
    assert [name for name, own in allowed.items() if own] == ["127.0.0.1:80", "[::1]:80"]
    assert is_own_name("mine.lan:80", "mine.lan")


def told(address, request: bytes) -> bytes:
    """All that comes back until the server closes the connection."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_what_comes_with_a_request_is_not_taken_for_the_next(served):
    next_one = b"GET /overview.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    head = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(next_one)}\r\n\r\n"
    answer = told(served.address, head.encode() + next_one)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_an_address_that_is_none(served):
    answer = told(served.address, b"GET http://[/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404 ")


def test_two_host_names_are_refused(served):
    hosts = b"Host: 127.0.0.1\r\nHost: evil.example\r\n"
    assert told(served.address, b"GET / HTTP/1.1\r\nConnection: close\r\n" + hosts + b"\r\n").split()[1] == b"403"


def test_browsers_that_go_away_and_nonsense_leave_no_word(served, capfd):
    for _ in range(3):
        with socket.create_connection(served.address) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 5)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing is a reset
    for nonsense in (b"\x16\x03\x01\x02\0\r\n\r\n", b"GET /" + b"a" * 70_000, b"GET / HTTP/x.y\r\n\r\n"):
        with socket.create_connection(served.address) as connection:
            connection.sendall(nonsense)
    assert served("/")[0] == 200
    while any("process_request_thread" in thread.name for thread in threading.enumerate()):
        time.sleep(0.01)
    assert capfd.readouterr().err == ""


def test_silent_connections_keep_nobody_out(served):
    with ExitStack() as stack:
        for _ in range(2 * MOST_CONNECTIONS):
            stack.enter_context(socket.create_connection(served.address)).sendall(b"GET / HT")
        assert served("/overview.json")[0] == 200
        assert sum("process_request_thread" in thread.name for thread in threading.enumerate()) <= MOST_CONNECTIONS + 5


def test_nobody_is_asked_for_the_name_of_an_address(monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", pytest.fail)
    with listen(ViewRequest(()), Pages(ViewRequest(()), Silent())):
        pass


def test_hosts_that_are_none():
    pages = Pages(ViewRequest(()), Silent())
    with pytest.raises(UsageError, match="is empty"):
        listen(ViewRequest((), host=""), pages)
    with pytest.raises(OutputError, match="cannot be served on"):
        listen(ViewRequest((), host="\udcff"), pages)


def test_sheets_are_files_of_the_run(served, tmp_path):
    """A link may lead to any picture of this machine, and a pipe never ends."""
    write_run(tmp_path / "run")
    samples = tmp_path / "run" / "samples"
    (sheet,) = samples.iterdir()
    sheet.rename(tmp_path / "private.png")
    sheet.symlink_to(tmp_path / "private.png")
    os.mkfifo(samples / "step-0000001.png")
    assert json.loads(served("/overview.json")[1])["runs"][0]["sheets"] == []


def test_a_port_in_use_and_a_missing_file(tmp_path):
    pages = Pages(ViewRequest(()), Silent())
    with listen(ViewRequest(()), pages) as server, pytest.raises(OutputError, match="cannot be served on"):
        listen(ViewRequest((), port=server.server_address[1]), pages)
    with pytest.raises(InputError, match="does not exist"):
        Pages(ViewRequest((tmp_path / "no.h5",)), Silent()).refresh()


def test_ctrl_c_ends_it_with_0(tmp_path):
    write_run(tmp_path)
    command = [sys.executable, "-m", "sym3d_cli", "view", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as process:
        address = process.stdout.readline()
        assert address.startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
