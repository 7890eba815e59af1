#!/usr/bin/env python3
"""Writes the golden files of crates/gguf with PyPI's `gguf`, the package that llama.cpp publishes.

    pip install gguf==0.19.0 numpy
    python tools/make_gguf_goldens.py          # from the root of the repository

`crates/gguf/tests/golden.rs` states what is in them, and asserts that our reader sees exactly that and that our writer gives the
same bytes. Change both together. Outputs, in crates/gguf/tests/data:

  all_values.gguf     every value type, an array of each, and tensors of f32, f16, q8_0 and q4_0
  alignment_64.gguf   general.alignment = 64
  tensor_types.tsv    number, name, elements and bytes of a block, of every tensor type that the package names
"""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, GGUFWriter, quants

FOLDER = Path("crates/gguf/tests/data")


def all_values(path: Path) -> None:
    w = GGUFWriter(path, "golden")
    w.add_uint8("scalar.u8", 200)
    w.add_int8("scalar.i8", -100)
    w.add_uint16("scalar.u16", 60_000)
    w.add_int16("scalar.i16", -30_000)
    w.add_uint32("scalar.u32", 4_000_000_000)
    w.add_int32("scalar.i32", -2_000_000_000)
    w.add_float32("scalar.f32", 0.1)
    w.add_bool("scalar.true", True)
    w.add_bool("scalar.false", False)
    w.add_string("scalar.string", "naïve Ġ 写真 🐕\n")
    w.add_uint64("scalar.u64", 2**64 - 1)
    w.add_int64("scalar.i64", -(2**63))
    w.add_float64("scalar.f64", 0.1)

    def array(key: str, items: list, item_type: GGUFValueType) -> None:
        w.add_key_value(key, items, GGUFValueType.ARRAY, sub_type=item_type)

    array("array.u8", [0, 1, 255], GGUFValueType.UINT8)
    array("array.i8", [-128, 127], GGUFValueType.INT8)
    array("array.u16", [0, 65_535], GGUFValueType.UINT16)
    array("array.i16", [-32_768, 32_767], GGUFValueType.INT16)
    array("array.u32", [0, 2**32 - 1], GGUFValueType.UINT32)
    array("array.i32", [-(2**31), 2**31 - 1], GGUFValueType.INT32)
    array("array.f32", [0.5, -0.25, float("inf")], GGUFValueType.FLOAT32)
    array("array.bool", [True, False, True], GGUFValueType.BOOL)
    array("array.string", ["a</w>", "", "Ġ", "写"], GGUFValueType.STRING)
    array("array.u64", [0, 2**64 - 1], GGUFValueType.UINT64)
    array("array.i64", [-(2**63), 2**63 - 1], GGUFValueType.INT64)
    array("array.f64", [0.1, -1e300], GGUFValueType.FLOAT64)

    # numpy's shapes; the file has them reversed. Five floats are 20 bytes, so that padding follows.
    w.add_tensor("one.f32", np.arange(5, dtype=np.float32) - 2)
    w.add_tensor("two.f16", (np.arange(6, dtype=np.float16) / 4).reshape(2, 3))
    # Rows whose largest value is the type's own limit have a scale of exactly 1, so that the quants are the values.
    q8 = np.concatenate([np.arange(-127, -95), np.arange(96, 128)]).astype(np.float32).reshape(2, 32)
    w.add_tensor("two.q8_0", quants.quantize(q8, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
    q4 = np.tile(np.arange(-8, 8), 4).astype(np.float32).reshape(2, 1, 1, 32)
    w.add_tensor("four.q4_0", quants.quantize(q4, GGMLQuantizationType.Q4_0), raw_dtype=GGMLQuantizationType.Q4_0)
    finish(w)


def alignment_64(path: Path) -> None:
    w = GGUFWriter(path, "golden")
    w.add_custom_alignment(64)
    w.add_tensor("a", np.array([1.5], dtype=np.float32))
    w.add_tensor("b", np.array([[1, -2], [3, -4]], dtype=np.int16))
    finish(w)


def finish(w: GGUFWriter) -> None:
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def tensor_types(path: Path) -> None:
    rows = [f"{t.value}\t{t.name.lower()}\t{n}\t{size}\n" for t, (n, size) in GGML_QUANT_SIZES.items()]
    path.write_text("".join(sorted(rows, key=lambda row: int(row.split("\t")[0]))), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    all_values(FOLDER / "all_values.gguf")
    alignment_64(FOLDER / "alignment_64.gguf")
    tensor_types(FOLDER / "tensor_types.tsv")
