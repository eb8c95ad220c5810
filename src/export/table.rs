//! What can be selected, the columns it has, and its rows.

use clap::ValueEnum;
use rusqlite::Row;

use super::archive::{Archive, Db, ReadError, Tag, within_day};
use super::rolled::{Bucket, Sampled, buckets, number, samples};
use super::{Cell, Column, Kind, Sheet};
use crate::store::fold::{HOUR, MINUTE, SECOND};

/// Time of other rows that one transaction reads.
const SLICE: i64 = HOUR;
/// Set in a sample's quality when the receive time stands for its source time.
pub(super) const CLOCK_FLAG: i64 = 1 << 32;
/// The same, when it was read from the PLC's own history after a gap.
const BACKFILL_FLAG: i64 = 1 << 33;

/// What is selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Values of tags, raw or rolled up
    #[default]
    Samples,
    /// Finished parts
    Parts,
    /// Features of parts
    Features,
    /// Scores of parts
    Scores,
    /// Large contributions to scores
    Contributions,
    /// Forecasts of scores and predictions
    Forecasts,
    /// Measured quality of parts
    Labels,
    /// Decisions of the guard
    Decisions,
    /// The ledger of writes
    Writes,
    /// What happened
    Events,
    /// Who asked for what, and why
    Audit,
}

/// How samples are summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Every {
    /// Every sample
    #[default]
    Raw,
    /// One second
    #[value(name = "1s")]
    Second,
    /// One minute
    #[value(name = "1m", alias = "1min")]
    Minute,
    /// One hour
    #[value(name = "1h")]
    Hour,
}

impl Every {
    /// Length of a bucket [ns].
    #[must_use]
    pub fn step(self) -> Option<i64> {
        match self {
            Self::Raw => None,
            Self::Second => Some(SECOND),
            Self::Minute => Some(MINUTE),
            Self::Hour => Some(HOUR),
        }
    }
}

/// How tags become columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// A row for each time and tag
    #[default]
    Long,
    /// A row for each time, a column for each tag
    Wide,
}

/// What of a bucket stands in a wide table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Statistic {
    /// Smallest
    Min,
    /// Largest
    Max,
    /// Mean
    Mean,
    /// How many samples
    Count,
}

impl Statistic {
    fn word(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Count => "count",
        }
    }

    fn of(self, bucket: &Bucket) -> Cell<'static> {
        match self {
            Self::Min => bucket.min.clone(),
            Self::Max => bucket.max.clone(),
            Self::Mean => bucket.mean.map_or(Cell::Null, Cell::Float),
            Self::Count => Cell::Int(bucket.count),
        }
    }
}

/// Where the names of a kind of rows stand.
pub(super) enum NamesOf {
    Kind(&'static str),
    Column(&'static str, &'static str),
    None,
}

impl What {
    /// Word for messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Parts => "parts",
            Self::Features => "features",
            Self::Scores => "scores",
            Self::Contributions => "contributions",
            Self::Forecasts => "forecasts",
            Self::Labels => "labels",
            Self::Decisions => "decisions",
            Self::Writes => "writes",
            Self::Events => "events",
            Self::Audit => "audit entries",
        }
    }

    /// What its names name; empty when it has none.
    #[must_use]
    pub fn name_word(self) -> &'static str {
        match self {
            Self::Samples => "tag",
            Self::Features => "feature",
            Self::Scores | Self::Contributions | Self::Forecasts => "model",
            Self::Labels => "characteristic",
            Self::Decisions => "loop",
            Self::Writes => "setpoint",
            Self::Events => "event code",
            Self::Parts | Self::Audit => "",
        }
    }

    pub(super) fn names(self) -> NamesOf {
        match self {
            Self::Samples => NamesOf::Kind("tag"),
            Self::Features => NamesOf::Kind("feature"),
            Self::Scores | Self::Contributions | Self::Forecasts => NamesOf::Kind("model"),
            Self::Labels => NamesOf::Kind("characteristic"),
            Self::Decisions => NamesOf::Column("decision", "loop"),
            Self::Writes => NamesOf::Column("ledger", "setpoint"),
            Self::Events => NamesOf::Column("event", "code"),
            Self::Parts | Self::Audit => NamesOf::None,
        }
    }

    /// Table and its column of time.
    pub(super) fn table(self) -> (&'static str, &'static str) {
        match self {
            Self::Samples => ("sample", "ts"),
            Self::Parts => ("part", "ts"),
            Self::Features => ("feature", "ts"),
            Self::Scores => ("score", "ts"),
            Self::Contributions => ("contribution", "ts"),
            Self::Forecasts => ("forecast", "ts"),
            Self::Labels => ("label", "ts"),
            Self::Decisions => ("decision", "utc"),
            Self::Writes => ("ledger", "utc"),
            Self::Events => ("event", "utc"),
            Self::Audit => ("audit", "utc"),
        }
    }

    pub(super) fn is_in_state(self) -> bool {
        matches!(self, Self::Decisions | Self::Writes | Self::Events | Self::Audit)
    }

    /// Whether a column for each name makes sense.
    #[must_use]
    pub fn can_be_wide(self) -> bool {
        matches!(self, Self::Samples | Self::Features)
    }

    /// Columns after the time: name, kind; the one with names is marked.
    fn columns(self) -> &'static [(&'static str, Kind, bool)] {
        use Kind::{Bool, Int, Number, Text};
        match self {
            Self::Samples | Self::Features => &[
                ("part", Int, false),
                ("feature", Text, true),
                ("unit", Text, false),
                ("value", Number, false),
                ("coverage", Number, false),
            ],
            Self::Parts => &[
                ("boot", Int, false),
                ("number", Int, false),
                ("part", Int, false),
                ("began [s]", Number, false),
                ("ended [s]", Number, false),
                ("warm_up", Bool, false),
                ("mixed", Bool, false),
                ("gap", Bool, false),
            ],
            Self::Scores => &[
                ("part", Int, false),
                ("model", Text, true),
                ("value", Number, false),
                ("low", Number, false),
                ("high", Number, false),
                ("in_domain", Bool, false),
                ("alarm", Bool, false),
            ],
            Self::Contributions => &[
                ("part", Int, false),
                ("model", Text, true),
                ("rank", Int, false),
                ("feature", Text, false),
                ("share", Number, false),
                ("z", Number, false),
            ],
            Self::Forecasts => &[
                ("part", Int, false),
                ("model", Text, true),
                ("forecast", Number, false),
                ("forecast_low", Number, false),
                ("forecast_high", Number, false),
                ("time_to_limit", Number, false),
                ("time_to_limit_p10", Number, false),
                ("time_to_limit_p90", Number, false),
                ("trend", Text, false),
            ],
            Self::Labels => &[
                ("part", Int, false),
                ("characteristic", Text, true),
                ("unit", Text, false),
                ("value", Number, false),
                ("used", Bool, false),
            ],
            Self::Decisions => &[
                ("boot", Int, false),
                ("number", Int, false),
                ("part", Int, false),
                ("loop", Text, true),
                ("mode", Text, false),
                ("rung", Text, false),
                ("desired", Number, false),
                ("limited", Number, false),
                ("read_back", Number, false),
                ("outcome", Text, false),
                ("reason", Text, false),
                ("cut", Text, false),
                ("failed", Int, false),
                ("write", Int, false),
            ],
            Self::Writes => &[
                ("boot", Int, false),
                ("write", Int, false),
                ("setpoint", Text, true),
                ("fate", Text, false),
                ("desired", Number, false),
                ("limited", Number, false),
                ("sent", Number, false),
                ("read_back", Number, false),
                ("acknowledged [ms]", Number, false),
                ("confirmed [ms]", Number, false),
                ("status", Int, false),
            ],
            Self::Events => &[
                ("boot", Int, false),
                ("part", Int, false),
                ("code", Text, true),
                ("subject", Text, false),
                ("detail", Text, false),
                ("sentence", Text, false),
                ("id", Text, false),
            ],
            Self::Audit => &[
                ("seq", Int, false),
                ("boot", Int, false),
                ("order", Int, false),
                ("actor", Text, false),
                ("what", Text, false),
                ("reason", Text, false),
            ],
        }
    }

    /// The rows, time first, then [`Self::columns`].
    fn sql(self) -> &'static str {
        match self {
            Self::Samples | Self::Features => {
                "SELECT r.ts, r.part, n.name, n.unit, r.value, r.coverage
                 FROM feature r LEFT JOIN name n ON n.id = r.feature
                 WHERE r.ts >= ?1 AND r.ts < ?2 ORDER BY r.ts, r.part, r.feature"
            }
            Self::Parts => {
                "SELECT ts, boot, number, part, began / 1e9, ended / 1e9, warm_up, mixed, gap
                 FROM part WHERE ts >= ?1 AND ts < ?2 ORDER BY ts, boot, number"
            }
            Self::Scores => {
                "SELECT r.ts, r.part, n.name, r.value, r.low, r.high, r.in_domain, r.alarm
                 FROM score r LEFT JOIN name n ON n.id = r.model
                 WHERE r.ts >= ?1 AND r.ts < ?2 ORDER BY r.ts, r.part, r.model"
            }
            Self::Contributions => {
                "SELECT r.ts, r.part, n.name, r.rank, f.name, r.share, r.z
                 FROM contribution r LEFT JOIN name n ON n.id = r.model
                 LEFT JOIN name f ON f.id = r.feature
                 WHERE r.ts >= ?1 AND r.ts < ?2 ORDER BY r.ts, r.part, r.model, r.rank"
            }
            Self::Forecasts => {
                "SELECT r.ts, r.part, n.name, r.value, r.low, r.high, r.to_limit, r.early, r.late,
                   r.trend
                 FROM forecast r LEFT JOIN name n ON n.id = r.model
                 WHERE r.ts >= ?1 AND r.ts < ?2 ORDER BY r.ts, r.part, r.model"
            }
            Self::Labels => {
                "SELECT r.ts, r.part, n.name, n.unit, r.value, r.used
                 FROM label r LEFT JOIN name n ON n.id = r.characteristic
                 WHERE r.ts >= ?1 AND r.ts < ?2 ORDER BY r.ts, r.part, r.characteristic"
            }
            Self::Decisions => {
                "SELECT utc, boot, number, part, loop, mode, rung, desired, limited, read_back,
                   outcome, reason, cut, failed, write
                 FROM decision WHERE utc >= ?1 AND utc < ?2 ORDER BY utc, boot, number"
            }
            Self::Writes => {
                "SELECT utc, boot, write, setpoint, fate, desired, limited, sent, read_back,
                   (acknowledged - issued) / 1e6, (confirmed - issued) / 1e6, status
                 FROM ledger WHERE utc >= ?1 AND utc < ?2 ORDER BY utc, id"
            }
            Self::Events => {
                "SELECT utc, boot, part, code, subject, detail, sentence,
                   'e' || boot || '-' || number
                 FROM event WHERE utc >= ?1 AND utc < ?2 ORDER BY utc, id"
            }
            Self::Audit => {
                "SELECT utc, seq, boot, orders, actor, what, reason
                 FROM audit WHERE utc >= ?1 AND utc < ?2 ORDER BY utc, seq"
            }
        }
    }
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Which rows.
    pub what: What,
    /// Names with their units, in the order of columns; all rows when there are none to name.
    pub names: Vec<(String, String)>,
    /// From this time on [ns UTC].
    pub from: i64,
    /// Before this time [ns UTC].
    pub to: i64,
    /// How samples are summed up.
    pub every: Every,
    /// How tags become columns.
    pub shape: Shape,
    /// What of a bucket stands in a wide table.
    pub statistics: Vec<Statistic>,
}

/// Writes the selected rows into a sheet.
pub struct WriteTable<'a> {
    selection: &'a Selection,
    rows: u64,
}

type EachRow<'e, 'a> = &'e mut dyn FnMut(&mut WriteTable<'a>, &[Cell<'_>]) -> Result<(), ReadError>;

impl<'a> WriteTable<'a> {
    /// Before its first row.
    #[must_use]
    pub fn new(selection: &'a Selection) -> Self {
        Self { selection, rows: 0 }
    }

    /// The table's columns.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        let s = self.selection;
        let digits = match (s.what, s.every) {
            (What::Samples, Every::Raw) => 9,
            (What::Samples, _) => 0,
            _ => 3,
        };
        let mut columns = vec![Column::new("time", Kind::Time(digits))];
        let own = |list: &[(&str, Kind)]| -> Vec<Column> {
            list.iter().map(|(name, kind)| Column::new(name, *kind)).collect()
        };
        match (s.what, s.shape, s.every) {
            (What::Samples, Shape::Long, Every::Raw) => columns.extend(own(&[
                ("tag", Kind::Text),
                ("unit", Kind::Text),
                ("value", Kind::Number),
                ("quality", Kind::Text),
                ("status", Kind::Int),
                ("stamp", Kind::Text),
            ])),
            (What::Samples, Shape::Long, _) => columns.extend(own(&[
                ("tag", Kind::Text),
                ("unit", Kind::Text),
                ("min", Kind::Number),
                ("max", Kind::Number),
                ("mean", Kind::Number),
                ("count", Kind::Int),
                ("quality", Kind::Text),
                ("status", Kind::Int),
            ])),
            (What::Samples, Shape::Wide, Every::Raw) => {
                let tags = s.names.iter();
                columns.extend(tags.map(|(name, unit)| Column::of_unit(name, unit, Kind::Number)));
            }
            (What::Samples, Shape::Wide, _) => {
                for (name, unit) in &s.names {
                    for statistic in &s.statistics {
                        columns.push(statistic_column(name, unit, *statistic, &s.statistics));
                    }
                }
            }
            (_, Shape::Wide, _) => {
                columns.push(Column::new("part", Kind::Int));
                let names = s.names.iter();
                columns.extend(names.map(|(name, unit)| Column::of_unit(name, unit, Kind::Number)));
            }
            (what, Shape::Long, _) => {
                let own = what.columns().iter();
                columns.extend(own.map(|(name, kind, _)| Column::new(name, *kind)));
            }
        }
        columns
    }

    /// Writes all rows; their number.
    ///
    /// # Errors
    /// [`ReadError`] when a file cannot be read or the sheet cannot be written.
    pub fn run(mut self, archive: &Archive, sheet: &mut dyn Sheet) -> Result<u64, ReadError> {
        let s = self.selection;
        match (s.what, s.shape) {
            (What::Samples, shape) => {
                let own = |(name, unit): &(String, String)| Tag {
                    name: name.clone(),
                    unit: unit.clone(),
                };
                let tags: Vec<Tag> = s.names.iter().map(own).collect();
                match shape {
                    Shape::Long => self.long(archive, &tags, sheet)?,
                    Shape::Wide => self.wide(archive, &tags, sheet)?,
                }
            }
            (_, Shape::Wide) => self.wide_features(archive, sheet)?,
            (_, Shape::Long) => self.others(archive, &mut |this, cells| this.put(sheet, cells))?,
        }
        Ok(self.rows)
    }

    fn put(&mut self, sheet: &mut dyn Sheet, cells: &[Cell<'_>]) -> Result<(), ReadError> {
        self.rows += 1;
        Ok(sheet.row(cells)?)
    }

    fn long(
        &mut self,
        archive: &Archive,
        tags: &[Tag],
        sheet: &mut dyn Sheet,
    ) -> Result<(), ReadError> {
        let s = self.selection;
        let range = (s.from, s.to);
        let of = |tag: usize| {
            tags.get(tag).map_or(("", ""), |tag| (tag.name.as_str(), tag.unit.as_str()))
        };
        if s.every == Every::Raw {
            return samples(archive, tags, range, &mut |sampled: Sampled| {
                let (name, unit) = of(sampled.tag);
                let stamp = stamp_word(sampled.quality);
                let cells = [
                    Cell::Time(sampled.ts),
                    Cell::Text(name.into()),
                    Cell::Text(unit.into()),
                    sampled.value,
                    Cell::Text(quality_word(sampled.quality).into()),
                    Cell::Int(sampled.quality & 0xFFFF_FFFF),
                    Cell::Text(stamp.into()),
                ];
                self.put(sheet, &cells)
            });
        }
        buckets(archive, s.every, tags, range, &mut |bucket: Bucket| {
            let (name, unit) = of(bucket.tag);
            let cells = [
                Cell::Time(bucket.ts),
                Cell::Text(name.into()),
                Cell::Text(unit.into()),
                bucket.min,
                bucket.max,
                bucket.mean.map_or(Cell::Null, Cell::Float),
                Cell::Int(bucket.count),
                Cell::Text(quality_word(bucket.quality).into()),
                Cell::Int(bucket.quality),
            ];
            self.put(sheet, &cells)
        })
    }

    /// Values of Bad quality are left out: a column has no room to say so.
    fn wide(
        &mut self,
        archive: &Archive,
        tags: &[Tag],
        sheet: &mut dyn Sheet,
    ) -> Result<(), ReadError> {
        let s = self.selection;
        let range = (s.from, s.to);
        let per_tag = if s.every == Every::Raw { 1 } else { s.statistics.len() };
        let mut line = Line::new(1, tags.len() * per_tag);
        if s.every == Every::Raw {
            samples(archive, tags, range, &mut |sampled: Sampled| {
                if let Some(row) = line.begin(&[Cell::Time(sampled.ts)]) {
                    self.put(sheet, &row)?;
                }
                if quality_word(sampled.quality) != "bad" {
                    line.set(sampled.tag, sampled.value);
                }
                Ok(())
            })?;
        } else {
            buckets(archive, s.every, tags, range, &mut |bucket: Bucket| {
                if let Some(row) = line.begin(&[Cell::Time(bucket.ts)]) {
                    self.put(sheet, &row)?;
                }
                for (place, statistic) in s.statistics.iter().enumerate() {
                    line.set(bucket.tag.saturating_mul(per_tag) + place, statistic.of(&bucket));
                }
                Ok(())
            })?;
        }
        line.end().map_or(Ok(()), |row| self.put(sheet, &row))
    }

    fn wide_features(&mut self, archive: &Archive, sheet: &mut dyn Sheet) -> Result<(), ReadError> {
        let s = self.selection;
        let mut line = Line::new(2, s.names.len());
        self.others(archive, &mut |this, cells| {
            let [time, part, Cell::Text(name), _, value, _] = cells else { return Ok(()) };
            if let Some(row) = line.begin(&[own(time), own(part)]) {
                this.put(sheet, &row)?;
            }
            if let Some(place) = s.names.iter().position(|(known, _)| known == name) {
                line.set(place, own(value));
            }
            Ok(())
        })?;
        line.end().map_or(Ok(()), |row| self.put(sheet, &row))
    }

    /// Rows of any kind but samples.
    fn others(&mut self, archive: &Archive, each: EachRow<'_, 'a>) -> Result<(), ReadError> {
        let s = self.selection;
        if s.what.is_in_state() {
            let Some(state) = archive.state()? else { return Ok(()) };
            return self.of_file(&state, (s.from, s.to), each);
        }
        for day in archive.days_in(s.from, s.to) {
            let Some(file) = archive.day(&day)? else { continue };
            self.of_file(&file, within_day(&day, s.from, s.to), each)?;
        }
        Ok(())
    }

    fn of_file(
        &mut self,
        file: &Db,
        (from, to): (i64, i64),
        each: EachRow<'_, 'a>,
    ) -> Result<(), ReadError> {
        let s = self.selection;
        let (table, time) = s.what.table();
        if !file.has_table(table)? {
            return Ok(());
        }
        let columns = s.what.columns();
        let named = columns.iter().position(|(_, _, is_name)| *is_name);
        file.sliced((table, time), s.what.sql(), (from, to, SLICE), &mut |row| {
            let cells = file.read(cells(row, columns))?;
            let name = named.and_then(|place| cells.get(place + 1));
            let wanted = match name {
                Some(Cell::Text(name)) => s.names.iter().any(|(known, _)| known == name),
                Some(_) => false,
                None => true,
            };
            if wanted { each(self, &cells) } else { Ok(()) }
        })
    }
}

fn own(cell: &Cell<'_>) -> Cell<'static> {
    match cell {
        Cell::Null => Cell::Null,
        Cell::Time(ts) => Cell::Time(*ts),
        Cell::Int(i) => Cell::Int(*i),
        Cell::Float(x) => Cell::Float(*x),
        Cell::Text(text) => Cell::Text(text.to_string().into()),
        Cell::Bool(b) => Cell::Bool(*b),
    }
}

fn cells(row: &Row<'_>, columns: &[(&str, Kind, bool)]) -> rusqlite::Result<Vec<Cell<'static>>> {
    let mut cells = vec![Cell::Time(row.get(0)?)];
    for (place, (_, kind, _)) in columns.iter().enumerate() {
        let place = place + 1;
        let text = |text: Option<String>| text.map_or(Cell::Null, |text| Cell::Text(text.into()));
        cells.push(match kind {
            Kind::Text => text(row.get(place)?),
            Kind::Bool => row.get::<_, Option<bool>>(place)?.map_or(Cell::Null, Cell::Bool),
            Kind::Int | Kind::Number | Kind::Time(_) => number(row.get_ref(place)?),
        });
    }
    Ok(cells)
}

fn statistic_column(name: &str, unit: &str, statistic: Statistic, all: &[Statistic]) -> Column {
    let name = match all {
        [_] => name.to_owned(),
        _ => format!("{name} {}", statistic.word()),
    };
    match statistic {
        Statistic::Count => Column::new(&name, Kind::Int),
        _ => Column::of_unit(&name, unit, Kind::Number),
    }
}

/// `good`, `uncertain` or `bad`, from the two highest bits of an OPC UA status code.
fn stamp_word(quality: i64) -> &'static str {
    match quality {
        _ if quality & BACKFILL_FLAG != 0 => "backfill",
        _ if quality & CLOCK_FLAG != 0 => "receive",
        _ => "source",
    }
}

fn quality_word(quality: i64) -> &'static str {
    match (quality >> 30) & 3 {
        0 => "good",
        1 => "uncertain",
        _ => "bad",
    }
}

/// A row of a wide table that is being filled.
struct Line {
    cells: Vec<Cell<'static>>,
    keys: usize,
    begun: bool,
}

impl Line {
    fn new(keys: usize, columns: usize) -> Self {
        Self { cells: vec![Cell::Null; keys + columns], keys, begun: false }
    }

    /// Begins the row of `key`, unless it is the one that is being filled; the row before.
    fn begin(&mut self, key: &[Cell<'static>]) -> Option<Vec<Cell<'static>>> {
        if self.begun && self.cells.get(..self.keys) == Some(key) {
            return None;
        }
        let before = self.end();
        self.begun = true;
        for (cell, key) in self.cells.iter_mut().zip(key) {
            *cell = key.clone();
        }
        before
    }

    fn set(&mut self, column: usize, value: Cell<'static>) {
        if let Some(cell) = self.cells.get_mut(self.keys.saturating_add(column)) {
            *cell = value;
        }
    }

    fn end(&mut self) -> Option<Vec<Cell<'static>>> {
        let begun = std::mem::take(&mut self.begun);
        let empty = vec![Cell::Null; self.cells.len()];
        begun.then(|| std::mem::replace(&mut self.cells, empty))
    }
}
