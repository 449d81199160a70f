"""Images that cannot be used: the others are done, then these are named, and the command ends with exit code 2."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from dukd_cache.system.errors import AnswerError, DukdError, ImageError
from dukd_cache.system.terminal import say

Skipped = dict[str, DukdError]
"""What is wrong with an image, by its name."""


@contextmanager
def image_errors(path: Path, other: Path | None = None) -> Iterator[None]:
    """In the block what system or network refuse is an `ImageError`, and every `ImageError` begins with a file's name.

    Args:
        path: named where the error names neither this nor the `other` file.
    """
    try:
        yield
    except MemoryError as error:
        raise ImageError("out of memory", path) from error
    except OSError as error:
        raise ImageError(str(error.strerror or error), error.filename or path) from error
    except (ImageError, AnswerError) as error:
        if error.subject in (str(path), str(other or path)):
            raise
        raise ImageError(str(error), path) from error


@contextmanager
def skipping(name: str, skipped: Skipped | None) -> Iterator[None]:
    """An `ImageError` ends the block and is put into `skipped` under the image's name; raised where that is None."""
    try:
        yield
    except ImageError as error:
        if skipped is None:
            raise
        skipped[name] = without_memory(error)


def without_memory(error: DukdError) -> DukdError:
    """The same error, to be kept: one that was raised holds all that its functions held, images as well."""
    return copy(error)


def conclude(skipped: Iterable[DukdError], total: int, done: str) -> None:
    """Name all that was skipped on standard error, and end the command.

    Args:
        skipped: what was wrong, image by image.
        total: images in all.
        done: what the others were: scored, compared, enlarged.

    Raises:
        DukdError: there is one; where there was a single image in all, that one.
    """
    errors = list(skipped)
    if errors and total == 1:
        raise errors[0]
    for error in errors:
        say(" ".join(str(error).split()))
    if errors:
        raise ImageError(f"{len(errors)} of {total} images could not be {done}: they are named above")
