# Reads a wlq container with nothing but numpy: python3 read_container.py IN OUT_FOLDER
import json, sys
import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}

def round_to(values, dtype):  # float32 to the nearest value of the dtype, ties to even
    if dtype == "BF16":
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)
    return values.astype(np.float16).astype(np.float32) if dtype == "F16" else values

def read(path):
    raw = np.fromfile(path, np.uint8)
    start = 8 + int(raw[:8].view("<u8")[0])
    header = json.loads(raw[8:start].tobytes())
    coded = json.loads(header.pop("__metadata__")["wlq.tensors"])
    parts = {name: raw[start:][slice(*t["data_offsets"])] for name, t in header.items()}
    for name, c in coded.items():
        shape, bits = c["shape"], c["bits"]
        n = int(np.prod(shape, dtype=np.int64))
        stream = np.unpackbits(parts.pop(c["codes"]), bitorder="little")[: n * bits].reshape(n, bits)
        codes = stream @ (1 << np.arange(bits))
        by = c["scale"] if "scales" in c else c["granularity"]
        groups, inner = 1, max(n, 1)
        if by == "channel" and shape:
            groups, inner = shape[c["axis"]], int(np.prod(shape[c["axis"] + 1 :], dtype=np.int64))
        if by == "group":
            groups, inner = -(-n // c["groupSize"]), c["groupSize"]
        parts.pop(c.get("outliers"), None)  # read_outliers.py puts them in
        values = parts.pop(c["codebook"]).view("<f4").reshape(-1, c["levels"])
        if "scales" in c:
            scales = parts.pop(c["scales"]).view("<f2").astype(np.float32)
            values = round_to(scales[:, None] * values + np.float32(0), c["dtype"])  # + 0: no negative zero
        yield name, values[np.arange(n) // inner % groups, codes] if n else values[:0, 0]
    yield from ((n, p.view(DTYPES.get(header[n]["dtype"], "u1"))) for n, p in parts.items() if n[:8] != "__wlq__.")

for i, (name, values) in enumerate(read(sys.argv[1])):
    values.tofile(f"{sys.argv[2]}/{i}.bin")
    print(json.dumps({"name": name, "dtype": str(values.dtype)}))
