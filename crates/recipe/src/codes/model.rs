//! Codes of model artifacts, TL05.

use super::{Code, codes};

codes! {
    TRUNCATED = "TL0501" {
        title: "a model file is cut short",
        means: "The file is shorter than its description says.",
        why: "A model with missing numbers scores nonsense.",
        wrong: "a copy that broke off",
        right: "copy models/NAME-rN/model.tlm again",
    }
    MAGIC = "TL0502" {
        title: "not a model file",
        means: "The file does not begin with TLMD.",
        why: "Something else was copied to its place.",
        wrong: "a card or an archive named model.tlm",
        right: "the model.tlm that `trimloop model train` wrote",
    }
    FORMAT = "TL0503" {
        title: "a model file of another format",
        means: "The file was written by a trimloop with another model format.",
        why: "Numbers in another order would still be numbers.",
        wrong: "a model of a later trimloop",
        right: "train it again, or use the matching trimloop",
    }
    DIGEST = "TL0504" {
        title: "a model file was damaged or changed",
        means: "The digest at the end of the file does not fit its bytes.",
        why: "One wrong bit in a coefficient may turn a sign.",
        wrong: "an edited model.tlm",
        right: "copy it again from where it was trained",
    }
    HEADER = "TL0505" {
        title: "a model's description is not valid",
        means: "The header cannot be read, or says something impossible.",
        why: "What is not described cannot be checked.",
        wrong: "an edited header",
        right: "copy it again from where it was trained",
    }
    SHAPE = "TL0506" {
        title: "a model's arrays do not fit together",
        means: "An array is missing, surplus or of the wrong shape.",
        why: "A sum over the wrong columns is still a number.",
        wrong: "a model written by another program",
        right: "train it with `trimloop model train`",
    }
    NOT_FINITE = "TL0507" {
        title: "a model holds a number that is not finite",
        means: "A coefficient is NaN or infinite.",
        why: "Its score would be NaN for every part.",
        wrong: "trained on rows with gaps",
        right: "train it again on clean rows",
    }
    IMPOSSIBLE = "TL0508" {
        title: "a model that cannot be right",
        means: "A deviation is zero, an eigenvalue negative, a limit reversed, or loadings are not \
         orthonormal.",
        why: "Limits of such a model mean nothing.",
        wrong: "a constant feature in training",
        right: "leave that feature out and train again",
    }
    TOO_LARGE = "TL0509" {
        title: "a model file is too large",
        means: "The file is larger than any model that fits a plan.",
        why: "Everything is bounded, so that memory is known before it runs.",
        wrong: "a model over 5000 features",
        right: "choose the features that matter",
    }
    MISSING_FEATURES = "TL0510" {
        title: "a model's features are missing",
        means: "The model was trained on features that the recipe does not have.",
        why: "It cannot be scored without all of them.",
        wrong: "a feature renamed in the recipe",
        right: "the name it had in training",
    }
    MODEL_UNIT = "TL0511" {
        title: "a model's unit differs",
        means: "The model was trained on a feature in another unit.",
        why: "Its numbers mean nothing in another unit.",
        wrong: "trained in MPa, recipe in bar",
        right: "the same unit in both",
    }
    SCHEMA = "TL0512" {
        title: "a model's feature list was changed",
        means: "The list of features does not give the schema hash in the description.",
        why: "Someone edited the list; the arrays still follow the old one.",
        wrong: "an edited header",
        right: "copy it again from where it was trained",
    }
    MODEL_FILE = "TL0513" {
        title: "a model file is missing",
        means: "There is no models/FILE/model.tlm.",
        why: "What the recipe builds on it would hold for ever.",
        wrong: "file = \"upstream-r2\"",
        right: "file = \"upstream-r1\", with models/upstream-r1/model.tlm",
    }
    MODEL_HASH = "TL0514" {
        title: "another model than the pinned one",
        means: "The artifact's hash is not the one that the recipe pins.",
        why: "The recipe was approved with that model; another one needs another approval.",
        wrong: "a retrained model under the old name",
        right: "a new folder, a new pin, a new revision",
    }
    MODEL_WRONG_KIND = "TL0515" {
        title: "a trained model of the wrong kind",
        means: "T2, SPE and domains need a PCA monitor; predictions need a soft sensor.",
        why: "The other kind has no such number.",
        wrong: "t2 = \"weight-sensor\"",
        right: "t2 = \"upstream\"",
    }
    NO_CLASS = "TL0516" {
        title: "a classifier without that class",
        means: "A clause watches the probability of a class that the model does not know, or the \
         model is no classifier.",
        why: "There is no such probability.",
        wrong: "probability = \"quality\", class = \"scrap\"",
        right: "probability = \"quality\", class = \"1\"",
    }
    CHALLENGER = "TL0517" {
        title: "a challenger that cannot run beside its champion",
        means: "The challenger is the champion itself, is of another kind (monitor, soft sensor, \
         classifier), or is pinned and not named.",
        why: "There would be nothing to compare.",
        wrong: "file = \"press-r1\", challenger = \"press-r1\"",
        right: "file = \"press-r1\", challenger = \"press-r2\"",
    }
    CLASS_UNMEASURED = "TL0518" {
        title: "a class that no label can have",
        means: "A classifier with `predicts` has a class that is no number. Labels are numbers.",
        why: "It could never be held to what was found of the part.",
        wrong: "predicts = \"quality\" on a classifier of \"good\" and \"waste\"",
        right: "train it on classes that are numbers, or leave `predicts` out",
    }
    FORECAST = "TL0519" {
        title: "a forecast that cannot be made",
        means: "A classifier is forecast, the limit of a monitor is given, or limits have no unit.",
        why: "Classes have no course, a monitor's score has the limit 1, and a limit without a label \
              could be of any unit.",
        wrong: "forecast = { ahead = 20, low = \"19.3 g\" }   (on a monitor)",
        right: "forecast = { ahead = 20 }",
    }
    ONNX_DAMAGED = "TL0540" {
        title: "the file is no whole ONNX model",
        means: "Its bytes are no protobuf of an ONNX model, or end too early.",
        why: "A model that was read by half would be another model.",
        wrong: "trimloop model import model.pkl --out models/weight-r1",
        right: "trimloop model import model.onnx --out models/weight-r1",
    }
    ONNX_TOO_LARGE = "TL0541" {
        title: "an ONNX model is larger than any that is scored live",
        means: "The file, a tree, the number of inputs or another list in it is beyond its bound.",
        why: "Every part is scored within the cycle, with memory that is set aside at the start.",
        wrong: "(a forest of 10,000 trees without a largest depth)",
        right: "(200 trees of depth 12)",
    }
    ONNX_UNSUPPORTED = "TL0542" {
        title: "an ONNX model does something that trimloop does not score the same",
        means: "An operator, an attribute or a type of number stands between its inputs and its \
                scores that cannot be folded into trees or linear terms exactly.",
        why: "Nearly the same scores are other scores; nobody could say which are right.",
        wrong: "(categorical splits, float64 inputs, a one-hot encoder, two models in one graph)",
        right: "(one tree ensemble or linear model on float32 columns, scaled or not)",
    }
    ONNX_CONTRADICTION = "TL0543" {
        title: "an ONNX model contradicts itself",
        means: "A node or column it speaks of is not there, lists differ in length, or trees go \
                round in circles.",
        why: "There is no one way to score it.",
        wrong: "(nodes_treeids and nodes_values of different length)",
        right: "(a file that `onnx.checker.check_model` and a runtime accept)",
    }
}
