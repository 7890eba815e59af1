"""Emoji as data: npm packages, names, and drawings rendered with resvg. Shared by eval_set.py and train_demo.py.

pip install resvg-py pillow numpy; `npm` must be on the PATH (only `npm pack` is used: nothing is installed or run).
"""

import io
import json
import pathlib
import subprocess
import tarfile

import numpy as np
from PIL import Image

SIZE = 128


def unpack(package, version, cache):
    """The folder of an npm package, fetched once into `cache`."""
    folder = cache / f"{package.replace('@', '').replace('/', '-')}-{version}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "pack", f"{package}@{version}", "--silent", "--pack-destination", str(cache.resolve())],
                              check=True, capture_output=True, text=True)
        archive = cache / done.stdout.strip().splitlines()[-1]
        partial = folder.with_name(folder.name + ".partial")
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        # Every npm archive holds one folder, mostly called "package".
        (inner,) = partial.iterdir()
        inner.rename(folder)
        partial.rmdir()
        archive.unlink()
    return folder


def code_points(hexcode):
    """The key under which all drawings of an emoji are found: lower case, without the variation selector FE0F."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def emoji_list(cache):
    """The emoji that have a group, in the order of emojibase-data: dicts with hexcode, label, tags, group, subgroup."""
    folder = unpack("emojibase-data", "17.0.0", cache) / "en"
    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    messages = json.loads((folder / "messages.json").read_text(encoding="utf-8"))
    groups = {g["order"]: g["message"] for g in messages["groups"]}
    subgroups = {g["order"]: g["message"] for g in messages["subgroups"]}
    return [
        dict(hexcode=code_points(d["hexcode"]), label=d["label"].replace(":", ""), tags=d.get("tags", []),
             group=groups[d["group"]], subgroup=subgroups.get(d.get("subgroup"), ""))
        for d in data
        if "group" in d
    ]


def render(svg):
    """An SVG text as [SIZE, SIZE, 4] bytes."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE))
    return rgba(io.BytesIO(png))


def rgba(file):
    """A picture file as [SIZE, SIZE, 4] bytes."""
    image = Image.open(file).convert("RGBA")
    if image.size != (SIZE, SIZE):
        image = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image)


def on_white(pixels):
    """RGBA bytes composited on white in float, rounded half up: [SIZE, SIZE, 3] bytes."""
    rgb, alpha = pixels[..., :3].astype(np.float64), pixels[..., 3:].astype(np.float64) / 255
    return np.floor(rgb * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)


def openmoji(cache):
    """A function from code points to an OpenMoji drawing (RGBA bytes) or None."""
    folder = unpack("openmoji", "17.0.0", cache) / "color" / "svg"
    files = {code_points(path.stem): path for path in folder.glob("*.svg")}
    return lambda key: render(files[key].read_text(encoding="utf-8")) if key in files else None


def iconify(package, version, cache):
    """The same for an Iconify collection: bodies of SVG by name, names by code points, aliases."""
    folder = unpack(package, version, cache)
    icons = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    names = json.loads((folder / "chars.json").read_text(encoding="utf-8"))
    names = {code_points(key): name for key, name in names.items()}

    def draw(key):
        name = names.get(key)
        parent = icons.get("aliases", {}).get(name, {}).get("parent", name)
        icon = icons["icons"].get(name) or icons["icons"].get(parent)
        if icon is None:
            return None
        box = [icon.get("left", 0), icon.get("top", 0)]
        box += [icon.get(side, icons.get(side, 16)) for side in ("width", "height")]
        return render(
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{" ".join(map(str, box))}">{icon["body"]}</svg>'
        )

    return draw


def bitmaps(package, version, inside, ending, cache):
    """The same for a package of picture files named by code points."""
    folder = pathlib.Path(unpack(package, version, cache)) / inside
    files = {code_points(path.stem): path for path in folder.glob(f"*.{ending}")}
    return lambda key: rgba(files[key]) if key in files else None


def drawing_styles(cache):
    """The six styles that the demo learned from, by name."""
    return {
        "noto": iconify("@iconify-json/noto", "1.2.9", cache),
        "twemoji": iconify("@iconify-json/twemoji", "1.2.5", cache),
        "fluent-flat": iconify("@iconify-json/fluent-emoji-flat", "1.2.6", cache),
        "openmoji": openmoji(cache),
        "fluent-3d": bitmaps("@lobehub/fluent-emoji-3d", "1.1.0", "assets", "webp", cache),
        "google": bitmaps("emoji-datasource-google", "16.0.0", "img/google/64", "png", cache),
    }
