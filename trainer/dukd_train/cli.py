"""The command `dukd-train`: parse, call one function, print. Heavy imports wait until a command needs them."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from dukd_cache.command_line.console import program, run_app
from dukd_cache.command_line.later import prints_presets, prints_schema
from dukd_cache.command_line.values import CONFIG, Overrides, PartOption, Section, network, path
from dukd_cache.settings.choices import Device, EngineName, Precision
from dukd_cache.system.errors import SettingError
from dukd_cache.system.tables import show
from dukd_cache.system.terminal import say, speaks

if TYPE_CHECKING:
    from dukd_train.settings import TrainConfig
    from dukd_train.sweeps.engine import Opening

app = program("Train small super-resolution networks, the students, from a cache of a teacher's answers.")

_CALLED_HERE = {
    **dict.fromkeys(("distill", "fit", "resume", "start", "train"), "run"),
    **dict.fromkeys(("benchmark", "evaluate", "score", "test", "val", "validate"), "eval"),
    **dict.fromkeys(("plot", "report", "table"), "compare"),
    **dict.fromkeys(("enlarge", "infer", "inference", "predict", "sr"), "upscale"),
    **dict.fromkeys(("convert", "onnx", "save"), "export"),
    **dict.fromkeys(("config", "options", "settings"), "schema"),
    **dict.fromkeys(("grid", "hparams", "multirun", "tune"), "sweep"),
}
"""What commands may be called by those who know other programs."""

_UNASKED = "small"
"""The preset of a run without `--config`."""

_NETWORK = "A run folder, or weights of any SR network that spandrel knows."

WeightsFile = Annotated[Path, typer.Argument(parser=network, help=_NETWORK)]
Metrics = Annotated[
    str | None,
    typer.Option(
        help="Separated by commas: psnr_y, ssim_y, psnr and ssim (of RGB), lpips, dists, niqe. Default: "
        "psnr_y,ssim_y, and niqe for images without HR."
    ),
]
LrOnly = Annotated[
    list[str] | None,
    typer.Option(help="Folder of images without HR, or NAME=FOLDER. You can give several."),
]
TileOption = Annotated[
    str, typer.Option(help="Side of a tile in LR pixels. 0: the whole image. auto: as memory allows.")
]
TileOverlap = Annotated[int, typer.Option(min=0, max=1024, help="Overlap of the tiles on each side, in LR pixels.")]
SelfEnsemble = Annotated[
    bool, typer.Option("--self-ensemble", help="Average over the eight flips and rotations. Takes eight times as long.")
]
ComparedImages = Annotated[
    list[str] | None,
    typer.Option(help="HR images to score on, as for eval. Default: the validation sets of the runs."),
]
ComparedTeacher = Annotated[Path | None, typer.Option(parser=network, help="Weights of the teacher, to score it, too.")]
DeviceOption = Annotated[Device, typer.Option(help="auto: a GPU if there is one.")]
SweepFolder = Annotated[Path, typer.Option(parser=path, help="Folder to write to. Each run gets a folder in it.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Runs at the same time. Default: as many as fit on the machine.")]
Engine = Annotated[EngineName, typer.Option(help="ray: on a Ray cluster, whose machines must share --out.")]
RayAddress = Annotated[
    str | None, typer.Option(help="Address of the cluster: HOST:PORT, or auto. Default: start one on this machine.")
]
RunsPerGpu = Annotated[int | None, typer.Option(min=1, help="Runs that share a GPU of the cluster. Default: 1.")]
LrTemplate = Annotated[str, typer.Option(help="LR file name.")]


def _settings() -> "type[TrainConfig]":
    from dukd_train.settings import TrainConfig

    return TrainConfig


def _chosen(config: str | None) -> str:
    """The file or preset to take; where none is named, the preset of a small student, which is said."""
    if config is not None:
        return config
    from dukd_cache.settings.presets import summary

    if speaks():
        say(f"no --config, so the preset {_UNASKED}: {summary(_settings().presets, _UNASKED)}")
    return _UNASKED


@app.command(epilog="Example: `dukd-train run --config edsr_x4 --set cache=cache --set method=kd --out runs/kd`")
def run(
    out: Annotated[Path, typer.Option(parser=path, help="Run folder.")],
    config: Annotated[str | None, CONFIG] = None,
    section: Section = None,
    overrides: Overrides = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Resume although settings have changed.")
    ] = False,
) -> None:
    """Train a student.

    To resume from the last checkpoint, run the same command again. To extend a finished run (not with a cosine
    schedule), do so with more `steps`.
    """
    from dukd_train.core.stopping import end_with_parent

    end_with_parent()
    # Before torch is loaded: a mistake is told at once.
    asked = _settings().load(_chosen(config), section, overrides or [])
    from dukd_train.core.run import run as train
    from dukd_train.keeping.closing import closing

    facts = train(asked, out, allow_changes=allow_changes)
    if speaks():
        student = f"{facts['student']} of {facts['parameters']:,} parameters"
        print(f"{out}: {facts['method']}, {student}, {facts['steps']} steps", flush=True)
        for line in closing(out, asked, facts["steps"], facts["scale"]):
            say(line)
        folder, images = quote(str(out)), "" if asked.validation.sets else " --hr IMAGES"
        say(f"next      dukd-train upscale {folder} IN OUT")
        say(f"          dukd-train compare {folder} OTHER_RUN --out REPORT{images}")


@app.command(
    "eval",
    epilog="Example: `dukd-train eval --weights runs/kd/student.safetensors --hr Set5/HR --json kd.json`",
)
def evaluate(
    weights: Annotated[Path, typer.Option(parser=network, help=_NETWORK)],
    hr: Annotated[
        list[str] | None, typer.Option(help="Folder of HR images, or NAME=FOLDER. You can give several.")
    ] = None,
    lr: Annotated[
        list[str] | None, typer.Option(help="Folder of LR images, or NAME=FOLDER. Default: MATLAB's bicubic.")
    ] = None,
    lr_template: LrTemplate = "{stem}x{scale}",
    lr_only: LrOnly = None,
    metrics: Metrics = None,
    scale: Annotated[int | None, typer.Option(min=2, max=4, help="Refuse networks of another scale.")] = None,
    tile: TileOption = "0",
    tile_overlap: TileOverlap = 32,
    self_ensemble: SelfEnsemble = False,
    device: DeviceOption = "auto",
    json_file: Annotated[Path | None, typer.Option("--json", parser=path, help="Write the scores here, too.")] = None,
) -> None:
    """Score a network and bicubic, for each image and on average: PSNR-Y and SSIM-Y, or NIQE if there is no HR."""
    from dukd_cache.pictures.sources import LrFolder
    from dukd_cache.system.files import try_file, write_atomically
    from dukd_train.scoring.image_sets import lr_folders, named_sets
    from dukd_train.scoring.inference import Inference
    from dukd_train.scoring.scored_weights import score_weights, scores_json, tables
    from dukd_train.scoring.scores import USUAL, metric_names
    from dukd_train.scoring.tiles import tile_side

    sets = named_sets(hr or [])
    alone = named_sets(lr_only or [], "lr_only", besides=sets)
    if not sets and not alone:
        raise SettingError("`hr` is missing: a folder of HR images; or images without HR, as `lr_only`")
    folders = lr_folders(lr or [], [*sets], lr_template) | {name: LrFolder(path) for name, path in alone.items()}
    names = metric_names(metrics) if metrics is not None else (*(USUAL if sets else ()), *(("niqe",) if alone else ()))
    if json_file:
        try_file(json_file, make_parents=True)
    how = Inference(tile_side(tile), tile_overlap, self_ensemble)
    found = score_weights(weights, {**sets, **dict.fromkeys(alone)}, folders, scale, device, names, how)
    if json_file and found.count:
        write_atomically(json_file, scores_json(found).encode(errors="backslashreplace"))  # names of files
    if text := tables(found):
        show(text)
    found.end()


@app.command(
    epilog="Example: `dukd-train compare runs/kd runs/dukd --hr Set14/HR --teacher SwinIR_x4.pth --out report`"
)
def compare(
    runs: Annotated[list[Path], typer.Argument(parser=path, help="Folders of finished runs of the same scale.")],
    out: Annotated[Path, typer.Option(parser=path, help="Folder of the report. An earlier report there is replaced.")],
    hr: ComparedImages = None,
    lr: Annotated[list[str] | None, typer.Option(help="LR images of --hr, as for eval.")] = None,
    lr_only: LrOnly = None,
    teacher: ComparedTeacher = None,
    pictures: Annotated[int, typer.Option(min=1, help="Maximum number of crops to show.")] = 4,
    baseline: Annotated[
        str | None,
        typer.Option(help="Run or group to compare the others with, image by image. Default: scratch, else kd."),
    ] = None,
    metrics: Metrics = None,
    tile: TileOption = "0",
    tile_overlap: TileOverlap = 32,
    device: DeviceOption = "auto",
) -> None:
    """Compare students in a report: report.html, and its parts as Markdown, CSV, JSON and PNG.

    Runs that differ only in their seed form one group.
    """
    from dukd_train.report.compare import PAGE
    from dukd_train.report.compare import compare as write_report
    from dukd_train.scoring.image_sets import lr_folders, named_sets
    from dukd_train.scoring.inference import Inference
    from dukd_train.scoring.scores import USUAL, metric_names
    from dukd_train.scoring.tiles import tile_side

    sets, names = named_sets(hr or []), metric_names(metrics) if metrics is not None else USUAL
    done = write_report(
        runs,
        out,
        hr=sets,
        lr={name: folder.root for name, folder in lr_folders(lr or [], [*sets]).items()},
        lr_only=named_sets(lr_only or [], "lr_only", besides=sets),
        teacher=teacher,
        pictures=pictures,
        baseline=baseline,
        metrics=names,
        how=Inference(tile_side(tile), tile_overlap),
        device=device,
    )
    show(f"{done.table}\n{out / PAGE}")
    done.end()


@app.command(epilog="Example: `dukd-train upscale runs/kd/student.safetensors photos large`")
def upscale(
    weights: WeightsFile,
    source: Annotated[
        Path, typer.Argument(metavar="IN", parser=path, help="An image, or a folder of images and subfolders.")
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", parser=path, help="A file if IN is an image, else a folder. Names are kept."),
    ],
    suffix: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="png, jpg, webp (lossless), tiff, bmp, or same as the input. Default: suffix of OUT, or png.",
        ),
    ] = None,
    tile: TileOption = "auto",
    tile_overlap: TileOverlap = 32,
    self_ensemble: SelfEnsemble = False,
    precision: Annotated[Precision, typer.Option(help="fp16 needs a GPU.")] = "fp32",
    device: DeviceOption = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Enlarge images.

    Existing outputs in a folder are left alone, so you can resume with the same command. If an image cannot be used,
    you get its name, and the others are done.
    """
    from dukd_train.scoring.inference import Inference
    from dukd_train.scoring.tiles import tile_side
    from dukd_train.using.upscale import upscale_files

    how = Inference(tile_side(tile), tile_overlap, self_ensemble, precision)
    done = upscale_files(weights, source, out, suffix, how, device, overwrite=overwrite)
    left = f", {done.there} were there already (--overwrite makes them anew)" if done.there else ""
    print(f"{out}: {done.made} enlarged{left}")


@app.command(epilog="Example: `dukd-train export runs/kd/student.safetensors --to onnx`")
def export(
    weights: WeightsFile,
    to: Annotated[
        str | None,
        typer.Option(help="onnx, torchscript, pt2 (torch.export), safetensors, pth, or basicsr (.pth for BasicSR)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(parser=path, help="Default: next to the weights, with their stem.")
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(parser=path, help="README.md to write: a model card of the run for the Hugging Face Hub."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Export a network to other software. It maps RGB float32 [N,3,H,W] in [0,1] to [N,3,sH,sW], for any N, H and W.

    The file is written only if its output equals that of the network at several sizes.
    """
    from dukd_cache.system.files import write_atomically
    from dukd_train.using.card import card_of
    from dukd_train.using.export import TOLERANCE, export_network, format_name, target_of

    if to is None and (card is None or out is not None):
        raise SettingError("`to` is missing: a format, or `card` alone")
    asked = None if to is None else format_name(to)
    written = target_of(weights, asked, out, overwrite=overwrite).name if asked in ("safetensors", "pth") else None
    text = card_of(weights, card, overwrite=overwrite, file=written) if card else ""
    if asked:
        done = export_network(weights, asked, out, overwrite=overwrite)
        print(f"{done.path}: differs from the network by {done.difference:.1e} of 1 at most (allowed: {TOLERANCE:g})")
    if card:
        write_atomically(card, text.encode())
        print(f"{card}: a model card; choose its license in it")


prints_presets(app, _settings, "dukd-train presets edsr_x4 > mine.yaml", ("scale", "student.architecture", "steps"))
prints_schema(app, _settings, "dukd-train", "the settings", "dukd.schema.json")


@app.command(
    epilog="Example: `dukd-train sweep --config small --grid method=scratch,kd,dukd --grid seed=0,1,2 "
    "--out sweeps/methods`"
)
def sweep(
    grid: Annotated[
        list[str],
        typer.Option(help="A setting and its values: key=a,b,c, or a YAML list. Several give all combinations."),
    ],
    out: SweepFolder,
    config: Annotated[str | None, CONFIG] = None,
    section: Section = None,
    overrides: Overrides = None,
    jobs: Jobs = None,
    part: PartOption = None,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    runs_per_gpu: RunsPerGpu = None,
    hr: ComparedImages = None,
    lr_only: LrOnly = None,
    teacher: ComparedTeacher = None,
) -> None:
    """Train a grid of students from one cache, several at a time, and compare them.

    To resume, run the same command again. Finished runs are left alone.
    """
    from dukd_train.core.stopping import end_with_parent
    from dukd_train.scoring.image_sets import named_sets
    from dukd_train.sweeps.grid import points
    from dukd_train.sweeps.sweep import WHOLE, ReportWanted
    from dukd_train.sweeps.sweep import sweep as train_all

    end_with_parent()
    sets = named_sets(hr or [])
    wanted = ReportWanted(sets, named_sets(lr_only or [], "lr_only", besides=sets), teacher)
    opening = _opening(engine, ray_address, runs_per_gpu)
    grid_points = points(_chosen(config), section, overrides or [], grid)
    if table := train_all(grid_points, out, jobs, wanted, part or WHOLE, opening):
        show(table)


@app.command(epilog="Example: `dukd-train study few_images.yaml --out studies/few_images`")
def study(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", parser=path, help="YAML file: caches, rows of settings, seeds.")
    ],
    out: SweepFolder,
    overrides: Overrides = None,
    jobs: Jobs = None,
    part: PartOption = None,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    runs_per_gpu: RunsPerGpu = None,
) -> None:
    """Build caches, train rows of students from them with several seeds, and compare them.

    Like a sweep, but of several caches, and its rows can differ in any setting. To resume, run the same command again.
    """
    from dukd_train.core.stopping import end_with_parent
    from dukd_train.sweeps.study import Study, build_caches, check_caches, check_images
    from dukd_train.sweeps.sweep import WHOLE, ReportWanted, check_wanted, refuse_other_folder
    from dukd_train.sweeps.sweep import sweep as train_all

    end_with_parent()
    asked = Study.load(file)
    opening, points = _opening(engine, ray_address, runs_per_gpu), asked.points(out, overrides or [])
    wanted = ReportWanted(asked.hr, asked.lr_only, asked.teacher)
    refuse_other_folder(out)
    check_images(asked, points)
    if part is None:
        check_wanted(points, wanted, check_caches(asked, points, out))
    build_caches(asked, out, alone=part is None)
    if table := train_all(points, out, jobs, wanted, part or WHOLE, opening):
        show(table)


def _opening(engine: EngineName, ray_address: str | None, runs_per_gpu: int | None) -> "Opening":
    from functools import partial

    from dukd_train.sweeps.engine import this_machine
    from dukd_train.sweeps.on_ray import on_ray

    if engine == "ray":
        return partial(on_ray, address=ray_address, runs_per_gpu=runs_per_gpu or 1)
    if ray_address is not None or runs_per_gpu is not None:
        raise SettingError("give `engine=ray`, too", "`ray_address`" if ray_address is not None else "`runs_per_gpu`")
    return this_machine


def main() -> None:
    """Entry point."""
    run_app(app, "dukd-train", _CALLED_HERE, _settings)
