"""Ray's clusters: joined, started, and what is in the way."""

import signal
import socket
import sys
from typing import Any

import pytest

from dukd_cache.system.errors import DukdError
from dukd_cache.system.ray_cluster import connected


def refused(address: str | None) -> str:
    with pytest.raises(DukdError) as caught, connected(address, cores=1):
        pass
    return str(caught.value)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refused(None) == "`engine=ray`: needs ray: pip install ray"


def test_where_nothing_answers_that_is_said_at_once() -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert refused(address).startswith(f"Ray at {address}: nothing answers (")
    assert refused("nowhere") == "Ray at nowhere: Invalid address format: nowhere"


def test_a_cluster_is_joined_and_left(ray_cluster: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    for _ in range(2):
        with connected(ray_cluster.address, cores=1) as ray:
            assert sum(node["Alive"] for node in ray.nodes()) == 2
            assert {node["NodeManagerAddress"] for node in ray.nodes()} == {"127.0.0.1"}
            assert signal.getsignal(signal.SIGTERM) is before
        assert not ray.is_initialized()


@pytest.mark.slow
def test_without_an_address_a_cluster_that_runs_here_is_not_joined(
    ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.address)
    with connected(None, cores=1) as ray:
        (node,) = ray.nodes()
        assert node["NodeManagerAddress"] == "127.0.0.1"
        assert node["Resources"]["CPU"] == 1
        assert ray.get_runtime_context().gcs_address != ray_cluster.address
