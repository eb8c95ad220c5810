//! The life of a model: who brought it to which state, when, and why.
//!
//! ```text
//! TRAINED --backtest passes--> BACKTESTED --> CHALLENGER --> APPROVED --promote--> ACTIVE
//! ACTIVE --suspend, rollback--> SUSPENDED --approve--> APPROVED
//! any but ACTIVE --> RETIRED; the ACTIVE one of the family that is replaced becomes RETIRED
//! ```
//!
//! The state stands in `lifecycle.json` beside the model, with its whole history, and is about one
//! artifact: when model.tlm is another, the state is void. Folders `NAME-rN` side by side are a
//! *family*, of which one at most is ACTIVE.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LearnError;

/// Version of the file.
const SCHEMA: &str = "trimloop.lifecycle/1";
/// Name of the file.
pub const FILE: &str = "lifecycle.json";

/// Where a model stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Fitted.
    #[default]
    Trained,
    /// It passed every gate on rows that it was not trained on.
    Backtested,
    /// It runs beside the champion and drives nothing.
    Challenger,
    /// A person takes responsibility for it.
    Approved,
    /// In force.
    Active,
    /// Was in force; drifted, or was rolled back.
    Suspended,
    /// Replaced for good.
    Retired,
}

impl State {
    /// As people read it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Trained => "TRAINED",
            Self::Backtested => "BACKTESTED",
            Self::Challenger => "CHALLENGER",
            Self::Approved => "APPROVED",
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Retired => "RETIRED",
        }
    }

    /// Whether a model in this state may be brought to `next`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Trained | Self::Backtested | Self::Challenger, Self::Backtested)
                | (Self::Backtested, Self::Challenger)
                | (Self::Challenger | Self::Suspended, Self::Approved)
                | (Self::Approved, Self::Active)
                | (Self::Active, Self::Suspended)
                | (
                    Self::Trained
                        | Self::Backtested
                        | Self::Challenger
                        | Self::Approved
                        | Self::Suspended,
                    Self::Retired
                )
        )
    }

    /// What to do to get a model in this state to `next`.
    fn way(self, next: Self) -> &'static str {
        match (self, next) {
            (Self::Trained, _) => "run `trimloop model backtest` on rows it was not trained on",
            (Self::Backtested, _) => "let it run beside the champion: `trimloop model challenge`",
            (Self::Challenger | Self::Suspended, _) => {
                "a person must approve it: `trimloop model approve`"
            }
            (Self::Approved, _) => "bring it into force: `trimloop model promote`",
            (Self::Active, _) => {
                "take it out of force first: `trimloop model suspend` or `rollback`"
            }
            (Self::Retired, _) => "a retired model stays retired; train a new revision",
        }
    }
}

/// One step of a life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When, UTC, RFC 3339.
    pub utc: String,
    /// Who: `uid:1000 (anna)`.
    pub actor: String,
    /// Where it came to.
    pub to: State,
    /// Why, in the actor's words.
    pub reason: String,
    /// What it rests on: gates with their values, the data's digest.
    pub evidence: Vec<String>,
}

/// The life of one artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifecycle {
    schema: String,
    /// SHA-256 of the artifact, hexadecimal.
    pub model: String,
    /// Where it stands.
    pub state: State,
    /// How it came there, oldest first.
    pub steps: Vec<Step>,
}

/// Who does something, when and why.
#[derive(Clone, Debug)]
pub struct Who {
    /// When, UTC, RFC 3339.
    pub utc: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Lifecycle {
    /// That of a model that was just trained.
    #[must_use]
    pub fn new(model: String) -> Self {
        Self { schema: SCHEMA.to_owned(), model, state: State::Trained, steps: Vec::new() }
    }

    /// Reads the life of the model in `dir`, whose artifact has this hash; a model without a file
    /// is TRAINED.
    ///
    /// # Errors
    /// [`LearnError::File`] when it cannot be read, or is about another artifact.
    pub fn read(dir: &Path, model: &str) -> Result<Self, LearnError> {
        let path = dir.join(FILE);
        let wrong = |what: String| LearnError::File { path: path.clone(), what };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::new(model.to_owned()));
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        let life: Self = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if life.schema != SCHEMA {
            return Err(wrong(format!("its schema is {}, not {SCHEMA}", life.schema)));
        }
        if life.model != model {
            let what = "it is about another model.tlm: the model was changed after it came to its \
                        state; train it into a folder of its own";
            return Err(wrong(what.to_owned()));
        }
        Ok(life)
    }

    /// Brings the model to a state.
    ///
    /// # Errors
    /// [`LearnError::State`] when there is no such way.
    pub fn step(&mut self, to: State, who: &Who, evidence: Vec<String>) -> Result<(), LearnError> {
        if !self.state.may_become(to) {
            let why = format!("the model is {}, it cannot become {}", self.state.word(), to.word());
            return Err(LearnError::State(why, self.state.way(to)));
        }
        self.put(to, who, evidence);
        Ok(())
    }

    fn put(&mut self, to: State, who: &Who, evidence: Vec<String>) {
        self.state = to;
        self.steps.push(Step {
            utc: who.utc.clone(),
            actor: who.actor.clone(),
            to,
            reason: who.reason.clone(),
            evidence,
        });
    }

    /// Takes an ACTIVE model out of force because another one comes.
    pub fn replace(&mut self, who: &Who, by: &str) {
        self.put(State::Retired, who, vec![format!("replaced by {by}")]);
    }

    /// Brings a model that was ACTIVE before back into force.
    ///
    /// # Errors
    /// [`LearnError::State`] when it never was.
    pub fn restore(&mut self, who: &Who, instead_of: &str) -> Result<(), LearnError> {
        if !self.steps.iter().any(|step| step.to == State::Active) {
            let why = "it was never ACTIVE, so there is nothing to come back to".to_owned();
            return Err(LearnError::State(why, self.state.way(State::Active)));
        }
        self.put(State::Active, who, vec![format!("rolled back from {instead_of}")]);
        Ok(())
    }

    /// Time of the newest step to ACTIVE; empty when there was none. RFC 3339 in UTC sorts.
    #[must_use]
    pub fn last_active(&self) -> &str {
        let steps = self.steps.iter().rev();
        steps
            .filter(|step| step.to == State::Active)
            .map(|step| step.utc.as_str())
            .next()
            .unwrap_or("")
    }

    /// Facts for a card: state, and the newest step.
    #[must_use]
    pub fn facts(&self) -> Vec<(String, String)> {
        let mut facts = vec![("state".to_owned(), self.state.word().to_owned())];
        if let Some(step) = self.steps.last() {
            facts.push(("since".to_owned(), format!("{} by {}", step.utc, step.actor)));
            if !step.reason.is_empty() {
                facts.push(("because".to_owned(), step.reason.clone()));
            }
        }
        facts
    }

    /// As the file holds it.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// Folders with a model beside `dir` that have its name but for `-rN`, itself among them, sorted.
#[must_use]
pub fn family(dir: &Path) -> Vec<PathBuf> {
    let Some(name) = base(dir) else { return vec![dir.to_owned()] };
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries = std::fs::read_dir(parent.unwrap_or(Path::new(".")));
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("model.tlm").is_file())
        .filter(|path| base(path).as_deref() == Some(&name) && is_revision(path))
        .collect();
    if !is_revision(dir) {
        return vec![dir.to_owned()];
    }
    found.sort();
    found
}

fn base(dir: &Path) -> Option<String> {
    let name = dir.file_name()?.to_str()?;
    match name.rsplit_once("-r") {
        Some((base, digits)) if digits.parse::<u32>().is_ok() => Some(base.to_owned()),
        _ => Some(name.to_owned()),
    }
}

fn is_revision(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.rsplit_once("-r").is_some_and(|(_, digits)| digits.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 7] = [
        State::Trained,
        State::Backtested,
        State::Challenger,
        State::Approved,
        State::Active,
        State::Suspended,
        State::Retired,
    ];

    fn who(utc: &str) -> Who {
        Who { utc: utc.to_owned(), actor: "uid:1".to_owned(), reason: "r".to_owned() }
    }

    /// The only way to ACTIVE leads over a passed backtest and an approval.
    #[test]
    fn nothing_is_active_without_a_backtest_and_an_approval() {
        let before =
            |next: State| ALL.iter().filter(move |s| s.may_become(next)).collect::<Vec<_>>();
        assert_eq!(before(State::Active), [&State::Approved]);
        assert_eq!(before(State::Approved), [&State::Challenger, &State::Suspended]);
        assert_eq!(before(State::Suspended), [&State::Active]);
        assert_eq!(before(State::Challenger), [&State::Backtested]);
        assert!(ALL.iter().all(|next| !State::Retired.may_become(*next)));
        let mut life = Lifecycle::new("h".to_owned());
        let error = life.step(State::Active, &who("1"), Vec::new()).unwrap_err();
        assert!(error.to_string().contains("TRAINED"), "{error}");
        for state in [State::Backtested, State::Challenger, State::Approved, State::Active] {
            life.step(state, &who("1"), Vec::new()).unwrap();
        }
        assert_eq!((life.state, life.steps.len()), (State::Active, 4));
    }

    /// What is written is read back; another artifact makes it void.
    #[test]
    fn a_changed_model_voids_its_state() {
        let dir = std::env::temp_dir().join(format!("trimloop-life-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut life = Lifecycle::new("aa".to_owned());
        life.step(State::Backtested, &who("1"), vec!["gate".to_owned()]).unwrap();
        std::fs::write(dir.join(FILE), life.text()).unwrap();
        assert_eq!(Lifecycle::read(&dir, "aa").unwrap(), life);
        let error = Lifecycle::read(&dir, "bb").unwrap_err().to_string();
        assert!(error.contains("changed"), "{error}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// Only what was ACTIVE can be restored.
    #[test]
    fn restore_needs_a_past() {
        let mut life = Lifecycle::new("h".to_owned());
        assert!(life.restore(&who("1"), "x").is_err());
        life.put(State::Active, &who("2026-01-01T00:00:00Z"), Vec::new());
        life.replace(&who("2"), "m-r2");
        assert_eq!(life.last_active(), "2026-01-01T00:00:00Z");
        life.restore(&who("3"), "m-r2").unwrap();
        assert_eq!((life.state, life.last_active()), (State::Active, "3"));
    }
}
