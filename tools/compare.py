"""Encodes texts and pictures through the reference and through edgeclip, and prints how far apart the vectors are.

    pip install -r tools/requirements.txt        (torch torchvision transformers pillow clip-anytorch ftfy)
    python tools/compare.py --text "a red car" "two dogs" --image models/demo/pictures/*.png
    python tools/compare.py --model openai/clip-vit-base-patch32 --type q8_0 --text "a cat" --image cat.png
    python tools/compare.py --model models/demo --gguf demo-q4_0.gguf --text "a cat"

--model is a Hugging Face folder or a name on the Hub (default models/demo). Without --gguf it is converted first, by
`cargo xtask convert`. One line an input: cosine, largest difference of an element of the L2-normalised vectors, and the ratio of
the raw vectors' lengths (ours to theirs). The last line has the worst of each; --max-difference makes that an exit code.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import reference
from reference import ROOT, encode_images, encode_texts, folder_of, load_model, load_tokenizer, load_transform

CARGO_RUN = ["cargo", "run", "--quiet", "--release", "--manifest-path", str(ROOT / "Cargo.toml"), "--package", "edgeclip-cli", "--"]


def convert(folder, kind):
    """Converts `folder` and returns the file."""
    output = ROOT / "target" / "compare" / f"{folder.resolve().name}-{kind}.gguf"
    output.parent.mkdir(parents=True, exist_ok=True)
    command = ["cargo", "xtask", "convert", str(folder.resolve()), "--type", kind, "--output", str(output)]
    print("$", " ".join(command), file=sys.stderr)
    subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)
    return output


def encode(program, tower, inputs, gguf):
    """The program's raw vectors, [n, d] in float64 (as printed), in the order of `inputs`."""
    options = ["--no-exif"] if tower == "image" else []
    command = [*program, "encode", tower, "--model", str(gguf), "--format", "jsonl", *options, "--", *map(str, inputs)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} encode {tower} ended with {done.returncode}: {done.stderr.strip()}")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    if [record["input"] for record in records] != [str(i) for i in inputs]:
        sys.exit(f"expected one record for each of the {len(inputs)} inputs, in order, got {[record['input'] for record in records]}")
    if any(record["tower"] != tower or record["normalized"] for record in records):
        sys.exit(f"expected raw {tower} vectors")
    return [record["embedding"] for record in records]


def compare(label, ours, theirs):
    """Prints one line; returns (cosine, largest difference)."""
    import torch

    ours, theirs = torch.tensor(ours, dtype=torch.float64), theirs.double()
    if ours.shape != theirs.shape:
        sys.exit(f"{label}: {ours.numel()} dimensions, the reference has {theirs.numel()}")
    if not ours.isfinite().all():
        sys.exit(f"{label}: the vector holds a value that is not finite")
    a, b = ours / ours.norm(), theirs / theirs.norm()
    cosine, apart = (a @ b).item(), (a - b).abs().max().item()
    print(f"cosine {cosine:.8f}  max difference {apart:.2e}  length ratio {(ours.norm() / theirs.norm()).item():.6f}  {label}")
    return cosine, apart


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(reference.DEMO), help="Hugging Face folder, or a name on the Hub")
    parser.add_argument("--gguf", type=pathlib.Path, help="a converted file of that model")
    parser.add_argument("--type", default="f32", help="what to convert to without --gguf")
    parser.add_argument("--program", type=pathlib.Path, help="the edgeclip binary (default: cargo run)")
    parser.add_argument("--text", nargs="+", default=[], metavar="TEXT")
    parser.add_argument("--image", nargs="+", default=[], metavar="FILE", type=pathlib.Path)
    parser.add_argument("--max-difference", type=float, metavar="X", help="exit 1 if an element differs by more")
    options = parser.parse_args()
    if not options.text and not options.image:
        parser.error("give --text or --image")
    for path in options.image:
        if not path.is_file():
            parser.error(f"{path}: no such file")

    folder = folder_of(options.model)
    gguf = (options.gguf or convert(folder, options.type)).resolve()
    program = [str(options.program.resolve())] if options.program else CARGO_RUN
    model, results = load_model(folder), []
    if options.text:
        tokenizer = load_tokenizer(folder)
        theirs = encode_texts(model, [tokenizer.ids(text) for text in options.text])
        ours = encode(program, "text", options.text, gguf)
        results += [compare(json.dumps(text, ensure_ascii=False), a, b) for text, a, b in zip(options.text, ours, theirs)]
    if options.image:
        theirs = encode_images(model, load_transform(folder), options.image)
        ours = encode(program, "image", options.image, gguf)
        results += [compare(str(path), a, b) for path, a, b in zip(options.image, ours, theirs)]
    cosine, apart = min(r[0] for r in results), max(r[1] for r in results)
    print(f"worst of {len(results)}: cosine {cosine:.8f}  max difference {apart:.2e}")
    if options.max_difference is not None and apart > options.max_difference:
        sys.exit(1)


if __name__ == "__main__":
    main()
