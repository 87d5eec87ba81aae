# Loads caffemodels with OpenCV's own importer and runs them: wlq's Caffe output must satisfy it (Debian: python3-opencv).
import sys

import cv2
import numpy as np


def run(prototxt, model):
    """The outputs of all convolutions: those of the whole net are empty where nothing is detected."""
    net = cv2.dnn.readNetFromCaffe(prototxt, model)
    net.enableFusion(False)
    net.setInput(np.random.default_rng(1).random((1, 1, 384, 384), dtype=np.float32))
    names = [name for name in net.getLayerNames() if net.getLayer(net.getLayerId(name)).type == "Convolution"]
    return [np.array(output) for output in net.forward(names)]


def main(prototxt, *models):
    """The first model is the reference; prints how far each is from it, as a share of the reference's size."""
    failed = 0
    reference = None
    for model in models:
        try:
            outputs = run(prototxt, model)
        except cv2.error as error:
            failed = 1
            print(f"FAILED {model}: {error}")
            continue
        reference = reference or outputs
        far = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(outputs, reference, strict=True)]
        print(f"OK {model} {max(far):.6f}")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
