# Loads caffemodels with OpenCV's own importer and runs them: wlq's Caffe output must satisfy it (Debian: python3-opencv).
import sys

import cv2
import numpy as np


def run(prototxt, model):
    net = cv2.dnn.readNetFromCaffe(prototxt, model)
    image = np.random.default_rng(1).random((1, 1, 384, 384), dtype=np.float32)
    net.setInput(image)
    outputs = [np.array(output) for output in net.forward(net.getUnconnectedOutLayersNames())]
    if not all(np.isfinite(output).all() for output in outputs):
        raise ValueError("the output is not finite")
    return outputs


def main(prototxt, *models):
    """The first model is the reference; of the others, prints how far their outputs are from its own."""
    failed = 0
    reference = None
    for model in models:
        try:
            outputs = run(prototxt, model)
            reference = reference or outputs
            far = max(
                float(np.abs(a - b).max()) if a.shape == b.shape else float("inf") for a, b in zip(outputs, reference)
            )
            print(f"OK {model} {far:.6g}")
        except (cv2.error, ValueError) as error:
            failed = 1
            print(f"FAILED {model}: {error}")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
