# Runs onnx.checker over model files: wlq's ONNX output must satisfy the reference implementation.
import sys

import onnx


def main(paths):
    failed = 0
    for path in paths:
        try:
            # By path: a model above 2 GiB or with external data is then checked in its folder.
            onnx.checker.check_model(path)
            print(f"OK {path}")
        except Exception as error:  # the checker and protobuf raise unrelated types
            failed = 1
            print(f"FAILED {path}: {error}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
