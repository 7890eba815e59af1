"""Counts the instructions that the tiles of ARM execute for a multiply-add, and asks llvm-mca how long they would take.

    python tools/static_counts.py [--table]

No time is measured: the product of a few rows and sixteen outputs runs under qemu, which lists every instruction; the part of one group of weights (or
sixteen inputs of floats) in the middle is looked up in the disassembly, counted, and given to llvm-mca's models of two processors. Those say how many
cycles the execution units and the decoders need if every load is a hit. Needs Debian's llvm-19, binutils-aarch64-linux-gnu, qemu-user-static and what
`cargo xtask aarch64` installs; nothing else but Python.
"""

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = "aarch64-unknown-linux-gnu"
FOLDER = ROOT / "target" / "counts"
INPUTS = 768
# Where qemu puts a program that can be anywhere.
BASE = 0x5500000000

# Format, instruction set, rows of its highest tile, function, processor of llvm-mca, and the ceiling of that processor in multiply-adds a cycle:
# of the multiplying units alone, and with a scale for each 32 weights.
TILES = [
    ("q8_0", "neon", 4, "neon::plain::int8", "cortex-a72", 8.0, 6.55),
    ("q4_0", "neon", 4, "neon::plain::int4", "cortex-a72", 8.0, 6.55),
    ("f32", "neon", 4, "neon::float::float", "cortex-a72", 4.0, 4.0),
    ("q8_0", "neon-dotprod", 6, "neon::dotprod::int8", "neoverse-n1", 32.0, 23.0),
    ("q4_0", "neon-dotprod", 6, "neon::dotprod::int8", "neoverse-n1", 32.0, 23.0),
    ("f32", "neon-dotprod", 6, "neon::float::float", "neoverse-n1", 8.0, 8.0),
    ("q8_0", "neon-i8mm", 6, "neon::i8mm::int8", "neoverse-n2", 64.0, 45.0),
    ("q4_0", "neon-i8mm", 6, "neon::i8mm::int8", "neoverse-n2", 64.0, 45.0),
]

# Multiply-adds of an instruction on whole vectors.
MACS = {"sdot": 16, "smmla": 32, "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8, "fmla": 4}


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"error: `{' '.join(map(str, command))}` failed with {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def build():
    environment = dict(
        os.environ,
        RUSTC="/usr/bin/rustc",
        CARGO_TARGET_DIR=str(FOLDER),
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="aarch64-linux-gnu-gcc",
    )
    command = ["cargo", "build", "--quiet", "--release", "--package", "edgeclip-kernels", "--example", "linear", "--target", TARGET]
    run(*command, "--config", "profile.release.debug=false", cwd=ROOT, env=environment)
    return FOLDER / TARGET / "release" / "examples" / "linear"


def disassembly(program):
    """Address -> name of the function and instruction."""
    instructions, name = {}, None
    for line in run("aarch64-linux-gnu-objdump", "--disassemble", "--demangle", "--no-show-raw-insn", program).splitlines():
        if head := re.fullmatch(r"([0-9a-f]+) <(.*)>:", line):
            name = head[2]
        elif code := re.match(r" *([0-9a-f]+):\t(.*?)( *//.*)?$", line):
            instructions[int(code[1], 16)] = (name, " ".join(code[2].split()))
    return instructions


def trace(program, instructions, tile, folder):
    """What was executed of the tile, in order."""
    form, isa, rows, function, *_ = tile
    log = folder / "trace"
    run("qemu-aarch64-static", "-singlestep", "-d", "exec,nochain", "-D", log, program, form, isa, rows, INPUTS,
        env=dict(os.environ, QEMU_CPU="max"))
    executed = []
    with open(log) as lines:
        for line in lines:
            if match := re.match(r"Trace \d+: \S+ \[\w+/(\w+)/", line):
                at = int(match[1], 16) - BASE
                if at in instructions and instructions[at][0].endswith(function):
                    executed.append(at)
    if not executed:
        sys.exit(f"error: {function} was not executed by {program.name} {form} {isa}")
    return executed


def middle(executed):
    """One turn of the outermost loop that is repeated, from the middle of the first part of the columns."""
    counts = collections.Counter(executed)
    # The instruction at the head of a group is the first that occurs once a group; groups are the rarest that are many.
    groups = min(count for count in counts.values() if count >= 16)
    head = next(at for at in executed if counts[at] == groups)
    places = [i for i, at in enumerate(executed) if at == head]
    turn = len(places) // 2 + 2
    return executed[places[turn]:places[turn + 1]]


def kind(text, form):
    name = text.split()[0]
    # With integers, `fmla` multiplies with the scales.
    if name in MACS and (form == "f32" or name != "fmla"):
        return "multiply-add"
    if name in ("ldr", "ldp", "ldur", "ld1", "ld1r", "prfm"):
        return "load"
    if name.startswith("st"):
        return "store"
    if name == "b" or name.startswith("b.") or name in ("cbz", "cbnz", "tbz", "tbnz", "ret"):
        return "branch"
    return "vector" if re.search(r"\bv\d+\.", text) else "scalar"


def mca(texts, processor):
    # Where a branch goes does not matter to the model, only that it must be a place.
    lines = [re.sub(r"\b[0-9a-f]+ <.*>", ".", text) for text in texts]
    done = run("llvm-mca-19", "-mtriple=aarch64", f"-mcpu={processor}", "-mattr=+dotprod,+i8mm", "-iterations=200", input="\n".join(lines))
    return int(re.search(r"Total Cycles: +(\d+)", done)[1]) / 200


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="tiles whose name contains this")
    parser.add_argument("--table", action="store_true", help="print the table of docs/kernels.md")
    arguments = parser.parse_args()
    table = arguments.table
    program = build()
    instructions = disassembly(program)
    if table:
        print("| weights | set | tile | multiply-adds | loads | other vector | scalar, branches | MAC an instruction | llvm-mca | cycles a turn "
              "| MAC/cycle | of the units' | with scales |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for tile in (tile for tile in TILES if arguments.only in f"{tile[1]} {tile[0]}"):
            form, isa, rows, function, processor, units, scaled = tile
            texts = [instructions[at][1] for at in middle(trace(program, instructions, tile, pathlib.Path(folder)))]
            kinds = collections.Counter(kind(text, form) for text in texts)
            macs = sum(MACS[text.split()[0]] for text in texts if kind(text, form) == "multiply-add")
            cycles = mca(texts, processor)
            rate = macs / cycles
            cells = [form, isa, f"{rows} rows", kinds["multiply-add"], kinds["load"], kinds["vector"] + kinds["store"],
                     kinds["scalar"] + kinds["branch"], f"{macs / len(texts):.1f}", processor, f"{cycles:.0f}", f"{rate:.2f}",
                     f"{rate / units:.0%}", f"{rate / scaled:.0%}"]
            print("| " + " | ".join(map(str, cells)) + " |" if table else "  ".join(map(str, cells)))
            if os.environ.get("SHOW"):
                print("\n".join(texts))


if __name__ == "__main__":
    main()
