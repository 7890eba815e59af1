"""Writes rows and what PyPI's gguf makes of them, in every block format that edgeclip stores.

    pip install -r tools/requirements.txt        (gguf numpy)
    python tools/make_format_goldens.py

Writes crates/kernels/tests/data/formats.bin: rows as f32; for each type of QUANTIZED in this order what they are quantized to
(`gguf.quants.quantize`) and its values as f32 (`gguf.quants.dequantize`); then for each type of BLOCKS made-up blocks and their values.
Little-endian, no header; crates/kernels/tests/formats.rs knows the sizes. The rows are of every kind that a quantizer can stumble over: see
`rows`. gguf has no quantizer for q4_k and q6_k.
"""

import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, quants
from gguf import GGMLQuantizationType as Type

BLOCK = 32
QUANTIZED = (Type.F16, Type.BF16, Type.Q8_0, Type.Q5_1, Type.Q5_0, Type.Q4_1, Type.Q4_0)
# Where the f16 numbers of a block are; all its other bytes may be anything.
BLOCKS = {
    Type.Q8_0: (0,),
    Type.Q6_K: (208,),
    Type.Q5_1: (0, 2),
    Type.Q5_0: (0,),
    Type.Q4_1: (0, 2),
    Type.Q4_K: (0, 2),
    Type.Q4_0: (0,),
}
TARGET = pathlib.Path(__file__).resolve().parent.parent / "crates/kernels/tests/data/formats.bin"


def rows():
    """[blocks, 32]: random ones of many magnitudes, and hand-made ones."""
    rng = np.random.default_rng(2)
    blocks = [rng.normal(0, scale, (24, BLOCK)) for scale in (1e-9, 1e-6, 1e-4, 2e-2, 1, 30, 1e4)]
    blocks.append(rng.standard_cauchy((24, BLOCK)))
    blocks.append(rng.uniform(0, 1, (8, BLOCK)))
    # Small integers and halves: ties everywhere. The extremes make the scales of q8_0 (127) and q4_0 (8) exact.
    for extreme in (127, -127, 8, -8, 7, 15, 1):
        ties = rng.integers(-abs(extreme) * 2, abs(extreme) * 2 + 1, (4, BLOCK)) / 2
        ties[:, 5] = extreme
        blocks.append(np.clip(ties, -abs(extreme), abs(extreme)))
    # No block of negative zeros: there PyPI's gguf stores a scale of 0 where ggml's own C stores -0.
    special = np.zeros((12, BLOCK))
    special[1, 7] = 1e-30
    special[2, 3] = 1e-45  # a subnormal f32; every scale is zero
    special[3, :] = 6e-8  # about the smallest f16
    special[4, :] = 65504
    special[5, ::2], special[5, 1::2] = 1, -1  # the extreme occurs with both signs, first the positive one
    special[6, ::2], special[6, 1::2] = -1, 1
    special[7, 0] = 1e-3
    special[7, 31] = 1
    special[8] = np.linspace(-1, 1, BLOCK)
    special[9] = 1 + np.arange(BLOCK) * 2.0**-12  # between two f16
    special[10] = 1 + np.arange(BLOCK) * 2.0**-9  # between two bf16
    special[11] = np.pi
    blocks.append(special)
    return np.concatenate(blocks).astype(np.float32)


def blocks(kind):
    """[48, bytes of a block]: random bits, all bits, none, and one of each byte, with numbers of every magnitude and sign."""
    rng = np.random.default_rng(int(kind))
    out = rng.integers(0, 256, (48, GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
    out[32:40] = 0xFF
    out[40:44] = 0
    out[44:] = np.arange(out.shape[1]) % 256
    # Largest, smallest, smallest normal, zeros and ones, and random ones.
    hard = np.array([65504, -65504, 6e-8, -6e-8, 6.104e-5, 0, -0.0, 1, -1], dtype=np.float16)
    for place in BLOCKS[kind]:
        numbers = rng.normal(0, 1, len(out)).astype(np.float16) * np.float16(0.01)
        numbers[::3] = rng.choice(hard, len(numbers[::3]))
        numbers[32:41] = hard
        out[:, place : place + 2] = numbers.view(np.uint8).reshape(-1, 2)
    return out


def main():
    """Writes the file."""
    values = rows()
    parts = [values]
    for kind in QUANTIZED:
        stored = quants.quantize(values, kind)
        parts += [stored, quants.dequantize(stored, kind).astype(np.float32)]
    for kind in BLOCKS:
        stored = blocks(kind)
        parts += [stored, quants.dequantize(stored, kind).astype(np.float32)]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
    print(f"{TARGET.name}: {len(values)} rows, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
