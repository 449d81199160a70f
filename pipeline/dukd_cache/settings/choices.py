"""Words and bounds of several settings and options. Loads nothing: the words of a command are made of these."""

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
"""Where a network runs. auto: the GPU where there is one."""
Precision = Literal["fp32", "bf16", "fp16"]
"""What it computes in."""
Dtype = Literal["uint8", "float16", "float32"]
"""How pixels are stored."""
SelfEnsemble = Literal[1, 8, 16]
"""Over how many flips, turns and inversions of an input a teacher's answer is the mean."""
Asked = Literal["input", "clean"]
"""Which array of a record a teacher is asked about."""
Store = Literal["webdataset", "zarr"]
"""How a cache lies in its folder."""
Converted = Literal[Store, "folder"]
"""What a cache can be made into: another store, or PNG pairs, which are no cache."""
DegradationName = Literal["bicubic", "light", "real"]
"""How LR is made of HR: a preset."""
EngineName = Literal["local", "ray"]
"""Where work is done: on this machine, or on those of a Ray cluster."""
MAX_SHARD_MB = 100_000
"""More is meant in other units."""
