//! Walking a server's address space, level by level.
//!
//! - Long answers are taken in pieces (BrowseNext); a server that has no room for another
//!   continuation point is asked again for that node alone.
//! - A node that is reached twice is told once: cycles end, and a node has one address.
//! - Properties of the standard (EURange, EngineeringUnits) belong to their variable.

use std::collections::{HashMap, HashSet};

use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowseResult, ByteString, EUInformation,
    NodeClass, NodeId, ObjectId, Range, ReadValueId, ReferenceDescription, ReferenceTypeId,
    StatusCode, Variant,
};
use trimloop_recipe::plc_config::{Address, Segment};

use super::Scalar;
use super::check::{ATTRIBUTES, Attributes};
use super::explore::{ExploreError, Explorer, Sought, scalar_of};
use super::resolve::in_parts;
use super::show::{Shown, show};

/// Nodes that are looked at in all, folders included.
const NODES_MAX: usize = 200_000;
/// References of one node in one answer.
const REFERENCES_MAX: u32 = 1000;
/// Pieces of one node's answer before it is cut.
const PIECES_MAX: usize = 1000;
/// Result mask of Part 4, 7.6: everything.
const EVERYTHING: u32 = 63;
/// Objects and variables.
const CLASSES: u32 = 0b11;

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Where to begin; `None` is the Objects folder, without the server's own node.
    pub from: Option<Sought>,
    /// Levels below it, at least 1.
    pub depth: usize,
    /// Most variables in the answer.
    pub most: usize,
}

/// One variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Browse names from the root folder; empty when there is no way down from it.
    pub path: Vec<Segment>,
    /// Address by identifier.
    pub id: Option<Address>,
    /// Name of its data type.
    pub data_type: String,
    /// What a tag would hold, if it can.
    pub scalar: Option<Scalar>,
    /// -1 for one value, from 0 an array.
    pub rank: Option<i32>,
    /// Whether we may read it.
    pub readable: bool,
    /// Whether we may write it.
    pub writable: bool,
    /// EURange.
    pub range: Option<(f64, f64)>,
    /// EngineeringUnits as the server shows them.
    pub unit: Option<String>,
    /// Its value.
    pub value: Shown,
    /// Status of the value by its OPC UA name.
    pub status: String,
}

impl Variable {
    /// Whether it is an array, or may be one.
    #[must_use]
    pub fn is_array(&self) -> bool {
        self.rank.is_some_and(|rank| rank >= 0)
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Browsed {
    /// Variables, by path.
    pub variables: Vec<Variable>,
    /// Why there may be more than that.
    pub cut: Option<String>,
    /// Nodes that the server did not let us look into, with its reason.
    pub closed: Vec<String>,
}

/// A node on the way.
struct Step {
    id: NodeId,
    path: Vec<Segment>,
    /// Index into the variables.
    variable: Option<usize>,
}

/// Properties of a variable.
#[derive(Default)]
struct Properties {
    range: Option<NodeId>,
    unit: Option<NodeId>,
}

#[derive(Default)]
struct Walk {
    found: Vec<(NodeId, Vec<Segment>)>,
    properties: HashMap<usize, Properties>,
    seen: HashSet<NodeId>,
    cut: Option<String>,
    closed: Vec<String>,
}

impl Explorer<'_> {
    /// Looks for variables. `keep` sees the browse names from the root folder.
    ///
    /// # Errors
    /// [`ExploreError`] when the server does not answer, or the beginning is not there.
    pub async fn browse(
        &mut self,
        ask: &Ask,
        keep: impl Fn(&[Segment]) -> bool,
    ) -> Result<Browsed, ExploreError> {
        let mut walk = Walk::default();
        let mut level = vec![self.start(ask, &mut walk, &keep).await?];
        for depth in 1..=ask.depth + 1 {
            // Below the last level only the properties of variables are wanted.
            let deepest = depth > ask.depth;
            if deepest {
                level.retain(|step| step.variable.is_some());
            }
            level = self.level(level, deepest, ask, &mut walk, &keep).await?;
        }
        let mut variables = Vec::with_capacity(walk.found.len());
        let (found, properties) = (std::mem::take(&mut walk.found), walk.properties);
        self.attributes(found, &properties, &mut variables).await?;
        // Many servers answer in another order each time.
        variables.sort_by(|a, b| {
            let names =
                |v: &Variable| v.path.iter().map(|step| step.name.clone()).collect::<Vec<_>>();
            names(a).cmp(&names(b))
        });
        Ok(Browsed { variables, cut: walk.cut, closed: walk.closed })
    }

    async fn start(
        &mut self,
        ask: &Ask,
        walk: &mut Walk,
        keep: &impl Fn(&[Segment]) -> bool,
    ) -> Result<Step, ExploreError> {
        let id = match &ask.from {
            None => {
                walk.seen.insert(ObjectId::Server.into());
                NodeId::from(ObjectId::ObjectsFolder)
            }
            Some(sought) => {
                let found = self.find(std::slice::from_ref(sought)).await?;
                let found = found.into_iter().next();
                found.unwrap_or(Err("nothing".to_owned())).map_err(ExploreError::NotThere)?
            }
        };
        let class = [ReadValueId::new(id.clone(), AttributeId::NodeClass)];
        let class = self.reader.read(&class).await?;
        let class = match class.first() {
            Some(data) if data.status().is_good() => data.value.clone(),
            Some(data) => {
                let why = super::check::unreadable(data.status());
                return Err(ExploreError::NotThere(why));
            }
            None => None,
        };
        let path = self.way_to(&id).await?;
        walk.seen.insert(id.clone());
        let is_variable = class == Some(Variant::Int32(NodeClass::Variable as i32));
        let variable = (is_variable && keep(&path)).then(|| {
            walk.found.push((id.clone(), path.clone()));
            0
        });
        Ok(Step { id, path, variable })
    }

    async fn level(
        &mut self,
        level: Vec<Step>,
        deepest: bool,
        ask: &Ask,
        walk: &mut Walk,
        keep: &impl Fn(&[Segment]) -> bool,
    ) -> Result<Vec<Step>, ExploreError> {
        let ids: Vec<NodeId> = level.iter().map(|step| step.id.clone()).collect();
        let answers = self.children(&ids).await?;
        let mut next = Vec::new();
        for (step, answer) in level.into_iter().zip(answers) {
            let references = match answer {
                Ok(references) => references,
                Err(status) => {
                    walk.closed.push(format!("{}: {status}", step.id));
                    continue;
                }
            };
            for reference in references {
                if walk.property(&step, &reference) || deepest {
                    continue;
                }
                if let Some(child) = self.child(&step, reference, ask, walk, keep) {
                    next.push(child);
                }
            }
        }
        Ok(next)
    }

    fn child(
        &self,
        parent: &Step,
        reference: ReferenceDescription,
        ask: &Ask,
        walk: &mut Walk,
        keep: &impl Fn(&[Segment]) -> bool,
    ) -> Option<Step> {
        let id = reference.node_id.node_id;
        // Nodes of other servers are not ours to read.
        if reference.node_id.server_index != 0 || walk.seen.contains(&id) {
            return None;
        }
        if walk.seen.len() >= NODES_MAX {
            let why = format!("only the first {NODES_MAX} nodes were looked at");
            walk.cut.get_or_insert(why);
            return None;
        }
        walk.seen.insert(id.clone());
        let mut path = parent.path.clone();
        // Below a beginning without a way from the root there is none either.
        if !parent.path.is_empty() {
            path.push(self.segment(&reference.browse_name)?);
        }
        let is_variable = reference.node_class == NodeClass::Variable;
        let shown = if path.is_empty() {
            vec![self.segment(&reference.browse_name)?]
        } else {
            path.clone()
        };
        let mut variable = None;
        if is_variable && keep(&shown) {
            if walk.found.len() >= ask.most {
                let why = format!("only the first {} variables are told", ask.most);
                walk.cut.get_or_insert(why);
            } else {
                variable = Some(walk.found.len());
                walk.found.push((id.clone(), path.clone()));
            }
        }
        Some(Step { id, path, variable })
    }

    /// The references of each node, or why the server does not tell them.
    async fn children(
        &mut self,
        ids: &[NodeId],
    ) -> Result<Vec<Result<Vec<ReferenceDescription>, StatusCode>>, ExploreError> {
        let asks: Vec<BrowseDescription> = ids.iter().map(down).collect();
        let wire = self.reader.wire;
        let mut limit = self.browse_max;
        let mut all = Vec::with_capacity(ids.len());
        // In parts of our own: what one part leaves open is fetched before the next begins, because
        // servers keep few continuation points.
        for part in asks.chunks(limit.max(1)) {
            let results = in_parts(part, &mut limit, |part| async move {
                wire.browse(&part, REFERENCES_MAX).await
            })
            .await?;
            for (ask, result) in part.iter().zip(results) {
                let result = if result.status_code == StatusCode::BadNoContinuationPoints {
                    let again = wire.browse(std::slice::from_ref(ask), REFERENCES_MAX).await?;
                    again.into_iter().next().unwrap_or(result)
                } else {
                    result
                };
                all.push(self.rest(result).await?);
            }
        }
        self.browse_max = limit;
        Ok(all)
    }

    /// One node's whole answer.
    async fn rest(
        &self,
        first: BrowseResult,
    ) -> Result<Result<Vec<ReferenceDescription>, StatusCode>, ExploreError> {
        if first.status_code.is_bad() {
            return Ok(Err(first.status_code));
        }
        let mut references = first.references.unwrap_or_default();
        let mut point = first.continuation_point;
        let mut pieces = 1;
        while !point.is_null_or_empty() {
            let release = pieces >= PIECES_MAX;
            let points: [ByteString; 1] = [point];
            let next = self.reader.wire.browse_next(release, &points).await?;
            let Some(next) = next.into_iter().next().filter(|_| !release) else { break };
            if next.status_code.is_bad() {
                return Ok(Err(next.status_code));
            }
            references.extend(next.references.unwrap_or_default());
            point = next.continuation_point;
            pieces += 1;
        }
        Ok(Ok(references))
    }

    async fn attributes(
        &mut self,
        found: Vec<(NodeId, Vec<Segment>)>,
        properties: &HashMap<usize, Properties>,
        variables: &mut Vec<Variable>,
    ) -> Result<(), ExploreError> {
        let of = |at: usize| properties.get(&at);
        let wanted: Vec<ReadValueId> = found
            .iter()
            .flat_map(|(id, _)| ATTRIBUTES.map(|which| ReadValueId::new(id.clone(), which)))
            .collect();
        let values = self.reader.read(&wanted).await?;
        let (places, asks): (Vec<(usize, bool)>, Vec<ReadValueId>) = (0..found.len())
            .filter_map(|at| Some((at, of(at)?)))
            .flat_map(|(at, properties)| {
                let range = properties.range.iter().map(move |id| ((at, true), id));
                range.chain(properties.unit.iter().map(move |id| ((at, false), id)))
            })
            .map(|(place, id)| (place, ReadValueId::new_value(id.clone())))
            .unzip();
        let mut ranges = HashMap::new();
        let mut units = HashMap::new();
        for ((at, is_range), data) in places.into_iter().zip(self.reader.read(&asks).await?) {
            let Some(Variant::ExtensionObject(object)) = data.value else { continue };
            if is_range {
                ranges
                    .extend(object.inner_as::<Range>().map(|range| (at, (range.low, range.high))));
            } else if let Some(unit) = object.inner_as::<EUInformation>() {
                units.insert(at, unit.display_name.text.to_string());
            }
        }
        for (at, ((id, path), row)) in
            found.into_iter().zip(values.chunks(ATTRIBUTES.len())).enumerate()
        {
            let attributes = Attributes::from_read(row);
            let (data_type, kind) = match &attributes.data_type {
                Ok(id) => self.data_type(id).await?,
                Err(status) => (status.to_string(), super::check::Kind::Other),
            };
            let value = row.last().filter(|_| row.len() == ATTRIBUTES.len());
            variables.push(Variable {
                path,
                id: self.address(&id),
                data_type,
                scalar: scalar_of(kind).or(attributes.value_scalar(kind)),
                rank: attributes.rank(),
                readable: attributes.readable(),
                writable: attributes.writable(),
                range: ranges.get(&at).copied(),
                unit: units.remove(&at).filter(|unit| !unit.is_empty()),
                value: value.and_then(|v| v.value.as_ref()).map_or_else(Shown::nothing, show),
                status: value.map_or_else(String::new, |data| data.status().to_string()),
            });
        }
        Ok(())
    }
}

impl Walk {
    /// Whether a reference leads to a property of the standard, which is kept for its variable.
    fn property(&mut self, parent: &Step, reference: &ReferenceDescription) -> bool {
        let is_property = reference.reference_type_id == ReferenceTypeId::HasProperty
            && reference.browse_name.namespace_index == 0;
        if let (true, Some(at)) = (is_property, parent.variable) {
            let id = reference.node_id.node_id.clone();
            let properties = self.properties.entry(at).or_default();
            match reference.browse_name.name.as_ref() {
                "EURange" => properties.range = Some(id),
                "EngineeringUnits" => properties.unit = Some(id),
                _ => {}
            }
        }
        is_property
    }
}

fn down(id: &NodeId) -> BrowseDescription {
    BrowseDescription {
        node_id: id.clone(),
        browse_direction: BrowseDirection::Forward,
        reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
        include_subtypes: true,
        node_class_mask: CLASSES,
        result_mask: EVERYTHING,
    }
}
