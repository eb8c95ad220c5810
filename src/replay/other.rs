//! A journal under another plan: the same names, other indices.

use trimloop_core::plan::{CharacteristicId, LoopId, Plan};
use trimloop_core::record::Record;
use trimloop_core::scan::{Command, Label};
use trimloop_core::tag::TagId;

use super::words::note_line;
use crate::journal::{Note, OwnedScan};
use crate::output::Names;

/// Where the recorded indices lead in the other plan, by name.
#[derive(Debug)]
pub(super) struct Translation {
    tags: Vec<Option<TagId>>,
    loops: Vec<Option<LoopId>>,
    characteristics: Vec<Option<CharacteristicId>>,
}

fn places<'a>(
    from: impl Iterator<Item = &'a String>,
    to: impl Iterator<Item = &'a String> + Clone,
) -> impl Iterator<Item = Option<u16>> {
    from.map(move |name| {
        to.clone().position(|other| other == name).and_then(|place| u16::try_from(place).ok())
    })
}

impl Translation {
    pub(super) fn new(from: &Plan, to: &Plan) -> Self {
        let tags = places(from.tags.iter().map(|x| &x.name), to.tags.iter().map(|x| &x.name));
        let loops = places(from.loops.iter().map(|x| &x.name), to.loops.iter().map(|x| &x.name));
        let of = |plan: &'_ Plan| plan.characteristics.iter().map(|x| x.name.clone()).collect();
        let (a, b): (Vec<String>, Vec<String>) = (of(from), of(to));
        Self {
            tags: tags.map(|place| place.map(TagId)).collect(),
            loops: loops.map(|place| place.map(LoopId)).collect(),
            characteristics: places(a.iter(), b.iter())
                .map(|place| place.map(CharacteristicId))
                .collect(),
        }
    }

    /// The scan as the other plan sees it: samples and orders that it has no name for are left
    /// out.
    pub(super) fn scan(&self, scan: &OwnedScan) -> OwnedScan {
        let mut out = scan.clone();
        out.changes.retain_mut(|sample| {
            let place = self.tags.get(sample.tag.index()).copied().flatten();
            place.is_some_and(|tag| {
                sample.tag = tag;
                true
            })
        });
        out.commands.retain_mut(|order| {
            let command = self.command(order.command);
            command.is_some_and(|command| {
                order.command = command;
                true
            })
        });
        out
    }

    fn command(&self, command: Command) -> Option<Command> {
        let of = |id: LoopId| self.loops.get(id.index()).copied().flatten();
        Some(match command {
            Command::SetMode(id, mode) => Command::SetMode(of(id)?, mode),
            Command::TakeManual(id) => Command::TakeManual(of(id)?),
            Command::Trip(id) => Command::Trip(of(id)?),
            Command::Reset(id) => Command::Reset(of(id)?),
            Command::Label(label) => {
                let place = self.characteristics.get(label.characteristic.index());
                Command::Label(Label { characteristic: place.copied().flatten()?, ..label })
            }
            // Proposals are numbered by the plan that made them.
            command @ (Command::Approve { .. } | Command::Deny { .. }) => command,
        })
    }
}

/// What people would see of a step: writes, decisions, proposals, events.
pub(super) fn decided(notes: &[Note], names: &Names, boot: u64) -> Vec<String> {
    notes
        .iter()
        .filter(|note| match note {
            Note::Write(_) | Note::Ask(_) | Note::Event(_) => true,
            Note::Record(record) => matches!(record, Record::Decision(_)),
            Note::Heartbeat(..) => false,
        })
        .map(|note| note_line(note, names, boot))
        .collect()
}
