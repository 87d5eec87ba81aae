"""Trains for `npm run experiment:mnist` through the files of `wlq slq`: one JSON command a line in, one answer a line out.

    {"do": "new", "seed": 1, "out": MODEL, ...training}          a float network from a random start
    {"do": "train", "state": STATE, "out": TRAINED, ...training} goes on under the state's masks (a model has none)
    {"do": "losses", "state", "trained", "probe", "out", "images"}  the loss with each cluster of the probe quantized alone
    {"do": "measure", "model": MODEL, "part": "validation"}      loss, and error in percent; part may be "test"

training: epochs (may be a fraction), rate, decay, batches (the seed of their order); and, if given, images (the first so
many), shift (pixels that they are moved by at most), teacher (a MODEL whose answers are the targets), temperature, labels,
ahead (a PROBE: the layers that freeze next are trained as they will be, see Ahead), zeros (by layer, the share that is pruned
next: trained without it, see Ahead), settle (the layers that were trained ahead are saved as they were seen).
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
from networks import NETWORKS, logits, loss_and_error, new_tensors, softmax  # noqa: E402

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
        self.shifted, self.taught = {}, {}

    def read(self, part):
        def idx(name, header):
            with open(os.path.join(self.folder, name), "rb") as file:
                return np.frombuffer(file.read()[header:], np.uint8)

        images = idx(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784)
        return images, idx(f"{part}-labels-idx1-ubyte", 8).astype(np.int64)

    def images(self, shift):
        if shift not in self.shifted:
            self.shifted = {shift: Images(self.train[0], shift)}
        return self.shifted[shift]

    def answers(self, network, teacher, images, count):
        """A teacher's, kept: all methods of a seed have the same one."""
        key = teacher, images.ways, count
        if key not in self.taught:
            self.taught = {key: images.answers(network, load(network, teacher)[0], count)}
        return self.taught[key]

    def of(self, part, images=None):
        pixels, labels = self.validation if part == "validation" else self.read("t10k")
        return scaled(pixels[:images]), labels[:images]


def scaled(pixels):
    return pixels.astype(np.float32) * np.float32(1 / 255)


class Images:
    """The training images, moved by up to `shift` pixels in both directions, with zeros moved in."""

    def __init__(self, pixels, shift):
        padded = np.pad(pixels.reshape(-1, 28, 28), ((0, 0), (shift, shift), (shift, shift)))
        self.moved = np.lib.stride_tricks.sliding_window_view(padded, (28, 28), (1, 2))
        self.ways = 2 * shift + 1

    def batch(self, chosen, way):
        """Those chosen, each moved its own way."""
        return scaled(self.moved[chosen, way // self.ways, way % self.ways].reshape(-1, 784))

    def answers(self, network, tensors, count):
        """What a network says of the first images, moved each way."""
        result = np.empty((count, self.ways**2, network.shapes[-1][0]), np.float32)
        for way in range(self.ways**2):
            for at in range(0, count, 500):
                part = np.arange(at, min(at + 500, count))
                result[part, way] = logits(network, tensors, self.batch(part, way))
        return result


def train(network, tensors, masks, data, command):
    """SGD with momentum, weight decay and a rate that falls to zero along a cosine. The mask multiplies the whole
    update, so that nothing moves a frozen weight. With a teacher the targets are its answers at a temperature, and
    `labels` is the weight of the true ones. `ahead`: gradients are those at the rounded weights."""
    images, truth = data.images(command.get("shift", 0)), data.train[1]
    count = command.get("images", len(truth))
    taught = data.answers(network, command["teacher"], images, count) if "teacher" in command else None
    rng = np.random.default_rng(command["batches"])
    velocity = {name: np.zeros_like(values) for name, values in tensors.items()}
    each = count // BATCH
    steps = round(command["epochs"] * each)
    decay = np.float32(command["decay"])
    probe = safetensors.load(command["ahead"])[0] if "ahead" in command else {}
    ahead = Ahead(tensors, masks, probe, command.get("zeros", {}))
    for step in range(steps):
        at = step % each
        if at == 0:
            order = rng.permutation(count)
            ways = rng.integers(0, images.ways**2, count) if images.ways > 1 else np.zeros(count, int)
        batch = order[at * BATCH : (at + 1) * BATCH]
        way = ways[batch]
        slope = Slope(truth[batch], None if taught is None else taught[batch, way], command)
        now = np.float32(command["rate"] * 0.5 * (1 + np.cos(np.pi * step / steps)))
        for name, gradient in network.gradients(ahead.seen(step, steps), images.batch(batch, way), slope).items():
            weights, v = tensors[name], velocity[name]
            v *= MOMENTUM
            v += gradient
            if name.endswith(".weight"):
                v += decay * weights
            update = v * now
            if name in masks:
                update *= masks[name]
            weights -= update
    if command.get("settle"):
        tensors.update({name: ahead.rounded(name) for name in ahead.codebooks})


class Ahead:
    """Straight-through rounding of the layers that freeze next: the loss sees their weights as the nearest value of the
    coming codebook, and its gradient moves the weights behind. Free values follow the mean of their weights; frozen
    ones stay. Where pruning is next, the loss sees the smallest weights as zero, and any of them may grow again; their
    share grows to the coming one, fast and then slowly (Zhu and Gupta, 2017), in the first half of the steps."""

    EVERY = 50  # steps between two looks at the means, and at which weights are the smallest

    def __init__(self, tensors, masks, probe, zeros):
        self.tensors = tensors
        self.codebooks = {name[: -len(".codebook")]: v for name, v in probe.items() if name.endswith(".codebook")}
        # zero is there because it is to stay
        self.fixed = {
            name: np.isin(values, tensors[name][masks[name] == 0]) | (values == 0)
            for name, values in self.codebooks.items()
        }
        self.free = {name: masks[name] != 0 for name in self.codebooks}
        self.zeros = zeros
        self.limits = {}

    def seen(self, step, steps):
        """All tensors, those layers rounded or pruned."""
        if step % self.EVERY == 0:
            for name in self.codebooks:
                self.centre(name)
            part = 1 - max(0, 1 - 2 * step / steps) ** 3
            for name, share in self.zeros.items():
                magnitudes = np.abs(self.tensors[name]).ravel()
                last = max(0, int(np.ceil(part * share * len(magnitudes))) - 1)
                self.limits[name] = np.partition(magnitudes, last)[last]
        return {
            **self.tensors,
            **{name: self.rounded(name) for name in self.codebooks},
            **{name: self.pruned(name) for name in self.zeros},
        }

    def rounded(self, name):
        """Frozen weights are what they will be."""
        weights, values, free = self.tensors[name], self.codebooks[name], self.free[name]
        moving = weights[free]
        nearest = np.full_like(moving, values[0])
        for low, high in zip(values, values[1:]):
            np.copyto(nearest, high, where=moving > (low + high) / 2)
        result = weights.copy()
        result[free] = nearest
        return result

    def pruned(self, name):
        weights = self.tensors[name]
        return np.where(np.abs(weights) > self.limits[name], weights, np.float32(0))

    def centre(self, name):
        weights, values = self.tensors[name].ravel(), self.codebooks[name]
        codes = np.searchsorted((values[1:] + values[:-1]) / 2, weights)
        counts = np.bincount(codes, minlength=len(values))
        sums = np.bincount(codes, weights, len(values))
        free = ~self.fixed[name] & (counts > 0)
        values[free] = sums[free] / counts[free]


class Slope:
    """Of the loss by the logits: cross-entropy to the labels, and to a teacher's answers at a temperature T, which is
    T^2 times as large, as is usual."""

    def __init__(self, labels, taught, command):
        self.labels, self.taught = labels, taught
        self.temperature = np.float32(command.get("temperature", 1))
        self.share = np.float32(1 if taught is None else command["labels"])

    def __call__(self, values):
        delta = softmax(values)
        delta[np.arange(len(delta)), self.labels] -= 1
        delta *= self.share
        if self.taught is not None:
            t = self.temperature
            delta += (1 - self.share) * t * (softmax(values / t) - softmax(self.taught / t))
        delta /= np.float32(len(delta))
        return delta


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


def run(command, network, data):
    what = command["do"]
    if what == "new":
        tensors = new_tensors(network, command["seed"])
        train(network, tensors, {}, data, command)
        save(command["out"], tensors)
    elif what == "train":
        tensors, masks = load(network, command["state"])
        train(network, tensors, masks, data, command)
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
