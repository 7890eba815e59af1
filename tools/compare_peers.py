"""Times edgeclip beside ONNX Runtime, OpenVINO and clip.cpp on this machine, and writes docs/performance.md's comparison.

    python tools/compare_peers.py                 about 25 minutes after the first time, which installs 5 GB of Python packages
    python tools/compare_peers.py --quick         a few rounds, to see that everything works; writes no page
    python tools/compare_peers.py --render        the page again from the last results

Needs Linux on x86-64, Python 3.11 with venv, and Rust. Everything is made under target/: a virtual environment with pinned versions
(tools/peers-requirements.txt), a full-size ViT-B/32 with random weights, its conversions. What is there is not made again.

Every program is a process of its own that stays resident with its model loaded and gets the same pixels and ids. In each round every
process has its turn, one after the other, so that what else the machine does meets all of them; the first call of a turn is not counted.
One thread is pinned to the last core, two to the last two. Times are medians; only ratios of one run mean something.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target/peers"
MODEL = ROOT / "target/random-b32"
PYTHON = WORK / "venv/bin/python"
WORKER = ROOT / "tools/peer_worker.py"
PAGE = ROOT / "docs/performance.md"
TEXTS, PROMPTS = 32, 4000
BEGIN, END = "<!-- compare_peers: begin -->", "<!-- compare_peers: end -->"

# Name, program, its model, more arguments.
OURS = "edgeclip"
PEERS = [
    ("ONNX Runtime f32", "onnxruntime", "f32", []),
    ("ONNX Runtime int8", "onnxruntime", "int8", []),
    ("OpenVINO f32", "openvino", "f32", []),
    ("OpenVINO int8", "openvino", "int8", []),
    ("clip.cpp q8_0", "clip.cpp", "clipcpp-q8_0.gguf", []),
    ("edgeclip f32", OURS, "f32.gguf", []),
    ("edgeclip q8_0", OURS, "q8_0.gguf", []),
    ("edgeclip q8_0 coarse", OURS, "q8_0.gguf", ["--coarse"]),
    ("edgeclip q4_0", OURS, "q4_0.gguf", []),
    ("edgeclip q8_0 avx2", OURS, "q8_0.gguf", ["--isa", "avx2"]),
]
OV, ORT, CPP, Q8, COARSE, Q4, AVX2 = "OpenVINO int8", "ONNX Runtime f32", "clip.cpp q8_0", "edgeclip q8_0", "edgeclip q8_0 coarse", "edgeclip q4_0", "edgeclip q8_0 avx2"

LONG, SHORT = list(range(TEXTS)), list(range(TEXTS, 2 * TEXTS))
# Key, heading, command, inputs in a call, calls in a turn of which the first is not counted, turns (rounds from the first on) at most.
WORK_ITEMS = [
    ("image1", "picture", {"op": "image", "first": 0, "batch": 1}, 1, 5, None),
    ("image8", "8 pictures, each", {"op": "image", "first": 0, "batch": 8}, 8, 2, 8),
    ("image32", "32 pictures, each", {"op": "image", "first": 0, "batch": 32}, 32, 2, 4),
    ("long1", "text of 77", {"op": "text", "rows": LONG[:1]}, 1, 5, None),
    ("long32", "32 texts of 77, each", {"op": "text", "rows": LONG}, 32, 2, 4),
    ("short1", "text of 9", {"op": "text", "rows": SHORT[:1]}, 1, 9, None),
    ("short32", "32 texts of 9, each", {"op": "text", "rows": SHORT}, 32, 3, 8),
]
# 4000 prompts: peers in batches of 32, of which so many are timed; ours all in one call.
SAMPLED, BATCH, PROMPT_TURNS = 4, 32, 3


def step(name, target, work):
    """Makes `target` unless it is there."""
    if target.exists():
        return
    print(f"{name} ...", flush=True)
    start = time.monotonic()
    work()
    assert target.exists(), f"{name} made no {target}"
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


def run(*command):
    """Runs a program; its output goes to a log that is shown if it fails."""
    log = WORK / "log.txt"
    with open(log, "w") as out:
        done = subprocess.run([str(part) for part in command], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command[:4]))} ended with {done.returncode}:\n" + log.read_text()[-4000:])


def prepare():
    """Everything that a run needs."""
    WORK.mkdir(parents=True, exist_ok=True)
    ready = WORK / "venv/ready"

    def install():
        run(sys.executable, "-m", "venv", WORK / "venv")
        run(PYTHON, "-m", "pip", "install", "--quiet", "-r", ROOT / "tools/peers-requirements.txt")
        ready.touch()

    step("Python packages", ready, install)
    step("random ViT-B/32", MODEL / "model.safetensors", lambda: run(PYTHON, ROOT / "tools/make_random_b32.py", "--output", MODEL))
    templates = WORK / "templates.json"
    source = (ROOT / "crates/edgeclip/src/zero_shot/templates.rs").read_text()
    listed = re.search(r"IMAGENET_TEMPLATES: \[&str; 80\] = \[(.*?)\];", source, re.DOTALL)[1]
    templates.write_text(json.dumps(re.findall(r'"([^"]*)"', listed)))
    pictures = ROOT / "models/demo/pictures"
    step("inputs, and torch's vectors", WORK / "inputs.json", lambda: run(PYTHON, WORKER, "inputs", MODEL, pictures, templates, WORK))
    step("ONNX", WORK / "text.onnx", lambda: run(PYTHON, WORKER, "export", MODEL, WORK))
    step("int8 of ONNX Runtime and OpenVINO", WORK / "text-int8.xml", lambda: run(PYTHON, WORKER, "quantize", WORK))
    print("cargo build --release", flush=True)
    run("cargo", "build", "--release", "--package", "edgeclip-cli")
    run("cargo", "build", "--release", "--package", "edgeclip", "--example", "resident")
    for name in ("f32", "q8_0", "q4_0", "clipcpp-q8_0"):
        convert = [ROOT / "target/release/edgeclip", "convert", MODEL, "--type", name.removeprefix("clipcpp-")]
        if name.startswith("clipcpp"):
            convert += ["--compat", "clip.cpp"]
        step(f"{name}.gguf", WORK / f"{name}.gguf", lambda: run(*convert, "--output", WORK / f"{name}.gguf"))


class Peer:
    """A resident process."""

    def __init__(self, name, program, model, more, threads, cores):
        self.name, self.threads, self.samples = name, threads, {}
        inputs = json.loads((WORK / "inputs.json").read_text())
        if program == OURS:
            command = [ROOT / "target/release/examples/resident", "--model", WORK / model, "--threads", threads, *more]
        else:
            command = [PYTHON, WORKER, "serve", program, WORK / model if model.endswith(".gguf") else model, threads, WORK]
        self.log = open(WORK / f"{name.replace(' ', '-')}-{threads}.log", "w")
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        first = self.answer()
        self.load, self.empty = first["load_ns"], first["empty_kb"]
        self.ours = program == OURS
        if self.ours:
            self.ask({"op": "inputs", "crops": inputs["crops"], "ids": inputs["ids"]})
        self.size = size(program, model)

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended:\n" + pathlib.Path(self.log.name).read_text()[-2000:])
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def turn(self, round_, rounds):
        for key, _, command, inputs, repeat, turns in WORK_ITEMS:
            if turns is None or round_ < turns:
                taken = self.ask({**command, "repeat": repeat})["ns"][1:]
                self.samples.setdefault(key, []).extend(ns / 1e6 / inputs for ns in taken)
        if round_ < min(PROMPT_TURNS, rounds) and not self.name.startswith(("clip.cpp", "edgeclip f32")):
            self.prompts()

    def prompts(self):
        first = 2 * TEXTS
        if self.ours:
            rows = list(range(first, first + PROMPTS))
            self.samples.setdefault("prompts", []).append(self.ask({"op": "text", "rows": rows, "repeat": 1})["ns"][0] / 1e6)
            return
        for key, length in (("prompts77", 77), ("prompts", None)):
            taken = 0
            for sample in range(SAMPLED):
                start = first + sample * (PROMPTS // SAMPLED) // BATCH * BATCH
                command = {"op": "text", "rows": list(range(start, start + BATCH)), "repeat": 1}
                taken += self.ask({**command, "length": length} if length else command)["ns"][0]
            self.samples.setdefault(key, []).append(taken / 1e6 * PROMPTS / (SAMPLED * BATCH))

    def close(self):
        self.hwm = self.ask({"op": "memory"})["hwm_kb"]
        self.process.stdin.close()
        self.process.wait()


def size(program, model):
    """Bytes of the files of both encoders."""
    suffix = "-int8" if model == "int8" else ""
    names = {"onnxruntime": [f"{n}{suffix}.onnx" for n in ("image", "text")], "openvino": [f"{n}{suffix}.bin" for n in ("image", "text")]}
    files = [WORK / name for name in names.get(program, [model])]
    # ONNX may keep weights beside.
    return sum(file.stat().st_size for file in files for file in [file, file.with_suffix(".onnx.data")] if file.exists())


def cosines(peers):
    """Of every program's vectors to torch's, mean and least; by the environment's NumPy."""
    code = (
        "import json,sys,numpy as np\n"
        "r=np.load(sys.argv[1]);v=json.load(sys.stdin);n=len(r['text'])//2\n"
        "def c(a,b):\n a,b=np.asarray(a,np.float64),np.asarray(b,np.float64)\n"
        " x=(a*b).sum(1)/np.sqrt((a*a).sum(1)*(b*b).sum(1));return [float(x.mean()),float(x.min())]\n"
        "print(json.dumps({'image':c(v['image'],r['image']),'long':c(v['text'][:n],r['text'][:n]),'short':c(v['text'][n:],r['text'][n:])}))"
    )
    result = {}
    for peer in peers:
        if peer.name not in result:
            vectors = json.dumps(peer.ask({"op": "embed", "texts": 2 * TEXTS}))
            done = subprocess.run([str(PYTHON), "-c", code, str(WORK / "reference.npz")], input=vectors, capture_output=True, text=True)
            result[peer.name] = json.loads(done.stdout)
            if result[peer.name]["image"][1] < 0.9 or result[peer.name]["long"][1] < 0.9:
                sys.exit(f"{peer.name} computes something else: {result[peer.name]}")
    return result


def measure(options):
    """Runs everything; the results as one object."""
    cores = sorted(os.sched_getaffinity(0))
    results = {"cells": []}
    for threads in options.threads:
        chosen = [spec for spec in PEERS if not options.only or any(only in spec[0] for only in options.only)]
        peers = []
        for spec in chosen:
            peers.append(Peer(*spec, threads, set(cores[-threads:])))
            print(f"{threads} threads: {spec[0]} loaded in {peers[-1].load / 1e9:.2f} s", flush=True)
        found = cosines(peers)
        for round_ in range(options.rounds):
            start = time.monotonic()
            for peer in peers:
                peer.turn(round_, options.rounds)
            print(f"{threads} threads: round {round_ + 1} of {options.rounds}, {time.monotonic() - start:.0f} s", flush=True)
        for peer in peers:
            peer.close()
            results["cells"].append({
                "name": peer.name, "threads": threads, "load_ms": peer.load / 1e6, "memory_mb": (peer.hwm - peer.empty) / 1e3,
                "file_mb": peer.size / 1e6, "cosine": found[peer.name], "samples": peer.samples,
            })
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    flags = next(line.split(":")[1].split() for line in open("/proc/cpuinfo") if line.startswith("flags"))
    packages = subprocess.run([str(PYTHON), "-m", "pip", "list", "--format", "json"], capture_output=True, text=True).stdout
    versions = {p["name"].lower().replace("-", "_"): p["version"] for p in json.loads(packages)}
    shown = ("onnxruntime", "openvino", "nncf", "clip_cpp", "onnx", "torch", "transformers")
    results["machine"] = {
        "cpu": cpu, "cores": os.cpu_count(), "system": platform.system(), "date": datetime.date.today().isoformat(),
        "flags": [f for f in ("avx2", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8") if f in flags],
        "rustc": subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()[1],
        "versions": {name: versions[name] for name in shown}, "rounds": options.rounds,
    }
    return results


def targets(value):
    """Work, the ratio, its target; `value(name, item, threads)` is a median."""
    best = lambda item, t: min(value(name, item, t) for name in ("ONNX Runtime f32", "ONNX Runtime int8", "OpenVINO f32", OV))
    rows = []

    def row(work, ratio, target):
        rows.append((work, ratio, target))

    for t, q8, coarse in ((1, 0.92, 0.85), (2, 0.87, 0.80)):
        row(f"picture, {t}T: q8_0 / OpenVINO int8", value(Q8, "image1", t) / value(OV, "image1", t), q8)
        row(f"picture, {t}T: coarse / OpenVINO int8", value(COARSE, "image1", t) / value(OV, "image1", t), coarse)
        row(f"picture, {t}T: q8_0 / ONNX Runtime f32", value(Q8, "image1", t) / value(ORT, "image1", t), 0.28)
        row(f"picture, {t}T: q8_0 / clip.cpp q8_0", value(Q8, "image1", t) / value(CPP, "image1", t), 0.14)
    for t in (1, 2):
        row(f"32 pictures, {t}T: q8_0 / OpenVINO int8", value(Q8, "image32", t) / value(OV, "image32", t), 0.97)
        row(f"32 pictures, {t}T: coarse / OpenVINO int8", value(COARSE, "image32", t) / value(OV, "image32", t), 0.91)
        row(f"text of 77, {t}T: q8_0 / OpenVINO int8", value(Q8, "long1", t) / value(OV, "long1", t), 0.86)
        row(f"text of 77, {t}T: coarse / OpenVINO int8", value(COARSE, "long1", t) / value(OV, "long1", t), 0.80)
    for t, target in ((1, 0.60), (2, 0.50)):
        row(f"text of 9, {t}T: q8_0 / best peer", value(Q8, "short1", t) / best("short1", t), target)
    for t in (1, 2):
        row(f"50 x 80 prompts, {t}T: q8_0 / best peer padded to 77", value(Q8, "prompts", t) / best("prompts77", t), 0.10)
        row(f"50 x 80 prompts, {t}T: q8_0 / best peer padded to the longest", value(Q8, "prompts", t) / best("prompts", t), 0.50)
        row(f"picture, {t}T: q4_0 / q8_0", value(Q4, "image1", t) / value(Q8, "image1", t), 1.15)
        row(f"text of 9, {t}T: q4_0 / q8_0", value(Q4, "short1", t) / value(Q8, "short1", t), 0.9)
        row(f"picture, {t}T: q8_0 on AVX2 / ONNX Runtime f32", value(AVX2, "image1", t) / value(ORT, "image1", t), 0.60)
    return rows


def render(results):
    """The page's comparison."""
    machine, cells = results["machine"], {(c["name"], c["threads"]): c for c in results["cells"]}
    median = lambda name, item, t: statistics.median(cells[name, t]["samples"][item])
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    out = [
        f"`python tools/compare_peers.py`, {machine['date']}: {machine['cpu']}, {machine['cores']} cores ({', '.join(machine['flags'])}), "
        f"{machine['system']}, rustc {machine['rustc']}; {versions}. Medians of {machine['rounds']} rounds in which every program has its turn.",
        "",
    ]
    names = list(dict.fromkeys(c["name"] for c in results["cells"]))
    threads = sorted({c["threads"] for c in results["cells"]})
    for t in threads:
        out += [f"### {t} thread{'s' if t > 1 else ''}, ms", "", "| program | " + " | ".join(item[1] for item in WORK_ITEMS) + " | 50 x 80 prompts |"]
        out += ["|---" * (len(WORK_ITEMS) + 2) + "|"]
        for name in names:
            samples = cells[name, t]["samples"]
            row = [f"{statistics.median(samples[item[0]]):.2f}" for item in WORK_ITEMS]
            prompts = f"{median(name, 'prompts', t):,.0f}" if "prompts" in samples else ""
            if "prompts77" in samples:
                prompts += f" ({median(name, 'prompts77', t):,.0f} padded to 77)"
            out.append(f"| {name} | " + " | ".join(row) + f" | {prompts} |")
        out.append("")
    out += [
        "### Load, memory, files, cosine to torch f32", "",
        "Load is from the file to the first vectors of both encoders. Memory is VmHWM above that of the process before it loads. Cosines are mean (least) of 32.", "",
        "| program | load, ms | memory, MB | file, MB | pictures | texts of 77 | texts of 9 |", "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        c = cells[name, threads[0]]
        cosine = " | ".join(f"{c['cosine'][key][0]:.6f} ({c['cosine'][key][1]:.6f})" for key in ("image", "long", "short"))
        out.append(f"| {name} | {c['load_ms']:.0f} | {c['memory_mb']:.0f} | {c['file_mb']:.1f} | {cosine} |")
    if threads == [1, 2] and len(names) == len(PEERS):
        out += ["", "### Targets", "", "| ratio of medians | measured | target | |", "|---|---|---|---|"]
        out += [f"| {work} | {ratio:.3f} | <= {target:.2f} | {'met' if ratio <= target else '**missed**'} |" for work, ratio, target in targets(median)]
    return "\n".join(out)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=16, help="turns of every program [default: 16]")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2], help="[default: 1,2]")
    parser.add_argument("--only", action="append", help="programs whose name contains this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="two rounds, and no page")
    parser.add_argument("--render", action="store_true", help="the page from target/peers/results.json")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 2
    saved = WORK / "results.json"
    if not options.render:
        prepare()
        results = measure(options)
        part = saved.with_suffix(".part")
        part.write_text(json.dumps(results))
        part.rename(saved)
    text = render(json.loads(saved.read_text()))
    print(text)
    if not options.quick and not options.only:
        page = PAGE.read_text()
        head, rest = page.split(BEGIN)
        PAGE.write_text(head + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
