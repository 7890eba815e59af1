"""How much memory the program needs with a ViT-B/32, on a machine that has only so much.

    python tools/measure_memory.py [--limit-mb 1024] [--program target/release/edgeclip] [--checkpoint FOLDER]

Every command runs in a memory control group with that limit, which counts the pages of files that it reads as well; without the right to make one
(root), nothing is limited. The checkpoint is a random one of tools/make_random_b32.py, or a real one. The table is that of docs/raspberry-pi.md: "own"
is the most memory that cannot be dropped (anonymous), "resident" (VmHWM) includes mapped files, "above" is that less what `--version` takes, which is
the program itself, and "of the file" what that is of the model's size.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Group:
    """A control group with a limit, of either version."""

    def __init__(self, limit):
        self.folder = None
        for base, limit_file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            folder = pathlib.Path(base) / f"edgeclip-{os.getpid()}"
            try:
                folder.mkdir()
                (folder / limit_file).write_text(str(limit))
                self.folder = folder
                return
            except OSError:
                if folder.exists():
                    folder.rmdir()

    def enter(self):
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self):
        if self.folder:
            self.folder.rmdir()


def status(pid, key):
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(key + ":")), 0)


def empty(program):
    """Most resident memory of a program that only says its version: it is held up by a full pipe until that is read."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    try:
        while os.write(into, bytes(4096)):
            pass
    except BlockingIOError:
        os.set_blocking(into, True)
    process = subprocess.Popen([program, "--version"], stdout=into)
    os.close(into)
    time.sleep(0.5)
    resident = status(process.pid, "VmHWM")
    with os.fdopen(out, "rb") as out:
        out.read()
    if process.wait() != 0 or not resident:
        sys.exit(f"error: `{program} --version` ended with {process.returncode}")
    return resident


def measure(group, command):
    """Most anonymous and most resident memory, and seconds."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=group.enter)
    own = resident = 0
    while process.poll() is None:
        own = max(own, status(process.pid, "RssAnon"))
        resident = max(resident, status(process.pid, "VmHWM"))
        time.sleep(0.002)
    error = process.stderr.read()
    if process.returncode != 0:
        killed = " (killed: out of memory?)" if process.returncode < 0 else ""
        sys.exit(f"error: `{' '.join(command)}` ended with {process.returncode}{killed}\n{error}")
    return own, resident, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit-mb", type=int, default=1024)
    parser.add_argument("--program", default=str(ROOT / "target/release/edgeclip"))
    parser.add_argument("--checkpoint", default=str(ROOT / "target/random-b32"), help="folder of a ViT-B/32")
    arguments = parser.parse_args()
    group = Group(arguments.limit_mb << 20)
    if not group.folder:
        print("no control group could be made: nothing is limited", file=sys.stderr)
    picture = str(ROOT / "models/demo/pictures/cat.png")
    floor = empty(arguments.program)
    print("| what | own | resident | above | of the file |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
        def row(what, *command):
            own, resident, _ = measure(group, [arguments.program, *command, "--quiet"])
            above = resident - floor
            share = above / pathlib.Path(model).stat().st_size
            print(f"| {what} | {own >> 20} MB | {resident >> 20} MB | {above >> 20} MB | {share:.2f} |", flush=True)

        for ty in ("q8_0", "q4_0", "f32"):
            model = f"{folder}/{ty}.gguf"
            row(f"`convert --type {ty}`", "convert", arguments.checkpoint, "--type", ty, "--output", model)
            row(f"{ty}: a picture", "encode", "image", picture, "--model", model, "--output", f"{folder}/v.npy")
            row(f"{ty}: a text", "encode", "text", "a photo of a cat", "--model", model, "--output", f"{folder}/v.npy")
            row(f"{ty}: both (`classify`)", "classify", picture, "--labels", "cat", "dog", "--model", model)
            pathlib.Path(model).unlink()
    group.remove()


if __name__ == "__main__":
    main()
