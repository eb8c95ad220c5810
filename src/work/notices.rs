//! Couriers of notices: a thread for each channel, so that a server that does not answer holds up
//! neither the desk nor another channel.
//!
//! The desk hands a notice over when it is on disk as being sent, and is told what came of it. What
//! is under way when the service ends is sent again by the next one, under the same id.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use tracing::{debug, warn};
use trimloop_cmms::{Courier, CourierStaysHere, NoticeFile, Sender, delivery};
use trimloop_work::notify::{ChannelPlan, Delivery, Notice};

use crate::clock::Clock;
use crate::settings::{Channel, Way};

/// What came of a notice.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) channel: String,
    pub(super) id: String,
    pub(super) how: Delivery,
}

/// The couriers of all channels.
#[derive(Debug, Default)]
pub(super) struct Couriers {
    lanes: Vec<(String, SyncSender<Notice>)>,
}

/// A courier that works for this channel.
#[must_use]
pub fn courier(channel: &Channel) -> Box<dyn Courier> {
    match &channel.way {
        Way::Mail(mail) => Box::new(mail.clone()),
        Way::Webhook(webhook) => Box::new(webhook.clone()),
        Way::File(file) => Box::new(file.clone()),
    }
}

/// The couriers of a simulated cell: whatever the channels are, their notices go into files beside
/// its data, `notices-NAME.jsonl`.
fn of_simulation(
    data: &Path,
    channels: &[Channel],
) -> Vec<(String, impl CourierStaysHere + use<>)> {
    let file = |channel: &Channel| {
        let path = data.join(format!("notices-{}.jsonl", channel.name));
        (channel.name.clone(), NoticeFile { path })
    };
    channels.iter().map(file).collect()
}

impl Couriers {
    /// For a cell that is real.
    pub(super) fn live(
        channels: &[Channel],
        sender: &Sender,
        clock: Clock,
        tells: &(impl Fn(Came) -> bool + Clone + Send + 'static),
    ) -> std::io::Result<Self> {
        let all = channels.iter().map(|channel| (channel.name.clone(), courier(channel)));
        Self::start(all.collect(), sender, clock, tells)
    }

    /// For a cell that is simulated.
    pub(super) fn simulated(
        data: &Path,
        channels: &[Channel],
        sender: &Sender,
        clock: Clock,
        tells: &(impl Fn(Came) -> bool + Clone + Send + 'static),
    ) -> std::io::Result<Self> {
        let all = of_simulation(data, channels)
            .into_iter()
            .map(|(name, file)| (name, Box::new(file) as Box<dyn Courier>));
        Self::start(all.collect(), sender, clock, tells)
    }

    fn start(
        couriers: Vec<(String, Box<dyn Courier>)>,
        sender: &Sender,
        clock: Clock,
        tells: &(impl Fn(Came) -> bool + Clone + Send + 'static),
    ) -> std::io::Result<Self> {
        let mut lanes = Vec::new();
        for (name, courier) in couriers {
            // One is under way, and the desk gives out no second one.
            let (lane, inbox) = sync_channel(1);
            let (sender, tells) = (sender.clone(), tells.clone());
            // Nobody waits for its end: it may stand before a server for a minute, and what it
            // carries is on disk.
            std::thread::Builder::new()
                .name("notice".to_owned())
                .spawn(move || run(&*courier, &inbox, &sender, clock, &tells))?;
            lanes.push((name, lane));
        }
        Ok(Self { lanes })
    }

    /// Hands a notice over; why not, if its courier is not free.
    pub(super) fn carry(&self, notice: Notice) -> Option<Came> {
        let (channel, id) = (notice.channel.clone(), notice.id.clone());
        let not = |why: &str| {
            let how = Delivery::Failed(None, why.to_owned());
            Some(Came { channel: channel.clone(), id: id.clone(), how })
        };
        let Some((_, lane)) = self.lanes.iter().find(|(name, _)| *name == channel) else {
            return not("it has no courier");
        };
        match lane.try_send(notice) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => not("its courier is still under way"),
            Err(TrySendError::Disconnected(_)) => not("its courier has ended"),
        }
    }
}

fn run(
    courier: &dyn Courier,
    inbox: &Receiver<Notice>,
    sender: &Sender,
    clock: Clock,
    tells: &impl Fn(Came) -> bool,
) {
    let mut trouble: Option<String> = None;
    while let Ok(notice) = inbox.recv() {
        let how = delivery(courier.deliver(&notice, sender, clock.utc()));
        let channel = notice.channel;
        match &how {
            Delivery::Delivered => {
                if trouble.take().is_some() {
                    debug!(channel, "Notices go out again.");
                }
            }
            Delivery::Failed(_, why) | Delivery::Refused(why) => {
                // It is tried again and again, and told once.
                if trouble.as_ref() != Some(why) {
                    warn!(channel, why, "A notice of alarms did not go out; it is tried again.");
                }
                trouble = Some(why.clone());
            }
        }
        if !tells(Came { channel, id: notice.id, how }) {
            return;
        }
    }
}

/// What the channels are told, and when.
#[must_use]
pub fn plans(channels: &[Channel]) -> Vec<ChannelPlan> {
    channels.iter().map(Channel::plan).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trimloop_cmms::{TimeLimits, Webhook, trial};
    use trimloop_core::time::{Span, Utc};

    use super::*;

    fn channel(name: &str, way: Way) -> Channel {
        Channel {
            name: name.into(),
            priority: 2,
            urgent: 1,
            per_hour: 6,
            group_wait: Span::from_secs(30),
            quiet: Vec::new(),
            zone: "UTC".into(),
            escalate: None,
            orders: Vec::new(),
            way,
        }
    }

    /// A dead address holds up no other channel, and says why. In a simulated cell the same channels
    /// are files beside its data, and nobody is asked.
    #[test]
    fn channels_do_not_wait_for_one_another() {
        let name = format!("trimloop-notices-{}", std::process::id());
        let data = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&data).unwrap();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", silent.local_addr().unwrap());
        let limits = TimeLimits { answer: Duration::from_secs(60), ..TimeLimits::default() };
        let webhook = Webhook { url, secret: None, ca_file: None, limits };
        let file = NoticeFile { path: data.join("own.jsonl") };
        let channels = [channel("hook", Way::Webhook(webhook)), channel("log", Way::File(file))];
        let sender = Sender { cell: "press-4".into(), when: |at| at.as_nanos().to_string() };
        let (says, came) = sync_channel(4);
        let tells = move |it| says.send(it).is_ok();
        let clock = Clock::start();
        let couriers = Couriers::live(&channels, &sender, clock, &tells).unwrap();
        let notice = |name: &str, at| trial(name, Utc::from_nanos(at));
        assert!(couriers.carry(notice("hook", 1)).is_none());
        // It stands before a server that says nothing; one more waits, and a third is not taken.
        let (_stays, _) = silent.accept().unwrap();
        assert!(couriers.carry(notice("hook", 2)).is_none());
        let full = couriers.carry(notice("hook", 3)).unwrap();
        assert!(matches!(full.how, Delivery::Failed(_, why) if why.contains("under way")));
        assert!(couriers.carry(notice("log", 4)).is_none());
        let first = came.recv().unwrap();
        assert_eq!((first.channel.as_str(), first.how), ("log", Delivery::Delivered));
        assert!(data.join("own.jsonl").exists());

        let couriers = Couriers::simulated(&data, &channels, &sender, clock, &tells).unwrap();
        for (place, channel) in channels.iter().enumerate() {
            let at = i64::try_from(place).unwrap();
            assert!(couriers.carry(notice(&channel.name, at)).is_none());
            assert_eq!(came.recv().unwrap().how, Delivery::Delivered);
            let path = data.join(format!("notices-{}.jsonl", channel.name));
            assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
        }
        std::fs::remove_dir_all(&data).unwrap();
    }
}
