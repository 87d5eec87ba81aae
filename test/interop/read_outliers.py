# Puts a wlq container's outliers where they belong, with nothing but numpy: python3 read_outliers.py IN FILES < NAMES
import json, sys
import numpy as np

def places(raw, exact, count):  # raw: what stands behind the values
    blocks = -(-count // 262144)
    low = int(raw[0])
    table = raw[1 : 1 + 6 * blocks].reshape(blocks, 2, 3) @ np.array([1, 256, 65536])
    at, found = 1 + 6 * blocks, []
    for b, (number, size) in enumerate(table.tolist()):
        bits = np.unpackbits(raw[at : at + size], bitorder="little").tolist()
        at, i, place = at + size, 0, b * 262144 - 1
        for _ in range(number):
            end = bits.index(1, i)
            place += ((end - i) << low) + sum(bits[end + 1 + j] << j for j in range(low)) + 1
            i = end + 1 + low
            found.append(place)
    assert len(found) == exact
    return found

raw = np.fromfile(sys.argv[1], np.uint8)
start = 8 + int(raw[:8].view("<u8")[0])
header = json.loads(raw[8:start].tobytes())
coded = json.loads(header["__metadata__"]["wlq.tensors"])
for i, name in enumerate(json.loads(sys.stdin.read())):
    c = coded.get(name, {})
    if not c.get("exact"): continue
    n, part = c["exact"], raw[start:][slice(*header[c["outliers"]]["data_offsets"])]
    width = 4 if c["dtype"] in ("F64", "F32") else 2
    own = part[: n * width].copy()
    if c["dtype"] == "BF16": own = (own.view("<u2").astype(np.uint32) << 16).view("<f4")
    else: own = own.view("<f4" if width == 4 else "<f2").astype(np.float32)
    values = np.fromfile(f"{sys.argv[2]}/{i}.bin", "<f4")
    values[places(part[n * width :], n, len(values))] = own
    values.tofile(f"{sys.argv[2]}/{i}.bin")
