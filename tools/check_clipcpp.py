"""Compares edgeclip with clip.cpp on GGUF files that both read: the same pixels and the same token ids in, cosine of the vectors out.

    pip install clip_cpp==0.5.0 gguf numpy       (the wheel is for Linux on x86-64 with AVX2)
    python tools/make_random_b32.py --output target/random-b32
    edgeclip convert target/random-b32 --compat clip.cpp --type q8_0 --output target/b32-q8_0.gguf
    python tools/check_clipcpp.py target/b32-q8_0.gguf [--program target/release/edgeclip]

clip.cpp takes only the tensor counts that it knows: 397 for both encoders with 12 blocks each, as of ViT-B/32, B/16; none of the
small models of tests/data. Files of clip.cpp's own kind come from tools/write_clipcpp.py. clip.cpp ends the process when it does not like a file,
so each file is loaded in a process of its own. Exit code 1 if a cosine is below 0.999 (0.9999 for f16 and f32 files) or a file does not
load.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from gguf import GGUFReader

from peer_worker import ClipCpp

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURES = [ROOT / "models/demo/pictures" / f"{name}.png" for name in ("cat", "red-car", "pizza", "evergreen-tree")]
# Two and more tokens, up to a full context.
TEXTS = ["a cat", "a photo of a red car on a wet street at night", "two dogs", " ".join(str(i % 10) for i in range(75))]


def clipcpp(path, inputs, output):
    """In a process of its own: clip.cpp's raw vectors of the pixels and ids in `inputs`, to the file `output`."""
    model, data = ClipCpp(path, None, 2), np.load(inputs)
    texts = [model.text([ids]) for ids in json.loads(str(data["ids"]))]
    np.savez(output, image=model.image(data["pixels"]), text=np.concatenate(texts))


def run(command):
    """A program's standard output; ends with its message if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command[:3]))} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def ours(program, path, folder):
    """edgeclip's pixels and ids of the inputs, and its raw vectors of both."""
    pixels = []
    for number, picture in enumerate(PICTURES):
        out = folder / f"{number}.npy"
        run([program, "preprocess", picture, "--no-exif", "--output", out, "--model", path])
        pixels.append(np.load(out))
    lines = run([program, "tokenize", "--truncate", "--format", "jsonl", "--model", path, "--", *TEXTS]).splitlines()
    vectors = {}
    for tower, inputs, more in (("image", PICTURES, ["--no-exif"]), ("text", TEXTS, ["--truncate"])):
        out = folder / f"{tower}.npy"
        run([program, "encode", tower, "--format", "npy", *more, "--output", out, "--model", path, "--", *inputs])
        vectors[tower] = np.load(out)
    return np.stack(pixels), [json.loads(line)["ids"] for line in lines], vectors


def check(program, path):
    """Prints the file's cosines; returns whether they are all as high as they have to be."""
    file = GGUFReader(path)
    counts = {}
    for tensor in file.tensors:
        counts[tensor.tensor_type.name.lower()] = counts.get(tensor.tensor_type.name.lower(), 0) + 1
    least = 0.9999 if set(counts) <= {"f32", "f16"} else 0.999
    print(f"{path}: {path.stat().st_size} bytes, {len(file.tensors)} tensors: "
          + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        pixels, ids, vectors = ours(program, path, folder)
        inputs, output = folder / "inputs.npz", folder / "output.npz"
        np.savez(inputs, pixels=pixels, ids=json.dumps(ids))
        done = subprocess.run([sys.executable, __file__, "--encode", path, inputs, output], capture_output=True, text=True)
        if done.returncode != 0 or not output.is_file():
            lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
            print(f"  clip.cpp ended with {done.returncode}: {lines[-1]}")
            return False
        theirs, worst = np.load(output), 1.0
        for tower, labels in (("image", [picture.name for picture in PICTURES]), ("text", TEXTS)):
            for label, a, b in zip(labels, vectors[tower].astype(np.float64), theirs[tower].astype(np.float64)):
                cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
                print(f"  {tower:5} cosine {cosine:.7f}  length ratio {np.linalg.norm(a) / np.linalg.norm(b):.6f}  {label[:40]}")
                # Not min(), which would let a NaN pass.
                worst = cosine if not cosine >= worst else worst
    print(f"  worst cosine {worst:.7f}, at least {least} asked for")
    return bool(worst >= least)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/edgeclip", help="the edgeclip binary")
    parser.add_argument("--encode", nargs=3, metavar=("FILE", "INPUTS", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.encode:
        return clipcpp(*options.encode)
    if not options.files:
        parser.error("give a file")
    results = [check(options.program.resolve(), path.resolve()) for path in options.files]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
