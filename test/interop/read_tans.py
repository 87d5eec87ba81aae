# Entropy-coded codes of a wlq container to packed ones, with nothing but numpy: python3 read_tans.py IN OUT
import json, sys
import numpy as np

def decode(raw, levels, join, count):
    take = iter(raw.tolist()).__next__
    shares = [b if b < 128 else b + (take() - 1) * 128 for b in (take() for _ in range(levels**join))]
    sizes = [take() + take() * 256 + take() * 65536 for _ in range(-(-count // 262144))]
    symbol = np.empty(8192, int)  # of every state
    symbol[np.arange(8192) * 5123 % 8192] = np.repeat(np.arange(len(shares)), shares)
    rank = np.empty(8192, int)  # among its symbol's states
    rank[np.argsort(symbol, kind="stable")] = np.concatenate([np.arange(n) for n in shares])
    start = np.array(shares)[symbol] + rank
    bits = 13 - np.floor(np.log2(start)).astype(int)
    least, symbol, bits = ((start << bits) - 8192).tolist(), symbol.tolist(), bits.tolist()
    found, at = [], len(raw) - sum(sizes)
    for size in sizes:
        block, at = raw[at : at + size], at + size
        place, state = int(block[:4].view("<u4")[0]), block[4:12].view("<u2").tolist()
        data = block.tobytes()
        for i in range(-(-min(count - len(found), 262144) // join)):
            s = state[i % 4]
            found += [symbol[s] // levels**j % levels for j in range(join)]
            stream = int.from_bytes(data[place >> 3 : (place >> 3) + 4], "little") >> (place & 7)
            state[i % 4] = least[s] + (stream & ((1 << bits[s]) - 1))
            place += bits[s]
        del found[count:]
    return np.array(found, np.uint8)

raw = np.fromfile(sys.argv[1], np.uint8)
start = 8 + int(raw[:8].view("<u8")[0])
header = json.loads(raw[8:start].tobytes())
meta = header.pop("__metadata__")
coded = json.loads(meta["wlq.tensors"])
parts = {name: raw[start:][slice(*t["data_offsets"])] for name, t in header.items()}
for c in coded.values():
    if c["coding"] == "tans":
        codes = decode(parts[c["codes"]], c["levels"], c["join"], int(np.prod(c["shape"])))
        parts[c["codes"]] = np.packbits(codes[:, None] >> np.arange(c["bits"]) & 1, bitorder="little")
        c["coding"] = "packed"
end = 0
for name, part in parts.items():
    header[name] = {**header[name], "shape": header[name]["shape"], "data_offsets": [end, end + len(part)]}
    end += len(part)
text = json.dumps({"__metadata__": {**meta, "wlq.tensors": json.dumps(coded)}, **header}).encode()
with open(sys.argv[2], "wb") as out:
    out.write(len(text).to_bytes(8, "little") + text + b"".join(p.tobytes() for p in parts.values()))
