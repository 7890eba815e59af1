"""Compares what can be done about outliers in int8 activations, by simulation in PyTorch, on the models of tools/stress.py.

    pip install -r tools/requirements.txt        (torch transformers clip-anytorch ftfy pillow gguf numpy)
    python tools/stress_remedies.py                                            # models/demo
    python tools/stress_remedies.py --model models/demo target/random-b32

Weights are q8_0, rounded after what a remedy does to them, and activations int8; everything else is f32. Remedies:

- none: one scale and zero point a row of activations;
- groups of 32: a scale and zero point for each 32 values of a row;
- clipped: a row's range is cut to that with the least squared error;
- apart: up to 8 values of a row beyond 6 deviations are multiplied in f32 (LLM.int8());
- calibrated: SmoothQuant, every column by the root of its largest activation over its largest weight, activations of 4 pictures and 6 texts;
- scale: only columns that are 6 times as large as the median one, by gain, bias and a blank input, by powers of two;
- shift: only the means of channels that are far from 0 in a blank input, into the biases behind;
- shift, scale: both, as crates/model/src/equalize.rs does it.

Of each the minimum cosine to the f32 vectors of the same modified model, pictures and texts, "|", and after the mean of all vectors is taken off.
"""

import argparse
import pathlib
import sys

import numpy as np
import torch

import stress
from reference import DEMO, encode_images, encode_texts, load_model, load_tokenizer, load_transform, normalize
from stress import Table, int8_rows, q8_0

FAR = LARGE = 6.0
CALIBRATION = 4, 6


def groups(rows):
    return int8_rows(rows.unflatten(-1, (-1, 32))).flatten(-2)


def clipped(rows):
    best, least = None, None
    for share in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3):
        low, high = rows.amin(-1, keepdim=True).clamp(max=0) * share, rows.amax(-1, keepdim=True).clamp(min=0) * share
        found = int8_rows(rows.clamp(low, high))
        error = (found - rows).square().sum(-1, keepdim=True)
        best = found if best is None else torch.where(error < least, found, best)
        least = error if least is None else torch.minimum(least, error)
    return best


def apart(rows):
    deviation = 1.4826 * rows.abs().median(-1, keepdim=True).values
    top = rows.abs().topk(8, -1)
    mask = torch.zeros_like(rows, dtype=torch.bool).scatter(-1, top.indices, top.values > 6.0 * deviation)
    return int8_rows(rows.masked_fill(mask, 0)) + rows * mask


REMEDIES = {
    "none": {},
    "groups of 32": {"activations": groups},
    "clipped": {"activations": clipped},
    "apart": {"activations": apart},
    "calibrated": {"scale": "calibrated"},
    "scale": {"scale": "blank"},
    "shift": {"shift": True},
    "shift, scale": {"scale": "blank", "shift": True},
}


def inputs_of(tower):
    """What precedes linears: a norm or the value, and the linears that read it."""
    for layer in tower.layers:
        attention = layer.self_attn
        yield layer.layer_norm1, [attention.q_proj, attention.k_proj, attention.v_proj]
        yield attention.v_proj, [attention.out_proj]
        yield layer.layer_norm2, [layer.mlp.fc1]
        yield None, [layer.mlp.fc2]
    yield tower.final_norm, [tower.projection]


class Inputs:
    """Statistics of the input of linears, by column."""

    def __init__(self, linear):
        self.rows = []
        self.hook = linear.register_forward_pre_hook(lambda _linear, inputs: self.rows.append(inputs[0].flatten(0, -2)))

    def done(self):
        self.hook.remove()
        rows = torch.cat(self.rows)
        self.mean, self.largest = rows.mean(0), rows.abs().amax(0)
        return self


def watch(tower, run):
    """Statistics of every input while `run` runs."""
    watched = [Inputs(linears[0]) for _, linears in inputs_of(tower)]
    run()
    return [inputs.done() for inputs in watched]


def factors(size, linears, every):
    """By columns; of all, or of large ones by powers of two."""
    largest = torch.stack([linear.weight.abs().amax(0) for linear in linears]).amax(0)
    relative = ((size / size.median()) / (largest / largest.median()).clamp(min=1e-6)).sqrt()
    if every:
        return relative.clamp(min=1e-3)
    return torch.where(size > LARGE * size.median(), torch.exp2(relative.log2().round()).clamp(1, 1024), torch.ones_like(size))


def remedied(remedy, source, linears, seen, blank):
    """The factors and the shift of a remedy."""
    width = linears[0].in_features
    factor, shift = torch.ones(width), torch.zeros(width)
    if remedy.get("scale") == "calibrated":
        return factors(seen.largest, linears, True), shift
    if source is None:
        return factor, shift
    if isinstance(source, torch.nn.LayerNorm):
        far = (blank.mean - source.bias).abs() > FAR * source.weight.abs()
        mean = torch.where(far, blank.mean, source.bias)
        if remedy.get("shift"):
            shift = torch.where(far, mean, shift)
        size = (source.weight.square() + (mean - shift).square()).sqrt()
    else:
        size = (source.weight.square().sum(-1) + source.bias.square()).sqrt()
    return (factors(size, linears, False) if remedy.get("scale") else factor), shift


def install(tower, remedy, seen, blank):
    """Gives every linear the forward pass of 8 bits."""
    quantized = remedy.get("activations", int8_rows)
    for (source, linears), seen, blank in zip(inputs_of(tower), seen, blank):
        factor, shift = remedied(remedy, source, linears, seen, blank)
        for linear in linears:
            weight = q8_0(linear.weight * factor)
            bias = linear.weight @ shift + (0.0 if linear.bias is None else linear.bias)
            linear.forward = lambda x, w=weight, b=bias, f=factor, s=shift: quantized((x - s) / f) @ w.T + b


def uninstall(tower):
    for _, linears in inputs_of(tower):
        for linear in linears:
            del linear.forward


def score(found, exact):
    """The minimum cosine, and that after the mean is taken off."""
    found, exact = normalize(found.double()), normalize(exact.double())
    middle = exact.mean(0)
    of = torch.cosine_similarity
    return of(found, exact).min().item(), of(found - middle, exact - middle).min().item()


def measure(source, name, seed, table):
    model = load_model(source)
    transform, tokenizer = load_transform(source), load_tokenizer(source)
    for tower in stress.towers(model, source):
        rng = np.random.default_rng(seed)
        for plant in stress.STRESSES[name]:
            plant(tower, rng)
    found = {remedy: [] for remedy in REMEDIES}
    for tower in stress.towers(model, source):
        if tower.name == "image":
            few = CALIBRATION[0]
            calibrate = lambda: encode_images(model, transform, tower.inputs[:few])
            vision = model.vision_model
            colour = torch.zeros(1, 3, vision.config.image_size, vision.config.image_size)

            def empty():
                rows = vision.pre_layrnorm(vision.embeddings(colour))[:, :2]
                model.visual_projection(vision.post_layernorm(vision.encoder(inputs_embeds=rows).last_hidden_state[:, 0]))
        else:
            few = CALIBRATION[1]
            calibrate = lambda: encode_texts(model, [tokenizer.ids(text) for text in tower.inputs[:few]])
            empty = lambda: encode_texts(model, [tokenizer.ids("")])
        exact, seen, blank = tower.run()[few:], watch(tower, calibrate), watch(tower, empty)
        for remedy, how in REMEDIES.items():
            install(tower, how, seen, blank)
            found[remedy].append(score(tower.run()[few:], exact))
            uninstall(tower)
    for remedy, scores in found.items():
        (image, image_centred), (text, text_centred) = scores
        table.setdefault(remedy, []).append(f"{image:.5f} {text:.5f} \\| {image_centred:.2f} {text_centred:.2f}")
    print(f"{source.name}, {name}", file=sys.stderr, flush=True)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", type=pathlib.Path, default=[DEMO], metavar="FOLDER")
    parser.add_argument("--stress", nargs="+", choices=stress.STRESSES, default=list(stress.STRESSES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    for source in options.model:
        rows = {}
        for name in options.stress:
            measure(source, name, options.seed, rows)
        table = Table(source.name, *options.stress)
        for remedy, cells in rows.items():
            table.add(remedy, *cells)
        print("\n".join(table.lines), end="\n\n")


if __name__ == "__main__":
    main()
