"""Names of a package that are loaded when they are first used (PEP 562), so that importing the package stays light."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def loaded_later(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for `package`.

    Args:
        homes: the module of each name; where that is the name's last part, the module is meant itself.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(homes[name])
        return module if module.__name__.endswith(f".{name}") else getattr(module, name)

    return load
