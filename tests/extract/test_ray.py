"""The same extraction by the actors of a Ray cluster."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image as Pillow

from promptfuse import cluster
from promptfuse.cache.checked import MEMO_NAME, file_state
from promptfuse.cache.fetched import fetch
from promptfuse.cache.keys import file_sha256
from promptfuse.cache.objects import store_at
from promptfuse.cache.places import Url
from promptfuse.cache.store import FeatureSet
from promptfuse.errors import ConfigError, EncoderError, EngineError, ExtraMissing, Stopped
from promptfuse.extract import on_ray
from promptfuse.extract.datasets.ingest import MediumRef
from promptfuse.extract.encoders import EncoderOptions, load_encoder
from promptfuse.extract.media import Limits
from promptfuse.extract.on_ray import RayEngine
from promptfuse.extract.pipeline import extract_features, manifest_of
from promptfuse.extract.settings import ExtractSettings
from promptfuse.stopping import Stop

from ..cache.s3 import bucket, s3  # noqa: F401
from . import plain_encoders
from .media_files import grey_frames, write_clip
from .plain_encoders import PlainEncoder
from .tiny_models import save_tower

pytestmark = [
    pytest.mark.usefixtures("ray_nodes"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]


class DeadlyEncoder(PlainEncoder):
    """Ends its process in the middle of a slice, once; each batch takes a while."""

    def __init__(self, modality: str, marker: Path, seconds: float = 0.0) -> None:
        super().__init__(modality)
        self._marker, self._seconds = marker, seconds

    def encode(self, items, *, batch_size):
        time.sleep(self._seconds)
        if len(items) == 2 and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(items, batch_size=batch_size)


@pytest.fixture(autouse=True, scope="module")
def by_value():
    """Let workers have the encoders of the tests, which are not installed."""
    from ray import cloudpickle

    for module in (plain_encoders, sys.modules[__name__]):
        cloudpickle.register_pickle_by_value(module)


@pytest.fixture
def media(tmp_path):
    refs = []
    for value in range(9):
        path = tmp_path / f"{value}.png"
        Pillow.fromarray(np.full((4, 5, 3), 20 * value, np.uint8)).save(path)
        refs.append(MediumRef(file_sha256(path), path, frozenset({"image"})))
    refs[4].path.write_bytes(b"not an image")
    return refs


def extract(media, cache, make, *, ray=True, **options):
    engine = RayEngine(make, actors=2) if ray else None
    encoders = {name: build() for name, build in make.items()}
    given = {"shard_rows": 2, "batch_size": 2, "workers": 1, "progress": False, **options}
    return extract_features(media, encoders, cache, engine=engine, **given)


def files_of(cache):
    return {
        str(path.relative_to(cache)): path.read_bytes()
        for path in sorted(cache.rglob("*"))
        if path.is_file() and path.name != MEMO_NAME
    }


def told(summary):
    return {
        name: (lane.planned, lane.done_before, lane.encoded, lane.failed, lane.failed_before)
        for name, lane in summary.items()
    }


def test_two_actors_and_a_store_give_the_cache_of_one_process_and_a_folder(
    media, bucket, tmp_path  # noqa: F811
):  # fmt: skip
    clip = write_clip(tmp_path / "clip.mp4", videos=[grey_frames(5)])
    media = [*media, MediumRef(file_sha256(clip), clip, frozenset({"video"}))]
    for ref in media:
        store_at(f"{bucket}/data").put(ref.path.name, ref.path.read_bytes())
    data = fetch(Url(f"{bucket}/data"))
    far = [
        replace(ref, key=file_sha256(path), path=path, state=file_state(path))
        for ref in media
        for path in [data / ref.path.name]
    ]
    tower = str(save_tower(tmp_path / "vit"))
    make = {
        "image": partial(load_encoder, "image", tower, options=EncoderOptions(device="cpu")),
        "video": partial(PlainEncoder, "video"),
    }
    alone = extract(far, tmp_path / "alone", make, ray=False)
    shutil.rmtree(data)  # a node's mirror has none of them
    cache, held = Url(f"{bucket}/cache"), store_at(f"{bucket}/cache")
    together = extract(far, cache, make)
    files = {kept.name: held.get(kept.name) for kept in held.walk()}
    assert files == files_of(tmp_path / "alone")
    assert told(together) == told(alone)
    assert together["image"].failed == {"unreadable": 1}
    again = extract(far, cache, make)
    assert (again["image"].encoded, again["image"].failed_before) == (0, {"unreadable": 1})


class Asked:
    """A Ray whose nodes have GPUs, and which keeps what it is asked for."""

    class data:  # noqa: N801
        ActorPoolStrategy = dict

        @classmethod
        def from_items(cls, *_, **__):
            return cls()

        def map(self, _, **asked):
            Asked.options = asked
            return self

        def iter_rows(self):
            return iter(())

    def __init__(self, *gpus: int) -> None:
        self._gpus = gpus

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 8.0, "GPU": float(n)}} for n in self._gpus]


@pytest.mark.parametrize(
    ("gpus", "actors", "wanted", "asked"),
    [
        ((2, 2), None, True, (4, 4, 1.0)),
        ((1,), 2, True, (2, 4, 0.5)),
        ((2, 2), None, False, (2, 8, 0.0)),
        ((0, 0), None, True, (2, 8, 0.0)),
    ],
)
def test_actors_are_given_their_part_of_the_gpus(gpus, actors, wanted, asked):
    ray = Asked(*gpus)
    share = cluster.Share.of(ray, actors, gpus=wanted)
    list(on_ray._map(ray, [{}] * 9, None, share))
    pool = ray.options["compute"]["size"]
    assert (pool, ray.options["num_cpus"], ray.options["num_gpus"]) == asked


def test_an_actor_that_dies_changes_nothing(media, tmp_path):
    alone = extract(media, tmp_path / "alone", {"image": partial(PlainEncoder, "image")}, ray=False)
    marker = tmp_path / "died"
    make = {"image": partial(DeadlyEncoder, "image", marker)}
    together = extract(media, tmp_path / "together", make)
    assert marker.exists()
    assert files_of(tmp_path / "together") == files_of(tmp_path / "alone")
    assert told(together) == told(alone)


def test_a_stop_leaves_whole_shards_and_the_next_run_goes_on(media, tmp_path):
    make = {"image": partial(DeadlyEncoder, "image", tmp_path, seconds=0.3)}
    stop = Stop()

    def ask():
        while not list((tmp_path / "cache").rglob("commits/*")):
            time.sleep(0.02)
        stop.ask("SIGTERM")

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Stopped, match=r"SIGTERM\) with \d media left to encode"):
        extract(media, tmp_path / "cache", make, stop=stop)
    asking.join()
    (path,) = (tmp_path / "cache" / "features" / "image").iterdir()
    held = FeatureSet.open(path)
    assert 0 < len(held.commits) < 6
    for name in ("cache", "alone"):  # any engine goes on
        extract(media, tmp_path / name, make, ray=False)
    assert files_of(tmp_path / "cache") == files_of(tmp_path / "alone")


def plan_of(folder, make, lanes, cache):
    return on_ray._Plan(
        make, lanes, cache, cluster.Workplace(folder, {}), folder / "mirror", 1, lambda: False
    )


def test_an_encoder_that_is_another_one_on_a_worker_is_refused(media, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there, here = PlainEncoder("image", name="other"), PlainEncoder("image")
    told = on_ray._Lane(manifest_of(here).fingerprinted, "arrow", 2, Limits(), False)
    plan = plan_of(tmp_path, {"image": lambda: there}, {"image": told}, tmp_path)
    done = on_ray.SliceEncoder(plan)({"slice": on_ray._Slice("image", tuple(media), False)})
    with pytest.raises(
        EncoderError, match=r'another one than .*"other" here, "plain" wanted.*\(on '
    ):
        cluster.raise_again(done)


def test_a_worker_without_the_folders_is_refused(media, tmp_path):
    gone = tmp_path / "elsewhere"
    plan = plan_of(tmp_path, {}, {"image": None}, gone)
    done = on_ray.SliceEncoder(plan)({"slice": on_ray._Slice("image", tuple(media), False)})
    with pytest.raises(EngineError, match="memory:/x is this process's own"):
        cluster.Workplace(tmp_path, {}).enter(PurePath("memory:/x"))
    with pytest.raises(EngineError, match=r"elsewhere: no such folder on .* where all nodes"):
        cluster.raise_again(done)


def test_other_packages_on_a_node_are_said(monkeypatch):
    here = cluster.own_versions()
    monkeypatch.setattr(cluster, "own_versions", lambda: {**here, "av": "0.1", "nought": "1"})
    with (
        pytest.raises(EngineError, match=r"has av [\d.]+, here it is 0.1; .* has no nought, here"),
        cluster.ray_cluster(),
    ):
        pass


def test_an_address_at_which_there_is_no_ray_is_said_soon(monkeypatch, ray_nodes):
    cluster._require_answer(ray_nodes.address)
    with pytest.raises(EngineError, match=r"127.0.0.1:9: no Ray answers there within 30 s"):
        cluster._connect(None, "127.0.0.1:9")
    monkeypatch.setattr(cluster, "_ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        host, port = other.getsockname()
        with pytest.raises(EngineError, match=rf"{host}:{port}: no Ray answers there within 1 s"):
            cluster._connect(None, f"{host}:{port}")


def test_a_lacking_ray_is_said_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ExtraMissing, match=r"pip install 'promptfuse\[ray\]'"),
        cluster.ray_cluster(),
    ):
        pass


def test_settings_of_ray_need_the_engine():
    with pytest.raises(ConfigError, match=r"ray_actors=2 is of Ray, and engine is local"):
        ExtractSettings(ray_actors=2)


def test_ray_is_not_imported_unless_it_is_asked_for():
    code = "import sys, promptfuse.cli, promptfuse.library.sweeping, promptfuse.library.extraction"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'ray' not in sys.modules"], check=True)


def test_a_node_that_is_lost_changes_nothing(media, tmp_path, ray_nodes):
    make = {"image": partial(DeadlyEncoder, "image", tmp_path, seconds=0.3)}
    extract(media, tmp_path / "alone", make, ray=False)
    lost = next(node for node in ray_nodes.worker_nodes)

    def lose():
        while len(list((tmp_path / "together").rglob("commits/*"))) < 2:
            time.sleep(0.02)
        ray_nodes.remove_node(lost, allow_graceful=False)

    losing = threading.Thread(target=lose)
    losing.start()
    together = extract(media, tmp_path / "together", make)
    losing.join()
    ray_nodes.add_node(num_cpus=1, object_store_memory=10**8)
    assert files_of(tmp_path / "together") == files_of(tmp_path / "alone")
    assert together["image"].encoded == 8
