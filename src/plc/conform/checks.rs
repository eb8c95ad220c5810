//! What is tried on a PLC, and what must come of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opcua::client::Session;
use opcua::types::Variant;
use tokio::time::sleep;

use super::bench::{
    ANSWER_MAX, Ask, BEAT_A, BEAT_B, BEAT_SAME, Bench, Block, CLOCK_WRAP, LOOK, Ownership, QUIET,
    Seen,
};
use super::{Check, Conform, ConformError, Report};
use crate::clock::{Clock, span_of};

/// Most requests to walk from one end to the other.
const WALK_MAX: usize = 300;
/// Slack on the speed of a ramp \[ms]: the members of one look may be a few cycles apart.
const RAMP_SLACK_MS: f64 = 200.0;
/// Our number in `A_NodeId` and `B_NodeId`.
const NODES: [u32; 2] = [0x544C_0001, 0x544C_0002];

const SLOTS: [(&str, &str); 2] = [("A_NodeId", "A_Request"), ("B_NodeId", "B_Request")];

pub(super) async fn all(
    setup: &Conform,
    session: &Arc<Session>,
    clock: Clock,
) -> Result<Report, ConformError> {
    let bench = Bench::find(session, clock).await?;
    let chosen: Vec<Block> = bench
        .guards
        .iter()
        .filter(|guard| setup.only.is_empty() || setup.only.contains(&guard.name))
        .cloned()
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = bench.guards.iter().map(|guard| guard.name.as_str()).collect();
        let found = names.join(", ");
        return Err(ConformError::Blocks(format!("no such guard; the server has {found}")));
    }
    bench.all_in_test().await?;
    let before = bench.ownership().await?;
    if before.alive {
        return Err(ConformError::Owned(before.node));
    }
    let server = bench.identity().await?;
    let first = ((clock.utc().as_nanos() / 1_000_000) & 0x7FFF_FFFF) as u32 + 1;
    let mut run = Run { bench: &bench, checks: Vec::new(), request: first, block: String::new() };
    let tested = async {
        run.ownership().await?;
        for guard in &chosen {
            run.guard(guard).await?;
        }
        run.owner_and_guard(&chosen[0]).await
    };
    let result = tokio::select! {
        result = tested => result,
        error = bench.beats() => Err(error),
    };
    // As it was found, as far as the link still allows.
    for guard in &chosen {
        drop(bench.force(guard, 0).await);
    }
    let released = [("A_Request", Variant::UInt32(0)), ("B_Request", Variant::UInt32(0))];
    drop(bench.put(&bench.owner, &released).await);
    // Whoever comes next shall find the cell free.
    drop(bench.until_owner(ANSWER_MAX, |owner| !owner.alive).await);
    result?;
    Ok(Report {
        url: setup.url.clone(),
        server,
        owner: bench.owner.name.clone(),
        guards: chosen.into_iter().map(|guard| guard.name).collect(),
        checks: run.checks,
    })
}

/// Looks at a guard that may be returning.
struct Ramp {
    last: Seen,
    trip: u32,
    largest: f64,
    too_fast: bool,
}

impl Ramp {
    fn new(first: Seen) -> Self {
        Self { last: first, trip: 0, largest: 0.0, too_fast: false }
    }

    fn look(&mut self, now: Seen) {
        let round = if now.clock < self.last.clock { CLOCK_WRAP } else { 0 };
        let ms = f64::from(now.clock) + f64::from(round) - f64::from(self.last.clock);
        let moved = (now.v_out - self.last.v_out).abs();
        self.too_fast |= moved > now.ramp_rate * (ms + RAMP_SLACK_MS) / 1000.0;
        self.largest = self.largest.max(moved);
        self.trip = self.trip.max(now.trip);
        self.last = now;
    }
}

struct Run<'a> {
    bench: &'a Bench<'a>,
    checks: Vec<Check>,
    request: u32,
    block: String,
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0)
}

/// Whether a code says that the request was taken.
fn taken(code: u32) -> bool {
    (1..10).contains(&code)
}

fn tell(seen: &Seen) -> String {
    format!(
        "AckSeq {}, AckCode {}, VOut {}, TripReason {}",
        seen.ack_seq, seen.ack_code, seen.v_out, seen.trip
    )
}

fn tell_owner(seen: &Ownership) -> String {
    format!(
        "OwnerSlot {}, OwnerAlive {}, EpochNow {}, EndReason {}",
        seen.slot, seen.alive, seen.epoch, seen.end
    )
}

impl Run<'_> {
    fn add(
        &mut self,
        (id, rules): (&'static str, &'static str),
        done: impl Into<String>,
        expected: impl Into<String>,
        seen: String,
        passed: bool,
    ) {
        let (done, expected) = (done.into(), expected.into());
        let block = self.block.clone();
        self.checks.push(Check { id, block, rules, done, expected, seen, passed });
    }

    fn beat(&self, what: u8) {
        self.bench.beating.store(what, Ordering::Relaxed);
    }

    /// Asks for ownership with a new number; whether it was granted within the time of an answer.
    async fn own(&mut self, slot: usize) -> Result<(Ownership, bool), ConformError> {
        let number = self.ask_for(slot).await?;
        let wanted = slot as u32 + 1;
        let is_ours = |o: &Ownership| o.alive && o.granted == number && o.slot == wanted;
        let (seen, held, _) = self.bench.until_owner(ANSWER_MAX, is_ours).await?;
        Ok((seen, held))
    }

    async fn ask_for(&mut self, slot: usize) -> Result<u32, ConformError> {
        self.bench.all_in_test().await?;
        self.request = self.request.wrapping_add(1).max(1);
        let (node, request) = SLOTS[slot];
        let values =
            [(node, Variant::UInt32(NODES[slot])), (request, Variant::UInt32(self.request))];
        self.bench.put(&self.bench.owner, &values).await?;
        Ok(self.request)
    }

    async fn ownership(&mut self) -> Result<(), ConformError> {
        self.block.clone_from(&self.bench.owner.name);
        let before = self.bench.ownership().await?;
        let fits = (1..=60_000).contains(&before.timeout_ms);
        let seen = format!("HbTimeoutMs {}", before.timeout_ms);
        self.add(("owner-settings", "O3"), "read", "HbTimeoutMs 1 to 60000", seen, fits);
        // Whoever beat before us must be dead first.
        sleep(Duration::from_millis(before.timeout_ms.min(60_000).into()) + QUIET).await;
        let number = self.ask_for(0).await?;
        sleep(QUIET).await;
        let now = self.bench.ownership().await?;
        self.add(
            ("grant-needs-life", "O3 O5"),
            format!("A_Request {number} without a heartbeat"),
            "no owner",
            tell_owner(&now),
            !now.alive,
        );
        self.beat(BEAT_A);
        let (now, held) = self.own(0).await?;
        self.add(
            ("grant", "O5"),
            "heartbeat of A counts, A asks with a new number",
            format!("A owns; EpochNow above {}", before.epoch),
            tell_owner(&now),
            held && now.node == NODES[0] && now.epoch != before.epoch && now.epoch != 0,
        );
        Ok(())
    }

    /// Sends a request and looks for its answer.
    async fn answer(&self, guard: &Block, ask: Ask) -> Result<(Seen, Seen, bool), ConformError> {
        let (before, seq) = self.bench.ask(guard, ask).await?;
        let (after, held) = self.bench.until(guard, ANSWER_MAX, |seen| seen.ack_seq == seq).await?;
        Ok((before, after, held))
    }

    /// A request that must be refused with `code`, and must not move anything.
    async fn refused(
        &mut self,
        guard: &Block,
        id: (&'static str, &'static str),
        done: impl Into<String>,
        ask: Ask,
        code: u32,
    ) -> Result<(), ConformError> {
        let (before, after, held) = self.answer(guard, ask).await?;
        let passed = held && after.ack_code == code && near(after.v_out, before.v_out);
        let expected = format!("AckCode {code}, VOut stays {}", before.v_out);
        let seen = if held { tell(&after) } else { format!("no answer; {}", tell(&after)) };
        self.add(id, done, expected, seen, passed);
        if !passed {
            self.home(guard).await?;
        }
        Ok(())
    }

    /// Asks for one value until it is reached or no further request moves `VOut`.
    async fn walk(&self, guard: &Block, value: f64) -> Result<(Seen, bool), ConformError> {
        let mut last = self.bench.seen(guard).await?;
        for _ in 0..WALK_MAX {
            let (before, after, held) = self.answer(guard, Ask::new(value)).await?;
            last = after;
            if !held || !taken(after.ack_code) || near(before.v_out, after.v_out) {
                return Ok((last, true));
            }
        }
        Ok((last, false))
    }

    /// Back to the baseline, by requests; gets ownership again when it was lost.
    async fn home(&mut self, guard: &Block) -> Result<Seen, ConformError> {
        self.bench.force(guard, 0).await?;
        if self.bench.ownership().await?.slot != 1 {
            self.beat(BEAT_A);
            self.own(0).await?;
        }
        let base = self.bench.seen(guard).await?.v_base;
        Ok(self.walk(guard, base).await?.0)
    }

    async fn guard(&mut self, guard: &Block) -> Result<(), ConformError> {
        self.block.clone_from(&guard.name);
        let s = self.bench.seen(guard).await?;
        let fits = s.v_min < s.v_max
            && (s.v_min..=s.v_max).contains(&s.v_base)
            && s.max_step > 0.0
            && s.ramp_rate > 0.0
            && (1..=60_000).contains(&s.ttl_max);
        let seen = format!(
            "VMin {}, VMax {}, VBase {}, MaxStep {}, RampRate {}, TtlMaxMs {}, HoldOnLoss {}",
            s.v_min, s.v_max, s.v_base, s.max_step, s.ramp_rate, s.ttl_max, s.hold
        );
        let expected =
            "VMin < VMax, VBase within, MaxStep and RampRate above 0, TtlMaxMs 1 to 60000";
        self.add(("settings", "R3"), "read", expected, seen, fits);
        if !fits {
            return Ok(());
        }
        self.accepted(guard).await?;
        self.limits(guard).await?;
        self.sequence(guard).await?;
        self.age(guard).await?;
        self.waits(guard).await?;
        self.values(guard).await?;
        self.switches(guard).await?;
        self.loss(guard).await?;
        Ok(())
    }

    /// A value a part of a step away from the present one, inside the limits.
    fn away(s: &Seen, share: f64) -> f64 {
        let up = s.v_out + share * s.max_step;
        if up <= s.v_max { up } else { s.v_out - share * s.max_step }
    }

    async fn accepted(&mut self, guard: &Block) -> Result<(), ConformError> {
        let s = self.home(guard).await?;
        let value = Self::away(&s, 0.5);
        let (_, after, held) = self.answer(guard, Ask { model: 77, ..Ask::new(value) }).await?;
        let right = held && after.ack_code == 1 && near(after.v_out, value);
        self.add(
            ("accepted", "R6 R7"),
            format!("VExt {value}, ModelId 77, all else right"),
            format!("AckCode 1, VOut {value}, Active, ModelInForce 77"),
            format!("{}, Active {}, ModelInForce {}", tell(&after), after.active, after.model),
            right && after.active && after.model == 77,
        );
        // Values without a new Seq are no request.
        let other = Self::away(&after, 0.25);
        self.bench.put(guard, &[("VExt", Variant::Double(other))]).await?;
        sleep(QUIET).await;
        let now = self.bench.seen(guard).await?;
        self.add(
            ("no-seq-no-request", "R6"),
            format!("VExt {other}, Seq not touched"),
            format!("VOut stays {}", after.v_out),
            tell(&now),
            near(now.v_out, after.v_out),
        );
        Ok(())
    }

    async fn limits(&mut self, guard: &Block) -> Result<(), ConformError> {
        let s = self.home(guard).await?;
        for (id, limit, beyond) in [
            ("upper-limit", s.v_max, s.v_max + 0.75 * s.max_step),
            ("lower-limit", s.v_min, s.v_min - 0.75 * s.max_step),
        ] {
            let (last, reached) = self.walk(guard, beyond).await?;
            let seen = if reached {
                tell(&last)
            } else {
                format!("not reached in {WALK_MAX} requests; {}", tell(&last))
            };
            self.add(
                (id, "R7 R8"),
                format!("VExt {beyond}, again until VOut moves no further"),
                format!("VOut ends at {limit} with AckCode 2"),
                seen,
                reached && near(last.v_out, limit) && last.ack_code == 2,
            );
            self.home(guard).await?;
        }
        let before = self.bench.seen(guard).await?;
        let asked = Self::away(&before, 2.5);
        let sign = if asked > before.v_out { 1.0 } else { -1.0 };
        let stepped = before.v_out + sign * before.max_step;
        let (_, after, held) = self.answer(guard, Ask::new(asked)).await?;
        let within = (before.v_min..=before.v_max).contains(&asked);
        self.add(
            ("step", "R7"),
            format!("VExt {asked}, 2.5 steps away"),
            format!("AckCode 3, VOut {stepped}"),
            if within { tell(&after) } else { "VMin..VMax is narrower than 2.5 steps".into() },
            !within || (held && after.ack_code == 3 && near(after.v_out, stepped)),
        );
        self.home(guard).await?;
        Ok(())
    }

    async fn sequence(&mut self, guard: &Block) -> Result<(), ConformError> {
        let s = self.bench.seen(guard).await?;
        let value = Self::away(&s, 0.5);
        for (id, off, what) in [
            ("old-sequence", u32::MAX - 1, "LastSeq - 1"),
            ("far-sequence", 0x8000_0000, "LastSeq + 2^31 + 1, which is behind"),
        ] {
            let ask = Ask { seq_off: off, ..Ask::new(value) };
            self.refused(guard, (id, "R6"), format!("VExt {value}, Seq {what}"), ask, 10).await?;
        }
        Ok(())
    }

    async fn age(&mut self, guard: &Block) -> Result<(), ConformError> {
        let s = self.bench.seen(guard).await?;
        let right = Ask::new(Self::away(&s, 0.5));
        let short = s.ttl_max.min(500);
        let rows = [
            ("stale", 11, Ask { ttl_ms: short, age_ms: i64::from(short) + 1000, ..right }),
            ("future", 11, Ask { ttl_ms: short, age_ms: -60_000, ..right }),
            ("ttl-zero", 12, Ask { ttl_ms: 0, ..right }),
            ("ttl-too-large", 12, Ask { ttl_ms: s.ttl_max + 1, ..right }),
        ];
        for (id, code, ask) in rows {
            let done = format!("TtlMs {}, Stamp {} ms before ClockMs", ask.ttl_ms, ask.age_ms);
            self.refused(guard, (id, "R7"), done, ask, code).await?;
        }
        for (id, off, what) in
            [("epoch-before", u32::MAX, "EpochNow - 1"), ("epoch-after", 1, "EpochNow + 1")]
        {
            let ask = Ask { epoch_off: off, ..right };
            self.refused(guard, (id, "R7"), format!("Epoch {what}"), ask, 13).await?;
        }
        Ok(())
    }

    async fn waits(&mut self, guard: &Block) -> Result<(), ConformError> {
        let s = self.bench.seen(guard).await?;
        let value = Self::away(&s, 0.5);
        self.bench.force(guard, 3).await?;
        let ttl_ms = s.ttl_max.min(5000);
        let (before, seq) = self.bench.ask(guard, Ask { ttl_ms, ..Ask::new(value) }).await?;
        let (waiting, pending) =
            self.bench.until(guard, ANSWER_MAX, |seen| seen.pending || seen.ack_seq == seq).await?;
        self.add(
            ("waits-unanswered", "R7"),
            format!("ApplyEn FALSE, VExt {value}"),
            "Pending, no answer yet, VOut stays",
            format!("Pending {}, {}", waiting.pending, tell(&waiting)),
            pending && waiting.ack_seq != seq && near(waiting.v_out, before.v_out),
        );
        self.bench.force(guard, 0).await?;
        let (after, held) = self
            .bench
            .until(guard, ANSWER_MAX, |seen| seen.ack_seq == seq && !seen.pending)
            .await?;
        self.add(
            ("waits-then-taken", "R7"),
            "ApplyEn TRUE before TtlMs is over",
            format!("AckCode 1, VOut {value}"),
            tell(&after),
            held && after.ack_code == 1 && near(after.v_out, value),
        );
        let s = self.home(guard).await?;
        self.bench.force(guard, 3).await?;
        let short = s.ttl_max.min(300);
        let ask = Ask { ttl_ms: short, ..Ask::new(Self::away(&s, 0.5)) };
        let done = format!("ApplyEn FALSE for longer than TtlMs {short}");
        self.refused(guard, ("lies-too-long", "R7"), done, ask, 11).await?;
        self.bench.force(guard, 0).await?;
        sleep(QUIET).await;
        let now = self.bench.seen(guard).await?;
        self.add(
            ("stays-refused", "R7"),
            "ApplyEn TRUE after that",
            format!("VOut stays {}", s.v_out),
            tell(&now),
            near(now.v_out, s.v_out),
        );
        Ok(())
    }

    async fn values(&mut self, guard: &Block) -> Result<(), ConformError> {
        for (id, value) in [
            ("not-a-number", f64::NAN),
            ("infinite", f64::INFINITY),
            ("minus-infinite", f64::NEG_INFINITY),
            ("huge", 1.0e300),
        ] {
            let ask = Ask::new(value);
            let before = self.bench.seen(guard).await?;
            // A server may refuse such a value itself: then there is nothing to judge.
            let status = self.bench.write(guard, &[("VExt", Variant::Double(value))]).await?;
            if status.first().is_some_and(|status| !status.is_good()) {
                let seen = format!("the server refuses it: {}", status[0]);
                let expected = format!("AckCode 14, VOut stays {}", before.v_out);
                self.add((id, "R7"), format!("VExt {value}"), expected, seen, true);
                continue;
            }
            self.refused(guard, (id, "R7"), format!("VExt {value}"), ask, 14).await?;
        }
        Ok(())
    }

    async fn switches(&mut self, guard: &Block) -> Result<(), ConformError> {
        let s = self.home(guard).await?;
        let ask = Ask::new(Self::away(&s, 0.5));
        self.bench.force(guard, 1).await?;
        self.refused(guard, ("disabled", "R2 R7"), "Enable FALSE", ask, 15).await?;
        self.bench.force(guard, 2).await?;
        let within = s.v_int.clamp(s.v_min, s.v_max);
        self.bench.until(guard, ANSWER_MAX, |seen| near(seen.v_out, within)).await?;
        let (_, after, held) = self.answer(guard, ask).await?;
        self.add(
            ("local", "R7 R8"),
            "LocalRemote FALSE",
            format!("AckCode 16, VOut {within}, the operator's value"),
            tell(&after),
            held && after.ack_code == 16 && near(after.v_out, within),
        );
        self.bench.force(guard, 0).await?;
        sleep(QUIET).await;
        let now = self.bench.seen(guard).await?;
        self.add(
            ("remote-again", "R8"),
            "LocalRemote TRUE again, no new request",
            format!("VOut stays {within}"),
            tell(&now),
            near(now.v_out, within),
        );
        self.home(guard).await?;
        Ok(())
    }

    /// Waits for the end of ownership, and watches how the guard moves meanwhile; how long it took
    /// \[ms].
    async fn until_lost(
        &self,
        guard: &Block,
        timeout_ms: u32,
        ramp: &mut Ramp,
    ) -> Result<(Ownership, bool, u64), ConformError> {
        let within = Duration::from_millis(timeout_ms.into()) + ANSWER_MAX;
        let start = self.bench.clock.mono();
        loop {
            ramp.look(self.bench.seen(guard).await?);
            let owner = self.bench.ownership().await?;
            let passed = self.bench.clock.mono() - start;
            if !owner.alive || passed > span_of(within) {
                let ms = u64::try_from(passed.as_millis()).unwrap_or(0);
                return Ok((owner, !owner.alive, ms));
            }
            sleep(LOOK).await;
        }
    }

    async fn loss(&mut self, guard: &Block) -> Result<(), ConformError> {
        let s = self.home(guard).await?;
        let value = Self::away(&s, 0.8);
        let (_, away, _) = self.answer(guard, Ask::new(value)).await?;
        let timeout_ms = self.bench.ownership().await?.timeout_ms;
        self.beat(0);
        let mut ramp = Ramp::new(self.bench.seen(guard).await?);
        let (owner, lost, after_ms) = self.until_lost(guard, timeout_ms, &mut ramp).await?;
        self.add(
            ("heartbeat-loss", "O3 O4"),
            "heartbeat of the owner stops",
            format!("no owner after {timeout_ms} ms, EndReason 1"),
            format!("{} after {after_ms} ms", tell_owner(&owner)),
            lost && owner.end == 1 && after_ms * 2 >= u64::from(timeout_ms),
        );
        if s.hold {
            sleep(QUIET).await;
            let now = self.bench.seen(guard).await?;
            self.add(
                ("holds", "R5"),
                "the same; HoldOnLoss",
                format!("TripReason 1, VOut stays {}", away.v_out),
                tell(&now),
                now.trip == 1 && near(now.v_out, away.v_out) && !now.active,
            );
        } else {
            self.ramps(guard, &away, ramp).await?;
        }
        let now = self.bench.seen(guard).await?;
        let ask = Ask::new(Self::away(&now, 0.5));
        let done = "a right request, while there is no owner";
        self.refused_alone(guard, done, ask).await?;
        self.beat(BEAT_A);
        sleep(QUIET).await;
        let owner = self.bench.ownership().await?;
        self.add(
            ("no-grant-by-itself", "O4 O5"),
            "the heartbeat is back, the request number is the old one",
            "no owner",
            tell_owner(&owner),
            !owner.alive,
        );
        let (owner, granted) = self.own(0).await?;
        sleep(QUIET).await;
        let now2 = self.bench.seen(guard).await?;
        self.add(
            ("nothing-kept", "R5 R7"),
            "owner again; no new request",
            format!("owner A, VOut stays {}", now.v_out),
            format!("{}; {}", tell_owner(&owner), tell(&now2)),
            granted && near(now2.v_out, now.v_out),
        );
        self.beat(BEAT_A | BEAT_SAME);
        let mut unused = Ramp::new(now2);
        let (owner, lost, after_ms) = self.until_lost(guard, timeout_ms, &mut unused).await?;
        self.add(
            ("same-number-is-no-life", "O3"),
            "heartbeat written again and again with one number",
            format!("no owner after {timeout_ms} ms"),
            format!("{} after {after_ms} ms", tell_owner(&owner)),
            lost && owner.end == 1,
        );
        self.beat(BEAT_A);
        self.home(guard).await?;
        Ok(())
    }

    async fn refused_alone(
        &mut self,
        guard: &Block,
        done: &str,
        ask: Ask,
    ) -> Result<(), ConformError> {
        let (before, after, held) = self.answer(guard, ask).await?;
        let passed = held && after.ack_code == 17 && near(after.v_out, before.v_out);
        let expected = format!("AckCode 17, VOut stays {}", before.v_out);
        let seen = if held { tell(&after) } else { format!("no answer; {}", tell(&after)) };
        self.add(("no-owner", "R7"), done, expected, seen, passed);
        Ok(())
    }

    /// The return to the baseline: all the way, and not faster than `RampRate`.
    async fn ramps(
        &mut self,
        guard: &Block,
        away: &Seen,
        mut ramp: Ramp,
    ) -> Result<(), ConformError> {
        let way = (away.v_out - away.v_base).abs();
        let within = Duration::from_secs_f64((way / away.ramp_rate).min(600.0)) + ANSWER_MAX;
        let end = self.bench.clock.mono() + span_of(within);
        loop {
            let now = self.bench.seen(guard).await?;
            ramp.look(now);
            if near(now.v_out, now.v_base) || self.bench.clock.mono() > end {
                break;
            }
            sleep(LOOK).await;
        }
        let Ramp { last, trip, largest, too_fast } = ramp;
        self.add(
            ("returns", "R5 R8"),
            "the same; not HoldOnLoss",
            format!("TripReason 1, VOut goes to {}", away.v_base),
            tell(&last),
            trip == 1 && near(last.v_out, away.v_base) && !last.active,
        );
        self.add(
            ("ramp-rate", "R8"),
            "the same",
            format!("not faster than {} per second", away.ramp_rate),
            format!("largest move between two looks {largest:.4}"),
            !too_fast,
        );
        Ok(())
    }

    async fn owner_and_guard(&mut self, guard: &Block) -> Result<(), ConformError> {
        let s = self.home(guard).await?;
        let value = Self::away(&s, 0.5);
        self.answer(guard, Ask::new(value)).await?;
        self.block.clone_from(&self.bench.owner.name);
        let before = self.bench.ownership().await?;
        self.beat(BEAT_A | BEAT_B);
        let number = self.ask_for(1).await?;
        sleep(QUIET).await;
        let now = self.bench.ownership().await?;
        self.add(
            ("one-owner", "O5"),
            "B lives and asks while A owns",
            format!("A stays owner in epoch {}", before.epoch),
            tell_owner(&now),
            now.alive && now.slot == 1 && now.epoch == before.epoch,
        );
        self.bench.put(&self.bench.owner, &[("A_Request", Variant::UInt32(0))]).await?;
        let is_b = |o: &Ownership| o.alive && o.slot == 2 && o.granted == number;
        let (now, held, _) = self.bench.until_owner(ANSWER_MAX, is_b).await?;
        self.add(
            ("release", "O4 O5"),
            "A writes 0 into its request",
            "B, which waited, is granted",
            tell_owner(&now),
            held,
        );
        self.add(
            ("epoch-counts", "O5"),
            "the same",
            format!("EpochNow above {}", before.epoch),
            tell_owner(&now),
            now.epoch != before.epoch && now.epoch != 0,
        );
        self.block.clone_from(&guard.name);
        let (tripped, _) = self.bench.until(guard, ANSWER_MAX, |seen| !seen.active).await?;
        self.add(
            ("owner-left", "R5"),
            "the same",
            "TripReason 2, no longer Active",
            format!("{}, Active {}", tell(&tripped), tripped.active),
            tripped.trip == 2 && !tripped.active,
        );
        // No ramp may be under way when standing still is judged.
        let still = |seen: &Seen| !seen.returning;
        let way = Duration::from_secs_f64((s.max_step / s.ramp_rate).min(600.0)) + ANSWER_MAX;
        self.bench.until(guard, way, still).await?;
        let off = before.epoch.wrapping_sub(now.epoch);
        let ask = Ask { epoch_off: off, ..Ask::new(value) };
        let (was, after, held) = self.answer(guard, ask).await?;
        self.add(
            ("old-owner", "R7"),
            "A writes on in its old epoch",
            format!("AckCode 13, VOut stays {}", was.v_out),
            tell(&after),
            held && after.ack_code == 13 && near(after.v_out, was.v_out),
        );
        let (_, after, held) = self.answer(guard, Ask::new(value)).await?;
        self.add(
            ("new-owner", "R7"),
            "B writes in its own epoch",
            format!("AckCode 1, VOut {value}"),
            tell(&after),
            held && after.ack_code == 1 && near(after.v_out, value),
        );
        Ok(())
    }
}
