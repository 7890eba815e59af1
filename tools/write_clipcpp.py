"""Writes a Hugging Face folder as a GGUF file like those that clip.cpp's own converter and quantizer left on the Hub.

    pip install -r tools/requirements.txt        (torch transformers gguf)
    python tools/write_clipcpp.py FOLDER OUTPUT.gguf --type q8_0

GGUF version 2; clip.cpp's keys and no others (no general.name, no merges, no logit_scale, one flag for both activations); every matrix
in the type asked for, the position tables, the token table and both projections too; the patch kernel always in f16; `ffn_down` for the
first linear of a block's MLP and `ffn_up` for the second. By clip.cpp's rules of models/convert_hf_to_gguf.py and clip_model_quantize.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants

from reference import load_model

# The types that clip.cpp reads, with its own numbers for general.file_type: those of ggml.
TYPES = ["f32", "f16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"]


def name_of(name):
    """clip.cpp's name of a tensor of transformers."""
    if "projection" in name:
        return name
    for old, new in (("text_model", "t"), ("vision_model", "v"), ("encoder.layers", "blk"), ("embeddings.", ""), ("_proj", ""),
                     ("self_attn.", "attn_"), ("layer_norm", "ln"), ("layernorm", "ln"), ("layrnorm", "ln"),
                     ("mlp.fc1", "ffn_down"), ("mlp.fc2", "ffn_up"), ("embedding", "embd"), ("final", "post")):
        name = name.replace(old, new)
    return name


def stored(name, values, kind):
    """A tensor's numbers as they are stored, and their type where numpy has none like it."""
    values = values.float().numpy()
    if values.ndim == 4:
        return values.astype(np.float16), None
    if values.ndim != 2 or kind == "f32":
        return values, None
    if kind == "f16":
        return values.astype(np.float16), None
    kind = GGMLQuantizationType[kind.upper()]
    # clip.cpp's quantizer takes the f16 file.
    return quants.quantize(values.astype(np.float16).astype(np.float32), kind), kind


def tensors(model, kind):
    """Each tensor's name in transformers, its name in the file, its numbers as stored, and their type."""
    for name, values in model.state_dict().items():
        if name != "logit_scale" and not name.endswith("position_ids"):
            yield name, name_of(name), *stored(name, values, kind)


def dequantized(model, kind):
    """The model with the weights that the file holds."""
    with torch.no_grad():
        for name, _, values, blocks in tensors(model, kind):
            values = values.astype(np.float32) if blocks is None else quants.dequantize(values, blocks)
            model.get_parameter(name).copy_(torch.from_numpy(values))
    return model


def write_clipcpp(folder, path, kind):
    """Writes the file."""
    model, folder = load_model(folder), pathlib.Path(folder)
    text, vision = model.config.text_config, model.config.vision_config
    assert text.hidden_act == vision.hidden_act, "clip.cpp has one activation for both encoders"
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    w = GGUFWriter(path, "clip")
    w.add_bool("clip.has_text_encoder", True)
    w.add_bool("clip.has_vision_encoder", True)
    w.add_uint32("general.file_type", int(GGMLQuantizationType[kind.upper()]))
    w.add_string("general.description", "two-tower CLIP model")
    for prefix, tower in (("clip.text", text), ("clip.vision", vision)):
        if prefix == "clip.text":
            w.add_uint32("clip.text.context_length", text.max_position_embeddings)
        else:
            w.add_array("tokenizer.ggml.tokens", list(json.loads((folder / "vocab.json").read_text(encoding="utf-8"))))
            w.add_uint32("clip.vision.image_size", vision.image_size)
            w.add_uint32("clip.vision.patch_size", vision.patch_size)
        w.add_uint32(f"{prefix}.embedding_length", tower.hidden_size)
        w.add_uint32(f"{prefix}.feed_forward_length", tower.intermediate_size)
        w.add_uint32(f"{prefix}.projection_dim", model.config.projection_dim)
        w.add_uint32(f"{prefix}.attention.head_count", tower.num_attention_heads)
        w.add_float32(f"{prefix}.attention.layer_norm_epsilon", tower.layer_norm_eps)
        w.add_uint32(f"{prefix}.block_count", tower.num_hidden_layers)
    w.add_array("clip.vision.image_mean", processor["image_mean"])
    w.add_array("clip.vision.image_std", processor["image_std"])
    w.add_bool("clip.use_gelu", vision.hidden_act == "gelu")
    if kind.startswith("q"):
        w.add_uint32("general.quantization_version", 2)
    for _, name, values, blocks in tensors(model, kind):
        w.add_tensor(name, values, raw_dtype=blocks)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    # Version 2, as the published files have it; the layout of 3 is the same.
    with open(path, "r+b") as file:
        file.seek(4)
        file.write((2).to_bytes(4, "little"))


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--type", choices=TYPES, default="f16")
    options = parser.parse_args()
    write_clipcpp(options.folder, options.output, options.type)
    print(f"{options.output}: {options.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
