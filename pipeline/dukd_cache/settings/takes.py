"""What a network takes its inputs for, where neither its file nor its architecture tells."""

from typing import Annotated, Literal

from pydantic import Field

from dukd_cache.settings.model import Number, Settings, WholeNumber


class Takes(Settings):
    """Value range and channel order of a teacher. NAME is that of its answers: `teacher` if there is only one."""

    values: Annotated[Literal[1, 255], WholeNumber, Number] = 1
    """255: values run from 0 to 255 instead of 0 to 1."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels."""
    window: Annotated[int | None, Field(gt=0, le=1024), Number] = None
    """The sides of its inputs must be a multiple of this, in pixels.

    By default it follows from the file or the network's settings, or is measured with inputs of a few sizes.
    """

    def __str__(self) -> str:
        """What is not usual, for people and programs: `values=255, channels=bgr`; the window is told elsewhere."""
        return ", ".join(f"{name}={value}" for name, value in self.unusual.items())

    @property
    def unusual(self) -> dict[str, int | str]:
        """What answers depend on, less the window, where it is not the default."""
        return self.model_dump(exclude_defaults=True, exclude={"window"})


USUAL = Takes()
"""RGB from 0 to 1."""
