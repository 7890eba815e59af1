"""Makes models with outliers as trained ones have them, and measures what 8 and 4 bits cost there.

    pip install -r tools/requirements.txt        (torch transformers clip-anytorch ftfy pillow gguf numpy)
    cargo build --release -p edgeclip-cli
    python tools/stress.py                                                     # models/demo
    python tools/stress.py --model models/demo target/random-b32               # and a full size of tools/make_random_b32.py

Every stress is planted in both encoders of a Hugging Face folder:

- a: gain and bias of 1 % of every LayerNorm's channels times 50 and 100 in turn, the columns that read them divided: the same function;
- b: 1 % of every block's value rows times 50, the columns of the attention output that read them divided: the same function;
- c: block 0's second MLP bias shifts 4 channels of the residual stream by 50 of its standard deviations, up and down in turn;
- d: one hidden unit of the middle block's MLP answers to a direction that tells the pooled token from all others: in its row that unit is 100
  times the root mean square of all hidden values, in the other rows 0;
- e: all of it.

That a and b are the same function is checked in PyTorch, and that edgeclip's f32 gives PyTorch's vectors of every modified model. The first
table has, of each type, the cosines to the f32 vectors of the same modified model: minimum, mean, and the minimum less that of the model without a
stress. "between" is the mean cosine of the f32 vectors of different inputs: the closer to 1, the less a cosine says, so that "centred" is the
minimum after the mean of the f32 vectors is taken off both. "clip.cpp's" is that of a file that clip.cpp's tools would have written
(tools/write_clipcpp.py), as the minimum to PyTorch's f32 vectors of the file's own rounded weights, which is all that can be asked of it.
The second table says where the error would come from without a remedy: of the inputs of each kind of linear, over all blocks, the largest ratio of the largest magnitude to the root mean
square, and in brackets the largest relative errors in per cent of a linear's output (RMS, without bias) that int8 activations alone and q8_0
weights alone make. Exit code 1 if a check fails.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch

from compare import encode
from reference import DEMO, ROOT, demo_pictures, encode_images, encode_texts, load_model, load_tokenizer, load_transform, normalize, picture_name
from write_clipcpp import dequantized, write_clipcpp

TEXTS = [f"a photo of a {picture_name(picture)}" for picture in demo_pictures()] + [
    "a cat",
    "two dogs on a red bicycle",
    "an emoji of a smiling face with sunglasses",
    "a black and white drawing of a house beside a tree, with a road that leads to it",
    "the flag of a country, blue with a yellow cross",
    "10:45",
    "a bowl of fruit",
    "a person who runs along the beach in the evening while the sun goes down behind the mountains",
]
# The largest difference of an element of the normalised vectors that two ways of computing the same function may have: tests/parity.rs.
SAME = 1e-5


class Tower:
    """One encoder of a CLIPModel, with the inputs it is measured on; `run` gives PyTorch's raw vectors of them."""

    def __init__(self, name, body, final_norm, projection, inputs, run):
        self.name, self.body, self.final_norm, self.projection, self.inputs, self.run = name, body, final_norm, projection, inputs, run
        self.layers = body.encoder.layers
        self.width = self.layers[0].mlp.fc1.in_features

    def norms(self):
        """Every LayerNorm whose output is read by linears alone, with these."""
        for layer in self.layers:
            attention = layer.self_attn
            yield layer.layer_norm1, [attention.q_proj, attention.k_proj, attention.v_proj]
            yield layer.layer_norm2, [layer.mlp.fc1]
        yield self.final_norm, [self.projection]

    def linears(self):
        """Every linear, with its kind."""
        for layer in self.layers:
            attention = layer.self_attn
            yield from (("query, key, value", linear) for linear in (attention.q_proj, attention.k_proj, attention.v_proj))
            yield "attention output", attention.out_proj
            yield "MLP, first", layer.mlp.fc1
            yield "MLP, second", layer.mlp.fc2
        yield "projection", self.projection

    def record(self, module):
        """The outputs of a module for the inputs, each [tokens, width]."""
        seen = []
        hook = module.register_forward_hook(lambda _module, _inputs, out: seen.append((out[0] if isinstance(out, tuple) else out).flatten(0, -2)))
        self.run()
        hook.remove()
        return seen


def towers(model, folder):
    """Both encoders with the demo's pictures and `TEXTS`."""
    transform, tokenizer = load_transform(folder), load_tokenizer(folder)
    ids = [tokenizer.ids(text) for text in TEXTS]
    vision, text = model.vision_model, model.text_model
    return [
        Tower("image", vision, vision.post_layernorm, model.visual_projection, demo_pictures(),
              lambda: encode_images(model, transform, demo_pictures())),
        Tower("text", text, text.final_layer_norm, model.text_projection, TEXTS, lambda: encode_texts(model, ids)),
    ]


def scale_norms(tower, rng):
    """Stress a."""
    for norm, linears in tower.norms():
        factors = torch.ones(tower.width)
        channels = rng.choice(tower.width, max(2, round(tower.width / 100)), replace=False)
        factors[channels[::2]], factors[channels[1::2]] = 50.0, 100.0
        norm.weight.mul_(factors)
        norm.bias.mul_(factors)
        for linear in linears:
            linear.weight.div_(factors)


def scale_values(tower, rng):
    """Stress b."""
    for layer in tower.layers:
        factors = torch.ones(tower.width)
        factors[rng.choice(tower.width, max(2, round(tower.width / 100)), replace=False)] = 50.0
        value, out = layer.self_attn.v_proj, layer.self_attn.out_proj
        value.weight.mul_(factors[:, None])
        value.bias.mul_(factors)
        out.weight.div_(factors)


def shift_stream(tower, rng):
    """Stress c."""
    spread = torch.cat(tower.record(tower.layers[0])).std()
    channels = rng.choice(tower.width, 4, replace=False)
    tower.layers[0].mlp.fc2.bias[channels] += 50.0 * spread * torch.tensor([1.0, -1.0, 1.0, -1.0])


def plant_token(tower, rng):
    """Stress d. The direction is Fisher's linear discriminant, with a little of the identity, as there are few tokens."""
    layer = tower.layers[len(tower.layers) // 2]
    seen = tower.record(layer.layer_norm2)
    pooled = 0 if tower.name == "image" else -1
    ours = torch.stack([rows[pooled] for rows in seen]).double()
    others = torch.cat([rows[1:] if pooled == 0 else rows[:-1] for rows in seen]).double()
    within = (len(ours) * ours.T.cov(correction=0) + len(others) * others.T.cov(correction=0)) / (len(ours) + len(others))
    identity = torch.eye(tower.width, dtype=torch.float64) * within.trace() / tower.width
    direction = torch.linalg.solve(within + 1e-3 * identity, ours.mean(0) - others.mean(0))
    near, far = (ours @ direction).mean(), (others @ direction).max()
    if not (ours @ direction).min() > far:
        sys.exit(f"{tower.name}: no direction tells the pooled token from the others")
    hidden = torch.cat(tower.record(layer.mlp.activation_fn))
    height = 100.0 * hidden.square().mean().sqrt()
    unit = int(rng.integers(layer.mlp.fc1.out_features))
    layer.mlp.fc1.weight[unit] = (height * direction / (near - far)).float()
    layer.mlp.fc1.bias[unit] = -height * far / (near - far)


# Those that measure the model come before those that keep its function.
STRESSES = {
    "none": [],
    "a": [scale_norms],
    "b": [scale_values],
    "c": [shift_stream],
    "d": [plant_token],
    "e": [shift_stream, plant_token, scale_norms, scale_values],
}
SAME_FUNCTION = {"a", "b"}


def int8_rows(x):
    """`x` after int8, a scale and a zero point a row: `quantize_row` of the kernels."""
    low, high = x.amin(-1, keepdim=True).clamp(max=0.0), x.amax(-1, keepdim=True).clamp(min=0.0)
    scale = ((high - low) / 255.0).clamp(min=1e-30)
    zero = (-128.0 - low / scale).round()
    return scale * ((x / scale + zero).round().clamp(-128, 127) - zero)


def q8_0(weight):
    """`weight` after q8_0: 32 values of a row share a scale, which is an f16."""
    blocks = weight.unflatten(-1, (-1, 32))
    scale = blocks.abs().amax(-1, keepdim=True) / 127.0
    levels = (blocks / scale.clamp(min=1e-30)).round()
    return (levels * scale.half().float()).flatten(-2)


class Statistics:
    """Of one linear, over all inputs."""

    def __init__(self, linear):
        self.count, self.largest, self.squares = 0, 0.0, 0.0
        self.product, self.activations, self.weights = 0.0, 0.0, 0.0
        self.error = q8_0(linear.weight) - linear.weight
        self.hook = linear.register_forward_pre_hook(lambda linear, inputs: self.add(linear, inputs[0].flatten(0, -2)))

    def add(self, linear, x):
        self.count += x.numel()
        self.largest = max(self.largest, x.abs().max().item())
        self.squares += x.square().sum().item()
        product = torch.nn.functional.linear
        self.product += product(x, linear.weight).square().sum().item()
        self.activations += product(int8_rows(x) - x, linear.weight).square().sum().item()
        self.weights += product(x, self.error).square().sum().item()

    def numbers(self):
        """Largest magnitude by RMS, and the relative errors."""
        self.hook.remove()
        share = [(error / self.product) ** 0.5 for error in (self.activations, self.weights)]
        return [self.largest / (self.squares / self.count) ** 0.5, *share]


def analyze(tower):
    """The tower's vectors, and by kind of linear the worst of each number."""
    watched = [(kind, Statistics(linear)) for kind, linear in tower.linears()]
    vectors = tower.run()
    worst = {}
    for kind, statistics in watched:
        worst[kind] = np.maximum(worst.get(kind, np.zeros(3)), statistics.numbers())
    return vectors, worst


def save(model, source, folder):
    """`model` as a Hugging Face folder with the tokenizer and preprocessing of `source`."""
    model.save_pretrained(folder, max_shard_size="100GB")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(source / name, folder / name)


def convert(program, folder, kind, file):
    """Converts `folder` without the converter's own check, and returns the file."""
    done = subprocess.run([program, "convert", str(folder), "--type", kind, "--output", str(file), "--no-check", "--quiet"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"edgeclip convert --type {kind} ended with {done.returncode}: {done.stderr.strip()}")
    return file


def vectors_of(options, tower, file):
    """edgeclip's normalised vectors of the tower's inputs."""
    return normalize(torch.tensor(encode([options.program], tower.name, tower.inputs, file), dtype=torch.float64))


def between_inputs(rows):
    """Mean cosine of different rows, which are normalised."""
    cosines = rows @ rows.T
    return ((cosines.sum() - cosines.trace()) / (len(rows) * (len(rows) - 1))).item()


class Table:
    """Rows that are printed as they come, and once more as a whole at the end."""

    def __init__(self, *columns):
        self.lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]

    def add(self, *cells):
        self.lines.append(f"| {' | '.join(cells)} |")
        print(self.lines[-1], file=sys.stderr, flush=True)


def measure(source, stress, options, unstressed, cosines, causes):
    """One modified model: adds to both tables, and returns what failed."""
    model, failed, label = load_model(source), [], source.resolve().name
    measured = towers(model, source)
    with torch.no_grad():
        for tower in measured:
            rng = np.random.default_rng(options.seed)
            for plant in STRESSES[stress]:
                plant(tower, rng)
    exact, cells = {}, {}
    for tower in measured:
        with torch.no_grad():
            vectors, worst = analyze(tower)
        cells[tower.name] = []
        exact[tower.name] = normalize(vectors.double())
        causes.add(label, tower.name, stress, *(f"{ratio:.0f} ({100 * x:.1f}, {100 * w:.1f})" for ratio, x, w in worst.values()))
        if stress == "none":
            unstressed[tower.name] = {"exact": exact[tower.name]}
        apart = (exact[tower.name] - unstressed[tower.name]["exact"]).abs().max().item()
        if stress in SAME_FUNCTION and not apart <= SAME:
            failed.append(f"{label}, {tower.name}, {stress}: not the same function, {apart:.1e} apart")
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        folder = pathlib.Path(folder)
        save(model, source, folder)
        file = convert(options.program, folder, "f32", folder / "f32.gguf")
        for tower in measured:
            apart = (vectors_of(options, tower, file) - exact[tower.name]).abs().max().item()
            print(f"{label}, {tower.name}, {stress}: f32 within {apart:.1e} of PyTorch", file=sys.stderr)
            if not apart <= SAME:
                failed.append(f"{label}, {tower.name}, {stress}: f32 is {apart:.1e} from PyTorch")
        for kind in options.types:
            file = convert(options.program, folder, kind, folder / f"{kind}.gguf")
            other = folder / f"clipcpp-{kind}.gguf"
            write_clipcpp(folder, other, kind)
            dequantized(model, kind)
            for tower in measured:
                theirs, ours = exact[tower.name], vectors_of(options, tower, file)
                found = torch.cosine_similarity(ours, theirs)
                least, middle = found.min().item(), theirs.mean(0)
                before = unstressed[tower.name].setdefault(kind, least)
                centred = torch.cosine_similarity(ours - middle, theirs - middle).min().item()
                to_own = torch.cosine_similarity(vectors_of(options, tower, other), normalize(tower.run().double())).min().item()
                cells[tower.name] += [f"{least:.6f}", f"{found.mean().item():.6f}", f"{least - before:+.6f}", f"{centred:.3f}", f"{to_own:.6f}"]
            file.unlink()
            other.unlink()
            model = load_model(folder)
            measured = towers(model, folder)
    for tower in measured:
        cosines.add(label, tower.name, stress, *cells[tower.name], f"{between_inputs(exact[tower.name]):.2f}")
    return failed


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", type=pathlib.Path, default=[DEMO], metavar="FOLDER")
    parser.add_argument("--stress", nargs="+", choices=STRESSES, default=list(STRESSES), help="which; \"none\" is always measured")
    parser.add_argument("--types", nargs="+", default=["q8_0", "q4_0"], metavar="TYPE")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/edgeclip", help="the edgeclip binary")
    parser.add_argument("--scratch", type=pathlib.Path, help="where the modified models are for a while, two files of f32 (default: the system's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    options = parser.parse_args()
    options.program = str(options.program.resolve())
    if not os.access(options.program, os.X_OK):
        parser.error(f"{options.program}: no program; cargo build --release -p edgeclip-cli")
    torch.set_num_threads(options.threads)

    columns = [f"{kind}: min, mean, difference, centred, clip.cpp's".split(", ") for kind in options.types]
    cosines = Table("model", "encoder", "stress", *sum(columns, []), "between")
    causes = Table("model", "encoder", "stress", "query, key, value", "attention output", "MLP, first", "MLP, second", "projection")
    failed = []
    for source in options.model:
        unstressed = {}
        for stress in ["none", *(stress for stress in options.stress if stress != "none")]:
            failed += measure(source, stress, options, unstressed, cosines, causes)
    for table in (cosines, causes):
        print("\n".join(table.lines), end="\n\n")
    print("\n".join(failed) or "same function where it has to be, and f32 as PyTorch's, everywhere")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
