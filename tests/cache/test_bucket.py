import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from obstore.exceptions import GenericError

from promptfuse.cache import bucket as bucket_module
from promptfuse.cache.checked import check_files
from promptfuse.cache.client import client, explained
from promptfuse.cache.keys import file_sha256
from promptfuse.cache.mirror import make_room
from promptfuse.cache.objects import store_at
from promptfuse.cache.places import Url, place_of
from promptfuse.errors import ConfigError, ShardCorrupt, StoreError

from .s3 import ACCESS, Cutting, bucket, make_bucket, s3  # noqa: F401


@pytest.fixture(autouse=True)
def fresh_clients():
    """Environments differ between tests, and a client keeps that in which it was made."""
    client.cache_clear()
    bucket_module._with_conditions.clear()


@pytest.fixture(params=["s3", "memory"])
def place(request: pytest.FixtureRequest, monkeypatch, tmp_path) -> Url:
    if request.param == "s3":
        return Url(request.getfixturevalue("bucket")) / "caches" / "one"
    monkeypatch.setenv("PROMPTFUSE_MIRROR", str(tmp_path / "mirror"))
    return Url("memory://tests") / "one"


def test_a_url_is_told_from_a_folder_and_taken_apart():
    url = place_of("s3://bucket/some/where")
    assert isinstance(url, Url)
    assert place_of(Path("s3://bucket/some/where")) == url
    assert (str(url / "x"), url.bucket, url.key) == (
        "s3://bucket/some/where/x",
        "s3://bucket",
        "some/where",
    )
    assert str(place_of("memory://")) == "memory://"
    assert place_of("pf/s3:/x") == Path("pf/s3:/x")


def test_what_is_put_is_got_listed_sized_and_deleted(place: Url):
    store = store_at(place)
    assert (store.get("commits/a.json"), store.size("commits/a.json")) == (None, None)
    store.put("commits/b.json", b"two")
    store.put("commits/a.json", b"three")
    store.put("commits/below/c.json", b"")
    assert store.get("commits/a.json") == b"three"
    assert list(store.get_many(["commits/b.json", "none"])) == [b"two", None]
    assert list(store.list("commits").items()) == [("commits/a.json", 5), ("commits/b.json", 3)]
    assert (store.list(), store.folders()) == ({}, ["commits"])
    assert (store.holds("commits"), store.holds("claims")) == (True, False)
    store.delete("commits/a.json")
    store.delete("commits/a.json")
    assert store.list("commits") == {"commits/b.json": 3}


def test_of_many_writers_one_puts_what_was_absent(place: Url):
    won: list[int] = []

    def write(number: int) -> None:
        if store_at(place).put_if_absent("commits/0.json", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store_at(place).get("commits/0.json") == b"%d" % won[0]


def test_a_file_is_placed_staged_and_fetched_anew_where_the_mirror_is_wrong(place: Url):
    store = store_at(place)
    content = bytes(range(256)) * 50_000  # so large that it is put in parts
    placed = store.place(lambda path: path.write_bytes(content), lambda sha256: f"x-{sha256[:8]}")
    store.path(placed.name).unlink()
    check_files(place, {placed.name: placed.sha256}, fix="")
    assert store.path(placed.name).read_bytes() == content
    store.path(placed.name).write_bytes(content[:100])
    check_files(place, {placed.name: placed.sha256}, fix="")
    assert file_sha256(store.path(placed.name)).hex() == placed.sha256
    store.put(placed.name, content[:100])
    store.path(placed.name).unlink()
    with pytest.raises(ShardCorrupt, match=f"{place}/x-.*bytes changed.*fetch it"):
        check_files(place, {placed.name: placed.sha256}, fix="fetch it")
    store.delete(placed.name)
    store.path(placed.name).unlink()
    with pytest.raises(ShardCorrupt, match=f"{place}/x-.*No such file"):
        check_files(place, {placed.name: placed.sha256}, fix="fetch it")


def test_the_longest_unused_leave_a_full_mirror(place: Url, monkeypatch):
    monkeypatch.setenv("PROMPTFUSE_MIRROR_GB", "0.0000025")
    store = store_at(place)
    placed = [
        store.place(
            lambda path, n=n: path.write_bytes(b"%d" % n * 1000), lambda sha256: "x" + sha256
        )
        for n in range(2)
    ]
    store.stage([placed[0].name])
    third = store.place(lambda path: path.write_bytes(b"2" * 1000), lambda sha256: "x" + sha256)
    assert [store.path(one.name).exists() for one in (*placed, third)] == [True, False, True]
    monkeypatch.setenv("PROMPTFUSE_MIRROR_GB", "much")
    with pytest.raises(ConfigError, match="PROMPTFUSE_MIRROR_GB is 'much'"):
        store.mapped_bytes  # noqa: B018


def test_a_file_that_was_begun_before_others_leaves_room_too(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMPTFUSE_MIRROR", str(tmp_path))
    monkeypatch.setenv("PROMPTFUSE_MIRROR_GB", "0.0000015")
    for number in range(2):
        (tmp_path / f"{number}").write_bytes(bytes(1000))
        os.utime(tmp_path / f"{number}", (number, number))
    make_room(tmp_path / "0")
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_a_cut_connection_is_survived_and_half_an_object_is_none(bucket: str, s3, monkeypatch):  # noqa: F811
    content = bytes(range(256)) * 2000
    store = store_at(bucket)
    store.put("whole", content)
    proxy = Cutting(s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    client.cache_clear()
    proxy.cuts += [100_000, 300_000]
    assert store.get("whole") == content
    proxy.cuts += [100_000, 10]
    store.renew("whole")
    assert store.path("whole").read_bytes() == content
    assert proxy.done == 4
    proxy.cuts_of_requests += [200_000, 10]
    placed = store.place(lambda path: path.write_bytes(content), lambda sha256: "x" + sha256)
    assert proxy.done == 6
    assert store.size(placed.name) == len(content)
    proxy.cuts += [10, 10]  # the answer that it was put is lost
    assert store.put_if_absent("commit", b"mine")
    assert not store.put_if_absent("commit", b"yours")
    proxy.close()


def test_a_store_that_cannot_be_reached_is_named_with_what_to_set(monkeypatch):
    for name, value in {**ACCESS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bucket_module, "_TRIES", 1)
    with pytest.raises(StoreError, match=r"s3://b/x: cannot get a: .*can it be reached\? see AWS_"):
        store_at("s3://b/x").get("a")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://", "names no bucket"),
        ("http://b/x", "http://b/x: no store that can be used; give a folder, or s3://"),
        ("S3://b/x", "S3://b/x: no store that can be used"),
    ],
)
def test_a_url_of_another_kind_is_no_folder(place, said):
    with pytest.raises(ConfigError, match=said):
        place_of(place)


def test_an_endpoint_without_a_scheme_and_lacking_credentials_are_said(monkeypatch):
    for name in ACCESS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"AWS_ENDPOINT_URL is '127.0.0.1:9'; a URL was expected"):
        store_at("s3://b/x").get("a")
    said = GenericError("Error performing PUT http://169.254.169.254/latest/api/token")
    with pytest.raises(
        StoreError, match=r"s3://b/x: cannot list: .*no credentials.*set AWS_ACCESS"
    ):
        raise explained(Url("s3://b/x"), "list ", said)


@contextmanager
def server_of(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("ETag", '"0"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "s3://b/x: cannot put a if absent: .*access is denied; set AWS_ACCESS_KEY_ID"),
        (501, "s3://b/x: cannot put a if absent: .*no conditional puts"),
        (200, "s3://b: overwrites an object that was to be put only if absent"),
    ],
)
def test_a_store_that_denies_or_has_no_conditional_puts_is_refused(status, said, monkeypatch):
    for name, value in ACCESS.items():
        monkeypatch.setenv(name, value)
    with server_of(status) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(StoreError, match=said):
            store_at("s3://b/x").put_if_absent("a", b"")


def test_a_bucket_that_is_not_there_is_said(s3, monkeypatch):  # noqa: F811
    for name, value in {**ACCESS, "AWS_ENDPOINT_URL": s3}.items():
        monkeypatch.setenv(name, value)
    for action in (lambda s: s.put("a", b""), lambda s: s.get("a"), lambda s: s.list()):
        with pytest.raises(StoreError, match="s3://no-such-bucket: no such bucket"):
            action(store_at("s3://no-such-bucket/x"))
