"""Named sets of images, as the command line and the settings give them."""

from collections.abc import Collection, Sequence
from pathlib import Path

from dukd_cache.pictures.lr_folder import TEMPLATE, LrFolder
from dukd_cache.settings.addresses import local_path
from dukd_cache.system.errors import PlaceError, SettingError, printable


def named_sets(words: Sequence[str], option: str = "hr", besides: Collection[str] = ()) -> dict[str, Path]:
    """`name=path`, or a path whose folder gives the name, each → path by name.

    Args:
        besides: names that other sets have.

    Raises:
        SettingError: two sets of one name, or a path that is none of this machine.
    """
    sets: dict[str, Path] = {}
    for word in words:
        name, path = _parts(option, word)
        name = name or set_name(path)
        if name in sets or name in besides:
            raise SettingError(
                f"there is another set {name}" + (f" ({sets[name]})" if name in sets else ""),
                f"`{option}={word}`",
                cure=f"give names: `{option}=NAME={path}`",
            )
        sets[name] = path
    return sets


def lr_folders(lr: Sequence[str], sets: Sequence[str], template: str = TEMPLATE) -> dict[str, LrFolder]:
    """LR folders by set, from `name=path`; a lone set's needs no name. Sets that are not named have none.

    Raises:
        SettingError: a set that there is not, it is not clear whose a folder is, or it is none of this machine.
    """
    folders: dict[str, LrFolder] = {}
    if lr and not sets:
        cure = "give `hr`, too; images without HR are `lr_only`"
        raise SettingError("LR images of no set of HR images", f"`lr={lr[0]}`", cure=cure)
    for word in lr:
        name, path = _parts("lr", word)
        if not name and len(sets) > 1:
            raise SettingError(f"say which set's LR images these are: `lr={sets[0]}={path}`", f"`lr={word}`")
        name = name or sets[0]
        if name not in sets:
            raise SettingError(f"no set is called {name!r} (there are: {', '.join(sets)})", f"`lr={word}`")
        if name in folders:
            raise SettingError(f"set {name} has the LR folder {folders[name].root} already", f"`lr={word}`")
        folders[name] = LrFolder(path, template)
    return folders


def set_name(hr: Path) -> str:
    """Set5 for Set5, and for Set5/HR."""
    folder = hr.resolve()
    return printable(folder.parent.name if folder.name.lower() in ("hr", "gt", "original") else folder.name)


def _parts(option: str, word: str) -> tuple[str, Path]:
    """Name (may be empty) and path. What exists as it stands is a path, whatever signs it holds."""
    name, equals, path = word.partition("=")
    if not equals or "/" in name or Path(word).exists():
        name, path = "", word
    try:
        return name, local_path(path)
    except PlaceError as error:
        raise SettingError(str(error), f"`{option}`") from error
