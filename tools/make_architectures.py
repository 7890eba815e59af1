"""Writes crates/convert/data/architectures.json: open_clip's model configurations that edgeclip converts, for `--arch NAME`.

    pip install -r tools/requirements.txt        (open_clip_torch)
    python tools/make_architectures.py

Those of open_clip's own transformers with CLIP's tokenizer, as they stand in the package (MIT License, see crates/convert/data/README.md).
"""

import json
import pathlib

import open_clip

TARGET = pathlib.Path(__file__).resolve().parent.parent / "crates/convert/data/architectures.json"
# What only other models have; the converter refuses these keys by name.
FOREIGN = {"timm_model_name", "hf_model_name", "hf_tokenizer_name", "attentional_pool", "embed_cls", "no_ln_pre"}


def is_converted(config):
    """Whether both encoders are open_clip's transformers and nothing is switched on that edgeclip does not have."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if isinstance(vision.get("layers"), list) or "multimodal_cfg" in config or text.get("no_causal_mask"):
        return False
    return not FOREIGN & (vision.keys() | text.keys())


def main():
    """Writes the file."""
    folder = pathlib.Path(open_clip.__file__).parent / "model_configs"
    configs = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    kept = {name: config for name, config in configs.items() if is_converted(config)}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(config)}" for name, config in kept.items())
    TARGET.write_text("{\n" + lines + "\n}\n")
    print(f"{TARGET.name}: {len(kept)} of {len(configs)} architectures")


if __name__ == "__main__":
    main()
