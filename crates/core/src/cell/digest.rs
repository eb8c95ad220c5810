//! What a cell remembers, for the exploration of states (tests only).
//!
//! The patterns name every field, so that a new one does not compile before it is decided whether
//! it tells two states apart.

use super::Cell;
use crate::properties::explore::digest::{Bases, Digest};

impl Cell {
    /// Equal for two cells of one plan when nothing they may ever do differs.
    pub(crate) fn digest(&self) -> u64 {
        let Self {
            plan: _,
            image,
            features,
            cycles,
            models,
            drifts,
            forecasts: _, // Told and recorded only.
            signatures,
            interlocks,
            links,
            registers,
            loops,
            out: _, // Drained.
            now,
            process,
            on_time: _, // Made anew by each scan, as are the next ones that are left out.
            pause: _,
            clock_backwards: _,
            started,
            part_ended: _,
            part: _, // Shown.
            due,
            labels,
            part_features,
            read,
            ticks,
            may_hold,
            quality,
            swept: _, // Where the next report of qualities begins.
            in_domain,
            alarm,
            signature_on,
            next_write,
            next_proposal: _,
            next_decision: _,
            explained: _, // Room for what is told.
        } = self;
        let number = cycles.newest().map_or(0, |part| part.number);
        let mut digest = Digest::new(Bases {
            mono: now.mono.as_nanos(),
            process: process.as_nanos(),
            write: i64::try_from(*next_write).unwrap_or(i64::MAX),
            part: i64::try_from(number).unwrap_or(i64::MAX),
            beat: links.first().map_or(0, |link| i64::from(link.newest_beat())),
        });
        digest.add(image);
        digest.add(features);
        cycles.digest(&mut digest);
        digest.add(models);
        digest.add(drifts);
        digest.add(signatures);
        digest.add(interlocks);
        for link in links {
            link.digest(&mut digest);
        }
        for register in registers {
            register.digest(&mut digest);
        }
        for state in loops {
            state.digest(now.mono, &mut digest);
        }
        digest.add(started);
        digest.add(&(due, labels, part_features));
        digest.add(&(read, ticks, may_hold, quality));
        digest.add(&(in_domain, alarm, signature_on));
        digest.finish()
    }
}
