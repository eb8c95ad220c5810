//! Units: a table of exact factors, products of them, and free words.
//!
//! A unit is a product of powers: `bar`, `mm/s`, `kg/m3`, `bar s`. Each known symbol has a
//! dimension and an exact factor to SI; a word that is not in the table stands for itself and
//! converts to nothing else. Temperatures convert as points or as differences, by what the key
//! means ([`Unit::convert_point`], [`Unit::convert_difference`]).

use crate::quantity::Ratio;

/// Powers of length, mass, time, current, temperature, share, turn.
type Powers = [i8; 7];

const NONE: Powers = [0; 7];
const LENGTH: Powers = [1, 0, 0, 0, 0, 0, 0];
const AREA: Powers = [2, 0, 0, 0, 0, 0, 0];
const VOLUME: Powers = [3, 0, 0, 0, 0, 0, 0];
const MASS: Powers = [0, 1, 0, 0, 0, 0, 0];
const TIME: Powers = [0, 0, 1, 0, 0, 0, 0];
const CURRENT: Powers = [0, 0, 0, 1, 0, 0, 0];
const TEMPERATURE: Powers = [0, 0, 0, 0, 1, 0, 0];
const SHARE: Powers = [0, 0, 0, 0, 0, 1, 0];
const ANGLE: Powers = [0, 0, 0, 0, 0, 0, 1];
const FREQUENCY: Powers = [0, 0, -1, 0, 0, 0, 0];
const FORCE: Powers = [1, 1, -2, 0, 0, 0, 0];
const PRESSURE: Powers = [-1, 1, -2, 0, 0, 0, 0];
const ENERGY: Powers = [2, 1, -2, 0, 0, 0, 0];
// Per turn, so that a torque never passes for an energy.
const TORQUE: Powers = [2, 1, -2, 0, 0, 0, -1];
const POWER: Powers = [2, 1, -3, 0, 0, 0, 0];
const VOLTAGE: Powers = [2, 1, -3, -1, 0, 0, 0];
const FLOW: Powers = [3, 0, -1, 0, 0, 0, 0];
const MASS_FLOW: Powers = [0, 1, -1, 0, 0, 0, 0];
const SPEED: Powers = [1, 0, -1, 0, 0, 0, 0];

/// Symbol, dimension, factor to SI as numerator and denominator.
const TABLE: &[(&str, Powers, i128, i128)] = &[
    ("Pa", PRESSURE, 1, 1),
    ("hPa", PRESSURE, 100, 1),
    ("kPa", PRESSURE, 1_000, 1),
    ("MPa", PRESSURE, 1_000_000, 1),
    ("mbar", PRESSURE, 100, 1),
    ("bar", PRESSURE, 100_000, 1),
    // 1 lbf = 4.4482216152605 N and 1 in = 0.0254 m, both exact by definition.
    ("psi", PRESSURE, 44_482_216_152_605, 6_451_600_000),
    ("K", TEMPERATURE, 1, 1),
    ("degC", TEMPERATURE, 1, 1),
    ("°C", TEMPERATURE, 1, 1),
    ("degF", TEMPERATURE, 5, 9),
    ("°F", TEMPERATURE, 5, 9),
    ("nm", LENGTH, 1, 1_000_000_000),
    ("um", LENGTH, 1, 1_000_000),
    ("µm", LENGTH, 1, 1_000_000),
    ("mm", LENGTH, 1, 1_000),
    ("cm", LENGTH, 1, 100),
    ("m", LENGTH, 1, 1),
    ("km", LENGTH, 1_000, 1),
    ("in", LENGTH, 254, 10_000),
    ("mm2", AREA, 1, 1_000_000),
    ("cm2", AREA, 1, 10_000),
    ("m2", AREA, 1, 1),
    ("mm3", VOLUME, 1, 1_000_000_000),
    ("cm3", VOLUME, 1, 1_000_000),
    ("m3", VOLUME, 1, 1),
    ("ml", VOLUME, 1, 1_000_000),
    ("l", VOLUME, 1, 1_000),
    ("L", VOLUME, 1, 1_000),
    ("ug", MASS, 1, 1_000_000_000),
    ("mg", MASS, 1, 1_000_000),
    ("g", MASS, 1, 1_000),
    ("kg", MASS, 1, 1),
    ("t", MASS, 1_000, 1),
    ("ns", TIME, 1, 1_000_000_000),
    ("us", TIME, 1, 1_000_000),
    ("µs", TIME, 1, 1_000_000),
    ("ms", TIME, 1, 1_000),
    ("s", TIME, 1, 1),
    ("min", TIME, 60, 1),
    ("h", TIME, 3_600, 1),
    ("d", TIME, 86_400, 1),
    ("N", FORCE, 1, 1),
    ("kN", FORCE, 1_000, 1),
    ("MN", FORCE, 1_000_000, 1),
    ("mNm", TORQUE, 1, 1_000),
    ("Nm", TORQUE, 1, 1),
    ("kNm", TORQUE, 1_000, 1),
    ("J", ENERGY, 1, 1),
    ("kJ", ENERGY, 1_000, 1),
    ("kWh", ENERGY, 3_600_000, 1),
    ("W", POWER, 1, 1),
    ("kW", POWER, 1_000, 1),
    ("MW", POWER, 1_000_000, 1),
    ("mA", CURRENT, 1, 1_000),
    ("A", CURRENT, 1, 1),
    ("mV", VOLTAGE, 1, 1_000),
    ("V", VOLTAGE, 1, 1),
    ("kV", VOLTAGE, 1_000, 1),
    ("Hz", FREQUENCY, 1, 1),
    ("kHz", FREQUENCY, 1_000, 1),
    ("rpm", FREQUENCY, 1, 60),
    ("deg", ANGLE, 1, 1),
    ("%", SHARE, 1, 100),
    ("permille", SHARE, 1, 1_000),
    ("ppm", SHARE, 1, 1_000_000),
];

/// Codes of UNECE Recommendation 20 and what they stand for here, from its Annex I.
const UNECE: &[(&str, &str)] = &[
    ("PAL", "Pa"),
    ("A97", "hPa"),
    ("KPA", "kPa"),
    ("MPA", "MPa"),
    ("MBR", "mbar"),
    ("BAR", "bar"),
    ("PS", "psi"),
    ("KEL", "K"),
    ("CEL", "degC"),
    ("FAH", "degF"),
    ("4H", "um"),
    ("MMT", "mm"),
    ("CMT", "cm"),
    ("MTR", "m"),
    ("INH", "in"),
    ("MMQ", "mm3"),
    ("CMQ", "cm3"),
    ("MTQ", "m3"),
    ("MLT", "ml"),
    ("LTR", "l"),
    ("MGM", "mg"),
    ("GRM", "g"),
    ("KGM", "kg"),
    ("TNE", "t"),
    ("C26", "ms"),
    ("SEC", "s"),
    ("MIN", "min"),
    ("HUR", "h"),
    ("NEW", "N"),
    ("B47", "kN"),
    ("NU", "Nm"),
    ("JOU", "J"),
    ("KJO", "kJ"),
    ("KWH", "kWh"),
    ("WTT", "W"),
    ("KWT", "kW"),
    ("4K", "mA"),
    ("AMP", "A"),
    ("2Z", "mV"),
    ("VLT", "V"),
    ("HTZ", "Hz"),
    ("KHZ", "kHz"),
    ("RPM", "rpm"),
    ("MTS", "m/s"),
    ("C16", "mm/s"),
    ("L2", "l/min"),
    ("DD", "deg"),
    ("P1", "%"),
    ("59", "ppm"),
];

/// What servers show for units that the table writes otherwise.
const SHOWN: &[(&str, &str)] = &[
    ("deg C", "degC"),
    ("Celsius", "degC"),
    ("ºC", "degC"),
    ("C", "degC"),
    ("deg F", "degF"),
    ("F", "degF"),
    ("r/min", "rpm"),
    ("1/min", "rpm"),
    ("rev/min", "rpm"),
    ("U/min", "rpm"),
    ("sec", "s"),
    ("msec", "ms"),
    ("hr", "h"),
    ("N m", "Nm"),
    ("N·m", "Nm"),
    ("N.m", "Nm"),
    ("percent", "%"),
    ("bar(g)", "bar"),
    ("barg", "bar"),
    ("kg/cm²", "kg/cm2"),
    ("°", "deg"),
];

/// Dimensions that have a name of their own in messages.
const DIMENSIONS: &[(&str, Powers)] = &[
    ("a plain number", NONE),
    ("a length", LENGTH),
    ("an area", AREA),
    ("a volume", VOLUME),
    ("a mass", MASS),
    ("a time", TIME),
    ("a current", CURRENT),
    ("a temperature", TEMPERATURE),
    ("a share", SHARE),
    ("an angle", ANGLE),
    ("a frequency", FREQUENCY),
    ("a force", FORCE),
    ("a pressure", PRESSURE),
    ("an energy", ENERGY),
    ("a torque", TORQUE),
    ("a power", POWER),
    ("a voltage", VOLTAGE),
    ("a flow", FLOW),
    ("a mass flow", MASS_FLOW),
    ("a speed", SPEED),
];

/// A unit of measurement, exact.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    text: String,
    factor: Ratio,
    /// Added after the factor for a point on a temperature scale [K].
    offset: Ratio,
    powers: Powers,
    /// Words that are in no table, with their powers, by name.
    words: Vec<(String, i8)>,
}

impl Unit {
    /// No unit: a count or a contact.
    pub fn none() -> Self {
        Self {
            text: String::new(),
            factor: Ratio::ONE,
            offset: Ratio::ZERO,
            powers: NONE,
            words: Vec::new(),
        }
    }

    /// Seconds.
    pub fn second() -> Self {
        Self { text: "s".to_owned(), powers: TIME, ..Self::none() }
    }

    /// Per cent.
    pub fn percent() -> Self {
        let factor = Ratio::new(1, 100).unwrap_or(Ratio::ONE);
        Self { text: "%".to_owned(), factor, powers: SHARE, ..Self::none() }
    }

    /// Reads `bar`, `mm/s`, `bar s`, `kg/m3`, or an empty text as no unit.
    ///
    /// # Errors
    /// The word that cannot be part of a unit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut unit = Self { text: text.trim().to_owned(), ..Self::none() };
        if unit.text.is_empty() {
            return Ok(unit);
        }
        let mut count = 0_usize;
        for (place, part) in text.split('/').enumerate() {
            let mut words = part.split([' ', '*', '·']).filter(|word| !word.is_empty()).peekable();
            if words.peek().is_none() {
                return Err(text.trim().to_owned());
            }
            for word in words {
                count += 1;
                if !(word == "1" && place == 0) {
                    unit.multiply(word, if place == 0 { 1 } else { -1 })?;
                }
            }
        }
        if count == 1 {
            unit.offset = offset_of(&unit.text);
        }
        unit.words.retain(|(_, power)| *power != 0);
        unit.words.sort();
        Ok(unit)
    }

    /// The unit that a server states for a variable (Part 8, 5.6.3): by its UNECE code, else by the
    /// name it shows. `None` when neither is known to the table.
    ///
    /// - `unit_id`: the letters of the code of UNECE Recommendation 20, one byte each; -1 is none.
    pub fn of_server(display_name: &str, unit_id: i32) -> Option<Self> {
        let coded = |row: &&(&str, &str)| {
            row.0.bytes().fold(0, |id, byte| id << 8 | i32::from(byte)) == unit_id
        };
        if let Some((_, symbol)) = UNECE.iter().find(coded) {
            return Self::parse(symbol).ok();
        }
        let name = display_name.trim();
        let shown = SHOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let text = shown.map_or_else(|| name.replace('.', " "), |(_, symbol)| (*symbol).to_owned());
        Self::parse(&text).ok().filter(|unit| unit.words.is_empty() && !unit.is_none())
    }

    fn multiply(&mut self, word: &str, sign: i8) -> Result<(), String> {
        let refuse = || word.to_owned();
        let plain = word.replace('²', "2").replace('³', "3").replace('^', "");
        if let Some((_, powers, num, den)) = TABLE.iter().find(|row| row.0 == plain) {
            let factor = Ratio::new(*num, *den).ok_or_else(refuse)?;
            let factor = if sign > 0 { Some(factor) } else { Ratio::ONE.over(factor) };
            self.factor = factor.and_then(|factor| self.factor.times(factor)).ok_or_else(refuse)?;
            for (sum, power) in self.powers.iter_mut().zip(powers) {
                *sum = sum.checked_add(power * sign).ok_or_else(refuse)?;
            }
            return Ok(());
        }
        let first = plain.chars().next().is_some_and(char::is_alphabetic);
        let rest = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if !first || !plain.chars().all(rest) || plain.len() > 32 {
            return Err(refuse());
        }
        match self.words.iter_mut().find(|(known, _)| *known == plain) {
            Some((_, power)) => *power = power.checked_add(sign).ok_or_else(refuse)?,
            None => self.words.push((plain, sign)),
        }
        Ok(())
    }

    /// The unit of differences: a deviation of 2 degC is 2 K, not 275.15 K.
    #[must_use]
    pub fn as_difference(&self) -> Self {
        Self { offset: Ratio::ZERO, ..self.clone() }
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether no unit was written.
    pub fn is_none(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether numbers in one convert to the other.
    pub fn is_like(&self, other: &Self) -> bool {
        self.powers == other.powers
            && self.words == other.words
            && self.is_none() == other.is_none()
    }

    /// Whether numbers in one are numbers in the other, also as points of a temperature scale.
    pub fn is_same(&self, other: &Self) -> bool {
        self.is_like(other) && self.factor == other.factor && self.offset == other.offset
    }

    /// Whether it is a time.
    pub fn is_time(&self) -> bool {
        self.is_like(&Self::second())
    }

    /// What it measures, with an article, for messages.
    pub fn dimension(&self) -> String {
        if !self.words.is_empty() {
            return format!("\"{}\"", self.text);
        }
        let known = DIMENSIONS.iter().find(|(_, powers)| *powers == self.powers);
        known.map_or_else(|| format!("\"{}\"", self.text), |(name, _)| (*name).to_owned())
    }

    /// A point (a temperature, a pressure, a position) in `self` as a number in `to`; `None` when
    /// the units do not convert, or on overflow.
    pub fn convert_point(&self, value: Ratio, to: &Self) -> Option<Ratio> {
        if !self.is_like(to) {
            return None;
        }
        value.times(self.factor)?.plus(self.offset)?.minus(to.offset)?.over(to.factor)
    }

    /// A difference (a step, a tolerance, a deviation) in `self` as a number in `to`; `None` when
    /// the units do not convert, or on overflow.
    pub fn convert_difference(&self, value: Ratio, to: &Self) -> Option<Ratio> {
        if !self.is_like(to) {
            return None;
        }
        value.times(self.factor)?.over(to.factor)
    }

    /// Words of this unit that the table does not know.
    pub fn free_words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|(word, _)| word.as_str())
    }

    /// The symbols of the table.
    pub fn symbols() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|row| row.0)
    }
}

fn offset_of(symbol: &str) -> Ratio {
    let (num, den) = match symbol {
        "degC" | "°C" => (27_315, 100),
        // 459.67 * 5/9
        "degF" | "°F" => (45_967, 180),
        _ => (0, 1),
    };
    Ratio::new(num, den).unwrap_or(Ratio::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::parse_decimal;

    /// Conversions are exact, points and differences of temperature apart.
    #[test]
    fn conversions() {
        for (value, from, to, point, difference) in [
            ("480", "bar", "MPa", "48", "48"),
            ("1", "psi", "Pa", "6894.757293", "6894.757293"),
            ("250", "ms", "s", "0.25", "0.25"),
            ("20", "degC", "K", "293.15", "20"),
            ("212", "degF", "degC", "100", "117.777778"),
            ("5", "K", "degC", "-268.15", "5"),
            ("90", "rpm", "Hz", "1.5", "1.5"),
            ("6", "l/min", "m3/h", "0.36", "0.36"),
            ("20", "%", "permille", "200", "200"),
            ("3", "bar s", "MPa ms", "300", "300"),
            ("3", "kg/m³", "g/cm3", "0.003", "0.003"),
            ("7", "pieces", "pieces", "7", "7"),
            ("1", "m²", "mm^2", "1000000", "1000000"),
        ] {
            let (from, to) = (Unit::parse(from).unwrap(), Unit::parse(to).unwrap());
            let value = parse_decimal(value).unwrap();
            assert_eq!(from.convert_point(value, &to).unwrap().to_string(), point);
            assert_eq!(from.convert_difference(value, &to).unwrap().to_string(), difference);
        }
    }

    /// Units of servers are those of recipes, by code and by the name that is shown.
    #[test]
    fn units_of_servers() {
        for (name, id, expect) in [
            ("bar", 4_342_098, Some("bar")),
            ("", 4_408_652, Some("degC")),
            ("whatever", 20_529, Some("%")),
            ("°C", -1, Some("degC")),
            ("bar.s", -1, Some("bar s")),
            ("N.m", -1, Some("Nm")),
            ("kPa", 0, Some("kPa")),
            ("furlong", -1, None),
            ("", -1, None),
        ] {
            let unit = Unit::of_server(name, id);
            assert_eq!(unit.is_some(), expect.is_some(), "{name} {id}");
            if let (Some(unit), Some(expect)) = (unit, expect) {
                assert!(unit.is_same(&Unit::parse(expect).unwrap()), "{name} {id}");
            }
        }
        for (_, symbol) in UNECE.iter().chain(SHOWN) {
            assert!(Unit::parse(symbol).unwrap().words.is_empty(), "{symbol}");
        }
    }

    /// What measures something else does not convert.
    #[test]
    fn dimensions_are_kept_apart() {
        for (from, to) in
            [("bar", "degC"), ("Nm", "J"), ("pieces", "shots"), ("s", ""), ("%", ""), ("g", "N")]
        {
            let (from, to) = (Unit::parse(from).unwrap(), Unit::parse(to).unwrap());
            assert_eq!(from.convert_point(Ratio::ONE, &to), None);
        }
    }

    /// Texts that are no unit are named.
    #[test]
    fn refuses_what_is_no_unit() {
        for (text, word) in [("bar//s", "bar//s"), ("5", "5"), ("bar {", "{"), ("/s", "/s")] {
            assert_eq!(Unit::parse(text), Err(word.to_owned()));
        }
    }
}
