//! What the columns of a file hold, by their titles: those that `trimloop export` writes.

/// How samples stand in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// A row for each time and tag; places of the columns.
    Long {
        time: usize,
        tag: usize,
        unit: Option<usize>,
        value: usize,
        status: Option<usize>,
        stamp: Option<usize>,
    },
    /// A row for each time, a column for each tag: place, name, unit.
    Wide { time: usize, tags: Vec<(usize, String, String)> },
}

impl Layout {
    /// By the titles of the columns.
    pub(super) fn of(titles: &[String]) -> Result<Self, String> {
        let place = |wanted: &str| titles.iter().position(|title| title == wanted);
        let time = place("time").ok_or("has no column \"time\"")?;
        let Some(tag) = place("tag") else {
            if ["part", "loop", "actor", "code"].iter().any(|other| place(other).is_some()) {
                return Err("holds rows of another kind than samples".to_owned());
            }
            let others = titles.iter().enumerate().filter(|(at, _)| *at != time);
            let tags: Vec<_> = others.map(|(at, title)| named(at, title)).collect();
            if tags.is_empty() {
                return Err("has no column but \"time\"".to_owned());
            }
            return Ok(Self::Wide { time, tags });
        };
        let Some(value) = place("value") else {
            let rolled = place("mean").is_some();
            let what =
                if rolled { "holds roll-ups, not samples" } else { "has no column \"value\"" };
            return Err(what.to_owned());
        };
        let (unit, status, stamp) = (place("unit"), place("status"), place("stamp"));
        Ok(Self::Long { time, tag, unit, value, status, stamp })
    }
}

/// `melt_temp [degC]` as name and unit.
fn named(at: usize, title: &str) -> (usize, String, String) {
    match title.strip_suffix(']').and_then(|rest| rest.rsplit_once(" [")) {
        Some((name, unit)) => (at, name.to_owned(), unit.to_owned()),
        None => (at, title.to_owned(), String::new()),
    }
}

/// Units of tags, as they are found.
#[derive(Debug, Default)]
pub(super) struct Found(pub(super) super::Units);

impl Found {
    /// A tag with its unit, at a place for people.
    pub(super) fn add(&mut self, tag: &str, unit: &str, at: impl FnOnce() -> String) {
        match self.0.get_mut(tag) {
            None => {
                self.0.insert(tag.to_owned(), vec![(at(), unit.to_owned())]);
            }
            Some(known) => {
                if known.last().is_none_or(|(_, last)| last != unit) {
                    known.push((at(), unit.to_owned()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exported tables are told apart by their titles; what holds no samples is refused.
    #[test]
    fn layouts_are_told_by_their_titles() {
        let of =
            |text: &str| Layout::of(&text.split(',').map(str::to_owned).collect::<Vec<String>>());
        let long = of("time,tag,unit,value,quality,status,stamp").unwrap();
        let expected = Layout::Long {
            time: 0,
            tag: 1,
            unit: Some(2),
            value: 3,
            status: Some(5),
            stamp: Some(6),
        };
        assert_eq!(long, expected);
        let Layout::Wide { tags, .. } = of("time,part_id,melt [a] [degC]").unwrap() else {
            panic!("wide");
        };
        assert_eq!(tags[0], (1, "part_id".to_owned(), String::new()));
        assert_eq!(tags[1], (2, "melt [a]".to_owned(), "degC".to_owned()));
        for (titles, part) in [
            ("tag,value", "time"),
            ("time,tag,unit,min,max,mean,count,quality,status", "roll-ups"),
            ("time,part,feature,unit,value,coverage", "another kind"),
            ("time", "no column"),
        ] {
            assert!(of(titles).unwrap_err().contains(part), "{titles}");
        }
    }
}
