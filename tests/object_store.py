"""A real S3 server as a process of its own, and a proxy that makes it as unreliable as a network."""

import http.client
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import boto3
import pytest

Fault = Literal["refused", "request cut", "answer cut"]


@dataclass(frozen=True)
class Bucket:
    """A bucket of the server, seen by a client that dukd does not use."""

    endpoint: str
    name: str

    @property
    def client(self) -> Any:
        return _client(self.endpoint)

    def address(self, name: str) -> str:
        return f"s3://{self.name}/{name}"

    def names(self, below: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=f"{below}/")
        return sorted(each["Key"].removeprefix(f"{below}/") for page in pages for each in page.get("Contents", ()))

    def get(self, name: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=name)["Body"].read()
        return content

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=name, Body=content)

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=name)

    def files(self, below: str) -> dict[str, bytes]:
        """Name → content of every object below `below`."""
        return {name: self.get(f"{below}/{name}") for name in self.names(below)}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def running_server() -> Iterator[str]:
    """The address of a new server that is ready."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 240  # on a busy machine
        while True:
            try:
                urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=60).close()
                break
            except OSError:
                assert process.poll() is None, "the server does not start"
                assert time.monotonic() < end, "the server does not answer"
                time.sleep(0.05)
        yield endpoint
    finally:
        process.kill()
        process.wait()


def environment(endpoint: str) -> dict[str, str]:
    """What clients find a server by."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def found_at(endpoint: str, **more: str) -> Iterator[None]:
    """This process finds the server there, and no other; `more` of its environment."""
    import s3fs

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
            patch.delenv(name)
        for name, value in (environment(endpoint) | more).items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            yield
        finally:
            s3fs.S3FileSystem.clear_instance_cache()


@cache
def _client(endpoint: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    )


@dataclass
class Faults:
    """What goes wrong between client and server, drawn from a seed."""

    share: float
    """Of all requests."""
    seed: int
    dies_after: int | None = None
    """Requests, after which every one is refused."""
    met: list[Fault] = field(default_factory=list)
    """What went wrong so far."""
    asked: int = 0
    """Requests so far."""

    def __post_init__(self) -> None:
        self._random, self._lock = random.Random(self.seed), threading.Lock()

    def draw(self) -> Fault | None:
        with self._lock:
            self.asked += 1
            if self.dies_after is not None and self.asked > self.dies_after:
                self.met.append("refused")
            elif self._random.random() < self.share:
                self.met.append(self._random.choice(("refused", "request cut", "answer cut")))
            else:
                return None
            return self.met[-1]


@contextmanager
def unreliable(bucket: Bucket, faults: Faults) -> Iterator[Bucket]:
    """The same bucket behind a proxy that refuses requests and cuts connections."""
    server = bucket.endpoint.removeprefix("http://")

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            fault = faults.draw()
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length // 2 if fault == "request cut" else length)
            if fault == "request cut":
                self.close_connection = True
                return
            if fault == "refused":
                content = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
                self._answer(503, {"Content-Type": "application/xml"}, content, len(content))
                return
            connection = http.client.HTTPConnection(server, timeout=60)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            hop = ("connection", "transfer-encoding", "content-length", "server", "date")
            found = {name: value for name, value in answer.getheaders() if name.lower() not in hop}
            length = int(answer.getheader("Content-Length", len(content)))
            if fault == "answer cut":
                content = content[: len(content) // 2]
                length = max(length, 1)  # more than what comes
                self.close_connection = True
            self._answer(answer.status, found, content, length)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815

        def _answer(self, status: int, headers: dict[str, str], content: bytes, length: int) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_words: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_words: object) -> None:
            pass  # clients hang up, too

    proxy = Quiet(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Bucket(f"http://127.0.0.1:{proxy.server_address[1]}", bucket.name)
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
