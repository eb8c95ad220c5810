//! `trimloop model beside`: champion and challenger by what they said live.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;

use clap::Args;
use serde_json::{Value, json};
use trimloop_recipe::artifact::Kind as ArtifactKind;

use super::{Opened, failure, table_text};
use crate::cli::select::{SelectArgs, read_failure};
use crate::cli::{Exit, Failure, Global, Ui};
use crate::export::{Cell, Sheet, What, WriteTable};
use crate::learn::LearnError;
use crate::learn::beside::{Beside, Kind, Pair, Said, compare};
use crate::learn::evaluate::Estimate;

const EXAMPLES: &str = "\
Examples:
  trimloop model beside press --last 7d
  trimloop model beside weight-sensor --last 30d --label weight
  trimloop model beside press --challenger press-r2 --label weight --good 19.3,19.5

A recipe sets a challenger beside a model: `challenger = \"press-r2\"` in [model.press]. Both score
every part, the challenger drives nothing, and the store keeps what both said. This reads it back:
how often each could score and was in its domain, alarms and runs of them, how far they agree, and
with --label which of them labels say was right more often (of a monitor --good says which labels are
normal). Intervals come from resampling blocks of parts.
Exit: 0 the challenger is better or no worse as far as these parts can say, 1 it is worse.";

/// Which model of the recipe, when.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct BesideArgs {
    /// Model of the recipe
    model: String,
    /// Folder of the challenger, where several ran in that time
    #[arg(long, env = "TRIMLOOP_CHALLENGER", hide_env = true, value_name = "NAME")]
    challenger: Option<String>,
    /// Measured quality that says who was right
    #[arg(long, env = "TRIMLOOP_LABEL", hide_env = true, value_name = "LABEL")]
    label: Option<String>,
    /// Lowest and highest label of normal parts, for a monitor
    #[arg(
        long,
        env = "TRIMLOOP_GOOD",
        hide_env = true,
        value_name = "LOW,HIGH",
        value_delimiter = ',',
        requires = "label",
        allow_negative_numbers = true
    )]
    good: Vec<f64>,
    /// From this time on, in UTC
    #[arg(long, env = "TRIMLOOP_FROM", hide_env = true, value_name = "TIME")]
    from: Option<String>,
    /// Before this time
    #[arg(long, env = "TRIMLOOP_TO", hide_env = true, value_name = "TIME")]
    to: Option<String>,
    /// The last 1h or 7d
    #[arg(long, env = "TRIMLOOP_LAST", hide_env = true, value_name = "LENGTH", conflicts_with_all = ["from", "to"])]
    last: Option<String>,
    /// Seed of the resampling
    #[arg(long, env = "TRIMLOOP_SEED", hide_env = true, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &BesideArgs) -> Result<Exit, Failure> {
    let said = scores(ui, global, args)?;
    let challenger = challenger(args, &said)?;
    let kind = kind(global, args, &challenger, &said)?;
    let labels = match &args.label {
        Some(label) => labels(ui, global, args, label)?,
        None => HashMap::new(),
    };
    let pairs = pairs(&said, &args.model, &challenger, &labels);
    if pairs.is_empty() {
        let why = format!("{} and {challenger} scored no part together then", args.model);
        return Err(failure(&LearnError::NoRows(why)));
    }
    let found = compare(&pairs, kind, args.seed);
    let worse = found.difference.as_ref().is_some_and(|difference| difference.low > 0.0);
    let verdict = verdict(&found);
    let human = human(args, &challenger, kind, &found, verdict);
    let mut object = ui.head("trimloop.model.beside/1", !worse);
    object["champion"] = json!({ "model": args.model, "deeds": found.champion });
    object["challenger"] = json!({ "model": challenger, "deeds": found.challenger });
    object["parts"] = json!(found.parts);
    object["labelled"] = json!(found.labelled);
    object["agreement"] = interval(found.agreement.as_ref());
    object["difference"] = interval(found.difference.as_ref());
    object["verdict"] = json!(verdict);
    ui.result(&human, &object);
    Ok(if worse { Exit::Failed } else { Exit::Ok })
}

fn interval(of: Option<&Estimate>) -> Value {
    of.map_or(
        Value::Null,
        |of| json!({ "mean": of.mean, "low": of.low, "high": of.high, "parts": of.rows }),
    )
}

fn verdict(found: &Beside) -> &'static str {
    match &found.difference {
        None => "not judged: there are no labels for it",
        Some(difference) if difference.low > 0.0 => "worse",
        Some(difference) if difference.high < 0.0 => "better",
        Some(_) => "no worse as far as these parts can say",
    }
}

fn human(args: &BesideArgs, challenger: &str, kind: Kind, found: &Beside, verdict: &str) -> String {
    let (loss, agree) = match kind {
        Kind::Monitor(_) => ("parts judged wrongly", "alarms agree on"),
        Kind::Sensor => ("squared error", "predictions differ by"),
    };
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let mut lines = vec![[String::new(), args.model.clone(), challenger.to_owned()]];
    let both = [&found.champion, &found.challenger];
    let [a, b] = both.map(|deeds| percent(deeds.scored));
    lines.push(["could be scored".to_owned(), a, b]);
    let [a, b] = both.map(|deeds| percent(deeds.inside));
    lines.push(["in the domain".to_owned(), a, b]);
    if matches!(kind, Kind::Monitor(_)) {
        let [a, b] = both.map(|deeds| format!("{} in {} runs", deeds.alarms, deeds.alarm_runs));
        lines.push(["parts over the limit".to_owned(), a, b]);
    }
    let shown = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.5}"));
    let [a, b] = both.map(|deeds| shown(deeds.loss));
    lines.push([loss.to_owned(), a, b]);
    let mut text =
        format!("{}\n{} parts, {} with labels\n", table_text(&lines), found.parts, found.labelled);
    if let Some(of) = &found.agreement {
        let (mean, low, high) = match kind {
            Kind::Monitor(_) => (percent(of.mean), percent(of.low), percent(of.high)),
            Kind::Sensor => {
                (format!("{:.5}", of.mean), format!("{:.5}", of.low), format!("{:.5}", of.high))
            }
        };
        text.push_str(&format!("{agree} {mean} ({low} to {high}, 95 %)\n"));
    }
    if let Some(of) = &found.difference {
        let interval = format!("{:+.5} ({:+.5} to {:+.5}, 95 %)", of.mean, of.low, of.high);
        text.push_str(&format!("{loss} a part: {interval}\n"));
    }
    text.push_str(&format!("{challenger} is {verdict}\n"));
    text
}

/// What every model said of each part, by model and part, in the order of time.
type Scores = BTreeMap<String, Vec<(i64, Said, bool)>>;

/// What the model and all its challengers said.
fn scores(ui: &Ui, global: &Global, args: &BesideArgs) -> Result<Scores, Failure> {
    let range = SelectArgs::long(&args.from, &args.to, &args.last);
    // Names that merely begin alike come along, and are not looked at.
    let names = [format!("{}*", args.model)];
    let selected = range.select(ui, global, What::Scores, &names, None).map_err(|failure| {
        failure.help("it takes a model of the recipe that has a challenger, and parts made since")
    })?;
    let found = Rc::new(RefCell::new(Scores::new()));
    let table = WriteTable::new(&selected.selection);
    let mut rows = ScoreRows(Rc::clone(&found));
    table.run(&selected.archive, &mut rows).map_err(|error| read_failure(&error))?;
    drop(rows);
    Ok(found.take())
}

/// Rows of scores: time, part, model, value, low, high, domain, alarm.
struct ScoreRows(Rc<RefCell<Scores>>);

impl Sheet for ScoreRows {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let number = |place: usize| cells.get(place).and_then(Cell::as_f64);
        let flag = |place: usize| matches!(cells.get(place), Some(Cell::Bool(true)));
        if let (Some(Cell::Int(part)), Some(Cell::Text(model))) = (cells.get(1), cells.get(2)) {
            let said = Said { value: number(3), inside: flag(6), alarm: flag(7) };
            // A soft sensor has an interval around what it says, nothing else has one.
            let wide = said.value.is_some() && number(4) < number(5);
            let mut all = self.0.borrow_mut();
            all.entry(model.to_string()).or_default().push((*part, said, wide));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn challenger(args: &BesideArgs, said: &Scores) -> Result<String, Failure> {
    let prefix = format!("{}/", args.model);
    let names: Vec<&str> = said.keys().filter_map(|name| name.strip_prefix(&prefix)).collect();
    let known = || names.join(", ");
    let wrong = |why: String| Err(failure(&LearnError::Option(why)));
    match (&args.challenger, names.as_slice()) {
        (Some(asked), names) if names.contains(&asked.as_str()) => Ok(asked.clone()),
        (_, []) => wrong(format!("no challenger ran beside {} then", args.model)),
        (Some(asked), _) => {
            wrong(format!("{asked} did not run beside {} then; there ran {}", args.model, known()))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => wrong(format!(
            "several challengers ran beside {} then: say which with --challenger: {}",
            args.model,
            known()
        )),
    }
}

fn kind(
    global: &Global,
    args: &BesideArgs,
    challenger: &str,
    said: &Scores,
) -> Result<Kind, Failure> {
    let opened = Opened::find(global, std::path::Path::new(challenger));
    let forest = opened.is_ok_and(|it| it.artifact.header().kind == ArtifactKind::Forest);
    if forest {
        let why = "of a classifier the store keeps the probability of its best class, not the \
                   class; compare the two on recorded features: `trimloop model compare CHAMPION \
                   CHALLENGER --history features --label COLUMN`";
        return Err(failure(&LearnError::Option(why.to_owned())));
    }
    let sensor = said.get(&args.model).is_some_and(|rows| rows.iter().any(|(_, _, wide)| *wide));
    if sensor {
        return Ok(Kind::Sensor);
    }
    let good = match args.good.as_slice() {
        [low, high] if low <= high => Some((*low, *high)),
        [low, high] => {
            let why = format!("--good {low},{high} ends before it begins");
            return Err(failure(&LearnError::Option(why)));
        }
        [] if args.label.is_none() => None,
        _ => {
            let why = "which labels are normal is not said: --good LOW,HIGH";
            return Err(failure(&LearnError::Option(why.to_owned())));
        }
    };
    Ok(Kind::Monitor(good))
}

/// Labels by part; the last one of a part counts.
fn labels(
    ui: &Ui,
    global: &Global,
    args: &BesideArgs,
    label: &str,
) -> Result<HashMap<i64, f64>, Failure> {
    // Labels come later than their parts: the end of the range is left open.
    let range = SelectArgs::long(&args.from, &None, &args.last);
    let selected = range.select(ui, global, What::Labels, &[label.to_owned()], None)?;
    let found = Rc::new(RefCell::new(Vec::new()));
    let table = WriteTable::new(&selected.selection);
    let mut rows = crate::cli::source::LabelRows(Rc::clone(&found));
    table.run(&selected.archive, &mut rows).map_err(|error| read_failure(&error))?;
    drop(rows);
    Ok(found.take().into_iter().collect())
}

fn pairs(said: &Scores, champion: &str, challenger: &str, labels: &HashMap<i64, f64>) -> Vec<Pair> {
    let rows = |name: &str| said.get(name).map(Vec::as_slice).unwrap_or_default();
    let other = rows(&format!("{champion}/{challenger}"));
    let other: HashMap<i64, Said> = other.iter().map(|(part, said, _)| (*part, *said)).collect();
    rows(champion)
        .iter()
        .filter_map(|(part, said, _)| {
            let (challenger, label) = (*other.get(part)?, labels.get(part).copied());
            Some(Pair { champion: *said, challenger, label })
        })
        .collect()
}
