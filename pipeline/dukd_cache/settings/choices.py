"""Words that several settings and options can be. Loads nothing: the words of a command are made of these."""

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
"""Where a network runs. auto: the GPU where there is one."""
Precision = Literal["fp32", "bf16", "fp16"]
"""What it computes in."""
