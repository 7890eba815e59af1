"""The odd checkpoints of tests/data: what each of them is there to catch, and how it is written.

Widths that are no multiple of 32, head widths 16 to 64, towers of different width, depth and activation, any patch and picture
size; the ways in which real Hugging Face folders differ (defaults left out, legacy keys and ids, shards, three float types).

pip install torch transformers safetensors clip-anytorch
"""

import json

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from redraw import redraw, sharpen_attention, towers, write_vocabulary
from reference import END, START, load_tokenizer, load_transform

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def tower(width, heads, depth, feed_forward, act, eps, **more):
    """One tower's half of a CLIPConfig."""
    return dict(hidden_size=width, num_attention_heads=heads, num_hidden_layers=depth, intermediate_size=feed_forward,
                hidden_act=act, layer_norm_eps=eps, **more)


MODELS = [
    # Like OpenAI's first folders: eos_token_id 2 (pool at the highest id), defaults left out of config.json, integer sizes in
    # preprocessor_config.json, position_ids among the tensors. Head width 20, patch 7, the deepest vision tower.
    dict(name="odd-legacy", seed=1, dtype="float32", merges=100, projection=24, legacy=True,
         vision=tower(40, 2, 4, 50, "quick_gelu", 1e-5, image_size=28, patch_size=7),
         text=tower(40, 2, 1, 90, "quick_gelu", 1e-5, max_position_embeddings=77)),
    # Three shards; another activation and eps in each tower; mean and std that are not CLIP's; odd projection.
    dict(name="odd-sharded", seed=2, dtype="float32", merges=120, projection=33, shards="140KB",
         mean=[0.5, 0.45, 0.4], std=[0.5, 0.25, 0.3],
         vision=tower(72, 3, 1, 98, "gelu", 1e-6, image_size=32, patch_size=8),
         text=tower(40, 2, 1, 76, "gelu_pytorch_tanh", 1e-3, max_position_embeddings=32)),
    # float16; one head of 64; 49 patches of 14; text wider than vision.
    dict(name="odd-f16", seed=3, dtype="float16", merges=100, projection=40,
         vision=tower(64, 1, 2, 100, "gelu", 1e-5, image_size=98, patch_size=14),
         text=tower(72, 3, 1, 84, "gelu", 1e-5, max_position_embeddings=77)),
    # bfloat16; patch 32 and four patches only; the deepest text tower.
    dict(name="odd-bf16", seed=4, dtype="bfloat16", merges=100, projection=28,
         vision=tower(40, 2, 1, 84, "gelu_pytorch_tanh", 1e-5, image_size=64, patch_size=32),
         text=tower(24, 1, 4, 60, "quick_gelu", 1e-6, max_position_embeddings=50)),
    # Width 160 in ten heads of 16; patch 4; a context of 16.
    dict(name="odd-wide", seed=5, dtype="float16", merges=300, projection=48,
         vision=tower(160, 10, 1, 50, "quick_gelu", 1e-5, image_size=28, patch_size=4),
         text=tower(32, 2, 2, 50, "quick_gelu", 1e-5, max_position_embeddings=16)),
    # The end token has a lower id than the start token: whoever pools at the highest id, or takes the last two ids for start and
    # end, is wrong. Upscales most pictures; the feed-forward is narrower than the tower.
    dict(name="odd-ids", seed=6, dtype="float32", merges=100, projection=20, specials=(END, START),
         vision=tower(40, 2, 1, 36, "quick_gelu", 1e-5, image_size=112, patch_size=16),
         text=tower(36, 2, 1, 68, "gelu", 1e-5, max_position_embeddings=33)),
    # Every row is whole blocks of 32, so that everything is quantized, at head widths 32 and 16; the pictures' side is no multiple of
    # the patch (the last two rows and columns of pixels are not seen).
    dict(name="odd-blocks", seed=7, dtype="float16", merges=100, projection=32,
         vision=tower(64, 2, 2, 64, "quick_gelu", 1e-5, image_size=50, patch_size=16),
         text=tower(64, 4, 1, 96, "gelu", 1e-5, max_position_embeddings=77)),
]


def write_tokenizer(folder, merge_count, context, specials=(START, END)):
    """A folder's three files of the tokenizer; returns the vocabulary (token to id)."""
    vocabulary = write_vocabulary(folder, merge_count, specials)
    config = dict(bos_token=START, eos_token=END, pad_token=END, unk_token=END, model_max_length=context,
                  tokenizer_class="CLIPTokenizer")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return vocabulary


def write_processor(spec, folder):
    """preprocessor_config.json, in the first or in today's spelling."""
    size = spec["vision"]["image_size"]
    config = dict(do_center_crop=True, do_normalize=True, do_resize=True, resample=3,
                  image_mean=spec.get("mean", CLIP_MEAN), image_std=spec.get("std", CLIP_STD))
    if spec.get("legacy"):
        config |= dict(feature_extractor_type="CLIPFeatureExtractor", crop_size=size, size=size)
    else:
        config |= dict(image_processor_type="CLIPImageProcessor", do_convert_rgb=True, do_rescale=True, rescale_factor=1 / 255,
                       crop_size=dict(height=size, width=size), size=dict(shortest_edge=size))
    (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def make_legacy(folder, positions):
    """What distinguishes a folder saved by transformers 4.0: ids of another vocabulary, defaults left out, buffers saved."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] |= dict(bos_token_id=0, eos_token_id=2, pad_token_id=1)
    for part in ("text_config", "vision_config"):
        for key in ("hidden_act", "layer_norm_eps", "num_channels", "max_position_embeddings", "dtype"):
            config[part].pop(key, None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors = load_file(folder / "model.safetensors")
    for part, count in positions.items():
        tensors[f"{part}_model.embeddings.position_ids"] = torch.arange(count).unsqueeze(0)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_model(spec, folder, pictures, texts, longest):
    """Writes one Hugging Face folder; returns the standard deviations of its attention logits by tower and layer."""
    from transformers import CLIPConfig, CLIPModel

    folder.mkdir(parents=True, exist_ok=True)
    context = spec["text"]["max_position_embeddings"]
    vocabulary = write_tokenizer(folder, spec["merges"], context, spec.get("specials", (START, END)))
    special = dict(bos_token_id=vocabulary[START], eos_token_id=vocabulary[END], pad_token_id=vocabulary[END])
    config = CLIPConfig(
        text_config=spec["text"] | special | dict(vocab_size=len(vocabulary), projection_dim=spec["projection"]),
        vision_config=spec["vision"] | dict(projection_dim=spec["projection"]),
        projection_dim=spec["projection"],
    )
    config._attn_implementation = "eager"
    write_processor(spec, folder)

    model = CLIPModel(config).eval()
    redraw(model, spec["seed"])
    tokenizer, transform = load_tokenizer(folder), load_transform(folder)
    token_ids = [ids for ids in map(tokenizer.ids, texts + [longest]) if len(ids) <= context]
    pixels = [transform(Image.open(p)) for p in pictures]
    measured = sharpen_attention(towers(model, pixels, token_ids))
    model.to(getattr(torch, spec["dtype"])).save_pretrained(folder, max_shard_size=spec.get("shards", "5GB"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if spec.get("legacy"):
        patches = (spec["vision"]["image_size"] // spec["vision"]["patch_size"]) ** 2
        make_legacy(folder, {"text": context, "vision": patches + 1})
    return measured
