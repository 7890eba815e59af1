"""Times edgeclip beside ONNX Runtime, OpenVINO and clip.cpp on this machine, and writes docs/performance.md's comparison.

    python tools/compare_peers.py                 about 25 minutes after the first time, which installs 5 GB of Python packages
    python tools/compare_peers.py --quick         one round, to see that everything works; writes no page
    python tools/compare_peers.py --render        the page again from the last whole run

Needs Linux on x86-64, Python 3.11 with venv, and Rust. Everything is made under target/: a virtual environment with pinned versions
(tools/peers-requirements.txt), a full-size ViT-B/32 with random weights, its conversions. What is there is not made again.

Every program is a process of its own that stays resident with its model loaded and gets the same pixels and ids. In each round, for each
kind of work, every process has its turn, one after the other, so that what else the machine does meets all of them; the first call of a
turn is not counted. One thread is pinned to the last core, two to the last two. Times are medians; only ratios of one run mean something.
A program whose vectors are not near torch's ends the run.
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
PHOTO = WORK / "photos/00.jpg"
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
ORT, OV, CPP = "ONNX Runtime f32", "OpenVINO int8", "clip.cpp q8_0"
Q8, COARSE, Q4, AVX2 = "edgeclip q8_0", "edgeclip q8_0 coarse", "edgeclip q4_0", "edgeclip q8_0 avx2"
OTHERS = [name for name, program, _, _ in PEERS if program != OURS]
# Cosine to torch below which a program computes something else.
LEAST = {"f32": 0.99999, "int8": 0.99, "q8_0": 0.99, "q4_0": 0.9}

LONG, SHORT = list(range(TEXTS)), list(range(TEXTS, 2 * TEXTS))
# Key, heading, command, inputs in a call, calls in a turn of which the first is not counted, rounds that have it at most.
WORK_ITEMS = [
    ("image1", "picture", {"op": "image", "first": 0, "batch": 1}, 1, 5, None),
    ("image8", "8 pictures, each", {"op": "image", "first": 0, "batch": 8}, 8, 2, 3),
    ("image32", "32 pictures, each", {"op": "image", "first": 0, "batch": 32}, 32, 2, 2),
    ("long1", "text of 77", {"op": "text", "rows": LONG[:1]}, 1, 5, None),
    ("long32", "32 texts of 77, each", {"op": "text", "rows": LONG}, 32, 2, 2),
    ("short1", "text of 9", {"op": "text", "rows": SHORT[:1]}, 1, 9, None),
    ("short32", "32 texts of 9, each", {"op": "text", "rows": SHORT}, 32, 3, 3),
]
# The bytes of a photo to its vector on one thread: key, heading, how it is decoded; programs, calls in a turn, rounds at most. Others decode by Pillow.
FILES = [("file_exact", "all of it decoded", "exact"), ("file_fast", "at a reduced size", "fast")]
FILED, FILE_CALLS, FILE_ROUNDS = [OV, Q8, COARSE], 3, 8
# 4000 prompts: others in batches of 32, of which so many are timed, evenly spread; ours all in one call.
SAMPLED, BATCH, PROMPT_ROUNDS = 4, 32, 1
# Not f32 of ours, nor clip.cpp, which takes one text at a time.
PROMPTED = [name for name, _, _, _ in PEERS if name not in (CPP, "edgeclip f32")]
# Starts of every program, for the time of loading.
LOADS = 3


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

    def random_model():
        part = MODEL.with_suffix(".part")
        run(PYTHON, ROOT / "tools/make_random_b32.py", "--output", part)
        part.rename(MODEL)

    step("random ViT-B/32", MODEL, random_model)
    templates = WORK / "templates.json"
    source = (ROOT / "crates/edgeclip/src/zero_shot/templates.rs").read_text()
    listed = re.search(r"IMAGENET_TEMPLATES: \[&str; 80\] = \[(.*?)\];", source, re.DOTALL)[1]
    templates.write_text(json.dumps(re.findall(r'"([^"]*)"', listed)))
    pictures = ROOT / "models/demo/pictures"
    step("inputs, and torch's vectors", WORK / "inputs.json", lambda: run(PYTHON, WORKER, "inputs", MODEL, pictures, templates, WORK))
    step("ONNX", WORK / "text.onnx", lambda: run(PYTHON, WORKER, "export", MODEL, WORK))
    step("int8 of ONNX Runtime and OpenVINO", WORK / "text-int8.xml", lambda: run(PYTHON, WORKER, "quantize", WORK))

    def photos():
        part = WORK / "photos.part"
        run(PYTHON, ROOT / "tools/make_photos.py", "--output", part, "--count", 1)
        part.rename(PHOTO.parent)

    step("a photo", PHOTO, photos)
    print("cargo build --release ...", flush=True)
    start = time.monotonic()
    build = ["cargo", "build", "--release", "--target-dir", ROOT / "target"]
    run(*build, "--package", "edgeclip-cli")
    run(*build, "--package", "edgeclip", "--example", "resident")
    print(f"cargo build --release: {time.monotonic() - start:.0f} s", flush=True)
    for name in ("f32", "q8_0", "q4_0", "clipcpp-q8_0"):
        convert = [ROOT / "target/release/edgeclip", "convert", MODEL, "--type", name.removeprefix("clipcpp-")]
        if name.startswith("clipcpp"):
            convert += ["--compat", "clip.cpp"]
        step(f"{name}.gguf", WORK / f"{name}.gguf", lambda: run(*convert, "--output", WORK / f"{name}.gguf"))


class Peer:
    """A resident process."""

    def __init__(self, name, program, model, more, threads, cores, loads):
        self.name, self.threads, self.ours, self.samples = name, threads, program == OURS, {}
        if self.ours:
            command = [ROOT / "target/release/examples/resident", "--model", WORK / model, "--threads", threads, *more]
        else:
            command = [PYTHON, WORKER, "serve", program, WORK / model if model.endswith(".gguf") else model, threads, WORK]
        self.log = open(WORK / f"{name.replace(' ', '-')}-{threads}.log", "w")
        for number in range(loads):
            if number > 0:
                self.close()
            self.process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
            first = self.answer()
            for key in ("load", "first"):
                self.samples.setdefault(key, []).append(first[f"{key}_ns"] / 1e6)
        self.empty, self.loaded = first["empty_kb"], first["loaded_kb"]
        self.size = size(program, model)
        if self.ours:
            inputs = json.loads((WORK / "inputs.json").read_text())
            self.ask({"op": "inputs", "crops": inputs["crops"], "ids": inputs["ids"]})

    def answer(self):
        """The next line that the process says."""
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with {self.process.wait()}:\n" + pathlib.Path(self.log.name).read_text()[-2000:])
        return json.loads(line)

    def ask(self, command):
        """What the process says to a command."""
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # Its end is told where the answer is missing.
            pass
        return self.answer()

    def turn(self, key, command, inputs, repeat):
        """Times one kind of work: milliseconds an input."""
        taken = self.ask({**command, "repeat": repeat})["ns"][1:]
        self.samples.setdefault(key, []).extend(ns / 1e6 / inputs for ns in taken)

    def prompts(self, sampled):
        """Times 50 labels x 80 templates: milliseconds for all."""
        first = 2 * TEXTS
        if self.ours:
            taken = self.ask({"op": "text", "rows": list(range(first, first + PROMPTS)), "repeat": 1})["ns"]
            self.samples.setdefault("prompts", []).append(taken[0] / 1e6)
            return
        for key, length in (("prompts77", {"length": 77}), ("prompts", {})):
            taken = 0
            for number in range(sampled):
                start = first + PROMPTS // BATCH * number // sampled * BATCH
                taken += self.ask({"op": "text", "rows": list(range(start, start + BATCH)), "repeat": 1, **length})["ns"][0]
            self.samples.setdefault(key, []).append(taken / 1e6 * PROMPTS / (sampled * BATCH))

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def size(program, model):
    """Bytes of the files of both encoders."""
    suffix = "-int8" if model == "int8" else ""
    suffixes = {"onnxruntime": ["onnx"], "openvino": ["xml", "bin"]}.get(program)
    names = [f"{tower}{suffix}.{kind}" for tower in ("image", "text") for kind in suffixes] if suffixes else [model]
    return sum((WORK / name).stat().st_size for name in names)


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
        vectors = json.dumps(peer.ask({"op": "embed", "texts": 2 * TEXTS}))
        done = subprocess.run([str(PYTHON), "-c", code, str(WORK / "reference.npz")], input=vectors, capture_output=True, text=True)
        found = result[peer.name] = json.loads(done.stdout)
        print(f"{peer.name}: cosine " + ", ".join(f"{key} {mean:.6f} (least {least:.6f})" for key, (mean, least) in found.items()))
        least = next(LEAST[kind] for kind in LEAST if kind in peer.name.split())
        # Not the other way round, which would let a NaN pass.
        if not all(value[1] >= least for value in found.values()):
            sys.exit(f"{peer.name} computes something else than torch: least cosine below {least}")
    return result


def measure(options):
    """Runs everything; the results as one object."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < max(options.threads):
        sys.exit(f"{max(options.threads)} threads are asked for and there are {len(cores)} cores")
    chosen = [spec for spec in PEERS if not options.only or any(only in spec[0] for only in options.only)]
    results = {"cells": []}
    for threads in options.threads:
        peers = []
        for spec in chosen:
            peers.append(Peer(*spec, threads, set(cores[-threads:]), 1 if options.quick else LOADS))
            print(f"{threads} threads: {spec[0]} loaded in {statistics.median(peers[-1].samples['load']) / 1e3:.2f} s", flush=True)
        found = cosines(peers)
        for round_ in range(options.rounds):
            start = time.monotonic()
            for key, _, command, inputs, repeat, rounds in WORK_ITEMS:
                if rounds is None or round_ < rounds:
                    for peer in peers:
                        peer.turn(key, command, inputs, 2 if options.quick else repeat)
            if round_ < PROMPT_ROUNDS:
                for peer in peers:
                    if peer.name in PROMPTED:
                        peer.prompts(1 if options.quick else SAMPLED)
            print(f"{threads} threads: round {round_ + 1} of {options.rounds}, {time.monotonic() - start:.0f} s", flush=True)
        mosts = [peer.ask({"op": "memory"})["hwm_kb"] for peer in peers]
        # Behind that: a photo takes more memory than some of the models.
        for _ in range(min(options.rounds, FILE_ROUNDS) if threads == 1 else 0):
            for key, _, decode in FILES:
                for peer in (peer for peer in peers if peer.name in FILED):
                    peer.turn(key, {"op": "file", "path": str(PHOTO), "decode": decode}, 1, 2 if options.quick else FILE_CALLS)
        for peer, most in zip(peers, mosts):
            peer.close()
            results["cells"].append({
                "name": peer.name, "threads": threads, "loaded_mb": (peer.loaded - peer.empty) / 1e3,
                "most_mb": (most - peer.empty) / 1e3, "file_mb": peer.size / 1e6, "cosine": found[peer.name], "samples": peer.samples,
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


def targets():
    """What is compared, threads, the work, ours, others of which the best counts, and the ratio that is wanted at most."""
    rows = [
        ("JPEG to vector: q8_0 / Pillow and OpenVINO int8", 1, "file_exact", Q8, [OV], 0.80),
        ("JPEG to vector, reduced: q8_0 / Pillow's draft() and OpenVINO int8", 1, "file_fast", Q8, [OV], 1.00),
    ]
    for t, q8, coarse in ((1, 0.92, 0.85), (2, 0.87, 0.80)):
        rows += [
            ("picture: q8_0 / OpenVINO int8", t, "image1", Q8, [OV], q8),
            ("picture: coarse / OpenVINO int8", t, "image1", COARSE, [OV], coarse),
            ("picture: q8_0 / ONNX Runtime f32", t, "image1", Q8, [ORT], 0.28),
            ("picture: q8_0 / clip.cpp q8_0", t, "image1", Q8, [CPP], 0.14),
            ("32 pictures: q8_0 / OpenVINO int8", t, "image32", Q8, [OV], 0.97),
            ("32 pictures: coarse / OpenVINO int8", t, "image32", COARSE, [OV], 0.91),
            ("text of 77: q8_0 / OpenVINO int8", t, "long1", Q8, [OV], 0.86),
            ("text of 77: coarse / OpenVINO int8", t, "long1", COARSE, [OV], 0.80),
            ("text of 9: q8_0 / best of the others", t, "short1", Q8, OTHERS, 0.60 if t == 1 else 0.50),
            ("4000 prompts: q8_0 / best of the others padded to 77", t, "prompts77", Q8, OTHERS, 0.10),
            ("4000 prompts: q8_0 / best of the others padded to the longest", t, "prompts", Q8, OTHERS, 0.50),
            ("picture: q4_0 / q8_0", t, "image1", Q4, [Q8], 1.15),
            ("text of 9: q4_0 / q8_0", t, "short1", Q4, [Q8], 0.9),
            ("picture: q8_0 on AVX2 / ONNX Runtime f32", t, "image1", AVX2, [ORT], 0.60),
            ("load of both encoders: q8_0 / clip.cpp q8_0", t, "load", Q8, [CPP], 0.50),
        ]
    return rows


# Program, key of its cosine, what of, the mean that is wanted at least.
COSINES = [
    (Q8, "image", "pictures", 0.9999), (Q8, "long", "texts of 77", 0.9997),
    (Q4, "image", "pictures", 0.9975), (Q4, "long", "texts of 77", 0.975),
]


def judged(cells, median):
    """The table of targets; rows whose programs were not run are left out."""
    out = ["| ratio of medians | threads | measured | target | |", "|---|---|---|---|---|"]
    for work, t, item, ours, others, most in targets():
        # Ours are never padded.
        time_of_ours = median(ours, item.replace("77", "") if item.startswith("prompts") else item, t)
        others = [(median(other, item, t), other) for other in others if median(other, item, t)]
        if time_of_ours and others:
            best, name = min(others)
            work = f"{work} ({name})" if "best" in work else work
            ratio = time_of_ours / best
            out.append(f"| {work} | {t} | {ratio:.3f} | <= {most:.2f} | {'met' if ratio <= most else '**missed**'} |")
    for name, key, what, least in COSINES:
        if cell := next((cell for (other, _), cell in cells.items() if other == name), None):
            mean = cell["cosine"][key][0]
            verdict = "met" if mean >= least else "**missed**"
            out.append(f"| cosine to f32, mean of 32 {what}: {name} | | {mean:.6f} | >= {least} | {verdict} |")
    return out


def render(results):
    """The page's comparison."""
    machine, cells = results["machine"], {(cell["name"], cell["threads"]): cell for cell in results["cells"]}

    def median(name, item, threads):
        samples = cells.get((name, threads), {}).get("samples", {}).get(item)
        return statistics.median(samples) if samples else None

    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    out = [
        f"`python tools/compare_peers.py`, {machine['date']}: {machine['cpu']}, {machine['cores']} cores ({', '.join(machine['flags'])}), "
        f"{machine['system']}, rustc {machine['rustc']}; {versions}.",
        "",
        "Every program is a resident process with its model loaded, pinned to one core or two, and gets the same pixels and ids; ours takes "
        f"crops as bytes, others as normalised floats. Medians over {machine['rounds']} rounds (batches over fewer: "
        + ", ".join(f"{heading.removesuffix(', each')} {rounds}" for _, heading, _, _, _, rounds in WORK_ITEMS if rounds) + "), in which all "
        "programs have their turn one after the other at each kind of work; the first call of a turn is not counted. int8 of ONNX Runtime is "
        "`quantize_dynamic` (QInt8 a channel), of OpenVINO `nncf.quantize` (static activations, calibrated on 8 of the inputs). clip.cpp takes a batch one by "
        f"one. 4000 prompts are 50 labels x 80 templates: ours in one call, others in batches of {BATCH}, {SAMPLED} of {PROMPTS // BATCH} "
        "batches timed and scaled up, in the order they come, padded to 77 or to the longest of the batch.",
        "",
        "### Targets", "", *judged(cells, median), "",
    ]
    names = list(dict.fromkeys(cell["name"] for cell in results["cells"]))
    threads = sorted({cell["threads"] for cell in results["cells"]})
    headings = [item[1] for item in WORK_ITEMS] + ["4000 prompts", "padded to 77"]
    for t in threads:
        out += [f"### Milliseconds, {t} thread{'s' if t > 1 else ''}", "", "| program | " + " | ".join(headings) + " |"]
        out.append("|---" * (len(headings) + 1) + "|")
        for name in names:
            times = [median(name, item[0], t) for item in WORK_ITEMS]
            row = [f"{time:.2f}" for time in times]
            row += [f"{time:,.0f}" if time else "" for time in (median(name, key, t) for key in ("prompts", "prompts77"))]
            out.append(f"| {name} | " + " | ".join(row) + " |")
        out.append("")
    if any(median(name, FILES[0][0], 1) for name in names):
        out += [
            "### Milliseconds from the bytes of a JPEG to its vector, 1 thread", "",
            "The first photo of tools/make_photos.py, 4032 x 3024; others decode, resize and crop by Pillow, at a reduced size by its `draft()` for twice "
            "the crop. The crops are the same to the bit.", "",
            "| program | " + " | ".join(heading for _, heading, _ in FILES) + " |", "|---|---|---|",
        ]
        for name in (name for name in names if name in FILED):
            row = " | ".join(f"{median(name, key, 1):.2f}" for key, _, _ in FILES)
            out.append(f"| {name} | {row} |")
        out.append("")
    out += [
        "### Load, memory, files, cosine to torch f32", "",
        f"{threads[0]} thread{'s' if threads[0] > 1 else ''}. Load: from the file, in the page cache, until both encoders are ready, and to their first vectors. "
        "Memory: VmHWM above that of the process before it loads, mapped files included, then and at the end of the run. "
        "Cosines: mean (least) of 32.", "",
        "| program | load, ms | first vectors, ms | loaded, MB | at the end, MB | files, MB | pictures | texts of 77 | texts of 9 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        cell = cells[name, threads[0]]
        cosine = " | ".join(f"{cell['cosine'][key][0]:.6f} ({cell['cosine'][key][1]:.6f})" for key in ("image", "long", "short"))
        load, first = (f"{time:.0f}" if time else "" for time in (median(name, key, threads[0]) for key in ("load", "first")))
        numbers = f"{load} | {first} | {cell['loaded_mb']:.0f} | {cell['most_mb']:.0f} | {cell['file_mb']:.1f}"
        out.append(f"| {name} | {numbers} | {cosine} |")
    return "\n".join(out)


def page():
    """docs/performance.md before and after the comparison."""
    text = PAGE.read_text()
    if not 0 <= text.find(BEGIN) < text.find(END):
        sys.exit(f"{PAGE}: the lines {BEGIN} and {END} are missing")
    return text[: text.index(BEGIN)] + BEGIN + "\n", "\n" + text[text.index(END) :]


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=16, help="turns of every program [default: 16]")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2], help="[default: 1,2]")
    parser.add_argument("--only", action="append", help="programs whose name contains this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one round of two calls a turn, and no page")
    parser.add_argument("--render", action="store_true", help="the page from target/peers/results.json")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    whole = not options.quick and not options.only and options.threads == [1, 2]
    head, rest = page()
    saved = WORK / ("results.json" if whole or options.render else "partial.json")
    if not options.render:
        prepare()
        save(saved, json.dumps(measure(options)))
    elif not saved.is_file():
        sys.exit(f"{saved} is missing: run without --render first")
    text = render(json.loads(saved.read_text()))
    print(text)
    if whole or options.render:
        save(PAGE, head + text + rest)


def save(path, text):
    """Writes a file whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    main()
