//! The plant's own tables: stock of spare parts (CSV, or JSON from an address), and people (TOML).
//!
//! Both are read when an order is made, so that nobody must tell the service of a change. What
//! cannot be read is said in the order, and holds none up.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use trimloop_core::time::{Span, Utc};
use trimloop_orders::engine::Setup;
use trimloop_orders::plant::{Item, Person, Plant, Roster, Shift, Stock, Zone};

use crate::labels::{FetchError, Request, fetch};
use crate::learn::read::{TextCell as Cell, Texts, texts};
use crate::output::Zone as Clocks;
use crate::settings::{StockPlace, WorkSettings};

/// Orders that are made together ask an address once.
const FRESH: Span = Span::from_secs(60);
/// Most of a file.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Titles that a column may have.
const REFERENCE: [&str; 5] = ["ref", "reference", "part", "item", "sku"];
const QUANTITY: [&str; 4] = ["quantity", "stock", "on_hand", "qty"];
const LOCATION: [&str; 3] = ["location", "bin", "store"];
const LEAD_TIME: [&str; 3] = ["lead_time", "lead time", "lead"];

/// What the settings name.
#[derive(Debug)]
pub struct Tables {
    of: WorkSettings,
    /// Stock of the address, as it was read last.
    last: Mutex<Option<Stock>>,
}

/// Adds to a setup what the plant says of its assets, people and stock.
#[must_use]
pub fn with(setup: Setup, of: &WorkSettings) -> Setup {
    let mut setup = setup;
    setup.origin.asset_refs.clone_from(&of.asset_refs);
    setup.origin.locations.clone_from(&of.locations);
    setup.origin.assigns = of.assigns;
    setup.origin.codes.clone_from(&of.codes);
    setup.meters.clone_from(&of.meters);
    if of.stock.is_some() || of.people.is_some() {
        let tables = Tables { of: of.clone(), last: Mutex::new(None) };
        setup.origin.plant = Some(std::sync::Arc::new(tables));
    }
    setup
}

impl Plant for Tables {
    fn stock(&self, now: Utc) -> Option<Result<Stock, String>> {
        let place = self.of.stock.as_ref()?;
        if !place.is_address() {
            return Some(of_file(place));
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| now - last.as_of < FRESH) {
            return Some(Ok(last.clone()));
        }
        Some(match of_address(place, now) {
            Ok(stock) => {
                *last = Some(stock.clone());
                Ok(stock)
            }
            // What was read before is better than nothing, with its age.
            Err(why) => match last.as_ref() {
                Some(last) => Ok(Stock { trouble: Some(why), ..last.clone() }),
                None => Err(why),
            },
        })
    }

    fn roster(&self) -> Option<Result<Roster, String>> {
        self.of.people.as_deref().map(people)
    }
}

fn of_file(place: &StockPlace) -> Result<Stock, String> {
    let path = Path::new(&place.from);
    let unread = |error: std::io::Error| format!("{}: {error}", place.from);
    let about = std::fs::metadata(path).map_err(unread)?;
    if about.len() > BYTES_MAX {
        return Err(format!("{} is larger than 64 MiB", place.from));
    }
    let changed = about.modified().map_err(unread)?;
    let nanos = changed.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let as_of = Utc::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX));
    stock_of(place, &std::fs::read(path).map_err(unread)?, as_of)
}

fn of_address(place: &StockPlace, now: Utc) -> Result<Stock, String> {
    let request = Request {
        url: &place.from,
        token_file: place.token_file.as_deref(),
        ca_file: place.ca_file.as_deref(),
    };
    let bytes = fetch(&request).map_err(|error| match error {
        FetchError::Away(why) => why,
        other => other.to_string(),
    })?;
    stock_of(place, &bytes, now)
}

fn stock_of(place: &StockPlace, bytes: &[u8], as_of: Utc) -> Result<Stock, String> {
    let table = texts(Path::new(&place.from), bytes, place.items.as_deref());
    let table = table.map_err(|error| error.to_string())?;
    let items = items(&table).map_err(|why| format!("{}: {why}", place.from))?;
    Ok(Stock { items, as_of, max_age: place.max_age, trouble: None })
}

/// Parts by their references; one that lies in several places counts together.
fn items(table: &Texts) -> Result<BTreeMap<String, Item>, String> {
    let place = |names: &[&str]| names.iter().find_map(|name| table.place(name));
    let need = |names: &[&str]| {
        place(names).ok_or_else(|| format!("it has no column {}", names.join(", ")))
    };
    let (reference, quantity) = (need(&REFERENCE)?, need(&QUANTITY)?);
    let (location, lead) = (place(&LOCATION), place(&LEAD_TIME));
    let mut items: BTreeMap<String, Item> = BTreeMap::new();
    for (number, row) in &table.rows {
        let text = |place: usize| row.get(place).map_or("", |cell| cell.trim());
        let name = text(reference);
        if name.is_empty() {
            continue;
        }
        let count = match table.cell(text(quantity)) {
            Cell::Number(count) if count >= 0.0 => count,
            Cell::Missing => 0.0,
            _ => {
                let said = text(quantity);
                return Err(format!("line {number}: \"{said}\" is no quantity of {name}"));
            }
        };
        let item = items.entry(name.to_owned()).or_default();
        item.quantity += count;
        let at = location.map_or("", text);
        // Where there is none nobody need look.
        if !at.is_empty() && (count > 0.0 || item.location.is_empty()) {
            if !item.location.is_empty() {
                item.location.push_str(" and ");
            }
            item.location.push_str(at);
        }
        if let Some((place, time)) = lead.map(|place| (place, text(place))) {
            let unit = table.columns.get(place).map_or("", |(_, unit)| unit.as_str());
            if !time.is_empty() {
                item.lead_time = format!("{time} {unit}").trim().to_owned();
            }
        }
    }
    Ok(items)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoster {
    zone: String,
    person: BTreeMap<String, RawPerson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPerson {
    id: Option<String>,
    #[serde(default)]
    skills: Vec<String>,
    location: Option<String>,
    #[serde(default)]
    shifts: Vec<RawShift>,
    #[serde(default)]
    absent: Vec<RawAbsence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawShift {
    days: String,
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAbsence {
    from: String,
    to: String,
}

/// Reads a file with people.
///
/// # Errors
/// What is wrong with it and where, for people.
pub fn people(path: &Path) -> Result<Roster, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    roster(&text).map_err(|why| format!("{shown}: {why}"))
}

fn roster(text: &str) -> Result<Roster, String> {
    let raw: RawRoster = toml::from_str(text).map_err(|error| error.to_string())?;
    let zone = zone(&raw.zone).ok_or_else(|| {
        format!("zone \"{}\" is none: use local, UTC, or an offset such as +01:00", raw.zone)
    })?;
    let people = raw.person.into_iter().map(|(name, raw)| {
        let why = |why: String| format!("person.{name}: {why}");
        Ok(Person {
            reference: raw.id.unwrap_or_else(|| name.clone()),
            skills: raw.skills,
            location: raw.location,
            shifts: raw.shifts.iter().map(shift).collect::<Result<_, _>>().map_err(why)?,
            absent: raw.absent.iter().map(absence).collect::<Result<_, _>>().map_err(why)?,
            name: name.clone(),
        })
    });
    Ok(Roster { zone, people: people.collect::<Result<_, String>>()? })
}

/// A zone: `local`, `UTC`, or an offset such as `+01:00`.
#[must_use]
pub fn zone(text: &str) -> Option<Zone> {
    match text {
        "UTC" => return Some(Zone::Fixed(0)),
        "local" => return Some(Zone::By(|nanos| Clocks::Local.offset_secs(nanos))),
        _ => {}
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let minutes = minutes(rest).filter(|minutes| *minutes <= 14 * 60)?;
    Some(Zone::Fixed(sign * 60 * i32::from(minutes)))
}

/// Hours that come each week: `22:00-06:00` each day, `sat,sun 00:00-24:00` on some.
#[must_use]
pub fn hours(text: &str) -> Option<Shift> {
    let (on, times) = text.trim().rsplit_once(' ').unwrap_or(("daily", text.trim()));
    let (from, to) = times.split_once('-')?;
    // 24:00 is the begin of the next day.
    let to = if to == "24:00" { 0 } else { minutes(to)? };
    Some(Shift { days: days(on.trim())?, from: minutes(from)?, to })
}

/// `06:30` as minutes.
pub(crate) fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str, most: u16| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|n: &u16| is_plain && *n <= most)
    };
    Some(60 * two(hour, 23)? + two(minute, 59)?)
}

fn shift(raw: &RawShift) -> Result<Shift, String> {
    let days = days(&raw.days).ok_or_else(|| {
        format!("\"{}\" names no days: write mon-fri, or sat,sun, or daily", raw.days)
    })?;
    let time = |text: &String| {
        minutes(text).ok_or_else(|| format!("\"{text}\" is no time: write 06:00 to 23:59"))
    };
    Ok(Shift { days, from: time(&raw.from)?, to: time(&raw.to)? })
}

fn days(text: &str) -> Option<[bool; 7]> {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    if text == "daily" {
        return Some([true; 7]);
    }
    let day = |name: &str| NAMES.iter().position(|known| *known == name.trim());
    let mut days = [false; 7];
    for item in text.split(',') {
        let (first, last) = match item.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(item)?, day(item)?),
        };
        // "sat-mon" goes over the end of the week.
        for step in 0..=(last + 7 - first) % 7 {
            *days.get_mut((first + step) % 7)? = true;
        }
    }
    Some(days)
}

fn absence(raw: &RawAbsence) -> Result<(i64, i64), String> {
    let day = |text: &String| {
        let time = Texts::instant(&format!("{text}T00:00:00Z"));
        let day = time.map(|nanos| nanos.div_euclid(86_400_000_000_000));
        day.ok_or_else(|| format!("\"{text}\" is no day: write 2026-12-24"))
    };
    let (from, to) = (day(&raw.from)?, day(&raw.to)?);
    let is_turned = to < from;
    if is_turned { Err(format!("{} is after {}", raw.from, raw.to)) } else { Ok((from, to)) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn place(from: &str) -> StockPlace {
        StockPlace {
            from: from.into(),
            token_file: None,
            ca_file: None,
            items: None,
            max_age: Span::from_secs(3600),
        }
    }

    /// Titles as stores write them; several places count together; a mistake names its line.
    #[test]
    fn a_stock_is_read() {
        let csv = "SKU;On_hand;Bin;Lead time [d]\nCR-40;2;A-12;5\nCR-40;1;B-1;\nS-1;;C-3;14\n";
        let stock = stock_of(&place("stock.csv"), csv.as_bytes(), Utc::from_nanos(7)).unwrap();
        let item = |quantity, location: &str, lead: &str| Item {
            quantity,
            location: location.into(),
            lead_time: lead.into(),
        };
        assert_eq!(stock.items["CR-40"], item(3.0, "A-12 and B-1", "5 d"));
        assert_eq!(stock.items["S-1"], item(0.0, "C-3", "14 d"));
        for (text, part) in [
            ("ref,quantity\nCR-40,many\n", "line 2: \"many\" is no quantity of CR-40"),
            ("ref,quantity\nCR-40,-1\n", "line 2"),
            ("name,quantity\nx,1\n", "no column ref"),
            ("ref,price\nx,1\n", "no column quantity"),
        ] {
            let why = stock_of(&place("stock.csv"), text.as_bytes(), Utc::from_nanos(7));
            let why = why.unwrap_err();
            assert!(why.starts_with("stock.csv") && why.contains(part), "{why}");
        }
    }

    /// A file has the age of its last change; one that is gone says so.
    #[test]
    fn a_file_has_its_age() {
        let dir = std::env::temp_dir().join(format!("trimloop-stock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("stock.csv");
        std::fs::write(&path, "ref,quantity\nCR-40,2\n").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(1000)).unwrap();
        let stock = of_file(&place(&path.display().to_string())).unwrap();
        assert_eq!(
            (stock.as_of, stock.items["CR-40"].quantity),
            (Utc::from_millis(1_000_000), 2.0)
        );
        std::fs::remove_dir_all(&dir).unwrap();
        let why = of_file(&place(&path.display().to_string())).unwrap_err();
        assert!(why.contains("stock.csv: "), "{why}");
    }

    /// An address is asked once for orders that are made together; when it fails, what was read
    /// before is told with its age and the reason.
    #[test]
    fn an_address_that_fails_leaves_what_was_read() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/stock", server.local_addr().unwrap());
        let answers = std::thread::spawn(move || {
            let body = r#"{"data": [{"item": "CR-40", "stock": 2, "location": "A-12"}]}"#;
            let length = body.len();
            for answer in [
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"),
                "HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n".to_owned(),
            ] {
                let (mut socket, _) = server.accept().unwrap();
                let mut heard = Vec::new();
                let mut byte = [0];
                while !heard.ends_with(b"\r\n\r\n") {
                    socket.read_exact(&mut byte).unwrap();
                    heard.push(byte[0]);
                }
                socket.write_all(answer.as_bytes()).unwrap();
            }
        });
        let stock = StockPlace { items: Some("/data".into()), ..place(&url) };
        let of = WorkSettings { stock: Some(stock), ..WorkSettings::default() };
        let tables = Tables { of, last: Mutex::new(None) };
        let at = |seconds: i64| Utc::from_millis(1000 * seconds);
        let look = |seconds| tables.stock(at(seconds)).unwrap().unwrap();
        let first = look(1000);
        assert_eq!((first.items["CR-40"].quantity, first.as_of), (2.0, at(1000)));
        assert_eq!(look(1059), first, "asked a moment ago");
        let late = look(1060);
        assert_eq!((&late.items, late.as_of), (&first.items, at(1000)));
        assert!(late.trouble.unwrap().contains("503"));
        answers.join().unwrap();
    }

    /// Shifts, zones, days away; what is wrong names the person.
    #[test]
    fn people_are_read() {
        let text = "zone = \"+05:30\"\n[person.ben]\nid = \"team:12\"\nskills = [\"mechanic\"]\n\
                    location = \"hall-2\"\n\
                    shifts = [{ days = \"sat-mon,wed\", from = \"22:00\", to = \"06:00\" }]\n\
                    absent = [{ from = \"1970-01-02\", to = \"1970-01-03\" }]\n[person.ann]\n";
        let read = roster(text).unwrap();
        assert!(matches!(read.zone, Zone::Fixed(19_800)), "{:?}", read.zone);
        let (ann, ben) = (&read.people[0], &read.people[1]);
        assert_eq!((ann.name.as_str(), ann.reference.as_str()), ("ann", "ann"));
        assert_eq!((ben.reference.as_str(), &ben.absent[..]), ("team:12", &[(1, 2)][..]));
        let days = [true, false, true, false, false, true, true];
        assert_eq!(ben.shifts, [Shift { days, from: 1320, to: 360 }]);
        assert!(roster("zone = \"local\"\n[person]\n").is_ok());
        assert!(days_of("daily").iter().all(|day| *day));
        for (from, to, part) in [
            ("+05:30", "CET", "zone \"CET\" is none"),
            ("+05:30", "+15:00", "zone"),
            ("sat-mon,wed", "someday", "person.ben: \"someday\" names no days"),
            ("22:00", "25:00", "person.ben: \"25:00\" is no time"),
            ("1970-01-03", "1970-01-01", "1970-01-02 is after 1970-01-01"),
            ("1970-01-03", "tomorrow", "is no day"),
            ("skills", "skilz", "skilz"),
        ] {
            let why = roster(&text.replace(from, to)).unwrap_err();
            assert!(why.contains(part), "{part:?} is missing in {why}");
        }
    }

    #[test]
    fn hours_are_read() {
        let all = [true; 7];
        assert_eq!(hours("22:00-06:00"), Some(Shift { days: all, from: 1320, to: 360 }));
        let weekend = [false, false, false, false, false, true, true];
        let whole = Some(Shift { days: weekend, from: 0, to: 0 });
        assert_eq!(hours("sat,sun 00:00-24:00"), whole);
        assert_eq!(hours("sat-sun 00:00-00:00"), whole);
        for wrong in ["22:00", "22-6", "22:00-24:01", "24:00-06:00", "night 22:00-06:00", ""] {
            assert_eq!(hours(wrong), None, "{wrong}");
        }
    }

    fn days_of(text: &str) -> [bool; 7] {
        days(text).unwrap()
    }
}
