"""The user's own code as a network: `python:FILE.py:FUNCTION`. It is run only where the user names it so.

Shapes: N images, H×W input sides, s scale.
"""

import inspect
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from dukd_cache.system.errors import WeightsError, one_line


@dataclass(frozen=True)
class Code:
    """What was found in a file."""

    answers: Callable[[Tensor], Tensor]
    """The function itself, or the module that it makes where it takes nothing."""
    module: nn.Module
    """That; of a function, all modules that its file has by name, which it may ask. In eval mode."""
    files: list[Path]
    """`file`, and those beside it that it imports."""


def load(file: Path, function: str) -> Code:
    """`function` of `file`.

    Modules beside `file` can be imported by it, as where it is run as a script.

    Raises:
        WeightsError: there is no such file or function, it fails, or it makes something else.
    """
    if not file.is_file():
        raise WeightsError(f"no such file: {file}")
    module, files = _run(file)
    found = getattr(module, function, None)
    if found is None:
        raise WeightsError(f"{file.name} has no function {function!r}")
    if not callable(found):
        raise WeightsError(f"{function!r} is a {type(found).__name__}, not a function")
    if isinstance(found, nn.Module):
        return Code(found, found.eval(), files)
    if _takes_an_input(found):
        named = nn.ModuleList(each for each in vars(module).values() if isinstance(each, nn.Module))
        return Code(found, named.eval(), files)
    try:
        made = found()
    except Exception as error:  # the user's code can fail in any way
        raise WeightsError(f"{function} fails ({type(error).__name__}: {one_line(error)})") from error
    if not isinstance(made, nn.Module):
        raise WeightsError(f"{function} makes a {type(made).__name__}, expected a torch.nn.Module")
    return Code(made, made.eval(), files)


def _run(file: Path) -> tuple[ModuleType, list[Path]]:
    """The module of `file`, with the files that it is made of.

    What an earlier file imported from beside it, or this one before a change, may have the names of what is meant now.
    """
    folder = file.absolute().parent
    _FOLDERS[folder] = None
    for name in _beside(_FOLDERS):
        del sys.modules[name]
    spec = spec_from_file_location(f"dukd_code_{file.stem}", file)
    assert spec is not None  # as of any file that ends in .py
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path[:] = [str(folder), *(each for each in sys.path if each != str(folder))]
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code can fail in any way
        raise WeightsError(f"its code fails ({type(error).__name__}: {one_line(error)})") from error
    return module, [file, *sorted({*_beside([folder]).values()} - {file.absolute()})]


_FOLDERS: dict[Path, None] = {}
"""Those of all files that were run."""


def _beside(folders: Collection[Path]) -> dict[str, Path]:
    """Modules that lie in `folders`, and in packages there, with their files."""
    found: dict[str, Path] = {}
    for name, module in [*sys.modules.items()]:
        first = sys.modules.get(name.partition(".")[0])
        places = [*getattr(first, "__path__", ()), getattr(first, "__file__", None) or ""]
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and any(Path(place).parent in folders for place in places):
            found[name] = Path(file)
    return found


def _takes_an_input(function: Callable[..., object]) -> bool:
    """Whether it cannot be called with nothing."""
    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    except ValueError:  # of what is not written in Python
        return True
    return False
