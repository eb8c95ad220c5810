//! Compact binary form of a [`Scan`] for the journal, and the primitives it is made of.
//!
//! Terms: *varint* is a LEB128 number of 7 bits a byte; *zigzag* maps signed numbers to small
//! unsigned ones. Times are stored as differences from the scan's own clocks, floats bit by bit,
//! so that a decoded scan is the scan. Decoding takes any bytes and never panics: what does not
//! fit is [`Malformed`].

use trimloop_core::mode::Mode;
use trimloop_core::plan::{CharacteristicId, LoopId};
use trimloop_core::scan::{Ack, AckResult, Command, Label, Link, Order, Scan};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Utc};
use trimloop_core::unit::Ticks;

/// Bytes that are not what the codec writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a journal entry ({0})")]
pub struct Malformed(pub &'static str);

/// A scan that owns its lists, as read back from a journal.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedScan {
    /// [`Scan::seq`].
    pub seq: u64,
    /// [`Scan::now`].
    pub now: Now,
    /// [`Scan::links`].
    pub links: Vec<Link>,
    /// [`Scan::changes`].
    pub changes: Vec<Sample>,
    /// [`Scan::acks`].
    pub acks: Vec<Ack>,
    /// [`Scan::commands`].
    pub commands: Vec<Order>,
}

impl OwnedScan {
    /// The same scan, borrowed as `Cell::step` takes it.
    pub fn as_scan(&self) -> Scan<'_> {
        Scan {
            seq: self.seq,
            now: self.now,
            links: &self.links,
            changes: &self.changes,
            acks: &self.acks,
            commands: &self.commands,
        }
    }
}

/// Appends a scan to `out`.
pub fn encode_scan(scan: &Scan<'_>, out: &mut Vec<u8>) {
    put_varint(out, scan.seq);
    put_i64(out, scan.now.mono.as_nanos());
    put_i64(out, scan.now.utc.as_nanos());
    put_varint(out, scan.links.len() as u64);
    for link in scan.links {
        put_u8(out, u8::from(link.up) | (u8::from(link.life.is_some()) << 1));
        put_varint(out, link.epoch);
        if let Some(life) = link.life {
            put_mono(out, scan.now, life);
        }
    }
    put_varint(out, scan.changes.len() as u64);
    for sample in scan.changes {
        put_sample(out, scan.now, sample);
    }
    put_varint(out, scan.acks.len() as u64);
    for ack in scan.acks {
        put_varint(out, ack.write);
        match ack.result {
            AckResult::Good => put_u8(out, 0),
            AckResult::Refused(status) => {
                put_u8(out, 1);
                put_varint(out, u64::from(status));
            }
            AckResult::NotSent => put_u8(out, 2),
            AckResult::Unknown => put_u8(out, 3),
        }
        put_mono(out, scan.now, ack.at);
    }
    put_varint(out, scan.commands.len() as u64);
    for order in scan.commands {
        put_varint(out, order.id);
        put_command(out, &order.command);
    }
}

/// Reads a scan; every byte must belong to it.
///
/// # Errors
/// [`Malformed`] when the bytes are not one whole scan.
pub fn decode_scan(bytes: &[u8]) -> Result<OwnedScan, Malformed> {
    let mut get = Get::new(bytes);
    let seq = get.varint()?;
    let now = Now { mono: Mono::from_nanos(get.i64()?), utc: Utc::from_nanos(get.i64()?) };
    let count = get.count(2)?;
    let mut links = Vec::with_capacity(count);
    for _ in 0..count {
        links.push(get.link(now)?);
    }
    let count = get.count(3)?;
    let mut changes = Vec::with_capacity(count);
    for _ in 0..count {
        changes.push(get.sample(now)?);
    }
    let count = get.count(3)?;
    let mut acks = Vec::with_capacity(count);
    for _ in 0..count {
        let write = get.varint()?;
        let result = match get.u8()? {
            0 => AckResult::Good,
            1 => AckResult::Refused(get.u32()?),
            2 => AckResult::NotSent,
            3 => AckResult::Unknown,
            _ => return Err(Malformed("ack")),
        };
        acks.push(Ack { write, result, at: get.mono(now)? });
    }
    let count = get.count(3)?;
    let mut commands = Vec::with_capacity(count);
    for _ in 0..count {
        commands.push(Order { id: get.varint()?, command: get.command()? });
    }
    get.end()?;
    Ok(OwnedScan { seq, now, links, changes, acks, commands })
}

fn put_sample(out: &mut Vec<u8>, now: Now, sample: &Sample) {
    put_varint(out, u64::from(sample.tag.0));
    let value = match sample.value {
        None => 0,
        Some(Value::Float(_)) => 1,
        Some(Value::Int(_)) => 2,
        Some(Value::Bool(false)) => 3,
        Some(Value::Bool(true)) => 4,
    };
    let status = match sample.status {
        Status::Good => 0,
        Status::Uncertain(_) => 1,
        Status::Bad(_) => 2,
    };
    let times =
        u8::from(sample.source_time.is_some()) | u8::from(sample.server_time.is_some()) << 1;
    put_u8(out, value | status << 3 | times << 5);
    match sample.value {
        Some(Value::Float(x)) => put_f64(out, x),
        Some(Value::Int(i)) => put_zigzag(out, i),
        None | Some(Value::Bool(_)) => {}
    }
    if let Status::Uncertain(code) | Status::Bad(code) = sample.status {
        put_varint(out, u64::from(code));
    }
    for time in [sample.source_time, sample.server_time].into_iter().flatten() {
        put_zigzag(out, now.utc.as_nanos().wrapping_sub(time.as_nanos()));
    }
    put_mono(out, now, sample.received);
}

fn put_command(out: &mut Vec<u8>, command: &Command) {
    match *command {
        Command::SetMode(id, mode) => {
            put_u8(out, 0);
            put_varint(out, u64::from(id.0));
            put_u8(out, index_of(&MODES, mode));
        }
        Command::TakeManual(id) => put_tagged_loop(out, 1, id),
        Command::Approve { proposal, expected } => {
            put_u8(out, 2);
            put_varint(out, proposal);
            put_zigzag(out, expected.count());
        }
        Command::Deny { proposal } => {
            put_u8(out, 3);
            put_varint(out, proposal);
        }
        Command::Trip(id) => put_tagged_loop(out, 4, id),
        Command::Reset(id) => put_tagged_loop(out, 5, id),
        Command::Label(label) => {
            put_u8(out, 6);
            put_zigzag(out, label.part);
            put_varint(out, u64::from(label.characteristic.0));
            put_f64(out, label.value);
        }
    }
}

fn put_tagged_loop(out: &mut Vec<u8>, kind: u8, id: LoopId) {
    put_u8(out, kind);
    put_varint(out, u64::from(id.0));
}

/// All modes, in the order of their stored number.
pub(super) const MODES: [Mode; 4] = [Mode::Off, Mode::Shadow, Mode::Advisory, Mode::Auto];

/// Place of `item` in `all`, its stored number. An item that is not listed gets 255, which no
/// reader accepts; the test `every_kind_is_listed` keeps the lists whole.
pub(super) fn index_of<T: PartialEq>(all: &[T], item: T) -> u8 {
    all.iter().position(|x| *x == item).and_then(|i| u8::try_from(i).ok()).unwrap_or(u8::MAX)
}

pub(super) fn put_u8(out: &mut Vec<u8>, x: u8) {
    out.push(x);
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut x: u64) {
    while x >= 0x80 {
        out.push((x & 0x7f) as u8 | 0x80);
        x >>= 7;
    }
    out.push(x as u8);
}

pub(super) fn put_zigzag(out: &mut Vec<u8>, x: i64) {
    put_varint(out, ((x << 1) ^ (x >> 63)) as u64);
}

pub(super) fn put_i64(out: &mut Vec<u8>, x: i64) {
    out.extend_from_slice(&x.to_le_bytes());
}

pub(super) fn put_f64(out: &mut Vec<u8>, x: f64) {
    out.extend_from_slice(&x.to_bits().to_le_bytes());
}

/// A monotonic time as its difference from the scan's.
pub(super) fn put_mono(out: &mut Vec<u8>, now: Now, at: Mono) {
    put_zigzag(out, now.mono.as_nanos().wrapping_sub(at.as_nanos()));
}

/// Reads what the `put_` functions wrote, from any bytes.
pub(super) struct Get<'a> {
    rest: &'a [u8],
}

impl<'a> Get<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("bytes left over")) }
    }

    pub(super) fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Malformed("too short"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed("too short"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn f64(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut x = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed("number too large"));
            }
            x |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(x);
            }
        }
        Err(Malformed("number too long"))
    }

    pub(super) fn zigzag(&mut self) -> Result<i64, Malformed> {
        let x = self.varint()?;
        Ok((x >> 1) as i64 ^ -((x & 1) as i64))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        u16::try_from(self.varint()?).map_err(|_| Malformed("index too large"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| Malformed("number too large"))
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("flag")),
        }
    }

    /// A list length; garbage must not make us reserve more than the bytes that are there.
    pub(super) fn count(&mut self, bytes_min: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.varint()?).map_err(|_| Malformed("list too long"))?;
        if count > self.rest.len() / bytes_min.max(1) {
            return Err(Malformed("list too long"));
        }
        Ok(count)
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T, Malformed> {
        all.get(usize::from(self.u8()?)).copied().ok_or(Malformed("unknown kind"))
    }

    pub(super) fn ticks(&mut self) -> Result<Ticks, Malformed> {
        let count = self.zigzag()?;
        let ticks = Ticks::new(count);
        if ticks.count() == count { Ok(ticks) } else { Err(Malformed("ticks out of range")) }
    }

    pub(super) fn mono(&mut self, now: Now) -> Result<Mono, Malformed> {
        Ok(Mono::from_nanos(now.mono.as_nanos().wrapping_sub(self.zigzag()?)))
    }

    fn utc(&mut self, now: Now) -> Result<Utc, Malformed> {
        Ok(Utc::from_nanos(now.utc.as_nanos().wrapping_sub(self.zigzag()?)))
    }

    fn link(&mut self, now: Now) -> Result<Link, Malformed> {
        let flags = self.u8()?;
        if flags > 3 {
            return Err(Malformed("link flags"));
        }
        let epoch = self.varint()?;
        let life = if flags & 2 == 0 { None } else { Some(self.mono(now)?) };
        Ok(Link { up: flags & 1 != 0, epoch, life })
    }

    fn sample(&mut self, now: Now) -> Result<Sample, Malformed> {
        let tag = TagId(self.u16()?);
        let flags = self.u8()?;
        let value = match flags & 7 {
            0 => None,
            1 => Some(Value::Float(self.f64()?)),
            2 => Some(Value::Int(self.zigzag()?)),
            3 => Some(Value::Bool(false)),
            4 => Some(Value::Bool(true)),
            _ => return Err(Malformed("value kind")),
        };
        let status = match flags >> 3 & 3 {
            0 => Status::Good,
            1 => Status::Uncertain(self.u32()?),
            2 => Status::Bad(self.u32()?),
            _ => return Err(Malformed("status kind")),
        };
        let times = flags >> 5;
        if times > 3 {
            return Err(Malformed("time flags"));
        }
        let source_time = if times & 1 == 0 { None } else { Some(self.utc(now)?) };
        let server_time = if times & 2 == 0 { None } else { Some(self.utc(now)?) };
        Ok(Sample { tag, value, status, source_time, server_time, received: self.mono(now)? })
    }

    fn command(&mut self) -> Result<Command, Malformed> {
        Ok(match self.u8()? {
            0 => Command::SetMode(LoopId(self.u16()?), self.one_of(&MODES)?),
            1 => Command::TakeManual(LoopId(self.u16()?)),
            2 => Command::Approve { proposal: self.varint()?, expected: self.ticks()? },
            3 => Command::Deny { proposal: self.varint()? },
            4 => Command::Trip(LoopId(self.u16()?)),
            5 => Command::Reset(LoopId(self.u16()?)),
            6 => Command::Label(Label {
                part: self.zigzag()?,
                characteristic: CharacteristicId(self.u16()?),
                value: self.f64()?,
            }),
            _ => return Err(Malformed("command")),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::journal) fn value() -> impl Strategy<Value = Option<Value>> {
        prop_oneof![
            Just(None),
            any::<f64>().prop_map(|x| Some(Value::Float(x))),
            any::<i64>().prop_map(|x| Some(Value::Int(x))),
            any::<bool>().prop_map(|x| Some(Value::Bool(x))),
        ]
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let status = prop_oneof![
            Just(Status::Good),
            any::<u32>().prop_map(Status::Uncertain),
            any::<u32>().prop_map(Status::Bad),
        ];
        let time = || proptest::option::of(any::<i64>().prop_map(Utc::from_nanos));
        (any::<u16>(), value(), status, time(), time(), any::<i64>()).prop_map(
            |(tag, value, status, source_time, server_time, received)| Sample {
                tag: TagId(tag),
                value,
                status,
                source_time,
                server_time,
                received: Mono::from_nanos(received),
            },
        )
    }

    fn ack() -> impl Strategy<Value = Ack> {
        let result = prop_oneof![
            Just(AckResult::Good),
            any::<u32>().prop_map(AckResult::Refused),
            Just(AckResult::NotSent),
            Just(AckResult::Unknown),
        ];
        (any::<u64>(), result, any::<i64>()).prop_map(|(write, result, at)| Ack {
            write,
            result,
            at: Mono::from_nanos(at),
        })
    }

    fn command() -> impl Strategy<Value = Command> {
        let id = || any::<u16>().prop_map(LoopId);
        prop_oneof![
            (id(), 0..4_usize).prop_map(|(id, m)| Command::SetMode(id, MODES[m])),
            id().prop_map(Command::TakeManual),
            (any::<u64>(), any::<i64>())
                .prop_map(|(proposal, t)| Command::Approve { proposal, expected: Ticks::new(t) }),
            any::<u64>().prop_map(|proposal| Command::Deny { proposal }),
            id().prop_map(Command::Trip),
            id().prop_map(Command::Reset),
            (any::<i64>(), any::<u16>(), any::<f64>()).prop_map(|(part, c, value)| {
                Command::Label(Label { part, characteristic: CharacteristicId(c), value })
            }),
        ]
    }

    pub(in crate::journal) fn scan() -> impl Strategy<Value = OwnedScan> {
        let link = (any::<bool>(), any::<u64>(), proptest::option::of(any::<i64>()))
            .prop_map(|(up, epoch, life)| Link { up, epoch, life: life.map(Mono::from_nanos) });
        let order = (any::<u64>(), command()).prop_map(|(id, command)| Order { id, command });
        (
            (any::<u64>(), any::<i64>(), any::<i64>()),
            proptest::collection::vec(link, 0..4),
            proptest::collection::vec(sample(), 0..20),
            proptest::collection::vec(ack(), 0..4),
            proptest::collection::vec(order, 0..4),
        )
            .prop_map(|((seq, mono, utc), links, changes, acks, commands)| OwnedScan {
                seq,
                now: Now { mono: Mono::from_nanos(mono), utc: Utc::from_nanos(utc) },
                links,
                changes,
                acks,
                commands,
            })
    }

    proptest! {
        /// What was written is what is read, bit by bit; `any::<f64>()` makes no NaN.
        #[test]
        fn a_scan_comes_back_as_it_was(scan in scan()) {
            let mut bytes = Vec::new();
            encode_scan(&scan.as_scan(), &mut bytes);
            prop_assert_eq!(decode_scan(&bytes), Ok(scan));
        }

        /// Garbage is refused or read as something, never a panic, never a huge reservation.
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(scan) = decode_scan(&bytes) {
                let mut again = Vec::new();
                encode_scan(&scan.as_scan(), &mut again);
                // Decoding what we encoded gives the same bytes once more, NaN included.
                let mut third = Vec::new();
                encode_scan(&decode_scan(&again).unwrap().as_scan(), &mut third);
                prop_assert_eq!(again, third);
            }
        }

        /// A cut scan is refused at every length.
        #[test]
        fn a_cut_scan_is_refused(scan in scan(), at in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            encode_scan(&scan.as_scan(), &mut bytes);
            let at = at.index(bytes.len());
            prop_assert!(decode_scan(&bytes[..at]).is_err());
        }
    }
}
