"""Draws every parameter of a CLIP model anew, so that no mistake can hide behind the library's initialisation.

transformers starts biases at 0, norm gains at 1 and attention nearly uniform: an engine that forgets a bias, swaps two norms
or scales attention wrongly still gives the right vector. Here biases and norm shifts are N(0, 0.3), norm gains U(0.5, 2),
embeddings N(0, 0.5), linear weights N(0, 1/sqrt(fan in)), LayerScale U(0.3, 1.5), logit_scale U(2, 4), logit_bias U(-12, -6), and q and k are scaled until the attention logits of
every layer have a standard deviation of at least 2 (around each query's mean: soft-max ignores the mean).

numpy's PCG64 is used because its normals do not depend on the CPU, so anybody gets the same files.

pip install torch transformers numpy
"""

import json
import math

import numpy as np
import torch

from reference import END, START

MIN_ATTENTION_STD = 2.0


def redraw(model, seed, residual_gain=1.0):
    """Replaces all parameters in place. `residual_gain` scales the matrices that write to the residual stream."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            shape = tuple(parameter.shape)
            if name == "logit_scale":
                values = rng.uniform(2.0, 4.0, shape)
            elif name == "logit_bias":
                values = rng.uniform(-12.0, -6.0, shape)
            elif name.endswith((".bias", "_bias")):
                values = rng.normal(0.0, 0.3, shape)
            elif is_norm(name):
                values = rng.uniform(0.5, 2.0, shape)
            elif name.endswith(".gamma"):
                values = rng.uniform(0.3, 1.5, shape)
            elif "embedding" in name and "patch" not in name:
                values = rng.normal(0.0, 0.5, shape)
            else:
                gain = residual_gain if name.endswith(("out_proj.weight", "fc2.weight")) else 1.0
                values = rng.normal(0.0, gain / math.sqrt(math.prod(shape[1:])), shape)
            parameter.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))


def is_norm(name):
    """Whether a parameter is a LayerNorm's, by its name in transformers, open_clip or OpenAI's classes."""
    return "norm" in name or "layrnorm" in name or "ln_" in name


class SeparateAttention:
    """The attention of a layer of transformers, which has q and k apart."""

    def __init__(self, layer):
        self.attention, self.heads = layer.self_attn, layer.self_attn.num_heads

    def record(self, run):
        """q and k, [batch, tokens, width], of each call in a forward `run`."""
        seen = {}
        hooks = [
            getattr(self.attention, which).register_forward_hook(lambda _m, _i, out, which=which: seen.setdefault(which, []).append(out))
            for which in ("q_proj", "k_proj")
        ]
        run()
        for hook in hooks:
            hook.remove()
        return list(zip(seen["q_proj"], seen["k_proj"]))

    def scale(self, factor):
        """Scales the weights of q and k."""
        self.attention.q_proj.weight.mul_(factor)
        self.attention.k_proj.weight.mul_(factor)


class FusedAttention:
    """The attention of a block of OpenAI's classes or open_clip, whose q, k and v are one matrix."""

    def __init__(self, block):
        self.block, self.heads = block, block.attn.num_heads

    def record(self, run):
        """See `SeparateAttention.record`."""
        seen, attention = [], self.block.attn
        hook = self.block.ln_1.register_forward_hook(lambda _m, _i, out: seen.append(out))
        run()
        hook.remove()
        rows = 2 * attention.embed_dim
        seen = seen if attention.batch_first else [x.transpose(0, 1) for x in seen]
        return [torch.nn.functional.linear(x, attention.in_proj_weight[:rows], attention.in_proj_bias[:rows]).chunk(2, -1) for x in seen]

    def scale(self, factor):
        """Scales the weights of q and k; those of v as well where they share numbers."""
        weight = self.block.attn.in_proj_weight
        if weight.is_contiguous():
            weight[: 2 * self.block.attn.embed_dim].mul_(factor)
        else:
            torch.empty(0, dtype=weight.dtype).set_(weight.untyped_storage()).mul_(factor)


def _attention_std(attention, run, causal):
    """Standard deviation of one layer's attention logits around each query's mean, over all heads, in a forward `run`."""
    with torch.no_grad():
        seen = attention.record(run)
    squares, count = 0.0, 0
    for q, k in seen:
        q = q.double().unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        k = k.double().unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        for row in range(logits.shape[-2]):
            visible = logits[..., row, : row + 1] if causal else logits[..., row, :]
            if visible.shape[-1] > 1:
                squares += (visible - visible.mean(-1, keepdim=True)).square().sum().item()
                count += visible.numel() - visible[..., 0].numel()
    return math.sqrt(squares / count)


def towers(model, pixels, token_ids):
    """Of each tower of a CLIPModel: its name, its layers' attention, a forward pass over the inputs, and whether it is causal."""
    return [
        ("vision", [SeparateAttention(layer) for layer in model.vision_model.encoder.layers],
         lambda: [model.vision_model(pixel_values=p.unsqueeze(0)) for p in pixels], False),
        ("text", [SeparateAttention(layer) for layer in model.text_model.encoder.layers],
         lambda: [model.text_model(input_ids=torch.tensor([ids])) for ids in token_ids], True),
    ]


def measure_attention(towers):
    """Standard deviation of the attention logits, by tower and layer."""
    return {tower: [round(_attention_std(layer, run, causal), 2) for layer in layers] for tower, layers, run, causal in towers}


def sharpen_attention(towers):
    """Scales q and k of each layer, first to last, until its logits spread enough. Returns what was measured.

    The factors are multiples of 1/4, so that the last bits of a measurement cannot change the files.
    """
    for _, layers, run, causal in towers:
        for layer in layers:
            while (spread := _attention_std(layer, run, causal)) < MIN_ATTENTION_STD:
                factor = math.ceil(4 * math.sqrt(1.05 * MIN_ATTENTION_STD / spread)) / 4
                with torch.no_grad():
                    layer.scale(factor)
    return measure_attention(towers)


def first_merges(count):
    """The first `count` merges of CLIP's public vocabulary, as lines."""
    import gzip

    from clip.simple_tokenizer import default_bpe

    return gzip.open(default_bpe()).read().decode("utf-8").split("\n")[1 : 1 + count]


def write_vocabulary(folder, merge_count, specials=(START, END)):
    """vocab.json and merges.txt of CLIP's first merges; returns the vocabulary (token to id).

    256 bytes, the same 256 with "</w>", one token a merge, then `specials` in the order given.
    """
    from clip.simple_tokenizer import bytes_to_unicode

    merges = first_merges(merge_count)
    bytes_ = list(bytes_to_unicode().values())
    tokens = bytes_ + [b + "</w>" for b in bytes_] + ["".join(m.split()) for m in merges] + list(specials)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    assert len(vocabulary) == len(tokens), "a token occurs twice"
    text = json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(text, encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    return vocabulary
