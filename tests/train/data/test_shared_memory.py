"""Blocks that processes share: filled once, removed by the last, and whatever a killed process left."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from tests.processes import start

from dukd_train.data.shared_memory import Block, SharedMemory, shared_memory

SIZE = 5000


@pytest.fixture
def memory(tmp_path: Path) -> SharedMemory:
    """In a folder of the test's own."""
    found = shared_memory(tmp_path)
    assert found is not None
    return found


def fill(block: Block) -> None:
    block[:] = np.arange(SIZE) % 251


def refuse(_block: Block) -> None:
    raise AssertionError("filled already")


def files(memory: SharedMemory) -> list[Path]:
    return list(memory.folder.iterdir())


def test_a_block_is_filled_once_and_removed_by_the_last(memory: SharedMemory) -> None:
    one = memory.block("a", SIZE, fill)
    other = memory.block("a", SIZE, refuse)
    assert np.array_equal(one, np.arange(SIZE) % 251)
    assert np.array_equal(one, other)
    assert memory.has("a")
    part = one[10:20]
    del one
    assert memory.has("a")
    del other
    assert memory.has("a")  # the part still needs it
    assert part[0] == 10
    del part
    assert files(memory) == []


def test_a_block_lies_in_memory_once(memory: SharedMemory) -> None:
    """Written to, it is one's own copy."""
    one, other = memory.block("a", SIZE, fill), memory.block("a", SIZE, refuse)
    one[0] = 99
    assert other[0] == 0
    assert memory.block("a", SIZE, refuse)[0] == 0


def test_other_contents_and_sizes_are_other_blocks(memory: SharedMemory) -> None:
    one = memory.block("a", SIZE, fill)
    other = memory.block("b", SIZE, lambda block: block.fill(7))
    assert (one[3], other[3]) == (3, 7)
    del one, other
    short = memory.block("a", 10, lambda block: block.fill(5))
    assert short.tolist() == [5] * 10


def test_a_block_of_another_size_is_not_taken_for_it(memory: SharedMemory) -> None:
    one = memory.block("a", SIZE, fill)
    path = files(memory)[0]
    del one
    path.write_bytes(b"x" * (SIZE + 32))
    assert np.array_equal(memory.block("a", SIZE, fill), np.arange(SIZE) % 251)


def test_who_asks_for_a_block_at_the_same_moment_shares_it(memory: SharedMemory) -> None:
    """Locks are of open files: threads that open a block meet as processes do. Each keeps it until all have it."""
    together = threading.Barrier(4)
    fillings: list[str] = []

    def take(content: str) -> bool:
        def count_and_fill(block: Block) -> None:
            fillings.append(content)
            fill(block)

        together.wait(20)
        taken = memory.block(content, SIZE, count_and_fill)
        together.wait(20)
        return bool(np.array_equal(taken, np.arange(SIZE) % 251))

    contents = [str(number) for number in range(200)]
    found: list[list[bool]] = []
    threads = [threading.Thread(target=lambda: found.append([*map(take, contents)]), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [[True] * len(contents)] * 4
    assert fillings == contents


def test_what_fails_leaves_nothing(memory: SharedMemory) -> None:
    with pytest.raises(AssertionError):
        memory.block("a", SIZE, refuse)
    assert files(memory) == []
    assert memory.block("a", SIZE, fill)[1] == 1


def test_unused_blocks_make_room_but_for_those_that_are_wanted(memory: SharedMemory) -> None:
    used = memory.block("used", SIZE, fill)
    for name in ("left", "wanted"):
        memory.folder.joinpath(memory._path(name).name).write_bytes(b"left behind")
    assert memory.room(["wanted"]) > 0
    assert set(files(memory)) == {memory._path("used"), memory._path("wanted")}
    assert used[1] == 1


def test_a_folder_of_somebody_elses_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / f"dukd-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert shared_memory(tmp_path) is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert shared_memory(tmp_path) is None
    assert shared_memory(tmp_path / "nowhere") is None


def _fill_when_there_is(sign: Path, block: Block) -> None:
    while not sign.exists():
        time.sleep(0.01)
    fill(block)


def _sign(memory: SharedMemory) -> Path:
    return memory.folder.parent / "somebody waits"


def _use(memory: SharedMemory, how: Callable[[Block], None], tell: Connection) -> None:
    waits: list[None] = []
    block = memory.block("a", SIZE, how, lambda: waits.append(_sign(memory).touch()))
    tell.send((int(block.sum()), len(waits)))
    tell.recv()


def _never(_block: Block) -> None:
    time.sleep(60)


def _started(
    memory: SharedMemory, how: Callable[[Block], None]
) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    here, there = multiprocessing.Pipe()
    process = start(_use, memory, how, there)
    there.close()
    return process, here


def test_processes_share_and_the_last_removes(memory: SharedMemory) -> None:
    """The second waits for the first, and finds its block."""
    how = partial(_fill_when_there_is, _sign(memory))
    both = [_started(memory, how), _started(memory, how)]
    total = int((np.arange(SIZE) % 251).sum())
    assert sorted(told.recv() for _, told in both) == [(total, 0), (total, 1)]
    assert len(files(memory)) == 1
    mine = memory.block("a", SIZE, refuse)
    for process, told in both:
        told.send("end")
        process.join()
        assert process.exitcode == 0
    assert len(files(memory)) == 1
    del mine
    assert files(memory) == []


def test_a_block_that_is_there_is_not_waited_for(memory: SharedMemory) -> None:
    """Nor is room made while another block is being filled."""
    there = memory.block("b", SIZE, fill)
    filler, told = _started(memory, partial(_fill_when_there_is, _sign(memory)))
    while not memory.has("a"):
        time.sleep(0.01)
    assert np.array_equal(memory.block("b", SIZE, refuse), there)
    assert memory.room([]) > 0
    assert memory.has("a")
    _sign(memory).touch()
    assert told.recv()[1] == 0
    told.send("end")
    filler.join()


def test_what_a_killed_filler_left_makes_room(memory: SharedMemory) -> None:
    filler, _ = _started(memory, _never)
    while not memory.has("a"):
        time.sleep(0.01)
    os.kill(filler.pid or 0, signal.SIGKILL)
    filler.join()
    memory.room(["a"])
    assert memory.has("a")
    memory.room([])
    assert files(memory) == []


def test_a_killed_user_and_a_killed_filler_are_no_obstacle(memory: SharedMemory) -> None:
    user, told = _started(memory, fill)
    told.recv()
    os.kill(user.pid or 0, signal.SIGKILL)
    user.join()
    assert memory.block("a", SIZE, refuse)[1] == 1  # what it left is used, and removed afterwards
    assert files(memory) == []
    filler, _ = _started(memory, _never)
    while not (files(memory) and files(memory)[0].stat().st_size):
        time.sleep(0.01)
    os.kill(filler.pid or 0, signal.SIGKILL)
    filler.join()
    assert memory.has("a")
    assert memory.block("a", SIZE, fill)[1] == 1
