"""An S3 server on this machine, and a connection to it that can be cut."""

import http.client
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

ACCESS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_REGION": "us-east-1",
}


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the URL of a server that holds no bucket yet."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def make_bucket(endpoint: str, name: str) -> str:
    """Return the URL of a bucket that was made on a server."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"))
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return f"s3://{name}"


class Cutting:
    """A proxy in front of a server, which cuts some connections after so many bytes of an answer.

    Attributes:
        url: Where it listens.
        cuts: How many bytes of an answer pass before a cut, of each connection that is cut: the
            next that carries so many.
        done: How many were cut.
    """

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts: list[int] = []
        self.cuts_of_requests: list[int] = []
        self.done = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for source, target, cuts in (
                    (client, server, self.cuts_of_requests),
                    (server, client, self.cuts),
                ):
                    arguments = (source, target, cuts)
                    threading.Thread(target=self._pass_on, args=arguments, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, cuts: list[int]) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(4096):
                passed += len(data)
                if cuts and passed >= cuts[0]:
                    cuts.pop(0)
                    self.done += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path, request: pytest.FixtureRequest
) -> str:
    """A new bucket's URL, in an environment as a user sets it."""
    for name, value in {**ACCESS, "AWS_ENDPOINT_URL": s3}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PROMPTFUSE_MIRROR", str(tmp_path / "mirror"))
    return make_bucket(s3, f"b{os.getpid()}-{abs(hash(request.node.nodeid))}")
