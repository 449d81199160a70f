"""The command `dukd-cache`: parse, call one function, print. Heavy imports wait until a command needs them."""

import json
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dukd_cache.command_line.console import address, path, run_app

if TYPE_CHECKING:
    from dukd_cache.commands.build import BuildJob

app = typer.Typer(
    help="Run a super-resolution teacher once over your images and keep its answers in shards.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


class Codec(StrEnum):
    """How pixels are compressed, losslessly."""

    webp = "webp"
    png = "png"
    raw = "raw"
    blosc = "blosc"


class Store(StrEnum):
    """How shards are laid out."""

    webdataset = "webdataset"
    zarr = "zarr"


class Dtype(StrEnum):
    """How the teacher's answers are stored."""

    uint8 = "uint8"
    float16 = "float16"
    float32 = "float32"


class Precision(StrEnum):
    """What the teacher computes in."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class OnBadImage(StrEnum):
    """What becomes of a build that finds an image it cannot use."""

    fail = "fail"
    skip = "skip"


class Device(StrEnum):
    """Where the teacher runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


_CALLED_HERE = {
    **dict.fromkeys(("cache", "create", "generate", "make", "run"), "build"),
    **dict.fromkeys(("dry-run", "estimate", "forecast"), "plan"),
    **dict.fromkeys(("info", "ls", "show", "stat", "stats"), "inspect"),
    **dict.fromkeys(("check", "fsck", "repair", "test", "validate"), "verify"),
    **dict.fromkeys(("copy", "cp", "export"), "convert"),
    **dict.fromkeys(("downsample", "downscale", "lr", "resize"), "degrade"),
}
"""What commands may be called by those who know other programs."""

_MAX_SHARD_MB = 100_000
"""More is meant in other units."""

_CODEC_HELP = "Lossless compression: webp, png or raw in webdataset, blosc or raw in zarr. Default: the first."

HrFolder = Annotated[Path, typer.Option("--hr", parser=path, help="Folder of HR images, or a list of their paths.")]
OutFolder = Annotated[Path, typer.Option("--out", parser=path, help="Folder to write to.")]
OutAddress = Annotated[
    str, typer.Option("--out", parser=address, help="Folder to write to, or an address: s3://bucket/cache.")
]
CacheAddress = Annotated[
    str, typer.Argument(parser=address, help="Folder of a finished cache, or its address: s3://bucket/cache.")
]


def build_job(
    hr: Annotated[
        list[Path],
        typer.Option(
            parser=path,
            help="Folder of HR images with its subfolders, or a text file of their paths. Can be given again.",
        ),
    ],
    out: OutAddress,
    teacher: Annotated[
        Path | None,
        typer.Option(parser=path, help="Weights of the teacher: a network that spandrel knows, or EDSR."),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(min=2, max=4, help="Only without --teacher: makes a cache of LR/HR pairs, to train from scratch."),
    ] = None,
    lr: Annotated[
        list[Path] | None,
        typer.Option(
            parser=path, help="Folder of LR images; one for each --hr, or for all. Default: made by MATLAB's bicubic."
        ),
    ] = None,
    lr_template: Annotated[str, typer.Option(help="Name of an LR file.")] = "{stem}x{scale}",
    patch: Annotated[
        int | None,
        typer.Option(help="Side of an LR patch, in pixels. Default: 48, or the next multiple of the teacher's window."),
    ] = None,
    zoom_out_patch: Annotated[
        int | None,
        typer.Option(
            help="Side of zoom-out's input. Default: patch // scale, or the next multiple of the teacher's window."
        ),
    ] = None,
    base: Annotated[int, typer.Option(help="Records an image of the view base; 0 leaves it out.")] = 8,
    zoom_in: Annotated[
        int | None, typer.Option(help="Records an image of the view zoom-in. Default: as many as --base.")
    ] = None,
    zoom_out: Annotated[
        int | None, typer.Option(help="Records an image of the view zoom-out. Default: as many as --base.")
    ] = None,
    store: Annotated[Store, typer.Option(help="Tar files, or arrays that any Zarr 3 reader opens.")] = Store.webdataset,
    codec: Annotated[Codec | None, typer.Option(help=_CODEC_HELP)] = None,
    dtype: Annotated[
        Dtype, typer.Option(help="Of the stored answers; float16 takes five times the room, float32 ten times.")
    ] = Dtype.uint8,
    precision: Annotated[Precision, typer.Option(help="The teacher computes in this.")] = Precision.fp32,
    device: Annotated[Device, typer.Option(help="auto: the GPU where there is one.")] = Device.auto,
    compile: Annotated[
        bool,
        typer.Option("--compile", help="torch.compile the teacher: attention gains most. Needs a C++ compiler."),
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Patches the teacher answers at once.")] = 16,
    shard_size: Annotated[
        int, typer.Option(min=1, max=_MAX_SHARD_MB, help="MB of pixels a shard, before compression.")
    ] = 128,
    seed: Annotated[int, typer.Option(help="Moves every crop.")] = 0,
    on_bad_image: Annotated[
        OnBadImage,
        typer.Option(
            help="skip: leave out what cannot be used, and list it in the manifest; decodes all images first."
        ),
    ] = OnBadImage.fail,
    reuse: Annotated[
        list[str] | None,
        typer.Option(
            parser=address, help="Another cache, finished or not, whose answers may serve. Can be given again."
        ),
    ] = None,
) -> "BuildJob":
    """What the options of `build`, which `plan` shares, ask for."""
    from dukd_cache.commands.build import BuildJob
    from dukd_cache.pictures.sources import LrFolder

    return BuildJob(
        hr=tuple(hr),
        out=out,
        weights=teacher,
        scale=scale,
        lr=tuple(LrFolder(root, lr_template) for root in lr or ()),
        patch=patch,
        zoom_out_patch=zoom_out_patch,
        base=base,
        zoom_in=(base if teacher else 0) if zoom_in is None else zoom_in,
        zoom_out=(base if teacher else 0) if zoom_out is None else zoom_out,
        codec=codec.value if codec else None,
        dtype=dtype.value,
        precision=precision.value,
        device=device.value,
        compile=compile,
        batch_size=batch_size,
        shard_size=shard_size,
        seed=seed,
        store=store.value,
        on_bad_image=on_bad_image.value,
        reuse=tuple(reuse or ()),
    )


def with_options_of(options: Callable[..., object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command that has the options of the function `options`, and is called with what it makes of them.

    Options of its own follow its first parameter.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        first, *own = signature(command).parameters.values()

        @wraps(command)
        def run(**words: object) -> None:
            its_own = {each.name: words.pop(each.name) for each in own}
            command(options(**words), **its_own)

        shared = signature(options)
        run.__signature__ = shared.replace(parameters=[*shared.parameters.values(), *own])  # type: ignore[attr-defined]
        annotations = {**options.__annotations__, **command.__annotations__, "return": None}
        annotations.pop(first.name)
        run.__annotations__ = annotations
        return run

    return decorate


@app.command(epilog="Example: `dukd-cache build --hr photos --teacher SwinIR_x4.pth --out cache --base 8 --zoom-in 4`")
@with_options_of(build_job)
def build(asked: "BuildJob") -> None:
    """Run the teacher once over crops of your images; write its answers into shards.

    A build that was stopped goes on when the same command is given again. A changed one takes all answers that still
    hold from what the folder held before.
    """
    from dukd_cache.build.reuse import Tally
    from dukd_cache.commands import build as job
    from dukd_cache.commands.inspection import summary

    tally = Tally()
    manifest = job.run(asked, tally)
    counts = f" (asked the teacher for {tally.asked}, reused {tally.reused}, kept {tally.kept})"
    print(f"{asked.out}: {summary(manifest)}{counts if manifest.teacher else ''}")


@app.command(epilog="Example: `dukd-cache plan --hr photos --teacher SwinIR_x4.pth --out cache --base 8 --zoom-in 4`")
@with_options_of(build_job)
def plan(
    asked: "BuildJob",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table: seconds and bytes.")] = False,
) -> None:
    """Say what the same `build` would do, how long it would take and why; write nothing.

    A few records are cut, asked and encoded to measure how long that takes.
    """
    from dukd_cache.build import forecast
    from dukd_cache.commands import build as job
    from dukd_cache.system.terminal import say

    found = job.forecast(asked)
    for line in found.notes:
        say(line)
    print(json.dumps(forecast.facts(found, asked.out), indent=1) if as_json else forecast.table(found, asked.out))


@app.command(epilog="Example: `dukd-cache inspect cache --picture sheet.png`")
def inspect(
    cache: CacheAddress,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    picture: Annotated[
        Path | None, typer.Option(parser=path, help="Write a contact sheet: input, teacher and truth of each view.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=0, help="Records of each view to measure; 0: none. Default: 256, and 16 with the teacher."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            parser=path, help="Weights of the cache's teacher: also say how it answers flipped and inverted inputs."
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="The teacher's. auto: the GPU where there is one.")] = Device.auto,
) -> None:
    """Say what is in a cache, how good it is, and with --teacher which augmentations to trust."""
    from dukd_cache.commands import inspection
    from dukd_cache.commands.measuring import measured
    from dukd_cache.format.reader import Cache
    from dukd_cache.system.files import try_file

    opened = Cache(cache)
    if picture:
        try_file(picture)
    numbers = measured(opened, sample, teacher, device.value)
    if as_json:
        print(json.dumps({**inspection.facts(opened), **numbers.facts}, indent=1))
    else:
        print("\n\n".join([inspection.table(opened), *numbers.tables]))
    if picture:
        inspection.save_picture(opened, picture)


@app.command(epilog="Example: `dukd-cache verify cache --teacher SwinIR_x4.pth`")
def verify(
    cache: CacheAddress,
    teacher: Annotated[
        Path | None,
        typer.Option(parser=path, help="Ask these weights again about some records and compare the answers."),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Records to ask again, with --teacher.")] = 64,
    device: Annotated[Device, typer.Option(help="auto: the GPU where there is one.")] = Device.auto,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop what is broken; the build's command then writes it anew.")
    ] = False,
) -> None:
    """Check every byte and every record of a cache.

    Problems are printed, one a line. Exit code 0: all holds; 1: something does not; 2: it could not be checked.
    """
    from dukd_cache.check.verify import other_files
    from dukd_cache.check.verify import repair as mend
    from dukd_cache.commands import verify as verification

    problems = verification.run(cache, teacher, sample, device.value)
    for problem in problems:
        print(" ".join(problem.message.split()))
    if repair and problems:
        print(f"{cache}: {mend(cache, problems)}")
    if problems:
        print(f"{cache}: {len(problems)} problem{'s' * (len(problems) > 1)}")
        raise typer.Exit(1)
    for name in other_files(cache):
        print(f"note: {name}: no file of this cache")
    print(f"{cache}: all holds")


@app.command(epilog="Example: `dukd-cache convert cache cache.zarr --store zarr`")
def convert(
    source: Annotated[
        str, typer.Argument(metavar="SRC", parser=address, help="Folder or address of a finished cache.")
    ],
    out: Annotated[str, typer.Argument(metavar="DST", parser=address, help="Folder or address to write to.")],
    store: Annotated[Store, typer.Option(help="Tar files, or arrays that any Zarr 3 reader opens.")],
    codec: Annotated[Codec | None, typer.Option(help=_CODEC_HELP)] = None,
    shard_size: Annotated[
        int | None,
        typer.Option(min=1, max=_MAX_SHARD_MB, help="MB of pixels a shard, before compression. Default: as in SRC."),
    ] = None,
) -> None:
    """Write a cache in another store, codec or shard size, without the teacher and without loss.

    A conversion that was stopped goes on when the same command is given again.
    """
    from dukd_cache.build import convert as conversion
    from dukd_cache.commands.inspection import summary
    from dukd_cache.format.reader import Cache
    from dukd_cache.system.terminal import progress

    opened = Cache(source, reading="in order")
    header = conversion.converted_header(opened.manifest, store.value, codec.value if codec else None, shard_size)
    with progress("converting", sum(map(opened.count, opened.views)), "records") as advance:
        manifest = conversion.convert(opened, out, header, on_records=advance)
    print(f"{out}: {summary(manifest)}")


@app.command(epilog="Example: `dukd-cache degrade --hr Set5/HR --out Set5/LR/X4 --scale 4`")
def degrade(
    hr: HrFolder,
    out: OutFolder,
    scale: Annotated[int, typer.Option(min=2, max=4, help="SR factor.")],
) -> None:
    """Make benchmark-exact LR images: NAME.png becomes NAMEx4.png, a quarter of its size."""
    from dukd_cache.commands.degrade import degrade_folder

    count = degrade_folder(hr, out, scale)
    print(f"{out}: {count} LR images, scale {scale}")


def main() -> None:
    """Entry point."""
    run_app(app, "dukd-cache", _CALLED_HERE)
