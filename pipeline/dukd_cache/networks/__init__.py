"""SR networks: from a weights file or a name to a callable, and back. EDSR, RCAN and what spandrel knows.

Enters: a file of weights or a program, or an architecture and its settings. Leaves: a `Network`. Never reads an
image or a cache.
"""

from dukd_cache.networks.loading import TAKEN, architectures, build, file_at, fingerprint, load, save
from dukd_cache.networks.network import SCALES, Network, finite, refuse_unless_finite
from dukd_cache.networks.programs import load_any

__all__ = [
    "SCALES",
    "TAKEN",
    "Network",
    "architectures",
    "build",
    "file_at",
    "fingerprint",
    "finite",
    "load",
    "load_any",
    "refuse_unless_finite",
    "save",
]
