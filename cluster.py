"""Ray, where it is asked for: a cluster whose nodes have the same packages as this process."""

import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self

from . import errors
from .errors import ConfigError, EngineError, ExtraMissing
from .settings import Help
from .stopping import Stop

EngineName = Annotated[
    Literal["local", "ray"], Help("Where it runs: this machine, or a Ray cluster.", "Machine")
]
Address = Annotated[
    str | None,
    Help(
        "Of the Ray cluster: HOST:PORT, or auto.",
        "Machine",
        default="RAY_ADDRESS; else Ray starts here",
    ),
]

_PACKAGES = ("promptfuse", "torch", "transformers", "open_clip_torch", "av", "pillow")
_OF_STORES = ("AWS_", "AZURE_", "GOOGLE_", "PROMPTFUSE_MIRROR")
_HEALTH_CHECK = (
    *(sys.executable, "-m", "ray.scripts.scripts"),
    *("health-check", "--skip-version-check"),
)
_ANSWER_SECONDS = 30.0
_PROBE_SECONDS = 120.0
_ASKED_EVERY_SECONDS = 0.2


def require_engine(engine: str, **of_ray: object) -> None:
    """Raise a `ConfigError` if something is said of Ray and Ray is not the engine."""
    for name, value in of_ray.items():
        if value is not None and engine != "ray":
            raise ConfigError(f"{name}={value} is of Ray, and engine is {engine}; add --engine ray")


def own_versions() -> dict[str, str]:
    """Return the versions here of the packages that decide what features are, by name."""
    versions: dict[str, str] = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@contextmanager
def ray_cluster(address: str | None = None) -> Iterator[Any]:
    """Yield the module `ray`, connected, every node of the cluster having the same packages.

    Without an address (nor RAY_ADDRESS), Ray is started on this machine, and ended afterwards. A
    connection that is there already is used and left.

    Raises:
        ExtraMissing: If ray is not installed.
        EngineError: If the address does not answer, or a node has other packages.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # logs are in Ray's own files
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ExtraMissing("--engine ray", "ray", error) from error
    if ray.is_initialized():
        _require_packages(ray)
        yield ray
        return
    _connect(ray, address or os.environ.get("RAY_ADDRESS") or "local")
    try:
        _require_packages(ray)
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    _require_answer(address)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    own = {"include_dashboard": False} if address == "local" else {}
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    try:
        ray.init(address=address, **quiet, **own)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        said = str(error).strip().splitlines()[0]
        raise EngineError(
            f"--address {address}: cannot connect to Ray there: {said}; see `ray status` on a "
            "node of the cluster, or leave --address out to start Ray here"
        ) from error
    finally:
        if before is not None:  # Ray's ends the process, where what is in hand is to be finished
            signal.signal(signal.SIGTERM, before)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False


def _require_answer(address: str) -> None:
    """Raise an error if no Ray is at HOST:PORT, which connecting would wait for much longer."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
        if not address.startswith("ray://"):
            asked = [*_HEALTH_CHECK, "--address", address]
            subprocess.run(asked, timeout=_ANSWER_SECONDS, check=True, capture_output=True)  # noqa: S603
    except (OSError, OverflowError, subprocess.SubprocessError) as error:
        raise EngineError(
            f"--address {address}: no Ray answers there within {_ANSWER_SECONDS:.0f} s "
            f"({error}); start a cluster with `ray start --head`, which prints its address, or "
            "leave --address out to start Ray here"
        ) from error


def _require_packages(ray: Any) -> None:
    """Raise an error that names the nodes that lack a package of these, or have another version."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = own_versions()

    def versions(names: list[str]) -> dict[str, str]:  # goes there by value: of the library alone
        from contextlib import suppress
        from importlib.metadata import PackageNotFoundError, version

        held: dict[str, str] = {}
        for name in names:
            with suppress(PackageNotFoundError):
                held[name] = version(name)
        return held

    ask = ray.remote(num_cpus=0, max_retries=0)(versions)
    asked = [
        (
            node["NodeManagerAddress"],
            ask.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(list(here)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    there = [(host, _answer(ray, host, future)) for host, future in asked]
    wrong = [
        f"{host} has {f'{name} {found[name]}' if name in found else f'no {name}'}, "
        f"here it is {here[name]}"
        for host, found in there
        for name in here
        if found.get(name) != here[name]
    ]
    if wrong:
        raise EngineError(
            f"the nodes of the Ray cluster need the packages of this process: {'; '.join(wrong)}; "
            "install the same versions on all of them"
        )


def _answer(ray: Any, host: str, future: Any) -> dict[str, str]:
    try:
        return ray.get(future, timeout=_PROBE_SECONDS)
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"the Ray node {host} runs no task: {str(error).splitlines()[0]}; see `ray status`"
        ) from error


@dataclass(frozen=True)
class Share:
    """How many workers there are, and of how many processors and GPUs each disposes."""

    workers: int
    cpus: float
    gpus: float

    @classmethod
    def of(cls, ray: Any, workers: int | None, *, gpus: bool) -> Self:
        """Return what each of so many is given; by default one a GPU, or one a node without."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        devices = sum(node.get("GPU", 0) for node in nodes) if gpus else 0
        workers = workers or int(devices) or len(nodes)
        each = math.ceil(workers / len(nodes))  # on one node, if they are spread evenly
        cpus = max(1, min(node.get("CPU", 1) for node in nodes) // each)
        return cls(workers, cpus, min(1.0, devices / workers))


@dataclass(frozen=True)
class Workplace:
    """What a worker needs of the process that it works for: its folder, and its stores' settings.

    Attributes:
        folder: That process's working folder.
        environment: What it was told of object stores, by name; a node's own settings stay.
    """

    folder: Path
    environment: Mapping[str, str] = field(repr=False)  # which may hold secrets

    @classmethod
    def here(cls) -> Self:
        """Return that of this process."""
        told = {name: value for name, value in os.environ.items() if name.startswith(_OF_STORES)}
        return cls(Path.cwd(), told)

    def enter(self, *others: PurePath) -> None:
        """Work there from now on.

        Raises:
            EngineError: If the folder or one of the others is not there.
        """
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)
        for wanted in (self.folder, *others):
            if str(wanted).startswith("memory:"):
                raise EngineError(f"{wanted} is this process's own: no Ray worker sees it")
            if isinstance(wanted, Path) and not (self.folder / wanted).is_dir():  # no URL
                raise EngineError(
                    f"{self.folder / wanted}: no such folder on {socket.gethostname()}, a node of "
                    "the Ray cluster; folders have to be where all nodes see them, under one path"
                )
        os.chdir(self.folder)


def as_data(error: Exception) -> dict[str, str]:
    """Return an error of a worker as values, which any process can read."""
    said = str(error)
    return {"kind": type(error).__name__, "message": f"{said} (on {socket.gethostname()})"}


def raise_again(said: Mapping[str, str]) -> None:
    """Raise the error that a worker has returned."""
    kind = getattr(errors, said["kind"], EngineError)
    raise kind.__new__(kind, said["message"])  # classes differ in what they are made of


@contextmanager
def passing_on(ray: Any, stop: Stop) -> Iterator[Callable[[], bool]]:
    """Yield what tells workers whether to begin nothing more, as `stop` says here."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)

    @ray.remote(num_cpus=0, scheduling_strategy=here)  # a node that is lost does not take it along
    class Asked:
        def __init__(self) -> None:
            self._asked = False

        def ask(self) -> None:
            self._asked = True

        def asked(self) -> bool:
            return self._asked

    asked, ended = Asked.remote(), threading.Event()

    def watch() -> None:
        while not ended.wait(_ASKED_EVERY_SECONDS):
            if stop.why is not None:
                asked.ask.remote()
                return

    thread = threading.Thread(target=watch, name="stop", daemon=True)
    thread.start()
    try:
        yield lambda: ray.get(asked.asked.remote())
    finally:
        ended.set()
        thread.join()
