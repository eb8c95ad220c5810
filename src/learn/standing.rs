//! What the state of a model lets the loops do that rest on it.
//!
//! | folder of the model | loops that rest on it |
//! |---|---|
//! | `lifecycle.json` says ACTIVE | as the recipe says |
//! | neither `lifecycle.json` nor `card.json`: not managed | as the recipe says; its author answers for the model |
//! | everything else, also what cannot be read | SHADOW at most |
//!
//! A plan holds nothing of this, and the core knows nothing of it: a state changes while a plan
//! runs, and a journal must replay whatever the states are then.

use std::path::{Path, PathBuf};

use trimloop_core::mode::Mode;
use trimloop_core::plan::{LoopId, ModelId, Plan};
use trimloop_recipe::Bound;

use super::lifecycle::{FILE, Lifecycle, State};

/// Where the model in a folder stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody keeps a state of it: it was made by other means than `trimloop model`.
    NotManaged,
    /// It is in this state.
    In(State),
    /// Its state cannot be told: why.
    Unknown(String),
}

impl Standing {
    /// Looks at the folder of a model whose artifact has this hash (hexadecimal).
    #[must_use]
    pub fn of(dir: &Path, hash: &str) -> Self {
        let gone = |name: &str| matches!(dir.join(name).try_exists(), Ok(false));
        if gone("model.tlm") {
            return Self::Unknown(format!("{} is gone", dir.join("model.tlm").display()));
        }
        // A model that was trained here has a card; without its state it is not taken for one that
        // never had any.
        if gone(FILE) && gone("card.json") {
            return Self::NotManaged;
        }
        match Lifecycle::read(dir, hash) {
            Ok(life) => Self::In(life.state),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }

    /// Highest mode of a loop that rests on such a model.
    #[must_use]
    pub const fn mode_max(&self) -> Mode {
        match self {
            Self::NotManaged | Self::In(State::Active) => Mode::Auto,
            Self::In(_) | Self::Unknown(_) => Mode::Shadow,
        }
    }

    /// In a word or two.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NotManaged => "not managed",
            Self::In(state) => state.word(),
            Self::Unknown(_) => "in no readable state",
        }
    }

    /// What a person may do so that loops may act again.
    #[must_use]
    pub fn way(&self) -> String {
        match self {
            Self::NotManaged | Self::In(State::Active) => "nothing is to be done".to_owned(),
            Self::In(State::Retired) => {
                "a retired model stays retired: name the ACTIVE revision in a new revision of the \
                 recipe"
                    .to_owned()
            }
            Self::In(state) => format!(
                "{}; or name the ACTIVE revision in a new revision of the recipe",
                state.way(State::Active)
            ),
            Self::Unknown(_) => {
                "bring lifecycle.json and model.tlm back from a backup, or name another model in a \
                 new revision of the recipe"
                    .to_owned()
            }
        }
    }
}

/// Why a loop may not go above SHADOW.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Which model is in which state.
    pub why: String,
    /// What to do.
    pub way: String,
}

/// A model of a plan, and the loops that rest on it.
#[derive(Clone, Debug)]
pub struct Support {
    /// Its name in the recipe.
    pub name: String,
    /// Its folder under models/.
    pub folder: String,
    /// Loops that may act by the recipe and rest on it.
    pub loops: Vec<LoopId>,
    dir: PathBuf,
    hash: String,
    /// Whether somebody kept a state of it when it was first looked at.
    managed: bool,
}

impl Support {
    /// Where the model stands now; reads its folder.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match Standing::of(&self.dir, &self.hash) {
            // Removing the files of a model is no way round its state.
            Standing::NotManaged if self.managed => {
                Standing::Unknown(format!("{} is gone", self.dir.join(FILE).display()))
            }
            standing => standing,
        }
    }

    /// What bars its loops now, if anything does.
    #[must_use]
    pub fn bar(&self) -> Option<Bar> {
        let standing = self.standing();
        if standing.mode_max() > Mode::Shadow {
            return None;
        }
        let why = match &standing {
            Standing::Unknown(why) => format!(": {why}"),
            Standing::NotManaged | Standing::In(_) => String::new(),
        };
        let why = format!(
            "the loop rests on the model {}, which is {}{why}",
            self.folder,
            standing.word()
        );
        Some(Bar { why, way: standing.way() })
    }
}

/// The models that loops of a plan rest on.
#[derive(Clone, Debug, Default)]
pub struct Supports(Vec<Support>);

impl Supports {
    /// Those of a bound recipe whose models are in the folders of `models`.
    #[must_use]
    pub fn of(models: &Path, bound: &Bound) -> Self {
        let plan = &bound.plan;
        let named = (0..).map(ModelId).zip(&plan.models);
        let supports = named.filter_map(|(id, model)| {
            let folder = bound.model_folders.get(&model.name)?.clone();
            let loops = loops_on(plan, id);
            let dir = models.join(&folder);
            let hash: String = model.hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let managed = Standing::of(&dir, &hash) != Standing::NotManaged;
            let name = model.name.clone();
            (!loops.is_empty()).then_some(Support { name, folder, loops, dir, hash, managed })
        });
        Self(supports.collect())
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &Support> {
        self.0.iter()
    }

    /// What bars a loop now: the first of its models that does. Reads their folders.
    #[must_use]
    pub fn bar(&self, of: LoopId) -> Option<Bar> {
        self.0.iter().filter(|support| support.loops.contains(&of)).find_map(Support::bar)
    }
}

/// Loops that the recipe lets act, and that rest on a model.
fn loops_on(plan: &Plan, model: ModelId) -> Vec<LoopId> {
    let loops = (0..).map(LoopId).zip(&plan.loops);
    let acting = loops.filter(|(_, of)| of.mode_max > Mode::Shadow && plan.rests_on(of, model));
    acting.map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::super::lifecycle::Who;
    use super::*;

    /// Only an ACTIVE model, and one that nobody keeps a state of, let loops act.
    #[test]
    fn a_state_says_what_loops_may_do() {
        let dir = std::env::temp_dir().join(format!("trimloop-standing-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let gone = Standing::of(&dir, "aa");
        assert!(matches!(&gone, Standing::Unknown(why) if why.contains("model.tlm is gone")));
        std::fs::write(dir.join("model.tlm"), "").unwrap();
        assert_eq!(Standing::of(&dir, "aa"), Standing::NotManaged);
        std::fs::write(dir.join("card.json"), "{}").unwrap();
        assert_eq!(Standing::of(&dir, "aa"), Standing::In(State::Trained));
        let who = Who { utc: String::new(), actor: String::new(), reason: String::new() };
        let mut life = Lifecycle::new("aa".to_owned());
        let way = [
            (State::Backtested, Mode::Shadow),
            (State::Challenger, Mode::Shadow),
            (State::Approved, Mode::Shadow),
            (State::Active, Mode::Auto),
            (State::Suspended, Mode::Shadow),
            (State::Retired, Mode::Shadow),
        ];
        for (state, mode) in way {
            life.step(state, &who, vec!["rows 500".to_owned()]).unwrap();
            std::fs::write(dir.join(FILE), life.text()).unwrap();
            let standing = Standing::of(&dir, "aa");
            assert_eq!((&standing, standing.mode_max()), (&Standing::In(state), mode));
            // Another artifact: its state is not this one's.
            assert_eq!(Standing::of(&dir, "bb").mode_max(), Mode::Shadow);
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// A model whose files are removed while it is in use is not taken for one without a state.
    #[test]
    fn removing_the_state_is_no_way_round_it() {
        let name = format!("trimloop-support-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("model.tlm"), "").unwrap();
        for (managed, barred) in [(false, false), (true, true)] {
            let support = Support {
                name: "press".to_owned(),
                folder: "press-r1".to_owned(),
                loops: vec![LoopId(0)],
                dir: dir.clone(),
                hash: "aa".to_owned(),
                managed,
            };
            let bar = Supports(vec![support]).bar(LoopId(0));
            assert_eq!(bar.is_some(), barred, "{bar:?}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
