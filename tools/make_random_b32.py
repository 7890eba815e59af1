"""Writes a full-size CLIP folder with random weights, for measurements: real shapes, real vocabulary, no trained knowledge.

    pip install -r tools/requirements.txt        (torch transformers clip-anytorch numpy)
    python tools/make_random_b32.py --output target/random-b32                      # ViT-B/32, 605 MB
    python tools/make_random_b32.py --shape ViT-L/14 --layers 4 --output target/random-l14-4    # both towers cut to 4 blocks

Time, memory and file sizes are those of the real checkpoint of that shape. Accuracy is not: as in tools/redraw.py every parameter is
drawn anew (the matrices that write to the residual stream divided by sqrt(2 * blocks), as trained transformers have it), and
random weights have neither the outliers nor the redundancy of trained ones. Use models/demo for accuracy.
"""

import argparse
import math
import pathlib
import random

import torch

from odd_models import write_processor, write_tokenizer
from redraw import first_merges, redraw, sharpen_attention, towers
from reference import END, START, demo_pictures, load_tokenizer, load_transform

# Vision width, heads, blocks, patch, picture; text width, heads; projection. OpenAI's models (arXiv:2103.00020, table 20).
SHAPES = {
    "ViT-B/32": (768, 12, 12, 32, 224, 512, 8, 512),
    "ViT-B/16": (768, 12, 12, 16, 224, 512, 8, 512),
    "ViT-L/14": (1024, 16, 24, 14, 224, 768, 12, 768),
    "ViT-L/14@336px": (1024, 16, 24, 14, 336, 768, 12, 768),
}
MERGES = 49152 - 256 - 2


def main():
    """Command line."""
    from PIL import Image
    from transformers import CLIPConfig, CLIPModel

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--shape", choices=SHAPES, default="ViT-B/32")
    parser.add_argument("--layers", type=int, help="cut both towers to so many blocks")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    width, heads, blocks, patch, image, text_width, text_heads, projection = SHAPES[options.shape]
    blocks, text_blocks = options.layers or blocks, options.layers or 12
    options.output.mkdir(parents=True, exist_ok=True)
    assert len(first_merges(MERGES)) == MERGES
    vocabulary = write_tokenizer(options.output, MERGES, 77)
    special = dict(bos_token_id=vocabulary[START], eos_token_id=vocabulary[END], pad_token_id=vocabulary[END])
    config = CLIPConfig(
        text_config=dict(hidden_size=text_width, intermediate_size=4 * text_width, num_attention_heads=text_heads,
                         num_hidden_layers=text_blocks, vocab_size=len(vocabulary), projection_dim=projection, **special),
        vision_config=dict(hidden_size=width, intermediate_size=4 * width, num_attention_heads=heads, num_hidden_layers=blocks,
                           image_size=image, patch_size=patch, projection_dim=projection),
        projection_dim=projection,
    )
    config._attn_implementation = "eager"
    write_processor(dict(vision=dict(image_size=image)), options.output)

    torch.manual_seed(options.seed)
    model = CLIPModel(config).eval()
    redraw(model, options.seed, residual_gain=1 / math.sqrt(2 * max(blocks, text_blocks)))
    tokenizer, transform = load_tokenizer(options.output), load_transform(options.output)
    pictures = random.Random(options.seed).sample(demo_pictures(), 2)
    pixels = [transform(Image.open(p)) for p in pictures]
    token_ids = [tokenizer.ids("a photo of a cat"), tokenizer.ids("two dogs on a red bicycle")]
    spread = sharpen_attention(towers(model, pixels, token_ids))
    model.to(getattr(torch, options.dtype)).save_pretrained(options.output, max_shard_size="100GB")
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{options.output}: {options.shape}, {parameters / 1e6:.1f} M parameters, attention logits std {spread}")


if __name__ == "__main__":
    main()
