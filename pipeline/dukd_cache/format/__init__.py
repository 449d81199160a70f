"""A cache as it lies in its place: manifest, shards, their indices, records. docs/cache-format.md is its text.

Enters: arrays by name. Leaves: bytes, and from bytes the same arrays or ShardCorrupt. Never asks a network, and never
knows what an array shows: the manifest declares all of it.
"""
