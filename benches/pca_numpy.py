"""The same T2 and SPE of one part as `pca_50x8` in scan.rs, with numpy.

Needs numpy:  python3 -m venv target/numpy && target/numpy/bin/pip install numpy
Run:          target/numpy/bin/python benches/pca_numpy.py

One part at a time, as a controller sees them: most of the time is the calls, not the sums.
"""

import timeit

import numpy as np

P, K = 50, 8
i = np.arange(P)
V = np.array([np.sqrt(2 / P) * np.cos(np.pi * (i + 0.5) * (a + 1) / P) for a in range(K)])
L = 8.0 - 0.5 * np.arange(K)
mean, scale = np.full(P, 500.0), np.full(P, 2.0)
x = 500.0 + i % 7 - 3.0


def score():
    z = (x - mean) / scale
    t = V @ z
    r = z - V.T @ t
    return float(np.sum(t * t / L)), float(r @ r)


runs = 20_000
best = min(timeit.repeat(score, number=runs, repeat=7)) / runs
print(f"numpy {np.__version__}: {best * 1e6:.2f} us per part, T2 {score()[0]:.3f}, SPE {score()[1]:.3f}")
