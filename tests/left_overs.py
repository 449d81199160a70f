"""What a process leaves that was killed in the middle of a write."""

import os
import signal
import subprocess
import sys
from pathlib import Path

_CODE = """
import os, signal, sys
from pathlib import Path
from dukd_cache.system.files import finished_file
with finished_file(Path(sys.argv[1])) as partial:
    partial.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left_over(path: Path) -> Path:
    """Start to write `path` in a process that is killed; what lies there then, half written."""
    before = {*path.parent.iterdir()}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", _CODE, str(path)], env=environment).returncode == -signal.SIGKILL
    (found,) = {*path.parent.iterdir()} - before
    return found
