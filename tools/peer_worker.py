"""What tools/compare_peers.py runs in its own virtual environment: makes the inputs and the models of other programs, and serves them.

    peer_worker.py inputs CHECKPOINT PICTURES TEMPLATES FOLDER      pixels, ids and torch's vectors of them -> FOLDER
    peer_worker.py export CHECKPOINT FOLDER                         both encoders in ONNX
    peer_worker.py quantize FOLDER                                  ONNX Runtime's dynamic int8, OpenVINO's static int8
    peer_worker.py serve PROGRAM MODEL THREADS FOLDER               lines of JSON in, lines of JSON out, as crates/edgeclip/examples/resident.rs
"""

import ctypes
import io
import json
import os
import pathlib
import sys
import time

import numpy as np

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
TEXTS, SHORT, LONG, SIZE = 32, 9, 77, 224
LABELS = """tench;goldfish;great white shark;tiger shark;hammerhead shark;electric ray;stingray;rooster;hen;ostrich;brambling;goldfinch;house finch;
junco;indigo bunting;American robin;bulbul;jay;magpie;chickadee;American dipper;kite (bird of prey);bald eagle;vulture;great grey owl;fire
salamander;smooth newt;newt;spotted salamander;axolotl;American bullfrog;tree frog;tailed frog;loggerhead sea turtle;leatherback sea turtle;
mud turtle;terrapin;box turtle;banded gecko;green iguana;Carolina anole;desert grassland whiptail lizard;agama;frilled-necked lizard;
alligator lizard;Gila monster;European green lizard;chameleon;Komodo dragon;Nile crocodile""".replace("\n", " ").split(";")


def padded(rows, length, pad):
    """Rows of ids as one array; what is missing is the end token once more, as OpenAI's and Hugging Face's tokenizers pad."""
    return np.array([row + [pad] * (length - len(row)) for row in rows], np.int64)


def inputs(checkpoint, pictures, templates, folder):
    """32 pictures (the demo's and their mirror images), 32 texts of 77 and of 9 real tokens, 4000 prompts, and torch's vectors."""
    import torch
    from PIL import Image
    from transformers import CLIPModel, CLIPTokenizer

    crops = []
    for path in sorted(pathlib.Path(pictures).glob("*.png"))[:16]:
        crop = np.asarray(Image.open(path).convert("RGB").resize((224, 224), Image.BICUBIC))
        crops += [crop, crop[:, ::-1]]
    crops = np.ascontiguousarray(np.stack(crops))
    random = np.random.default_rng(0)
    model = CLIPModel.from_pretrained(checkpoint).eval()
    end = model.config.text_config.eos_token_id
    start = model.config.text_config.bos_token_id
    text = lambda length: [start, *map(int, random.integers(300, 49000, length - 2)), end]
    rows = [text(LONG) for _ in range(TEXTS)] + [text(SHORT) for _ in range(TEXTS)]
    tokenizer = CLIPTokenizer.from_pretrained(checkpoint)
    prompts = [t.replace("{}", label.strip()) for label in LABELS for t in json.loads(pathlib.Path(templates).read_text())]
    rows += [list(ids) for ids in tokenizer(prompts)["input_ids"]]
    with torch.no_grad():
        image = model.visual_projection(model.vision_model(torch.from_numpy(pixels(crops))).pooler_output)
        texts = [model.text_projection(model.text_model(torch.tensor([ids])).pooler_output)[0] for ids in rows[: 2 * TEXTS]]
    crops.tofile(folder / "crops.bin")
    np.savez(folder / "reference.npz", image=image.numpy(), text=torch.stack(texts).numpy())
    # Last: it says that all is there.
    part = folder / "inputs.part"
    part.write_text(json.dumps({"crops": str(folder / "crops.bin"), "ids": rows, "pad": end}))
    part.rename(folder / "inputs.json")


def pixels(crops):
    """Crops as transformers' processor gives them: [n, 3, 224, 224]."""
    return np.ascontiguousarray(((crops.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2))


def opened(data, fast):
    """The bytes of a picture file as OpenAI's preprocessing gives them, by Pillow alone; decoded at a reduced size if that is at least twice the crop's."""
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    if fast:
        image.draft(None, (2 * SIZE, 2 * SIZE))
    width, height = image.size
    sides = (SIZE, int(SIZE * height / width)) if width <= height else (int(SIZE * width / height), SIZE)
    image = image.resize(sides, Image.Resampling.BICUBIC)
    left, top = (int(round((side - SIZE) / 2.0)) for side in sides)
    crop = image.crop((left, top, left + SIZE, top + SIZE)).convert("RGB")
    return pixels(np.asarray(crop)[None])


def export(checkpoint, folder):
    """Both encoders in ONNX, batch and (of texts) length free; eager attention."""
    import torch
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(checkpoint, attn_implementation="eager").eval().requires_grad_(False)

    class Image(torch.nn.Module):
        """Pixels to embeddings."""

        def __init__(self):
            super().__init__()
            self.model, self.projection = model.vision_model, model.visual_projection

        def forward(self, x):
            return self.projection(self.model(x).pooler_output)

    class Text(torch.nn.Module):
        """Ids to embeddings."""

        def __init__(self):
            super().__init__()
            self.model, self.projection = model.text_model, model.text_projection

        def forward(self, x):
            return self.projection(self.model(x).pooler_output)

    example = torch.randint(300, 49000, (2, 12))
    example[:, -1] = model.config.text_config.eos_token_id
    jobs = [("image", Image(), torch.zeros(2, 3, 224, 224), {0: "batch"}), ("text", Text(), example, {0: "batch", 1: "length"})]
    for name, module, x, axes in jobs:
        path, part = folder / f"{name}.onnx", folder / f"{name}.part.onnx"
        torch.onnx.export(module, (x,), str(part), input_names=["x"], output_names=["y"], dynamic_axes={"x": axes, "y": {0: "batch"}},
                          opset_version=17, dynamo=False)
        part.rename(path)


def quantize(folder):
    """ONNX Runtime: dynamic, int8 weights a channel. OpenVINO: static, by nncf, on 8 of the inputs."""
    import nncf
    import openvino
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for name in ("image", "text"):
        source = folder / f"{name}.onnx"
        part = folder / f"{name}.part.onnx"
        quantize_dynamic(str(source), str(part), op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8)
        part.rename(folder / f"{name}-int8.onnx")
        core = openvino.Core()
        model = core.read_model(str(source))
        save(model, folder, name)
        # Of the kind that is timed, and each of another length: it calibrates ranges for what it sees.
        data = json.loads((folder / "inputs.json").read_text())
        if name == "image":
            crops = np.fromfile(data["crops"], np.uint8).reshape(-1, 224, 224, 3)
            samples = [pixels(crops[i : i + 1]) for i in range(0, 32, 4)]
        else:
            samples = [np.array([data["ids"][i]], np.int64) for i in (0, 1, 2, 3, TEXTS, TEXTS + 1, TEXTS + 2, TEXTS + 3)]
        quantized = nncf.quantize(model, nncf.Dataset(samples), subset_size=8, model_type=nncf.ModelType.TRANSFORMER)
        save(quantized, folder, f"{name}-int8")


def save(model, folder, name):
    """OpenVINO's pair of files, the one that tells that they are there last."""
    import openvino

    openvino.save_model(model, str(folder / f"{name}.part.xml"), compress_to_fp16=False)
    for suffix in ("bin", "xml"):
        (folder / f"{name}.part.{suffix}").rename(folder / f"{name}.{suffix}")


class Onnx:
    """ONNX Runtime."""

    def __init__(self, folder, suffix, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = lambda name: onnxruntime.InferenceSession(str(folder / f"{name}{suffix}.onnx"), options, ["CPUExecutionProvider"])
        self.sessions = {name: session(name) for name in ("image", "text")}

    def image(self, x):
        return self.sessions["image"].run(None, {"x": x})[0]

    def text(self, x):
        return self.sessions["text"].run(None, {"x": x})[0]


class OpenVino:
    """OpenVINO."""

    def __init__(self, folder, suffix, threads):
        import openvino

        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        if not suffix:
            # It would take bf16 on its own.
            options["INFERENCE_PRECISION_HINT"] = "f32"
        core = openvino.Core()
        request = lambda name: core.compile_model(str(folder / f"{name}{suffix}.xml"), "CPU", options).create_infer_request()
        self.requests = {name: request(name) for name in ("image", "text")}

    def run(self, name, x):
        return next(iter(self.requests[name].infer({0: x}, share_inputs=True, share_outputs=True).values()))

    def image(self, x):
        return self.run("image", x)

    def text(self, x):
        return self.run("text", x)


class ClipCpp:
    """clip.cpp, one input after the other, as its interface has it: ctypes declarations of the wheel's libclip.so."""

    def __init__(self, model, _, threads):
        # Importing it changes the working directory for a moment; paths are absolute by now.
        from clip_cpp import clip as api

        self.api, self.threads, self.model = api, threads, model
        self.context = api.clip_model_load(str(model).encode(), 0)
        if not self.context:
            sys.exit(f"{model}: clip.cpp does not load it")
        self.width = api.clip_get_text_hparams(self.context).contents.projection_dim

    def image(self, x):
        out = np.zeros((len(x), self.width), np.float32)
        for pixels, row in zip(x, out):
            # Theirs is [height, width, 3].
            pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0), np.float32)
            image = self.api.ClipImageF32(pixels.shape[1], pixels.shape[0], self.pointer(pixels))
            if not self.api.clip_image_encode(self.context, self.threads, ctypes.byref(image), self.pointer(row), False):
                sys.exit(f"{self.model}: clip.cpp does not encode a picture")
        return out

    def text(self, x):
        out = np.zeros((len(x), self.width), np.float32)
        for ids, row in zip(x, out):
            tokens = self.api.ClipTokens((ctypes.c_int32 * len(ids))(*map(int, ids)), len(ids))
            if not self.api.clip_text_encode(self.context, self.threads, ctypes.byref(tokens), self.pointer(row), False):
                sys.exit(f"{self.model}: clip.cpp does not encode a text")
        return out

    @staticmethod
    def pointer(row):
        return row.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


PROGRAMS = {
    "onnxruntime": (Onnx, "onnxruntime"),
    "openvino": (OpenVino, "openvino"),
    "clip.cpp": (ClipCpp, "clip_cpp"),
}


def memory():
    """VmHWM in kB."""
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])


def serve(program, model, threads, folder):
    """Lines of JSON."""
    # What libraries print must not get between the answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    kind, module = PROGRAMS[program]
    __import__(module)
    data = json.loads((folder / "inputs.json").read_text())
    ids, pad = data["ids"], data["pad"]
    empty = memory()
    start = time.perf_counter_ns()
    where = pathlib.Path(model) if program == "clip.cpp" else folder
    peer = kind(where, "-int8" if model == "int8" else "", threads)
    load = time.perf_counter_ns() - start
    peer.image(np.zeros((1, 3, 224, 224), np.float32))
    peer.text(padded(ids[-1:], len(ids[-1]), pad))
    say = lambda answer: print(json.dumps(answer), file=out, flush=True)
    first = time.perf_counter_ns() - start
    say({"load_ns": load, "first_ns": first, "empty_kb": empty, "loaded_kb": memory()})
    x = pixels(np.fromfile(data["crops"], np.uint8).reshape(-1, 224, 224, 3))
    for line in sys.stdin:
        command = json.loads(line)
        match command["op"]:
            case "image":
                batch = np.ascontiguousarray(x[command["first"] : command["first"] + command["batch"]])
                say(times(command["repeat"], lambda: peer.image(batch)))
            case "file":
                file, fast = pathlib.Path(command["path"]).read_bytes(), command["decode"] == "fast"
                say(times(command["repeat"], lambda: peer.image(opened(file, fast))))
            case "text":
                rows = [ids[i] for i in command["rows"]]
                batch = padded(rows, command.get("length") or max(map(len, rows)), pad)
                say(times(command["repeat"], lambda: peer.text(batch)))
            case "embed":
                texts = [peer.text(padded([row], len(row), pad)).copy() for row in ids[: 2 * TEXTS]]
                images = [peer.image(x[i : i + 1]).copy() for i in range(len(x))]
                say({"image": np.concatenate(images).tolist(), "text": np.concatenate(texts).tolist()})
            case "memory":
                say({"hwm_kb": memory()})
            case "quit":
                break


def times(repeat, work):
    """Nanoseconds of each call."""
    taken = []
    for _ in range(repeat):
        start = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - start)
    return {"ns": taken}


def main():
    """Command line."""
    match sys.argv[1:]:
        case ["inputs", checkpoint, pictures, templates, folder]:
            inputs(checkpoint, pictures, templates, pathlib.Path(folder))
        case ["export", checkpoint, folder]:
            export(checkpoint, pathlib.Path(folder))
        case ["quantize", folder]:
            quantize(pathlib.Path(folder))
        case ["serve", program, model, threads, folder]:
            serve(program, model, int(threads), pathlib.Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
