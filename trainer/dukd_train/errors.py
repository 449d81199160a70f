"""What can go wrong in training by a user's doing, on top of `dukd_cache.system.errors`.

DukdError
├── SettingError      (from dukd_cache) a setting, of a config file or given
└── RunError          a run folder: another run's, not a run's, not finished
    ├── DivergedError a loss or a weight that is no longer a number
    └── LostError     of several processes that train together, one ended
"""

from dukd_cache.system.errors import DukdError


class RunError(DukdError):
    """A run folder that is not what it should be."""


class DivergedError(RunError):
    """A training that left the finite numbers."""


class LostError(RunError):
    """Another process of this training is gone."""
