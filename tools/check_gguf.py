#!/usr/bin/env python3
"""Reads GGUF files with PyPI's `gguf`, independently of our own reader, and prints what is in them.

    pip install gguf==0.19.0 numpy
    python tools/check_gguf.py FILE... [--quiet]

Every tensor that is no plain numbers is dequantized by `gguf.quants`, and each has to hold finite numbers only. Exit code 1 if a
file cannot be read, or a tensor is not finite or of a type that the package cannot dequantize.
"""

import argparse
import sys

import numpy as np
from gguf import GGUFReader, GGUFValueType, quants

SHOWN_ITEMS = 4


def show(field) -> str:
    kinds = "/".join(kind.name.lower() for kind in field.types)
    if field.types[0] != GGUFValueType.ARRAY:
        return f"{kinds} {field.contents()!r}"
    items, count = field.contents(slice(0, SHOWN_ITEMS)), len(field.data)
    return f"{kinds} {items!r}" + (f" and more, {count} items" if count > SHOWN_ITEMS else "")


def check(path: str, quiet: bool) -> list[str]:
    """Prints the file and returns what is wrong with it."""
    try:
        reader = GGUFReader(path)
    except Exception as error:  # whatever it raises: it is made for trusted files
        return [f"{path}: {type(error).__name__}: {error}"]
    problems = []
    if not quiet:
        for key, field in reader.fields.items():
            print(f"  {key}: {show(field)}")
    for tensor in reader.tensors:
        shape = [int(n) for n in tensor.shape]
        line = f"{tensor.name} {tensor.tensor_type.name.lower()} {shape}"
        try:
            # The reader gives blocks as bytes, and everything else as numbers.
            blocks = tensor.data.dtype == np.uint8
            values = quants.dequantize(tensor.data, tensor.tensor_type) if blocks else tensor.data
        except NotImplementedError as error:
            problems.append(f"{path}: {line}: {error}")
            continue
        if not np.isfinite(values).all():
            problems.append(f"{path}: {line}: not finite")
        if values.size != tensor.n_elements:
            problems.append(f"{path}: {line}: {values.size} values")
        if not quiet and values.size:
            print(f"  {line}: {values.min():.6g} to {values.max():.6g}, mean {values.mean(dtype=np.float64):.6g}")
    print(f"{path}: {len(reader.fields) - 3} keys, {len(reader.tensors)} tensors, {'BAD' if problems else 'good'}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--quiet", action="store_true", help="one line a file")
    args = parser.parse_args()
    problems = [problem for path in args.files for problem in check(path, args.quiet)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
