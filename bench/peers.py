# scikit-learn's KMeans on one column, or on each of some rows with weights, timed: reads float32, prints JSON with
# milliseconds and mean (weighted) squared error per job. Jobs: FILE:LEVELS:COUNT or FILE:LEVELS:COUNT:ROWS:WEIGHTS.
import json
import sys
import time

import numpy as np
from sklearn.cluster import KMeans

jobs = []
for spec in sys.argv[1:]:
    path, levels, count, *more = spec.split(":")
    x = np.fromfile(path, dtype=np.float32)[: int(count)]
    rows, weights = (int(more[0]), np.fromfile(more[1], dtype=np.float32)) if more else (1, None)
    x = x.reshape(rows, -1, 1)
    error = 0.0
    start = time.perf_counter()
    for r in range(rows):
        w = None if weights is None else weights.reshape(rows, -1)[r]
        error += KMeans(n_clusters=int(levels), n_init=1, random_state=0).fit(x[r], sample_weight=w).inertia_
    seconds = time.perf_counter() - start
    jobs.append({"levels": int(levels), "count": x.size, "ms": seconds * 1e3, "mse": error / x.size})
print(json.dumps(jobs))
