"""Makes JPEG files as cameras do: 12 megapixels of noise in octaves whose amplitudes fall as a photo's, with the demo's pictures large on it.

    pip install pillow==13.0.0 numpy
    python tools/make_photos.py --output target/photos              # 12 files; the first is what is timed

Most have half the chroma both ways and quality 88, one has all of it, one half the columns, one is progressive; every fourth is upright. Their
sizes, 1.4 to 1.8 MB, are those of photos without much texture: those of others cost more Huffman codes. Deterministic, given the encoder inside Pillow.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
LONG, SHORT = 4032, 3024


def photo(number, pictures):
    """One of them, as pixels."""
    random = np.random.default_rng(number)
    width, height = (SHORT, LONG) if number % 4 == 3 else (LONG, SHORT)
    enlarged = lambda plane: np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
    pixels = np.full((height, width, 3), random.uniform(90, 160, 3), np.float32)
    amplitude, fall = random.uniform(30, 60), random.uniform(0.55, 0.68)
    size = 4
    while size <= LONG:
        shape = (max(2, size * height // LONG), max(2, size * width // LONG))
        pixels += amplitude * enlarged(random.standard_normal(shape, np.float32))[..., None]
        for channel in range(3):
            pixels[..., channel] += 0.35 * amplitude * enlarged(random.standard_normal(shape, np.float32))
        size, amplitude = 2 * size, amplitude * fall
    for _ in range(3):
        picture = Image.open(pictures[random.integers(len(pictures))]).convert("RGBA")
        side = int(random.integers(SHORT // 5, SHORT // 2))
        picture = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        left, top = (int(random.integers(length - side)) for length in (width, height))
        part = pixels[top : top + side, left : left + side]
        part += (picture[..., :3] - part) * (picture[..., 3:] / 255 * 0.85)
    # What a sensor adds, in the luma.
    pixels += random.uniform(2, 3.5) * random.standard_normal((height, width, 1), np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for the files")
    parser.add_argument("--count", type=int, default=12, help="[default: 12]")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    pictures = sorted((ROOT / "models/demo/pictures").glob("*.png"))
    more = {4: {"subsampling": "4:4:4"}, 5: {"subsampling": "4:2:2"}, 6: {"progressive": True}}
    for number in range(options.count):
        path = options.output / f"{number:02}.jpg"
        photo(number, pictures).save(path, "jpeg", quality=88, **more.get(number, {}))
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
