"""A golden: what a reference makes of pictures and texts, after it has been held against itself.

pip install -r tools/requirements.txt
"""

import json
import shutil
import sys

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from redraw import is_norm
from reference import ROOT, load_model, load_tokenizer, load_transform, normalize


class Reference:
    """A model with its own preprocessing and tokenizer. Classes of this say how each library is called."""

    def __init__(self, model, transform, ids, context, dtype):
        self.model, self.transform, self.ids, self.context, self.dtype = model.to(dtype).eval(), transform, ids, context, dtype

    def image(self, pixels):
        """Raw embeddings of a batch of pixels."""
        return self.model.encode_image(pixels)

    def text(self, ids):
        """Raw embeddings of token ids, [n, tokens]."""
        return self.model.encode_text(ids)

    def logits(self, pixels, token_ids):
        """The library's own logits_per_image: a second way through the reference."""
        raise NotImplementedError

    def pixels(self, path):
        """[1, 3, size, size]. float32 in all cases: the reference's preprocessing is float32."""
        return self.transform(Image.open(path)).unsqueeze(0).to(self.dtype)

    @torch.no_grad()
    def images(self, paths):
        """Raw embeddings, [n, d], of picture files. One picture a run: no batch effects in the reference."""
        return torch.cat([self.image(self.pixels(path)) for path in paths])

    @torch.no_grad()
    def texts(self, token_ids):
        """Raw embeddings, [n, d], of unpadded id lists."""
        return torch.cat([self.text(torch.tensor([ids])) for ids in token_ids])

    def padded(self, token_ids, length, value=0):
        """One batch of ids, filled up after the end token."""
        batch = torch.full((len(token_ids), length), value)
        for row, ids in enumerate(token_ids):
            batch[row, : len(ids)] = torch.tensor(ids)
        return batch


class HuggingFace(Reference):
    """transformers' CLIPModel."""

    def __init__(self, folder, dtype=torch.float32):
        model = load_model(folder, dtype)
        context = model.config.text_config.max_position_embeddings
        super().__init__(model, load_transform(folder), load_tokenizer(folder).ids, context, dtype)

    def image(self, pixels):
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixels).pooler_output)

    def text(self, ids):
        return self.model.text_projection(self.model.text_model(input_ids=ids).pooler_output)

    def logits(self, pixels, token_ids):
        ids = self.padded(token_ids, max(map(len, token_ids)), token_ids[0][-1])
        mask = self.padded([[1] * len(tokens) for tokens in token_ids], ids.shape[1])
        return self.model(input_ids=ids, attention_mask=mask, pixel_values=pixels).logits_per_image


class OpenAi(Reference):
    """OpenAI's own `clip.model.CLIP`."""

    def logits(self, pixels, token_ids):
        return self.model(pixels, self.padded(token_ids, self.context))[0]


class OpenClip(Reference):
    """open_clip's CLIP and CustomTextCLIP, whose texts always fill the context."""

    def text(self, ids):
        return self.model.encode_text(self.padded(ids.tolist(), self.context))

    def logits(self, pixels, token_ids):
        return self.model.get_logits(pixels, self.padded(token_ids, self.context))[0]


def write_golden(name, reference, exact, pictures, texts, measured, out, redrawn=True):
    """Runs one checkpoint through the reference and writes its pair of files. `exact` is the reference in float64."""
    model = reference.model
    token_ids = [reference.ids(text) for text in texts]
    assert all(len(ids) <= reference.context for ids in token_ids), f"{name}: a text is longer than {reference.context} tokens"
    paths = [ROOT / picture for picture in pictures]
    images, sentences = reference.images(paths), reference.texts(token_ids)
    with torch.no_grad():
        logits = reference.logits(torch.cat([reference.pixels(path) for path in paths]), token_ids)

    # The reference against itself: padded against unpadded, and float32 against float64.
    scale, bias = model.logit_scale.detach(), getattr(model, "logit_bias", None)
    ours = scale.exp() * normalize(images) @ normalize(sentences).T + (0 if bias is None else bias.detach())
    assert (ours - logits).abs().max() < 1e-4 * scale.exp(), f"{name}: padding changes the reference"
    noise = {
        "image": (normalize(exact.images(paths)) - normalize(images)).abs().max().item(),
        "text": (normalize(exact.texts(token_ids)) - normalize(sentences)).abs().max().item(),
    }
    assert max(noise.values()) < 2e-6, f"{name}: float32 itself is too noisy for a tolerance of 1e-5: {noise}"

    if redrawn:
        every_parameter_matters(name, reference, paths, token_ids, images, sentences)

    out.mkdir(parents=True, exist_ok=True)
    tensors = {"image_embeds": images, "text_embeds": sentences, "logits_per_image": logits}
    save_file({k: v.contiguous() for k, v in tensors.items()}, out / f"{name}.safetensors")
    facts = {
        "model": name,
        "pictures": pictures,
        "texts": [{"text": text, "ids": ids} for text, ids in zip(texts, token_ids)],
        "logit_scale": scale.item(),
        "attention_logit_std": measured,
    }
    if bias is not None:
        facts["logit_bias"] = bias.item()
    write_json(out / f"{name}.json", facts)
    print(f"{name}: {len(pictures)} pictures, {len(texts)} texts, float32 noise {noise['image']:.1e} {noise['text']:.1e}, "
          f"attention logits std {measured}")
    return images, sentences


def pieces(model):
    """Every parameter that decides a vector, with its name; of a fused one those of q, k and v.

    Biases of k are the exception: they add the same to all logits of a query, which soft-max ignores.
    """
    for name, parameter in model.named_parameters():
        if name.startswith("logit_") or name.endswith("k_proj.bias"):
            continue
        if "in_proj_" in name:
            for which, part in zip("qkv", parameter.detach().chunk(3)):
                if not (which == "k" and name.endswith("bias")):
                    yield f"{name} of {which}", part
        else:
            yield name, parameter.detach()


def every_parameter_matters(name, reference, paths, token_ids, images, sentences):
    """A parameter whose loss the goldens would not notice is a hole in them: neutralises one after the other."""
    smallest = (1.0, "")
    for parameter in reference.model.parameters():
        # Rows that share numbers cannot be neutralised.
        parameter.data = parameter.data.contiguous()
    for key, values in pieces(reference.model):
        kept = values.clone()
        values.fill_(1.0 if is_norm(key) and key.endswith("weight") or key.endswith("gamma") else 0.0)
        vision = key.startswith(("vision", "visual"))
        changed, rows = (reference.images(paths), images) if vision else (reference.texts(token_ids), sentences)
        values.copy_(kept)
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


def same_bytes(old, new):
    """Whether two files are the same."""
    return old.read_bytes() == new.read_bytes()


def settle(fresh, committed, check, same=same_bytes):
    """Puts a run's folders into tests/data, or with `check` compares them with what is there and exits 1 where they differ."""
    folders = [folder for folder in sorted(fresh.iterdir()) if folder.name != "golden"]
    wrong = []
    for file in (file for folder in folders for file in sorted(folder.iterdir())):
        old = committed / file.relative_to(fresh)
        if old.is_file() and same(old, file):
            shutil.copyfile(old, file)
        else:
            wrong.append(str(file.relative_to(fresh)))
    if check:
        wrong += differences(committed / "golden", fresh / "golden")
        sys.exit("differs: " + ", ".join(wrong) if wrong else 0)
    for folder in folders:
        shutil.rmtree(committed / folder.name, ignore_errors=True)
    for folder in [*folders, fresh / "golden"]:
        shutil.copytree(folder, committed / folder.name, dirs_exist_ok=True)
        for file in folder.iterdir():
            (committed / folder.name / file.name).chmod(0o644)


def differences(old, new):
    """What differs from the goldens of a new run: JSON files, tensors further apart than 1e-5 of their norm."""
    found = []
    for path in sorted(new.iterdir()):
        other = old / path.name
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
