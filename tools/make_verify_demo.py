"""Writes crates/cli/data/published_demo.json: what the reference makes of the demo checkpoint, for `edgeclip verify`.

    pip install -r tools/requirements.txt        (torch torchvision transformers pillow clip-anytorch ftfy)
    python tools/make_verify_demo.py [--check]

Token ids, whole vectors and logits of a few texts and pictures, in the form of crates/cli/data/published.json. --check writes nothing: it
exits 1 if a fresh run differs from the committed file by more than the tolerance.
"""

import argparse
import hashlib
import json
import sys
from importlib.metadata import version

import torch
from PIL import Image

from reference import DEMO, ROOT, encode_images, encode_texts, load_model, load_tokenizer, load_transform, normalize

OUT = ROOT / "crates" / "cli" / "data" / "published_demo.json"
MODEL = "edgeclip demo"
# The promise for f32, ten times the reference's own noise; a logit is off by the scale times that of two vectors.
TOLERANCE = 1e-5
PICTURES = ["cat", "octopus", "red-car"]
TEXTS = ["an emoji of a cat", "A PHOTO of a   Red Apple!!", "fish &amp;amp; chips in a na\u00efve caf\u00e9"]


def rounded(values):
    """With as many digits as float32 has."""
    return [float(f"{value:.8g}") for value in values.tolist()]


def sha256(path):
    """The hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def demo_entries():
    """Everything, as it stands in the file."""
    model, tokenizer, transform = load_model(DEMO), load_tokenizer(DEMO), load_transform(DEMO)
    paths = [DEMO / "pictures" / f"{name}.png" for name in PICTURES]
    ids = [tokenizer.ids(text) for text in TEXTS]
    images, texts = encode_images(model, transform, paths), encode_texts(model, ids)
    scale = model.logit_scale.exp().item()
    # The model's own logits, a second way through it; pad after the end token, which no earlier one sees.
    longest = max(map(len, ids))
    padded = torch.tensor([row + [row[-1]] * (longest - len(row)) for row in ids])
    with torch.no_grad():
        pixels = torch.stack([transform(Image.open(path)) for path in paths])
        logits = model(input_ids=padded, pixel_values=pixels).logits_per_image

    checks = []

    def add(quantity, absolute=None):
        check = {"models": [MODEL], "source": "reference"}
        if absolute is not None:
            check["tolerance"] = {"absolute": absolute}
        checks.append({**check, "quantity": quantity})

    for text, row in zip(TEXTS, ids):
        add({"tokens": {"text": text, "ids": row}})
    for text, vector in zip(TEXTS, texts):
        add({"vector": {"of": {"text": text}, "normalized": True, "first": rounded(normalize(vector))}}, TOLERANCE)
    add({"sum": {"of": {"text": TEXTS[0]}, "value": rounded(texts[:1].sum(1))[0]}}, float(f"{TOLERANCE * texts[0].norm().item() * 16:.1g}"))
    for path, vector in zip(paths, images):
        add({"vector": {"of": {"picture": path.name}, "normalized": True, "first": rounded(normalize(vector))}}, TOLERANCE)
    for path, row in zip(paths, logits):
        add({"logits": {"picture": path.name, "texts": TEXTS, "values": rounded(row)}}, float(f"{2 * scale * TOLERANCE:.1g}"))
    add({"probabilities": {"picture": paths[0].name, "texts": TEXTS, "values": rounded(logits[0].softmax(0))}}, 2e-4)

    packages = ", ".join(f"{name} {version(name)}" for name in ("transformers", "torch", "clip-anytorch"))
    config = model.config
    return {
        "sources": {"reference": {"what": f"tools/make_verify_demo.py: {packages}"}},
        "pictures": {path.name: {"sha256": sha256(path), "from": "models/demo/pictures"} for path in paths},
        "models": [{
            "name": MODEL,
            "names": [],
            "short_names": [],
            "sha256": [sha256(DEMO / "model.safetensors")],
            "facts": {
                "projection_dim": config.projection_dim,
                "image_size": config.vision_config.image_size,
                "patch_size": config.vision_config.patch_size,
                "activation": config.vision_config.hidden_act,
                "vocabulary": config.text_config.vocab_size,
                "context_length": config.text_config.max_position_embeddings,
            },
        }],
        "checks": checks,
    }


def formatted(entries):
    """One line a check."""
    def lines(items):
        return ",\n".join("  " + item for item in items)

    parts = []
    for key in ("sources", "pictures"):
        parts.append(f' "{key}": {{\n' + lines(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in entries[key].items()) + "\n }")
    for key in ("models", "checks"):
        parts.append(f' "{key}": [\n' + lines(map(json.dumps, entries[key])) + "\n ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def same(old, new, tolerance=None):
    """Whether two entries agree, numbers to the tolerance of their check."""
    if isinstance(old, dict) and isinstance(new, dict):
        tolerance = old.get("tolerance", {}).get("absolute", tolerance)
        return old.keys() == new.keys() and all(same(old[key], new[key], tolerance) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(same(a, b, tolerance) for a, b in zip(old, new))
    if isinstance(old, float) and isinstance(new, float):
        return abs(old - new) <= (tolerance or 0)
    return old == new


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed file, write nothing")
    arguments = parser.parse_args()
    fresh = demo_entries()
    if not arguments.check:
        OUT.write_text(formatted(fresh))
        return
    committed = json.loads(OUT.read_text())
    # Who made it may have another version.
    parts = ("pictures", "models", "checks")
    wrong = [part for part in parts if not same(committed[part], fresh[part])]
    sys.exit("differs: " + ", ".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
