"""The reference that edgeclip is measured against, in one place for all scripts here.

For every CLIP family the project's reference is OpenAI's pipeline around the checkpoint's own arithmetic:

- pictures go through `clip.clip._transform` (Pillow's bicubic, round-half-even crop) with the model's size, mean and std;
- texts go through `clip.simple_tokenizer.SimpleTokenizer` (ftfy, html.unescape twice, white space, lower case, BPE) with the
  model's vocabulary and merges;
- the towers are transformers' `CLIPModel` in float32 with eager attention, whatever type the weights are stored in.

Embeddings are raw (not normalised), as `clip.encode_image` and `clip.encode_text` give them.

pip install -r tools/requirements.txt   (torch, torchvision, transformers, clip-anytorch, ftfy, pillow)
"""

import json
import os
import pathlib

import regex
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "models" / "demo"
START, END = "<|startoftext|>", "<|endoftext|>"

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def folder_of(name):
    """A local Hugging Face folder: the path itself, or the Hub's snapshot of a repository name."""
    if pathlib.Path(name).is_dir():
        return pathlib.Path(name)
    from huggingface_hub import snapshot_download

    return pathlib.Path(snapshot_download(str(name), allow_patterns=["*.json", "*.txt", "*.safetensors"]))


def load_model(folder, dtype=torch.float32):
    """The folder's CLIPModel, its weights widened to `dtype`, with eager attention."""
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.to(dtype).eval()


def tokenizer_class():
    """SimpleTokenizer reading a Hugging Face vocabulary instead of CLIP's packed one (import kept lazy: it is slow)."""
    from clip.simple_tokenizer import SimpleTokenizer, bytes_to_unicode

    class FolderTokenizer(SimpleTokenizer):
        """CLIP's own cleaning and BPE over `vocab.json` and `merges.txt`; no token id is assumed."""

        def __init__(self, folder):
            folder = pathlib.Path(folder)
            lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
            merges = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
            self.byte_encoder = bytes_to_unicode()
            self.byte_decoder = {v: k for k, v in self.byte_encoder.items()}
            self.encoder = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
            self.decoder = {v: k for k, v in self.encoder.items()}
            self.bpe_ranks = dict(zip(merges, range(len(merges))))
            self.cache = {START: START, END: END}
            # The pattern of SimpleTokenizer.__init__, whose constructor cannot be called without CLIP's own file.
            self.pat = regex.compile(
                r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
                regex.IGNORECASE,
            )

        def ids(self, text):
            """Start, the text's tokens, end: what `clip.tokenize` pads."""
            return [self.encoder[START], *self.encode(text), self.encoder[END]]

    return FolderTokenizer


def load_tokenizer(folder):
    """The folder's tokenizer, see `tokenizer_class`."""
    return tokenizer_class()(folder)


def load_transform(folder):
    """`clip.clip._transform` with the size, mean and std of `preprocessor_config.json`."""
    from clip.clip import _transform
    from torchvision.transforms import Normalize

    config = json.loads((pathlib.Path(folder) / "preprocessor_config.json").read_text())
    size = config["size"]
    size = size["shortest_edge"] if isinstance(size, dict) else size
    crop = config["crop_size"]
    crop = crop["height"] if isinstance(crop, dict) else crop
    if size != crop:
        raise SystemExit(f"{folder}: the reference resizes and crops to one size, not {size} and {crop}")
    transform = _transform(size)
    transform.transforms[-1] = Normalize(config["image_mean"], config["image_std"])
    return transform


@torch.no_grad()
def encode_images(model, transform, pictures):
    """Raw image embeddings, [n, d], of files or PIL images. One picture a run: no batch effects in the reference."""
    rows = []
    for picture in pictures:
        image = picture if isinstance(picture, Image.Image) else Image.open(picture)
        pixels = transform(image).unsqueeze(0).to(model.dtype)
        rows.append(model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output))
    return torch.cat(rows)


@torch.no_grad()
def encode_texts(model, token_ids):
    """Raw text embeddings, [n, d], of unpadded id lists (under the causal mask padding could change nothing)."""
    rows = []
    for ids in token_ids:
        hidden = model.text_model(input_ids=torch.tensor([ids])).pooler_output
        rows.append(model.text_projection(hidden))
    return torch.cat(rows)


def normalize(rows):
    """L2-normalised rows."""
    return rows / rows.norm(dim=-1, keepdim=True)


def demo_pictures():
    """The 16 demo pictures, by name."""
    return sorted((DEMO / "pictures").glob("*.png"))


def picture_name(path):
    """`red-car.png` shows "red car"."""
    return pathlib.Path(path).stem.replace("-", " ")
