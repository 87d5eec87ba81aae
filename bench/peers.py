# scikit-learn's KMeans on one column, timed: reads float32, prints JSON with seconds and MSE per job.
import json
import sys
import time

import numpy as np
from sklearn.cluster import KMeans

jobs = []
for spec in sys.argv[1:]:
    path, levels, count = spec.rsplit(":", 2)
    x = np.fromfile(path, dtype=np.float32)[: int(count)].reshape(-1, 1)
    start = time.perf_counter()
    model = KMeans(n_clusters=int(levels), n_init=1, random_state=0).fit(x)
    seconds = time.perf_counter() - start
    jobs.append({"levels": int(levels), "count": len(x), "ms": seconds * 1e3, "mse": model.inertia_ / len(x)})
print(json.dumps(jobs))
