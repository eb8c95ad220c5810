//! Codes of authority, TL04. TL0402 is the service's.

use super::{Code, codes};

codes! {
    NO_PLC_LIMITS = "TL0401" {
        title: "no limits in the PLC",
        means: "The setpoint names no `plc_low` and `plc_high`.",
        why: "The limits in the recipe are then the only ones. A limit that the PLC keeps holds \
            even \
         when this program is wrong.",
        wrong: "[setpoint.hold_pressure] without `plc_low`, `plc_high`",
        right: "plc_low = \"hold_pressure_min\"",
    }
    NOT_WRITABLE = "TL0403" {
        title: "a setpoint's node is not writable",
        means: "A node is written only if the PLC config says `writable = true`.",
        why: "The controls engineer decides what may be written, not the recipe.",
        wrong: "[node.hold_pressure_sp] without `writable`",
        right: "writable = true",
    }
    NO_HEARTBEAT = "TL0404" {
        title: "nothing reverts if trimloop dies",
        means: "The PLC config has no [heartbeat], and the recipe moves setpoints on that PLC.",
        why: "When the service or its computer stops, the PLC cannot know it and keeps the last \
            trim \
         (level A of the write contract).",
        wrong: "no [heartbeat]",
        right: "[heartbeat] with write, echo, period, timeout",
    }
}
