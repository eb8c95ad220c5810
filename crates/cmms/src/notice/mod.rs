//! Couriers: they bring one notice to people, by mail, to an address, or into a file.
//!
//! A courier holds no state: secrets and certificates are read anew for each notice, so that mended
//! ones need no restart. What was sent, and when it is tried again, is decided in
//! `trimloop_work::notify`. Couriers block; each has a thread of its own.
//!
//! All of them deliver at least once: a notice that may have arrived is sent again, under the same
//! id. Mail carries it as `Message-ID`, the others as the id of a `CloudEvents` event.

mod file;
mod mail;
mod webhook;

use serde_json::{Value, json};
use trimloop_core::time::Utc;
use trimloop_work::notify::{Delivery, Digest, Line, Notice, OrderLine};

pub use file::NoticeFile;
pub use mail::{Mail, MailSecurity};
pub use webhook::Webhook;

use crate::Trouble;
use crate::when::rfc3339;

/// Whose notices they are, and how their times are shown.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The cell.
    pub cell: String,
    /// How times are shown in texts for people.
    pub when: fn(Utc) -> String,
}

/// A way to people.
pub trait Courier: Send {
    /// Brings a notice there. Called again with the same one it may arrive twice.
    ///
    /// - `now`: this moment.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    fn deliver(&self, notice: &Notice, sender: &Sender, now: Utc) -> Result<(), Trouble>;
}

/// A courier that leaves this machine alone: the only kind that a simulated cell may have.
///
/// ```compile_fail,E0277
/// fn of_simulation(mail: trimloop_cmms::Mail) {
///     fn takes(_: impl trimloop_cmms::CourierStaysHere) {}
///     takes(mail);
/// }
/// ```
///
/// ```
/// fn of_simulation(file: trimloop_cmms::NoticeFile) {
///     fn takes(_: impl trimloop_cmms::CourierStaysHere) {}
///     takes(file);
/// }
/// ```
pub trait CourierStaysHere: Courier {}

impl CourierStaysHere for NoticeFile {}

/// What a delivery came to, for who decides when it is tried again.
pub fn delivery(came: Result<(), Trouble>) -> Delivery {
    match came {
        Ok(()) => Delivery::Delivered,
        Err(Trouble::NotDone { not_before, why }) => Delivery::Failed(not_before, why),
        Err(Trouble::Unknown(why) | Trouble::Paused(why)) => Delivery::Failed(None, why),
        Err(Trouble::Refused(why)) => Delivery::Refused(why),
    }
}

/// A notice that tells people that the channel works, of no alarm.
pub fn trial(channel: &str, at: Utc) -> Notice {
    Notice {
        id: format!("{:016x}", at.as_nanos()),
        channel: channel.to_owned(),
        at,
        lines: Vec::new(),
        more: 0,
        more_ended: 0,
        digest: None,
    }
}

fn is_trial(notice: &Notice) -> bool {
    let is_of_alarms = !notice.lines.is_empty() || notice.more > 0 || notice.more_ended > 0;
    !is_of_alarms && notice.digest.is_none()
}

/// Title and text for people.
fn texts(notice: &Notice, sender: &Sender) -> (String, String) {
    let Sender { cell, when } = sender;
    if is_trial(notice) {
        let text = format!(
            "This is a test of the channel \"{}\" of {cell}, {}.\nNo alarm is meant by it.\n",
            notice.channel,
            when(notice.at)
        );
        return (format!("[{cell}] test of notices"), text);
    }
    (notice.title(cell), notice.body(cell, when))
}

/// The notice as an event of `CloudEvents` 1.0, in its JSON format.
fn event(notice: &Notice, sender: &Sender) -> Value {
    let (title, text) = texts(notice, sender);
    let kind = match notice.digest {
        Some(_) => "trimloop.orders",
        None if is_trial(notice) => "trimloop.notice.test",
        None => "trimloop.notice",
    };
    let mut data = json!({
        "channel": notice.channel,
        "cell": sender.cell,
        "title": title,
        "text": text,
    });
    let more = notice.digest.as_ref().map_or_else(|| alarms(notice), orders);
    if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
        data.extend(more);
    }
    // The source is a URI reference, and names of cells hold nothing but letters, digits, - _ .
    json!({
        "specversion": "1.0",
        "id": notice.id,
        "source": format!("/trimloop/{}", sender.cell),
        "type": kind,
        "time": rfc3339(notice.at),
        "datacontenttype": "application/json",
        "data": data,
    })
}

fn alarms(notice: &Notice) -> Value {
    json!({
        "priority": notice.priority(),
        "alarms": notice.lines.iter().map(alarm).collect::<Vec<_>>(),
        "more": notice.more,
        "more_ended": notice.more_ended,
    })
}

fn orders(digest: &Digest) -> Value {
    let [person, open, proof, closed] = digest.counts;
    json!({
        "since": rfc3339(digest.since),
        "system": digest.system.as_deref().unwrap_or("built-in"),
        "orders": digest.lines.iter().map(order).collect::<Vec<_>>(),
        "more": digest.more,
        "counts": {
            "person": person, "open": open, "proof": proof, "closed": closed, "new": digest.new,
        },
    })
}

fn order(line: &OrderLine) -> Value {
    json!({
        "key": line.key.to_string(),
        "section": line.section.word(),
        "name": line.name,
        "asset": line.asset,
        "fault": line.fault,
        "priority": line.priority,
        "opened": rfc3339(line.opened),
        "new": line.is_new,
        "on": line.active,
        "state": line.state,
        "assignee": line.assignee,
        "number": line.number,
        "after": line.after.map(|key| key.to_string()),
        "refused_request": line.refused,
    })
}

fn alarm(line: &Line) -> Value {
    json!({
        "name": line.name,
        "fingerprint": line.alarm.to_string(),
        "priority": line.priority,
        "on": line.ended.is_none(),
        "began": line.began.map(rfc3339),
        "ended": line.ended.map(rfc3339),
        "times": line.times,
        "chatters": line.chatters,
        "escalated_from": line.from,
        "seen": line.seen,
    })
}
