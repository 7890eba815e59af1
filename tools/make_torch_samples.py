"""Files by torch.save and torch.jit.save, and what PyTorch says is in them: the samples of the converter's PyTorch reader.

    python tools/make_torch_samples.py            # writes crates/convert/tests/data/torch (about 100 kB)
    python tools/make_torch_samples.py --full DIR # a larger CLIP, traced, into DIR

In expected.json, each file has its tensors in order of their names: type, shape, and the values in the order of the indices, as
hexadecimal little-endian bytes. TorchScript archives have the class of each module too.

pip install torch numpy clip-anytorch
"""

import argparse
import collections
import datetime
import json
import pathlib
import sys
import types
import warnings

import numpy
import packaging.version
import torch

# clip asks setuptools for it, which newer ones no longer have.
sys.modules.setdefault("pkg_resources", types.SimpleNamespace(packaging=packaging))
from clip.model import CLIP  # noqa: E402
from torchscript import save_script  # noqa: E402

OUT = pathlib.Path("crates/convert/tests/data/torch")
DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64",
          torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL", torch.uint16: "U16",
          torch.float8_e4m3fn: "F8_E4M3"}


def described(tensors):
    """Tensors as expected.json has them."""
    def one(name, tensor):
        values = tensor.detach().contiguous().flatten()
        return {"name": name, "dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape),
                "bytes": values.view(torch.uint8).numpy().tobytes().hex() if values.numel() else ""}
    return [one(name, tensor) for name, tensor in sorted(tensors.items())]


def views():
    """Every way in which a tensor can lie in its storage."""
    base = torch.arange(24.0).reshape(4, 6)
    return collections.OrderedDict([
        ("contiguous", torch.randn(2, 3)), ("half", torch.randn(3, 2).half()), ("bfloat", torch.randn(5).bfloat16()),
        ("long", torch.arange(4)), ("scalar", torch.tensor(2.5)), ("empty", torch.empty(0, 3)),
        ("transposed", base.t()), ("sliced", base[1:3, 2:5]), ("stepped", base[::2, ::3]), ("whole", base),
        ("expanded", torch.randn(1, 3).expand(4, 3)), ("permuted", torch.randn(2, 3, 4).half().permute(2, 0, 1)),
        ("last", base[-1, -1:]), ("none_of_it", base[4:, 3:]), ("parameter", torch.nn.Parameter(torch.randn(2, 2))),
    ])


def types_of_element():
    """Every type that has a class of storages, and one that has none."""
    counts = torch.arange(5)
    names = ["float64", "int32", "int16", "int8", "uint8", "bool", "uint16"]
    return {name: (counts * 37).to(getattr(torch, name)) for name in names}


def training(module, wrapper):
    """A checkpoint in the middle of a training, the state dict under `wrapper`."""
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    return {
        "epoch": 3, "args": argparse.Namespace(lr=1e-3, path=pathlib.PurePosixPath("a/b"), betas=(0.9, 0.98)),
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule.state_dict(), "loss": numpy.float64(0.25), "history": numpy.arange(3),
        "rng": torch.get_rng_state()[:16].clone(),
        "seen": {1, 2}, "counts": collections.Counter("abca"), "lists": collections.defaultdict(list, a=[1]), "large": 2**70,
        "when": datetime.datetime(2021, 1, 5), "dtype": torch.float16, "size": torch.Size([1, 2]), "device": torch.device("cpu"),
        "bytes": b"abc", wrapper: module.state_dict(),
    }


class Gate(torch.nn.Module):
    """Attributes of every kind that TorchScript has beside parameters and buffers."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)
        self.stack = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.GELU(), torch.nn.Linear(3, 2).half())
        self.register_buffer("steps", torch.arange(3))
        self.register_buffer("mask", torch.randn(3, 3).t(), persistent=False)
        self.count, self.sizes, self.scale, self.nothing, self.table = 3, [1, 2], 0.5, None, {"a": 1}
        self.word, self.pair, self.list, self.device = "x", (1, 2.0), [torch.ones(2)], torch.device("cpu")

    def forward(self, x):
        x = self.linear(x) * self.scale + self.steps + self.mask[0] + self.sizes[0] + self.count + self.table["a"] + self.list[0].sum()
        return self.stack[0](x) + len(self.word) + self.pair[0]


def modules(path):
    """Tensors and classes of a TorchScript archive, as PyTorch reads it."""
    module = torch.jit.load(path)
    classes = [[name, inner._c._type().qualified_name()] for name, inner in module.named_modules()]
    return {"tensors": described(module.state_dict()), "script": classes}


def clip(embed, size, vision_layers, vision_width, patch, context, vocabulary, width, heads, layers):
    """OpenAI's class, traced as OpenAI's files are, in half precision as they are."""
    model = CLIP(embed, size, vision_layers, vision_width, patch, context, vocabulary, width, heads, layers).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    with torch.no_grad():
        traced = torch.jit.trace(model, (torch.randn(1, 3, size, size), torch.zeros(1, context, dtype=torch.int)), check_trace=False)
    return traced.half()


def main():
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", type=pathlib.Path, metavar="DIR")
    full = parser.parse_args().full
    torch.manual_seed(0)
    out = full or OUT
    out.mkdir(parents=True, exist_ok=True)
    expected = {}

    def save(name, value, tensors, **options):
        torch.save(value, out / name, **options)
        expected[name] = {"tensors": described(tensors)}

    def script(name, module):
        save_script(module, out / name)
        expected[name] = modules(str(out / name))

    if full:
        script("clip-traced.pt", clip(64, 64, 2, 128, 16, 12, 200, 128, 2, 2))
        frozen = torch.jit.freeze(torch.jit.script(Gate().eval()))
        save_script(frozen, out / "frozen.pt")
        (out / "expected.json").write_text(json.dumps(expected))
        return

    for name, tensors in [("views", views()), ("types", types_of_element())]:
        save(f"{name}.pt", tensors, tensors)
        if name == "views":
            save(f"{name}-legacy.pt", tensors, tensors, _use_new_zipfile_serialization=False)
    few = {"a": torch.randn(4)[1:], "b": torch.nn.Parameter(torch.randn(3).bfloat16())}
    for protocol in (3, 4, 5):
        save(f"protocol-{protocol}.pt", few, few, pickle_protocol=protocol)
    save("protocol-4-legacy.pt", few, few, pickle_protocol=4, _use_new_zipfile_serialization=False)
    old = types_of_element()
    del old["uint16"]
    save("types-legacy.pt", old, old, _use_new_zipfile_serialization=False)
    for wrapper in ("state_dict", "model_state_dict", "model"):
        module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
        save(f"under-{wrapper}.pt", training(module, wrapper), module.state_dict())
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    save("under-state_dict-legacy.pt", training(module, "state_dict"), module.state_dict(), _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    save("no-checksums.pt", few, few)
    torch.serialization.set_crc32_options(True)
    script("scripted.pt", torch.jit.script(Gate().eval()))
    script("traced.pt", torch.jit.trace(Gate().eval(), torch.randn(1, 2)))
    script("clip-traced.pt", clip(4, 4, 0, 8, 2, 5, 20, 8, 2, 1))

    # Refused.
    frozen = torch.jit.freeze(torch.jit.script(Gate().eval()))
    save_script(frozen, out / "frozen.pt")
    torch.save(torch.nn.Linear(2, 2), out / "whole-module.pt")
    torch.save({"neg": torch.view_as_complex(torch.ones(3, 2)).conj().imag}, out / "negated.pt")
    torch.save({"sparse": torch.eye(2).to_sparse()}, out / "sparse.pt")
    torch.save({"epoch": 1, "loss": 0.5, "model": "ViT"}, out / "no-tensors.pt")
    (out / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")
    print(sum(path.stat().st_size for path in out.iterdir()), "bytes")


if __name__ == "__main__":
    main()
