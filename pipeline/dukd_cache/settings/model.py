"""What settings are made of, for both commands: frozen models, types of fields, and the way from a file to a model."""

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    GetPydanticSchema,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from dukd_cache.settings import mistakes, presets, yaml_file
from dukd_cache.settings.addresses import Address, absolute, local_path, network_file, parsed
from dukd_cache.settings.schema import schema_of
from dukd_cache.system.errors import PlaceError, SettingError


def _no_truth_value(given: object) -> object:
    """Python takes true for 1; whoever writes `steps: true` means something else."""
    if isinstance(given, bool):
        raise PydanticCustomError("truth_value", "not a number")
    return given


def _whole_number(given: object) -> object:
    """What a command is given is text."""
    return int(given) if isinstance(given, str) and given.isdecimal() else given


def _nothing_is_empty(given: object) -> object:
    """A group whose settings are all commented out is null in YAML: its defaults are meant."""
    return {} if given is None else given


def _absolute(given: object, parse: Callable[[str], Address]) -> object:
    if not isinstance(given, str | Path):
        return given
    try:
        found = parse(str(given))
    except PlaceError as error:
        raise ValueError(str(error)) from error
    return found if isinstance(found, str) else str(absolute(found))


Value = TypeVar("Value")
ByName = Annotated[dict[str, Value], BeforeValidator(_nothing_is_empty)]
Location = Annotated[Path, BeforeValidator(partial(_absolute, parse=local_path))]
"""Relative to the working folder, `~` is the home folder; kept absolute, so that a run can be read from anywhere."""
NetworkFile = Annotated[Path, BeforeValidator(partial(_absolute, parse=network_file))]
"""The same of weights, of a program, or of the user's own code: `python:FILE.py:FUNCTION`."""
CacheAddress = Annotated[
    str, BeforeValidator(partial(_absolute, parse=parsed)), Field(json_schema_extra={"format": "path"})
]
"""An address elsewhere (`s3://…`) as it is; a folder as any other location."""

Number = BeforeValidator(_no_truth_value)
"""Part of the type of each number."""
WholeNumber = BeforeValidator(_whole_number)
"""Part of the type of one that is chosen of a few."""
Positive = Annotated[int, Field(gt=0), Number]
Count = Annotated[int, Field(ge=0), Number]
Seed = Annotated[int, Field(ge=0, lt=2**63), Number]
Probability = Annotated[float, Field(ge=0, le=1), Number]
Decay = Annotated[float, Field(ge=0, lt=1), Number]
Weight = Annotated[float, Field(ge=0), Number]
PositiveReal = Annotated[float, Field(gt=0), Number]


class Settings(BaseModel):
    """A group of settings; the docstring below each field is what documents it everywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    short: ClassVar[str | None] = None
    """The setting that is meant where the group is given as one value."""
    presets: ClassVar[str | None] = None
    """The package that holds presets of all these settings."""

    def __init__(self, /, **given: Any) -> None:
        """Settings by name.

        Raises:
            SettingError: one line that names the setting, what was given and what is allowed.
        """
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise mistakes.explain(error, schema_of(type(self)), {}) from error

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # so that groups within groups do not end there

    @classmethod
    def load(cls, source: str | Path, section: str | None = None, overrides: Iterable[str] = ()) -> Self:
        """Those of a YAML file (its part `section`, if given) or a preset, changed by `overrides` (`a.b=c`).

        Args:
            source: a file; text without suffix and folder is the name of a preset.

        Raises:
            SettingError: no such file, preset or section, or no YAML; one line that names the setting that is wrong.
        """
        return validated(cls, content(cls, source, section, overrides))

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, given: object) -> object:
        alone = cls.short and not isinstance(given, Mapping | Settings | None)
        return {cls.short: given} if alone else _nothing_is_empty(given)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        group = handler(core)
        if cls.short is None:
            return group
        group["short"] = cls.short
        return {"anyOf": [group, group["properties"][cls.short]], "description": group["description"]}


def one_of(names: Iterable[str]) -> GetPydanticSchema:
    """Makes `str` a name of a table: `Annotated[str, one_of(METHODS)]`. For words that are fixed there is `Literal`."""
    return GetPydanticSchema(lambda _type, _handler: core_schema.literal_schema([*names]))


Model = TypeVar("Model", bound=Settings)


def content(
    model: type[Settings], source: str | Path | None, section: str | None, overrides: Iterable[str]
) -> dict[str, Any]:
    """What `source` says (see `Settings.load`; None: nothing), changed by `overrides` (`a.b=c`), as written.

    Raises:
        SettingError: no such file, preset or section, or no YAML; an override that is none.
    """
    return changed(model, {} if source is None else _read(model, source, section), overrides)


def changed(model: type[Settings], content: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`content` as `overrides` (`a.b=c`) change it.

    Raises:
        SettingError: an override is none.
    """
    found, schema, said = copy.deepcopy(dict(content)), schema_of(model), [*overrides]
    yaml_file.drop_decided(found, said, schema)
    for override in said:
        yaml_file.change(found, override, schema)
    return found


def _read(model: type[Settings], source: str | Path, section: str | None) -> dict[str, Any]:
    if model.presets and isinstance(source, str) and presets.is_name(source):
        if section is not None:
            raise SettingError(f"the preset {source} has no parts, give the file that has it", f"`section={section}`")
        try:
            return presets.read(model.presets, source)
        except SettingError as error:
            cure = f"the file there is ./{source}" if Path(source).is_file() else None
            raise SettingError(error.reason, cure=cure) from error
    path = local_path(str(source))
    if model.presets and path.stem in presets.names(model.presets) and not path.exists():
        raise SettingError("no such config file", path, cure=f"the preset of that name is `config={path.stem}`")
    return yaml_file.read(path, section, [name for name, field in model.model_fields.items() if field.is_required()])


def validated(
    model: type[Model], content: Mapping[str, Any], options: Mapping[tuple[str, ...], str] = MappingProxyType({})
) -> Model:
    """`content` as settings.

    Args:
        options: names of options by the settings that they gave, for messages.

    Raises:
        SettingError: one line for the first thing that is wrong.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise mistakes.explain(error, schema_of(model), options) from error


def dump(settings: Settings) -> str:
    """All settings as YAML; `Settings.load` reads them back."""
    return yaml_file.dump(settings.model_dump(mode="json"))
