//! `[notify.NAME]` of `trimloop.toml`: who is told of alarms away from the page. Secrets never stand
//! here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use config::ValueKind;

use trimloop_cmms::{
    Mail, MailSecurity, NoticeFile, SecretPlace, TimeLimits, Webhook, is_this_machine,
};
use trimloop_core::time::Span;
use trimloop_work::notify::{ChannelPlan, DIGESTS_MAX};
use trimloop_work::shift::{Shift, Zone};

use super::Reader;
use crate::error::INFLUX_SECRET_SHOWN;
use crate::work::plant::{hours, minutes, zone};

/// Before every key of a channel.
pub(super) const TABLE: &str = "notify.";
/// In the list of settings, for the name of a channel.
pub(super) const NAME: &str = "notify.NAME.";
/// Most channels, each with a thread of its own.
const CHANNELS_MAX: usize = 16;
const RECIPIENTS_MAX: usize = 50;
const GROUP_WAIT: [Span; 2] = [Span::from_secs(1), Span::from_secs(600)];
const ESCALATE: [Span; 2] = [Span::from_secs(60), Span::from_secs(7 * 86_400)];

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Alarms of this priority and of more urgent ones; 0 for what others escalate only.
    pub priority: u8,
    /// Up to this priority an alarm is told in quiet hours too; 0 for none.
    pub urgent: u8,
    /// Most notices within an hour.
    pub per_hour: u8,
    /// From the first alarm to the notice.
    pub group_wait: Span,
    /// Quiet hours.
    pub quiet: Vec<Shift>,
    /// Their zone, and that of `orders`, a word that is one.
    pub zone: String,
    /// What nobody acknowledged so long goes to that channel.
    pub escalate: Option<(Span, String)>,
    /// Times of the day at which it is told the work orders, minutes, rising; none for never.
    pub orders: Vec<u16>,
    /// How it is told.
    pub way: Way,
}

/// How a channel is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By mail.
    Mail(Mail),
    /// At an address.
    Webhook(Webhook),
    /// In a file.
    File(NoticeFile),
}

impl Channel {
    /// What it is told, and when.
    #[must_use]
    pub fn plan(&self) -> ChannelPlan {
        ChannelPlan {
            name: self.name.clone(),
            priority: self.priority,
            urgent: self.urgent,
            per_hour: self.per_hour.into(),
            group_wait: self.group_wait,
            quiet: self.quiet.clone(),
            zone: zone(&self.zone).unwrap_or(Zone::Fixed(0)),
            escalate: self.escalate.clone(),
            orders: self.orders.clone(),
        }
    }

    /// Where it leads, for people.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.way {
            Way::Mail(mail) => {
                let count = mail.recipients.len();
                let others =
                    if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
                let first = mail.recipients.first().map_or("", String::as_str);
                format!("{first}{others} over {}:{}", mail.host, mail.port)
            }
            Way::Webhook(webhook) => webhook.url.clone(),
            Way::File(file) => file.path.display().to_string(),
        }
    }

    /// Its way, in one word of the settings.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.way {
            Way::Mail(_) => "mail",
            Way::Webhook(_) => "webhook",
            Way::File(_) => "file",
        }
    }
}

impl Reader<'_> {
    /// The checked tables, those without a mistake, by name.
    pub(super) fn notify(&mut self, base: &Path) -> Vec<Channel> {
        let name = |key: &String| {
            let rest = key.strip_prefix(TABLE)?;
            Some(rest.split('.').next().unwrap_or(rest).to_owned())
        };
        let names: BTreeSet<String> = self.values.keys().filter_map(name).collect();
        let mut channels = Vec::new();
        for name in &names {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
                let help = "a channel's name has 1 to 32 letters, digits, - _";
                self.wrong::<()>(&format!("{TABLE}{name}"), help);
                continue;
            }
            if ["influx", "cmms"].contains(&name.as_str()) {
                let help = "take another name: `trimloop connector` calls a connector so";
                self.wrong::<()>(&format!("{TABLE}{name}.to"), help);
            }
            channels.extend(self.channel(base, name));
        }
        if names.len() > CHANNELS_MAX {
            self.wrong::<()>("notify", "use at most 16 channels");
        }
        self.escalations(&channels);
        channels
    }

    fn channel(&mut self, base: &Path, name: &str) -> Option<Channel> {
        let found = self.found.len();
        let key = |key: &str| format!("{TABLE}{name}.{key}");
        let shown = ["password", "secret", "token"].map(key);
        self.secrets_shown(&shown.each_ref().map(|key| key.as_str()), |_| key("secret"));
        let way = match self.line(&key("to")).as_deref() {
            Some("mail") => self.mail(base, name).map(Way::Mail),
            Some("webhook") => self.webhook(base, name).map(Way::Webhook),
            Some("file") => self.notice_file(base, name).map(Way::File),
            Some(_) => self.wrong(&key("to"), "use \"mail\", \"webhook\" or \"file\""),
            None => self.lacks(&key("to"), "how it is told: \"mail\", \"webhook\" or \"file\""),
        };
        self.only_of_its_way(name);
        let usual = ChannelPlan::new(name, 0);
        let number = |reader: &mut Self, of: &str, range, usual| {
            reader.small(&key(of), range).unwrap_or(usual)
        };
        let channel = Channel {
            name: name.to_owned(),
            priority: number(self, "priority", [1, 4], 0),
            urgent: number(self, "urgent", [0, 4], usual.urgent),
            per_hour: number(self, "per_hour", [1, 60], 6),
            group_wait: self.span(
                &key("group_wait"),
                usual.group_wait,
                GROUP_WAIT,
                "1 s",
                "10 min",
            ),
            quiet: self.quiet(&key("quiet")),
            zone: self.zone_word(&key("zone")),
            escalate: self.escalate(name),
            orders: self.order_times(&key("orders")),
            way: way?,
        };
        (self.found.len() == found).then_some(channel)
    }

    fn quiet(&mut self, key: &str) -> Vec<Shift> {
        let mut all = Vec::new();
        for text in self.lines(key) {
            let help = "write \"22:00-06:00\" for each day, \"sat,sun 00:00-24:00\" for some";
            all.extend(hours(&text).or_else(|| self.wrong(key, help)));
        }
        all
    }

    /// Times of the day, rising.
    fn order_times(&mut self, key: &str) -> Vec<u16> {
        if !self.values.contains_key(key) {
            return Vec::new();
        }
        let found = self.found.len();
        let texts = self.lines(key);
        let mut times = Vec::new();
        for text in &texts {
            let help = "write times of the day: [\"06:30\", \"14:30\"]";
            times.extend(minutes(text.trim()).or_else(|| self.wrong(key, help)));
        }
        times.sort_unstable();
        let is_twice = times.windows(2).any(|pair| pair.first() == pair.last());
        if self.found.len() > found {
            return Vec::new();
        }
        if is_twice || times.is_empty() || times.len() > DIGESTS_MAX {
            self.wrong::<()>(key, "name 1 to 12 times of the day, each once");
        }
        times
    }

    fn zone_word(&mut self, key: &str) -> String {
        let word = self.line(key).unwrap_or_else(|| "local".to_owned());
        if zone(&word).is_none() {
            self.wrong::<()>(key, "use \"local\", \"UTC\", or an offset such as \"+01:00\"");
        }
        word
    }

    fn escalate(&mut self, name: &str) -> Option<(Span, String)> {
        let (after, to) =
            (format!("{TABLE}{name}.escalate_after"), format!("{TABLE}{name}.escalate_to"));
        let is_there = [&after, &to].map(|key| self.values.contains_key(key));
        let next = self.line(&to);
        let wait = self.span(&after, ESCALATE[1], ESCALATE, "1 min", "7 d");
        match is_there {
            [true, true] => Some((wait, next?)),
            [true, false] => self.lacks(&to, "the channel that is told then"),
            [false, true] => self.lacks(&after, "such as escalate_after = \"10 min\""),
            [false, false] => None,
        }
    }

    /// Every channel is told something, by somebody who is there, and not round and round.
    fn escalations(&mut self, channels: &[Channel]) {
        let next: BTreeMap<&str, &str> = channels
            .iter()
            .filter_map(|of| Some((of.name.as_str(), of.escalate.as_ref()?.1.as_str())))
            .collect();
        let is_channel = |name: &str| {
            let table = format!("{TABLE}{name}");
            let inside = format!("{table}.");
            self.values.keys().any(|key| *key == table || key.starts_with(&inside))
        };
        let mut wrong: Vec<(String, String)> = Vec::new();
        for (from, to) in &next {
            let key = format!("{TABLE}{from}.escalate_to");
            if !is_channel(to) {
                wrong.push((key, format!("there is no [notify.{to}]")));
                continue;
            }
            let mut place = *to;
            for _ in 0..channels.len() {
                if place == *from {
                    wrong.push((key, "it comes round to itself; end at one channel".to_owned()));
                    break;
                }
                let Some(on) = next.get(place) else { break };
                place = on;
            }
        }
        for channel in channels {
            let is_asked = next.values().any(|to| *to == channel.name);
            if channel.priority == 0 && !is_asked && channel.orders.is_empty() {
                let key = format!("{TABLE}{}.priority", channel.name);
                let help = "1 to 4: alarms of this priority and the more urgent ones; without it \
                            another channel must escalate to this one, or it has `orders`";
                self.lacks::<()>(&key, help);
            }
        }
        for (key, help) in wrong {
            self.wrong::<()>(&key, &help);
        }
    }

    /// Keys of another way would be passed over in silence.
    fn only_of_its_way(&mut self, name: &str) {
        let all: [(&str, &[&str]); 10] = [
            ("server", &["mail"]),
            ("tls", &["mail"]),
            ("user", &["mail"]),
            ("from", &["mail"]),
            ("recipients", &["mail"]),
            ("url", &["webhook"]),
            ("file", &["file"]),
            ("ca_file", &["mail", "webhook"]),
            ("secret_file", &["mail", "webhook"]),
            ("secret_credential", &["mail", "webhook"]),
        ];
        let to = self.values.get(&format!("{TABLE}{name}.to")).map(ToString::to_string);
        let Some(to) = to.filter(|to| ["mail", "webhook", "file"].contains(&to.as_str())) else {
            return;
        };
        for (key, ways) in all {
            let key = format!("{TABLE}{name}.{key}");
            if self.values.contains_key(&key) && !ways.contains(&to.as_str()) {
                self.wrong::<()>(&key, &format!("it is of to = \"{}\"", ways.join("\" or \"")));
            }
        }
    }

    fn mail(&mut self, base: &Path, name: &str) -> Option<Mail> {
        let key = |key: &str| format!("{TABLE}{name}.{key}");
        let security = match self.line(&key("tls")).as_deref() {
            None | Some("starttls") => MailSecurity::StartTls,
            Some("tls") => MailSecurity::Tls,
            Some("none") => MailSecurity::Open,
            Some(_) => self.wrong(&key("tls"), "use \"starttls\", \"tls\" or \"none\"")?,
        };
        let server = match self.line(&key("server")) {
            Some(server) => host_and_port(&server, security.port()).or_else(|| {
                self.wrong(&key("server"), "a host, and a port if it is not the usual one")
            }),
            None => self.lacks(&key("server"), "such as server = \"smtp.plant.example\""),
        };
        let secret = self.channel_secret(base, name);
        let user = self.line(&key("user"));
        let login = match (user, secret) {
            (Some(user), Some(secret)) => Some((user, secret)),
            (None, None) => None,
            (Some(_), None) => {
                self.lacks(&key("secret_file"), "file with the user's password, mode 0600")
            }
            (None, Some(_)) => self.lacks(&key("user"), "whose password it is"),
        };
        let from = match self.line(&key("from")) {
            Some(from) => Some(from),
            None => self.lacks(&key("from"), "such as from = \"trimloop@plant.example\""),
        };
        let recipients = self.lines(&key("recipients"));
        if recipients.is_empty() {
            let help = "such as recipients = [\"shift@plant.example\"]";
            self.lacks::<()>(&key("recipients"), help);
        }
        if recipients.len() > RECIPIENTS_MAX {
            self.wrong::<()>(
                &key("recipients"),
                "name at most 50; a list of the server holds more",
            );
        }
        let (host, port) = server?;
        let mail = Mail {
            host,
            port,
            security,
            ca_file: self.line(&key("ca_file")).map(|file| base.join(file)),
            login,
            from: from?,
            recipients,
        };
        if let Some(address) = mail.wrong_address() {
            let of = if *address == mail.from { "from" } else { "recipients" };
            let help = format!("\"{address}\" is no address: write \"name@plant.example\"");
            return self.wrong(&key(of), &help);
        }
        let is_open = security == MailSecurity::Open && !is_this_machine(&mail.host);
        if is_open && mail.login.is_some() {
            let help = "use \"starttls\" or \"tls\": anybody on the line would read the password";
            return self.wrong(&key("tls"), help);
        }
        Some(mail)
    }

    fn webhook(&mut self, base: &Path, name: &str) -> Option<Webhook> {
        let key = |key: &str| format!("{TABLE}{name}.{key}");
        let secret = self.channel_secret(base, name);
        let ca_file = self.line(&key("ca_file")).map(|file| base.join(file));
        let Some(url) = self.line(&key("url")) else {
            return self.lacks(&key("url"), "such as url = \"https://alerts.example/trimloop\"");
        };
        if url.contains('@') {
            let message = format!("`{}` holds a user or password", key("url"));
            let diagnostic = self.plain(&INFLUX_SECRET_SHOWN, message);
            let help = "leave it out: events are signed with the key in `secret_file`";
            self.found.push(diagnostic.help(help));
            return None;
        }
        let webhook = Webhook { url, secret, ca_file, limits: TimeLimits::default() };
        match webhook.mistake() {
            Some(why) => self.wrong(&key("url"), why),
            None => Some(webhook),
        }
    }

    fn notice_file(&mut self, base: &Path, name: &str) -> Option<NoticeFile> {
        let key = format!("{TABLE}{name}.file");
        match self.line(&key) {
            Some(file) => Some(NoticeFile { path: base.join(file) }),
            None => self.lacks(&key, "such as file = \"notices.jsonl\""),
        }
    }

    fn channel_secret(&mut self, base: &Path, name: &str) -> Option<SecretPlace> {
        let key = |key: &str| format!("{TABLE}{name}.{key}");
        match (self.line(&key("secret_file")), self.line(&key("secret_credential"))) {
            (Some(file), None) => Some(SecretPlace::File(base.join(file))),
            (None, Some(name)) => Some(SecretPlace::Credential(name)),
            (Some(_), Some(_)) => {
                self.wrong(&key("secret_credential"), "give either it or `secret_file`")
            }
            (None, None) => None,
        }
    }

    /// A small whole number; `None` where it is not there, or wrong.
    fn small(&mut self, key: &str, [least, most]: [u8; 2]) -> Option<u8> {
        let number = match &self.values.get(key)?.kind {
            ValueKind::I64(number) => u8::try_from(*number).ok(),
            // From the environment.
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        };
        let fits = number.filter(|number| (least..=most).contains(number));
        let help = format!("use a number from {least} to {most}, without quotes");
        fits.or_else(|| self.wrong(key, &help))
    }

    /// A list of texts, or one text.
    fn lines(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.values.get(key) else { return Vec::new() };
        let items: Vec<ValueKind> = match &value.kind {
            ValueKind::Array(items) => items.iter().map(|item| item.kind.clone()).collect(),
            other => vec![other.clone()],
        };
        let fits = |text: &String| {
            !text.trim().is_empty() && text.len() <= 512 && !text.chars().any(char::is_control)
        };
        let texts: Option<Vec<String>> = items
            .into_iter()
            .map(|item| match item {
                ValueKind::String(text) => Some(text).filter(fits),
                _ => None,
            })
            .collect();
        let help = "use a list of texts: [\"…\", \"…\"]";
        texts.or_else(|| self.wrong(key, help)).unwrap_or_default()
    }
}

/// `smtp.plant.example`, `10.0.0.7:25`, `[::1]:2525`.
fn host_and_port(text: &str, usual: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    let is_host = !host.is_empty() && host.chars().all(fits);
    let port = port.map_or(Some(usual), |port| port.parse().ok().filter(|port| *port != 0))?;
    is_host.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use trimloop_recipe::diagnostic::{Color, render};

    use super::super::{Environment, Settings};
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Vec<Channel>, String> {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        let environment = Environment { variables: variables.iter().map(own).collect() };
        Settings::from_text(Some(PathBuf::from("/plant/trimloop.toml")), text, &environment)
            .map(|settings| settings.notify)
            .map_err(|found| render(&found, Color::Never))
    }

    const MAIL: &str = "[notify.shift]\nto = \"mail\"\nserver = \"smtp.plant.example\"\n\
                        from = \"trimloop@plant.example\"\nrecipients = [\"a@b.example\"]\n\
                        priority = 2\n";

    /// What is left out has its default; paths count from the file; the environment wins.
    #[test]
    fn tables_are_read() {
        assert_eq!(load("", &[]).unwrap(), []);
        let all = load(MAIL, &[]).unwrap();
        let shift = &all[0];
        assert_eq!((shift.priority, shift.urgent, shift.per_hour), (2, 1, 6));
        assert_eq!((shift.group_wait, shift.zone.as_str()), (Span::from_secs(30), "local"));
        assert_eq!(shift.place(), "a@b.example over smtp.plant.example:587");
        let more = "urgent = 0\nper_hour = 12\ngroup_wait = \"1 min\"\nzone = \"+01:00\"\n\
                    quiet = [\"22:00-06:00\", \"sat,sun 00:00-24:00\"]\ntls = \"tls\"\n\
                    user = \"me\"\nsecret_file = \"mail-password\"\nescalate_to = \"boss\"\n\
                    escalate_after = \"10 min\"\n[notify.boss]\nto = \"webhook\"\n\
                    url = \"https://alerts.example/x\"\nsecret_credential = \"hook\"\n\
                    [notify.log]\nto = \"file\"\nfile = \"notices.jsonl\"\n\
                    orders = [\"14:30\", \"06:30\"]\n";
        let variables = [("TRIMLOOP_NOTIFY__SHIFT__PRIORITY", "3")];
        let all = load(&format!("{MAIL}{more}"), &variables).unwrap();
        let [boss, log, shift] = &all[..] else { panic!("{all:?}") };
        assert_eq!((shift.priority, shift.urgent, shift.per_hour), (3, 0, 12));
        assert_eq!(shift.escalate, Some((Span::from_secs(600), "boss".into())));
        assert_eq!((shift.quiet.len(), shift.quiet[0].from), (2, 1320));
        let Way::Mail(mail) = &shift.way else { panic!("{shift:?}") };
        let place = SecretPlace::File("/plant/mail-password".into());
        assert_eq!((mail.port, mail.login.clone()), (465, Some(("me".into(), place))));
        assert_eq!((boss.priority, boss.kind()), (0, "webhook"));
        assert_eq!(log.place(), "/plant/notices.jsonl");
        // It is told the orders alone.
        assert_eq!((log.priority, &*log.plan().orders), (0, &[390_u16, 870][..]));
        assert!(matches!(shift.plan().zone, Zone::Fixed(3600)));
    }

    #[test]
    fn servers_have_ports() {
        for (text, expected) in [
            ("smtp.example", Some(("smtp.example", 25))),
            ("10.0.0.7:2525", Some(("10.0.0.7", 2525))),
            ("[::1]:2525", Some(("::1", 2525))),
            ("[::1]", Some(("::1", 25))),
            ("smtp.example:0", None),
            ("smtp.example:x", None),
            ("smtp://smtp.example", None),
            (":25", None),
        ] {
            let expected = expected.map(|(host, port): (&str, u16)| (host.to_owned(), port));
            assert_eq!(host_and_port(text, 25), expected, "{text}");
        }
    }

    /// Each mistake says what, where and what next, and a secret is never shown.
    #[test]
    fn mistakes_are_told_and_secrets_are_not() {
        let with = |more: &str| format!("{MAIL}{more}\n");
        let less = |line: &str| MAIL.replace(line, "");
        for (text, expected) in [
            ("[notify.shift]\n".to_owned(), &["TL0806", "`notify.shift.to` is missing"][..]),
            (less("to = \"mail\"\n"), &["TL0806", "`notify.shift.to` is missing"]),
            (less("server = \"smtp.plant.example\"\n"), &["`notify.shift.server` is missing"]),
            (less("recipients = [\"a@b.example\"]\n"), &["`notify.shift.recipients` is missing"]),
            (less("priority = 2\n"), &["`notify.shift.priority` is missing", "escalate to"]),
            (MAIL.replace("\"mail\"", "\"pager\""), &["TL0806", ":2:6", "webhook"]),
            (
                MAIL.replace("a@b.example", "ab"),
                &["notify.shift.recipients", "\"ab\" is no address"],
            ),
            (
                MAIL.replace("[\"a@b.example\"]", "[1]"),
                &["notify.shift.recipients", "list of texts"],
            ),
            (with("quiet = [\"10 pm\"]"), &["TL0806", ":7:9", "22:00-06:00"]),
            (with("orders = [\"6:30\"]"), &["TL0806", ":7:10", "06:30"]),
            (with("orders = []"), &["notify.shift.orders", "1 to 12 times"]),
            (with("orders = [\"06:30\", \"06:30\"]"), &["notify.shift.orders", "each once"]),
            (with("orders = 7"), &["notify.shift.orders", "list of texts"]),
            (with("zone = \"CET\""), &["notify.shift.zone", "+01:00"]),
            (with("urgent = 5"), &["notify.shift.urgent", "0 to 4"]),
            (with("per_hour = 0"), &["notify.shift.per_hour", "1 to 60"]),
            (with("escalate_to = \"boss\""), &["`notify.shift.escalate_after` is missing"]),
            (
                with("escalate_to = \"boss\"\nescalate_after = \"10 min\""),
                &["notify.shift.escalate_to", "there is no [notify.boss]"],
            ),
            (
                with("escalate_to = \"shift\"\nescalate_after = \"10 min\""),
                &["notify.shift.escalate_to", "round to itself"],
            ),
            (with("url = \"https://x.example\""), &["notify.shift.url", "to = \"webhook\""]),
            (with("user = \"me\""), &["`notify.shift.secret_file` is missing"]),
            (
                with("user = \"me\"\nsecret_file = \"p\"\ntls = \"none\""),
                &["notify.shift.tls", "starttls"],
            ),
            (with("password = \"s3cret\""), &["TL0711", "notify.shift.secret_file"]),
            (with("prioritty = 1"), &["TL0103", "notify.shift.prioritty", "notify.shift.priority"]),
            (
                "[notify.a]\nto = \"webhook\"\npriority = 1\nurl = \"http://x.example\"\n"
                    .to_owned(),
                &["notify.a.url", "https://"],
            ),
            (
                "[notify.a]\nto = \"webhook\"\npriority = 1\nurl = \"https://me:s3cret@x\"\n"
                    .to_owned(),
                &["TL0711", "notify.a.url"],
            ),
            (
                "[notify.a]\nto = \"file\"\npriority = 1\n".to_owned(),
                &["`notify.a.file` is missing"],
            ),
        ] {
            let shown = load(&text, &[]).unwrap_err();
            for part in expected {
                assert!(shown.contains(part), "{part:?} is missing in\n{shown}\nof\n{text}");
            }
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
