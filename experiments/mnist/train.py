"""Trains for `npm run experiment:mnist` through the files of `wlq slq`: one JSON command a line in, one answer a line out.

    {"do": "new", "seed": 1, "out": MODEL, ...training}          a float network from a random start
    {"do": "train", "state": STATE, "out": TRAINED, ...training} goes on under the state's masks (a model has none)
    {"do": "losses", "state", "trained", "probe", "out", "images"}  the loss with each cluster of the probe quantized alone
    {"do": "measure", "model": MODEL, "part": "validation"}      loss, and error in percent; part may be "test"

training: epochs (may be a fraction), rate, decay, batches (the seed of their order), images.
Arguments: the network, and the folder of the IDX files. The last 5 000 training images are for validation only.
"""
import json
import os
import sys

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import numpy as np  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/mnist-numpy"))
import safetensors  # noqa: E402  the reader in plain numpy, not the package
from networks import NETWORKS, logits, loss_and_error, new_tensors  # noqa: E402

VALIDATION = 5000
BATCH = 100
MOMENTUM = np.float32(0.9)


class Data:
    """Images as bytes (a batch is scaled when it is taken) and labels; the test set is opened when it is asked for."""

    def __init__(self, folder):
        self.folder = folder
        images, labels = self.read("train")
        self.train = images[:-VALIDATION], labels[:-VALIDATION]
        self.validation = images[-VALIDATION:], labels[-VALIDATION:]

    def read(self, part):
        def idx(name, header):
            with open(os.path.join(self.folder, name), "rb") as file:
                return np.frombuffer(file.read()[header:], np.uint8)

        images = idx(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784)
        return images, idx(f"{part}-labels-idx1-ubyte", 8).astype(np.int64)

    def of(self, part, images=None):
        pixels, labels = self.validation if part == "validation" else self.read("t10k")
        return scaled(pixels[:images]), labels[:images]


def scaled(pixels):
    return pixels.astype(np.float32) * np.float32(1 / 255)


def train(network, tensors, masks, data, epochs, rate, decay, batches, images=None):
    """SGD with momentum, weight decay and a rate that falls to zero along a cosine. The mask multiplies the whole
    update, so that nothing moves a frozen weight."""
    pixels, labels = (part[:images] for part in data.train)
    rng = np.random.default_rng(batches)
    velocity = {name: np.zeros_like(values) for name, values in tensors.items()}
    each = len(pixels) // BATCH
    steps = round(epochs * each)
    decay = np.float32(decay)
    for step in range(steps):
        at = step % each
        if at == 0:
            order = rng.permutation(len(pixels))
        batch = order[at * BATCH : (at + 1) * BATCH]
        now = np.float32(rate * 0.5 * (1 + np.cos(np.pi * step / steps)))
        for name, gradient in network.gradients(tensors, scaled(pixels[batch]), labels[batch]).items():
            weights, v = tensors[name], velocity[name]
            v *= MOMENTUM
            v += gradient
            if name.endswith(".weight"):
                v += decay * weights
            update = v * now
            if name in masks:
                update *= masks[name]
            weights -= update


def masks_of(state, metadata):
    """The state's metadata says which tensor is whose mask; a model has none."""
    if "wlq.slq" not in metadata:
        return {}
    layers = json.loads(metadata["wlq.slq"])["layers"]
    return {name: state[entry["mask"]].astype(np.float32) for name, entry in layers.items()}


def parameters(network, tensors):
    return {name: tensors[name] for layer in network.layers for name in (f"{layer}.weight", f"{layer}.bias")}


def load(network, path):
    tensors, metadata = safetensors.load(path)
    return parameters(network, tensors), masks_of(tensors, metadata)


def save(path, tensors):
    """Whole or not at all."""
    safetensors.save(f"{path}.part", tensors)
    os.replace(f"{path}.part", path)


def losses(network, tensors, masks, probe, x, y):
    result = {}
    for i, layer in enumerate(network.layers):
        name = f"{layer}.weight"
        if f"{name}.codes" in probe:
            codes, codebook, weights = probe[f"{name}.codes"], probe[f"{name}.codebook"], tensors[name]
            free = masks[name] == 1
            result[name] = []
            for code, value in enumerate(codebook):
                chosen = (codes == code) & free
                if not chosen.any():
                    result[name].append(None)
                    continue
                tensors[name] = np.where(chosen, value, weights)
                result[name].append(loss_and_error(logits(network, tensors, x, i), y)[0])
            tensors[name] = weights
        # what the later layers see
        x = np.concatenate([network.stage(i, tensors, x[at : at + 500]) for at in range(0, len(x), 500)])
    return result


def training(command):
    return {key: command[key] for key in ("epochs", "rate", "decay", "batches", "images") if key in command}


def run(command, network, data):
    what = command["do"]
    if what == "new":
        tensors = new_tensors(network, command["seed"])
        train(network, tensors, {}, data, **training(command))
        save(command["out"], tensors)
    elif what == "train":
        tensors, masks = load(network, command["state"])
        train(network, tensors, masks, data, **training(command))
        save(command["out"], tensors)
    elif what == "losses":
        _, masks = load(network, command["state"])
        tensors, _ = load(network, command["trained"])
        probe, _ = safetensors.load(command["probe"])
        x, y = data.of("validation", command.get("images"))
        found = losses(network, tensors, masks, probe, x, y)
        with open(command["out"], "w") as file:
            json.dump(found, file)
    elif what == "measure":
        tensors, _ = load(network, command["model"])
        x, y = data.of(command["part"])
        loss, error = loss_and_error(logits(network, tensors, x), y)
        return {"loss": loss, "error": error}
    else:
        raise ValueError(f"no command {what}")
    return {}


def main():
    network, data = NETWORKS[sys.argv[1]](), Data(sys.argv[2])
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), network, data)), flush=True)


main()
