"""LeNet-300-100 in plain numpy, LeNet-5 (Caffe's) in PyTorch: parameters are numpy arrays by name in both.

A network is a row of stages, one a layer, so that a loss with one layer changed need not run the layers before it.
`gradients` takes the loss as its slope: from the logits of a batch to the derivative by each of them.
"""
import numpy as np


class Lenet300:
    layers = ["fc1", "fc2", "fc3"]
    shapes = [(300, 784), (100, 300), (10, 100)]
    rectified = ["fc1", "fc2"]

    def stage(self, i, tensors, x):
        layer = self.layers[i]
        x = x @ tensors[f"{layer}.weight"].T
        x += tensors[f"{layer}.bias"]
        return x if layer not in self.rectified else np.maximum(x, 0, out=x)

    def gradients(self, tensors, x, slope):
        values = [x]
        for i in range(3):
            values.append(self.stage(i, tensors, values[-1]))
        delta = slope(values[-1])
        result = {}
        for i in reversed(range(3)):
            layer = self.layers[i]
            result[f"{layer}.weight"] = delta.T @ values[i]
            result[f"{layer}.bias"] = delta.sum(0)
            if i > 0:
                delta = delta @ tensors[f"{layer}.weight"]
                delta *= values[i] > 0
        return result


class Lenet5:
    """conv 20 5x5, pool, conv 50 5x5, pool, fc 500, fc 10; a rectifier after the first fc alone, as in Caffe."""

    layers = ["conv1", "conv2", "fc1", "fc2"]
    shapes = [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]
    rectified = ["fc1"]

    def __init__(self):
        try:
            import torch
        except ImportError:
            raise SystemExit("LeNet-5 is trained with PyTorch: apt-get install python3-torch") from None
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.torch = torch

    def stage(self, i, tensors, x):
        with self.torch.no_grad():
            return self._stage(i, {name: self.torch.from_numpy(t) for name, t in tensors.items()}, self._in(x)).numpy()

    def _in(self, x):
        x = self.torch.from_numpy(x)
        if x.ndim == 2 and x.shape[1] == 784:
            return x.view(-1, 1, 28, 28).to(memory_format=self.torch.channels_last)
        return x

    def _stage(self, i, tensors, x):
        f = self.torch.nn.functional
        weight, bias = tensors[f"{self.layers[i]}.weight"], tensors[f"{self.layers[i]}.bias"]
        if i < 2:
            return f.max_pool2d(f.conv2d(x, weight.to(memory_format=self.torch.channels_last), bias), 2)
        x = f.linear(x.flatten(1), weight, bias)
        return f.relu(x) if self.layers[i] in self.rectified else x

    def gradients(self, tensors, x, slope):
        parameters = {name: self.torch.from_numpy(t).requires_grad_() for name, t in tensors.items()}
        x = self._in(x)
        for i in range(4):
            x = self._stage(i, parameters, x)
        x.backward(self.torch.from_numpy(slope(x.detach().numpy())))
        return {name: p.grad.contiguous().numpy() for name, p in parameters.items()}


NETWORKS = {"lenet-300-100": Lenet300, "lenet-5": Lenet5}


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def new_tensors(network, seed):
    """He's start where a rectifier follows, LeCun's where none does."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer, shape in zip(network.layers, network.shapes):
        gain = 2 if layer in network.rectified else 1
        tensors[f"{layer}.weight"] = rng.normal(0, np.sqrt(gain / np.prod(shape[1:])), shape).astype(np.float32)
        tensors[f"{layer}.bias"] = np.zeros(shape[0], np.float32)
    return tensors


def logits(network, tensors, x, start=0):
    """Of all images, 500 at a time; `start`: the stage whose input x is."""
    parts = []
    for at in range(0, len(x), 500):
        part = x[at : at + 500]
        for i in range(start, len(network.layers)):
            part = network.stage(i, tensors, part)
        parts.append(part)
    return np.concatenate(parts)


def loss_and_error(values, y):
    """Mean cross-entropy, and the share of wrong answers in percent."""
    values = values - values.max(1, keepdims=True)
    loss = np.log(np.exp(values).sum(1)) - values[np.arange(len(y)), y]
    return float(loss.mean(dtype=np.float64)), float(100 * (values.argmax(1) != y).mean())
