"""Writes tests/data: small CLIP checkpoints of odd shapes, and what the reference makes of them and of the demo.

    pip install -r tools/requirements.txt        (torch torchvision transformers pillow clip-anytorch ftfy safetensors)
    python tools/make_goldens.py [--check] [--retrieval target/openmoji-481]

Writes, from the repository's root:

- tests/data/odd-*/            CLIPModel folders, every parameter redrawn (tools/redraw.py says how and why)
- tests/data/pictures/*.png    two pictures that are not square, cut from demo pictures
- tests/data/golden/*.json, *.safetensors   one pair a model: inputs, token ids, facts / raw f32 embeddings and logits

The checkpoints come out byte for byte the same everywhere; the last bits of the embeddings depend on torch's kernels.
--check writes nothing into the repository: it compares a fresh run with the committed goldens and exits 1 if they differ by
more than 1e-5. --retrieval also prints the demo's recall on the pictures of tools/eval_set.py.
"""

import argparse
import csv
import json
import pathlib
import shutil
import sys
import tempfile

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import reference
from odd_models import MODELS, write_model
from reference import DEMO, ROOT, encode_images, encode_texts, load_model, load_tokenizer, load_transform, normalize

# Pictures of the odd models: four squares of the demo, and two that have to be cropped.
ODD_PICTURES = [f"models/demo/pictures/{name}.png" for name in ("cat", "pizza", "rocket", "red-apple")]
CUTS = {"wide.png": ("red-car", (20, 60, 236, 207)), "tall.png": ("evergreen-tree", (70, 9, 159, 248))}

# What users type and what breaks tokenizers; the demo's list continues with these after its 16 prompts.
SENTENCES = [
    "",
    "a",
    "hello world",
    "A PHOTO of a   Red Apple!!",
    "a cat, a dog & a panda",
    "don't, can't, we've, I'll, he'd, you're",
    "route 66 in 2024: 3.14159",
    "a na\u00efve caf\u00e9 in \u00c5lesund",
    "e\u0301 n\u0303 combining marks",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8",
    "\U0001f600 \U0001f43c \U0001f469\u200d\U0001f680 emoji",
    "fish &amp;amp; chips &lt;now&gt;",
    "\u201ccurly quotes\u201d and it\u2019s \ufb01ne",
    "sch\u00c3\u00b6n, mojibake",
    "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 and \u0130stanbul",
    "before <|endoftext|> after",
]
ODD_SENTENCES = ["", "a", "hello world", "a cat, a dog", "sch\u00c3\u00b6n", "we've 66", "a <|endoftext|> b", "\U0001f600 e\u0301"]


def digits(length):
    """A text of exactly `length` tokens between start and end: each digit is one."""
    return " ".join(str(i % 10) for i in range(length))


def cut_pictures(folder):
    """Pictures that are not square: 216 x 147 and 89 x 239."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (source, box) in CUTS.items():
        Image.open(DEMO / "pictures" / f"{source}.png").convert("RGB").crop(box).save(folder / name, optimize=True)
    (folder / "README.md").write_text("Cut from Noto Emoji, Copyright Google, Apache License 2.0, by `tools/make_goldens.py`.\n")


def logits_of(model, pictures, token_ids):
    """CLIPModel's own logits_per_image, over one padded batch: a second way through the reference."""
    ids = torch.full((len(token_ids), max(map(len, token_ids))), token_ids[0][-1])
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(token_ids):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask, pixel_values=pictures)
    return out.logits_per_image


def make_golden(name, folder, pictures, texts, measured, out):
    """Runs one checkpoint through the reference and writes its pair of files."""
    tokenizer, transform = load_tokenizer(folder), load_transform(folder)
    model = load_model(folder)
    token_ids = [tokenizer.ids(text) for text in texts]
    context = model.config.text_config.max_position_embeddings
    assert all(len(ids) <= context for ids in token_ids), f"{name}: a text is longer than {context} tokens"
    paths = [ROOT / picture for picture in pictures]
    images, sentences = encode_images(model, transform, paths), encode_texts(model, token_ids)
    logits = logits_of(model, torch.stack([transform(Image.open(p)) for p in paths]), token_ids)

    # The reference against itself: padded against unpadded, and float32 against float64.
    ours = model.logit_scale.exp() * normalize(images) @ normalize(sentences).T
    assert (ours - logits).abs().max() < 1e-4 * model.logit_scale.exp(), f"{name}: padding changes the reference"
    exact = load_model(folder, torch.float64)
    # float32 pixels in both: the reference's preprocessing is float32.
    noise = {
        "image": (normalize(encode_images(exact, transform, paths)) - normalize(images)).abs().max().item(),
        "text": (normalize(encode_texts(exact, token_ids)) - normalize(sentences)).abs().max().item(),
    }
    assert max(noise.values()) < 2e-6, f"{name}: float32 itself is too noisy for a tolerance of 1e-5: {noise}"

    if name != "demo":
        every_parameter_matters(name, model, transform, paths, token_ids, images, sentences)

    out.mkdir(parents=True, exist_ok=True)
    tensors = {"image_embeds": images, "text_embeds": sentences, "logits_per_image": logits}
    save_file({k: v.contiguous() for k, v in tensors.items()}, out / f"{name}.safetensors")
    facts = {
        "model": name,
        "pictures": pictures,
        "texts": [{"text": text, "ids": ids} for text, ids in zip(texts, token_ids)],
        "logit_scale": model.logit_scale.item(),
        "attention_logit_std": measured,
    }
    write_json(out / f"{name}.json", facts)
    print(f"{name}: {len(pictures)} pictures, {len(texts)} texts, float32 noise {noise['image']:.1e} {noise['text']:.1e}, "
          f"attention logits std {measured}")
    return images, sentences


def every_parameter_matters(name, model, transform, paths, token_ids, images, sentences):
    """A parameter whose loss the goldens would not notice is a hole in them: neutralises one after the other.

    Biases of k are the exception: they add the same to all logits of a query, which soft-max ignores.
    """
    smallest = (1.0, "")
    for key, parameter in model.named_parameters():
        if key == "logit_scale" or key.endswith("k_proj.bias"):
            continue
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.fill_(1.0 if "norm" in key and key.endswith("weight") else 0.0)
        if key.startswith(("vision", "visual")):
            changed, rows = encode_images(model, transform, paths), images
        else:
            changed, rows = encode_texts(model, token_ids), sentences
        with torch.no_grad():
            parameter.copy_(kept)
        # All rows at zero have no direction; that is a change as well.
        apart = torch.nan_to_num(normalize(changed) - normalize(rows), nan=1.0).abs().max().item()
        smallest = min(smallest, (apart, key))
    print(f"{name}: the parameter that matters least moves a vector by {smallest[0]:.1e}: {smallest[1]}")
    assert smallest[0] > 1e-3, "100 times the tolerance of the tests"


def write_json(path, value):
    """One readable line an entry, numbers on one line."""
    lines = []
    for key, item in value.items():
        if key == "texts":
            rows = ",\n".join("  " + json.dumps(row, ensure_ascii=True) for row in item)
            lines.append(f' "texts": [\n{rows}\n ]')
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(item)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def demo_golden(out):
    """The demo checkpoint: 16 pictures, their prompts, the sentences above and a full context."""
    pictures = [f"models/demo/pictures/{p.name}" for p in reference.demo_pictures()]
    names = [reference.picture_name(p) for p in pictures]
    texts = [f"an emoji of a {name}" for name in names] + SENTENCES + [digits(75)]
    measured = attention_of_demo(pictures, texts)
    images, sentences = make_golden("demo", DEMO, pictures, texts, measured, out)
    best = (normalize(images) @ normalize(sentences[: len(names)]).T).argmax(1).tolist()
    wrong = [f"{names[i]} taken for {names[j]}" for i, j in enumerate(best) if i != j]
    print(f"demo: {len(names) - len(wrong)} of {len(names)} pictures right; {'; '.join(wrong)}")
    assert len(wrong) == 1, "models/demo/README.md says 15 of 16"


def attention_of_demo(pictures, texts):
    """The demo is trained, nothing is redrawn: what its attention logits look like, for comparison."""
    from redraw import measure_attention

    tokenizer, transform = load_tokenizer(DEMO), load_transform(DEMO)
    pixels = [transform(Image.open(ROOT / p)) for p in pictures]
    return measure_attention(load_model(DEMO), pixels, [tokenizer.ids(t) for t in texts])


def odd_golden(spec, data, out):
    """Writes one odd checkpoint and its goldens."""
    folder = data / spec["name"]
    pictures = ODD_PICTURES + [f"tests/data/pictures/{name}" for name in CUTS]
    context = spec["text"]["max_position_embeddings"]
    measured = write_model(spec, folder, [ROOT / p for p in pictures], ODD_SENTENCES, digits(context - 2))
    tokenizer = load_tokenizer(folder)
    texts = [t for t in ODD_SENTENCES if len(tokenizer.ids(t)) <= context] + [digits(context - 2)]
    make_golden(spec["name"], folder, pictures, texts, measured, out)
    size = sum(f.stat().st_size for f in folder.iterdir())
    assert size < 400_000, f"{folder}: {size} bytes is too much for the repository"


def recall(scores):
    """Recall at 1, 5 and 10 of a square score matrix whose diagonal is right, in percent.

    Of equal scores the first wins, as with a stable sort: some emoji are drawn alike to the last pixel.
    """
    right = scores.diagonal().unsqueeze(1)
    earlier = torch.ones_like(scores, dtype=torch.bool).tril(-1)
    ranks = ((scores > right) | ((scores == right) & earlier)).sum(1)
    return [round(100 * (ranks < k).float().mean().item(), 2) for k in (1, 5, 10)]


def retrieval(folder):
    """Prints the demo's recall on a folder of tools/eval_set.py, with OpenAI's tokenizer and with Hugging Face's.

    The demo was trained with the latter, which keeps the curly quotes of eight captions that ftfy straightens.
    """
    from transformers import AutoTokenizer

    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    model, transform = load_model(DEMO), load_transform(DEMO)
    images = normalize(encode_images(model, transform, [folder / row["path"] for row in rows]))
    hugging_face = AutoTokenizer.from_pretrained(DEMO)
    for who, ids in (("OpenAI", load_tokenizer(DEMO).ids), ("Hugging Face", lambda text: hugging_face(text)["input_ids"])):
        texts = normalize(encode_texts(model, [ids(row["caption"]) for row in rows]))
        scores = images @ texts.T
        print(f"{len(rows)} pairs, {who}'s tokens, recall@1/5/10 in percent: "
              f"picture to text {recall(scores)}, text to picture {recall(scores.T)}")


def differences(old, new):
    """What differs between two golden folders: paths of JSON files, tensors further apart than 1e-5 of their norm."""
    found = []
    for path in sorted(old.glob("*.*")):
        other = new / path.name
        if path.suffix == ".json" and path.read_text() != other.read_text():
            found.append(path.name)
        elif path.suffix == ".safetensors":
            a, b = load_file(path), load_file(other)
            for key in a:
                apart = (normalize(a[key]) - normalize(b[key])).abs().max().item()
                print(f"{path.name} {key}: max difference {apart:.1e}")
                if not apart <= 1e-5:
                    found.append(f"{path.name} {key}")
    return found


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    parser.add_argument("--retrieval", type=pathlib.Path, metavar="FOLDER", help="print the demo's recall on this set, do nothing else")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    if arguments.retrieval:
        return retrieval(arguments.retrieval)
    committed = ROOT / "tests" / "data"
    with tempfile.TemporaryDirectory() as fresh:
        fresh = pathlib.Path(fresh)
        if not arguments.check:
            cut_pictures(committed / "pictures")
        demo_golden(fresh / "golden")
        for spec in MODELS:
            odd_golden(spec, fresh, fresh / "golden")
        if arguments.check:
            wrong = differences(committed / "golden", fresh / "golden")
            for spec in MODELS:
                for file in sorted((fresh / spec["name"]).iterdir()):
                    if file.read_bytes() != (committed / spec["name"] / file.name).read_bytes():
                        wrong.append(f"{spec['name']}/{file.name}")
            sys.exit("differs: " + ", ".join(wrong) if wrong else 0)
        for folder in sorted(fresh.iterdir()):
            shutil.rmtree(committed / folder.name, ignore_errors=True)
            shutil.copytree(folder, committed / folder.name)
            for file in (committed / folder.name).iterdir():
                file.chmod(0o644)


if __name__ == "__main__":
    main()
