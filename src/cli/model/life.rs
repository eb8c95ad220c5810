//! Steps in the life of a model: `challenge`, `approve`, `promote`, `suspend`, `retire`,
//! `rollback`. Each is in the audit trail before it is carried out.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Opened, Why, failure, family_of, write};
use crate::cli::load::{control_failure, settings};
use crate::cli::{Exit, Failure, Global, Ui};
use crate::control::{Answer, Client, ControlError, Request, actor, own_user};
use crate::error::{NO_AUDIT, chain};
use crate::learn::LearnError;
use crate::learn::lifecycle::{self, Lifecycle, State, Who, family};
use crate::output::utc_text;
use crate::store::{AuditEntry, audit_offline};

const EXAMPLES: &str = "\
Examples:
  trimloop model challenge models/press-r2
  trimloop model approve press-r2 --reason \"trial of 500 parts passed\"
  trimloop model promote press-r2 --reason \"fewer false alarms than r1\"
  trimloop model rollback press --reason \"alarms on good parts\"

TRAINED -backtest-> BACKTESTED -challenge-> CHALLENGER -approve-> APPROVED -promote-> ACTIVE. Of the
folders press-r1, press-r2, … one at most is ACTIVE. What was done, by whom and why, stands in
lifecycle.json beside the model, and in the audit trail where the project has a store. A recipe
names its model and pins its hash: promote does not change a recipe. But a loop that rests on a model which
is not ACTIVE stays in SHADOW, and a running service lowers it to SHADOW within seconds.";

/// Which model, and why.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct LifeArgs {
    /// Folder or name of the model
    model: PathBuf,
    #[command(flatten)]
    why: Why,
}

/// Brings a model to a state.
pub(super) fn step(ui: &Ui, global: &Global, args: &LifeArgs, to: State) -> Result<Exit, Failure> {
    let mut model = Opened::find(global, &args.model)?;
    let who = who(ui, &args.why.reason);
    let before = model.life.state;
    model.life.step(to, &who, Vec::new()).map_err(|error| failure(&error))?;
    keep(ui, global, &model, before, &args.why.reason)?;
    Ok(told(ui, &[(model, before)]))
}

/// APPROVED becomes ACTIVE; whatever was ACTIVE of the family goes.
pub(super) fn promote(ui: &Ui, global: &Global, args: &LifeArgs) -> Result<Exit, Failure> {
    let mut model = Opened::find(global, &args.model)?;
    let who = who(ui, &args.why.reason);
    let before = model.life.state;
    model.life.step(State::Active, &who, Vec::new()).map_err(|error| failure(&error))?;
    let mut changed = Vec::new();
    for mut other in others(&model.dir).map_err(|error| failure(&error))? {
        if other.life.state == State::Active {
            other.life.replace(&who, &model.name());
            // First the old one: two in force is worse than none.
            keep(ui, global, &other, State::Active, &args.why.reason)?;
            changed.push((other, State::Active));
        }
    }
    keep(ui, global, &model, before, &args.why.reason)?;
    changed.push((model, before));
    Ok(told(ui, &changed))
}

/// The ACTIVE one of a family is suspended, the one that was ACTIVE before it comes back; a
/// suspended one does not: a person must approve it first.
pub(super) fn rollback(ui: &Ui, global: &Global, args: &LifeArgs) -> Result<Exit, Failure> {
    let fail = |error: LearnError| failure(&error);
    let dir = if args.model.join("model.tlm").is_file() {
        args.model.clone()
    } else {
        let bare = args.model.components().count() == 1;
        let dir =
            if bare { settings(global)?.models.join(&args.model) } else { args.model.clone() };
        let found = if dir.join("model.tlm").is_file() {
            Some(dir.clone())
        } else {
            family_of(&dir).into_iter().next()
        };
        found.ok_or_else(|| fail(LearnError::NoModel(dir)))?
    };
    let mut models = vec![Opened::open(&dir).map_err(fail)?];
    models.extend(others(&dir).map_err(fail)?);
    let who = who(ui, &args.why.reason);
    let active = models.iter().position(|model| model.life.state == State::Active);
    let before = (0..models.len())
        .filter(|place| Some(*place) != active)
        .filter(|place| models.get(*place).is_some_and(|m| m.life.may_come_back()))
        .max_by_key(|place| models.get(*place).map(|m| m.life.last_active().to_owned()));
    let Some(before) = before else {
        let out = models.iter().filter(|model| !model.life.last_active().is_empty());
        let out = out.filter(|model| model.life.state != State::Active);
        let mut why = "no other model of this family was ACTIVE before".to_owned();
        for (place, model) in out.enumerate() {
            why.push_str(if place == 0 { " and may come back: " } else { ", " });
            why.push_str(&format!("{} is {}", model.name(), model.life.state.word()));
        }
        let way = "take this one out of force with `trimloop model suspend`; what was suspended \
                   comes back by `trimloop model approve` and `promote`";
        return Err(fail(LearnError::State(why, way)));
    };
    let gone = active.and_then(|place| models.get(place)).map_or_else(String::new, Opened::name);
    let mut changed = Vec::new();
    for (place, mut model) in models.into_iter().enumerate() {
        let state = model.life.state;
        if Some(place) == active {
            model.life.step(State::Suspended, &who, Vec::new()).map_err(fail)?;
        } else if place == before {
            model.life.restore(&who, &gone).map_err(fail)?;
        } else {
            continue;
        }
        changed.push((model, state));
    }
    // First what goes out of force.
    changed.sort_by_key(|(model, _)| model.life.state == State::Active);
    for (model, state) in &changed {
        keep(ui, global, model, *state, &args.why.reason)?;
    }
    Ok(told(ui, &changed))
}

/// Other revisions of a model's family.
fn others(dir: &Path) -> Result<Vec<Opened>, LearnError> {
    let own = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let is_other = |path: &PathBuf| path.canonicalize().ok().as_ref() != Some(&own);
    family(&own).iter().filter(|path| is_other(path)).map(|path| Opened::open(path)).collect()
}

pub(super) fn who(ui: &Ui, reason: &str) -> Who {
    let utc = utc_text(ui.clock().utc());
    Who { utc, actor: actor(own_user()), reason: reason.to_owned() }
}

/// Audits a step, then keeps it.
pub(super) fn keep(
    ui: &Ui,
    global: &Global,
    model: &Opened,
    before: State,
    reason: &str,
) -> Result<(), Failure> {
    let short = model.life.model.get(..12).unwrap_or_default();
    let what =
        format!("model {} {short}: {} to {}", model.name(), before.word(), model.life.state.word());
    audit(ui, global, &what, reason)?;
    write(&model.dir.join(lifecycle::FILE), model.life.text().as_bytes())
}

fn told(ui: &Ui, changed: &[(Opened, State)]) -> Exit {
    let mut human = String::new();
    let mut rows = Vec::new();
    for (model, before) in changed {
        let (name, life): (String, &Lifecycle) = (model.name(), &model.life);
        human.push_str(&format!("{name}: {} to {}\n", before.word(), life.state.word()));
        rows.push(json!({ "model": name, "from": before, "to": life.state, "hash": life.model }));
    }
    let mut object = ui.head("trimloop.model.life/1", true);
    object["models"] = json!(rows);
    ui.result(&human, &object);
    Exit::Ok
}

/// Puts what was done into the audit trail: through the service when it runs, else into its store;
/// without a store there is no trail.
pub(in crate::cli) fn audit(
    ui: &Ui,
    global: &Global,
    what: &str,
    reason: &str,
) -> Result<(), Failure> {
    let settings = settings(global)?;
    if !settings.data.join("state.db").is_file() {
        return Ok(());
    }
    let refused = |text: String| Failure::new(&NO_AUDIT, text, Exit::Unreachable);
    match Client::of_service(&settings.data, &settings.socket) {
        Ok(mut client) => {
            let request = Request::Note { what: what.to_owned(), reason: reason.to_owned() };
            match client.ask(&request).map_err(|error| control_failure(&error))? {
                Answer::Done { .. } => Ok(()),
                Answer::Failed { error, .. } => Err(refused(error)),
            }
        }
        Err(ControlError::Connect { .. }) => {
            let entry = AuditEntry {
                utc: ui.clock().utc(),
                order: 0,
                actor: actor(own_user()),
                what: what.to_owned(),
                reason: reason.to_owned(),
            };
            audit_offline(&settings.data, &entry).map(drop).map_err(|error| refused(chain(&error)))
        }
        Err(error) => Err(control_failure(&error)),
    }
}
