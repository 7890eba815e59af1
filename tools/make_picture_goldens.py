#!/usr/bin/env python3
"""Makes the goldens of crates/preprocess: small pictures in every mode and format, and what the reference makes of them.

The reference is OpenAI's `clip._transform` (torchvision's Resize, CenterCrop, convert("RGB"), ToTensor, Normalize on
a Pillow image), run with the installed Pillow; its version is written into the manifest.

    pip install pillow==13.0.0 torch torchvision numpy clip-anytorch
    python tools/make_picture_goldens.py            # from the root of the repository

Writes crates/preprocess/tests/data/{pictures/*, crops.bin, manifest.json}. Deterministic, given the versions of the
encoders inside Pillow. Crops up to 64 pixels a side are stored as bytes in crops.bin, larger ones as their SHA-256.
"""

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from clip.clip import _transform
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode, Resize

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "crates/preprocess/tests/data"
PICTURES = DATA / "pictures"
STORED = 64  # largest crop whose bytes are stored

FILTERS = {
    "nearest": InterpolationMode.NEAREST,
    "box": InterpolationMode.BOX,
    "bilinear": InterpolationMode.BILINEAR,
    "hamming": InterpolationMode.HAMMING,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.LANCZOS,
}

cases = []
crops = bytearray()


def rng(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def noise(name, height, width, channels=3, levels=256):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return rng(name).integers(0, levels, shape, dtype=np.uint8)


def waves(name, height, width, channels=3):
    """Smooth, with edges: compresses well and shows every mistake of phase."""
    r = rng(name)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(channels):
        fx, fy, p = r.uniform(0.02, 0.4, 2).tolist() + [r.uniform(0, 6)]
        plane = 127.5 + 110 * np.sin(fx * x + fy * y + p)
        planes.append(np.where((x // 7 + y // 5) % 4 == 0, 255 - plane, plane))
    a = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    return a if channels > 1 else a[..., 0]


def put(name, data):
    (PICTURES / name).write_bytes(data)
    return name


def saved(image, name, **options):
    b = io.BytesIO()
    image.save(b, **({"format": name.rsplit(".", 1)[1].replace("jpg", "jpeg").replace("tif", "tiff")} | options))
    return put(name, b.getvalue())


def case(name, size=16, exif=False, resize="shortest", filter="bicubic", crop="round", tensor=False, declared=False, fast=False):
    """Runs the reference on a picture and appends a case."""
    image = Image.open(PICTURES / name)
    if fast:
        # Does nothing to what is no JPEG.
        image.draft(None, (2 * size, 2 * size))
    image.load()
    if exif:
        image = ImageOps.exif_transpose(image)
    mode, sides = image.mode.replace("I;16B", "I;16"), image.size  # byte order is no business of the picture's
    openai = _transform(size)
    if (resize, filter, crop) == ("shortest", "bicubic", "round"):
        out = image
        for step in openai.transforms[:3]:
            out = step(out)
    else:
        out = Resize(size if resize == "shortest" else (size, size), FILTERS[filter])(image)
        half = (lambda n: n // 2) if crop == "floor" else (lambda n: int(round(n / 2.0)))
        left, top = half(out.size[0] - size), half(out.size[1] - size)
        out = out.crop((left, top, left + size, top + size)).convert("RGB")
    pixels = np.asarray(out)
    assert pixels.shape == (size, size, 3), pixels.shape
    entry = {"file": name, "mode": mode, "width": sides[0], "height": sides[1], "size": size}
    if exif:
        entry["exif"] = True
    if resize != "shortest":
        entry["resize"] = resize
    if filter != "bicubic":
        entry["filter"] = filter
    if crop != "round":
        entry["crop_rule"] = crop
    if fast:
        entry["fast"] = True
    if declared:
        entry["declared_different"] = True
    entry["sha256"] = hashlib.sha256(pixels.tobytes()).hexdigest()
    if size <= STORED:
        entry["offset"] = len(crops)
        crops.extend(pixels.tobytes())
    if tensor:
        values = openai(image).numpy()
        entry["tensor_sha256"] = hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()
        entry["first_values"] = [f"{v:08x}" for v in values.reshape(-1)[:4].view(np.uint32)]
    cases.append(entry)


# ------------------------------------------------------------------------------------------------ PNG


def png(samples, depth, colour, palette=None, trns=None, interlace=False, extra=(), late=()):
    """A PNG from samples [height, width(, channels)], of any depth, colour type and interlacing."""
    samples = np.asarray(samples)
    height, width = samples.shape[:2]
    a = samples.reshape(height, width, -1)

    def packed(part):
        rows = []
        for row in part:
            if depth == 16:
                data = row.astype(">u2").tobytes()
            elif depth == 8:
                data = row.astype(np.uint8).tobytes()
            else:
                bits = np.unpackbits(row.astype(np.uint8)[..., None], axis=-1)[..., -depth:]
                data = np.packbits(bits.reshape(-1)).tobytes()
            rows.append(b"\0" + data)
        return b"".join(rows)

    if interlace:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        raw = b""
        for x, y, dx, dy in passes:
            part = a[y::dy, x::dx]
            if part.size:
                raw += packed(part)
    else:
        raw = packed(a)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    out = b"\x89PNG\r\n\x1a\n"
    out += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlace)))
    if palette is not None:
        out += chunk(b"PLTE", bytes(palette))
    if trns is not None:
        out += chunk(b"tRNS", bytes(trns))
    for kind, data in extra:
        out += chunk(kind, data)
    out += chunk(b"IDAT", zlib.compress(raw, 9))
    for kind, data in late:
        out += chunk(kind, data)
    return out + chunk(b"IEND", b"")


def exif_block(orientation, order="<"):
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def png_sizes():
    sizes = [(1, 1), (2, 1), (1, 2), (3, 2), (5, 7), (7, 5), (13, 31), (15, 16), (16, 15), (16, 16), (17, 16), (16, 17),
             (16, 40), (23, 16), (33, 32), (47, 61), (64, 64), (64, 48), (100, 1), (1, 100), (97, 3), (3, 97)]  # fmt: skip
    for width, height in sizes:
        name = put(f"rgb-{width}x{height}.png", png(noise(f"{width}x{height}", height, width), 8, 2))
        case(name, tensor=(width, height) in [(1, 1), (47, 61)])
    # Every remainder of the crop modulo 4, on both axes, at a size where each has a picture of its own.
    seen = set()
    for long in range(24, 40):
        remainder = int(16 * long / 23) - 16
        if remainder % 4 in seen:
            continue
        seen.add(remainder % 4)
        for width, height in [(long, 23), (23, long)]:
            name = put(f"remainder-{remainder % 4}-{width}x{height}.png", png(noise(f"r{width}x{height}", height, width), 8, 2))
            case(name)
            case(name, crop="floor")
    assert seen == {0, 1, 2, 3}, seen
    # The issue's own sizes, at a model's size.
    for width, height, make in [(223, 225, waves), (225, 223, waves), (224, 224, waves), (226, 224, waves), (3000, 17, waves),
                                (17, 3000, waves), (320, 243, waves), (60, 45, noise)]:  # fmt: skip
        levels = 16 if width * height > 5000 else 1  # smaller files
        name = put(f"rgb-{width}x{height}.png", png(make(f"{width}x{height}", height, width) // levels * levels, 8, 2))
        case(name, size=224, tensor=(width, height) in [(223, 225), (224, 224)])
        case(name, size=29)
    # Pillow 13 runs the vertical pass first where the height loses more than twice what the width does: both sides of that.
    for width, height in [(50, 99), (50, 100), (50, 101), (50, 150), (31, 400), (89, 239)]:
        case(put(f"tall-{width}x{height}.png", png(noise(f"tall{width}x{height}", height, width), 8, 2)))
        case(f"tall-{width}x{height}.png", resize="squash")
    for name, kind, depth, channels in [("l", 0, 8, 1), ("la", 4, 8, 2), ("rgba", 6, 8, 4), ("i16", 0, 16, 1)]:
        pixels = noise(f"tall-{name}", 120, 40, channels, 256).astype(int)
        case(put(f"tall-{name}.png", png(pixels if depth == 8 else pixels * 2, depth, kind)))
    # White and black of 16 bits beside each other: the filter overshoots both ends, between the passes too.
    extremes = np.where(noise("extremes", 12, 14, 1) % 2, 65535 - noise("white", 12, 14, 1).astype(int), noise("black", 12, 14, 1))
    case(put("grey16-overshoot.png", png(extremes, 16, 0)), size=38)
    for width, height in [(30, 60), (30, 61), (14, 62), (100, 62)]:  # one side enlarged
        name = put(f"tall-mixed-{width}x{height}.png", png(noise(f"mixed{width}x{height}", height, width), 8, 2))
        case(name, size=40, resize="squash")
    for side in (1, 2):
        case(f"rgb-{side}x1.png", size=224)
    case("rgb-47x61.png", size=336)
    # A side of 60,000: the reference makes all 4 x 240,000 pixels of it.
    name = put("rgb-1x60000.png", png(waves("1x60000", 60000, 1) // 32 * 32, 8, 2))
    case(name, size=4)
    case(name, size=16, resize="squash")
    name = put("p-60000x1.png", png(np.arange(60000).reshape(1, -1) // 31 % 16, 4, 3, palette=noise("p60000", 16, 1).tobytes()))
    case(name, size=3)


def png_modes():
    h, w = 37, 53
    pal = noise("palette", 256, 1).tobytes()
    grey8, grey16 = waves("g8", h, w, 1), rng("g16").integers(0, 65536, (h, w))
    dark16 = rng("d16").integers(0, 300, (h, w))
    edge16 = np.where(rng("e16").random((h, w)) < 0.5, 0, 65535)
    rgba = np.concatenate([waves("rgba", h, w), noise("alpha", h, w, 1)[..., None]], -1)
    holes = rgba.copy()
    holes[5:20, 10:30, 3] = 0
    holes[22:30, 5:25, 3] = 255
    la = holes[..., [0, 3]]
    wide = rng("w16").integers(0, 65536, (h, w, 4))
    index = {b: noise(f"p{b}", h, w, 1, 1 << b) for b in (1, 2, 4, 8)}
    made = {
        "grey1": png(index[1], 1, 0),
        "grey2": png(index[2], 2, 0),
        "grey4": png(index[4], 4, 0),
        "grey8": png(grey8, 8, 0),
        "grey16": png(grey16, 16, 0),
        "grey16-dark": png(dark16, 16, 0),
        "grey16-extremes": png(edge16, 16, 0),
        "la8": png(la, 8, 4),
        "la16": png(wide[..., :2], 16, 4),
        "rgb16": png(wide[..., :3], 16, 2),
        "rgba8": png(rgba, 8, 6),
        "rgba8-holes": png(holes, 8, 6),
        "rgba16": png(wide, 16, 6),
        "p1": png(index[1], 1, 3, palette=pal[:6]),
        "p2": png(index[2], 2, 3, palette=pal[:12]),
        "p4": png(index[4], 4, 3, palette=pal[:48]),
        "p8": png(index[8], 8, 3, palette=pal),
        "p8-short-palette": png(index[4], 8, 3, palette=pal[:30]),
        "p8-alphas": png(index[8], 8, 3, palette=pal, trns=noise("trns", 200, 1, 1).tobytes()),
        "p8-transparent": png(index[8], 8, 3, palette=pal, trns=b"\xff\xff\0"),
        "grey8-key": png(grey8, 8, 0, trns=b"\0\x80"),
        "rgb8-key": png(rgba[..., :3], 8, 2, trns=b"\0\x80\0\x01\0\x02"),
        "rgb8-palette": png(rgba[..., :3], 8, 2, palette=pal[:48]),
        "grey1-interlaced": png(index[1], 1, 0, interlace=True),
        "p4-interlaced": png(index[4], 4, 3, palette=pal[:48], interlace=True),
        "rgb8-interlaced": png(rgba[..., :3], 8, 2, interlace=True),
        "rgba16-interlaced": png(wide, 16, 6, interlace=True),
    }
    for name, data in made.items():
        put(f"{name}.png", data)
        case(f"{name}.png")
    for name in ["grey1", "grey4", "grey16", "la8", "rgba8-holes", "p4", "p8-alphas"]:
        case(f"{name}.png", size=56)  # enlarged
        case(f"{name}.png", size=37)  # as high as the crop: no vertical pass
        case(f"{name}.png", size=20, resize="squash")
    for name in ["rgba8-holes", "la8", "grey16", "p4", "grey1", "rgb8-key"]:
        for filter in FILTERS:
            case(f"{name}.png", size=18, filter=filter, resize="squash" if filter in ("box", "lanczos") else "shortest")
    # A picture that needs no resize keeps the colour under its holes.
    put("rgba8-fits.png", png(holes[:16, :20], 8, 6))
    case("rgba8-fits.png")


def png_metadata():
    a = waves("turn", 19, 27)
    zlib_text = b"Raw profile type exif\0"
    hexed = exif_block(6).hex()
    profile = f"\nexif\n{len(hexed) // 2:8}\n{hexed}\n".encode()
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    made = {
        "exif-6": png(a, 8, 2, extra=[(b"eXIf", exif_block(6))]),
        "exif-5-big-endian-late": png(a, 8, 2, late=[(b"eXIf", exif_block(5, ">"))]),
        "exif-text": png(a, 8, 2, extra=[(b"tEXt", zlib_text + profile)]),
        "exif-ztext": png(a, 8, 2, extra=[(b"zTXt", zlib_text + b"\0" + zlib.compress(profile))]),
        "xmp-8": png(a, 8, 2, extra=[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)]),
        "exif-3-palette": png(noise("turnp", 19, 27, 1, 16), 4, 3, palette=noise("pal3", 16, 1).tobytes(), extra=[(b"eXIf", exif_block(3))]),
        "exif-7-grey16": png(rng("t16").integers(0, 400, (19, 27)), 16, 0, extra=[(b"eXIf", exif_block(7))]),
    }  # fmt: skip
    for name, data in made.items():
        put(f"{name}.png", data)
        case(f"{name}.png", exif=True)
        case(f"{name}.png")
    frames = [Image.fromarray(noise(f"apng{i}", 20, 24)) for i in range(2)]
    saved(frames[0], "animated.png", save_all=True, append_images=frames[1:])
    case("animated.png")


# ------------------------------------------------------------------------------------------------ the other formats


def gifs():
    h, w = 31, 45
    p = Image.fromarray(noise("gif", h, w, 1, 32))
    p.putpalette(noise("gifpal", 32, 1).tobytes())
    saved(p, "p.gif")
    saved(p, "p-straight.gif", interlace=False)
    saved(p, "p-transparent.gif", transparency=5)
    saved(Image.fromarray(waves("gifl", h, w, 1)), "grey.gif")
    second = p.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    saved(p, "animated.gif", save_all=True, append_images=[second], duration=50)
    data = bytearray((PICTURES / "p-transparent.gif").read_bytes())
    at = data.index(b"\x2c\0\0\0\0" + struct.pack("<HH", w, h))
    struct.pack_into("<HH", data, 6, w + 20, h + 9)  # a screen larger than the frame
    struct.pack_into("<HH", data, at + 1, 11, 4)
    put("offset-transparent.gif", data)
    opaque = bytearray((PICTURES / "p.gif").read_bytes())
    at = opaque.index(b"\x2c\0\0\0\0" + struct.pack("<HH", w, h))
    struct.pack_into("<HH", opaque, 6, w + 20, h + 9)
    struct.pack_into("<HH", opaque, at + 1, 3, 2)
    put("offset.gif", opaque)
    struct.pack_into("<HH", opaque, 6, 10, 12)  # a frame that leaves the screen
    put("overflow.gif", opaque)
    plain = (PICTURES / "p.gif").read_bytes()
    frame = 13 + (6 << (plain[10] & 7))
    assert plain[10] & 0x80 and plain[frame : frame + 1] == b"\x2c" and plain[frame + 9] & 0x80 == 0
    put("no-palette.gif", plain[:10] + bytes([plain[10] & 0x7F]) + plain[11:13] + plain[frame:])
    ramp = bytes(i for i in range(32) for _ in range(3))
    put("ramp-over-palette.gif", plain[: frame + 9] + bytes([plain[frame + 9] | 0x84]) + ramp + plain[frame + 10 :])
    put("ramp-under-palette.gif", plain[:13] + ramp + plain[frame : frame + 9] + bytes([plain[frame + 9] | 0x84]) + plain[13:frame] + plain[frame + 10 :])
    # One colour, interlaced, in as few codes as there can be: 1 to 26 pixels each, 357 in all.
    codes = [4, 0, *range(6, 31), 10, 5]
    widths = [3] * 4 + [4] * 8 + [5] * 16 + [6]
    bits = sum(code << sum(widths[:i]) for i, code in enumerate(codes))
    data = bits.to_bytes(-(-sum(widths) // 8), "little")
    one = b"GIF87a" + struct.pack("<HHBBB", 21, 17, 0x80, 0, 0) + bytes([100, 136, 21, 0, 0, 0])
    put("one-colour.gif", one + b"\x2c" + struct.pack("<HHHHB", 0, 0, 21, 17, 0x40) + bytes([2, len(data)]) + data + b"\0;")
    names = ["p", "p-straight", "p-transparent", "grey", "animated", "offset-transparent", "offset", "overflow"]
    for name in [*names, "no-palette", "ramp-under-palette", "one-colour"]:
        case(f"{name}.gif")
    case("ramp-over-palette.gif", exif=True)  # without exif_transpose the reference fails


def bmp(rows, width, height, bits, compression=0, palette=b"", masks=(), core=False, colours=0, header=40):
    """A bitmap from packed rows; `height` negative is top down."""
    if core:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(rows), 2835, 2835, colours, 0)
        mask_bytes = b"".join(struct.pack("<I", m) for m in masks)
        head += mask_bytes.ljust(header - 40, b"\0") if header > 40 else mask_bytes
    offset = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + head + palette + rows


def padded(array):
    """Rows of bytes, padded to 4."""
    rows = [row.tobytes() for row in array]
    return b"".join(r + b"\0" * (-len(r) % 4) for r in rows)


def bmps():
    h, w = 29, 41
    rgb = waves("bmp", h, w)
    quad = np.concatenate([rgb[..., ::-1], noise("bmpa", h, w, 1)[..., None]], -1)
    four = noise("bmp4", h, w, 1, 16)
    packed4 = np.packbits(np.unpackbits(four[..., None], axis=-1)[..., -4:].reshape(h, -1), axis=1)
    packed1 = np.packbits(noise("bmp1", h, w, 1, 2), axis=1)
    words = rng("bmp16").integers(0, 65536, (h, w)).astype("<u2")
    pal4 = np.concatenate([noise("bp4", 16, 1).reshape(16, 3), np.zeros((16, 1), np.uint8)], 1)
    pal8 = np.concatenate([noise("bp8", 256, 1).reshape(256, 3), np.zeros((256, 1), np.uint8)], 1).tobytes()
    made = {
        "rgb": bmp(padded(rgb[::-1, :, ::-1].copy()), w, h, 24),
        "rgb-top-down": bmp(padded(rgb[:, :, ::-1].copy()), w, -h, 24),
        "rgbx": bmp(quad.tobytes(), w, h, 32),
        "rgba-masks": bmp(quad.tobytes(), w, h, 32, 3, masks=(0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=108),
        "xbgr-masks": bmp(quad.tobytes(), w, h, 32, 3, masks=(0xFF000000, 0xFF0000, 0xFF00)),
        "555": bmp(padded(words), w, h, 16),
        "565": bmp(padded(words), w, h, 16, 3, masks=(0xF800, 0x7E0, 0x1F)),
        "p8": bmp(padded(noise("bmp8", h, w, 1)), w, h, 8, palette=pal8),
        "p4": bmp(padded(packed4), w, h, 4, palette=pal4.tobytes(), colours=16),
        "p4-core": bmp(padded(packed4), w, h, 4, palette=pal4[:, :3].tobytes(), core=True),
        "p1": bmp(padded(packed1), w, h, 1, palette=b"\x10\x20\x30\0\xf0\x80\x10\0"),
        "1": bmp(padded(packed1), w, h, 1, palette=b"\0\0\0\0\xff\xff\xff\0"),
        "grey8": bmp(padded(waves("bg", h, w, 1)), w, h, 8, palette=b"".join(bytes([i, i, i, 0]) for i in range(256))),
    }
    # Runs, literals (odd: padded), an early end of line, a delta, end of picture.
    rle8 = b""
    for y in range(h):
        if y == 7:
            rle8 += bytes([0, 2, 5, 0])
        rle8 += bytes([9, y, 0, 5, 1, 2, 3, y, 5, 0, 3 + y, 200 - y])
        rle8 += bytes([0, 0])
    made["rle8"] = bmp(rle8 + b"\0\1", w, h, 8, 1, palette=pal8)
    rle4 = b"".join(bytes([20, 0x10 | y % 16, 0, 6, 0x12, 0x34, 0x56, 0, 15, 0xA0 | y % 16, 0, 0]) for y in range(h))
    made["rle4"] = bmp(rle4 + b"\0\1", w, h, 4, 2, palette=pal4.tobytes(), colours=16)
    for name, data in made.items():
        put(f"{name}.bmp", data)
        case(f"{name}.bmp")


def tiff(data, width, height, bits, photometric, order="<", extra=(), colours=None, more=(), planes=1):
    """An uncompressed TIFF of one strip, or one for each plane."""
    strip = len(data) // planes
    kinds = {"<": b"II*\0", ">": b"MM\0*"}
    entries = [(256, 4, [width]), (257, 4, [height]), (258, 3, bits), (259, 3, [1]), (262, 3, [photometric]),
               (273, 4, [8 + i * strip for i in range(planes)]), (277, 3, [len(bits)]), (278, 4, [height]),
               (279, 4, [strip] * planes), (284, 3, [1 if planes == 1 else 2])]  # fmt: skip
    if extra:
        entries.append((338, 3, list(extra)))
    if colours is not None:
        entries.append((320, 3, colours))
    entries = sorted(entries + list(more))
    start = 8 + len(data) + len(data) % 2
    tail = start + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(order + "H", len(entries)), b""
    for tag, kind, numbers in entries:
        packed = b"".join(struct.pack(order + {3: "H", 4: "I"}[kind], n) for n in numbers)
        directory += struct.pack(order + "HHI", tag, kind, len(numbers))
        if len(packed) <= 4:
            directory += packed.ljust(4, b"\0")
        else:
            directory += struct.pack(order + "I", tail + len(values))
            values += packed + b"\0" * (len(packed) % 2)
    return kinds[order] + struct.pack(order + "I", start) + data + b"\0" * (len(data) % 2) + directory + b"\0\0\0\0" + values


def tiffs():
    h, w = 27, 39
    rgb, alpha = waves("tiff", h, w), noise("tiffa", h, w, 1)
    alpha[3:9, 4:20] = 0
    rgba = np.concatenate([rgb, alpha[..., None]], -1)
    premultiplied = np.concatenate([(rgb.astype(int) * alpha[..., None] // 255).astype(np.uint8), alpha[..., None]], -1)
    p = Image.fromarray(noise("tiffp", h, w, 1, 64))
    p.putpalette(noise("tiffpal", 64, 1).tobytes())
    words = rng("tiff16").integers(0, 65536, (h, w, 3))
    four = np.packbits(np.unpackbits(noise("tiff4", h, w, 1, 16)[..., None], axis=-1)[..., -4:].reshape(h, -1), axis=1).tobytes()
    one = np.packbits(noise("tiff1", h, w, 1, 2), axis=1).tobytes()
    saved(Image.fromarray(rgb), "rgb.tif")
    saved(Image.fromarray(rgb), "rgb-lzw.tif", compression="tiff_lzw")
    saved(Image.fromarray(rgb), "rgb-lzw-predictor.tif", compression="tiff_lzw", tiffinfo={317: 2})
    saved(Image.fromarray(rgb), "rgb-deflate.tif", compression="tiff_adobe_deflate")
    saved(Image.fromarray(rgb), "rgb-packbits.tif", compression="packbits")
    saved(Image.fromarray(rgba), "rgba.tif")
    saved(Image.fromarray(rgba[..., [0, 3]].copy(), "LA"), "la.tif")
    saved(Image.fromarray(rgb[..., 0].copy()), "grey.tif")
    saved(Image.fromarray(rgb[..., 0] > 120), "1-group4.tif", compression="group4")
    saved(Image.fromarray(rgb[..., 0] > 120), "1.tif")
    saved(Image.fromarray(words[..., 0].astype(np.uint16)), "grey16.tif")
    saved(Image.fromarray(rgba, "CMYK"), "cmyk.tif")
    saved(p, "p.tif")
    made = {
        "rgb16": tiff(words.astype("<u2").tobytes(), w, h, [16] * 3, 2),
        "rgb16-big-endian": tiff(words.astype(">u2").tobytes(), w, h, [16] * 3, 2, order=">"),
        "grey16-big-endian": tiff((words[..., 0] % 400).astype(">u2").tobytes(), w, h, [16], 1, order=">"),
        "grey16-little-endian": tiff((words[..., 0] % 400).astype("<u2").tobytes(), w, h, [16], 1),
        "grey16-white-is-zero": tiff((words[..., 0] % 400).astype("<u2").tobytes(), w, h, [16], 0),
        "rgba-associated": tiff(premultiplied.tobytes(), w, h, [8] * 4, 2, extra=[1]),
        "rgbx": tiff(rgba.tobytes(), w, h, [8] * 4, 2, extra=[0]),
        "white-is-zero": tiff(rgb[..., 0].tobytes(), w, h, [8], 0),
        "white-is-zero-4": tiff(four, w, h, [4], 0),
        "grey4": tiff(four, w, h, [4], 1),
        "p4": tiff(four, w, h, [4], 3, colours=rng("cmap").integers(0, 65536, 48).tolist()),
        "white-is-zero-1": tiff(one, w, h, [1], 0),
        "exif-6": tiff(rgb.tobytes(), w, h, [8] * 3, 2, more=[(274, 3, [6])]),
    }
    for name, data in made.items():
        put(f"{name}.tif", data)
    # Declared unread: the test asks for the error.
    put("planes.tif", tiff(rgb.transpose(2, 0, 1).tobytes(), w, h, [8] * 3, 2, planes=3))
    assert np.array_equal(np.asarray(Image.open(PICTURES / "planes.tif")), rgb)
    names = ["rgb", "rgb-lzw", "rgb-lzw-predictor", "rgb-deflate", "rgb-packbits", "rgba", "la", "grey", "1-group4", "1",
             "grey16", "cmyk", "p", *made]  # fmt: skip
    for name in names:
        # Pillow 13.0.0 resizes big-endian samples with their bytes swapped; we do not (docs/preprocessing.md).
        case(f"{name}.tif", declared=name == "grey16-big-endian")
    case("exif-6.tif", exif=True)


def webps():
    h, w = 33, 47
    rgb = waves("webp", h, w)
    alpha = noise("webpa", h, w, 1, 4) * 85
    rgba = Image.fromarray(np.concatenate([rgb, alpha[..., None]], -1))
    saved(Image.fromarray(rgb), "lossless.webp", lossless=True)
    saved(rgba, "lossless-alpha.webp", lossless=True, exact=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    saved(Image.fromarray(rgb), "exif-6.webp", lossless=True, exif=exif)
    frames = [rgba, rgba.transpose(Image.Transpose.ROTATE_180)]
    saved(frames[0], "animated-alpha.webp", save_all=True, append_images=frames[1:], lossless=True, exact=True)
    saved(Image.fromarray(rgb), "lossy.webp", quality=80)
    saved(rgba, "lossy-alpha.webp", quality=80)
    smooth = Image.fromarray(rgb).resize((301, 203), Image.Resampling.BICUBIC)
    saved(smooth, "lossy-301x203.webp", quality=90)

    def chunk(kind, data):
        return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    def three(number):
        return struct.pack("<I", number)[:3]

    # A first frame that covers a part of the canvas and asks to be blended with it.
    still = io.BytesIO()
    rgba.save(still, "webp", lossless=True, exact=True)
    bits = still.getvalue()
    assert bits[12:16] == b"VP8L"
    frame = three(8 // 2) + three(4 // 2) + three(w - 1) + three(h - 1) + three(40) + b"\0" + bits[12:]
    body = chunk(b"VP8X", b"\x12\0\0\0" + three(w + 20 - 1) + three(h + 9 - 1)) + chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", frame) * 2
    put("blended-part.webp", chunk(b"RIFF", b"WEBP" + body))
    for name in ["lossless", "lossless-alpha", "animated-alpha", "blended-part", "exif-6"]:
        case(f"{name}.webp")
    case("exif-6.webp", exif=True)
    for name in ["lossy", "lossy-alpha"]:
        case(f"{name}.webp", size=33)
    case("lossy-301x203.webp", size=64)


def jpegs():
    h, w = 151, 203
    smooth = Image.fromarray(waves("jpeg", h // 3, w // 3)).resize((w, h), Image.Resampling.BICUBIC)
    photo = ImageOps.autocontrast(smooth)
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        name = f"rgb-{sampling.replace(':', '')}.jpg"
        saved(photo, name, quality=90, subsampling=sampling)
        case(name, size=64)
    saved(photo, "progressive.jpg", quality=75, progressive=True)
    saved(photo, "restarts.jpg", quality=80, restart_marker_blocks=3)
    saved(photo, "rgb-kept.jpg", quality=90, keep_rgb=True)
    saved(photo.convert("L"), "grey.jpg", quality=85)
    cmyk = Image.fromarray(np.concatenate([np.asarray(photo), waves("k", h, w, 1)[..., None]], -1), "CMYK")
    saved(cmyk, "cmyk.jpg", quality=90)
    data = bytearray((PICTURES / "cmyk.jpg").read_bytes())
    at = data.index(b"\xff\xee\0\x0eAdobe")
    assert data[at + 15] == 0
    data[at + 15] = 2  # the same coefficients, read as YCCK
    put("ycck.jpg", data)
    for name in ["progressive", "restarts", "rgb-kept", "grey", "cmyk", "ycck"]:
        case(f"{name}.jpg", size=64)
    # Half the rows: a 4:2:2 file with its sides and sampling factors swapped has as many blocks.
    data = bytearray((PICTURES / "rgb-422.jpg").read_bytes())
    at = data.index(b"\xff\xc0\0\x11\x08")
    assert data[at + 11] == 0x21
    data[at + 5 : at + 9] = data[at + 7 : at + 9] + data[at + 5 : at + 7]
    data[at + 11] = 0x12
    put("rgb-440.jpg", data)
    case("rgb-440.jpg", size=64)
    for side in [(1, 1), (2, 2), (3, 5), (5, 3), (17, 9)]:
        name = saved(photo.crop((40, 40, 40 + side[0], 40 + side[1])), f"rgb-{side[0]}x{side[1]}.jpg", quality=95)
        case(name)
    saved(Image.fromarray(noise("coarse", 40, 56)), "coarse.jpg", quality=4, progressive=True, optimize=True)
    case("coarse.jpg", size=40)
    small = photo.crop((20, 30, 85, 71))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = saved(small, f"exif-{orientation}.jpg", quality=92, exif=exif)
        case(name, size=32, exif=True)
    case("exif-6.jpg", size=32)
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x><rdf:Description tiff:Orientation="3"/></x>'
    data = (PICTURES / "exif-1.jpg").read_bytes()
    plain = io.BytesIO()
    small.save(plain, "jpeg", quality=92)
    data = plain.getvalue()
    put("xmp-3.jpg", data[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + data[2:])
    case("xmp-3.jpg", size=32, exif=True)
    late = b"Exif\0\0" + exif_block(6)
    data = plain.getvalue()
    put("exif-late.jpg", data[:-2] + b"\xff\xe1" + struct.pack(">H", len(late) + 2) + late + data[-2:])
    case("exif-late.jpg", size=32, exif=True)
    # At a half, a quarter and an eighth of the sides, and as they are.
    for name in ["rgb-444", "rgb-422", "rgb-440", "rgb-420", "rgb-411", "progressive", "restarts", "rgb-kept", "grey", "cmyk", "ycck"]:
        for size in (30, 16, 9):
            case(f"{name}.jpg", size=size, fast=True)
    case("rgb-420.jpg", size=40, fast=True, tensor=True)
    case("rgb-420.jpg", size=16, fast=True, resize="squash", filter="lanczos", crop="floor")
    case("coarse.jpg", size=5, fast=True)
    for orientation in (1, 3, 6, 8):
        for size in (10, 5, 2):
            case(f"exif-{orientation}.jpg", size=size, fast=True, exif=True)
    case("exif-6.jpg", size=10, fast=True)
    for side, size in [("1x1", 1), ("2x2", 1), ("3x5", 1), ("5x3", 1), ("17x9", 2), ("17x9", 1)]:
        case(f"rgb-{side}.jpg", size=size, fast=True)
    case("rgb-47x61.png", size=8, fast=True)
    # Declared different: the last scan, which gives the luma its last bits, is left out; the reference smooths blocks then.
    data = (PICTURES / "progressive.jpg").read_bytes()
    put("progressive-unfinished.jpg", data[: data.rindex(b"\xff\xc4")] + b"\xff\xd9")
    case("progressive-unfinished.jpg", size=64, declared=True)


def main():
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.iterdir():
        old.unlink()
    png_sizes()
    png_modes()
    png_metadata()
    gifs()
    bmps()
    tiffs()
    webps()
    jpegs()
    (DATA / "crops.bin").write_bytes(crops)
    manifest = {
        "made_by": "tools/make_picture_goldens.py",
        "pillow": PIL.__version__,
        "torchvision": torchvision.__version__.split("+")[0],
        "torch": torch.__version__.split("+")[0],
        "cases": cases,
    }
    lines = ",\n".join(json.dumps(c) for c in manifest.pop("cases"))
    head = json.dumps(manifest, indent=1)[:-2]
    (DATA / "manifest.json").write_text(f'{head},\n "cases": [\n{lines}\n]}}\n')
    used = {c["file"] for c in cases} | {"planes.tif"}
    unused = [p.name for p in PICTURES.iterdir() if p.name not in used]
    assert not unused, unused
    total = sum(p.stat().st_size for p in DATA.rglob("*") if p.is_file())
    pngs = len({c["file"] for c in cases if c["file"].endswith(".png")})
    print(f"{len(cases)} cases, {len(used)} pictures ({pngs} PNG), {total} bytes, Pillow {PIL.__version__}")


if __name__ == "__main__":
    main()
