//! Codes of what can be wrong in a preset, each with its page for `trimloop explain`.

use trimloop_recipe::codes::Code;

/// A preset is not TOML, or lacks a key.
pub static PRESET_FORM: Code = Code {
    code: "TL0850",
    title: "CMMS preset has the wrong form",
    means: "The preset is not TOML, or lacks a key, or has one that does not belong there.",
    why: "A key that is passed over in silence would send orders without what it says.",
    wrong: "[create]\npaht = \"api/tickets/\"",
    right: "[create]\npath = \"api/tickets/\"",
};

/// A template cannot be used.
pub static PRESET_TEMPLATE: Code = Code {
    code: "TL0851",
    title: "template of a CMMS preset cannot be used",
    means: "The template has a mistake, names a value that is not there, or makes no JSON.",
    why: "It is tried with a sample order at the start, so that no real order is lost by it.",
    wrong: "body = '{\"title\": {{ order.titel | tojson }}}'",
    right: "body = '{\"title\": {{ order.titled | tojson }}}'",
};

/// A value cannot be used.
pub static PRESET_VALUE: Code = Code {
    code: "TL0852",
    title: "value in a CMMS preset cannot be used",
    means: "A JSON pointer, a method, a word of the status map or a login is not one.",
    why: "What an answer means would be guessed: an order could seem open for ever.",
    wrong: "[order]\nid = \"id\"",
    right: "[order]\nid = \"/id\"",
};

/// All of them, in order.
pub static ALL: [&Code; 3] = [&PRESET_FORM, &PRESET_TEMPLATE, &PRESET_VALUE];
