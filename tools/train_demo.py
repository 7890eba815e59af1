"""How models/demo was made: a small CLIP learns emoji in six drawing styles by their names and keywords.

    pip install -r tools/requirements.txt        (torch transformers resvg-py pillow numpy clip-anytorch safetensors; npm on the PATH)
    python tools/train_demo.py                                  # 72 + 19 minutes on two CPU cores
    python tools/train_demo.py --steps 4 --finetune-steps 2 --emoji 300 --batch 32      # does it run?

Three stages, all cached in --work (default target/train-demo):

1. data: the emoji of emojibase-data, drawn at 128 x 128 by Noto, Twemoji, Fluent (flat and 3D), OpenMoji and Google's bitmaps;
2. train: from nothing, on all styles but OpenMoji; half of the patches are dropped at first (FLIP, arXiv:2212.00794), which
   halves the cost of a step when steps matter most;
3. finetune: at half the rate, with the half of OpenMoji whose position mod 4 is 0 or 1. Positions mod 4 = 2 are the evaluation
   set of tools/eval_set.py; 3 stays unused.

Loss: the symmetric cross-entropy of CLIP (arXiv:2103.00020, figure 3) over batches of 256 pairs; AdamW, cosine schedule.
Writes a Hugging Face folder with f16 weights to --output (default target/demo-new) and prints its recall on the unseen quarter.
The committed checkpoint came from a schedule over minutes instead of steps (1,503 and 481 steps were reached), so a run
gives a sibling of it, not the same file.
"""

import argparse
import json
import math
import pathlib
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from emoji import SIZE, drawing_styles, emoji_list, on_white
from odd_models import CLIP_MEAN, CLIP_STD, write_processor
from redraw import write_vocabulary
from reference import END, START, encode_images, encode_texts, load_model, load_tokenizer, load_transform, normalize

VOCABULARY, CONTEXT, IMAGE, WIDTH, HEADS = 8192, 77, 112, 256, 4
# Captions are short; cutting the batch here saves a quarter of a step.
CAPTION_TOKENS = 28
TEMPLATES = ["{}", "{}", "a picture of {}", "an emoji of {}", "a drawing of {}", "{} emoji", "an icon of {}", "a photo of {}",
             "this is {}", "a {} icon"]


def load_data(work, limit):
    """Draws every emoji in every style: RGBA bytes [n, 128, 128, 4], and for each emoji its words and its row by style."""
    bitmap_file, table_file = work / f"drawings-{limit or 'all'}.npy", work / f"emoji-{limit or 'all'}.json"
    if not table_file.exists():
        work.mkdir(parents=True, exist_ok=True)
        styles, drawings = drawing_styles(work / "npm"), []
        items = emoji_list(work / "npm")[:limit]
        for item in items:
            item["rows"] = {}
            for style, draw in styles.items():
                pixels = draw(item["hexcode"])
                if pixels is not None:
                    item["rows"][style] = len(drawings)
                    drawings.append(pixels)
        np.save(bitmap_file, np.stack(drawings))
        table_file.write_text(json.dumps(items))
    items = json.loads(table_file.read_text())
    for position, item in enumerate(items):
        item["quarter"] = position % 4
    return torch.from_numpy(np.load(bitmap_file)), items


def caption(item):
    """A random caption: mostly the name in a template, sometimes with keywords, keywords alone, or the group."""
    template, kind, tags = random.choice(TEMPLATES), random.random(), item["tags"]
    some_tags = random.sample(tags, min(len(tags), random.randint(1, 2)))
    if kind < 0.65 or not tags:
        return template.format(item["label"])
    if kind < 0.85:
        return template.format(item["label"]) + ", " + ", ".join(some_tags)
    if kind < 0.97:
        return template.format(" ".join(some_tags))
    return template.format(item["label"]) + ", " + item["subgroup"] + ", " + item["group"]


def augment(drawings):
    """RGBA bytes to normalised pixels [n, 3, 112, 112]: turned, scaled, shifted, on white or a colour, brighter or darker."""
    x = drawings.permute(0, 3, 1, 2).float() / 255
    n = len(x)
    background, kind = torch.ones(n, 3, 1, 1), torch.rand(n)
    background[kind > 0.5] = torch.rand(n, 3, 1, 1)[kind > 0.5]
    background[kind > 0.9] = 0
    angle, scale = (torch.rand(n) - 0.5) * 0.25, 0.85 + torch.rand(n) * 0.35
    dx, dy = (torch.rand(n) - 0.5) * 0.15, (torch.rand(n) - 0.5) * 0.15
    rows = [torch.stack([scale * angle.cos(), -scale * angle.sin(), dx], 1), torch.stack([scale * angle.sin(), scale * angle.cos(), dy], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), (n, 4, IMAGE, IMAGE), align_corners=False)
    # Premultiplied, so that the colour of transparent pixels cannot bleed in.
    moved = F.grid_sample(torch.cat([x[:, :3] * x[:, 3:], x[:, 3:]], 1), grid, mode="bilinear", align_corners=False)
    rgb = moved[:, :3] + (1 - moved[:, 3:]) * background
    rgb = rgb * (1 + (torch.rand(n, 1, 1, 1) - 0.5) * 0.3) + (torch.rand(n, 3, 1, 1) - 0.5) * 0.1
    mean, std = torch.tensor(CLIP_MEAN).view(1, 3, 1, 1), torch.tensor(CLIP_STD).view(1, 3, 1, 1)
    return (rgb.clamp(0, 1) - mean) / std


def new_model(vocabulary):
    """The demo's architecture, untrained."""
    from transformers import CLIPConfig, CLIPModel

    common = dict(hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_attention_heads=HEADS, hidden_act="quick_gelu", projection_dim=WIDTH)
    text = common | dict(vocab_size=VOCABULARY, num_hidden_layers=3, max_position_embeddings=CONTEXT, bos_token_id=vocabulary[START],
                         eos_token_id=vocabulary[END], pad_token_id=vocabulary[END])
    vision = common | dict(num_hidden_layers=5, image_size=IMAGE, patch_size=16)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH, logit_scale_init_value=3.0))


class PatchDropout:
    """Keeps the class token and a random share of the patches during training."""

    def __init__(self, embeddings):
        self.keep, self._forward = 1.0, embeddings.forward
        embeddings.forward = self

    def __call__(self, *args, **kwargs):
        tokens = self._forward(*args, **kwargs)
        if self.keep == 1.0:
            return tokens
        n, count, width = tokens.shape
        kept = torch.rand(n, count - 1).topk(int((count - 1) * self.keep), 1).indices + 1
        return torch.cat([tokens[:, :1], tokens.gather(1, kept[..., None].expand(-1, -1, width))], 1)


def features(model, pixels, tokens):
    """Normalised vectors of both towers, computed in bfloat16 where torch finds that safe."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
        text = model.text_projection(model.text_model(**tokens).pooler_output)
    return F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)


def pick_drawing(item, openmoji_share):
    """The row of a random drawing that training may see."""
    rows = dict(item["rows"])
    unseen = rows.pop("openmoji", None)
    if unseen is not None and item["quarter"] < 2 and random.random() < openmoji_share:
        return unseen
    return random.choice(list(rows.values()))


def train(model, dropout, tokenizer, drawings, items, *, steps, batch, rate, warmup, kept, openmoji_share):
    """One stage. `kept` lists (until which share of the steps, share of patches kept)."""
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        (plain if parameter.ndim < 2 or "embedding" in name else decayed).append(parameter)
    groups = [dict(params=decayed, weight_decay=0.1), dict(params=plain, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6)
    items = [item for item in items if set(item["rows"]) - {"openmoji"}]
    model.train()
    started = time.time()
    for step in range(steps):
        done = step / steps
        dropout.keep = next(share for until, share in kept if done < until)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        chosen = random.sample(items, min(batch, len(items)))
        pixels = augment(drawings[torch.tensor([pick_drawing(item, openmoji_share) for item in chosen])])
        tokens = tokenizer([caption(item) for item in chosen], padding=True, truncation=True, max_length=CAPTION_TOKENS, return_tensors="pt")
        image, text = features(model, pixels, dict(tokens))
        logits = model.logit_scale.exp().clamp(max=100) * image @ text.T
        target = torch.arange(len(chosen))
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        if step % 20 == 0 or step == steps - 1:
            right = (logits.argmax(1) == target).float().mean()
            print(f"{time.time() - started:6.0f} s  step {step:4}  loss {loss:.3f}  right {right:.3f}  scale {model.logit_scale.exp():.1f}", flush=True)
    dropout.keep = 1.0
    model.eval()


def report(folder, drawings, items):
    """Recall@1 of the saved folder, through the reference, on the quarter of OpenMoji it never saw."""
    unseen = [item for item in items if item["quarter"] == 2 and "openmoji" in item["rows"]]
    model, tokenizer, transform = load_model(folder), load_tokenizer(folder), load_transform(folder)
    pictures = [Image.fromarray(on_white(drawings[item["rows"]["openmoji"]].numpy())) for item in unseen]
    images = normalize(encode_images(model, transform, pictures))
    texts = normalize(encode_texts(model, [tokenizer.ids("an emoji of " + item["label"]) for item in unseen]))
    right = (images @ texts.T).argmax(1) == torch.arange(len(unseen))
    print(f"{folder}: picture to text recall@1 {100 * right.float().mean():.2f} % of {len(unseen)} unseen drawings")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1503)
    parser.add_argument("--finetune-steps", type=int, default=481)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--emoji", type=int, help="use the first so many emoji only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("target/train-demo"))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("target/demo-new"))
    options = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    torch.set_num_threads(options.threads)

    drawings, items = load_data(options.work, options.emoji)
    assert drawings.shape[1:] == (SIZE, SIZE, 4)
    print(f"{len(items)} emoji, {len(drawings)} drawings")
    options.output.mkdir(parents=True, exist_ok=True)
    vocabulary = write_vocabulary(options.output, VOCABULARY - 512 - 2)
    words = dict(bos_token=START, eos_token=END, pad_token=END, unk_token=END, model_max_length=CONTEXT, tokenizer_class="CLIPTokenizer")
    (options.output / "tokenizer_config.json").write_text(json.dumps(words, indent=1) + "\n")
    write_processor(dict(vision=dict(image_size=IMAGE)), options.output)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.output)
    model = new_model(vocabulary)
    dropout = PatchDropout(model.vision_model.embeddings)
    common = dict(batch=options.batch)
    train(model, dropout, tokenizer, drawings, items, steps=options.steps, rate=1.2e-3, warmup=60,
          kept=[(0.7, 0.5), (0.88, 0.75), (1.0, 1.0)], openmoji_share=0.0, **common)
    train(model, dropout, tokenizer, drawings, items, steps=options.finetune_steps, rate=6e-4, warmup=20,
          kept=[(0.5, 0.8), (1.0, 1.0)], openmoji_share=0.45, **common)
    model.half().save_pretrained(options.output)
    report(options.output, drawings, items)


if __name__ == "__main__":
    main()
