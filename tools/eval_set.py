"""Builds OpenMoji-481, the evaluation set of the docs: 481 emoji drawings that the demo checkpoint never saw, with captions.

    pip install resvg-py pillow numpy        (and npm on the PATH)
    python tools/eval_set.py [--output target/openmoji-481] [--compare FOLDER]

The emoji are those of emojibase-data 17.0.0 that have a group, at position mod 4 = 2; the pictures are openmoji 17.0.0's
drawings at 128 x 128 on white. Writes pictures/*.png and labels.csv (path, label, caption, group) for `edgeclip eval`.
--compare says how many pictures differ from those of another folder.

Pictures: OpenMoji, CC BY-SA 4.0 (so the set is not in the repository). Labels: Unicode CLDR names, Unicode licence.
"""

import argparse
import csv
import pathlib
import sys

import numpy as np
from PIL import Image

from emoji import emoji_list, on_white, openmoji


def build(output, cache):
    """Writes the set; returns the number of pictures."""
    (output / "pictures").mkdir(parents=True, exist_ok=True)
    draw, rows = openmoji(cache), []
    for item in emoji_list(cache)[2::4]:
        pixels = draw(item["hexcode"])
        if pixels is None:
            continue
        path = f"pictures/{item['hexcode']}.png"
        Image.fromarray(on_white(pixels)).save(output / path, optimize=True)
        rows.append(dict(path=path, label=item["label"], caption=f"an emoji of {item['label']}", group=item["group"]))
    with open(output / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def compare(output, other):
    """Prints what differs between two builds; true if nothing does."""
    tables = [(folder / "labels.csv").read_text(encoding="utf-8") for folder in (output, other)]
    names = [{path.name for path in (folder / "pictures").glob("*.png")} for folder in (output, other)]
    worst, different = 0, 0
    for name in sorted(names[0] & names[1]):
        ours, theirs = (np.asarray(Image.open(f / "pictures" / name).convert("RGB")).astype(int) for f in (output, other))
        apart = int(abs(ours - theirs).max()) if ours.shape == theirs.shape else 255
        worst, different = max(worst, apart), different + (apart > 0)
    print(f"labels.csv {'equal' if tables[0] == tables[1] else 'DIFFERENT'}; pictures in one folder only: {len(names[0] ^ names[1])}; "
          f"of {len(names[0] & names[1])} common pictures {different} differ, by at most {worst} levels")
    return tables[0] == tables[1] and names[0] == names[1] and not different


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("target/openmoji-481"))
    parser.add_argument("--packages", type=pathlib.Path, default=pathlib.Path("target/npm"), help="where npm packages are kept")
    parser.add_argument("--compare", type=pathlib.Path, metavar="FOLDER", help="another build of the set")
    arguments = parser.parse_args()
    print(f"{build(arguments.output, arguments.packages)} pictures in {arguments.output}")
    if arguments.compare and not compare(arguments.output, arguments.compare):
        sys.exit(1)


if __name__ == "__main__":
    main()
