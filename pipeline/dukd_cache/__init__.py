"""Offline teacher caches for distilling super-resolution networks."""

__version__ = "0.1.0"
