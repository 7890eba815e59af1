"""The seeds of the fuzz targets that are not files of the tests already: the smallest checkpoint there can be, in every container.

    cargo build --release -p edgeclip-cli
    python tools/make_fuzz_seeds.py    # writes fuzz/checkpoint and fuzz/seeds (about 300 kB)

Widths of 4, or of 32 where blocks are quantized; one block a tower; the vocabulary of tests/data/ckpt-hf (534 tokens).

pip install torch safetensors numpy
"""

import collections
import json
import pathlib
import shutil
import subprocess
import tempfile
import zipfile

import numpy
import torch
from safetensors.torch import save_file

FUZZ = pathlib.Path("fuzz")
SEEDS = FUZZ / "seeds"
SOURCE = pathlib.Path("tests/data/ckpt-hf")
TORCH = pathlib.Path("crates/convert/tests/data/torch")
PROGRAM = pathlib.Path("target/release/edgeclip")
TOKENS, CONTEXT, IMAGE, PATCH = 534, 8, 6, 2


def config(width, mlp, act):
    """config.json of a model with towers of this width."""
    tower = dict(hidden_size=width, num_attention_heads=2, num_hidden_layers=1, intermediate_size=mlp, hidden_act=act, layer_norm_eps=1e-5)
    return dict(model_type="clip", projection_dim=width,
                text_config=dict(tower, vocab_size=TOKENS, max_position_embeddings=CONTEXT, eos_token_id=533),
                vision_config=dict(tower, image_size=IMAGE, patch_size=PATCH))


def tensors(width, mlp, dtype):
    """A state dict of CLIPModel with seeded values."""
    rng = numpy.random.default_rng(1)
    state = collections.OrderedDict()

    def add(name, *shape):
        state[name] = torch.from_numpy(rng.normal(0.0, 0.3, shape).astype(numpy.float32)).to(dtype)

    def linear(name, rows, columns):
        add(f"{name}.weight", rows, columns)
        add(f"{name}.bias", rows)

    def norm(name):
        add(f"{name}.weight", width)
        add(f"{name}.bias", width)

    state["logit_scale"] = torch.tensor(3.0, dtype=dtype)
    for model in ("text_model", "vision_model"):
        if model == "text_model":
            add(f"{model}.embeddings.token_embedding.weight", TOKENS, width)
            add(f"{model}.embeddings.position_embedding.weight", CONTEXT, width)
        else:
            add(f"{model}.embeddings.class_embedding", width)
            add(f"{model}.embeddings.patch_embedding.weight", width, 3, PATCH, PATCH)
            add(f"{model}.embeddings.position_embedding.weight", (IMAGE // PATCH) ** 2 + 1, width)
            norm(f"{model}.pre_layrnorm")
        layer = f"{model}.encoder.layers.0"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{layer}.self_attn.{part}", width, width)
        linear(f"{layer}.mlp.fc1", mlp, width)
        linear(f"{layer}.mlp.fc2", width, mlp)
        norm(f"{layer}.layer_norm1")
        norm(f"{layer}.layer_norm2")
        norm(f"{model}.{'final_layer_norm' if model == 'text_model' else 'post_layernorm'}")
    add("text_projection.weight", width, width)
    add("visual_projection.weight", width, width)
    return state


def checkpoint(folder, width, mlp, dtype=torch.float32, act="quick_gelu"):
    """A folder as transformers writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(SOURCE / name, folder / name)
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>")) + "\n")
    (folder / "config.json").write_text(json.dumps(config(width, mlp, act), indent=1) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(
        dict(size=dict(shortest_edge=IMAGE), crop_size=dict(height=IMAGE, width=IMAGE), resample=3, do_resize=True, do_center_crop=True,
             do_normalize=True, do_convert_rgb=True, image_mean=[0.48, 0.46, 0.41], image_std=[0.27, 0.26, 0.28]), indent=1) + "\n")
    state = tensors(width, mlp, dtype)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    return state


def seed(target, name, content):
    (SEEDS / target).mkdir(parents=True, exist_ok=True)
    (SEEDS / target / name).write_bytes(content)


def weights(work):
    """The containers of a checkpoint."""
    state = checkpoint(work / "tiny", 4, 8, torch.float16)
    if (FUZZ / "checkpoint").exists():
        shutil.rmtree(FUZZ / "checkpoint")
    shutil.copytree(work / "tiny", FUZZ / "checkpoint", ignore=shutil.ignore_patterns("model.safetensors"))
    seed("safetensors", "tiny.safetensors", (work / "tiny/model.safetensors").read_bytes())
    checkpoint(work / "bf16", 4, 8, torch.bfloat16)
    seed("safetensors", "bf16.safetensors", (work / "bf16/model.safetensors").read_bytes())
    for name, legacy in (("zip.bin", False), ("legacy.bin", True)):
        torch.save(state, work / name, _use_new_zipfile_serialization=not legacy)
        seed("torch", name, (work / name).read_bytes())
    for path in sorted([*TORCH.glob("*.pt"), work / "zip.bin"]):
        # Its checksums are 0, which Python's reader takes for wrong ones.
        if not zipfile.is_zipfile(path) or path.stem == "no-checksums":
            continue
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            script = any(name.endswith("/constants.pkl") for name in names)
            pickle = archive.read(next(name for name in names if name.endswith("/data.pkl")))
        if len(pickle) < 1 << 13:
            seed("pickle", path.stem, bytes([script]) + pickle)


def models(work):
    """GGUF files, in each type of block."""
    def convert(name, folder, *arguments):
        output = work / f"{name}.gguf"
        subprocess.run([PROGRAM, "convert", folder, "--output", output, "--no-check", *arguments], check=True)
        seed("model", f"{name}.gguf", output.read_bytes())

    convert("f32", work / "tiny", "--type", "f32")
    convert("f16-image", work / "tiny", "--type", "f16", "--tower", "image")
    convert("f16-text", work / "tiny", "--type", "f16", "--tower", "text")
    checkpoint(work / "blocks", 32, 32, act="gelu")
    convert("q8_0-image", work / "blocks", "--type", "q8_0", "--tower", "image")
    for name in ("q4_0", "q4_1", "q5_0", "q5_1"):
        convert(f"{name}-image", work / "blocks", "--type", name, "--pure", "--tower", "image")
    convert("q4_0-text", work / "blocks", "--type", "q4_0", "--pure", "--tower", "text")
    # The second linear of the MLP has rows of 256, of which the K types have blocks.
    checkpoint(work / "long", 32, 256)
    for name in ("q4_k", "q6_k"):
        convert(f"{name}-image", work / "long", "--type", "q4_0", "--pure", "--tensor-type", f"ffn_up={name}", "--tower", "image")


def settings():
    """The files beside weights, each behind the letter that fuzz/src/settings.rs has for it."""
    folder = FUZZ / "checkpoint"
    for letter, name in dict(c="config.json", p="preprocessor_config.json", v="vocab.json", m="merges.txt", t="tokenizer_config.json").items():
        seed("settings", name, letter.encode() + (folder / name).read_bytes())
    for name, path in {"old": "odd-legacy", "f16": "odd-f16", "ids": "odd-ids"}.items():
        for letter, file in dict(c="config.json", p="preprocessor_config.json", t="tokenizer_config.json").items():
            seed("settings", f"{name}-{file}", letter.encode() + (pathlib.Path("tests/data") / path / file).read_bytes())
    for name in ("custom", "gelu", "scale"):
        seed("settings", f"open_clip-{name}.json", b"o" + pathlib.Path(f"tests/data/ckpt-open-clip-{name}/open_clip_config.json").read_bytes())
    vocabulary = json.loads((folder / "vocab.json").read_text())
    merges = (folder / "merges.txt").read_text().splitlines()[1:]
    added = [dict(id=i, content=token) for token, i in vocabulary.items() if token.startswith("<|")]
    joint = dict(added_tokens=added, model=dict(vocab=vocabulary, merges=merges))
    seed("settings", "tokenizer.json", b"j" + json.dumps(joint, ensure_ascii=False).encode())
    joint["model"]["merges"] = [merge.split(" ") for merge in merges]
    seed("settings", "tokenizer-pairs.json", b"j" + json.dumps(joint, ensure_ascii=False).encode())
    seed("settings", "special_tokens_map.json", b's{"bos_token":{"content":"<|startoftext|>"},"eos_token":"<|endoftext|>"}')
    seed("settings", "added_tokens.json", b'a{"<|startoftext|>":532,"<|endoftext|>":533}')
    names = tensors(4, 8, torch.float16)
    index = dict(metadata=dict(total_size=1), weight_map={name: "model-00001-of-00001.safetensors" for name in names})
    seed("settings", "model.safetensors.index.json", b"i" + json.dumps(index).encode())


def vocabularies():
    """Tokens and merges, as fuzz/src/vocabulary.rs has them."""
    def vocabulary(name, flags, start, end, pad, context, tokens, merges, text):
        numbers = b"".join(number.to_bytes(2, "little") for number in (start, end, pad, context))
        lists = "\n".join(tokens) + "\n\n" + "\n".join(merges) + "\n\n" + text
        seed("vocabulary", name, bytes([flags]) + numbers + lists.encode())

    tokens = ["th", "the</w>", "in", "ing</w>", "<s>", "<e>"]
    merges = ["t h", "th e</w>", "i n", "in g</w>"]
    vocabulary("listed", 3, 516, 517, 0, 77, tokens, merges, "the king sings <s> inthe thing")
    vocabulary("recovered", 2, 515, 516, 516, 8, ["th", "the</w>", "in", "<s>", "<e>"], [], "the thin&amp;g")
    loaded = json.loads((SOURCE / "vocab.json").read_text())
    lines = (SOURCE / "merges.txt").read_text().splitlines()[1:]
    vocabulary("whole", 1, 532, 533, 0, 24, sorted(loaded, key=loaded.get), lines, "a photo of the string " * 3)


def texts():
    """Texts that each step of the cleaning has something to do for."""
    for name, text in dict(
        plain="a photo of a cat, sitting on 2 chairs!",
        mojibake="schÃ¶n â€œquotesâ€\x9d l’humanitÃ© ðŸ˜€ uÌˆ",
        entities="&amp;amp; &eacute; &#x1F600; &lt;|endoftext|&gt; &notin; &#0; &#128;",
        specials="<|startoftext|>a<|endoftext|> b</w> <|END",
        scripts="ﬁ ﬂ ＦＵＬＬ ｱｲｳ ẞ İstanbul ΑΣ 日本語 हिन्दी e\u0301\u0323",
        controls="a\u0000b\u001b[31mc\ufeff\ufffd \u2028x\u00ad\r\ny\u0085z\u200b",
        long="x" * 400 + " " + "ab" * 200,
        apostrophes="it's they'll I'M we've 'd don''t 1234'5",
    ).items():
        seed("text", name, text.encode())


if __name__ == "__main__":
    if SEEDS.exists():
        shutil.rmtree(SEEDS)
    with tempfile.TemporaryDirectory() as work:
        weights(pathlib.Path(work))
        models(pathlib.Path(work))
    settings()
    vocabularies()
    texts()
    print(sum(path.stat().st_size for path in FUZZ.rglob("*") if path.is_file() and "seeds" in path.parts), "bytes")
