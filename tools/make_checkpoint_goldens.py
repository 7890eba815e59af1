"""Writes tests/data/ckpt-*: small checkpoints in every container and layout that people have, and what their libraries make of them.

    pip install -r tools/requirements.txt        (torch torchvision transformers open_clip_torch clip-anytorch gguf pillow ftfy)
    python tools/make_checkpoint_goldens.py [--check]

- ckpt-openai        OpenAI's classes, float32: a state dict, a training checkpoint of open_clip, torch.jit.trace, torch.jit.script
- ckpt-openai-fp16   the same as clip.model.convert_weights leaves them: a state dict, and TorchScript with the three numbers that
                     OpenAI's published archives carry
- ckpt-open-clip-*   folders as open_clip has them on the Hub
- ckpt-hf            transformers' CLIPModel as PyTorch files: zip, the format before it, shards
- ckpt-hf-vision, ckpt-hf-text   its CLIPVisionModelWithProjection and CLIPTextModelWithProjection
- ckpt-clipcpp       GGUF files as clip.cpp wrote them

As in make_goldens.py every parameter is redrawn, attention sharpened, and each reference held against itself. OpenAI's checkpoints come
with no vocabulary, so their table of tokens has 49,408 rows. To keep the files small, rows of matrices share most of their numbers:
each is a window on one storage, a few numbers after the row before. Strides and storage survive torch.save and torch.jit.save.
"""

import argparse
import copy
import json
import os
import pathlib
import sys
import tempfile
import zipfile

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from golden import HuggingFace, OpenAi, OpenClip, settle, write_golden
from make_goldens import CUTS, ODD_PICTURES, ODD_SENTENCES, digits
from odd_models import CLIP_MEAN, CLIP_STD, tower, write_model, write_tokenizer
from redraw import FusedAttention, redraw, sharpen_attention
from reference import ROOT, load_tokenizer, load_transform
from torchscript import save_script
from write_clipcpp import dequantized, write_clipcpp

PICTURES = ODD_PICTURES + [f"tests/data/pictures/{name}" for name in CUTS]
TEXTS = ODD_SENTENCES

# Arguments of clip.model.CLIP. Heads are width / 64, as nothing in such a checkpoint says.
OPENAI = dict(embed_dim=40, image_resolution=60, vision_layers=2, vision_width=128, vision_patch_size=12, context_length=40,
              vocab_size=49408, transformer_width=64, transformer_heads=1, transformer_layers=1)
OPENAI_FP16 = dict(embed_dim=36, image_resolution=42, vision_layers=1, vision_width=64, vision_patch_size=14, context_length=77,
                   vocab_size=49408, transformer_width=128, transformer_heads=2, transformer_layers=1)

OPEN_CLIP = [
    # Exact GELU, head widths 20 and 16, an MLP that is no multiple of the width; what the Hub's folders say of preprocessing.
    dict(name="ckpt-open-clip-gelu", seed=13, dtype=torch.float16, model_cfg=dict(
        embed_dim=24,
        vision_cfg=dict(image_size=42, layers=1, width=40, head_width=20, patch_size=7, mlp_ratio=4.9231),
        text_cfg=dict(context_length=77, width=32, heads=2, layers=2, mlp_ratio=2.5)),
         preprocess_cfg=dict(mean=CLIP_MEAN, std=CLIP_STD)),
    # QuickGELU, tensors of the text encoder under `text.`, scale and bias of logits as vectors of one.
    dict(name="ckpt-open-clip-custom", seed=14, dtype=torch.bfloat16, model_cfg=dict(
        embed_dim=20, quick_gelu=True, custom_text=True, init_logit_bias=-10, nonscalar_logit_scale=True,
        vision_cfg=dict(image_size=32, layers=1, width=32, head_width=16, patch_size=8, mlp_ratio=2.0),
        text_cfg=dict(context_length=32, width=24, heads=3, layers=1)),
         preprocess_cfg=dict(mean=[0.5, 0.45, 0.4], std=[0.5, 0.25, 0.3], interpolation="bicubic", resize_mode="shortest")),
    # LayerScale, another activation and eps in each encoder, pictures squashed by a bilinear filter.
    dict(name="ckpt-open-clip-scale", seed=15, dtype=torch.float16, model_cfg=dict(
        embed_dim=28,
        vision_cfg=dict(image_size=32, layers=2, width=32, head_width=8, patch_size=8, mlp_ratio=1.5, ls_init_value=0.1,
                        norm_kwargs=dict(eps=1e-3)),
        text_cfg=dict(context_length=32, width=24, heads=2, layers=1, ls_init_value=0.1, norm_kwargs=dict(eps=1e-6),
                      act_kwargs=dict(approximate="tanh"))),
         preprocess_cfg=dict(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5], interpolation="bilinear", resize_mode="squash")),
]

# Values of bfloat16, so that all containers hold the same numbers in one type or another.
HF = dict(name="ckpt-hf", seed=16, dtype="bfloat16", merges=20, projection=20,
          vision=tower(24, 2, 1, 36, "gelu", 1e-5, image_size=32, patch_size=8),
          text=tower(20, 1, 1, 44, "quick_gelu", 1e-5, max_position_embeddings=24))
# Whole blocks of 32 in every row; one activation.
CLIPCPP = dict(name="ckpt-clipcpp", seed=17, dtype="float32", merges=20, projection=32,
               vision=tower(32, 2, 2, 64, "quick_gelu", 1e-5, image_size=48, patch_size=8),
               text=tower(32, 1, 1, 96, "quick_gelu", 1e-6, max_position_embeddings=32))


def texts_for(ids, context):
    """The texts that fit a context, and one that fills it."""
    return [text for text in TEXTS if len(ids(text)) <= context] + [digits(context - 2)]


def fused_towers(model, text_blocks, pixels, encode_texts):
    """What redraw.sharpen_attention takes, of OpenAI's classes and open_clip's."""
    return [
        ("vision", [FusedAttention(block) for block in model.visual.transformer.resblocks],
         lambda: [model.visual(p.unsqueeze(0)) for p in pixels], False),
        ("text", [FusedAttention(block) for block in text_blocks], encode_texts, True),
    ]


# OpenAI's classes


class ClipTokenizer:
    """OpenAI's tokenizer with its own vocabulary."""

    def __init__(self):
        from clip.simple_tokenizer import SimpleTokenizer

        self.tokenizer = SimpleTokenizer()

    def ids(self, text):
        """Start, the text's tokens, end."""
        encoder = self.tokenizer.encoder
        return [encoder["<|startoftext|>"], *self.tokenizer.encode(text), encoder["<|endoftext|>"]]


def storage_of(values):
    """The whole storage that a tensor is a window on."""
    return torch.empty(0, dtype=values.dtype).set_(values.untyped_storage())


def overlap(model):
    """Makes each row of a matrix begin 3 numbers after the one before; of the table of tokens, 1 number."""
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        rows, step = parameter.shape[0], 1 if name == "token_embedding.weight" else 3
        length = parameter[0].numel()
        storage = parameter.detach().flatten()[: (rows - 1) * step + length].clone()
        parameter.data = storage.as_strided(parameter.shape, (step, *parameter.stride()[1:]))


def retype(model, types):
    """Changes parameters to the types given by name, and keeps what their rows share."""
    for name, parameter in model.named_parameters():
        storage = storage_of(parameter.data).to(types(name))
        parameter.data = storage.as_strided(parameter.shape, parameter.stride())


def converted_types(arguments):
    """The types that clip.model.convert_weights gives, by parameter: half for matrices and their biases, float for the rest."""
    import clip.model

    model = clip.model.CLIP(**arguments)
    clip.model.convert_weights(model)
    types = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert types["token_embedding.weight"] == types["visual.ln_pre.weight"] == torch.float32
    assert types["text_projection"] == types["visual.proj"] == types["transformer.resblocks.0.attn.in_proj_bias"] == torch.float16
    return types


def copy_of(model):
    """A copy on the same storages: copy.deepcopy would give every row its own numbers."""
    copied = copy.deepcopy(model)
    for ours, theirs in zip(copied.parameters(), model.parameters()):
        ours.data = theirs.data
    return copied


def plain_norms(model):
    """OpenAI's LayerNorm computes in float32 by calling its parent, which neither float64 nor torch.jit.script can follow: the parent
    itself, with the same parameters."""
    import clip.model

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, clip.model.LayerNorm):
                norm = nn.LayerNorm(child.normalized_shape, eps=child.eps)
                norm.weight, norm.bias = child.weight, child.bias
                setattr(module, name, norm)
    return model


def scriptable(model):
    """torch.jit.script refuses `CLIP.forward`, too: its `norm` names no p. The two encoders are what it is kept for anyway."""
    import clip.model

    class Scriptable(clip.model.CLIP):
        def forward(self, image, text):
            return self.encode_image(image), self.encode_text(text)

    model = plain_norms(copy_of(model))
    model.__class__ = Scriptable
    return model


def openai_model(seed, arguments):
    """A model of OpenAI's classes, drawn anew, with rows that overlap."""
    import clip.model

    model = clip.model.CLIP(**arguments).eval()
    redraw(model, seed)
    overlap(model)
    return model


def openai_transform(arguments):
    """OpenAI's preprocessing."""
    from clip.clip import _transform

    return _transform(arguments["image_resolution"])


def sharpen_openai(model, arguments, tokenizer):
    """Sharpens attention; returns what was measured, and the texts."""
    transform, texts = openai_transform(arguments), texts_for(tokenizer.ids, arguments["context_length"])
    pixels, ids = [transform(Image.open(ROOT / p)) for p in PICTURES], [tokenizer.ids(text) for text in texts]
    encode = lambda: [model.encode_text(torch.tensor([row])) for row in ids]
    return sharpen_attention(fused_towers(model, model.transformer.resblocks, pixels, encode)), texts


def openai_golden(name, model, arguments, tokenizer, measured, texts, out):
    """The reference computes in float32, whatever type the weights have."""
    reference = lambda dtype: OpenAi(plain_norms(copy.deepcopy(model)), openai_transform(arguments), tokenizer.ids,
                                     arguments["context_length"], dtype)
    write_golden(name, reference(torch.float32), reference(torch.float64), PICTURES, texts, measured, out)


def openai_float(data, out):
    """float32, in four containers. The table of tokens is float16, which halves the files."""
    name, tokenizer = "ckpt-openai", ClipTokenizer()
    folder = data / name
    folder.mkdir()
    model = openai_model(11, OPENAI)
    retype(model, lambda name: torch.float16 if name == "token_embedding.weight" else torch.float32)
    measured, texts = sharpen_openai(model, OPENAI, tokenizer)
    openai_golden(name, model, OPENAI, tokenizer, measured, texts, out)

    torch.save(model.state_dict(), folder / "state_dict.pt")
    training_checkpoint(model, folder / "epoch_3.pt")
    example = openai_transform(OPENAI)(Image.open(ROOT / PICTURES[0])).unsqueeze(0), torch.tensor([tokenizer.ids("a")])
    with torch.no_grad():
        save_script(torch.jit.trace(model, example, check_trace=False), folder / "trace.pt")
        save_script(torch.jit.script(scriptable(model)), folder / "script.pt")
        traced, scripted = (torch.jit.load(folder / file)(*example) for file in ("trace.pt", "script.pt"))
        assert (traced[0] - model(*example)[0]).abs().max() < 1e-4
        assert all((ours - theirs).abs().max() < 1e-4 for ours, theirs in zip(scripted, scriptable(model)(*example)))
    same_values(model, folder)


def training_checkpoint(model, path):
    """What open_clip's training saves of a model of this architecture under DistributedDataParallel. The model's own classes first have
    to give the same vectors."""
    import open_clip.model

    a = OPENAI
    theirs = open_clip.model.CLIP(
        a["embed_dim"],
        dict(layers=a["vision_layers"], width=a["vision_width"], patch_size=a["vision_patch_size"], image_size=a["image_resolution"]),
        dict(context_length=a["context_length"], vocab_size=a["vocab_size"], width=a["transformer_width"],
             heads=a["transformer_heads"], layers=a["transformer_layers"]),
        quick_gelu=True,
    ).eval()
    theirs.load_state_dict(model.state_dict())
    pixels, ids = torch.rand(2, 3, 60, 60), torch.zeros(1, a["context_length"], dtype=torch.long)
    ids[0, :3] = torch.tensor([49406, 320, 49407])
    with torch.no_grad():
        assert (theirs.encode_image(pixels) - model.encode_image(pixels)).abs().max() < 1e-4
        assert (theirs.encode_text(ids) - model.encode_text(ids)).abs().max() < 1e-4
    trained = [theirs.logit_scale, theirs.visual.class_embedding]
    optimizer = torch.optim.AdamW(trained, lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    for parameter in trained:
        parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()
    torch.save({
        "epoch": 3,
        "name": "2026_11_25-model_ViT-lr_0.0005-b_64-j_4-p_amp",
        "state_dict": {f"module.{name}": values for name, values in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000, "_growth_tracker": 0},
    }, path)


def same_values(model, folder):
    """Every file loads back to the values that were saved."""
    expected = model.state_dict()
    for path in sorted(folder.iterdir()):
        loaded = torch.jit.load(path).state_dict() if path.stem in ("trace", "script", "jit") else torch.load(path)
        loaded = {name.removeprefix("module."): values for name, values in loaded.get("state_dict", loaded).items()}
        for name, values in expected.items():
            assert loaded[name].dtype == values.dtype and torch.equal(loaded[name], values), f"{path}: {name}"


def openai_half(data, out):
    """float16 as OpenAI's published files have it: norms, embeddings and positions stay float32."""
    name, tokenizer = "ckpt-openai-fp16", ClipTokenizer()
    folder = data / name
    folder.mkdir()
    model = openai_model(12, OPENAI_FP16)
    measured, texts = sharpen_openai(model, OPENAI_FP16, tokenizer)
    types = converted_types(OPENAI_FP16)
    retype(model, types.__getitem__)
    openai_golden(name, model, OPENAI_FP16, tokenizer, measured, texts, out)

    torch.save(model.state_dict(), folder / "state_dict.pt")
    published = copy_of(model)
    for number, value in (("input_resolution", OPENAI_FP16["image_resolution"]), ("context_length", OPENAI_FP16["context_length"]),
                          ("vocab_size", OPENAI_FP16["vocab_size"])):
        if hasattr(published, number):
            delattr(published, number)
        published.register_buffer(number, torch.tensor(value))
    example = openai_transform(OPENAI_FP16)(Image.open(ROOT / PICTURES[0])).unsqueeze(0), torch.tensor([tokenizer.ids("a")])
    with torch.no_grad():
        save_script(torch.jit.trace(published, example, check_trace=False), folder / "jit.pt")
    loaded = torch.jit.load(folder / "jit.pt").state_dict()
    assert [loaded[name].item() for name in ("input_resolution", "context_length", "vocab_size")] == [42, 77, 49408]
    same_values(model, folder)


# open_clip


def open_clip_model(spec, vocabulary):
    """An open_clip model as its configuration says."""
    import open_clip.model

    config = copy.deepcopy(spec["model_cfg"])
    config["text_cfg"]["vocab_size"] = vocabulary
    kind = open_clip.model.CustomTextCLIP if config.pop("custom_text", False) else open_clip.model.CLIP
    return kind(**config).eval()


def open_clip_golden(spec, data, out):
    """A folder as on the Hub, and its golden."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    folder, context = data / spec["name"], spec["model_cfg"]["text_cfg"]["context_length"]
    folder.mkdir()
    vocabulary = len(write_tokenizer(folder, 20, context))
    tokenizer = load_tokenizer(folder)
    size = spec["model_cfg"]["vision_cfg"]["image_size"]
    transform = image_transform_v2(PreprocessCfg(size=size, **spec["preprocess_cfg"]), is_train=False)
    model, texts = open_clip_model(spec, vocabulary), texts_for(tokenizer.ids, context)
    redraw(model, spec["seed"])
    reference = OpenClip(model, transform, tokenizer.ids, context, torch.float32)
    pixels, ids = [transform(Image.open(ROOT / p)) for p in PICTURES], [tokenizer.ids(text) for text in texts]
    text = model.text if spec["model_cfg"].get("custom_text") else model
    encode = lambda: reference.texts(ids)
    measured = sharpen_attention(fused_towers(model, text.transformer.resblocks, pixels, encode))
    tensors = {name: values.to(spec["dtype"]).contiguous() for name, values in model.state_dict().items()}
    model.load_state_dict(tensors)
    exact = OpenClip(copy.deepcopy(model), transform, tokenizer.ids, context, torch.float64)
    write_golden(spec["name"], reference, exact, PICTURES, texts, measured, out)

    save_file(tensors, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    if spec["model_cfg"].get("custom_text"):
        torch.save(model.to(spec["dtype"]).state_dict(), folder / "open_clip_pytorch_model.bin")
    config = dict(model_cfg=copy.deepcopy(spec["model_cfg"]), preprocess_cfg=spec["preprocess_cfg"])
    config["model_cfg"]["text_cfg"]["vocab_size"] = vocabulary
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=4) + "\n")


# Hugging Face


def hugging_face_golden(spec, data, out):
    """A CLIPModel in PyTorch's containers, and its towers alone."""
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    folder, context = data / spec["name"], spec["text"]["max_position_embeddings"]
    measured = write_model(spec, folder, [ROOT / p for p in PICTURES], TEXTS, digits(context - 2))
    reference = HuggingFace(folder)
    texts = texts_for(reference.ids, context)
    images, sentences = write_golden(spec["name"], reference, HuggingFace(folder, torch.float64), PICTURES, texts, measured, out)

    # As transformers saved them before version 5: the numbers of positions are among the tensors.
    tensors = dict(reference.model.state_dict())
    patches = (spec["vision"]["image_size"] // spec["vision"]["patch_size"]) ** 2
    tensors["text_model.embeddings.position_ids"] = torch.arange(context).unsqueeze(0)
    tensors["vision_model.embeddings.position_ids"] = torch.arange(patches + 1).unsqueeze(0)
    torch.save(tensors, folder / "pytorch_model.bin")
    torch.save(tensors, folder / "pytorch_model.old.bin", _use_new_zipfile_serialization=False)
    write_shards({name: v.bfloat16() for name, v in tensors.items() if v.is_floating_point()}, folder)

    paths = [ROOT / picture for picture in PICTURES]
    towers = {
        "vision": (CLIPVisionModelWithProjection, ["preprocessor_config.json"],
                   lambda model: torch.cat([model(pixel_values=reference.pixels(path)).image_embeds for path in paths]), images),
        "text": (CLIPTextModelWithProjection, ["vocab.json", "merges.txt", "tokenizer_config.json"],
                 lambda model: torch.cat([model(input_ids=torch.tensor([reference.ids(t)])).text_embeds for t in texts]), sentences),
    }
    for tower, (kind, files, encode, expected) in towers.items():
        alone = data / f"{spec['name']}-{tower}"
        model = kind.from_pretrained(folder, dtype=torch.float32)
        with torch.no_grad():
            assert (encode(model.eval()) - expected).abs().max() < 1e-5, f"{kind.__name__} gives other vectors"
        model.bfloat16().save_pretrained(alone)
        (alone / "generation_config.json").unlink(missing_ok=True)
        for file in files:
            (alone / file).write_bytes((folder / file).read_bytes())


def write_shards(tensors, folder):
    """pytorch_model-0000N-of-00002.bin and their index, as transformers 4 wrote them."""
    names, total = list(tensors), sum(v.numel() * v.element_size() for v in tensors.values())
    parts, index = (names[: len(names) // 2], names[len(names) // 2 :]), {}
    for number, part in enumerate(parts, 1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({name: tensors[name] for name in part}, folder / file)
        index |= dict.fromkeys(part, file)
    index = dict(metadata=dict(total_size=total), weight_map=index)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


# clip.cpp


def clipcpp_golden(spec, data, out):
    """GGUF files of clip.cpp's, each with what the weights in it give."""
    with tempfile.TemporaryDirectory() as folder:
        folder, context = pathlib.Path(folder), spec["text"]["max_position_embeddings"]
        measured = write_model(spec, folder, [ROOT / p for p in PICTURES], TEXTS, digits(context - 2))
        (data / spec["name"]).mkdir()
        for kind in ("f16", "q8_0", "q4_0"):
            write_clipcpp(folder, data / spec["name"] / f"{kind}.gguf", kind)
            reference, exact = HuggingFace(folder), HuggingFace(folder, torch.float64)
            for each in (reference, exact):
                each.model.load_state_dict(dequantized(copy.deepcopy(reference.model), kind).state_dict())
                # clip.cpp's files do not say: where training stops it.
                nn.init.constant_(each.model.logit_scale, torch.tensor(100.0).log().item())
            texts = texts_for(reference.ids, context)
            write_golden(f"{spec['name']}-{kind}", reference, exact, PICTURES, texts, measured, out)


def same_file(old, new):
    """Whether two files are alike. What is compressed depends on the library that did it, and the format before zip names and sorts
    storages by where they lay in memory."""
    if old.read_bytes() == new.read_bytes():
        return True
    if zipfile.is_zipfile(old) and zipfile.is_zipfile(new):
        with zipfile.ZipFile(old) as a, zipfile.ZipFile(new) as b:
            # The id of an archive is a hash of what it said of the machine, too.
            names = [name for name in a.namelist() if not name.endswith("/serialization_id")]
            return a.namelist() == b.namelist() and all(a.read(name) == b.read(name) for name in names)
    if old.name != "pytorch_model.old.bin":
        return False
    old, new = torch.load(old), torch.load(new)
    return old.keys() == new.keys() and all(old[k].dtype == new[k].dtype and torch.equal(old[k], new[k]) for k in old)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # torch.jit.script writes the constants of a module in the order of a set.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONHASHSEED": "0"})
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as fresh:
        fresh = pathlib.Path(fresh)
        out = fresh / "golden"
        openai_float(fresh, out)
        openai_half(fresh, out)
        for spec in OPEN_CLIP:
            open_clip_golden(spec, fresh, out)
        hugging_face_golden(HF, fresh, out)
        clipcpp_golden(CLIPCPP, fresh, out)
        settle(fresh, ROOT / "tests" / "data", arguments.check, same_file)


if __name__ == "__main__":
    main()
