//! The key of an order that nobody made.

use trimloop_work::key::{ExtKey, Subject};

/// Of a worn check ring of an asset.
pub fn key(asset: &str) -> ExtKey {
    let subject = Subject {
        site: "north".into(),
        cell: "press-4".into(),
        asset: asset.into(),
        mode: "check_ring_worn".into(),
        component: "check_ring".into(),
    };
    ExtKey { fingerprint: subject.fingerprint(), generation: 1 }
}
