//! What people ask of the work desk, as it travels over the control socket.

use serde::{Deserialize, Serialize};
use trimloop_core::time::Span;
use trimloop_orders::book::{Act, TEXT_MAX};
use trimloop_orders::draft::CloseCodes;
use trimloop_orders::engine::Ask;
use trimloop_work::key::{ExtKey, Fingerprint};

/// Most kinds of spare parts of one order.
const PARTS_MAX: usize = 50;

/// What shall be done with an alarm, a case or an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkAsk {
    /// Somebody knows of an alarm.
    Ack {
        /// Which: its name or fingerprint.
        alarm: String,
    },
    /// It is put aside.
    Shelve {
        /// Which.
        alarm: String,
        /// For so long [min], at most 480.
        minutes: u32,
    },
    /// It is taken back.
    Unshelve {
        /// Which.
        alarm: String,
    },
    /// A draft becomes an order.
    Approve {
        /// Key of the case.
        key: String,
    },
    /// Things stay as they are.
    Accept {
        /// Key of the case.
        key: String,
    },
    /// The repair helped.
    Verify {
        /// Key of the case.
        key: String,
    },
    /// Somebody shall work on it.
    Assign {
        /// Key of the order.
        key: String,
        /// Who.
        to: String,
    },
    /// A remark.
    Comment {
        /// Key of the order.
        key: String,
        /// It.
        text: String,
    },
    /// Work begins.
    Start {
        /// Key of the order.
        key: String,
    },
    /// It waits.
    Hold {
        /// Key of the order.
        key: String,
    },
    /// Work is done.
    Done {
        /// Key of the order.
        key: String,
        /// What was wrong.
        problem: Option<String>,
        /// Why.
        cause: Option<String>,
        /// What was done.
        remedy: Option<String>,
        /// Parts that were used: reference, quantity.
        #[serde(default)]
        parts: Vec<(String, u32)>,
    },
    /// It is called off.
    Cancel {
        /// Key of the order.
        key: String,
    },
    /// A request that was refused is sent again.
    Retry {
        /// Its number.
        row: u64,
    },
}

impl WorkAsk {
    /// For the audit trail: `work done TLW-…-1`.
    #[must_use]
    pub fn said(&self) -> String {
        match self {
            Self::Ack { alarm } => format!("event ack {alarm}"),
            Self::Shelve { alarm, minutes } => format!("event shelve {alarm} for {minutes} min"),
            Self::Unshelve { alarm } => format!("event unshelve {alarm}"),
            Self::Approve { key } => format!("work approve {key}"),
            Self::Accept { key } => format!("work accept {key}"),
            Self::Verify { key } => format!("work verify {key}"),
            Self::Assign { key, to } => format!("work assign {key} to {to}"),
            Self::Comment { key, .. } => format!("work comment {key}"),
            Self::Start { key } => format!("work start {key}"),
            Self::Hold { key } => format!("work hold {key}"),
            Self::Done { key, .. } => format!("work done {key}"),
            Self::Cancel { key } => format!("work cancel {key}"),
            Self::Retry { row } => format!("connector retry {row}"),
        }
    }

    /// In the desk's words. `names`: the alarms by name.
    ///
    /// # Errors
    /// What is not known, for people.
    pub fn checked(&self, names: &[(String, Fingerprint)]) -> Result<Ask, String> {
        let alarm = |alarm: &str| {
            let named = names.iter().find(|(name, _)| name == alarm).map(|(_, of)| *of);
            named.or_else(|| Fingerprint::parse(alarm)).ok_or_else(|| {
                format!("there is no alarm \"{alarm}\"; `trimloop events list --all` names them")
            })
        };
        let order = |key: &str| {
            ExtKey::parse(key).ok_or_else(|| {
                format!("\"{key}\" is no key of a case; `trimloop work list` shows them")
            })
        };
        let text = |text: &str| {
            let fits = !text.trim().is_empty() && text.len() <= TEXT_MAX;
            fits.then(|| text.to_owned()).ok_or(format!("a text has 1 to {TEXT_MAX} bytes"))
        };
        let maybe = |it: &Option<String>| it.as_deref().map(text).transpose();
        let case = |key: &str| order(key).map(|key| key.fingerprint);
        Ok(match self {
            Self::Ack { alarm: of } => Ask::Acknowledge(alarm(of)?),
            Self::Shelve { alarm: of, minutes } => {
                Ask::Shelve(alarm(of)?, Span::from_secs(60 * i64::from(*minutes)))
            }
            Self::Unshelve { alarm: of } => Ask::Unshelve(alarm(of)?),
            Self::Approve { key } => Ask::Approve(case(key)?),
            Self::Accept { key } => Ask::Accept(case(key)?),
            Self::Verify { key } => Ask::Verify(case(key)?),
            Self::Assign { key, to } => Ask::Order(order(key)?, Act::Assign(text(to)?)),
            Self::Comment { key, text: said } => Ask::Order(order(key)?, Act::Comment(text(said)?)),
            Self::Start { key } => Ask::Order(order(key)?, Act::Start),
            Self::Hold { key } => Ask::Order(order(key)?, Act::Hold),
            Self::Cancel { key } => Ask::Order(order(key)?, Act::Cancel),
            Self::Retry { row } => Ask::Retry(*row),
            Self::Done { key, problem, cause, remedy, parts } => {
                let (problem, cause, remedy) = (maybe(problem)?, maybe(cause)?, maybe(remedy)?);
                let close = CloseCodes { problem, cause, remedy };
                if parts.len() > PARTS_MAX {
                    return Err(format!("an order names at most {PARTS_MAX} parts that were used"));
                }
                for (reference, quantity) in parts {
                    text(reference)?;
                    if !(1..=999).contains(quantity) {
                        return Err(format!("of {reference} 1 to 999 can be used"));
                    }
                }
                Ask::Order(order(key)?, Act::Done(close, parts.clone()))
            }
        })
    }
}
