//! The address space of one server and its write path.
//!
//! Writes go through the PLC while the cell is locked, and the register is stored before the
//! write is answered: a read-back after a Good answer always shows what the PLC made of it.
//! Lock order: cell, then address space, then subscriptions. The publisher keeps it too.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use opcua::server::SubscriptionCache;
use opcua::server::address_space::ReferenceDirection;
use opcua::server::address_space::{
    AddressSpace, NodeType, VariableBuilder, add_namespaces, is_writable,
};
use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::{
    InMemoryNodeManager, InMemoryNodeManagerBuilder, InMemoryNodeManagerImpl, SimpleNodeManager,
};
use opcua::server::node_manager::{RequestContext, ServerContext, WriteNode};
use opcua::sync::RwLock;
use opcua::types::{
    AttributeId, DataTypeId, DataValue, DateTime, EUInformation, ExtensionObject, LocalizedText,
    NodeId, NumericRange, ObjectId, QualifiedName, Range, ReferenceTypeId, StatusCode, UAString,
    VariableTypeId, Variant,
};

use crate::block::nodes as block_nodes;
use crate::catalogue::{Fault, Faults};
use crate::cell::Cell;
use crate::nodes::{
    HEARTBEAT_IN, HEARTBEAT_OUT, MEASURED, NAMESPACE_URI, NODES, NodeSpec, NodeValue, SETPOINTS,
    flicker,
};
use crate::plc::{Refusal, Setpoint};
use crate::shared::Shared;

/// The node manager of the cell.
pub(crate) type CellNodes = InMemoryNodeManager<CellNodesImpl>;

/// Milliseconds between 1601, where OPC UA counts from, and 1970.
const MS_1601_TO_1970: i64 = 11_644_473_600_000;
/// OPC UA ticks of 100 ns in a millisecond.
const TICKS_PER_MS: i64 = 10_000;

/// How late the source stamps of [`Fault::StampsLate`] are, in turn \[ms wall].
const LATENESS_MS: [f64; 4] = [0.0, 5_000.0, 3_000.0, 8_000.0];
/// How late its server stamps are \[ms].
const SERVER_LATE_MS: i64 = 5_000;

/// Our part of the node manager.
pub(crate) struct CellNodesImpl {
    shared: Arc<Shared>,
    namespace: u16,
    ids: Vec<NodeId>,
    index_of: HashMap<NodeId, usize>,
    /// The hold pressure setpoint is a Float in this life of the server.
    retyped: bool,
    /// Messages published, for the turn of the late stamps.
    published: AtomicUsize,
}

/// Builds the node manager over `shared`.
pub(crate) fn cell_nodes(
    shared: Arc<Shared>,
    retyped: bool,
) -> InMemoryNodeManagerBuilder<impl FnOnce(ServerContext, &mut AddressSpace) -> CellNodesImpl> {
    InMemoryNodeManagerBuilder::new(move |context: ServerContext, space: &mut AddressSpace| {
        let namespace =
            add_namespaces(&context, space, &[NAMESPACE_URI]).first().copied().unwrap_or(0);
        let mut ids: Vec<NodeId> = NODES.iter().map(|n| NodeId::new(namespace, n.id)).collect();
        for folder in ["Press4", "Inspection"] {
            let id = NodeId::new(namespace, folder);
            let name = QualifiedName::new(namespace, folder);
            space.add_folder(&id, name, folder, &ObjectId::ObjectsFolder.into());
        }
        for (index, spec) in NODES.iter().enumerate() {
            let mut spec = *spec;
            if retyped && index == SETPOINTS {
                spec.data_type = DataTypeId::Float;
            }
            add_variable(space, namespace, &spec);
        }
        if shared.cell().blocks().is_some() {
            ids.extend(add_blocks(space, namespace));
        }
        let index_of = ids.iter().cloned().zip(0..).collect();
        let published = AtomicUsize::new(0);
        CellNodesImpl { shared, namespace, ids, index_of, retyped, published }
    })
}

/// Fills a namespace that lies where ours was before: registers of the same names, whose writes
/// are answered Good and counted as gone astray.
pub(crate) fn add_strays(nodes: &SimpleNodeManager, namespace: u16, shared: &Arc<Shared>) {
    let mut space = nodes.address_space().write();
    let folder = NodeId::new(namespace, "Press4");
    let name = QualifiedName::new(namespace, "Press4");
    space.add_folder(&folder, name, "Press4", &ObjectId::ObjectsFolder.into());
    for spec in NODES.iter().filter(|spec| spec.writable) {
        let value = match spec.data_type {
            DataTypeId::UInt32 => Variant::UInt32(0),
            _ => Variant::Double(0.0),
        };
        let id = NodeId::new(namespace, spec.id);
        VariableBuilder::new(&id, QualifiedName::new(namespace, spec.id), spec.id)
            .data_type(spec.data_type)
            .value(value)
            .value_rank(-1)
            .has_type_definition(VariableTypeId::BaseDataVariableType)
            .component_of(folder.clone())
            .writable()
            .insert(&mut *space);
        let shared = Arc::clone(shared);
        nodes.inner().add_write_callback(id, move |_, _| {
            shared.note_stray();
            StatusCode::Good
        });
    }
}

fn add_variable(space: &mut AddressSpace, namespace: u16, spec: &NodeSpec) {
    let id = NodeId::new(namespace, spec.id);
    let (folder, name) = spec.id.split_once('.').unwrap_or(("Press4", spec.id));
    let class = if spec.range.is_some() {
        VariableTypeId::AnalogItemType
    } else {
        VariableTypeId::BaseDataVariableType
    };
    let mut builder = VariableBuilder::new(&id, QualifiedName::new(namespace, name), name)
        .data_type(spec.data_type)
        .value_rank(-1)
        .has_type_definition(class)
        .component_of(NodeId::new(namespace, folder));
    if spec.writable {
        builder = builder.writable();
    }
    builder.insert(space);
    if let Some((low, high)) = spec.range {
        let range = ExtensionObject::from_message(Range { low, high });
        add_property(space, namespace, spec.id, "EURange", DataTypeId::Range, range);
        let unit = ExtensionObject::from_message(EUInformation {
            namespace_uri: UAString::from("http://www.opcfoundation.org/UA/units/un/cefact"),
            unit_id: -1,
            display_name: LocalizedText::from(spec.unit),
            description: LocalizedText::from(spec.unit),
        });
        let kind = DataTypeId::EUInformation;
        add_property(space, namespace, spec.id, "EngineeringUnits", kind, unit);
    }
}

/// The handshake blocks as objects below the press; the ids of their members.
fn add_blocks(space: &mut AddressSpace, namespace: u16) -> Vec<NodeId> {
    for object in block_nodes::OBJECTS {
        let name = object.split_once('.').map_or(object, |(_, name)| name);
        let (id, press) = (NodeId::new(namespace, object), NodeId::new(namespace, "Press4"));
        space.add_folder(&id, QualifiedName::new(namespace, name), name, &press);
    }
    let add = |node: block_nodes::BlockNode| {
        let object = block_nodes::OBJECTS[node.object];
        let id = NodeId::new(namespace, format!("{object}.{}", node.member));
        let name = QualifiedName::new(namespace, node.member);
        let mut builder = VariableBuilder::new(&id, name, node.member)
            .data_type(node.data_type)
            .value_rank(-1)
            .has_type_definition(VariableTypeId::BaseDataVariableType)
            .component_of(NodeId::new(namespace, object));
        if node.writable {
            builder = builder.writable();
        }
        builder.insert(space);
        id
    };
    block_nodes::nodes().map(add).collect()
}

fn add_property(
    space: &mut AddressSpace,
    namespace: u16,
    of: &str,
    name: &str,
    data_type: DataTypeId,
    value: ExtensionObject,
) {
    let id = NodeId::new(namespace, format!("{of}.{name}"));
    VariableBuilder::new(&id, name, name)
        .data_type(data_type)
        .value_rank(-1)
        .value(Variant::from(value))
        .has_type_definition(VariableTypeId::PropertyType)
        .reference(
            NodeId::new(namespace, of),
            ReferenceTypeId::HasProperty,
            ReferenceDirection::Inverse,
        )
        .insert(space);
}

/// A data value with PLC time as source and wall time as server timestamp.
fn data_value(value: Variant, status: StatusCode, clock_ms: i64) -> DataValue {
    let source = DateTime::from((clock_ms + MS_1601_TO_1970) * TICKS_PER_MS);
    DataValue {
        value: Some(value),
        status: Some(status),
        source_timestamp: Some(source),
        server_timestamp: Some(DateTime::now()),
        ..DataValue::default()
    }
}

/// The same with late stamps; `turn` counts messages.
fn late_value(value: Variant, status: StatusCode, moment: Moment, turn: usize) -> DataValue {
    let late_ms = (LATENESS_MS[turn % LATENESS_MS.len()] * moment.speed) as i64;
    let mut data = data_value(value, status, moment.clock_ms - late_ms);
    let server = data.server_timestamp.map(|stamp| stamp.ticks() - SERVER_LATE_MS * TICKS_PER_MS);
    data.server_timestamp = server.map(DateTime::from);
    data
}

/// When something is published, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The PLC clock.
    pub(crate) clock_ms: i64,
    /// Process time against wall time.
    pub(crate) speed: f64,
    /// The faults that are on.
    pub(crate) faults: Faults,
}

/// Publishes values in one batch.
pub(crate) fn publish(
    nodes: &CellNodes,
    subscriptions: &SubscriptionCache,
    values: Vec<NodeValue>,
    moment: Moment,
) {
    let ours = nodes.inner();
    let turn = ours.published.fetch_add(1, Ordering::Relaxed);
    if moment.faults.has(Fault::QueueOverflow) {
        let shakes = flicker(&values);
        let shakes = shakes.into_iter().filter_map(|(index, value, status)| {
            let data = data_value(value, status, moment.clock_ms);
            ours.ids.get(index).map(|id| (data, id, AttributeId::Value))
        });
        subscriptions.notify_data_change(shakes);
    }
    let late = moment.faults.has(Fault::StampsLate);
    let batch = values.into_iter().filter_map(|(index, value, status)| {
        let value = ours.typed(index, value);
        let data = if late && index < MEASURED {
            late_value(value, status, moment, turn + index)
        } else {
            data_value(value, status, moment.clock_ms)
        };
        ours.ids.get(index).map(|id| (id, None, data))
    });
    // Every id is in the address space from the start, so this cannot fail.
    nodes.set_values(subscriptions, batch).ok();
}

impl CellNodesImpl {
    /// A value in the type that the register has in this life of the server.
    fn typed(&self, index: usize, value: Variant) -> Variant {
        match value {
            Variant::Double(real) if self.retyped && index == SETPOINTS => {
                Variant::Float(real as f32)
            }
            value => value,
        }
    }

    /// Carries out one write under the locks of cell and address space.
    fn write_one(
        &self,
        context: &RequestContext,
        space: &RwLock<AddressSpace>,
        write: &WriteNode,
    ) -> Result<StatusCode, StatusCode> {
        let mut cell = self.shared.cell();
        let mut space = space.write();
        let asked = write.value();
        let node = space.find(&asked.node_id).ok_or(StatusCode::BadNodeIdUnknown)?;
        is_writable(context, node, asked.attribute_id)?;
        let index = *self.index_of.get(&asked.node_id).ok_or(StatusCode::BadNotWritable)?;
        if asked.attribute_id != AttributeId::Value || asked.index_range != NumericRange::None {
            return Err(StatusCode::BadWriteNotSupported);
        }
        // As many PLCs do: a value only, no status and no times.
        let data = &asked.value;
        if data.status.is_some_and(|s| s != StatusCode::Good)
            || data.source_timestamp.is_some()
            || data.server_timestamp.is_some()
        {
            return Err(StatusCode::BadWriteNotSupported);
        }
        let value = data.value.as_ref().unwrap_or(&Variant::Empty);
        let stored = self.apply(&mut cell, index, value)?;
        let clock_ms = cell.clock_ms();
        for (index, value) in stored {
            let Some(id) = self.ids.get(index) else { continue };
            let data = data_value(self.typed(index, value), StatusCode::Good, clock_ms);
            if let Some(NodeType::Variable(variable)) = space.find_mut(id) {
                variable.set_data_value(data.clone());
            }
            let change = [(data, id, AttributeId::Value)];
            context.subscriptions.notify_data_change(change.into_iter());
        }
        let clamped = index >= SETPOINTS && cell.faults().has(Fault::WriteClamped);
        Ok(if clamped { StatusCode::GoodClamped } else { StatusCode::Good })
    }

    /// Lets the cell decide; returns the nodes that changed.
    fn apply(
        &self,
        cell: &mut Cell,
        index: usize,
        value: &Variant,
    ) -> Result<Vec<(usize, Variant)>, StatusCode> {
        if index == HEARTBEAT_IN {
            let Variant::UInt32(count) = value else { return Err(StatusCode::BadTypeMismatch) };
            cell.beat(*count);
            let echo = Variant::UInt32(cell.plc().echo());
            return Ok(vec![(HEARTBEAT_IN, Variant::UInt32(*count)), (HEARTBEAT_OUT, echo)]);
        }
        if let Some(position) = index.checked_sub(NODES.len()) {
            cell.write_block(position, value).ok_or(StatusCode::BadTypeMismatch)?;
            return Ok(vec![(index, value.clone())]);
        }
        let setpoint = match index.checked_sub(SETPOINTS) {
            Some(0) => Setpoint::HoldPressure,
            Some(1) => Setpoint::CoolTime,
            _ => return Err(StatusCode::BadNotWritable),
        };
        let asked = match value {
            Variant::Double(asked) if !self.retyped || setpoint != Setpoint::HoldPressure => {
                Some(*asked)
            }
            Variant::Float(asked) if self.retyped && setpoint == Setpoint::HoldPressure => {
                Some(f64::from(*asked))
            }
            _ if cell.faults().has(Fault::WrongTypeAccepted) => {
                cell.write_wrong_type(setpoint, as_number(value));
                return Ok(vec![(index, value.clone())]);
            }
            _ => None,
        };
        let stored = cell.write(setpoint, asked).map_err(status_of)?;
        Ok(vec![(index, Variant::Double(stored))])
    }
}

/// A value of another type as a number, the way a PLC that takes anything would.
fn as_number(value: &Variant) -> Option<f64> {
    Some(match value {
        Variant::Float(real) => f64::from(*real),
        Variant::Double(real) => *real,
        Variant::Int16(whole) => f64::from(*whole),
        Variant::UInt16(whole) => f64::from(*whole),
        Variant::Int32(whole) => f64::from(*whole),
        Variant::UInt32(whole) => f64::from(*whole),
        Variant::Int64(whole) => *whole as f64,
        _ => return None,
    })
}

/// How the PLC's refusals look on the wire.
fn status_of(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Type => StatusCode::BadTypeMismatch,
        Refusal::Limit => StatusCode::BadOutOfRange,
        Refusal::Disabled => StatusCode::BadUserAccessDenied,
        Refusal::Fallback => StatusCode::BadInvalidState,
        Refusal::Busy => StatusCode::BadResourceUnavailable,
        Refusal::Late => StatusCode::BadTimeout,
    }
}

#[async_trait]
impl InMemoryNodeManagerImpl for CellNodesImpl {
    async fn init(&self, _: &mut AddressSpace, _: ServerContext) {}

    fn name(&self) -> &'static str {
        "cell"
    }

    fn namespaces(&self) -> Vec<NamespaceMetadata> {
        vec![NamespaceMetadata {
            namespace_uri: NAMESPACE_URI.to_owned(),
            namespace_index: self.namespace,
            ..NamespaceMetadata::default()
        }]
    }

    async fn write(
        &self,
        context: &RequestContext,
        space: &RwLock<AddressSpace>,
        writes: &mut [&mut WriteNode],
    ) -> Result<(), StatusCode> {
        let partial = writes.len() > 1 && self.shared.cell().faults().has(Fault::BatchPartial);
        for (place, write) in writes.iter_mut().enumerate() {
            let status = if partial && place % 2 == 1 {
                StatusCode::BadResourceUnavailable
            } else {
                self.write_one(context, space, write).unwrap_or_else(|refused| refused)
            };
            write.set_status(status);
        }
        Ok(())
    }
}
