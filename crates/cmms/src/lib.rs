//! Systems that keep work orders, behind one trait.
//!
//! An adapter says what one product understands and what its answers mean. It holds no state that
//! must last: what was told, and what is known of it, lies in the outbox (`trimloop_work::outbox`),
//! which asks before it tells anything twice.
//!
//! The same client and secrets bring notices of alarms to people: see [`Courier`].
//!
//! Adapters block; whoever drives them gives them a thread of their own.

mod atlas;
pub mod codes;
mod connector;
mod http;
mod maintainx;
mod maximo;
mod notice;
mod rate;
mod rest;
mod sap;
mod secret;
mod text;
pub mod wake;
mod when;

pub use connector::{ConfigError, Connector, Kind, connect, is_this_machine};
pub use http::TimeLimits;
pub use notice::{
    Courier, CourierStaysHere, Mail, MailSecurity, NoticeFile, Sender, Webhook, delivery, trial,
};
pub use rest::SHIPPED;
pub use secret::SecretPlace;
pub use wake::Wake;
pub use when::Clock;

use trimloop_core::time::Utc;
use trimloop_work::desk::OrderState;
use trimloop_work::key::ExtKey;

/// An order as we word it, before an adapter puts it into the words of its product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its key; adapters put it where their product can search for it.
    pub key: ExtKey,
    /// One line, without the key.
    pub title: String,
    /// What was seen, the evidence, what is proposed; plain text with line ends.
    pub body: String,
    /// 1, the most urgent, to 4.
    pub priority: u8,
    /// Asset, in our words.
    pub asset: String,
    /// Asset, as the product names it, where somebody told us.
    pub asset_ref: Option<String>,
    /// When it should be done.
    pub due: Option<Utc>,
    /// Who is proposed, as the product names them.
    pub assignee: Option<String>,
    /// Parts that are likely to be needed.
    pub parts: Vec<Part>,
    /// Failure mode, a stable word.
    pub mode: String,
}

/// A spare part that an order names; nothing is reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// As the product names it.
    pub reference: String,
    /// What people call it.
    pub name: String,
    /// How many.
    pub quantity: u32,
}

/// An order as the product tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The product's own number or name of it.
    pub id: String,
    /// Our key, where it is found whole.
    pub key: Option<ExtKey>,
    /// Its state, in our words.
    pub state: OrderState,
    /// The same in the product's words.
    pub word: String,
    /// The word is not known: it is taken for open, and people are told.
    pub is_word_unknown: bool,
    /// The product's time of its newest change.
    pub updated: Utc,
    /// Who works on it.
    pub assignee: Option<String>,
    /// Codes of a finished order.
    pub close: CloseCodes,
}

/// What a technician says of a finished order; as far as the product has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseCodes {
    /// What was wrong.
    pub problem: Option<String>,
    /// Why.
    pub cause: Option<String>,
    /// What was done.
    pub remedy: Option<String>,
}

/// A reading of a meter.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Meter, as the product names it.
    pub meter: String,
    /// What we call it: `cycles`, `run_hours`, `authority_used.LOOP`.
    pub name: String,
    /// Value; one that counts never falls.
    pub value: f64,
    /// When it was that. Given again with the same time it is the same reading.
    pub at: Utc,
}

/// Why a request did not end with an answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It surely did not happen: no connection was made, or the product said 429 or 503 before it
    /// took anything in. Not again before this time, where the product named one.
    NotDone {
        /// Product's wish.
        not_before: Option<Utc>,
        /// What was said, for people.
        why: String,
    },
    /// Nobody knows: the connection broke, timed out, or the answer makes no sense.
    Unknown(String),
    /// Refused for what it says; the same again would be refused again.
    Refused(String),
    /// Refused for who we are or where we ask (401, 403, 404 of the whole collection, a certificate
    /// that is not trusted): nothing goes until a person has mended the settings.
    Paused(String),
}

impl Trouble {
    /// What was said, for people.
    pub fn why(&self) -> &str {
        match self {
            Self::NotDone { why, .. }
            | Self::Unknown(why)
            | Self::Refused(why)
            | Self::Paused(why) => why,
        }
    }
}

/// A system that keeps work orders.
///
/// Every request is made once; trying again is the outbox's business.
pub trait WorkSystem: Send {
    /// Name for people and records, such as `maintainx`.
    fn name(&self) -> &str;

    /// Whether [`WorkSystem::find`] can find an order by its key. One that cannot is told as
    /// at-least-once, with an idempotency key.
    fn can_search(&self) -> bool;

    /// Makes an order; its id. `idempotency` is the same for every try of one row.
    ///
    /// # Errors
    ///
    /// [`Trouble`]; after `Unknown` the caller searches before it tries again.
    fn create(&mut self, order: &Draft, idempotency: &str) -> Result<String, Trouble>;

    /// Adds a comment to an order. `marker` is a short word that stands in the comment's text, so
    /// that [`WorkSystem::has_comment`] finds it.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    fn comment(&mut self, id: &str, text: &str, marker: &str) -> Result<(), Trouble>;

    /// Whether a comment with this marker is there.
    ///
    /// # Errors
    ///
    /// [`Trouble`]; `Refused` where the product shows no comments.
    fn has_comment(&mut self, id: &str, marker: &str) -> Result<bool, Trouble>;

    /// All orders with this key, oldest first. `since` is a time before which it surely was not
    /// made.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    fn find(&mut self, key: ExtKey, since: Utc) -> Result<Vec<Remote>, Trouble>;

    /// Orders of ours that changed at or after `since`, in any order; more than those is fine.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    fn changed(&mut self, since: Utc) -> Result<Vec<Remote>, Trouble>;

    /// One order; `None` where the product says that there is none.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    fn read(&mut self, id: &str) -> Result<Option<Remote>, Trouble>;

    /// Tells a reading of a meter.
    ///
    /// # Errors
    ///
    /// [`Trouble`]; `Refused` where the product keeps no meters, or the adapter does not know how.
    fn reading(&mut self, reading: &Reading) -> Result<(), Trouble> {
        let (name, meter) = (self.name(), &reading.meter);
        Err(Trouble::Refused(format!("{name}: readings are not told to it; meter {meter}")))
    }

    /// Asks without changing anything whether address, secret and rights would do; what to show of
    /// the answer.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    fn check(&mut self) -> Result<String, Trouble>;
}
