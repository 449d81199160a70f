"""The command `dukd-cache`: parse, call one function, print. Heavy imports wait until a command needs them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dukd_cache.command_line.console import program, run_app
from dukd_cache.command_line.later import prints_presets, prints_schema, takes_settings
from dukd_cache.command_line.values import PartOption, address, network, numbers, path
from dukd_cache.settings.choices import (
    MAX_SHARD_MB,
    Asked,
    Converted,
    DegradationName,
    Device,
    Dtype,
    EngineName,
    Precision,
)
from dukd_cache.system.errors import SettingError
from dukd_cache.system.tables import show

if TYPE_CHECKING:
    from dukd_cache.commands.config import CacheConfig

app = program("Run a super-resolution teacher once over your images and store its answers in shards.")


_CALLED_HERE = {
    **dict.fromkeys(("cache", "create", "generate", "make", "run"), "build"),
    **dict.fromkeys(("dry-run", "estimate", "forecast"), "plan"),
    **dict.fromkeys(("info", "ls", "show", "stat", "stats"), "inspect"),
    **dict.fromkeys(("progress", "ps", "queue", "watch"), "status"),
    **dict.fromkeys(("check", "fsck", "repair", "test", "validate"), "verify"),
    **dict.fromkeys(("add", "add-teacher", "ask"), "answer"),
    **dict.fromkeys(("copy", "cp", "export"), "convert"),
    **dict.fromkeys(("config", "options", "settings"), "schema"),
    **dict.fromkeys(("downsample", "downscale", "lr", "resize"), "degrade"),
    **dict.fromkeys(("augment", "blend", "mixup", "multiscale", "rotate"), "multiply"),
}
"""What commands may be called by those who know other programs."""

HrFolder = Annotated[
    Path, typer.Option("--hr", parser=path, help="Folder of HR images, or a text file of their paths.")
]
OutFolder = Annotated[Path, typer.Option("--out", parser=path, help="Folder to write to.")]
OutAddress = Annotated[str, typer.Option("--out", parser=address, help="Folder, or s3://bucket/cache.")]
CacheAddress = Annotated[
    str, typer.Argument(parser=address, help="Folder of a finished cache, or its address: s3://bucket/cache.")
]
DeviceOption = Annotated[Device, typer.Option(help="auto: a GPU if there is one.")]
_RAY = "Ray: a cluster whose machines share the files"


def _settings() -> "type[CacheConfig]":
    from dukd_cache.commands.config import CacheConfig

    return CacheConfig


@takes_settings(
    app,
    _settings,
    epilog="Example: `dukd-cache build --hr photos --teacher SwinIR_x4.pth --out cache`",
)
def build(
    config: "CacheConfig",
    out: OutAddress,
    part: PartOption = None,
    engine: Annotated[
        EngineName,
        typer.Option(help="ray: on a cluster. Default: local.", show_default=False, rich_help_panel=_RAY),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Default: start one on this machine.",
            rich_help_panel=_RAY,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Maximum. Default: as many as fit.", rich_help_panel=_RAY),
    ] = None,
    cpus_per_worker: Annotated[
        int | None, typer.Option(help="CPUs and threads. Default: 1.", rich_help_panel=_RAY)
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            help="0.5: two share one. Default: 1.",
            rich_help_panel=_RAY,
        ),
    ] = None,
    shards_per_task: Annotated[int | None, typer.Option(help="Default: 4.", rich_help_panel=_RAY)] = None,
) -> None:
    """Run the teacher once over crops of your images; store its answers in shards.

    To resume a build, run the same command again. After a change, answers that are still valid are kept.
    """
    from dukd_cache.build.reuse import Tally
    from dukd_cache.commands import build as job
    from dukd_cache.commands.inspect import summary

    tally = Tally()
    given = {
        "ray_address": ray_address,
        "workers": workers,
        "cpus_per_worker": cpus_per_worker,
        "gpus_per_worker": gpus_per_worker,
        "shards_per_task": shards_per_task,
    }
    of_ray = {name: value for name, value in given.items() if value is not None}
    with job.engine_of(config, engine, part, **of_ray) as chosen:
        manifest = job.build_cache(config, out, tally, part, chosen)
    counts = f" (asked the teacher for {tally.asked}, reused {tally.reused}, kept {tally.kept})"
    if manifest is None:
        print(f"{out}: part {part} is done{counts}; others are not yet: dukd-cache status {out}")
    else:
        print(f"{out}: {summary(manifest)}{counts if manifest.answers else ''}")


@takes_settings(
    app,
    _settings,
    epilog="Example: `dukd-cache plan --hr photos --teacher SwinIR_x4.pth --out cache`",
)
def plan(
    config: "CacheConfig",
    out: OutAddress,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table: seconds and bytes.")] = False,
    header: Annotated[
        Path | None,
        typer.Option(parser=path, help="Write what the cache will declare to this file, as JSON; measure nothing."),
    ] = None,
) -> None:
    """Show what `build` would do, how long it would take and why. Writes nothing there.

    To measure this, it runs the teacher on a few records.
    """
    from dukd_cache.build import forecast
    from dukd_cache.commands import build as job
    from dukd_cache.format.manifest import to_json
    from dukd_cache.system.files import try_file, write_atomically
    from dukd_cache.system.terminal import say

    if header:
        try_file(header)
        write_atomically(header, to_json(job.planned(config, out).header))
        return
    found = job.forecast(config, out)
    for line in found.notes:
        say(line)
    show(json.dumps(forecast.facts(found, out), indent=1) if as_json else forecast.table(found, out))


@app.command(epilog="Example: `dukd-cache status cache`")
def status(
    cache: Annotated[
        str,
        typer.Argument(parser=address, help="Folder of a cache, finished or not, or its address: s3://bucket/cache."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show how far a build is: what is done, which workers are running, what is missing and how long it will take."""
    from dukd_cache.commands.status import facts, table

    found = facts(cache)
    show(json.dumps(found, indent=1) if as_json else table(found))


@app.command(epilog="Example: `dukd-cache inspect cache --picture sheet.png`")
def inspect(
    cache: CacheAddress,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    picture: Annotated[
        Path | None, typer.Option(parser=path, help="Write a contact sheet: inputs, answers and truths of each view.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(parser=path, help="Write all of this as one page, with pictures of records.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=0, help="Records of each view to measure. 0: none. Default: 256, and 16 with the teacher."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(parser=network, help="Weights of the cache's teacher: also measure which augmentations are safe."),
    ] = None,
    device: Annotated[Device, typer.Option(help="For the teacher. auto: a GPU if there is one.")] = "auto",
) -> None:
    """Show what is in a cache, how good it is, and with --teacher which augmentations are safe."""
    from dukd_cache.commands.inspect import facts, measured, save_page, save_picture, table
    from dukd_cache.format.reader import Cache
    from dukd_cache.system.files import try_file

    opened = Cache(cache)
    for file in filter(None, (picture, html)):
        try_file(file)
    numbers = measured(opened, sample, teacher, device)
    if as_json:
        print(json.dumps({**facts(opened), **numbers.facts}, indent=1))
    else:
        show("\n\n".join([table(opened), *numbers.tables]))
    if picture:
        save_picture(opened, picture)
    if html:
        save_page(opened, numbers, html)


@app.command(epilog="Example: `dukd-cache verify cache --teacher SwinIR_x4.pth`")
def verify(
    cache: CacheAddress,
    teacher: Annotated[
        Path | None,
        typer.Option(parser=network, help="Run these weights again on some records and compare the answers."),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Number of these records.")] = 64,
    device: DeviceOption = "auto",
    hr: Annotated[
        list[Path] | None,
        typer.Option(parser=path, help="Images that the cache was built from: needed for --teacher if it has context."),
    ] = None,
    lr: Annotated[
        list[Path] | None, typer.Option(parser=path, help="Their LR images, if it was built with --lr.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove damaged shards. The build command then writes them again.")
    ] = False,
) -> None:
    """Check every byte and every record of a cache.

    Prints one line per problem. Exit code 0: the cache is intact. 1: there are problems. 2: it could not be checked.
    """
    from dukd_cache.check.verify import other_files
    from dukd_cache.check.verify import repair as mend
    from dukd_cache.commands.verify import verify_cache

    problems = verify_cache(cache, teacher, sample, device, hr or (), lr or ())
    for problem in problems:
        print(" ".join(problem.message.split()))
    if repair and problems:
        print(f"{cache}: {mend(cache, problems)}")
    if problems:
        print(f"{cache}: {len(problems)} problem{'s' * (len(problems) > 1)}")
        raise typer.Exit(1)
    for name in other_files(cache):
        print(f"note: {name}: no file of this cache")
    print(f"{cache}: intact")


@app.command(epilog="Example: `dukd-cache answer cache --teacher CRAFT_X4.pt`")
def answer(
    cache: CacheAddress,
    teacher: Annotated[Path, typer.Option(parser=network, help="Weights of the teacher to add.")],
    name: Annotated[
        str | None, typer.Option(help="Name of its answers. Default: that of the file; for the first: `teacher`.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="The teacher's precision.")] = "fp32",
    device: DeviceOption = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Records per batch.")] = 16,
    of: Annotated[Asked, typer.Option(help="What its inputs are.")] = "input",
    self_ensemble: Annotated[Literal["1", "8", "16"], typer.Option(help="Number of outputs to average.")] = "1",
    values: Annotated[Literal["1", "255"], typer.Option(help="Its values run from 0 to this.")] = "1",
    channels: Annotated[Literal["rgb", "bgr"], typer.Option(help="Its order of channels.")] = "rgb",
    window: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Its inputs must be a multiple of this. Default: detected.")
    ] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Type of its answers. Default: as the others.")] = None,
    mixed_workers: Annotated[
        bool, typer.Option("--mixed-workers", help="Allow other hardware than that of the other answers.")
    ] = False,
) -> None:
    """Add the answers of another teacher to a finished cache. Needs no images; the other answers stay.

    You can use the cache as before until all shards are rewritten. To resume, run the same command again.
    """
    from dukd_cache.build.reuse import Tally
    from dukd_cache.commands.answer import HowAsked, add
    from dukd_cache.commands.inspect import summary
    from dukd_cache.settings.model import validated

    tally = Tally()
    given = {
        "precision": precision,
        "device": device,
        "compile": compiled,
        "batch_size": batch_size,
        "self_ensemble": int(self_ensemble),
        "dtype": dtype,
        "mixed_workers": mixed_workers,
        "takes": {"values": int(values), "channels": channels, "window": window},
        "of": of,
    }
    manifest = add(cache, teacher, name, validated(HowAsked, given), tally)
    print(f"{cache}: {summary(manifest)} (asked the teacher for {tally.asked}, kept {tally.kept})")


@app.command(epilog="Example: `dukd-cache convert cache cache.zarr --store zarr`")
def convert(
    source: Annotated[
        str, typer.Argument(metavar="SRC", parser=address, help="Folder or address of a finished cache.")
    ],
    out: Annotated[str, typer.Argument(metavar="DST", parser=address, help="Folder or address to write to.")],
    store: Annotated[
        Converted,
        typer.Option(
            help="webdataset: tar files. zarr: arrays for any Zarr 3 reader. folder: PNG pairs for other programs."
        ),
    ],
    codec: Annotated[
        str | None,
        typer.Option(
            help="Lossless compression: webp, png or raw for webdataset, blosc or raw for zarr. Default: the first."
        ),
    ] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_SHARD_MB, help="MB of pixels per shard, before compression. Default: as in SRC."),
    ] = None,
) -> None:
    """Convert a cache, without loss, to another store, codec or shard size; or write it as PNG pairs.

    To resume, run the same command again.
    """
    from dukd_cache.commands.convert import convert_cache, export_pairs
    from dukd_cache.commands.inspect import summary

    if store == "folder":
        if codec is not None or shard_size is not None:
            raise SettingError("holds PNG files: leave out `codec` and `shard_size`", "`store=folder`")
        print(f"{out}: {export_pairs(source, out)}")
        return
    manifest = convert_cache(source, out, store, codec, shard_size)
    print(f"{out}: {summary(manifest)}")


@app.command(epilog="Example: `dukd-cache degrade --hr Set5/HR --out Set5/LR/X4 --scale 4`")
def degrade(
    hr: HrFolder,
    out: OutFolder,
    scale: Annotated[int, typer.Option(min=2, max=4, help="SR factor.")],
    degradation: Annotated[
        DegradationName, typer.Option(help="bicubic: as in the benchmarks. light, real: random for each image.")
    ] = "bicubic",
    seed: Annotated[int, typer.Option(help="Random seed of the degradation.")] = 0,
) -> None:
    """Make LR images: at scale 4, NAME.png becomes NAMEx4.png, with a quarter of its sides."""
    from dukd_cache.commands.degrade import degrade_folder
    from dukd_cache.pictures.degradation.presets import preset

    count = degrade_folder(hr, out, scale, preset(degradation), seed)
    print(f"{out}: {count} LR images, scale {scale}")


@app.command(epilog="Example: `dukd-cache multiply --hr photos --out more`")
def multiply(
    hr: HrFolder,
    out: OutFolder,
    sizes: Annotated[
        str, typer.Option(help="Smaller ones: their sides, over those of the image. none: none.")
    ] = "0.8,0.6,0.45",
    turns: Annotated[str, typer.Option(help="Turned ones: degrees. none: none.")] = "20,45,70",
    blends: Annotated[int, typer.Option(help="Blends of each image with others.")] = 3,
    smallest: Annotated[
        int, typer.Option(min=1, help="Leave out what would be smaller: patch × scale of the cache, in pixels.")
    ] = 192,
    seed: Annotated[int, typer.Option(help="Random seed of the blends.")] = 0,
) -> None:
    """Make many HR images of a few: the same ones smaller, turned, and laid over each other.

    Build a cache of both: `--hr photos --hr more`. If you have few photographs, students become better by it.
    """
    from dukd_cache.commands.multiply import Variants, multiply_folder

    count = multiply_folder(hr, out, Variants(numbers(sizes, "sizes"), numbers(turns, "turns"), blends, smallest), seed)
    print(f"{out}: {count} HR images")


prints_presets(app, _settings, "dukd-cache presets dukd > cache.yaml")
prints_schema(app, _settings, "dukd-cache", "a cache's settings", "cache.schema.json")


def main() -> None:
    """Entry point."""
    run_app(app, "dukd-cache", _CALLED_HERE, _settings)
