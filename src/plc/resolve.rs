//! Addresses -> node ids, and the check that each is what the configuration says.
//!
//! Done on every connect: a download moves namespace indices and numeric ids, and may change a
//! type. What does not fit is a [`Problem`]; nothing is written while a setpoint has one.

use std::collections::HashMap;
use std::sync::Arc;

use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowsePath, BrowsePathResult,
    BrowseResultMask, ByteString, DataValue, EUInformation, Error, Guid, NodeId, NumericRange,
    ObjectId, QualifiedName, Range, ReadValueId, ReferenceTypeId, RelativePath,
    RelativePathElement, StatusCode, TimestampsToReturn, VariableId, Variant,
};

use tracing::debug;
use trimloop_recipe::plc_config::{Address, Identifier, OPC_UA, Part, PerCall, Segment};
use trimloop_recipe::unit::Unit;

use super::check::{ATTRIBUTES, Attributes, Kind, built_in, fits, unreadable};
use super::mutant::{Mutant, broken};
use super::structure::{Layout, Taker};
use super::wire::Wire;
use super::{LinkConfig, NodeConfig, Problem, Purpose, Scalar};

/// Depth of a type tree before we give up on it.
const SUPERTYPES_MAX: usize = 16;

/// A register as it was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// Index into [`LinkConfig::nodes`].
    pub(super) node: usize,
    pub(super) id: NodeId,
    pub(super) scalar: Scalar,
    /// Namespace URI and browse name, where the server tells them.
    pub(super) name: Option<(String, String)>,
    /// How its part is taken out of the node's value, if it is not all of it.
    pub(super) taker: Option<Taker>,
    /// Whether the server has a history of it that we may read.
    pub(super) history: bool,
}

impl Found {
    /// What is asked of the server: the value, or one element of it.
    pub(super) fn item(&self) -> ReadValueId {
        let mut item = value_of(&self.id);
        if let Some(taker) = &self.taker
            && let (true, [index]) = (taker.ranged, taker.index.as_slice())
        {
            item.index_range = NumericRange::Index(*index);
        }
        item
    }
}

/// What the server has of what the configuration names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resolution {
    pub(super) found: Vec<Found>,
    pub(super) problems: Vec<Problem>,
    /// Most monitored items per call.
    pub(super) items_max: usize,
    /// Most values per read and per write.
    pub(super) read_max: usize,
    pub(super) write_max: usize,
}

impl Resolution {
    pub(super) fn may_write(&self) -> bool {
        !self.problems.iter().any(|problem| problem.stops_writes)
    }
}

pub(super) async fn resolve(wire: &dyn Wire, config: &LinkConfig) -> Result<Resolution, Error> {
    let (namespaces, limits) = server_facts(wire, config.per_call).await?;
    let mut problems = Vec::new();
    let mut reader = Reader { wire, limits };
    let ids = reader.addresses(config, &namespaces, &mut problems).await?;
    let attributes = reader.attributes(&ids).await?;
    let ranges = reader.ranges(config, &ids).await?;
    let units = reader.units(config, &ids).await?;
    let (mut types, mut layouts) = (HashMap::new(), HashMap::new());
    let mut found = Vec::with_capacity(ids.len());
    let rows = attributes.iter().zip(ranges.into_iter().zip(units));
    for ((node, id), (row, (range, unit))) in ids.into_iter().zip(rows) {
        let Some(wanted) = config.nodes.get(node) else { continue };
        if let Some(what) = unit {
            problems.push(problem(wanted, what));
            continue;
        }
        let checked = match &wanted.address {
            Address::Part { part, .. } => reader
                .check_part(wanted, part, &id, row, &mut layouts)
                .await?
                .map(|(scalar, taker)| (scalar, Some(taker))),
            _ => {
                let scalar = reader.check(wanted, row, range, &mut types).await?;
                scalar.map(|scalar| (scalar, None))
            }
        };
        match checked {
            Ok((scalar, taker)) => {
                let name = row.name().and_then(|name| {
                    let uri = match name.namespace_index {
                        0 => OPC_UA,
                        index => namespaces.get(usize::from(index))?,
                    };
                    Some((uri.to_owned(), name.name.to_string()))
                });
                let history = row.has_history();
                found.push(Found { node, id, scalar, name, taker, history });
            }
            Err(what) => problems.push(problem(wanted, what)),
        }
    }
    let Limits { items: items_max, read: read_max, write: write_max, .. } = reader.limits;
    Ok(Resolution { found, problems, items_max, read_max, write_max })
}

fn problem(node: &NodeConfig, what: String) -> Problem {
    Problem { node: node.name.clone(), stops_writes: !matches!(node.purpose, Purpose::Read), what }
}

/// Most operations per call, by service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) read: usize,
    pub(super) paths: usize,
    pub(super) items: usize,
    pub(super) write: usize,
}

/// Namespaces of the server, and the smaller of its limits and ours.
pub(super) async fn server_facts(
    wire: &dyn Wire,
    per_call: PerCall,
) -> Result<(Vec<String>, Limits), Error> {
    let wanted = [
        VariableId::Server_NamespaceArray,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
        VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
    ]
    .map(|id| ReadValueId::new_value(id.into()));
    // The limit of reading is not known before this read, ours is.
    let mut reads = per_call.read;
    let values = in_parts(&wanted, &mut reads, |part| async move {
        wire.read(&part, TimestampsToReturn::Neither).await
    })
    .await?;
    let limit = |at: usize, ours: usize| match values.get(at).and_then(|data| data.value.as_ref()) {
        // 0 means that the server has no limit.
        Some(Variant::UInt32(max)) if *max > 0 => ours.min(*max as usize).max(1),
        _ => ours.max(1),
    };
    let namespaces = match values.first().and_then(|data| data.value.as_ref()) {
        Some(Variant::Array(array)) => array.values.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let limits = Limits {
        read: limit(1, per_call.read.min(reads)),
        paths: limit(2, per_call.other),
        items: limit(3, per_call.monitor),
        write: limit(4, per_call.write),
    };
    Ok((namespaces, limits))
}

/// How well the server says that it serves, 0 to 255; `None` when it does not say.
pub(super) async fn service_level(wire: &dyn Wire) -> Result<Option<u8>, Error> {
    let wanted = [ReadValueId::new_value(VariableId::Server_ServiceLevel.into())];
    let values = wire.read(&wanted, TimestampsToReturn::Neither).await?;
    Ok(match values.into_iter().next().and_then(|data| data.value) {
        Some(Variant::Byte(level)) => Some(level),
        _ => None,
    })
}

fn index_of(namespaces: &[String], uri: &str) -> Result<u16, String> {
    if uri == OPC_UA {
        return Ok(0);
    }
    let index = namespaces.iter().position(|known| known == uri);
    index.and_then(|index| u16::try_from(index).ok()).ok_or_else(|| {
        format!("the server has no namespace \"{uri}\"; it has {}", namespaces.join(", "))
    })
}

pub(super) fn place(address: &Address, namespaces: &[String]) -> Result<Place, String> {
    match address {
        Address::Id { namespace, identifier } => {
            let index = index_of(namespaces, namespace)?;
            Ok(Place::Known(match identifier {
                Identifier::Text(text) => NodeId::new(index, text.as_str()),
                Identifier::Numeric(number) => NodeId::new(index, *number),
                Identifier::Guid(bytes) => NodeId::new(index, Guid::from_bytes(*bytes)),
                Identifier::Opaque(bytes) => NodeId::new(index, ByteString::from(bytes)),
            }))
        }
        Address::Path(segments) => {
            let mut elements = Vec::with_capacity(segments.len());
            for Segment { namespace, name } in segments {
                let index = index_of(namespaces, namespace)?;
                elements.push(step(ReferenceTypeId::HierarchicalReferences, index, name));
            }
            Ok(Place::Path(path(ObjectId::RootFolder.into(), elements)))
        }
        Address::Part { of, .. } => place(of, namespaces),
    }
}

pub(super) enum Place {
    Known(NodeId),
    Path(BrowsePath),
}

pub(super) fn step(reference: ReferenceTypeId, namespace: u16, name: &str) -> RelativePathElement {
    RelativePathElement {
        reference_type_id: reference.into(),
        is_inverse: false,
        include_subtypes: true,
        target_name: QualifiedName::new(namespace, name),
    }
}

pub(super) fn path(from: NodeId, elements: Vec<RelativePathElement>) -> BrowsePath {
    BrowsePath { starting_node: from, relative_path: RelativePath { elements: Some(elements) } }
}

pub(super) fn target(result: &BrowsePathResult) -> Result<NodeId, StatusCode> {
    let targets = result.targets.as_deref().unwrap_or_default();
    match targets {
        [one] if result.status_code.is_good() => Ok(one.target_id.node_id.clone()),
        [] if result.status_code.is_good() => Err(StatusCode::BadNoMatch),
        _ if result.status_code.is_good() => Err(StatusCode::BadTooManyMatches),
        _ => Err(result.status_code),
    }
}

pub(super) struct Reader<'a> {
    pub(super) wire: &'a dyn Wire,
    pub(super) limits: Limits,
}

impl Reader<'_> {
    pub(super) async fn read(&mut self, nodes: &[ReadValueId]) -> Result<Vec<DataValue>, Error> {
        let wire = self.wire;
        in_parts(nodes, &mut self.limits.read, |part| async move {
            wire.read(&part, TimestampsToReturn::Neither).await
        })
        .await
    }

    pub(super) async fn translate(
        &mut self,
        paths: &[BrowsePath],
    ) -> Result<Vec<BrowsePathResult>, Error> {
        let wire = self.wire;
        in_parts(paths, &mut self.limits.paths, |part| async move { wire.translate(&part).await })
            .await
    }

    async fn addresses(
        &mut self,
        config: &LinkConfig,
        namespaces: &[String],
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<(usize, NodeId)>, Error> {
        let mut ids = Vec::with_capacity(config.nodes.len());
        let mut asked = Vec::new();
        let mut paths = Vec::new();
        for (at, node) in config.nodes.iter().enumerate() {
            match place(&node.address, namespaces) {
                Ok(Place::Known(id)) => ids.push((at, id)),
                Ok(Place::Path(path)) => {
                    asked.push((at, node));
                    paths.push(path);
                }
                Err(what) => problems.push(problem(node, what)),
            }
        }
        let answers = self.translate(&paths).await?;
        for ((at, node), answer) in asked.into_iter().zip(&answers) {
            match target(answer) {
                Ok(id) => ids.push((at, id)),
                Err(status) => problems.push(problem(
                    node,
                    format!("the browse path leads to no single node ({status})"),
                )),
            }
        }
        ids.sort_by_key(|(at, _)| *at);
        Ok(ids)
    }

    async fn attributes(&mut self, ids: &[(usize, NodeId)]) -> Result<Vec<Attributes>, Error> {
        let wanted: Vec<ReadValueId> = ids
            .iter()
            .flat_map(|(_, id)| ATTRIBUTES.map(|which| ReadValueId::new(id.clone(), which)))
            .collect();
        let values = self.read(&wanted).await?;
        Ok(values.chunks(ATTRIBUTES.len()).map(Attributes::from_read).collect())
    }

    /// The EURange of each setpoint that has one.
    async fn ranges(
        &mut self,
        config: &LinkConfig,
        ids: &[(usize, NodeId)],
    ) -> Result<Vec<Option<(f64, f64)>>, Error> {
        let mut ranges = vec![None; ids.len()];
        let is_setpoint = |at: usize| {
            let setpoint = |p| matches!(p, Purpose::Setpoint { .. } | Purpose::Guarded { .. });
            config.nodes.get(at).is_some_and(|n| setpoint(n.purpose))
        };
        let asked: Vec<usize> = (0..ids.len())
            .filter(|i| ids.get(*i).is_some_and(|(at, _)| is_setpoint(*at)))
            .collect();
        let property =
            |id: &NodeId| path(id.clone(), vec![step(ReferenceTypeId::HasProperty, 0, "EURange")]);
        let paths: Vec<BrowsePath> =
            asked.iter().filter_map(|i| ids.get(*i)).map(|(_, id)| property(id)).collect();
        let answers = self.translate(&paths).await?;
        let (places, properties): (Vec<usize>, Vec<ReadValueId>) = asked
            .into_iter()
            .zip(&answers)
            .filter_map(|(i, answer)| Some((i, ReadValueId::new_value(target(answer).ok()?))))
            .unzip();
        for (i, data) in places.into_iter().zip(self.read(&properties).await?) {
            if let (Some(slot), Some(Variant::ExtensionObject(object))) =
                (ranges.get_mut(i), data.value)
            {
                *slot = object.inner_as::<Range>().map(|range| (range.low, range.high));
            }
        }
        Ok(ranges)
    }

    /// What is wrong with the unit of each node whose tag has one.
    ///
    /// A part of a value has no unit of its own on the server.
    async fn units(
        &mut self,
        config: &LinkConfig,
        ids: &[(usize, NodeId)],
    ) -> Result<Vec<Option<String>>, Error> {
        let mut wrong = vec![None; ids.len()];
        let wanted = |at: usize| {
            let node = config.nodes.get(at)?;
            let whole = !matches!(node.address, Address::Part { .. });
            node.tag.filter(|_| whole).and_then(|tag| config.units.get(&tag))
        };
        let (asked, paths): (Vec<_>, Vec<BrowsePath>) = ids
            .iter()
            .enumerate()
            .filter_map(|(i, (at, id))| {
                let property = step(ReferenceTypeId::HasProperty, 0, "EngineeringUnits");
                Some(((i, *at, wanted(*at)?), path(id.clone(), vec![property])))
            })
            .unzip();
        let answers = self.translate(&paths).await?;
        let (places, properties): (Vec<_>, Vec<ReadValueId>) = asked
            .into_iter()
            .zip(&answers)
            .filter_map(|(i, answer)| Some((i, ReadValueId::new_value(target(answer).ok()?))))
            .unzip();
        for ((i, at, unit), data) in places.into_iter().zip(self.read(&properties).await?) {
            let Some(Variant::ExtensionObject(object)) = data.value else { continue };
            let Some(stated) = object.inner_as::<EUInformation>() else { continue };
            let shown = stated.display_name.text.as_ref();
            let name = config.nodes.get(at).map_or("", |node| node.name.as_str());
            match (Unit::of_server(shown, stated.unit_id), wrong.get_mut(i)) {
                (Some(there), Some(slot)) if !unit.is_same(&there) => {
                    *slot = Some(format!(
                        "the server says its unit is {}, the recipe says {}; correct the one \
                         that is wrong",
                        if shown.is_empty() { there.text() } else { shown },
                        unit.text()
                    ));
                }
                (Some(_), _) => {}
                (None, _) if shown.is_empty() || shown == unit.text() => {}
                (None, _) => debug!(
                    plc = %config.name,
                    node = name,
                    unit = shown,
                    wanted = unit.text(),
                    "A unit that the server states is not known and was not compared."
                ),
            }
        }
        Ok(wrong)
    }

    /// Whether a node is what is wanted of it: its type, or what is wrong.
    async fn check(
        &self,
        wanted: &NodeConfig,
        row: &Attributes,
        range: Option<(f64, f64)>,
        types: &mut HashMap<NodeId, Kind>,
    ) -> Result<Result<Scalar, String>, Error> {
        let data_type = match &row.data_type {
            Ok(id) => id,
            Err(status) => return Ok(Err(unreadable(*status))),
        };
        let kind = match types.get(data_type) {
            Some(kind) => *kind,
            None => {
                let kind = self.kind_of(data_type).await?;
                types.insert(data_type.clone(), kind);
                kind
            }
        };
        Ok(fits(wanted, row, kind, range))
    }

    /// Follows a type up to one that is built in.
    pub(super) async fn kind_of(&self, data_type: &NodeId) -> Result<Kind, Error> {
        Ok(self.climb(data_type, built_in).await?.unwrap_or(Kind::Other))
    }

    /// Follows a type up to the first that `known` knows.
    pub(super) async fn climb<T>(
        &self,
        data_type: &NodeId,
        known: impl Fn(&NodeId) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let mut id = data_type.clone();
        for _ in 0..SUPERTYPES_MAX {
            if let Some(found) = known(&id) {
                return Ok(Some(found));
            }
            let up = BrowseDescription {
                node_id: id,
                browse_direction: BrowseDirection::Inverse,
                reference_type_id: ReferenceTypeId::HasSubtype.into(),
                include_subtypes: false,
                node_class_mask: 0,
                result_mask: BrowseResultMask::None as u32,
            };
            let results = self.wire.browse(&[up], 1).await?;
            let parent = results
                .into_iter()
                .next()
                .and_then(|result| result.references)
                .and_then(|references| references.into_iter().next());
            match parent {
                Some(parent) => id = parent.node_id.node_id,
                None => break,
            }
        }
        Ok(None)
    }

    /// Whether a part of a node is what is wanted of it, and how it is taken out.
    async fn check_part(
        &mut self,
        wanted: &NodeConfig,
        part: &Part,
        id: &NodeId,
        row: &Attributes,
        layouts: &mut HashMap<NodeId, Result<Arc<Layout>, String>>,
    ) -> Result<Result<(Scalar, Taker), String>, Error> {
        let data_type = match &row.data_type {
            Ok(data_type) => data_type.clone(),
            Err(status) => return Ok(Err(unreadable(*status))),
        };
        if let Err(why) = row.fits_index(&part.index) {
            return Ok(Err(why));
        }
        let mut taker = Taker {
            ranged: self.cuts(part, id, row).await?,
            index: part.index.clone(),
            layout: None,
            field: part.field.clone(),
        };
        let kind = if part.field.is_empty() {
            self.kind_of(&data_type).await?
        } else {
            if !layouts.contains_key(&data_type) {
                let layout = self.layout(&data_type).await?.map(Arc::new);
                layouts.insert(data_type.clone(), layout);
            }
            match layouts.get(&data_type) {
                Some(Ok(layout)) => match layout.leaf(&part.field) {
                    Ok(kind) => {
                        taker.layout = Some(Arc::clone(layout));
                        kind
                    }
                    Err(why) => return Ok(Err(why)),
                },
                Some(Err(why)) => return Ok(Err(why.clone())),
                None => return Ok(Err("its type is unknown".to_owned())),
            }
        };
        Ok(fits(wanted, &row.as_part(kind), kind, None).map(|scalar| (scalar, taker)))
    }

    /// Whether the server cuts one element out of an array for us.
    ///
    /// Some refuse, and some ignore what they are asked and send all: an array of one would be
    /// either. What it does is tried on the present value, and without that we take the whole.
    async fn cuts(&mut self, part: &Part, id: &NodeId, row: &Attributes) -> Result<bool, Error> {
        let ([index], Some([length])) = (part.index.as_slice(), row.dimensions()) else {
            return Ok(false);
        };
        if *length < 2 {
            return Ok(false);
        }
        let mut ask = value_of(id);
        ask.index_range = NumericRange::Index(*index);
        let answer = self.read(&[ask]).await?.into_iter().next();
        let cut = match answer {
            Some(data) if data.status().is_good() => match &data.value {
                Some(Variant::Array(array)) => array.values.len() == 1,
                Some(Variant::Empty) | None => false,
                Some(_) => true,
            },
            _ => false,
        };
        Ok(cut)
    }
}

/// Whether a smaller call may succeed.
pub(super) fn too_much(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BadTooManyOperations
            | StatusCode::BadEncodingLimitsExceeded
            | StatusCode::BadRequestTooLarge
            | StatusCode::BadResponseTooLarge
            | StatusCode::BadTcpMessageTooLarge
    )
}

/// Calls in parts of at most `limit`, halving it when the server finds a part too large.
pub(super) async fn in_parts<T, R, F>(
    items: &[T],
    limit: &mut usize,
    call: impl Fn(Vec<T>) -> F,
) -> Result<Vec<R>, Error>
where
    T: Clone,
    F: Future<Output = Result<Vec<R>, Error>>,
{
    let mut results = Vec::with_capacity(items.len());
    while let Some(rest) = items.get(results.len()..).filter(|rest| !rest.is_empty()) {
        let most = if broken(Mutant::CallsUncut) { rest.len() } else { (*limit).max(1) };
        let part = &rest[..rest.len().min(most)];
        match call(part.to_vec()).await {
            Ok(answers) if answers.len() == part.len() => results.extend(answers),
            Ok(_) => {
                let what = "the server answered another number of items than were asked";
                return Err(Error::new(StatusCode::BadUnknownResponse, what));
            }
            Err(error) if too_much(error.status()) && part.len() > 1 => *limit = part.len() / 2,
            Err(error) => return Err(error),
        }
    }
    Ok(results)
}

/// The value of a node, read from the device.
pub(super) fn value_of(id: &NodeId) -> ReadValueId {
    ReadValueId {
        node_id: id.clone(),
        attribute_id: AttributeId::Value as u32,
        index_range: NumericRange::None,
        data_encoding: QualifiedName::null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Pain 9: a server that takes 3 at a time gets at most 3, after halving, in order, however it
    /// says that a call was too large.
    #[tokio::test]
    async fn pain_09_parts_shrink_until_they_pass() {
        let items: Vec<u32> = (0..20).collect();
        let mut limit = 16;
        for status in [
            StatusCode::BadTooManyOperations,
            StatusCode::BadEncodingLimitsExceeded,
            StatusCode::BadRequestTooLarge,
            StatusCode::BadResponseTooLarge,
            StatusCode::BadTcpMessageTooLarge,
        ] {
            let sizes = Mutex::new(Vec::new());
            limit = 16;
            let results = in_parts(&items, &mut limit, |part| {
                sizes.lock().unwrap().push(part.len());
                async move {
                    if part.len() > 3 {
                        return Err(Error::new(status, "too many"));
                    }
                    Ok(part)
                }
            })
            .await
            .unwrap();
            assert_eq!(results, items);
            assert_eq!(limit, 2);
            assert_eq!(sizes.into_inner().unwrap()[..4], [16, 8, 4, 2]);
        }
        let none: Vec<u32> = in_parts(&[], &mut limit, |_: Vec<u32>| async {
            Err(Error::new(StatusCode::BadInternalError, "never called"))
        })
        .await
        .unwrap();
        assert!(none.is_empty());
    }
}
