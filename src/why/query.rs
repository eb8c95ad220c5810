//! Look-ups.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use sha2::{Digest as _, Sha256};

use trimloop_core::guard::{FailedChecks, Reason};
use trimloop_core::plan::{Controller, Plan};
use trimloop_core::time::{Span, Utc};

use super::dto::{
    Check, Contribution, Effect, EventRow, Feature, Input, Label, LedgerStep, Model, Order, Score,
    Why, Wish,
};
use super::{Question, WhyError};
use crate::journal::{hex, kept_plan};
use crate::output::{RecordId, RecordKind, day_text, utc_text};

/// Earlier decisions of the loop that are looked at for evidence.
const BACK: usize = 5000;
/// An order's audit entry may be written a moment after its first effect.
const AUDIT_LAG: Span = Span::from_secs(6);

/// Answers a question from the data folder `data`.
///
/// # Errors
/// [`WhyError`] when there is no such record, or the store cannot be read.
pub fn why(data: &Path, question: &Question) -> Result<Why, WhyError> {
    let path = data.join("state.db");
    if !path.is_file() {
        return Err(WhyError::NoStore(path));
    }
    let state = open(&path)?;
    let found = Look { data, state: &state }.answer(question);
    found.map_err(|error| match error {
        Lost::Sql(source) => WhyError::Read { path, source },
        Lost::Nothing(what, known) => WhyError::Nothing { what, known },
    })
}

fn open(path: &Path) -> Result<Connection, WhyError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .map_err(|source| WhyError::Read { path: path.to_owned(), source })
}

enum Lost {
    Sql(rusqlite::Error),
    Nothing(String, String),
}

impl From<rusqlite::Error> for Lost {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// A decision as stored.
struct Decision {
    boot: i64,
    number: i64,
    utc: i64,
    part: i64,
    loop_name: String,
    desired: Option<f64>,
    limited: Option<f64>,
    read_back: Option<f64>,
    outcome: String,
    reason: Option<String>,
    write: Option<i64>,
    failed: u32,
    cut: String,
    mode: String,
    rung: String,
}

const DECISION: &str = "boot, number, utc, part, loop, desired, limited, read_back, outcome, \
                        reason, write, failed, cut, mode, rung";

impl Decision {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            boot: row.get(0)?,
            number: row.get(1)?,
            utc: row.get(2)?,
            part: row.get(3)?,
            loop_name: row.get(4)?,
            desired: row.get(5)?,
            limited: row.get(6)?,
            read_back: row.get(7)?,
            outcome: row.get(8)?,
            reason: row.get(9)?,
            write: row.get(10)?,
            failed: row.get(11)?,
            cut: row.get(12)?,
            mode: row.get(13)?,
            rung: row.get(14)?,
        })
    }

    fn moved(&self) -> Option<i64> {
        self.write.filter(|_| matches!(self.outcome.as_str(), "write" | "return"))
    }
}

struct Look<'a> {
    data: &'a Path,
    state: &'a Connection,
}

impl Look<'_> {
    fn answer(&self, question: &Question) -> Result<Why, Lost> {
        let mut out = Why::default();
        let decision = match question {
            Question::Id(id) => match id.kind {
                RecordKind::Write => Some(self.of_write(*id)?),
                RecordKind::Decision => Some(self.of_number(*id)?),
                RecordKind::Event => self.of_event(*id, &mut out)?,
            },
            Question::At(utc, loop_name) => Some(self.at(*utc, loop_name.as_deref())?),
        };
        let Some(decision) = decision else {
            let boot = out.start;
            self.boot(boot, &mut out)?;
            return Ok(out);
        };
        let plan = self.boot(decision.boot, &mut out)?;
        let plan = plan.as_ref();
        self.decision(&decision, plan, &mut out);
        self.history(&decision, plan, &mut out)?;
        self.people(&decision, &mut out)?;
        self.ledger(&decision, &mut out)?;
        self.events(&decision, &mut out)?;
        Ok(out)
    }

    fn one(&self, tail: &str, params: impl rusqlite::Params) -> Result<Option<Decision>, Lost> {
        let sql = format!("SELECT {DECISION} FROM decision {tail}");
        Ok(self.state.query_row(&sql, params, Decision::of).optional()?)
    }

    fn of_write(&self, id: RecordId) -> Result<Decision, Lost> {
        let (boot, write) = (id.boot.cast_signed(), id.number.cast_signed());
        let tail = "WHERE boot = ? AND write = ? AND outcome IN ('write', 'return')";
        match self.one(tail, (boot, write))? {
            Some(decision) => Ok(decision),
            None => Err(self.nothing(id, "ledger", "write")?),
        }
    }

    fn of_number(&self, id: RecordId) -> Result<Decision, Lost> {
        let place = (id.boot.cast_signed(), id.number.cast_signed());
        match self.one("WHERE boot = ? AND number = ?", place)? {
            Some(decision) => Ok(decision),
            None => Err(self.nothing(id, "decision", "number")?),
        }
    }

    /// The decision that an event belongs to: of the same scan, else the last of its loop.
    fn of_event(&self, id: RecordId, out: &mut Why) -> Result<Option<Decision>, Lost> {
        let boot = id.boot.cast_signed();
        let found = self
            .state
            .query_row(
                "SELECT boot, number, utc, code, subject, detail, sentence FROM event
                 WHERE boot = ? AND number = ?",
                (boot, id.number.cast_signed()),
                event_row,
            )
            .optional()?;
        let Some((utc, event)) = found else {
            return Err(self.nothing(id, "event", "number")?);
        };
        let subject = event.subject.clone();
        (out.event, out.start, out.utc) = (Some(event), boot, utc_text(Utc::from_nanos(utc)));
        // A setpoint is told by the loop that moves it: the ledger knows its last write.
        let same =
            "WHERE boot = ?1 AND utc = ?2 AND (loop = ?3 OR ?3 = '') ORDER BY number DESC LIMIT 1";
        if let Some(decision) = self.one(same, (boot, utc, &subject))? {
            return Ok(Some(decision));
        }
        let last = "WHERE boot = ?1 AND utc <= ?2 AND loop = ?3 ORDER BY number DESC LIMIT 1";
        if let Some(decision) = self.one(last, (boot, utc, &subject))? {
            return Ok(Some(decision));
        }
        let write: Option<i64> = self
            .state
            .query_row(
                "SELECT write FROM ledger WHERE boot = ? AND setpoint = ? AND utc <= ?
                 ORDER BY id DESC LIMIT 1",
                (boot, &subject, utc),
                |row| row.get(0),
            )
            .optional()?;
        let Some(write) = write else { return Ok(None) };
        let tail = "WHERE boot = ? AND write = ? AND outcome IN ('write', 'return')";
        self.one(tail, (boot, write))
    }

    fn at(&self, utc: Utc, loop_name: Option<&str>) -> Result<Decision, Lost> {
        let tail = "WHERE utc <= ?1 AND (?2 IS NULL OR loop = ?2) ORDER BY utc DESC, number DESC
                    LIMIT 1";
        if let Some(decision) = self.one(tail, (utc.as_nanos(), loop_name))? {
            return Ok(decision);
        }
        let of_loop = loop_name.map_or(String::new(), |name| format!(" of loop \"{name}\""));
        let what = format!("there is no decision{of_loop} at or before {}", utc_text(utc));
        let first = self.one("ORDER BY utc LIMIT 1", ())?;
        let mut loops = self.state.prepare("SELECT DISTINCT loop FROM decision ORDER BY loop")?;
        let loops: Vec<String> =
            loops.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let known = first.map_or_else(
            || "there is no decision at all yet".to_owned(),
            |first| {
                let first = utc_text(Utc::from_nanos(first.utc));
                format!("the first is of {first}; loops: {}", loops.join(", "))
            },
        );
        Err(Lost::Nothing(what, known))
    }

    /// What ids there are.
    fn nothing(&self, id: RecordId, table: &str, column: &str) -> Result<Lost, Lost> {
        let what = format!("there is no {} {id}", id.kind.word());
        let sql = format!(
            "SELECT boot, min({column}), max({column}), min(utc), max(utc) FROM {table}
             WHERE {column} IS NOT NULL GROUP BY boot ORDER BY boot DESC"
        );
        let mut statement = self.state.prepare(&sql)?;
        let ranges: Vec<(i64, i64, i64, i64, i64)> = statement
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let name = |boot: i64, number: i64| {
            RecordId { boot: boot.unsigned_abs(), number: number.unsigned_abs(), ..id }.to_string()
        };
        let said = |(boot, low, high, from, to): &(i64, i64, i64, i64, i64)| {
            let at = |nanos: i64| utc_text(Utc::from_nanos(nanos));
            format!(
                "{} to {} ({} to {})",
                name(*boot, *low),
                name(*boot, *high),
                at(*from),
                at(*to)
            )
        };
        let own = ranges.iter().find(|range| range.0 == id.boot.cast_signed());
        let known = match (own, ranges.is_empty()) {
            (Some(own), _) => format!("of start {} there are {}", id.boot, said(own)),
            (None, true) => format!("there is no {} at all yet", id.kind.word()),
            (None, false) => {
                let list: Vec<String> = ranges.iter().take(5).map(said).collect();
                let more = if ranges.len() > 5 { ", and older ones" } else { "" };
                format!("there are {}{more}", list.join(", "))
            }
        };
        Ok(Lost::Nothing(what, known))
    }

    /// The start, and the plan it ran, where that is kept.
    fn boot(&self, boot: i64, out: &mut Why) -> Result<Option<Plan>, Lost> {
        out.start = boot;
        let found = self
            .state
            .query_row(
                "SELECT node, version, recipe, revision, plan_hash FROM boot WHERE boot = ?",
                [boot],
                |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get::<_, Vec<u8>>(4)?)),
            )
            .optional()?;
        let Some((node, version, recipe, revision, hash)) = found else { return Ok(None) };
        (out.node, out.trimloop, out.recipe, out.revision) = (node, version, recipe, revision);
        out.plan = hex(&hash);
        let Ok(hash) = <[u8; 32]>::try_from(hash) else { return Ok(None) };
        let Ok(bound) = kept_plan(&self.data.join("journal"), &hash) else { return Ok(None) };
        out.models = bound
            .plan
            .models
            .iter()
            .filter(|model| model.hash != [0; 32])
            .map(|model| Model {
                name: model.name.clone(),
                sha256: hex(&model.hash),
                approved_by: None,
            })
            .collect();
        for model in &mut out.models {
            model.approved_by = self.approval(&model.sha256)?;
        }
        let recipe = bound.files.iter().find(|file| file.path.starts_with("recipes/"));
        out.recipe_sha256 = recipe.map(|file| hex(&Sha256::digest(&file.bytes)));
        Ok(Some(bound.plan))
    }

    /// Who approved a model, by the beginning of its hash, as `trimloop model approve` notes it.
    fn approval(&self, sha256: &str) -> Result<Option<Order>, Lost> {
        let short = sha256.get(..12).unwrap_or(sha256);
        let found = self.state.query_row(
            "SELECT seq, utc, actor, what, reason FROM audit
             WHERE what LIKE 'model % ' || ? || ': % to approved' ORDER BY seq DESC LIMIT 1",
            [short],
            order_row,
        );
        Ok(found.optional()?)
    }

    fn decision(&self, of: &Decision, plan: Option<&Plan>, out: &mut Why) {
        let id = |number: i64| (of.boot.unsigned_abs(), number.unsigned_abs());
        let (boot, number) = id(of.number);
        out.decision = Some(RecordId::decision(boot, number).to_string());
        out.write = of.moved().map(|write| RecordId::write(boot, id(write).1).to_string());
        out.utc = utc_text(Utc::from_nanos(of.utc));
        out.part = of.part;
        out.loop_name.clone_from(&of.loop_name);
        (out.desired, out.limited, out.read_back) = (of.desired, of.limited, of.read_back);
        (out.mode, out.rung, out.cut) = (of.mode.clone(), of.rung.clone(), of.cut.clone());
        (out.outcome, out.reason) = (of.outcome.clone(), of.reason.clone());
        let failed = FailedChecks::from_bits(of.failed);
        let words = Reason::ALL.into_iter().filter(|reason| failed.contains(*reason));
        out.failed = words.map(|reason| reason.word().to_owned()).collect();
        let setpoint = plan.and_then(|plan| {
            let of_loop = plan.loops.iter().find(|l| l.name == of.loop_name)?;
            plan.setpoints.get(of_loop.setpoint.index())
        });
        out.decimals = 3;
        if let Some(setpoint) = setpoint {
            out.setpoint.clone_from(&setpoint.name);
            out.unit.clone_from(&setpoint.unit);
            out.decimals = usize::from(setpoint.grid.decimals());
        }
    }

    /// Evidence, features, scores and labels, from the files of that day and the day before.
    fn history(&self, of: &Decision, plan: Option<&Plan>, out: &mut Why) -> Result<(), Lost> {
        let path = self.day(of.utc);
        if !path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let aside = name.replace(".db", ".db.damaged");
            let damaged = std::fs::read_dir(self.data)
                .into_iter()
                .flatten()
                .flatten()
                .any(|file| file.file_name().to_string_lossy().starts_with(&aside));
            let why = if damaged { "is damaged and was set aside" } else { "is no longer kept" };
            out.missing = Some(format!("{name} {why}: {}", self.in_journal(of)));
            return Ok(());
        }
        let Ok(day) = open(&path) else {
            out.missing = Some(format!("{} cannot be read", path.display()));
            return Ok(());
        };
        let names = Names::of(&day)?;
        evidence(&day, of.boot, of.number, &names, plan, out)?;
        if out.checks.is_empty() {
            self.earlier_evidence(of, plan, out)?;
        }
        part_rows(&day, of, &names, out)?;
        labels(&day, of, &names, plan, out)?;
        Ok(())
    }

    fn day(&self, utc: i64) -> PathBuf {
        self.data.join(format!("history-{}.db", day_text(Utc::from_nanos(utc))))
    }

    /// An unchanged hold is explained once, when it begins.
    fn earlier_evidence(
        &self,
        of: &Decision,
        plan: Option<&Plan>,
        out: &mut Why,
    ) -> Result<(), Lost> {
        let mut before = self.state.prepare(
            "SELECT number, utc FROM decision WHERE boot = ? AND number < ? AND loop = ?
             ORDER BY number DESC LIMIT ?",
        )?;
        let before: Vec<(i64, i64)> = before
            .query_map((of.boot, of.number, &of.loop_name, BACK as i64), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut file: Option<(PathBuf, Connection)> = None;
        for (number, utc) in before {
            let path = self.day(utc);
            if file.as_ref().is_none_or(|(of, _)| *of != path) {
                let Ok(db) = open(&path) else { break };
                file = Some((path, db));
            }
            let Some((_, db)) = &file else { break };
            let there: bool = db
                .prepare_cached(
                    "SELECT EXISTS(SELECT 1 FROM permit_check WHERE boot = ? AND decision = ?)",
                )?
                .query_row((of.boot, number), |row| row.get(0))?;
            if there {
                evidence(db, of.boot, number, &Names::of(db)?, plan, out)?;
                let id = RecordId::decision(of.boot.unsigned_abs(), number.unsigned_abs());
                out.evidence_of = Some(id.to_string());
                return Ok(());
            }
        }
        let why = "no evidence was stored for this decision, as below the disk floor";
        out.missing = Some(format!("{why}: {}", self.in_journal(of)));
        Ok(())
    }

    /// How to see what a day file no longer tells: the journal holds the same rows.
    fn in_journal(&self, of: &Decision) -> String {
        let show = match of.moved() {
            Some(write) => format!("--break-on write={}-{write}", of.boot),
            None => format!("--from {}-1 --break-on write --break-on trip", of.boot),
        };
        let journal = self.data.join("journal");
        format!(
            "inputs, scores and margins are in the journal while it is kept: trimloop replay {} {show}",
            journal.display()
        )
    }

    /// Who raised the loop, who approved.
    fn people(&self, of: &Decision, out: &mut Why) -> Result<(), Lost> {
        let (mode, name) = (&of.mode, &of.loop_name);
        let until = of.utc.saturating_add(AUDIT_LAG.as_nanos());
        out.raised_by = self
            .state
            .query_row(
                "SELECT seq, utc, actor, what, reason FROM audit
                 WHERE what = ? AND utc <= ? AND boot = ? ORDER BY seq DESC LIMIT 1",
                (format!("loop {mode} {name}: done"), until, of.boot),
                order_row,
            )
            .optional()?;
        let approved: Option<String> = self
            .state
            .query_row(
                "SELECT detail FROM event WHERE boot = ? AND utc = ? AND code = 'order_done'
                 ORDER BY id DESC LIMIT 1",
                (of.boot, of.utc),
                |row| row.get(0),
            )
            .optional()?;
        let Some(number) = approved.and_then(|text| text.parse::<i64>().ok()) else {
            return Ok(());
        };
        out.approved_by = self
            .state
            .query_row(
                "SELECT seq, utc, actor, what, reason FROM audit
                 WHERE orders = ? AND what LIKE 'loop approve %' LIMIT 1",
                [number],
                order_row,
            )
            .optional()?;
        Ok(())
    }

    fn ledger(&self, of: &Decision, out: &mut Why) -> Result<(), Lost> {
        let Some(write) = of.moved() else { return Ok(()) };
        let mut statement = self.state.prepare(
            "SELECT utc, fate, sent, read_back, issued, acknowledged, confirmed, status, setpoint
             FROM ledger WHERE boot = ? AND write = ? ORDER BY id",
        )?;
        let mut rows = statement.query((of.boot, write))?;
        while let Some(row) = rows.next()? {
            let fate: String = row.get(1)?;
            let issued: i64 = row.get(4)?;
            let at: Option<i64> = match fate.as_str() {
                "acknowledged" | "refused" | "not_sent" | "unknown" => row.get(5)?,
                "confirmed" => row.get(6)?,
                _ => None,
            };
            if out.setpoint.is_empty() {
                out.setpoint = row.get(8)?;
            }
            out.ledger.push(LedgerStep {
                utc: utc_text(Utc::from_nanos(row.get(0)?)),
                fate,
                sent: row.get(2)?,
                read_back: row.get(3)?,
                after_ms: at.map(|at| (at - issued) as f64 / 1e6),
                status: row.get(7)?,
            });
        }
        drop(rows);
        out.effect = Some(self.effect(of.boot, write, out)?);
        Ok(())
    }

    fn effect(&self, boot: i64, write: i64, out: &Why) -> Result<Effect, Lost> {
        let state = match out.ledger.last().map(|step| step.fate.as_str()) {
            Some("proven") => "proven",
            Some("unproven") => "unproven",
            Some("not_taken" | "mismatch" | "refused" | "not_sent") => "none",
            _ => "pending",
        };
        if state != "pending" {
            return Ok(Effect { state, by: None });
        }
        let next: Option<i64> = self.state.query_row(
            "SELECT min(write) FROM ledger WHERE boot = ? AND write > ? AND setpoint = ?",
            (boot, write, &out.setpoint),
            |row| row.get(0),
        )?;
        let name = |next: i64| RecordId::write(boot.unsigned_abs(), next.unsigned_abs());
        Ok(match next {
            Some(next) => Effect { state: "superseded", by: Some(name(next).to_string()) },
            None => Effect { state, by: None },
        })
    }

    fn events(&self, of: &Decision, out: &mut Why) -> Result<(), Lost> {
        let mut statement = self.state.prepare(
            "SELECT boot, number, utc, code, subject, detail, sentence FROM event
             WHERE utc = ? AND boot = ? ORDER BY id LIMIT 20",
        )?;
        let rows = statement.query_map((of.utc, of.boot), event_row)?;
        for row in rows {
            let (_, event) = row?;
            if out.event.as_ref() != Some(&event) {
                out.events.push(event);
            }
        }
        Ok(())
    }
}

fn event_row(row: &Row<'_>) -> rusqlite::Result<(i64, EventRow)> {
    let (boot, number): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
    let utc: i64 = row.get(2)?;
    let id = number.map(|n| RecordId::event(boot.unsigned_abs(), n.unsigned_abs()).to_string());
    let event = EventRow {
        id,
        utc: utc_text(Utc::from_nanos(utc)),
        code: row.get(3)?,
        subject: row.get(4)?,
        detail: row.get(5)?,
        sentence: row.get(6)?,
    };
    Ok((utc, event))
}

fn order_row(row: &Row<'_>) -> rusqlite::Result<Order> {
    Ok(Order {
        entry: row.get(0)?,
        utc: utc_text(Utc::from_nanos(row.get(1)?)),
        actor: row.get(2)?,
        what: row.get(3)?,
        reason: row.get(4)?,
    })
}

/// Names and units of a history file.
struct Names(HashMap<i64, (String, String)>);

impl Names {
    fn of(db: &Connection) -> rusqlite::Result<Self> {
        let mut statement = db.prepare("SELECT id, name, unit FROM name")?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self(rows))
    }

    fn get(&self, id: Option<i64>) -> (String, String) {
        id.and_then(|id| self.0.get(&id).cloned()).unwrap_or_else(|| ("?".into(), String::new()))
    }
}

fn evidence(
    db: &Connection,
    boot: i64,
    number: i64,
    names: &Names,
    plan: Option<&Plan>,
    out: &mut Why,
) -> rusqlite::Result<()> {
    // A file of before has no such tables.
    let known: bool = db.query_row(
        "SELECT EXISTS(SELECT 1 FROM sqlite_master WHERE name = 'permit_check')",
        [],
        |row| row.get(0),
    )?;
    if !known {
        return Ok(());
    }
    let mut statement = db.prepare(
        "SELECT reason, answer, measured, bound, margin, measure, subject FROM permit_check
         WHERE boot = ? AND decision = ? ORDER BY place",
    )?;
    let mut rows = statement.query((boot, number))?;
    while let Some(row) = rows.next()? {
        let (check, measure): (String, String) = (row.get(0)?, row.get(5)?);
        let (subject, unit) = about(&check, &measure, row.get(6)?, plan, out);
        out.checks.push(Check {
            number: check_number(&check),
            check,
            answer: row.get(1)?,
            measured: row.get(2)?,
            limit: row.get(3)?,
            margin: row.get(4)?,
            unit,
            subject,
        });
    }
    let mut statement = db.prepare(
        "SELECT tag, feature, value, coverage, quality, age FROM permit_input
         WHERE boot = ? AND decision = ? ORDER BY place",
    )?;
    let rows = statement.query_map((boot, number), |row| {
        let (tag, tag_unit) = names.get(row.get(0)?);
        let feature: Option<i64> = row.get(1)?;
        let (name, unit) =
            if feature.is_some() { names.get(feature) } else { (tag.clone(), tag_unit) };
        let age: Option<i64> = row.get(5)?;
        Ok(Input {
            name,
            tag,
            value: row.get(2)?,
            unit,
            quality: row.get(4)?,
            age_ms: age.map(|age| age as f64 / 1e6),
            coverage: row.get(3)?,
        })
    })?;
    out.inputs = rows.collect::<rusqlite::Result<_>>()?;
    out.wish = db
        .query_row(
            "SELECT target, bias, fed, gain, labels, signature FROM permit_wish
             WHERE boot = ? AND decision = ?",
            (boot, number),
            |row| {
                let signature: Option<u16> = row.get(5)?;
                let name = |place: usize| {
                    let of = plan.and_then(|plan| plan.signatures.get(place));
                    of.map_or_else(|| format!("#{place}"), |of| of.name.clone())
                };
                Ok(Wish {
                    target: row.get(0)?,
                    bias: row.get(1)?,
                    fed: row.get(2)?,
                    gain: row.get(3)?,
                    labels: row.get(4)?,
                    signature: signature.map(|place| name(usize::from(place))),
                })
            },
        )
        .optional()?;
    Ok(())
}

/// Name of what a check is about, and the unit of its numbers.
fn about(
    check: &str,
    measure: &str,
    subject: Option<u16>,
    plan: Option<&Plan>,
    out: &Why,
) -> (Option<String>, String) {
    let interlock = |plan: &Plan, place: usize| {
        let lock = plan.interlocks.get(place)?;
        let tag = plan.tags.get(lock.tag.index())?;
        Some((lock.name.clone(), tag.unit.clone()))
    };
    let subject = subject.map(usize::from);
    let found = subject.zip(plan).and_then(|(place, plan)| match check {
        "input" => plan.tags.get(place).map(|tag| (tag.name.clone(), String::new())),
        "domain" => plan.models.get(place).map(|model| (model.name.clone(), String::new())),
        "interlock" => interlock(plan, place),
        _ => None,
    });
    let unit = match measure {
        "setpoint" => out.unit.clone(),
        "tag" => found.as_ref().map(|(_, unit)| unit.clone()).unwrap_or_default(),
        "state" => String::new(),
        other => other.to_owned(),
    };
    let name = found.map(|(name, _)| name).or_else(|| subject.map(|place| format!("#{place}")));
    (name, unit)
}

/// Number of the check that a reason belongs to, as in the page on the permit.
fn check_number(reason: &str) -> u8 {
    match reason {
        "clock_late" => 1,
        "tripped" => 2,
        "mode" | "not_enabled" | "not_owner" => 3,
        "link_down" | "heartbeat" | "not_bound" | "warm_up" => 4,
        "input" => 5,
        "interlock" => 6,
        "read_back" | "external_change" => 7,
        "domain" => 8,
        "not_finite" => 9,
        "outside_limits" => 10,
        "rate" => 11,
        "deadband" => 12,
        "dwell" => 13,
        "budget" => 14,
        "joint_limit" => 15,
        "approval" => 16,
        "pending" => 17,
        _ => 0,
    }
}

/// Features, scores and contributions of the part that was decided on.
fn part_rows(db: &Connection, of: &Decision, names: &Names, out: &mut Why) -> rusqlite::Result<()> {
    let ended: Option<i64> = db.query_row(
        "SELECT max(ts) FROM part WHERE boot = ? AND part = ? AND ts <= ?",
        (of.boot, of.part, of.utc),
        |row| row.get(0),
    )?;
    let Some(ts) = ended else { return Ok(()) };
    let mut statement = db.prepare(
        "SELECT feature, value, coverage FROM feature WHERE ts = ? AND part = ? ORDER BY feature",
    )?;
    let rows = statement.query_map((ts, of.part), |row| {
        let (name, unit) = names.get(row.get(0)?);
        Ok(Feature { name, value: row.get(1)?, unit, coverage: row.get(2)? })
    })?;
    out.features = rows.collect::<rusqlite::Result<_>>()?;
    let mut statement = db.prepare(
        "SELECT model, value, low, high, in_domain, alarm FROM score
         WHERE ts = ? AND part = ? ORDER BY model",
    )?;
    let rows = statement.query_map((ts, of.part), |row| {
        Ok(Score {
            model: names.get(row.get(0)?).0,
            value: row.get(1)?,
            low: row.get(2)?,
            high: row.get(3)?,
            in_domain: row.get(4)?,
            alarm: row.get(5)?,
        })
    })?;
    out.scores = rows.collect::<rusqlite::Result<_>>()?;
    let mut statement = db.prepare(
        "SELECT model, rank, feature, share, z FROM contribution
         WHERE ts IN (?1, ?2) AND part = ?3 ORDER BY model, rank",
    )?;
    let rows = statement.query_map((ts, of.utc, of.part), |row| {
        Ok(Contribution {
            model: names.get(row.get(0)?).0,
            rank: row.get(1)?,
            feature: names.get(row.get(2)?).0,
            share: row.get(3)?,
            z: row.get(4)?,
        })
    })?;
    out.contributions = rows.collect::<rusqlite::Result<_>>()?;
    Ok(())
}

/// What was measured of the loop's quality on parts that the write could change.
fn labels(
    db: &Connection,
    of: &Decision,
    names: &Names,
    plan: Option<&Plan>,
    out: &mut Why,
) -> rusqlite::Result<()> {
    if out.write.is_none() {
        return Ok(());
    }
    let of_loop = plan.and_then(|plan| plan.loops.iter().find(|l| l.name == of.loop_name));
    let controls = of_loop.zip(plan).and_then(|(of_loop, plan)| match &of_loop.controller {
        Controller::RunToRun(c1) => {
            plan.characteristics.get(c1.characteristic.index()).map(|c| c.name.as_str())
        }
        Controller::Rules(_) => None,
    });
    let mut statement = db.prepare(
        "SELECT ts, part, characteristic, value, used FROM label
         WHERE ts > ?1 AND part > ?2 AND (?3 IS NULL OR characteristic =
           (SELECT id FROM name WHERE kind = 'characteristic' AND name = ?3))
         ORDER BY ts LIMIT 5",
    )?;
    let rows = statement.query_map((of.utc, of.part, controls), |row| {
        let (name, unit) = names.get(row.get(2)?);
        Ok(Label {
            utc: utc_text(Utc::from_nanos(row.get(0)?)),
            part: row.get(1)?,
            name,
            value: row.get(3)?,
            unit,
            used: row.get(4)?,
        })
    })?;
    out.labels = rows.collect::<rusqlite::Result<_>>()?;
    Ok(())
}
