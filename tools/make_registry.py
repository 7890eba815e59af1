"""Writes crates/hub/data/models.json, the models that edgeclip knows by name, from what open_clip and OpenAI's `clip` say about them.

    pip install open_clip_torch==3.3.0 clip-anytorch==2.6.0
    python tools/make_registry.py

open_clip's `pretrained.py` gives repositories, activations and preprocessing, its architectures the numbers of parameters (counted on
torch's meta device, nothing is downloaded), `clip` the addresses of OpenAI's files with their sha256. What neither package knows is in the
tables below, each with its source.
"""

import ast
import importlib.util
import json
from pathlib import Path

import open_clip
from open_clip.pretrained import _PRETRAINED

# Zero-shot top-1 on ImageNet-1k, per cent: docs/openclip_results.csv of open_clip.
TOP1_SOURCE = "open_clip docs/openclip_results.csv"
TOP1 = {
    "ViT-B-32:openai": 63.32,
    "ViT-B-32:laion2b_s34b_b79k": 66.56,
    "ViT-B-32:metaclip_400m": 65.58,
    "ViT-B-32:metaclip_fullcc": 67.66,
    "ViT-B-32:datacomp_xl_s13b_b90k": 69.17,
    "ViT-B-32-256:datacomp_s34b_b86k": 72.81,
    "ViT-B-16:openai": 68.34,
    "ViT-B-16:laion2b_s34b_b88k": 70.23,
    "ViT-B-16:datacomp_xl_s13b_b90k": 73.49,
    "ViT-B-16:dfn2b": 76.24,
    "ViT-B-16:metaclip_fullcc": 72.12,
    "ViT-L-14:openai": 75.54,
    "ViT-L-14:laion2b_s32b_b82k": 75.25,
    "ViT-L-14:datacomp_xl_s13b_b90k": 79.21,
    "ViT-L-14:dfn2b": 81.41,
    "ViT-L-14:metaclip_fullcc": 79.17,
    "ViT-L-14-336:openai": 76.56,
    "ViT-H-14:laion2b_s32b_b79k": 77.96,
    "ViT-H-14:dfn5b": 83.44,
    "ViT-H-14-378:dfn5b": 84.37,
    "ViT-bigG-14:laion2b_s39b_b160k": 80.09,
}

# Plain ViTs with CLIP's own text tower and vocabulary: what edgeclip runs.
ARCHITECTURES = [
    "ViT-B-32",
    "ViT-B-32-256",
    "ViT-B-16",
    "ViT-B-16-plus-240",
    "ViT-L-14",
    "ViT-L-14-336",
    "ViT-H-14",
    "ViT-H-14-378",
    "ViT-g-14",
    "ViT-bigG-14",
]

# Research checkpoints of the data set's scaling study, and one whose repository in open_clip's table is that of its neighbour.
LEFT_OUT = ("commonpool_", "datacomp_s_", "datacomp_m_", "datacomp_l_")
WRONG_REPO = {"ViT-B-16-plus-240:laion400m_e32"}

# OpenAI's models as transformers has them.
TRANSFORMERS = {
    "ViT-B/32": "openai/clip-vit-base-patch32",
    "ViT-B/16": "openai/clip-vit-base-patch16",
    "ViT-L/14": "openai/clip-vit-large-patch14",
    "ViT-L/14@336px": "openai/clip-vit-large-patch14-336",
}

FAMILIES = [
    ("RN", "its image tower is a ResNet"),
    ("SigLIP", "SigLIP has another tokenizer, pooling and loss"),
    ("EVA", "its image tower is EVA's"),
    ("convnext", "its image tower is a ConvNeXt"),
    ("coca", "CoCa has a decoder and attentional pooling"),
    ("MobileCLIP", "its image tower is MobileCLIP's"),
    ("ViTamin", "its image tower is a ViTamin"),
    ("PE-Core", "PE-Core has rotary positions and attentional pooling"),
    ("CLIPA", "CLIPA has BERT's tokenizer and a text tower without causal mask"),
    ("worldwide", "its vocabulary is XLM-V's"),
    ("nllb", "its text tower is NLLB's"),
    ("roberta", "its text tower is a RoBERTa"),
]


def licence(tag, repo):
    """Of the weights, as their repositories and model cards state it."""
    if tag == "openai" or repo.startswith("laion/") or tag.startswith("laion"):
        return "MIT"
    if tag in ("metaclip_400m", "metaclip_fullcc"):
        return "CC-BY-NC-4.0"
    return "see model card"


def openai_addresses():
    """`clip.clip._MODELS`, read and not imported: the package needs an old setuptools."""
    source = Path(importlib.util.find_spec("clip").origin).with_name("clip.py").read_text()
    assignments = (node for node in ast.parse(source).body if isinstance(node, ast.Assign))
    return next(ast.literal_eval(node.value) for node in assignments if node.targets[0].id == "_MODELS")


def parameters(architecture):
    model = open_clip.create_model(architecture, pretrained=None, device="meta")
    return sum(p.numel() for p in model.parameters())


def main():
    openai = {name.replace("/", "-").replace("@336px", "-336"): (name, url) for name, url in openai_addresses().items()}
    models = []
    for architecture in ARCHITECTURES:
        count = parameters(architecture)
        image_size = open_clip.get_model_config(architecture)["vision_cfg"]["image_size"]
        for tag, facts in _PRETRAINED[architecture].items():
            name = f"{architecture}:{tag}"
            if tag.startswith(LEFT_OUT) or name in WRONG_REPO:
                continue
            repos, aliases, file = [facts["hf_hub"].rstrip("/")], [], None
            if tag == "openai":
                alias, url = openai[architecture]
                aliases.append(alias)
                repos.insert(0, TRANSFORMERS[alias])
                sha256, file_name = url.split("/")[-2:]
                file = {"path": "/" + url.split("/", 3)[3], "name": file_name, "sha256": sha256}
            models.append(
                {
                    "architecture": architecture,
                    "tag": tag,
                    "aliases": aliases,
                    "repos": repos,
                    "openai": file,
                    "licence": licence(tag, repos[0]),
                    "activation": "quick_gelu" if facts.get("quick_gelu") else "gelu",
                    "preprocessing": {
                        "size": image_size,
                        "mean": list(facts["mean"]),
                        "std": list(facts["std"]),
                        "interpolation": facts["interpolation"],
                        "resize_mode": facts["resize_mode"],
                    },
                    "parameters": count,
                    "top1": {"value": TOP1[name], "source": TOP1_SOURCE} if name in TOP1 else None,
                }
            )
    known = {f"{model['architecture']}:{model['tag']}" for model in models}
    assert set(TOP1) <= known, set(TOP1) - known

    not_yet = []
    for architecture, tags in _PRETRAINED.items():
        if architecture.removesuffix("-quickgelu") in ARCHITECTURES or architecture.endswith("-quickgelu"):
            continue
        reason = next(reason for part, reason in FAMILIES if part in architecture)
        repos = sorted({facts["hf_hub"].split(".bin")[0].rstrip("/").removesuffix("/pytorch_model") for facts in tags.values()})
        aliases = [openai[architecture][0]] if architecture in openai else []
        not_yet.append(
            {"architecture": architecture, "tags": sorted(tags), "aliases": aliases, "repos": repos, "reason": reason}
        )

    path = Path(__file__).parents[1] / "crates/hub/data/models.json"
    path.parent.mkdir(parents=True, exist_ok=True)

    def lines(rows):
        return ",\n".join("    " + json.dumps(row) for row in rows)

    source = f"tools/make_registry.py with open_clip_torch {open_clip.__version__}"
    path.write_text(f'{{\n  "source": {json.dumps(source)},\n  "models": [\n{lines(models)}\n  ],\n  "not_yet": [\n{lines(not_yet)}\n  ]\n}}\n')
    print(f"{path.name}: {len(models)} models, {len(not_yet)} architectures that do not run yet")


if __name__ == "__main__":
    main()
