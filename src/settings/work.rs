//! `[work]` of `trimloop.toml`: what the plant's close codes mean, what its CMMS calls an asset, where
//! assets stand, who works on them, and where its stock is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use trimloop_core::time::Span;
use trimloop_orders::findings::{Codes, Finding};
use trimloop_orders::meters::{CYCLES, MeterPlan, RUN_HOURS, USED};

use super::Reader;

/// Stock that was read so long ago may have been used since.
const STOCK_AGE: Span = Span::from_secs(86_400);
const STOCK_AGE_RANGE: [Span; 2] = [Span::from_secs(60), Span::from_secs(30 * 86_400)];
/// Between two readings of one meter.
const METER: Span = Span::from_secs(3600);
const METER_RANGE: [Span; 2] = [Span::from_secs(600), Span::from_secs(7 * 86_400)];
/// Tables whose keys are the plant's own.
pub(super) const TABLES: [&str; 4] =
    ["work.codes.", "work.asset_ref.", "work.location.", "work.meter."];

/// The checked table; what is left out has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkSettings {
    /// What close codes mean.
    pub codes: Codes,
    /// Id of an asset at the system that keeps the orders.
    pub asset_refs: BTreeMap<String, String>,
    /// Where an asset stands, from the largest place to the smallest: `hall-2/line-1`.
    pub locations: BTreeMap<String, String>,
    /// Where the stock of spare parts is read.
    pub stock: Option<StockPlace>,
    /// File with those who repair.
    pub people: Option<PathBuf>,
    /// Whether who is proposed is assigned too.
    pub assigns: bool,
    /// Meters that the CMMS keeps.
    pub meters: MeterPlan,
}

/// Where the stock of spare parts is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockPlace {
    /// File or address.
    pub from: String,
    /// File with the bearer token of the address.
    pub token_file: Option<PathBuf>,
    /// Certificates that alone vouch for the address.
    pub ca_file: Option<PathBuf>,
    /// Where in the JSON the list stands.
    pub items: Option<String>,
    /// Older than this it is told to be stale.
    pub max_age: Span,
}

impl Reader<'_> {
    /// The checked table.
    pub(super) fn work(&mut self, base: &Path) -> WorkSettings {
        let codes = self.own("work.codes.").into_iter().filter_map(|(code, word)| {
            let finding = Finding::parse(&word);
            let words = Finding::OF_CODES.map(Finding::word).join(", ");
            let key = format!("work.codes.{code}");
            let found = finding.or_else(|| self.wrong(&key, &format!("use one of {words}")));
            found.map(|finding| (code, finding))
        });
        let codes: Vec<(String, Finding)> = codes.collect();
        let assigns = match self.line("work.assign").as_deref() {
            None | Some("propose") => false,
            Some("auto") => true,
            Some(_) => self.wrong("work.assign", "use propose or auto").unwrap_or_default(),
        };
        WorkSettings {
            codes: Codes::with(codes),
            asset_refs: self.own("work.asset_ref.").into_iter().collect(),
            locations: self.own("work.location.").into_iter().collect(),
            stock: self.stock(base),
            people: self.line("work.people").map(|file| base.join(file)),
            assigns,
            meters: self.meters(),
        }
    }

    fn meters(&mut self) -> MeterPlan {
        let names: BTreeMap<String, String> = self.own("work.meter.").into_iter().collect();
        for name in names.keys() {
            let is_loop = name.strip_prefix(USED).is_some_and(|of_loop| !of_loop.is_empty());
            if name != CYCLES && name != RUN_HOURS && !is_loop {
                let help = "meters are cycles, run_hours, and \"authority_used.LOOP\"";
                self.wrong::<()>(&format!("work.meter.{name}"), help);
            }
        }
        let every = self.span("work.meter_every", METER, METER_RANGE, "10 min", "7 d");
        MeterPlan { names, every }
    }

    fn stock(&mut self, base: &Path) -> Option<StockPlace> {
        let from = self.line("work.stock");
        let is_address = from.as_ref().is_some_and(|from| is_address(from));
        for key in ["work.stock_token_file", "work.stock_ca_file"] {
            if self.values.contains_key(key) && !is_address {
                self.wrong::<()>(key, "it is of an address: work.stock = \"https://…\"");
            }
        }
        let place = StockPlace {
            from: match from? {
                from if is_address => from,
                file => base.join(file).display().to_string(),
            },
            token_file: self.line("work.stock_token_file").map(|file| base.join(file)),
            ca_file: self.line("work.stock_ca_file").map(|file| base.join(file)),
            items: self.line("work.stock_items"),
            max_age: self.span("work.stock_max_age", STOCK_AGE, STOCK_AGE_RANGE, "1 min", "30 d"),
        };
        if is_address && place.from.contains('@') {
            return self.wrong("work.stock", "leave user and password out of the address");
        }
        Some(place)
    }

    /// Names and texts of a table whose keys are the plant's own.
    fn own(&mut self, table: &str) -> Vec<(String, String)> {
        let keys: Vec<String> =
            self.values.keys().filter(|key| key.starts_with(table)).cloned().collect();
        let name = |key: &str| key.trim_start_matches(table).to_owned();
        keys.iter().filter_map(|key| Some((name(key), self.line(key)?))).collect()
    }
}

/// Whether a text is an address, and no file.
fn is_address(from: &str) -> bool {
    from.starts_with("http://") || from.starts_with("https://")
}

impl StockPlace {
    /// Whether it is asked for over HTTP.
    #[must_use]
    pub fn is_address(&self) -> bool {
        is_address(&self.from)
    }
}

#[cfg(test)]
mod tests {
    use trimloop_recipe::diagnostic::{Color, render};

    use super::super::{Environment, Settings};
    use super::*;

    fn load(text: &str) -> Result<WorkSettings, String> {
        let environment = Environment::default();
        let file = Some(PathBuf::from("/plant/trimloop.toml"));
        Settings::from_text(file, text, &environment)
            .map(|settings| settings.work)
            .map_err(|found| render(&found, Color::Never))
    }

    /// What is left out has its default; paths count from the file; codes and assets have any name.
    #[test]
    fn a_table_is_read() {
        let bare = load("").unwrap();
        assert_eq!(bare.meters.every, METER);
        assert_eq!(WorkSettings { meters: MeterPlan::default(), ..bare }, WorkSettings::default());
        let text = "[work]\nmeter = { cycles = \"88\", \"authority_used.weight\" = \"90\" }\n\
                    meter_every = \"2 h\"\n";
        let meters = load(text).unwrap().meters;
        assert_eq!((meters.names.len(), meters.every), (2, Span::from_secs(7200)));
        assert_eq!(meters.names["authority_used.weight"], "90");
        let text = "[work]\nstock = \"stock.csv\"\npeople = \"people.toml\"\nassign = \"auto\"\n\
                    codes = { 0815 = \"no_fault_found\" }\nasset_ref = { press-4 = \"4711\" }\n\
                    location = { press-4 = \"hall-2/line-1\" }\n";
        let work = load(text).unwrap();
        let own = Codes::with([("0815".to_owned(), Finding::NotFound)]);
        assert_eq!((work.codes, work.assigns), (own, true));
        assert_eq!(work.asset_refs["press-4"], "4711");
        assert_eq!(work.locations["press-4"], "hall-2/line-1");
        assert_eq!(work.people, Some("/plant/people.toml".into()));
        let stock = work.stock.unwrap();
        assert_eq!((stock.from.as_str(), stock.max_age), ("/plant/stock.csv", STOCK_AGE));
        let text = "[work]\nstock = \"https://erp.example/stock\"\nstock_token_file = \"t\"\n\
                    stock_items = \"/data\"\nstock_max_age = \"2 h\"\n";
        let stock = load(text).unwrap().stock.unwrap();
        assert_eq!(stock.from, "https://erp.example/stock");
        assert_eq!(stock.token_file, Some("/plant/t".into()));
        assert_eq!((stock.items.as_deref(), stock.max_age), (Some("/data"), Span::from_secs(7200)));
    }

    /// Each mistake says where, and what next.
    #[test]
    fn mistakes_are_told() {
        for (text, expected) in [
            ("codes = { a = \"maybe\" }", &["TL0805", "work.codes.a", "no_fault_found"][..]),
            ("assign = \"always\"", &["TL0805", "work.assign", ":2:10", "propose"]),
            ("stock = 7", &["TL0805", "`work.stock` must be a text"]),
            ("stock = \"a.csv\"\nstock_token_file = \"t\"", &["work.stock_token_file", "address"]),
            ("stock = \"https://me@erp.example\"", &["work.stock", "leave user"]),
            ("stock = \"a.csv\"\nstock_max_age = \"1 s\"", &["work.stock_max_age", "1 min"]),
            ("meter = { cycle = \"88\" }", &["TL0805", "work.meter.cycle", "run_hours"]),
            ("meter_every = \"1 s\"", &["work.meter_every", "10 min"]),
            ("poeple = \"x\"", &["there is no setting `work.poeple`", "work.people"]),
        ] {
            let shown = load(&format!("[work]\n{text}\n")).unwrap_err();
            for part in expected {
                assert!(shown.contains(part), "{part:?} is missing in\n{shown}\nof\n{text}");
            }
        }
    }
}
