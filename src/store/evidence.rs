//! Evidence of decisions: what each check of the permit found, and what the decision rested on.
//!
//! It lives in the history of its day, so that it goes with the samples it explains; decisions and
//! ledger stay in `state.db`, the journal has everything.

use rusqlite::{Transaction, params};

use trimloop_core::guard::Reason;
use trimloop_core::record::{CheckRow, InputRow, WishRow};
use trimloop_core::time::Span;

use super::state::Ids;

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS permit_check(boot INTEGER, decision INTEGER, place INTEGER,
  reason TEXT NOT NULL, answer TEXT NOT NULL, measured REAL, bound REAL, margin REAL,
  measure TEXT NOT NULL, subject INTEGER, PRIMARY KEY(boot, decision, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS permit_input(boot INTEGER, decision INTEGER, place INTEGER,
  tag INTEGER, feature INTEGER, value REAL, coverage REAL, quality TEXT NOT NULL, age INTEGER,
  PRIMARY KEY(boot, decision, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS permit_wish(boot INTEGER, decision INTEGER, target REAL, bias REAL,
  fed REAL, gain REAL, labels INTEGER, signature INTEGER, PRIMARY KEY(boot, decision))
  WITHOUT ROWID;
";

pub(super) fn put_check(tx: &Transaction<'_>, boot: i64, row: &CheckRow) -> rusqlite::Result<()> {
    let place = Reason::ALL.iter().position(|reason| *reason == row.check).unwrap_or(0);
    tx.prepare_cached(
        "INSERT OR REPLACE INTO permit_check(boot, decision, place, reason, answer, measured,
           bound, margin, measure, subject)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        boot,
        row.decision.cast_signed(),
        place as i64,
        row.check.word(),
        row.answer.word(),
        row.measured,
        row.limit,
        row.margin,
        row.measure.word(),
        row.subject,
    ])?;
    Ok(())
}

/// `subject` of a check and `signature` of a wish are indices into the plan; tags and features are
/// ids of the table of names.
pub(super) fn put_input(
    tx: &Transaction<'_>,
    boot: i64,
    row: &InputRow,
    ids: &Ids,
) -> rusqlite::Result<()> {
    // A tag for itself and a feature each stand in a place of their own.
    let place = row.feature.map_or(i64::from(row.tag.0), |f| 100_000 + i64::from(f.0));
    tx.prepare_cached(
        "INSERT OR REPLACE INTO permit_input(boot, decision, place, tag, feature, value, coverage,
           quality, age)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        boot,
        row.decision.cast_signed(),
        place,
        ids.tags.get(row.tag.index()),
        row.feature.and_then(|feature| ids.features.get(feature.index())),
        row.value,
        row.coverage,
        row.quality.word(),
        row.age.map(Span::as_nanos),
    ])?;
    Ok(())
}

pub(super) fn put_wish(tx: &Transaction<'_>, boot: i64, row: &WishRow) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO permit_wish(boot, decision, target, bias, fed, gain, labels,
           signature)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        boot,
        row.decision.cast_signed(),
        row.target,
        row.bias,
        row.fed,
        row.gain,
        row.labels,
        row.signature.map(|signature| signature.0),
    ])?;
    Ok(())
}
