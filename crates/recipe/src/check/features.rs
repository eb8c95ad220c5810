//! Features, charts, trained models and signatures.

use trimloop_core::plan::{
    CharacteristicId, Chart, ChartPlan, Clause, Combine, FeatureId, FeaturePlan, LAG_MAX, Model,
    ModelId, ModelPlan, N_OF_M_MAX, Rules, SignatureId, SignaturePlan, Source, Take,
};

use trimloop_core::tag::TagId;

use super::tags::tag_id;
use super::values::default_ratio;
use super::{Checker, Meaning, TagUnit};
use crate::codes;
use crate::quantity::Ratio;
use crate::raw::{RawChart, RawClause, RawFeature, RawModel, RawSignature, RawWhen};
use crate::recipe::ArtifactUse;
use crate::spanned::{At, Literal};
use crate::unit::Unit;

/// Most clauses of one signature.
const CLAUSES_MAX: usize = 8;

pub(super) fn small(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}

/// What a clause looks at, and the unit of its limits.
struct Watched {
    source: Source,
    unit: TagUnit,
}

impl Checker<'_> {
    /// Numbers per part; also fills `feature_units`.
    pub(super) fn features(&mut self) -> Option<Vec<FeaturePlan>> {
        let raw = self.raw;
        let all: Vec<_> =
            raw.feature.iter().map(|(name, feature)| self.one_feature(name, feature)).collect();
        all.into_iter().collect()
    }

    fn one_feature(&mut self, name: &At<String>, raw: &RawFeature) -> Option<FeaturePlan> {
        let user = format!("feature \"{}\"", name.get());
        let made = [&raw.difference, &raw.product, &raw.ratio];
        let made = made.into_iter().flatten().count();
        match (&raw.tag, &raw.take) {
            (Some(tag), Some(take)) if made == 0 => self.taken_feature(name, raw, (tag, take)),
            (None, None) if made == 1 => self.combined_feature(name, raw),
            _ => {
                self.feature_units.push(TagUnit::Broken);
                let message = format!("{user} does not say clearly what it is");
                self.report(&codes::FEATURE_SHAPE, name.span(), message, |found| {
                    found.help(
                        "give `tag` and `take`, or one of `difference`, `product`, `ratio`, such as \
                         `ratio = [\"torque\", \"speed\"]`",
                    )
                });
                None
            }
        }
    }

    fn taken_feature(
        &mut self,
        name: &At<String>,
        raw: &RawFeature,
        (tag, take): (&At<String>, &At<String>),
    ) -> Option<FeaturePlan> {
        let user = format!("feature \"{}\"", name.get());
        let words = [
            ("last", Take::Last),
            ("mean", Take::Mean),
            ("deviation", Take::Deviation),
            ("min", Take::Min),
            ("max", Take::Max),
            ("slope", Take::Slope),
        ];
        let taken = self.values.word(take, &words, &format!("`take` of {user}"));
        let place = self.tag(tag, &user);
        let unit = feature_unit(&self.tag_unit(place), taken);
        self.feature_units.push(unit.clone());
        self.refuse_id(tag, &user);
        let values = &mut self.values;
        let window = match &raw.window {
            None => Some(None),
            Some(text) => values.span(text, false, &format!("`window` of {user}")).map(Some),
        };
        let lag = match &raw.lag {
            None => Some(0),
            Some(lag) => values.count(lag, 0, u32::from(LAG_MAX), &format!("`lag` of {user}")),
        };
        let coverage = match &raw.coverage {
            None => Some(default_ratio("0.8")),
            Some(text) => values.share(text, true, &format!("`coverage` of {user}")),
        };
        if let (Some(Take::Last), Some(window)) = (taken, &raw.window) {
            self.report(
                &codes::WINDOW_MEANING,
                window.span(),
                format!("{user} takes the last value, which has no window"),
                |found| found.also(take.span(), "takes one value").help("leave `window` out"),
            );
            return None;
        }
        Some(FeaturePlan {
            name: name.get().clone(),
            unit: unit.text(),
            tag: tag_id(place?),
            take: taken?,
            window: window?,
            lag: u8::try_from(lag?).unwrap_or(LAG_MAX),
            coverage_min: coverage?.to_f64(),
            combine: None,
        })
    }

    /// Difference, product or ratio of two features that take a tag.
    fn combined_feature(&mut self, name: &At<String>, raw: &RawFeature) -> Option<FeaturePlan> {
        let user = format!("feature \"{}\"", name.get());
        let place = self.feature_units.len();
        // Keeps the place, so that later features find their units.
        self.feature_units.push(TagUnit::Broken);
        let surplus = [&raw.window, &raw.coverage].into_iter().flatten().map(At::span).next();
        if let Some(span) = surplus.or_else(|| raw.lag.as_ref().map(At::span)) {
            let message = format!("{user} is made of features, which have windows of their own");
            self.report(&codes::FEATURE_SHAPE, span, message, |found| {
                found.help("give `window`, `lag` and `coverage` to the features that it is made of")
            });
            return None;
        }
        let pair = [&raw.difference, &raw.product, &raw.ratio].into_iter().flatten().next()?;
        let [first, second] = pair.as_slice() else {
            let message = format!("{user} must be made of two features, not of {}", pair.len());
            self.report(&codes::FEATURE_SHAPE, pair.span(), message, |found| found);
            return None;
        };
        let (a, b) = (self.operand(first, &user), self.operand(second, &user));
        let ((a, tag, one), (b, _, other)) = (a?, b?);
        let ids = (FeatureId(small(a)), FeatureId(small(b)));
        let (combine, unit) = if raw.difference.is_some() {
            if !one.is_same(&other) {
                let message = format!("{user} takes features in different units from each other");
                let (x, y) = (shown(&one), shown(&other));
                self.report(&codes::UNIT_MISMATCH, second.span(), message, |found| {
                    found.label(y).also(first.span(), x).help("give both tags the same unit")
                });
                return None;
            }
            (Combine::Difference(ids.0, ids.1), Some(one.as_difference()))
        } else if raw.product.is_some() {
            (Combine::Product(ids.0, ids.1), joined(&one, &other, false))
        } else {
            (Combine::Ratio(ids.0, ids.1), joined(&one, &other, true))
        };
        let unit = TagUnit::Known(unit?);
        let text = unit.text();
        if let Some(slot) = self.feature_units.get_mut(place) {
            *slot = unit;
        }
        self.used_features.extend([a, b]);
        Some(FeaturePlan {
            name: name.get().clone(),
            unit: text,
            tag,
            take: Take::Last,
            window: None,
            lag: 0,
            coverage_min: 0.0,
            combine: Some(combine),
        })
    }

    /// A feature that another is made of: its place, tag and unit.
    fn operand(&mut self, name: &At<String>, user: &str) -> Option<(usize, TagId, Unit)> {
        let table = self.raw;
        let place = self.lookup(&table.feature, "feature", name, user)?;
        let (declared, raw) = table.feature.at(place)?;
        let (Some(tag), Some(take)) = (&raw.tag, &raw.take) else {
            let message = format!("{user} is made of \"{}\", which is made of others", name.get());
            self.report(&codes::FEATURE_SHAPE, name.span(), message, |found| {
                found.also(declared.span(), "declared here").help("name features that take a tag")
            });
            return None;
        };
        // Mistakes in it are told where it stands.
        let tag = table.tag.position(tag)?;
        let take = match take.as_str() {
            "deviation" => Take::Deviation,
            "slope" => Take::Slope,
            _ => Take::Last,
        };
        let unit = feature_unit(&self.tag_unit(Some(tag)), Some(take));
        Some((place, tag_id(tag), unit.known()?.clone()))
    }

    /// An id is no measurement: nothing is averaged or compared on it.
    fn refuse_id(&mut self, tag: &At<String>, user: &str) {
        let cycle = self.raw.cycle.get();
        let Some(id) = [&cycle.finished, &cycle.started]
            .into_iter()
            .flatten()
            .find(|id| id.as_str() == tag.as_str())
        else {
            return;
        };
        let id = id.span();
        let message = format!("{user} measures \"{}\", which is the part id", tag.get());
        self.report(&codes::WINDOW_MEANING, tag.span(), message, |found| {
            found.also(id, "the part id").help("a feature needs a measured tag")
        });
    }

    /// Charts first, then trained models, whose place only is kept.
    pub(super) fn models(&mut self) -> Option<Vec<ModelPlan>> {
        let raw = self.raw;
        let charts: Vec<_> =
            raw.chart.iter().map(|(name, chart)| self.one_chart(name, chart)).collect();
        for (name, model) in raw.model.iter() {
            self.values.check_name(&model.file);
            let user = format!("model \"{}\"", name.get());
            let predicts = model
                .predicts
                .as_ref()
                .and_then(|label| self.lookup(&raw.label, "label", label, &user));
            self.pin("sha256", model.sha256.as_ref(), &user);
            self.challenger(model, &user);
            let words = [("notify", false), ("shadow", true)];
            let on_drift = model
                .on_drift
                .as_ref()
                .and_then(|word| self.values.word(word, &words, &format!("`on_drift` of {user}")));
            let forecast = model
                .forecast
                .as_ref()
                .and_then(|forecast| self.forecast(forecast, predicts, &user));
            self.artifacts.push(ArtifactUse {
                name: name.clone(),
                file: model.file.clone(),
                sha256: model.sha256.clone(),
                predicts: predicts.map(|place| CharacteristicId(small(place))),
                on_drift,
                forecast,
                challenger: model.challenger.clone(),
                challenger_sha256: model.challenger_sha256.clone(),
                domain: None,
                as_monitor: Vec::new(),
                as_sensor: Vec::new(),
                classes: Vec::new(),
            });
        }
        for (place, (name, model)) in raw.model.iter().enumerate() {
            if let Some(domain) = &model.domain {
                let monitor = self.monitor(domain, &format!("model \"{}\"", name.get()));
                if let Some(artifact) = self.artifacts.get_mut(place) {
                    artifact.domain = monitor;
                    artifact.as_sensor.push(domain.span());
                }
            }
        }
        charts.into_iter().collect()
    }

    fn pin(&mut self, key: &str, pin: Option<&At<String>>, user: &str) {
        let hex = |pin: &str| pin.len() == 64 && pin.bytes().all(|b| b.is_ascii_hexdigit());
        if let Some(pin) = pin.filter(|pin| !hex(pin)) {
            let message = format!("`{key}` of {user} is no SHA-256");
            self.report(&codes::BAD_HASH, pin.span(), message, |found| {
                found.help("64 hexadecimal digits; `trimloop model show` prints them")
            });
        }
    }

    fn challenger(&mut self, model: &RawModel, user: &str) {
        self.pin("challenger_sha256", model.challenger_sha256.as_ref(), user);
        match (&model.challenger, &model.challenger_sha256) {
            (None, Some(pin)) => {
                let message = format!("{user} pins a challenger that it does not name");
                self.report(&codes::CHALLENGER, pin.span(), message, |found| {
                    found.help("add `challenger = \"…\"`, or remove the pin")
                });
            }
            (Some(file), _) => {
                self.values.check_name(file);
                if file.as_str() == model.file.as_str() {
                    let message = format!("{user} is its own challenger");
                    let champion = model.file.span();
                    self.report(&codes::CHALLENGER, file.span(), message, |found| {
                        found.also(champion, "the champion").help("name another folder")
                    });
                }
            }
            (None, None) => {}
        }
    }

    fn one_chart(&mut self, name: &At<String>, raw: &RawChart) -> Option<ModelPlan> {
        let user = format!("chart \"{}\"", name.get());
        let table = self.raw;
        let input = self.lookup(&table.feature, "feature", &raw.feature, &user);
        self.used_features.extend(input);
        let unit = input.and_then(|place| self.feature_units.get(place)).cloned();
        let unit = unit.unwrap_or(TagUnit::Broken);
        let kind = self.chart_kind(name, raw, &user);
        let values = &mut self.values;
        let mean = values.quantity(&raw.mean, &unit, Meaning::Point, &format!("`mean` of {user}"));
        let what = format!("`deviation` of {user}");
        let deviation = values
            .quantity(&raw.deviation, &unit, Meaning::Difference, &what)
            .and_then(|value| values.positive(&raw.deviation, value, &what));
        let ar = match &raw.ar {
            None => Some(Ratio::ZERO),
            Some(text) => values.number(text, &format!("`ar` of {user}")).and_then(|ar| {
                if ar.abs() < Ratio::ONE {
                    return Some(ar);
                }
                let message = format!("`ar` of {user} must lie between -1 and 1");
                let found = values.error(&codes::AR_OUT_OF_RANGE, text.span(), message).note(
                    "at 1 and beyond the feature drifts without bound, and a chart means nothing",
                );
                values.push(found);
                None
            }),
        };
        let chart = ChartPlan {
            input: FeatureId(small(input?)),
            mean: mean?.to_f64(),
            deviation: deviation?.to_f64(),
            ar: ar?.to_f64(),
            kind: kind?,
        };
        Some(ModelPlan { name: name.get().clone(), hash: [0; 32], model: Model::Chart(chart) })
    }

    fn chart_kind(&mut self, name: &At<String>, raw: &RawChart, user: &str) -> Option<Chart> {
        match (&raw.ewma, &raw.cusum, &raw.rules) {
            (Some(ewma), None, None) => {
                let values = &mut self.values;
                let lambda = values.share(&ewma.lambda, false, &format!("`lambda` of {user}"));
                let width = values.positive_number(&ewma.width, &format!("`width` of {user}"));
                Some(Chart::Ewma { lambda: lambda?.to_f64(), width: width?.to_f64() })
            }
            (None, None, Some(rules)) => {
                let words = [
                    ("shewhart", Rules::Shewhart),
                    ("western-electric", Rules::WesternElectric),
                    ("standard", Rules::Standard),
                    ("nelson", Rules::Nelson),
                ];
                let rules = self.values.word(rules, &words, &format!("`rules` of {user}"));
                Some(Chart::Shewhart { rules: rules? })
            }
            (None, Some(cusum), None) => {
                let values = &mut self.values;
                let what = format!("`allowance` of {user}");
                let allowance = values.positive_number(&cusum.allowance, &what);
                let what = format!("`decision` of {user}");
                let decision = values.positive_number(&cusum.decision, &what);
                Some(Chart::Cusum { allowance: allowance?.to_f64(), decision: decision?.to_f64() })
            }
            (None, None, None) => self.no_statistic(name, user, "no statistic"),
            _ => self.no_statistic(name, user, "more than one statistic"),
        }
    }

    fn no_statistic(&mut self, name: &At<String>, user: &str, said: &str) -> Option<Chart> {
        let help = "give exactly one, such as `ewma = { lambda = 0.1, width = 2.814 }`";
        let message = format!("{user} has {said}");
        self.report(&codes::CHART_KIND, name.span(), message, |found| found.help(help));
        None
    }

    /// Signatures of defects.
    pub(super) fn signatures(&mut self) -> Option<Vec<SignaturePlan>> {
        let raw = self.raw;
        let all: Vec<_> =
            raw.signature.iter().map(|(name, raw)| self.one_signature(name, raw)).collect();
        all.into_iter().collect()
    }

    fn one_signature(&mut self, name: &At<String>, raw: &RawSignature) -> Option<SignaturePlan> {
        let user = format!("signature \"{}\"", name.get());
        let most = u32::from(N_OF_M_MAX);
        let given = |count: &Option<At<i64>>, default: u32, key: &str, this: &mut Self| match count
        {
            None => Some(default),
            Some(count) => this.values.count(count, 1, most, &format!("`{key}` of {user}")),
        };
        let (need, of) = (given(&raw.need, 3, "need", self), given(&raw.of, 5, "of", self));
        let (clauses, all) = self.clauses(&raw.when, &user);
        let (need, of) = need.zip(of)?;
        if need > of {
            let span = raw.need.as_ref().or(raw.of.as_ref()).map_or(name.span(), At::span);
            let message = format!("{user} needs {need} parts of {of}, and is never on");
            self.report(&codes::N_OF_M, span, message, |found| {
                found.help("`need` is at most `of`")
            });
            return None;
        }
        Some(SignaturePlan {
            name: name.get().clone(),
            clauses: clauses?,
            all,
            need: u8::try_from(need).ok()?,
            of: u8::try_from(of).ok()?,
        })
    }

    fn clauses(&mut self, when: &At<RawWhen>, user: &str) -> (Option<Vec<Clause>>, bool) {
        let single = single(when);
        let lone = single.is_some();
        let (list, all) = match (&when.all, &when.any, lone) {
            (Some(list), None, false) => (list, true),
            (None, Some(list), false) => (list, false),
            (None, None, true) => {
                let clause = single.and_then(|raw| self.clause(&At::new(raw, when.span()), user));
                return (clause.map(|clause| vec![clause]), true);
            }
            _ => {
                let message = format!("{user} does not say clearly what it watches");
                self.report(&codes::CLAUSE_SHAPE, when.span(), message, |found| {
                    found.help("give one clause, or `all = [ … ]`, or `any = [ … ]`")
                });
                return (None, true);
            }
        };
        if list.is_empty() || list.len() > CLAUSES_MAX {
            let message =
                format!("{user} has {} clauses; 1 to {CLAUSES_MAX} are possible", list.len());
            self.report(&codes::COUNT_OUT_OF_RANGE, list.span(), message, |found| found);
            return (None, all);
        }
        let clauses: Vec<_> = list.iter().map(|raw| self.clause(raw, user)).collect();
        (clauses.into_iter().collect(), all)
    }

    fn clause(&mut self, raw: &At<RawClause>, user: &str) -> Option<Clause> {
        let watched = self.watched(raw, user);
        let (limit, above) = match (&raw.above, &raw.below) {
            (Some(limit), None) => (limit, true),
            (None, Some(limit)) => (limit, false),
            _ => {
                let message = format!("a clause of {user} needs exactly one limit");
                self.report(&codes::CLAUSE_SHAPE, raw.span(), message, |found| {
                    found.help("give exactly one of `above`, `below`")
                });
                return None;
            }
        };
        let watched = watched?;
        let what = format!("limit of {user}");
        let on = self.values.quantity(limit, &watched.unit, Meaning::Point, &what);
        let Some(clear) = &raw.clear else {
            let message = format!("a clause of {user} does not say when it clears");
            self.report(&codes::CLEAR_SIDE, limit.span(), message, |found| {
                found
                    .label("comes on here")
                    .note("without a second limit noise switches the signature on and off")
                    .help("add `clear = …`, about two standard deviations of the noise nearer")
            });
            return None;
        };
        let off = self.values.quantity(clear, &watched.unit, Meaning::Point, &what);
        let (on, off) = on.zip(off)?;
        self.clear_side(limit, clear, above, (on, off), user)?;
        Some(Clause { source: watched.source, above, on: on.to_f64(), off: off.to_f64() })
    }

    fn clear_side(
        &mut self,
        limit: &At<Literal>,
        clear: &At<Literal>,
        above: bool,
        (on, off): (Ratio, Ratio),
        user: &str,
    ) -> Option<()> {
        if (above && off < on) || (!above && off > on) {
            return Some(());
        }
        let side = if above { "below" } else { "above" };
        let message = format!("a clause of {user} clears on the wrong side of its limit");
        self.report(&codes::CLEAR_SIDE, clear.span(), message, |found| {
            found
                .label(format!("must be {side} the limit"))
                .also(limit.span(), "comes on here")
                .note("the clause would be on and off at once")
        });
        None
    }

    fn watched(&mut self, raw: &At<RawClause>, user: &str) -> Option<Watched> {
        let plain = TagUnit::Known(Unit::none());
        let tables = self.raw;
        let charts = tables.chart.len();
        if raw.probability.is_some() || raw.class.is_some() {
            return self.probability(raw, user);
        }
        match (&raw.feature, &raw.chart, &raw.t2, &raw.spe, &raw.prediction) {
            (Some(name), None, None, None, None) => {
                let place = self.lookup(&tables.feature, "feature", name, user)?;
                self.used_features.insert(place);
                let unit = self.feature_units.get(place).cloned().unwrap_or(TagUnit::Broken);
                Some(Watched { source: Source::Feature(FeatureId(small(place))), unit })
            }
            (None, Some(name), None, None, None) => {
                let place = self.lookup(&tables.chart, "chart", name, user)?;
                Some(Watched { source: Source::Chart(ModelId(small(place))), unit: plain })
            }
            (None, None, Some(name), None, None) => {
                let id = self.monitor(name, user)?;
                Some(Watched { source: Source::T2(id), unit: plain })
            }
            (None, None, None, Some(name), None) => {
                let id = self.monitor(name, user)?;
                Some(Watched { source: Source::Spe(id), unit: plain })
            }
            (None, None, None, None, Some(name)) => {
                let (place, label) = self.sensor(name, user)?;
                let unit = self.label_units.get(label).cloned().unwrap_or(TagUnit::Broken);
                let source = Source::Prediction(ModelId(small(charts + place)));
                Some(Watched { source, unit })
            }
            _ => {
                let message = format!("a clause of {user} must watch exactly one thing");
                self.report(&codes::CLAUSE_SHAPE, raw.span(), message, |found| {
                    found.help(
                        "give one of `feature`, `chart`, `t2`, `spe`, `prediction`, `probability`",
                    )
                });
                None
            }
        }
    }

    /// The probability of a class; which place the class has is known when the model is bound.
    fn probability(&mut self, raw: &At<RawClause>, user: &str) -> Option<Watched> {
        let others = [&raw.feature, &raw.chart, &raw.t2, &raw.spe, &raw.prediction];
        let alone = others.into_iter().all(Option::is_none);
        let (Some(name), Some(class), true) = (&raw.probability, &raw.class, alone) else {
            let message = format!("a clause of {user} must watch exactly one thing");
            self.report(&codes::CLAUSE_SHAPE, raw.span(), message, |found| {
                found.help("a probability is `probability = \"MODEL\", class = \"CLASS\"`")
            });
            return None;
        };
        let table = self.raw;
        let place = self.lookup(&table.model, "model", name, user)?;
        let asked = self.artifacts.get_mut(place)?;
        asked.classes.push(class.clone());
        // More than 255 clauses on one model would share a number; 8 clauses a signature and the
        // many signatures that takes are far beyond any recipe.
        let number = u8::try_from(asked.classes.len() - 1).ok()?;
        let source = Source::Probability(ModelId(small(table.chart.len() + place)), number);
        Some(Watched { source, unit: TagUnit::Known(Unit::none()) })
    }

    /// A trained model that is taken for a monitor with T2 and SPE.
    pub(super) fn monitor(&mut self, name: &At<String>, user: &str) -> Option<ModelId> {
        let raw = self.raw;
        if let Some((chart, _)) = raw.chart.get(name) {
            let message =
                format!("{user} takes \"{}\" for a monitor, but it is a chart", name.get());
            self.report(&codes::MODEL_KIND, name.span(), message, |found| {
                found
                    .also(chart.span(), "a chart")
                    .help("name a [model.…] with T2 and SPE, or watch it with `chart = …`")
            });
            return None;
        }
        let place = self.lookup(&raw.model, "model", name, user)?;
        if let Some(artifact) = self.artifacts.get_mut(place) {
            artifact.as_monitor.push(name.span());
        }
        Some(ModelId(small(raw.chart.len() + place)))
    }

    /// A trained model that is taken for a soft sensor: its place and the label it predicts.
    pub(super) fn sensor(&mut self, name: &At<String>, user: &str) -> Option<(usize, usize)> {
        let raw = self.raw;
        let place = self.lookup(&raw.model, "model", name, user)?;
        let (declared, model) = raw.model.at(place)?;
        if let Some(artifact) = self.artifacts.get_mut(place) {
            artifact.as_sensor.push(name.span());
        }
        let Some(label) = &model.predicts else {
            let message = format!(
                "{user} takes \"{}\" for a soft sensor, but it does not say of what",
                name.get()
            );
            self.report(&codes::MODEL_KIND, name.span(), message, |found| {
                found
                    .also(declared.span(), "declared here")
                    .help("add `predicts = \"…\"` to the model, naming a [label.…]")
            });
            return None;
        };
        // An unknown label was reported with the model.
        Some((place, raw.label.position(label)?))
    }

    /// A signature by name.
    pub(super) fn signature(&mut self, name: &At<String>, user: &str) -> Option<SignatureId> {
        let raw = self.raw;
        let place = self.lookup(&raw.signature, "signature", name, user)?;
        Some(SignatureId(small(place)))
    }
}

/// The clause written directly into `when`, if there is any part of one.
fn single(when: &RawWhen) -> Option<RawClause> {
    let names = [
        &when.feature,
        &when.chart,
        &when.t2,
        &when.spe,
        &when.prediction,
        &when.probability,
        &when.class,
    ];
    let limits = [&when.above, &when.below, &when.clear];
    let any = names.iter().any(|x| x.is_some()) || limits.iter().any(|x| x.is_some());
    any.then(|| RawClause {
        feature: when.feature.clone(),
        chart: when.chart.clone(),
        t2: when.t2.clone(),
        spe: when.spe.clone(),
        prediction: when.prediction.clone(),
        probability: when.probability.clone(),
        class: when.class.clone(),
        above: when.above.clone(),
        below: when.below.clone(),
        clear: when.clear.clone(),
    })
}

/// Unit of a product, or of a ratio.
fn joined(one: &Unit, other: &Unit, over: bool) -> Option<Unit> {
    if over && one.is_same(other) {
        return Some(Unit::none());
    }
    let (above, below) = parts(one);
    let (mut with, mut under) = parts(other);
    if over {
        std::mem::swap(&mut with, &mut under);
    }
    let above = [above, with].concat();
    let above = if above.is_empty() { "1".to_owned() } else { above.join(" ") };
    let below = [below, under].concat();
    if below.is_empty() && above == "1" {
        return Some(Unit::none());
    }
    let mut text = above;
    for word in below {
        text.push('/');
        text.push_str(&word);
    }
    Unit::parse(&text).ok()
}

/// Words above and below the line.
fn parts(unit: &Unit) -> (Vec<String>, Vec<String>) {
    let words = |text: &str| -> Vec<String> {
        let words = text.split([' ', '*', '·']).filter(|word| !word.is_empty() && *word != "1");
        words.map(str::to_owned).collect()
    };
    let mut parts = unit.text().split('/');
    (words(parts.next().unwrap_or_default()), parts.flat_map(words).collect())
}

fn shown(unit: &Unit) -> String {
    if unit.is_none() { "has no unit".to_owned() } else { format!("in \"{}\"", unit.text()) }
}

/// A slope is per second; a deviation or slope of a temperature is a difference.
fn feature_unit(tag: &TagUnit, take: Option<Take>) -> TagUnit {
    let (Some(unit), Some(take)) = (tag.known(), take) else { return TagUnit::Broken };
    match take {
        Take::Last | Take::Mean | Take::Min | Take::Max => tag.clone(),
        Take::Deviation => TagUnit::Known(unit.as_difference()),
        Take::Slope => {
            let text = if unit.is_none() { "1/s".to_owned() } else { format!("{}/s", unit.text()) };
            Unit::parse(&text).map_or(TagUnit::Broken, TagUnit::Known)
        }
    }
}
