"""Packages that only some uses need, and what is said where one is missing."""

_EXTRAS = (
    ("s3fs",),
    ("gcsfs",),
    ("adlfs",),
    ("torchmetrics",),
    ("onnx", "onnxruntime", "onnxscript"),
    ("ray",),
    ("dvc", "dvclive"),
)
"""The packages of each extra of pyproject.toml; who lacks one is told of all."""


def needs(package: str) -> str:
    """`needs ray: pip install ray`; this works wherever dukd was installed from."""
    together = next((extra for extra in _EXTRAS if package in extra), (package,))
    return f"needs {package}: pip install {' '.join(together)}"
