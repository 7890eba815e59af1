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
import pathlib
import tempfile

import torch
from PIL import Image

import reference
from golden import HuggingFace, settle, write_golden
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


def make_golden(name, folder, pictures, texts, measured, out, redrawn=True):
    """Runs one folder through the reference and writes its pair of files."""
    return write_golden(name, HuggingFace(folder), HuggingFace(folder, torch.float64), pictures, texts, measured, out, redrawn)


def demo_golden(out):
    """The demo checkpoint: 16 pictures, their prompts, the sentences above and a full context."""
    pictures = [f"models/demo/pictures/{p.name}" for p in reference.demo_pictures()]
    names = [reference.picture_name(p) for p in pictures]
    texts = [f"an emoji of a {name}" for name in names] + SENTENCES + [digits(75)]
    measured = attention_of_demo(pictures, texts)
    images, sentences = make_golden("demo", DEMO, pictures, texts, measured, out, redrawn=False)
    best = (normalize(images) @ normalize(sentences[: len(names)]).T).argmax(1).tolist()
    wrong = [f"{names[i]} taken for {names[j]}" for i, j in enumerate(best) if i != j]
    print(f"demo: {len(names) - len(wrong)} of {len(names)} pictures right; {'; '.join(wrong)}")
    assert len(wrong) == 1, "models/demo/README.md says 15 of 16"


def attention_of_demo(pictures, texts):
    """The demo is trained, nothing is redrawn: what its attention logits look like, for comparison."""
    from redraw import measure_attention, towers

    tokenizer, transform = load_tokenizer(DEMO), load_transform(DEMO)
    pixels = [transform(Image.open(ROOT / p)) for p in pictures]
    return measure_attention(towers(load_model(DEMO), pixels, [tokenizer.ids(t) for t in texts]))


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
        settle(fresh, committed, arguments.check)


if __name__ == "__main__":
    main()
