//! The catalogue of misbehaviour: what a PLC and its OPC UA server can do wrong, switchable while
//! it runs.
//!
//! One table, [`CATALOGUE`], holds the name of each fault, what the PLC does, and what a client has
//! to do about it. Help, pages and tests are made from it or checked against it.
//!
//! Words: a fault is *switched* by a person or a test, or *scheduled* by a scenario; it is *on*
//! when either holds. One that does not *last* happens once, when it is switched on.

use std::fmt;

/// Who misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// What becomes of a write in the PLC.
    Write,
    /// What the PLC tells.
    Value,
    /// The OPC UA server and its life.
    Server,
    /// What lies between server and client; needs the relay.
    Wire,
}

impl Layer {
    /// All, in the order of the catalogue.
    pub const ALL: [Self; 4] = [Self::Write, Self::Value, Self::Server, Self::Wire];

    /// Heading for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Write => "Writes",
            Self::Value => "Values and stamps",
            Self::Server => "The server",
            Self::Wire => "The wire",
        }
    }
}

/// One row of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Which.
    pub fault: Fault,
    /// Stable name, lower case with hyphens.
    pub name: &'static str,
    /// Who misbehaves.
    pub layer: Layer,
    /// Whether it stays until it is switched off; otherwise it happens once.
    pub lasts: bool,
    /// What the PLC does, for people.
    pub title: &'static str,
    /// What a controller has to do.
    pub must: &'static str,
}

macro_rules! catalogue {
    ($($fault:ident $name:literal $layer:ident $lasts:literal $title:literal $must:literal)+) => {
        /// A fault of the catalogue; its row says what it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Fault {
            $(#[doc = $title] $fault),+
        }

        impl Fault {
            /// All, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$fault),+];
        }

        /// The whole catalogue.
        pub const CATALOGUE: &[Entry] = &[$(Entry {
            fault: Fault::$fault,
            name: $name,
            layer: Layer::$layer,
            lasts: $lasts,
            title: $title,
            must: $must,
        }),+];
    };
}

catalogue! {
    WriteIgnored "write-ignored" Write true
        "A write is answered Good, and the register stays as it was"
        "never confirmed; twice in a row trips the loop, without a ramp"
    WriteLate "write-late" Write true
        "A write is answered BadTimeout and carried out 300 ms later"
        "unknown until the register was read; no second write meanwhile"
    WriteRefused "write-refused" Write true
        "Every write is refused"
        "told with the status; no resend, the next wish is decided anew"
    WriteShortened "write-shortened" Write true
        "A write is answered Good and moves half the way"
        "adopted where the register stands; trips when it goes on"
    WriteClamped "write-clamped" Write true
        "A write is answered Good_Clamped and moves half the way"
        "adopted as partly taken, and told"
    WrongTypeAccepted "wrong-type-accepted" Write true
        "A write of any data type is answered Good and stored as it came"
        "the register's own type is sent, whatever the server would take"
    BatchPartial "batch-partial" Write true
        "Of several values in one call, every second is refused and the rest applied"
        "each status counts: the request is refused and not released to the guard block"
    ValuesFrozen "values-frozen" Value true
        "Measured values stand still, with new stamps; parts go on"
        "suspect (frozen) after a few parts; not fed forward"
    ValuesBad "values-bad" Value true
        "Measured values come with status Bad"
        "neither scored nor fed forward"
    StampsLate "stamps-late" Value true
        "Source stamps are up to 8 s late and out of order, server stamps 5 s late"
        "suspect (skew), the server's clock is told; values count in order of arrival"
    ClockJumped "clock-jumped" Value true
        "The PLC's clock is one hour ahead; it jumps back when the fault ends"
        "told; the jump adds no process time, so it opens neither dwell nor rate"
    QueueOverflow "queue-overflow" Value true
        "The temperatures change 50 times between two messages, more than any queue holds"
        "the overflow is counted; the newest values are used"
    EchoStopped "echo-stopped" Value true
        "Our heartbeat is taken, and not echoed"
        "no writes until it is echoed again"
    ServerRestarted "server-restarted" Server false
        "The server restarts; all sessions and subscriptions are gone"
        "a new session under a new epoch, every loop in SHADOW, nothing sent again"
    ServerGone "server-gone" Server true
        "The server cannot be reached"
        "attempts with pauses, nothing kept for later, back when it is"
    NamespacesMoved "namespaces-moved" Server true
        "The server restarts with its namespaces in another order; look-alikes stand where ours was"
        "addresses are looked up again; writes go to the right registers"
    RegisterRetyped "register-retyped" Server true
        "The server restarts with the hold pressure setpoint as Float instead of Double"
        "told; nothing at all is written until it is as before"
    SessionLimit "session-limit" Server true
        "The server restarts and takes no session, as one whose sessions are all in use"
        "attempts with growing pauses; back when there is room"
    CertificateChanged "certificate-changed" Server false
        "The server restarts with a new certificate of its own; needs encrypted endpoints"
        "refused with a sentence until people trust it, then back without a restart"
    PublishStalled "publish-stalled" Wire true
        "Reads and writes are answered, the subscription says nothing; unencrypted links only"
        "noticed within seconds; a new session; nothing is written on old data"
    ServerSlow "server-slow" Wire true
        "Every answer takes 1.5 s longer"
        "an echo older than its limit stops writes; unanswered writes are unknown"
    HalfOpen "half-open" Wire true
        "The connection stands, and nothing passes"
        "noticed within seconds; one session is tried for, not many"
}

impl Fault {
    /// Its row.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        // The table and the enumeration are made from the same rows.
        &CATALOGUE[self as usize]
    }

    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The fault called `name`; `None` when there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        CATALOGUE.iter().find(|entry| entry.name == name).map(|entry| entry.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Some of the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults(u32);

impl Faults {
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether `fault` is one of them.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u32) != 0
    }

    /// These and `fault`.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u32)
    }

    /// These without `fault`.
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u32))
    }

    /// These or the others.
    #[must_use]
    pub const fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that are in one of both only.
    #[must_use]
    pub const fn changed(self, others: Self) -> Self {
        Self(self.0 ^ others.0)
    }

    /// Whether any of `faults` is one of them.
    #[must_use]
    pub fn any(self, faults: &[Fault]) -> bool {
        faults.iter().any(|fault| self.has(*fault))
    }

    /// Each of them, in the order of the catalogue.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().copied().filter(move |fault| self.has(*fault))
    }
}

#[cfg(test)]
mod tests {
    use super::{CATALOGUE, Fault, Faults, Layer};

    /// Names are unique, found, and what people type; every row says what it is.
    #[test]
    fn the_catalogue_holds_together() {
        assert!(CATALOGUE.len() <= 32, "one bit each");
        for (entry, fault) in CATALOGUE.iter().zip(Fault::ALL) {
            assert_eq!((entry.fault, fault.name()), (*fault, entry.name));
            assert_eq!(Fault::named(entry.name), Some(*fault));
            assert_eq!(CATALOGUE.iter().filter(|e| e.name == entry.name).count(), 1);
            assert!(entry.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
            assert!(!entry.title.is_empty() && !entry.must.is_empty(), "{fault}");
        }
        let layers: Vec<Layer> = CATALOGUE.iter().map(|entry| entry.layer).collect();
        assert!(layers.is_sorted_by_key(|layer| *layer as u8), "layers stand together");
        assert_eq!(Fault::named("write"), None);
    }

    /// Sets are what they say.
    #[test]
    fn sets_hold_what_was_put_in() {
        let both = Faults::NONE.with(Fault::WriteLate).with(Fault::HalfOpen);
        assert_eq!(both.iter().collect::<Vec<_>>(), [Fault::WriteLate, Fault::HalfOpen]);
        assert!(both.has(Fault::HalfOpen) && !both.has(Fault::WriteIgnored));
        assert_eq!(
            both.without(Fault::WriteLate).changed(both),
            Faults::NONE.with(Fault::WriteLate)
        );
        assert!(both.any(&[Fault::ServerGone, Fault::HalfOpen]) && !both.any(&[Fault::ServerGone]));
    }
}
