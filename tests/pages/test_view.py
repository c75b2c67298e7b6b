"""The server: three addresses, one host name, documents that follow the files, an end at Ctrl-C."""

import http.client
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stages.errors import InputError, OutputError
from stages.progress import Silent
from stages.view import Pages, ViewRequest, is_own_name, listen
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
