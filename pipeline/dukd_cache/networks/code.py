"""The user's own code as a network: `python:FILE.py:FUNCTION`. It is run only where the user names it so.

Shapes: N images, H×W input sides, s scale.
"""

import inspect
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from torch import Tensor, nn

from dukd_cache.system.errors import WeightsError, one_line


def load(file: Path, function: str) -> nn.Module | Callable[[Tensor], Tensor]:
    """What answers: `function` of `file` itself, or the module that it makes where it takes nothing.

    Modules beside `file` can be imported by it, as where it is run as a script.

    Raises:
        WeightsError: there is no such file or function, it fails, or it makes something else.
    """
    if not file.is_file():
        raise WeightsError(f"no such file: {file}")
    found = getattr(_run(file), function, None)
    if found is None:
        raise WeightsError(f"{file.name} has no function {function!r}")
    if isinstance(found, nn.Module) or (callable(found) and _takes_an_input(found)):
        return found  # type: ignore[no-any-return]
    if not callable(found):
        raise WeightsError(f"{function!r} is a {type(found).__name__}, not a function")
    try:
        made = found()
    except Exception as error:  # the user's code can fail in any way
        raise WeightsError(f"{function} fails ({type(error).__name__}: {one_line(error)})") from error
    if not isinstance(made, nn.Module):
        raise WeightsError(f"{function} makes a {type(made).__name__}, expected a torch.nn.Module")
    return made


def _run(file: Path) -> object:
    spec = spec_from_file_location(f"dukd_code_{file.stem}", file)
    assert spec is not None  # as of any file that ends in .py
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    if str(file.parent.absolute()) not in sys.path:
        sys.path.insert(0, str(file.parent.absolute()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code can fail in any way
        raise WeightsError(f"its code fails ({type(error).__name__}: {one_line(error)})") from error
    return module


def _takes_an_input(function: Callable[..., object]) -> bool:
    """Whether it cannot be called with nothing."""
    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    except ValueError:  # of what is not written in Python
        return True
    return False
