"""Images as users have them: what each kind of file becomes, what is refused and why, what a build leaves out."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms
from tests.cache.pictures.test_sources import UPRIGHT
from tests.cache.samples import build_job, files_of, photo, png_chunk

from dukd_cache import cli
from dukd_cache.commands import build as job
from dukd_cache.commands.inspect import facts, summary, table
from dukd_cache.format.manifest import Manifest, to_json
from dukd_cache.format.reader import Cache
from dukd_cache.format.shards import ShardWriter
from dukd_cache.pictures import decode
from dukd_cache.pictures.bicubic import downscale
from dukd_cache.pictures.decode import read_rgb, read_size
from dukd_cache.pictures.extras import read_extras
from dukd_cache.pictures.sources import find_images, identify
from dukd_cache.system.arrays import U8, U16
from dukd_cache.system.errors import ImageError

tifffile = pytest.importorskip("tifffile", reason="comes with scikit-image")


def deep(width: int, height: int, channels: int = 3) -> U16:
    """All of the 16 bits are used, both ends included."""
    values = np.random.default_rng(5).integers(0, 65536, (height, width, channels), np.uint16)
    values[0, 0], values[0, 1], values[0, 2] = 0, 65535, 257 * 100
    return values


def rounded(values: U16) -> U8:
    """The nearest of 8 bits, in floating point."""
    return np.floor(values / 65535 * 255 + 0.5).astype(np.uint8)


def png(values: npt.NDArray[Any], colour: int, interlaced: bool = False) -> bytes:
    """A PNG of 8 or 16 bits written by hand (W3C PNG, 11.2): Pillow writes no 16-bit colours."""
    height, width = values.shape[:2]
    depth = 8 * values.dtype.itemsize
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for x, y, step_x, step_y in passes if interlaced else [(0, 0, 1, 1)]:
        part = values[y::step_y, x::step_x]
        if part.shape[1]:
            rows += b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(kind, content)
        for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def both_agree(path: Path) -> U8:
    """The pixels; the header promises their size."""
    pixels = read_rgb(path)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert read_size(path) == (pixels.shape[1], pixels.shape[0])
    return pixels


class TestSixteenBits:
    """Rounded to the nearest of 8 bits, never clipped, never cut."""

    @pytest.mark.parametrize("interlaced", [False, True])
    @pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
    def test_png(self, tmp_path: Path, colour: int, channels: int, interlaced: bool) -> None:
        values = deep(13, 9, channels)
        (tmp_path / "x.png").write_bytes(png(values, colour, interlaced))
        colours = values[..., [0, 0, 0]] if channels < 3 else values[..., :3]
        assert np.array_equal(both_agree(tmp_path / "x.png"), rounded(colours))

    @pytest.mark.parametrize("grey", [False, True])
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"byteorder": ">"},
            {"compression": "zlib"},
            {"compression": "zlib", "predictor": True},
            {"compression": "zlib", "byteorder": ">"},
            {"tile": (16, 16)},
            {"tile": (16, 16), "compression": "zlib"},
            {"rowsperstrip": 4},
            {"bigtiff": True},
        ],
        ids=str,
    )
    def test_tiff(self, tmp_path: Path, options: dict[str, Any], grey: bool) -> None:
        values = deep(21, 18)
        stored = values[..., 0] if grey else values
        tifffile.imwrite(tmp_path / "x.tif", stored, photometric="minisblack" if grey else "rgb", **options)
        expected = np.repeat(values[..., :1], 3, axis=2) if grey else values
        assert np.array_equal(both_agree(tmp_path / "x.tif"), rounded(expected))

    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_tiff_with_alpha(self, tmp_path: Path, compression: str | None) -> None:
        values = deep(21, 18, 4)
        for kind in ("unassalpha", "unspecified"):
            path = tmp_path / f"{kind}.tif"
            tifffile.imwrite(path, values, photometric="rgb", extrasamples=[kind], compression=compression)
            assert np.array_equal(both_agree(path), rounded(values[..., :3]))
        tifffile.imwrite(path, values, photometric="rgb", extrasamples=["assocalpha"], compression=compression)
        with pytest.raises(ImageError, match="multiplied by alpha"):
            read_size(path)

    @pytest.mark.parametrize("compression", [None, "zlib"])
    @pytest.mark.parametrize("channels", [3, 4])
    def test_tiff_in_separate_planes(self, tmp_path: Path, channels: int, compression: str | None) -> None:
        values, path = deep(21, 18, channels), tmp_path / "x.tif"
        options = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
        planes = values.transpose(2, 0, 1)
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", compression=compression, **options)
        assert np.array_equal(both_agree(path), rounded(values[..., :3]))
        alpha = read_extras(path).alpha
        assert (alpha is None) if channels == 3 else np.array_equal(alpha, rounded(values[..., 3]))

    @pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5), (7, 1)])
    def test_thin_ones(self, tmp_path: Path, width: int, height: int) -> None:
        values = deep(width + 3, height)[:, 3:]
        (tmp_path / "rgb.png").write_bytes(png(values, 2))
        (tmp_path / "grey.png").write_bytes(png(values[..., :1], 0))
        tifffile.imwrite(tmp_path / "rgb.tif", values, photometric="rgb")
        tifffile.imwrite(tmp_path / "grey.tif", values[..., 0], photometric="minisblack")
        tifffile.imwrite(tmp_path / "planes.tif", values.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
        for name in ("rgb.png", "grey.png", "rgb.tif", "grey.tif", "planes.tif"):
            expected = values[..., [0, 0, 0]] if name.startswith("grey") else values
            assert np.array_equal(both_agree(tmp_path / name), rounded(expected)), name

    @pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}], ids=str)
    def test_tiff_of_inks(self, tmp_path: Path, options: dict[str, Any]) -> None:
        values = deep(21, 18, 4)
        tifffile.imwrite(tmp_path / "x.tif", values, photometric="separated", **options)
        c, m, y, k = np.moveaxis(255.0 - rounded(values), -1, 0)
        expected = np.stack([c * k, m * k, y * k], axis=-1) / 255
        assert np.abs(both_agree(tmp_path / "x.tif") - expected).max() <= 1

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_white_may_be_zero(self, tmp_path: Path, dtype: type) -> None:
        values = deep(21, 18)[..., 0]
        values = values if dtype == np.uint16 else rounded(values)
        tifffile.imwrite(tmp_path / "x.tif", values, photometric="miniswhite")
        expected = 255 - (rounded(values) if dtype == np.uint16 else values)
        assert np.array_equal(both_agree(tmp_path / "x.tif"), np.repeat(expected[..., None], 3, axis=2))

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("channels", [1, 3])
    def test_upright(self, tmp_path: Path, orientation: int, channels: int) -> None:
        values = deep(13, 9, channels).squeeze()
        for name, stored in (("deep", values), ("plain", rounded(values))):
            tifffile.imwrite(
                tmp_path / f"{name}.tif",
                stored,
                photometric="rgb" if channels == 3 else "minisblack",
                extratags=[(274, "H", 1, orientation, True)],
            )
        expected = UPRIGHT[orientation](np.broadcast_to(rounded(values).reshape(9, 13, channels), (9, 13, 3)))
        assert np.array_equal(both_agree(tmp_path / "deep.tif"), expected)
        assert np.array_equal(both_agree(tmp_path / "plain.tif"), expected)


class TestUsed:
    """Kinds of files that are used, and as what."""

    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_separate_planes(self, tmp_path: Path, compression: str | None) -> None:
        pixels = photo(21, 18)
        planes = pixels.transpose(2, 0, 1)
        tifffile.imwrite(
            tmp_path / "x.tif", planes, photometric="rgb", planarconfig="separate", compression=compression
        )
        assert np.array_equal(both_agree(tmp_path / "x.tif"), pixels)

    @pytest.mark.parametrize("kind", ["YCbCr", "RGB", "L"])
    @pytest.mark.parametrize("progressive", [False, True])
    def test_jpeg(self, tmp_path: Path, kind: str, progressive: bool) -> None:
        image = Image.fromarray(photo(48, 32))
        options = {"keep_rgb": True} if kind == "RGB" else {}
        stored = image.convert("L") if kind == "L" else image
        path = saved(tmp_path / "x.jpg", stored, quality=98, subsampling=0, progressive=progressive, **options)
        with Image.open(path) as again:
            assert bool(again.info.get("progressive")) == progressive
        assert np.abs(both_agree(path).astype(int) - np.asarray(stored.convert("RGB"))).mean() < 2

    def test_cmyk_jpeg_as_adobe_writes_it(self, tmp_path: Path) -> None:
        """Values are stored inverted there, which Pillow's writer does, too."""
        image = Image.fromarray(photo(48, 32))
        path = saved(tmp_path / "x.jpg", image.convert("CMYK"), quality=98, subsampling=0)
        assert np.abs(both_agree(path).astype(int) - np.asarray(image)).mean() < 3

    def test_palette_with_transparency_gives_the_colours_of_the_palette(
        self, tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        image = Image.fromarray(photo(16, 12)).quantize(16)
        path = saved(tmp_path / "x.png", image, transparency=bytes(range(16)))
        assert np.array_equal(both_agree(path), np.asarray(image.convert("RGB")))
        assert not recwarn.list

    @pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
    def test_colours_under_transparency_are_kept(self, tmp_path: Path, suffix: str) -> None:
        pixels = np.dstack([photo(16, 12), np.arange(16 * 12, dtype=np.uint8).reshape(12, 16) // 3])
        exact = {"lossless": True, "exact": True} if suffix == "webp" else {}
        path = saved(tmp_path / f"x.{suffix}", Image.fromarray(pixels), **exact)
        assert np.array_equal(both_agree(path), pixels[..., :3])

    @pytest.mark.parametrize("name", ["x.png", "x.webp", "x.tif"])
    def test_first_of_many(self, tmp_path: Path, name: str) -> None:
        frames = [Image.fromarray(photo(24, 16, seed=seed)) for seed in range(3)]
        options = {"lossless": True} if name.endswith("webp") else {}
        path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
        with Image.open(path) as again:
            assert getattr(again, "n_frames", 1) == 3
        assert np.array_equal(both_agree(path), np.asarray(frames[0]))

    def test_first_of_a_phones_many(self, tmp_path: Path) -> None:
        frames = [Image.fromarray(photo(24, 16, seed=seed)) for seed in range(2)]
        buffer = io.BytesIO()
        frames[0].save(buffer, "MPO", save_all=True, append_images=frames[1:], quality=98, subsampling=0)
        (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
        assert np.abs(both_agree(tmp_path / "x.jpg").astype(int) - np.asarray(frames[0])).mean() < 3

    @pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
    def test_colour_profiles_change_no_pixel(self, tmp_path: Path, suffix: str) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        image = Image.fromarray(photo(24, 16))
        options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
        plain = both_agree(saved(tmp_path / f"plain.{suffix}", image, **options))
        assert np.array_equal(both_agree(saved(tmp_path / f"x.{suffix}", image, icc_profile=profile, **options)), plain)

    @pytest.mark.parametrize("suffix", ["PNG", "JPG", "Jpeg", "WEBP", "TIFF", "Bmp"])
    def test_upper_case_suffixes(self, tmp_path: Path, suffix: str) -> None:
        path = saved(tmp_path / f"X.{suffix}", Image.fromarray(photo(24, 16)))
        assert find_images(tmp_path) == [path]
        assert both_agree(path).shape == (16, 24, 3)

    def test_content_not_the_name_says_what_a_file_is(self, tmp_path: Path) -> None:
        pixels = photo(24, 16)
        Image.fromarray(pixels).save(tmp_path / "x.jpg", "PNG")
        assert np.array_equal(both_agree(tmp_path / "x.jpg"), pixels)

    def test_orientation_after_the_pixels_is_found_without_decoding_them(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        content, pixels = png(photo(9, 7), 2), photo(9, 7)
        late = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        (tmp_path / "x.png").write_bytes(content[:-12] + late + content[-12:])
        assert np.array_equal(both_agree(tmp_path / "x.png"), pixels.transpose(1, 0, 2)[:, ::-1])
        spoilt = bytearray(content[:-12] + late)
        spoilt[45:60] = bytes(15)
        (tmp_path / "x.png").write_bytes(spoilt)
        assert read_size(tmp_path / "x.png") == (7, 9)
        with pytest.raises(ImageError, match="truncated"):
            read_rgb(tmp_path / "x.png")

    def test_damaged_orientation_of_good_pixels(self, tmp_path: Path) -> None:
        image = Image.fromarray(photo(24, 16))
        path = saved(tmp_path / "x.png", image, exif=b"Exif\0\0MM\0no header of TIFF")
        assert np.array_equal(both_agree(path), np.asarray(image))


def lying_bmp() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo(8, 8)).save(buffer, "BMP")
    content = bytearray(buffer.getvalue())
    content[18:26] = struct.pack("<ii", 60000, 60000)
    return bytes(content)


def lying_webp() -> bytes:
    """An extended header (WebP container, VP8X) that claims 16 million pixels a side, before a small image."""
    buffer = io.BytesIO()
    Image.fromarray(photo(8, 8)).save(buffer, "WEBP", lossless=True)
    extended = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xff\xff\xff" * 2
    content = b"WEBP" + extended + buffer.getvalue()[12:]
    return b"RIFF" + struct.pack("<I", len(content)) + content


def lying_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo(8, 8)).save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 60000, 60000)
    return bytes(content)


def lying_png() -> bytes:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))


def tiff(*tags: tuple[int, int]) -> bytes:
    """Little-endian TIFF of one 8-bit grey strip, with these LONG tags changed or added."""
    base = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64}
    entries = sorted((base | dict(tags)).items())
    folder = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in entries)
    return b"II*\0" + struct.pack("<I", 72) + bytes(64) + folder + bytes(4)


class TestRefused:
    """Kinds of files that are refused, by header, in one line with the file's name and the reason."""

    def refuses(self, path: Path, *says: str) -> None:
        for read in (read_size, read_rgb, lambda file: identify(file.parent, file, 2)):
            with pytest.raises(ImageError) as caught:
                read(path)
            line = str(caught.value)
            assert line.startswith(f"{path}: ")
            assert "\n" not in line
            for word in says:
                assert word in line

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            (np.zeros((8, 8), np.float32), "floating-point"),
            (np.zeros((8, 8), np.float16), "begins like TIFF"),
            (np.zeros((8, 8), np.float64), "begins like TIFF"),
            (np.zeros((8, 8, 3), np.float32), "begins like TIFF"),
            (np.zeros((8, 8), np.int8), "unsigned integers"),
            (np.zeros((8, 8), np.int16), "unsigned integers"),
            (np.zeros((8, 8), np.int32), "unsigned integers"),
            (np.zeros((8, 8), np.uint32), "found 32"),
            (np.zeros((8, 8, 3), np.uint32), "begins like TIFF"),
        ],
        ids=lambda value: f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else None,
    )
    def test_other_numbers(self, tmp_path: Path, values: npt.NDArray[Any], says: str) -> None:
        tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb" if values.ndim == 3 else "minisblack")
        self.refuses(tmp_path / "x.tif", says)

    def test_twelve_bits(self, tmp_path: Path) -> None:
        (tmp_path / "x.tif").write_bytes(tiff((258, 12), (279, 96)))
        self.refuses(tmp_path / "x.tif", "expected 8 or 16 bits a channel, found 12")

    def test_lab(self, tmp_path: Path) -> None:
        saved(tmp_path / "x.tif", Image.new("LAB", (8, 8)))
        self.refuses(tmp_path / "x.tif", "LAB", "save it as RGB")

    @pytest.mark.parametrize("kind", ["GIF", "PPM", "ICO", "EPS", "JPEG2000"])
    def test_other_kinds_under_a_false_name(self, tmp_path: Path, kind: str) -> None:
        Image.fromarray(photo(16, 16)).save(tmp_path / "x.png", kind)
        self.refuses(
            tmp_path / "x.png", "expected PNG, JPEG, WebP, TIFF, BMP, AVIF or JPEG XL, found a file that begins with b'"
        )

    def test_empty_text_and_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty.png").touch()
        (tmp_path / "text.png").write_text("my holidays")
        (tmp_path / "folder.png").mkdir()
        self.refuses(tmp_path / "empty.png", "an empty file")
        self.refuses(tmp_path / "text.png", "b'my holid'")
        self.refuses(tmp_path / "folder.png", "not a file")

    @pytest.mark.parametrize("make", [lying_bmp, lying_webp, lying_jpeg, lying_png])
    def test_headers_that_claim_billions_of_pixels(self, tmp_path: Path, make: Callable[[], bytes]) -> None:
        (tmp_path / "bomb.png").write_bytes(make())
        self.refuses(tmp_path / "bomb.png", f"more than {decode.MAX_PIXELS} pixels")

    @pytest.mark.parametrize(
        ("tags", "says"),
        [
            ([(256, 60000), (257, 60000)], "more than"),
            ([(322, 60000), (323, 60000), (324, 8), (325, 64)], "tiles of 60000×60000"),
        ],
    )
    def test_tiff_bombs(self, tmp_path: Path, tags: list[tuple[int, int]], says: str) -> None:
        (tmp_path / "plain.tif").write_bytes(tiff())
        assert not both_agree(tmp_path / "plain.tif").any()
        (tmp_path / "x.tif").write_bytes(tiff(*tags))
        self.refuses(tmp_path / "x.tif", says)

    def test_a_bomb_that_compresses_well(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its header tells the truth: its size alone is the reason."""
        saved(tmp_path / "x.png", Image.new("RGB", (400, 300)))
        assert (tmp_path / "x.png").stat().st_size < 1000
        both_agree(tmp_path / "x.png")
        monkeypatch.setattr(decode, "MAX_PIXELS", 119_999)
        self.refuses(tmp_path / "x.png", "400×300 are more than 119999 pixels")

    def test_metadata_that_inflates(self, tmp_path: Path) -> None:
        content = png(photo(8, 8), 2)
        bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9))
        (tmp_path / "x.png").write_bytes(content[:33] + bomb + content[33:])
        self.refuses(tmp_path / "x.png", "too large")

    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Root may read anything: the refusal is made here."""
        saved(tmp_path / "x.png", Image.fromarray(photo(8, 8)))

        def refuse(*_given: object, **_named: object) -> None:
            raise PermissionError(13, "Permission denied", "x.png")

        monkeypatch.setattr(Image, "open", refuse)
        with pytest.raises(ImageError, match=r"x\.png: cannot be read \(Permission denied\)"):
            read_rgb(tmp_path / "x.png")

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "deep PNG", "deep TIFF"])
    @pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
    def test_damaged_bytes_never_raise_anything_else(
        self, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        buffer = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        compression = {"compression": "tiff_deflate"} if kind == "TIFF" else {}
        if kind == "deep PNG":
            buffer.write(png(deep(40, 30), 2))
        elif kind == "deep TIFF":
            tifffile.imwrite(buffer, deep(40, 30), photometric="rgb", compression="zlib", rowsperstrip=7)
        else:
            options = {} if kind == "BMP" else {"exif": exif}
            Image.fromarray(photo(40, 30)).save(buffer, kind, **options, **compression)
        good, random = buffer.getvalue(), np.random.default_rng(3)
        refused = 0
        for _ in range(150):
            content = bytearray(good)
            for place in random.integers(0, min(len(good), 400), 3):
                content[place] = random.integers(256)
            (tmp_path / "x.png").write_bytes(content)
            line = ""
            try:
                pixels = read_rgb(tmp_path / "x.png")
                assert read_size(tmp_path / "x.png") == pixels.shape[1::-1]
            except ImageError as error:
                line = str(error)
            refused += bool(line)
            assert not line or line.startswith(f"{tmp_path / 'x.png'}: ")
            assert "\n" not in line
        assert refused > 5
        if kind.startswith("deep"):
            assert capfd.readouterr().err == ""
            for length in (len(good) // 2, len(good) - 30):
                (tmp_path / "x.png").write_bytes(good[:length])
                with pytest.raises(ImageError, match=r"x\.png: unreadable or truncated image"):
                    read_rgb(tmp_path / "x.png")


class TestBuild:
    """`--on-bad-image` from end to end."""

    def hr(self, tmp_path: Path) -> Path:
        """Three good images and five bad ones, of which one shows only while decoding."""
        hr = tmp_path / "hr"
        (hr / "sub").mkdir(parents=True)
        for number, name in enumerate(("a.png", "m.png", "sub/z.png")):
            saved(hr / name, Image.fromarray(photo(61, 50, seed=number)))
        saved(hr / "cut.jpg", Image.fromarray(photo(200, 200)))
        content = (hr / "cut.jpg").read_bytes()
        (hr / "cut.jpg").write_bytes(content[: len(content) // 2])
        (hr / "empty.png").touch()
        (hr / "gone.png").symlink_to("nowhere")
        saved(hr / "small.png", Image.fromarray(photo(20, 50)))
        tifffile.imwrite(hr / "sub/float.tif", np.zeros((60, 60), np.float32))
        return hr

    BAD = ("cut.jpg", "empty.png", "gone.png", "small.png", "sub/float.tif")

    def test_skipped_images_are_named_with_the_reason(self, tmp_path: Path) -> None:
        hr, out = self.hr(tmp_path), tmp_path / "cache"
        found = job.build_cache(*build_job(hr, out, None, on_bad_image="skip"))
        assert found.images.count == 3
        reasons = {each.name: each.reason for each in found.images.skipped}
        assert tuple(reasons) == self.BAD
        says = (
            "truncated",
            "an empty file",
            "a link to nothing",
            "20×50 pixels, but view base needs 24×24",
            "floating",
        )
        for reason, words in zip(reasons.values(), says, strict=True):
            assert words in reason
            assert str(tmp_path) not in reason
        assert summary(found).endswith("; 5 images skipped (`inspect` lists them)")
        opened = Cache(out)
        assert opened.manifest == found
        assert {record["name"]: record["reason"] for record in facts(opened)["images"]["skipped"]} == reasons
        for name, reason in reasons.items():
            assert f"{name}: {reason}" in table(opened)
        assert json.loads((out / "manifest.json").read_text())["images"]["skipped"][1]["name"] == "empty.png"

    def test_what_is_left_is_as_if_the_others_had_never_been(self, tmp_path: Path) -> None:
        hr = self.hr(tmp_path)
        job.build_cache(*build_job(hr, tmp_path / "skip", None, on_bad_image="skip"))
        for name in self.BAD:
            (hr / name).unlink()
        clean = job.build_cache(*build_job(hr, tmp_path / "clean", None))
        skip, fail = files_of(tmp_path / "skip"), files_of(tmp_path / "clean")
        assert skip.pop("manifest.json") != fail.pop("manifest.json")
        assert skip == fail
        assert b"skipped" not in to_json(clean)
        assert Manifest.model_validate_json(to_json(clean)) == clean

    def test_a_stopped_build_goes_on_to_the_same_bytes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hr = self.hr(tmp_path)
        asked = build_job(hr, tmp_path / "whole", None, on_bad_image="skip", base=200)
        job.build_cache(*asked)
        with monkeypatch.context() as patch:
            write = ShardWriter.write

            def stop(self: ShardWriter, *given: Any) -> Any:
                if given[1] == 1:
                    raise KeyboardInterrupt
                return write(self, *given)

            patch.setattr(ShardWriter, "write", stop)
            with pytest.raises(KeyboardInterrupt):
                job.build_cache(*asked.but(out=tmp_path / "stopped"))
        assert not (tmp_path / "stopped/manifest.json").exists()
        job.build_cache(*asked.but(out=tmp_path / "stopped"))
        assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")

    def test_fail_names_the_first_and_the_way_out(self, tmp_path: Path) -> None:
        hr = self.hr(tmp_path)
        (hr / "cut.jpg").unlink()
        for name, says in (("empty.png", "empty"), ("gone.png", "a link"), ("sub/float.tif", "floating")):
            with pytest.raises(ImageError, match=rf"{name}: .*{says}.*`on_bad_image=skip`"):
                job.build_cache(*build_job(hr, tmp_path / "cache", None))
            (hr / name).unlink()
        with pytest.raises(ImageError, match=r"small\.png: 20×50 .*`patch=10` or less.*`on_bad_image=skip`"):
            job.build_cache(*build_job(hr, tmp_path / "cache", None))
        assert not (tmp_path / "cache").exists(), "headers are read before anything is written"

    def test_nothing_left_is_an_error(self, tmp_path: Path) -> None:
        hr = self.hr(tmp_path)
        for path in (hr / "a.png", hr / "m.png", hr / "sub/z.png"):
            path.unlink()
        with pytest.raises(ImageError, match=r"hr: none of 5 images can be used; cut\.jpg: .*truncated"):
            job.build_cache(*build_job(hr, tmp_path / "cache", None, on_bad_image="skip"))

    def test_lr_files_are_judged_with_their_images(self, tmp_path: Path) -> None:
        hr, lr = tmp_path / "hr", tmp_path / "lr"
        lr.mkdir()
        hr.mkdir()
        for number, name in enumerate(("cut", "good", "missing", "one", "small")):
            saved(hr / f"{name}.png", Image.fromarray(photo(60, 48, seed=number)))
            saved(lr / f"{name}x2.png", Image.fromarray(downscale(photo(60, 48, seed=number), 2)))
        saved(hr / "one.bmp", Image.fromarray(photo(60, 48, seed=3)))
        saved(lr / "smallx2.png", Image.fromarray(photo(15, 12)))
        saved(hr / "turned.png", Image.fromarray(photo(60, 48, seed=7)))
        saved(lr / "turnedx2.png", Image.fromarray(downscale(photo(60, 48, seed=7)[::-1, ::-1], 2)))
        (lr / "missingx2.png").unlink()
        (lr / "cutx2.png").write_bytes((lr / "cutx2.png").read_bytes()[:500])
        asked = build_job(hr, tmp_path / "cache", None, lr=lr)
        found = job.build_cache(*asked.but(on_bad_image="skip"))
        reasons = {each.name: each.reason for each in found.images.skipped}
        assert list(reasons) == ["cut.png", "missing.png", "one.bmp", "one.png", "small.png", "turned.png"]
        assert reasons["cut.png"].startswith("cutx2.png: unreadable or truncated image")
        assert reasons["missing.png"] == "missingx2.* or missing.*: no LR image for missing.png"
        assert reasons["one.bmp"] == reasons["one.png"] == "onex2.png: would be the LR image of 2 images"
        assert reasons["small.png"].startswith("smallx2.png: expected 30×24 pixels")
        assert reasons["turned.png"].startswith("turnedx2.png: does not show what turned.png shows: turned by 180°?")
        for name in ("cut", "missing", "small", "turned"):
            (hr / f"{name}.png").unlink()
        with pytest.raises(ImageError, match=r"onex2\.png: would be the LR image of both one\.bmp and one\.png"):
            job.build_cache(*asked.but(out=tmp_path / "other"))

    def test_names_that_are_not_utf_8_can_be_skipped(self, tmp_path: Path) -> None:
        hr = tmp_path / "hr"
        hr.mkdir()
        saved(hr / "good.png", Image.fromarray(photo(60, 48)))
        (hr / "b\udce9.png").write_bytes((hr / "good.png").read_bytes())
        found = job.build_cache(*build_job(hr, tmp_path / "cache", None, on_bad_image="skip"))
        assert [(each.name, each.reason) for each in found.images.skipped] == [
            (r"b\udce9.png", "its name is not UTF-8: rename it")
        ]

    def test_the_command_says_how_many(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hr, out = self.hr(tmp_path), tmp_path / "cache"
        words = ["build", "--hr", hr, "--out", out, "--scale", 2, "--patch", 12, "--base", 2]
        for more, code in (([], 2), (["--on-bad-image", "ignore"], 2), (["--on-bad-image", "skip"], 0)):
            monkeypatch.setattr("sys.argv", ["dukd-cache", *map(str, [*words, *more])])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            assert ended.value.code == code
        assert "; 5 images skipped" in capsys.readouterr().out.splitlines()[-1]
