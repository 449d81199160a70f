"""A real Ray cluster for tests: nodes of one core each, all on this machine and on the loopback interface alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent

# Before anybody loads Ray, which then takes 127.0.0.1 for this machine's address.
os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"})

_OF_NODES = {
    "PYTHONPATH": os.pathsep.join(str(PROJECT / root) for root in ("pipeline", "trainer")),
    "OMP_NUM_THREADS": "1",
    "RAY_worker_niceness": "0",  # with Ray's 15, workers starve on a busy machine
}


@contextmanager
def running_cluster(nodes: int = 2) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster`; its `address` is what `dukd_cache.system.ray_cluster.connected` takes.

    Nodes come with `add_node(node_ip_address="127.0.0.1")` and die with `remove_node(node, allow_graceful=False)`.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _OF_NODES.items():
            patch.setenv(name, value)
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        cluster = Cluster(shutdown_at_exit=True)
        try:
            for _ in range(nodes):
                cluster.add_node(
                    num_cpus=1, object_store_memory=80 * 2**20, node_ip_address="127.0.0.1", include_dashboard=False
                )
            yield cluster
        finally:
            cluster.shutdown()
