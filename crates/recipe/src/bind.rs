//! Recipe + PLC configs + models -> one [`Bound`] plan.
//!
//! Binding finds what neither file shows alone: tags without a node, setpoints on nodes that may
//! not be written, models that are missing or of the wrong kind, one PLC under two names. Tags of
//! the heartbeat, the enable contact and the clock of each PLC are added to the plan when the
//! recipe does not name them.

mod beside;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sha2::{Digest, Sha256};
use trimloop_core::plan::{
    FeatureId, HeartbeatPlan, LinkPlan, Model, ModelId, ModelPlan, Plan, PlcId, Source, TAGS_MAX,
    TagPlan,
};
use trimloop_core::tag::TagId;

use crate::artifact::{Artifact, ArtifactError};
use crate::check::UNUSED_FEATURE_HELP;
use crate::codes;
use crate::diagnostic::{Diagnostic, did_you_mean, has_errors, sort};
use crate::fault::Fault;
use crate::plc_config::{NodeType, PlcConfig};
use crate::recipe::{ArtifactUse, Recipe};
use crate::spanned::At;

/// Model artifacts by folder name, as bytes.
#[derive(Clone, Debug, Default)]
pub struct Models {
    files: BTreeMap<String, Vec<u8>>,
}

impl Models {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `DIR/NAME/model.tlm` of each name. What cannot be read is left out, and reported
    /// where a recipe is bound that needs it.
    pub fn read<'a>(folder: &Path, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut models = Self::new();
        for name in names {
            // Checked names hold no separators, so that no recipe reads outside its folder.
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if let (true, Ok(bytes)) = (plain, std::fs::read(folder.join(name).join("model.tlm"))) {
                models.insert(name, bytes);
            }
        }
        models
    }

    /// Adds one.
    pub fn insert(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(name.to_owned(), bytes);
    }

    /// Names present.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

/// A recipe bound to its PLCs and models: what the service runs.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The plan.
    pub plan: Plan,
    /// The PLC configs, in the order of the plan's links.
    pub plcs: Vec<PlcConfig>,
    /// Index into the nodes of its PLC of each tag of the plan.
    pub tag_nodes: Vec<usize>,
    /// What a person should look at.
    pub warnings: Vec<Diagnostic>,
    /// Folder under models/ of each trained model that the recipe names, by its name there.
    pub model_folders: BTreeMap<String, String>,
    /// The files that the plan was made of, to make it again.
    pub files: Vec<PlanFile>,
    /// Faults for maintenance; no part of the plan.
    pub faults: Vec<Fault>,
}

/// One file that a plan was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFile {
    /// Its place in a project folder, with `/`.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Binds a recipe to those of `plcs` that it names.
///
/// # Errors
/// Every mistake that shows, warnings among them; at least one is an error. A PLC config that is
/// not there is one.
pub fn bind(
    recipe: &Recipe,
    plcs: &[PlcConfig],
    models: &Models,
) -> Result<Bound, Vec<Diagnostic>> {
    let named = recipe.plcs().map(|name| plcs.iter().find(|plc| plc.name == name).ok_or(name));
    let plcs = named.collect::<Result<Vec<_>, _>>().map_err(|name| {
        let message = format!("recipe \"{}\" has no PLC config {name}", recipe.name());
        let span = recipe.plc_span(name);
        vec![Diagnostic::error(&codes::PLC_UNKNOWN, &recipe.source, span, message)]
    })?;
    let mut binder = Binder {
        recipe,
        plcs,
        plan: recipe.plan.clone(),
        tag_nodes: Vec::new(),
        hashes: Vec::new(),
        used_features: BTreeSet::new(),
        found: Vec::new(),
    };
    binder.strangers();
    binder.nodes();
    binder.links();
    binder.heartbeats();
    binder.setpoints();
    binder.models(models);
    binder.usage();
    binder.plan.hash = hash(recipe, &binder.plcs, &binder.hashes);
    let mut found = binder.found;
    sort(&mut found);
    if has_errors(&found) {
        return Err(found);
    }
    let files = files(recipe, &binder.plcs, models);
    let folder = |of: &ArtifactUse| (of.name.get().clone(), of.file.get().clone());
    let model_folders = recipe.artifacts.iter().map(folder).collect();
    Ok(Bound {
        plan: binder.plan,
        plcs: binder.plcs.into_iter().cloned().collect(),
        tag_nodes: binder.tag_nodes,
        warnings: found,
        model_folders,
        files,
        faults: recipe.faults.clone(),
    })
}

/// Recipe, PLC configs and models as a project folder of their own.
fn files(recipe: &Recipe, plcs: &[&PlcConfig], models: &Models) -> Vec<PlanFile> {
    let text = |path: String, text: &str| PlanFile { path, bytes: text.as_bytes().to_vec() };
    let mut files = vec![text(format!("recipes/{}.toml", recipe.name()), &recipe.source.text)];
    files.extend(
        plcs.iter().map(|plc| text(format!("plc-configs/{}.toml", plc.name), &plc.source.text)),
    );
    let named: BTreeSet<&str> = recipe.model_files().collect();
    files.extend(named.into_iter().filter_map(|name| {
        let bytes = models.files.get(name)?.clone();
        Some(PlanFile { path: format!("models/{name}/model.tlm"), bytes })
    }));
    files
}

/// An artifact as a recipe names it.
#[derive(Clone, Copy)]
struct ModelFile<'r> {
    /// Of the model in the recipe.
    name: &'r str,
    /// Folder under models/.
    file: &'r At<String>,
    /// Its hash.
    pin: Option<&'r At<String>>,
}

struct Binder<'a> {
    recipe: &'a Recipe,
    /// By `PlcId`.
    plcs: Vec<&'a PlcConfig>,
    plan: Plan,
    tag_nodes: Vec<usize>,
    hashes: Vec<[u8; 32]>,
    used_features: BTreeSet<FeatureId>,
    found: Vec<Diagnostic>,
}

impl Binder<'_> {
    fn error(
        &self,
        code: &'static codes::Code,
        span: std::ops::Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::error(code, &self.recipe.source, span, message)
    }

    /// One PLC under two names, and a leading one that gives nothing.
    fn strangers(&mut self) {
        let recipe = self.recipe;
        for (place, plc) in self.plcs.iter().enumerate() {
            let twin = self.plcs.iter().take(place).find(|other| same_server(other, plc));
            let Some(twin) = twin else { continue };
            let message =
                format!("PLCs \"{}\" and \"{}\" are one and the same server", twin.name, plc.name);
            let found = self
                .error(&codes::SAME_PLC, recipe.plc_span(&plc.name), message)
                .label(format!("{} in {}", plc.url, plc.source.file))
                .note(format!("{} has {}", twin.source.file, twin.url))
                .help(format!("move its nodes into {}, and name that one", twin.source.file));
            self.found.push(found);
        }
        let idle = self.plcs.len() > 1 && self.plan.tags.iter().all(|tag| tag.plc != PlcId::LEAD);
        if idle {
            let head = &recipe.raw.recipe.plc;
            let message = format!("no tag of the recipe lives on its leading PLC {}", head.get());
            let found = self
                .error(&codes::IDLE_PLC, head.span(), message)
                .warning()
                .help("name the PLC here whose clock and parts lead");
            self.found.push(found);
        }
    }

    /// A node for every tag.
    fn nodes(&mut self) {
        let recipe = self.recipe;
        for (index, (name, _)) in recipe.raw.tag.iter().enumerate() {
            let plc = self.plan.tags.get(index).map_or(0, |tag| tag.plc.index());
            let Some(config) = self.plcs.get(plc).copied() else { continue };
            let place = config.node(name);
            if place.is_none() {
                let message = format!("tag \"{}\" has no node in the PLC config", name.get());
                let names = config.nodes.iter().map(|node| node.name.as_str());
                let other = self.plcs.iter().find(|other| other.node(name).is_some());
                let help = other
                    .map(|other| format!("if it is that of {0}, add `plc = \"{0}\"`", other.name));
                let found = self
                    .error(&codes::NO_NODE, name.span(), message)
                    .label(format!("no [node.{}] in {}", name.get(), config.source.file))
                    .maybe_help(help.or_else(|| did_you_mean(name, names)));
                self.found.push(found);
            }
            self.tag_nodes.push(place.unwrap_or(usize::MAX));
        }
    }

    /// The tag of a node: the recipe's own, or one added for it.
    fn tag_of(&mut self, plc: PlcId, node: usize, contact: bool) -> TagId {
        let mut known = self.plan.tags.iter().zip(&self.tag_nodes);
        let place = known.position(|(tag, known)| tag.plc == plc && *known == node);
        let place = place.unwrap_or_else(|| {
            let config = self.plcs.get(plc.index());
            let named = config.and_then(|config| config.nodes.get(node));
            let mut name = named.map(|node| node.name.clone()).unwrap_or_default();
            let taken = self.plan.tags.iter().any(|tag| tag.name == name);
            if let Some(config) = config.filter(|_| taken || plc != PlcId::LEAD) {
                // No name of a recipe holds a slash.
                name = format!("{}/{name}", config.name);
            }
            self.plan.tags.push(TagPlan {
                name,
                plc,
                unit: String::new(),
                range: contact.then_some((0.0, 1.0)),
                rate_max: None,
                resolution: 0.0,
                spike: false,
                frozen_after: 0,
                stale_after: None,
                accept_uncertain: false,
            });
            self.tag_nodes.push(node);
            self.plan.tags.len() - 1
        });
        TagId(u16::try_from(place).unwrap_or(u16::MAX))
    }

    fn links(&mut self) {
        for (plc, config) in (0..).map(PlcId).zip(self.plcs.clone()) {
            let link = config.link;
            let heartbeat = config.heartbeat.map(|heartbeat| HeartbeatPlan {
                echo: self.tag_of(plc, heartbeat.echo, false),
                period: heartbeat.period,
                timeout: heartbeat.timeout,
            });
            let bound = LinkPlan {
                name: config.name.clone(),
                stale_after: link.stale,
                heartbeat,
                enable: link.enable.map(|node| self.tag_of(plc, node, true)),
                clock: link.clock.map(|node| self.tag_of(plc, node, false)),
                clock_step_max: link.clock_step,
                skew_max: link.skew,
            };
            if let Some(slot) = self.plan.links.get_mut(plc.index()) {
                *slot = bound;
            }
        }
        if self.plan.tags.len() > TAGS_MAX {
            let head = self.recipe.raw.recipe.get();
            let message =
                format!("{} tags with those of the link; at most {TAGS_MAX}", self.plan.tags.len());
            let found = self.error(&codes::TOO_MANY, head.plc.span(), message);
            self.found.push(found);
        }
    }

    /// A PLC without a heartbeat on which a loop moves something.
    fn heartbeats(&mut self) {
        for (plc, config) in (0..).map(PlcId).zip(self.plcs.clone()) {
            let moved = self.plan.loops.iter().find_map(|of| {
                let here = self.plan.plc_of_setpoint(of.setpoint) == plc;
                here.then(|| self.plan.setpoints.get(of.setpoint.index())).flatten()
            });
            let Some(setpoint) = moved.filter(|_| config.heartbeat.is_none()) else { continue };
            let elsewhere = format!(", and setpoint \"{}\" is on it", setpoint.name);
            let which = if plc == PlcId::LEAD { "" } else { &elsewhere };
            let message = format!("PLC config \"{}\" has no heartbeat{which}", config.name);
            let found = self
                .error(&codes::NO_HEARTBEAT, self.recipe.plc_span(&config.name), message)
                .warning()
                .note(
                    "when trimloop or its computer stops, the PLC cannot know it and keeps the \
                    last trim",
                )
                .help("add [heartbeat] to the PLC config, and the watchdog to the PLC");
            self.found.push(found);
        }
    }

    /// Nodes of setpoints are writable and can carry them.
    fn setpoints(&mut self) {
        let recipe = self.recipe;
        let mut written: BTreeSet<(usize, usize)> = BTreeSet::new();
        for (index, plc) in self.plcs.iter().enumerate() {
            written.extend(plc.heartbeat.map(|heartbeat| (index, heartbeat.write)));
        }
        for (name, setpoint) in recipe.raw.setpoint.iter() {
            let Some(tag) = recipe.raw.tag.position(&setpoint.tag) else { continue };
            let index = self.plan.tags.get(tag).map_or(0, |tag| tag.plc.index());
            let Some(plc) = self.plcs.get(index).copied() else { continue };
            let Some(place) = self.tag_nodes.get(tag).copied() else { continue };
            let Some(node) = plc.nodes.get(place) else { continue };
            written.insert((index, place));
            if !node.writable && plc.guard(place).is_none() {
                let message =
                    format!("setpoint \"{}\" is on a node that may not be written", name.get());
                let found = self
                    .error(&codes::NOT_WRITABLE, setpoint.tag.span(), message)
                    .label(format!("[node.{}] in {} is not writable", node.name, plc.source.file))
                    .help("the controls engineer adds `writable = true` there");
                self.found.push(found);
            }
            if let Some(kind @ (NodeType::Boolean | NodeType::SByte | NodeType::Byte)) = node.kind {
                let message =
                    format!("setpoint \"{}\" is on a node of type {}", name.get(), kind.word());
                let found = self
                    .error(&codes::NODE_TYPE, setpoint.tag.span(), message)
                    .help("a setpoint needs a number of 16 bits or more");
                self.found.push(found);
            }
            self.whole_grid(name, setpoint, node.kind);
        }
        let nodes = self.plcs.iter().enumerate().flat_map(|(index, plc)| {
            plc.nodes.iter().enumerate().map(move |(place, node)| ((index, place), *plc, node))
        });
        for (place, plc, node) in nodes {
            if node.writable && !written.contains(&place) {
                let message = format!(
                    "node \"{}\" is writable, and recipe \"{}\" never writes it",
                    node.name, self.plan.name
                );
                let found = Diagnostic::error(
                    &codes::UNUSED_WRITABLE,
                    &plc.source,
                    node.span.0..node.span.1,
                    message,
                )
                .warning()
                .help("remove `writable`, unless another recipe needs it");
                self.found.push(found);
            }
        }
    }

    /// A whole-number node cannot carry half steps.
    fn whole_grid(
        &mut self,
        name: &At<String>,
        raw: &crate::raw::RawSetpoint,
        kind: Option<NodeType>,
    ) {
        let place = self.recipe.raw.setpoint.position(name);
        let plan = place.and_then(|place| self.plan.setpoints.get(place));
        let Some((kind, plan)) = kind.zip(plan) else { return };
        let whole = plan.grid.mantissa() % 10_i64.pow(u32::from(plan.grid.decimals())) == 0;
        if !kind.is_float() && !whole {
            let message = format!(
                "setpoint \"{}\" has steps that a node of type {} cannot carry",
                name.get(),
                kind.word()
            );
            let found = self
                .error(&codes::NODE_TYPE, raw.grid.span(), message)
                .help("use a whole grid, or a node of type Float or Double");
            self.found.push(found);
        }
    }

    fn models(&mut self, models: &Models) {
        let recipe = self.recipe;
        for artifact in &recipe.artifacts {
            let made = self.one_model(artifact, models);
            // A missing model keeps its place, so that later ids stay right until errors end it.
            let (hash, model) = made.unwrap_or(([0; 32], None));
            self.hashes.push(hash);
            if let Some(model) = model {
                let name = artifact.name.get().clone();
                self.plan.models.push(ModelPlan { name, hash, model });
            }
        }
        self.challengers(models);
    }

    fn one_model(
        &mut self,
        artifact: &ArtifactUse,
        models: &Models,
    ) -> Option<([u8; 32], Option<Model>)> {
        let of = ModelFile {
            name: artifact.name.get(),
            file: &artifact.file,
            pin: artifact.sha256.as_ref(),
        };
        let (read, model) = self.read_model(of, models)?;
        let model = self.fit(artifact, model);
        self.watch(artifact, &read, &model);
        self.forecast(artifact, &model);
        Some((read.hash(), Some(model)))
    }

    /// An artifact as the recipe names it, over the recipe's features.
    fn read_model(&mut self, of: ModelFile<'_>, models: &Models) -> Option<(Artifact, Model)> {
        let (name, file) = (of.name, of.file.get());
        let Some(bytes) = models.files.get(file) else {
            let message = format!("model \"{name}\" has no file");
            let found = self
                .error(&codes::MODEL_FILE, of.file.span(), message)
                .label(format!("there is no models/{file}/model.tlm"))
                .maybe_help(did_you_mean(file, models.names()));
            self.found.push(found);
            return None;
        };
        let read = match Artifact::read(bytes) {
            Ok(read) => read,
            Err(error) => {
                self.model_error(of, &error);
                return None;
            }
        };
        let shown: String = read.hash().iter().flat_map(|byte| hex(*byte)).collect();
        if let Some(pin) = of.pin
            && !pin.eq_ignore_ascii_case(&shown)
        {
            let found = self
                .error(
                    &codes::MODEL_HASH,
                    pin.span(),
                    format!("model \"{name}\" is not the one that the recipe pins"),
                )
                .note(format!("models/{file}/model.tlm has {shown}"))
                .help("restore the pinned model, or pin this one in a new revision of the recipe");
            self.found.push(found);
        }
        let features = &self.recipe.plan.features;
        let bound = read.bind(|wanted| {
            let place = features.iter().position(|feature| feature.name == wanted)?;
            let feature = features.get(place)?;
            Some((FeatureId(u16::try_from(place).ok()?), feature.unit.as_str()))
        });
        match bound {
            Ok(model) => Some((read, model)),
            Err(error) => {
                self.model_error(of, &error);
                None
            }
        }
    }

    fn model_error(&mut self, of: ModelFile<'_>, error: &ArtifactError) {
        let code = codes::find(error.code()).unwrap_or(&codes::MODEL_FILE);
        let message = format!("model \"{}\" cannot be used", of.name);
        let found = self
            .error(code, of.file.span(), message)
            .label(format!("models/{}/model.tlm", of.file.get()))
            .note(error.to_string());
        self.found.push(found);
    }

    /// Refuses a model that is taken for what it is not, and joins a sensor to its domain.
    fn fit(&mut self, artifact: &ArtifactUse, mut model: Model) -> Model {
        let (wrong, is, wanted) = match &mut model {
            Model::Pca(pca) => {
                self.used_features.extend(pca.inputs.iter().copied());
                (&artifact.as_sensor, "a monitor", "a soft sensor")
            }
            Model::Monitor(monitor) => {
                self.used_features.extend(monitor.inputs.iter().copied());
                (&artifact.as_sensor, "a monitor", "a soft sensor")
            }
            Model::Combined(combined) => {
                self.used_features.extend(combined.inputs().iter().copied());
                (&artifact.as_sensor, "a monitor", "a soft sensor")
            }
            Model::Linear(linear) => {
                self.used_features.extend(linear.inputs.iter().copied());
                linear.domain = artifact.domain;
                (&artifact.as_monitor, "a soft sensor", "a monitor")
            }
            Model::Forest(forest) => {
                self.used_features.extend(forest.inputs.iter().copied());
                forest.domain = artifact.domain;
                let is = if forest.is_sensor() { "a soft sensor" } else { "a classifier" };
                (&artifact.as_monitor, is, "a monitor")
            }
            Model::Logistic(logistic) => {
                self.used_features.extend(logistic.inputs.iter().copied());
                logistic.domain = artifact.domain;
                (&artifact.as_monitor, "a classifier", "a monitor")
            }
            Model::Chart(_) => return model,
        };
        self.classes(artifact, &model);
        for span in wrong {
            let message =
                format!("model \"{}\" is {is}, and is taken for {wanted}", artifact.name.get());
            let found = self.error(&codes::MODEL_WRONG_KIND, span.clone(), message);
            self.found.push(found);
        }
        model
    }

    /// Gives clauses over probabilities the places of their classes.
    fn classes(&mut self, artifact: &ArtifactUse, model: &Model) {
        let none = Vec::new();
        let known = match model {
            Model::Forest(forest) => &forest.classes,
            Model::Logistic(logistic) => &logistic.classes,
            _ => &none,
        };
        let id = ModelId(u16::try_from(self.plan.models.len()).unwrap_or(u16::MAX));
        let mut places = Vec::new();
        for class in &artifact.classes {
            let place = known.iter().position(|known| known == class.get());
            if place.is_none() {
                let message =
                    format!("model \"{}\" has no class \"{}\"", artifact.name.get(), class.get());
                let help = if known.is_empty() {
                    "it is no classifier".to_owned()
                } else {
                    format!("its classes are: {}", known.join(", "))
                };
                let found = self.error(&codes::NO_CLASS, class.span(), message).help(help);
                self.found.push(found);
            }
            places.push(place.and_then(|place| u8::try_from(place).ok()).unwrap_or(0));
        }
        let clauses = self.plan.signatures.iter_mut().flat_map(|s| &mut s.clauses);
        for clause in clauses {
            if let Source::Probability(of, number) = &mut clause.source
                && *of == id
            {
                *number = places.get(usize::from(*number)).copied().unwrap_or(0);
            }
        }
    }

    /// Features that nothing uses, now that the models' inputs are known.
    fn usage(&mut self) {
        let recipe = self.recipe;
        if recipe.artifacts.is_empty() || has_errors(&self.found) {
            return;
        }
        let mut used = self.used_features.clone();
        for model in &self.plan.models {
            if let Model::Chart(chart) = &model.model {
                used.insert(chart.input);
            }
        }
        for clause in self.plan.signatures.iter().flat_map(|signature| &signature.clauses) {
            if let trimloop_core::plan::Source::Feature(id) = clause.source {
                used.insert(id);
            }
        }
        for combine in self.plan.features.iter().filter_map(|feature| feature.combine) {
            used.extend(<[FeatureId; 2]>::from(combine.of()));
        }
        for (place, (name, feature)) in recipe.raw.feature.iter().enumerate() {
            let watched = feature.watch.as_ref().is_some_and(|watch| *watch.get());
            if !watched && !used.contains(&FeatureId(u16::try_from(place).unwrap_or(u16::MAX))) {
                let message = format!("nothing uses feature \"{}\"", name.get());
                let found = self
                    .error(&codes::UNUSED_FEATURE, name.span(), message)
                    .warning()
                    .help(UNUSED_FEATURE_HELP);
                self.found.push(found);
            }
        }
    }
}

/// Whether two PLC configs have an address in common.
fn same_server(one: &PlcConfig, other: &PlcConfig) -> bool {
    let servers = |plc: &PlcConfig| -> BTreeSet<String> {
        std::iter::once(&plc.url).chain(&plc.standby).map(|url| server(url)).collect()
    };
    !servers(one).is_disjoint(&servers(other))
}

/// What two addresses of one server have in common: host and port, whatever their spelling.
fn server(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest).to_ascii_lowercase();
    let (place, path) = rest.split_once('/').unwrap_or((&rest, ""));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (place, "4840"),
    };
    let host = if host == "localhost" || host == "[::1]" { "127.0.0.1" } else { host };
    format!("{host}:{port}/{}", path.trim_end_matches('/'))
}

fn hex(byte: u8) -> [char; 2] {
    [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0'))
}

/// SHA-256 over what the plan rests on, without comments, spacing and order of keys: all files in
/// canonical form and the models' hashes, each with its length before it. The recipe says how many
/// PLC configs there are, and in which order.
fn hash(recipe: &Recipe, plcs: &[&PlcConfig], models: &[[u8; 32]]) -> [u8; 32] {
    let mut sha = Sha256::new();
    let mut part = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_le_bytes());
        sha.update(bytes);
    };
    part(b"trimloop plan 1");
    for source in std::iter::once(&recipe.source).chain(plcs.iter().map(|plc| &plc.source)) {
        // All were read as TOML before; a text that is none would hash as itself.
        match source.text.parse::<toml::Table>() {
            Ok(mut table) => {
                // Faults are for maintenance: a plan with them decides as one without.
                table.remove("fault");
                table.remove("plan");
                let mut out = Vec::new();
                canonical(&toml::Value::Table(table), &mut out);
                part(&out);
            }
            Err(_) => part(source.text.as_bytes()),
        }
    }
    for model in models {
        part(model);
    }
    sha.finalize().into()
}

/// A value as a letter for its kind, its length, its content; tables by key. Written here, so that
/// no library's format or feature can change a hash.
fn canonical(value: &toml::Value, out: &mut Vec<u8>) {
    let mut head = |kind: u8, len: usize| {
        out.push(kind);
        out.extend_from_slice(&(len as u64).to_le_bytes());
    };
    let text = match value {
        toml::Value::Table(table) => {
            head(b't', table.len());
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in entries {
                out.extend_from_slice(&(key.len() as u64).to_le_bytes());
                out.extend_from_slice(key.as_bytes());
                canonical(value, out);
            }
            return;
        }
        toml::Value::Array(items) => {
            head(b'a', items.len());
            for item in items {
                canonical(item, out);
            }
            return;
        }
        toml::Value::String(text) => (b's', text.clone().into_bytes()),
        toml::Value::Integer(whole) => (b'i', whole.to_le_bytes().to_vec()),
        toml::Value::Float(float) => (b'f', float.to_bits().to_le_bytes().to_vec()),
        toml::Value::Boolean(truth) => (b'b', vec![u8::from(*truth)]),
        toml::Value::Datetime(time) => (b'd', time.to_string().into_bytes()),
    };
    head(text.0, text.1.len());
    out.extend_from_slice(&text.1);
}
