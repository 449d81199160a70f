"""What screening leaves: the images of a plan, and those that were left out."""

from dataclasses import dataclass

from dukd_cache.format.manifest import SkippedImage
from dukd_cache.pictures.finding import ImageFiles
from dukd_cache.pictures.image_list import Folders, Images
from dukd_cache.pictures.sources import LrFolder


@dataclass(frozen=True)
class HrSet:
    """Images of one folder or list."""

    files: ImageFiles
    lr: LrFolder | None = None
    """Where their LR images lie; None: they are made."""
    prefix: str = ""
    """Before the names of its images, where there are other sets."""

    @property
    def folders(self) -> Folders:
        """Where its files lie."""
        return Folders(self.files.root, self.prefix, self.lr.root if self.lr else None)


@dataclass(frozen=True)
class Screened:
    """Images that can be used, and those that cannot, both in the order they were found."""

    images: Images
    skipped: tuple[SkippedImage, ...]
