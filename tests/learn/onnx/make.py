"""Makes the ONNX files beside it with real exporters, and what onnxruntime scores with them.

Run in a venv with scikit-learn 1.9.1, skl2onnx 1.20.0, lightgbm 4.7.0, xgboost 3.2.0,
onnxmltools 1.16.0, onnxruntime 1.32.0 and numpy 2.4.6:

    python make.py                  # rewrites *.onnx and *.csv here
    python make.py --wide DIR 200   # that many random models with their rows in DIR

Each NAME.csv has a row per sample: the inputs x0, x1, ... as float32 in full, then what onnxruntime
says: `prediction`, or `p_<class>` for each class.
"""

import sys
import warnings
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import onnxmltools
import onnxruntime
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as ToolsFloat
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn import ensemble, linear_model, neural_network, pipeline, preprocessing, tree

warnings.filterwarnings("ignore")

# skl2onnx 1.20 hands onnx lists of booleans for histogram boosting, which onnx 1.23 refuses.
plain_attribute = onnx.helper.make_attribute


def make_attribute(key, value, *rest, **more):
    if isinstance(value, list):
        value = [int(x) if isinstance(x, (bool, np.bool_)) else x for x in value]
    return plain_attribute(key, value, *rest, **more)


onnx.helper.make_attribute = make_attribute


def samples(rng, n, p, classes):
    """Rows with scales apart, and a target that needs both splits and slopes."""
    scale = 10.0 ** rng.integers(-2, 4, p)
    x = ((rng.normal(size=(n, p)) + 3.0 * rng.normal(size=p)) * scale).astype(np.float32)
    z = (x - x.mean(0)) / x.std(0)
    y = z[:, 0] - 0.7 * z[:, 1 % p] * z[:, 2 % p] + np.sin(2.0 * z[:, -1])
    y = y + 0.2 * rng.normal(size=n)
    if not classes:
        return x, (100.0 + 25.0 * y).astype(np.float32)
    ends = np.quantile(y, np.arange(1, classes) / classes)
    return x, np.searchsorted(ends, y)


def probes(rng, x, thresholds, n):
    """Rows inside and outside of training, some with values right at thresholds and beside them."""
    low, high = x.min(0), x.max(0)
    rows = (low + (high - low) * rng.uniform(-0.2, 1.2, size=(n, x.shape[1]))).astype(np.float32)
    for row in rows[: n // 2]:
        for column, values in thresholds.items():
            if len(values) and column < len(row) and rng.random() < 0.5:
                t = np.float32(rng.choice(values))
                beside = [t, np.nextafter(t, np.float32(np.inf)), np.nextafter(t, np.float32(-np.inf))]
                row[column] = beside[rng.integers(3)]
    return rows


def thresholds_of(model):
    found = {}
    for node in model.graph.node:
        a = {x.name: x for x in node.attribute}
        if "nodes_values" in a:
            for column, value in zip(a["nodes_featureids"].ints, a["nodes_values"].floats):
                found.setdefault(column, []).append(value)
    return found


def scores(model, rows):
    """`{column: values}` of onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    run = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    inputs = run.get_inputs()
    if len(inputs) == 1:
        feed = {inputs[0].name: rows}
    else:
        feed = {port.name: rows[:, [i]] for i, port in enumerate(inputs)}
    out = run.run(None, feed)
    if len(out) == 1 and model.producer_name == "make.py gemm":
        p = out[0] if out[0].shape[1] > 1 else np.hstack([1 - out[0], out[0]])
        return {f"p_{c}": p[:, c] for c in range(p.shape[1])}
    if len(out) == 1:
        return {"prediction": np.asarray(out[0]).reshape(-1)}
    p = out[1]
    if isinstance(p, list):
        return {f"p_{c}": np.array([row[c] for row in p], np.float32) for c in p[0]}
    labels = label_names(model)
    return {f"p_{c}": p[:, i] for i, c in enumerate(labels)}


def label_names(model):
    for node in model.graph.node:
        for a in node.attribute:
            if a.name.startswith("classlabels_"):
                return [x.decode() for x in a.strings] or list(a.ints)
    for constant in model.graph.initializer:
        if constant.name == "classes":
            values = onnx.numpy_helper.to_array(constant)
            return [x.decode() if isinstance(x, bytes) else x for x in values.tolist()]
    raise ValueError("no classes")


def write(folder, name, model, rows):
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    found = scores(model, rows)
    head = [f"x{i}" for i in range(rows.shape[1])] + list(found)
    lines = [",".join(head)]
    for i, row in enumerate(rows):
        cells = [repr(float(v)) for v in row] + [repr(float(v[i])) for v in found.values()]
        lines.append(",".join(cells))
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


def skl(model, x, zipmap=False, **more):
    options = {}
    last = model[-1] if isinstance(model, pipeline.Pipeline) else model
    if hasattr(last, "classes_"):
        options = {id(last): {"zipmap": zipmap}}
    if "initial_types" not in more:
        more["initial_types"] = [("x", FloatTensorType([None, x.shape[1]]))]
    return to_onnx(model, options=options, target_opset={"": 18, "ai.onnx.ml": 3}, **more)


def tools(convert, model, p):
    return convert(model, initial_types=[("x", ToolsFloat([None, p]))], zipmap=False) \
        if hasattr(model, "classes_") and convert is onnxmltools.convert_lightgbm \
        else convert(model, initial_types=[("x", ToolsFloat([None, p]))])


def lgb(kind, **more):
    return kind(verbose=-1, deterministic=True, n_jobs=1, **more)


def make(rng, what, small, seed):
    """One model with its probes."""
    p = 4 if small else int(rng.integers(1, 12))
    trees = 6 if small else int(rng.integers(1, 120))
    depth = 3 if small else int(rng.integers(1, 9))
    n = 300 if small else int(rng.integers(60, 1500))
    classes = 0 if what.endswith("-reg") else (3 if "multi" in what else 2)
    if "multi" in what and not small:
        classes = int(rng.integers(3, 7))
    x, y = samples(rng, n, p, classes)
    forest = dict(n_estimators=trees, max_depth=depth, random_state=seed)
    boost = dict(n_estimators=trees, max_depth=depth, random_state=seed)
    light = dict(n_estimators=trees, max_depth=depth, num_leaves=2**depth, random_state=seed,
                 min_child_samples=5)
    xg = dict(n_estimators=trees, max_depth=depth, random_state=seed, n_jobs=1, tree_method="hist")
    # A generator of their own, so that the rows of all others stay what they were.
    own = np.random.default_rng([2, seed])
    hidden = tuple(int(u) for u in own.integers(2, 8 if small else 40, own.integers(1, 4)))
    net = dict(max_iter=60, random_state=seed,
               activation=str(own.choice(["relu", "tanh", "logistic"])))
    if what == "skl-mlp-reg":
        y = (y - 100.0) / 25.0

    def scaled(model):
        return pipeline.make_pipeline(preprocessing.StandardScaler(), model)

    fit = {
        "skl-rf-bin": lambda: ensemble.RandomForestClassifier(**forest),
        "skl-rf-multi": lambda: ensemble.RandomForestClassifier(**forest),
        "skl-rf-reg": lambda: ensemble.RandomForestRegressor(**forest),
        "skl-et-multi": lambda: ensemble.ExtraTreesClassifier(**forest),
        "skl-gb-bin": lambda: ensemble.GradientBoostingClassifier(**boost),
        "skl-gb-multi": lambda: ensemble.GradientBoostingClassifier(**boost),
        "skl-gb-reg": lambda: ensemble.GradientBoostingRegressor(**boost),
        "skl-hgb-bin": lambda: ensemble.HistGradientBoostingClassifier(
            max_iter=trees, max_depth=depth, min_samples_leaf=5),
        "skl-hgb-multi": lambda: ensemble.HistGradientBoostingClassifier(
            max_iter=trees, max_depth=depth, min_samples_leaf=5),
        "skl-hgb-reg": lambda: ensemble.HistGradientBoostingRegressor(
            max_iter=trees, max_depth=depth, min_samples_leaf=5),
        "skl-tree-bin": lambda: tree.DecisionTreeClassifier(max_depth=depth, random_state=seed),
        "skl-logistic-bin": lambda: pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.LogisticRegression()),
        "skl-logistic-multi": lambda: pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.LogisticRegression()),
        "skl-ridge-reg": lambda: pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.Ridge()),
        "skl-linear-reg": lambda: linear_model.LinearRegression(),
        "skl-scaled-gb-bin": lambda: pipeline.make_pipeline(
            preprocessing.StandardScaler(), ensemble.GradientBoostingClassifier(**boost)),
        "skl-scaled-rf-reg": lambda: pipeline.make_pipeline(
            preprocessing.MinMaxScaler((-1.0, 1.0)), ensemble.RandomForestRegressor(**forest)),
        "lgb-bin": lambda: lgb(lightgbm.LGBMClassifier, **light),
        "lgb-multi": lambda: lgb(lightgbm.LGBMClassifier, **light),
        "lgb-reg": lambda: lgb(lightgbm.LGBMRegressor, **light),
        "xgb-bin": lambda: xgboost.XGBClassifier(**xg),
        "xgb-multi": lambda: xgboost.XGBClassifier(**xg),
        "xgb-reg": lambda: xgboost.XGBRegressor(**xg),
        "skl-mlp-bin": lambda: scaled(neural_network.MLPClassifier(hidden, **net)),
        "skl-mlp-multi": lambda: scaled(neural_network.MLPClassifier(hidden, **net)),
        "skl-mlp-reg": lambda: scaled(neural_network.MLPRegressor(hidden_layer_sizes=hidden, **net)),
    }
    if what.startswith("gemm"):
        exported = gemm(rng, what, x, y, hidden, classes, seed)
        onnx.checker.check_model(exported)
        return exported, probes(rng, x, {}, 60 if small else 500)
    if what == "skl-mlp-multi":
        y = np.array(list("abcdef"))[y]
    model = fit[what]().fit(x, y)
    if what.startswith("skl"):
        named = what == "skl-logistic-multi"
        more = {}
        if named:
            more["initial_types"] = [(f"x{i}", FloatTensorType([None, 1])) for i in range(p)]
        exported = skl(model, x, zipmap=what == "skl-rf-bin", **more)
    elif what.startswith("lgb"):
        exported = tools(onnxmltools.convert_lightgbm, model, p)
    else:
        exported = tools(onnxmltools.convert_xgboost, model, p)
    onnx.checker.check_model(exported)
    return exported, probes(rng, x, thresholds_of(exported), 60 if small else 500)


def gemm(rng, what, x, y, hidden, classes, seed):
    """The graph that PyTorch writes of nn.Linear and activations, with what scikit-learn fitted."""
    z = (x - x.mean(0)) / x.std(0)
    kind = neural_network.MLPClassifier if classes else neural_network.MLPRegressor
    fitted = kind(hidden_layer_sizes=hidden, max_iter=60, random_state=seed).fit(z, y)
    nodes = [
        onnx.helper.make_node("Constant", [], ["mean"], value=onnx.numpy_helper.from_array(x.mean(0))),
        onnx.helper.make_node("Sub", ["x", "mean"], ["off"], name="/Sub"),
        onnx.helper.make_node("Div", ["off", "deviation"], ["h0"], name="/Div"),
        onnx.helper.make_node("Flatten", ["h0"], ["a0"], name="/Flatten"),
    ]
    constants = [onnx.numpy_helper.from_array(x.std(0), "deviation")]
    layers = list(zip(fitted.coefs_, fitted.intercepts_))
    for i, (w, b) in enumerate(layers):
        # nn.Linear keeps [out, in].
        constants.append(onnx.numpy_helper.from_array(w.T.astype(np.float32).copy(), f"{i}.weight"))
        constants.append(onnx.numpy_helper.from_array(b.astype(np.float32), f"{i}.bias"))
        nodes.append(onnx.helper.make_node(
            "Gemm", [f"a{i}", f"{i}.weight", f"{i}.bias"], [f"s{i}"], name=f"/{i}/Gemm",
            transB=1, alpha=1.0, beta=1.0))
        last = "Softmax" if classes > 2 else "Sigmoid" if classes else "Tanh"
        nodes.append(onnx.helper.make_node(
            last if i + 1 == len(layers) else "Relu", [f"s{i}"],
            ["y" if i + 1 == len(layers) else f"a{i + 1}"], name=f"/{i}/act"))
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", width])
             for name, width in [("x", x.shape[1]), ("y", layers[-1][0].shape[1])]]
    graph = onnx.helper.make_graph(nodes, "main", ports[:1], ports[1:], constants)
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10,
        producer_name="make.py gemm" if classes else "make.py")


def newer(model, average):
    """The same trees as TreeEnsemble of ai.onnx.ml 5, which no exporter here writes yet: summed, or
    averaged."""
    old = {a.name: onnx.helper.get_attribute_value(a) for a in model.graph.node[0].attribute}
    keys = list(zip(old["nodes_treeids"], old["nodes_nodeids"]))
    leaf = {k: i for i, k in enumerate(zip(old["target_treeids"], old["target_nodeids"]))}
    inner = {}
    for key, mode in zip(keys, old["nodes_modes"]):
        if mode != b"LEAF":
            inner[key] = len(inner)
    new = {name: [] for name in [
        "nodes_featureids", "nodes_truenodeids", "nodes_trueleafs", "nodes_falsenodeids",
        "nodes_falseleafs"]}
    modes, splits = [], []
    for i, key in enumerate(keys):
        if key not in inner:
            continue
        modes.append([b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GTE", b"BRANCH_GT"].index(
            old["nodes_modes"][i]))
        splits.append(old["nodes_values"][i])
        new["nodes_featureids"].append(old["nodes_featureids"][i])
        for way in ["true", "false"]:
            child = (key[0], old[f"nodes_{way}nodeids"][i])
            new[f"nodes_{way}leafs"].append(int(child in leaf))
            new[f"nodes_{way}nodeids"].append(leaf[child] if child in leaf else inner[child])
    tensor = onnx.helper.make_tensor
    node = onnx.helper.make_node(
        "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", **new, n_targets=1,
        aggregate_function=0 if average else 1, post_transform=0,
        nodes_modes=tensor("modes", onnx.TensorProto.UINT8, [len(modes)], modes),
        nodes_splits=tensor("splits", onnx.TensorProto.FLOAT, [len(splits)], splits),
        leaf_weights=tensor(
            "weights", onnx.TensorProto.FLOAT, [len(leaf)], old["target_weights"]),
        leaf_targetids=[0] * len(leaf),
        tree_roots=[place for key, place in inner.items() if key[1] == 0])
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, width])
             for name, width in [("x", model.graph.input[0].type.tensor_type.shape.dim[1].dim_value),
                                 ("y", 1)]]
    graph = onnx.helper.make_graph([node], "trees", ports[:1], ports[1:])
    sets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("ai.onnx.ml", 5)]
    return onnx.helper.make_model(graph, opset_imports=sets, ir_version=10, producer_name="make.py")


NAMES = [
    "skl-rf-bin", "skl-rf-multi", "skl-rf-reg", "skl-et-multi", "skl-gb-bin", "skl-gb-multi",
    "skl-gb-reg", "skl-hgb-bin", "skl-hgb-multi", "skl-hgb-reg", "skl-tree-bin",
    "skl-logistic-bin", "skl-logistic-multi", "skl-ridge-reg", "skl-linear-reg",
    "skl-scaled-gb-bin", "skl-scaled-rf-reg", "lgb-bin", "lgb-multi", "lgb-reg", "xgb-bin",
    "xgb-multi", "xgb-reg", "skl-mlp-bin", "skl-mlp-multi", "skl-mlp-reg", "gemm-bin", "gemm-multi",
    "gemm-reg",
]


def main():
    if sys.argv[1:2] == ["--wide"]:
        folder, count = Path(sys.argv[2]), int(sys.argv[3])
        folder.mkdir(exist_ok=True)
        for i in range(count):
            what = NAMES[i % len(NAMES)]
            rng = np.random.default_rng([7, i])
            try:
                exported, rows = make(rng, what, False, i)
            except Exception as error:  # an exporter that fails is no matter of ours
                print(what, i, type(error).__name__, str(error)[:200])
                continue
            write(folder, f"{what}-{i}", exported, rows)
        return
    folder = Path(__file__).parent
    for i, what in enumerate(NAMES):
        exported, rows = make(np.random.default_rng([1, i]), what, True, i)
        write(folder, what, exported, rows)
        if what in ["skl-rf-reg", "xgb-reg"]:
            write(folder, what.replace("reg", "ml5-reg"), newer(exported, "rf" in what), rows)


main()
