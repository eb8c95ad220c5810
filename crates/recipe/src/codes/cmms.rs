//! 08: presets of systems that keep work orders.

use super::{Code, codes};

codes! {
    PRESET_FORM = "TL0850" {
        title: "CMMS preset has the wrong form",
        means: "The preset is not TOML, or lacks a key, or has one that does not belong there.",
        why: "A key that is passed over in silence would send orders without what it says.",
        wrong: "[create]\npaht = \"api/tickets/\"",
        right: "[create]\npath = \"api/tickets/\"",
    }
    PRESET_TEMPLATE = "TL0851" {
        title: "template of a CMMS preset cannot be used",
        means: "The template has a mistake, names a value that is not there, or makes no JSON.",
        why: "It is tried with a sample order at the start, so that no real order is lost by it.",
        wrong: "body = '{\"title\": {{ order.titel | tojson }}}'",
        right: "body = '{\"title\": {{ order.titled | tojson }}}'",
    }
    PRESET_VALUE = "TL0852" {
        title: "value in a CMMS preset cannot be used",
        means: "A JSON pointer, a method, a word of the status map or a login is not one.",
        why: "What an answer means would be guessed: an order could seem open for ever.",
        wrong: "[order]\nid = \"id\"",
        right: "[order]\nid = \"/id\"",
    }
}
