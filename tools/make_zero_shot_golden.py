"""Writes tests/data/zero_shot.json: cosines of demo pictures with labels in open_clip's two lists of templates.

    pip install -r tools/requirements.txt        (torch torchvision transformers pillow clip-anytorch ftfy), open_clip_torch
    python tools/make_zero_shot_golden.py

The lists are open_clip's own, so that the test compares ours with them; the vectors are transformers', averaged as open_clip's
`build_zero_shot_classifier` does: each prompt normalised, the mean over the templates, normalised again.
"""

import json

import torch
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

from reference import DEMO, ROOT, encode_images, encode_texts, load_model, load_tokenizer, load_transform, normalize

PICTURES = ["cat", "red-car", "umbrella"]
LABELS = ["cat", "umbrella", "red car", "{}"]


def main():
    """Command line."""
    model, tokenizer, transform = load_model(DEMO), load_tokenizer(DEMO), load_transform(DEMO)
    pictures = normalize(encode_images(model, transform, [DEMO / "pictures" / f"{name}.png" for name in PICTURES]))
    result = {"pictures": PICTURES, "labels": LABELS}
    for name, templates in (("imagenet", OPENAI_IMAGENET_TEMPLATES), ("simple", SIMPLE_IMAGENET_TEMPLATES)):
        prompts = [[tokenizer.ids(template(label)) for template in templates] for label in LABELS]
        vectors = torch.stack([normalize(encode_texts(model, row)).mean(dim=0) for row in prompts])
        result[name] = (pictures @ normalize(vectors).T).tolist()
    (ROOT / "tests" / "data" / "zero_shot.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
