"""Random forest of 200 trees of depth 8 over 50 features: one row at a time in scikit-learn and
onnxruntime; T2 and SPE of a PCA of 50 variables and 8 components in numpy. Writes the trees, rows and
answers for the Rust side; prints times as JSON.

Usage: forest.py FOLDER   (needs numpy, scikit-learn, skl2onnx, onnxruntime)
"""

import json
import os

# One thread for each side.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
import sys
import time

import numpy as np
import onnxruntime as ort
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

folder = sys.argv[1]
rng = np.random.default_rng(1)
n, p = 6000, 50
x = rng.normal(size=(n, p)).astype(np.float32)
y = (x[:, 0] * x[:, 1] + x[:, 2] - 0.5 * x[:, 3] + rng.normal(size=n) > 0).astype(int)
model = RandomForestClassifier(200, max_depth=8, random_state=1, n_jobs=2).fit(x, y)
model.n_jobs = 1
rows = x[:512]


def each(call, count):
    """Median over rows [us], the call from Python included."""
    times = []
    for i in range(count):
        row = rows[i % len(rows)][None, :]
        begin = time.perf_counter_ns()
        call(row)
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times)) / 1e3


options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
onnx = to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString()
session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
run = lambda row: session.run(None, {name: row})
each(run, 2000)
onnxruntime_us = each(run, 20000)
scikit_us = each(model.predict_proba, 300)

# What the kernel itself takes, without the call from Python, by onnxruntime's own profile.
options.enable_profiling = True
options.profile_file_prefix = os.path.join(folder, "profile")
profiled = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
for i in range(5000):
    profiled.run(None, {name: rows[i % len(rows)][None, :]})
events = json.load(open(profiled.end_profiling()))
kernel = [e["dur"] for e in events if "TreeEnsemble" in e["name"] and "kernel_time" in e["name"]]

trees = []
for tree in model.estimators_:
    t = tree.tree_
    share = t.value[:, 0, 1] / t.value[:, 0, :].sum(axis=1)
    trees.append(
        {
            "left": t.children_left.tolist(),
            "right": t.children_right.tolist(),
            "column": np.maximum(t.feature, 0).tolist(),
            "threshold": t.threshold.tolist(),
            "share": share.tolist(),
        }
    )
# T2 and SPE of one part at a time, as a controller sees them, and of 10,000 in one call.
P, K = 50, 8
i = np.arange(P)
V = np.array([np.sqrt(2 / P) * np.cos(np.pi * (i + 0.5) * (a + 1) / P) for a in range(K)])
L = 8.0 - 0.5 * np.arange(K)
mean, scale = np.full(P, 500.0), np.full(P, 2.0)
part = 500.0 + i % 7 - 3.0


def pca(part):
    z = (part - mean) / scale
    t = V @ z
    r = z - V.T @ t
    return float(np.sum(t * t / L)), float(r @ r)


def pca_many(parts):
    z = (parts - mean) / scale
    t = z @ V.T
    r = z - t @ V
    return np.sum(t * t / L, axis=1), np.sum(r * r, axis=1)


def median(call, argument, count):
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        call(argument)
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times)) / 1e3


median(pca, part, 2000)
numpy_us = median(pca, part, 20000)
many = np.tile(part, (10000, 1))
numpy_many_us = median(pca_many, many, 50) / len(many)
numpy_t2, numpy_spe = pca(part)

answers = session.run(None, {name: rows})[1][:, 1]
with open(os.path.join(folder, "forest.json"), "w") as out:
    json.dump({"trees": trees, "rows": rows.tolist(), "answers": answers.tolist()}, out)
print(
    json.dumps(
        {
            "onnxruntime_us": onnxruntime_us,
            "onnxruntime_kernel_us": float(np.median(kernel)) if kernel else None,
            "scikit_us": scikit_us,
            "numpy_us": numpy_us,
            "numpy_many_us": numpy_many_us,
            "numpy_t2": numpy_t2,
            "numpy_spe": numpy_spe,
        }
    )
)
