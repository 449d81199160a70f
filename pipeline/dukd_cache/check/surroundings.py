"""What a teacher saw around the records of a cache, which a cache does not hold: cut again from its images."""

from collections.abc import Sequence

from dukd_cache.format.header import Header
from dukd_cache.format.record import Record, fingerprint
from dukd_cache.pictures.sources import identify, scene_of
from dukd_cache.plan.crops import Crop, CropSpec, cut
from dukd_cache.plan.screened import HrSet
from dukd_cache.system.arrays import U8
from dukd_cache.system.errors import ImageError


class Surroundings:
    """Those of all records of a cache."""

    def __init__(self, header: Header, sets: Sequence[HrSet]) -> None:
        """`sets` are the images that it was built from."""
        self._header = header
        self._found = {
            of.prefix + path.relative_to(of.files.root).as_posix(): (path, of) for of in sets for path in of.files.paths
        }

    def question(self, record: Record, answer: str) -> U8:
        """What the teacher was asked about that record: u8 [p + 2c, p + 2c, 3], where the answer's context is c.

        Raises:
            ImageError: its image is not there any more, or shows something else.
        """
        info, header, asked = record.info, self._header, self._header.answers[answer]
        if info.image not in self._found:
            raise ImageError(f"not among these images: record {info.key} was cut from it", info.image)
        path, of = self._found[info.image]
        image = identify(of.files.root, path, header.scale, of.lr)
        crop = Crop(header.view(info.view), image, info.crop, info.x, info.y)
        spec = CropSpec(header.scale, header.patch, header.seed, header.views, header.degradation.steps)
        found = cut(crop, spec, scene_of(image, header.scale), [*header.answers.values()]).question(asked)
        if fingerprint(asked.asked, found) != info.fingerprints[answer]:
            raise ImageError(f"record {info.key} was cut from an image, or an LR image, of other pixels", path)
        return found
