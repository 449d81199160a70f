"""A Ray cluster for the work of one command: one that runs already, or one of this machine's own while it lasts."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from dukd_cache.system.errors import PlaceError, SettingError, one_line
from dukd_cache.system.extras import needs

_HERE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Nobody is told, and nobody else may connect: the second, set before Ray is loaded, makes its servers listen on the
loopback interface alone, as they do on systems where Ray makes no clusters."""

_OBJECTS = 80 * 2**20
"""Bytes of shared memory that a node of our own keeps for objects, about the least that Ray takes."""

_SECONDS_TO_ANSWER = 10.0


@contextmanager
def connected(address: str | None, cores: int) -> Iterator[Any]:
    """The module `ray`, connected to a cluster until the block ends.

    Args:
        address: of a cluster that runs: `host:6379`, or `auto` for the one that this machine is in. None: a node of
            this machine alone is started, and ended with the block; a cluster that runs here is not joined, whatever
            RAY_ADDRESS says.
        cores: that a node of our own may use.

    Raises:
        SettingError: the package is missing.
        PlaceError: no cluster answers there, or it is of another version; or none can be started.
    """
    own: dict[str, Any] = {}
    if address is None:
        os.environ.update(_HERE)
        own = {"num_cpus": cores, "object_store_memory": _OBJECTS, "include_dashboard": False}
    try:
        ray: Any = import_module("ray")
    except ModuleNotFoundError as error:
        raise SettingError(needs("ray"), "`engine=ray`") from error
    if address is not None:
        _try(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **own)
    except (OSError, RuntimeError, ValueError) as error:
        raise PlaceError(one_line(error), f"Ray at {address or 'this machine'}") from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray puts its own in its place
    try:
        yield ray
    finally:
        ray.shutdown()


def _try(address: str) -> None:
    """Ray itself would look for minutes for a cluster that is not there."""
    if found := re.fullmatch(r"(?:ray://)?(.+):(\d{1,5})", address):
        try:
            socket.create_connection((found[1].strip("[]"), int(found[2])), _SECONDS_TO_ANSWER).close()
        except (OSError, OverflowError) as error:
            raise PlaceError(f"nothing answers ({one_line(error)})", f"Ray at {address}") from error
