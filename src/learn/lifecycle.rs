//! The life of a model: who brought it to which state, when, and why.
//!
//! ```text
//! TRAINED --backtest passes--> BACKTESTED --> CHALLENGER --> APPROVED --promote--> ACTIVE
//! ACTIVE --suspend, rollback--> SUSPENDED --approve--> APPROVED
//! any but ACTIVE --> RETIRED; the ACTIVE one of the family that is replaced becomes RETIRED
//! replaced, or APPROVED again after it was ACTIVE --rollback of another one--> ACTIVE
//! ```
//!
//! A file is believed only as far as its steps lead: they are gone again whenever it is read.
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

/// Evidence of a step that another model's promotion brought about.
const REPLACED: &str = "replaced by ";
/// Evidence of a step that a rollback brought about.
const ROLLED_BACK: &str = "rolled back from ";

/// Evidence of a backtest that could not try something: no row showed it.
pub const UNTRIED: &str = "not tried: ";

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
    pub(super) fn way(self, next: Self) -> &'static str {
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
    /// [`LearnError::File`] when it cannot be read, or is about another artifact;
    /// [`LearnError::Life`] when its steps do not lead to its state.
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
        life.refold().map_err(|what| LearnError::Life { path: path.clone(), what })?;
        Ok(life)
    }

    /// Goes the steps again: a state that somebody wrote into the file, and that no steps lead to,
    /// is not taken.
    fn refold(&self) -> Result<(), String> {
        let mut life = Self::new(self.model.clone());
        for (number, step) in (1..).zip(&self.steps) {
            let (from, to) = (life.state, step.to);
            // What promote and rollback do to other models of a family is no step of its own.
            let allowed = match step.evidence.first() {
                Some(text) if text.starts_with(REPLACED) => {
                    (from, to) == (State::Active, State::Retired)
                }
                Some(text) if text.starts_with(ROLLED_BACK) => {
                    to == State::Active && life.may_come_back()
                }
                _ => from.may_become(to),
            };
            if !allowed {
                return Err(format!(
                    "step {number} leads from {} to {}, which is no way",
                    from.word(),
                    to.word()
                ));
            }
            if to == State::Backtested && step.evidence.is_empty() {
                return Err(format!("step {number} says BACKTESTED and holds no gates"));
            }
            life.state = to;
            life.steps.push(step.clone());
        }
        if life.state == self.state {
            return Ok(());
        }
        Err(format!("it says {}, but its steps lead to {}", self.state.word(), life.state.word()))
    }

    /// Whether a rollback may bring it back into force: it was ACTIVE, and since then was replaced,
    /// or suspended and approved again. What was suspended comes back by an approval only, and what
    /// a person retired does not come back at all.
    #[must_use]
    pub fn may_come_back(&self) -> bool {
        let replaced = |step: &Step| step.evidence.iter().any(|text| text.starts_with(REPLACED));
        match self.state {
            State::Approved => !self.last_active().is_empty(),
            State::Retired => self.steps.last().is_some_and(replaced),
            _ => false,
        }
    }

    /// Brings the model to a state.
    ///
    /// # Errors
    /// [`LearnError::State`] when there is no such way, or when somebody approves what the backtest
    /// did not try and does not say why.
    pub fn step(&mut self, to: State, who: &Who, evidence: Vec<String>) -> Result<(), LearnError> {
        if !self.state.may_become(to) {
            let why = format!("the model is {}, it cannot become {}", self.state.word(), to.word());
            return Err(LearnError::State(why, self.state.way(to)));
        }
        if let (State::Approved, Some(untried)) = (to, self.untried())
            && who.reason.trim().is_empty()
        {
            let why = format!("the backtest says \"{untried}\": who approves it must say why");
            let way = "give --reason, or backtest it on rows with labelled faults: \
                       `trimloop model backtest … --label COLUMN`";
            return Err(LearnError::State(why, way));
        }
        self.put(to, who, evidence);
        Ok(())
    }

    /// What the newest backtest did not try, if anything.
    fn untried(&self) -> Option<&str> {
        let backtest = self.steps.iter().rev().find(|step| step.to == State::Backtested)?;
        backtest.evidence.iter().find(|text| text.starts_with(UNTRIED)).map(String::as_str)
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
        self.put(State::Retired, who, vec![format!("{REPLACED}{by}")]);
    }

    /// Brings a model that was ACTIVE before back into force.
    ///
    /// # Errors
    /// [`LearnError::State`] when it never was, or went out of force for a reason.
    pub fn restore(&mut self, who: &Who, instead_of: &str) -> Result<(), LearnError> {
        if !self.may_come_back() {
            let why = format!("the model is {}, no rollback brings it back", self.state.word());
            return Err(LearnError::State(why, self.state.way(State::Active)));
        }
        self.put(State::Active, who, vec![format!("{ROLLED_BACK}{instead_of}")]);
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

    /// What a backtest did not try is approved with a reason only.
    #[test]
    fn an_untried_gate_needs_a_reason() {
        let mut life = Lifecycle::new("h".to_owned());
        let untried = format!("{UNTRIED}faulty rows found");
        life.step(State::Backtested, &who("1"), vec!["rows 500".to_owned(), untried]).unwrap();
        life.step(State::Challenger, &who("2"), Vec::new()).unwrap();
        let silent = Who { reason: " ".to_owned(), ..who("3") };
        let mut tried = life.clone();
        let error = life.step(State::Approved, &silent, Vec::new()).unwrap_err().to_string();
        assert!(error.contains("not tried: faulty rows found"), "{error}");
        life.step(State::Approved, &who("3"), Vec::new()).unwrap();
        tried.step(State::Backtested, &who("4"), vec!["rows 500".to_owned()]).unwrap();
        tried.step(State::Challenger, &silent, Vec::new()).unwrap();
        tried.step(State::Approved, &silent, Vec::new()).unwrap();
    }

    /// Only what was ACTIVE can be restored, and not what was suspended or retired by a person.
    #[test]
    fn restore_needs_a_past() {
        let way = [State::Backtested, State::Challenger, State::Approved, State::Active];
        let mut life = Lifecycle::new("h".to_owned());
        assert!(life.restore(&who("1"), "x").is_err());
        for state in way {
            life.step(state, &who("2026-01-01T00:00:00Z"), vec!["rows 500".to_owned()]).unwrap();
        }
        let mut suspended = life.clone();
        life.replace(&who("2"), "m-r2");
        assert_eq!(life.last_active(), "2026-01-01T00:00:00Z");
        life.restore(&who("3"), "m-r2").unwrap();
        assert_eq!((life.state, life.last_active()), (State::Active, "3"));
        assert_eq!(life.refold(), Ok(()));
        suspended.step(State::Suspended, &who("4"), Vec::new()).unwrap();
        let error = suspended.restore(&who("5"), "m-r2").unwrap_err().to_string();
        assert!(error.contains("SUSPENDED"), "{error}");
        let mut retired = suspended.clone();
        retired.step(State::Retired, &who("5"), Vec::new()).unwrap();
        assert!(retired.restore(&who("6"), "m-r2").is_err());
        suspended.step(State::Approved, &who("5"), Vec::new()).unwrap();
        suspended.restore(&who("6"), "m-r2").unwrap();
        assert_eq!(suspended.refold(), Ok(()));
    }

    /// State in the file, steps with their evidence, what is said of them.
    type Case = (State, Vec<(State, &'static [&'static str])>, &'static str);

    /// A state that its steps do not lead to is not taken.
    #[test]
    fn a_forged_state_is_refused() {
        use State::{Active, Approved, Backtested, Challenger, Retired, Suspended, Trained};
        let none: &[&str] = &[];
        let gate: &[&str] = &["rows 500"];
        let back: &[&str] = &["rolled back from m-r2"];
        let gone: &[&str] = &["replaced by m-r2"];
        let way = [(Backtested, gate), (Challenger, none), (Approved, none)];
        let more = |steps: &[(State, &'static [&'static str])]| [&way[..], steps].concat();
        let rows: [Case; 11] = [
            (Trained, vec![], ""),
            (Approved, way.to_vec(), ""),
            (Retired, more(&[(Active, none), (Retired, gone)]), ""),
            (Approved, vec![], "steps lead to TRAINED"),
            (Active, way.to_vec(), "it says ACTIVE, but its steps lead to APPROVED"),
            (Approved, vec![(Approved, none)], "step 1 leads from TRAINED to APPROVED"),
            (Backtested, vec![(Backtested, none)], "no gates"),
            (Active, vec![(Active, back)], "step 1 leads from TRAINED"),
            (Retired, more(&[(Active, none), (Retired, none)]), "from ACTIVE to RETIRED"),
            (Active, more(&[(Active, none), (Suspended, none), (Active, none)]), "step 6"),
            (
                Active,
                more(&[(Active, none), (Suspended, none), (Active, back)]),
                "from SUSPENDED to ACTIVE",
            ),
        ];
        for (state, steps, expect) in rows {
            let mut life = Lifecycle::new("h".to_owned());
            for (to, evidence) in &steps {
                life.put(*to, &who("1"), evidence.iter().map(|&text| text.to_owned()).collect());
            }
            life.state = state;
            let found = life.refold().err().unwrap_or_default();
            assert_eq!(found.is_empty(), expect.is_empty(), "{steps:?}: {found}");
            assert!(found.contains(expect), "{steps:?}: {found}");
        }
    }
}
