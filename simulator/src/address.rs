//! The address space of one server and its write path.
//!
//! Writes go through the PLC while the cell is locked, and the register is stored before the
//! write is answered: a read-back after a Good answer always shows what the PLC made of it.
//! Lock order: cell, then address space, then subscriptions. The publisher keeps it too.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use opcua::server::SubscriptionCache;
use opcua::server::address_space::ReferenceDirection;
use opcua::server::address_space::{
    AddressSpace, NodeType, VariableBuilder, add_namespaces, is_writable,
};
use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::{
    InMemoryNodeManager, InMemoryNodeManagerBuilder, InMemoryNodeManagerImpl,
};
use opcua::server::node_manager::{RequestContext, ServerContext, WriteNode};
use opcua::sync::RwLock;
use opcua::types::{
    AttributeId, DataTypeId, DataValue, DateTime, EUInformation, ExtensionObject, LocalizedText,
    NodeId, NumericRange, ObjectId, QualifiedName, Range, ReferenceTypeId, StatusCode, UAString,
    VariableTypeId, Variant,
};

use crate::block::nodes as block_nodes;
use crate::cell::Cell;
use crate::nodes::{
    HEARTBEAT_IN, HEARTBEAT_OUT, NAMESPACE_URI, NODES, NodeSpec, NodeValue, SETPOINTS,
};
use crate::plc::{Refusal, Setpoint};
use crate::shared::Shared;

/// The node manager of the cell.
pub(crate) type CellNodes = InMemoryNodeManager<CellNodesImpl>;

/// Milliseconds between 1601, where OPC UA counts from, and 1970.
const MS_1601_TO_1970: i64 = 11_644_473_600_000;
/// OPC UA ticks of 100 ns in a millisecond.
const TICKS_PER_MS: i64 = 10_000;

/// Our part of the node manager.
pub(crate) struct CellNodesImpl {
    shared: Arc<Shared>,
    namespace: u16,
    ids: Vec<NodeId>,
    index_of: HashMap<NodeId, usize>,
}

/// Builds the node manager over `shared`.
pub(crate) fn cell_nodes(
    shared: Arc<Shared>,
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
        for spec in &NODES {
            add_variable(space, namespace, spec);
        }
        if shared.cell().blocks().is_some() {
            ids.extend(add_blocks(space, namespace));
        }
        let index_of = ids.iter().cloned().zip(0..).collect();
        CellNodesImpl { shared, namespace, ids, index_of }
    })
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

/// Publishes values in one batch; `clock_ms` is the PLC clock.
pub(crate) fn publish(
    nodes: &CellNodes,
    subscriptions: &SubscriptionCache,
    values: Vec<NodeValue>,
    clock_ms: i64,
) {
    let ids = &nodes.inner().ids;
    let batch = values.into_iter().filter_map(|(index, value, status)| {
        ids.get(index).map(|id| (id, None, data_value(value, status, clock_ms)))
    });
    // Every id is in the address space from the start, so this cannot fail.
    nodes.set_values(subscriptions, batch).ok();
}

impl CellNodesImpl {
    /// Carries out one write under the locks of cell and address space.
    fn write_one(
        &self,
        context: &RequestContext,
        space: &RwLock<AddressSpace>,
        write: &WriteNode,
    ) -> Result<(), StatusCode> {
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
            let data = data_value(value, StatusCode::Good, clock_ms);
            if let Some(NodeType::Variable(variable)) = space.find_mut(id) {
                variable.set_data_value(data.clone());
            }
            let change = [(data, id, AttributeId::Value)];
            context.subscriptions.notify_data_change(change.into_iter());
        }
        Ok(())
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
            let count = Variant::UInt32(*count);
            return Ok(vec![(HEARTBEAT_IN, count.clone()), (HEARTBEAT_OUT, count)]);
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
        let asked = if let Variant::Double(asked) = value { Some(*asked) } else { None };
        let stored = cell.write(setpoint, asked).map_err(status_of)?;
        Ok(vec![(index, Variant::Double(stored))])
    }
}

/// How the PLC's refusals look on the wire.
fn status_of(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::Type => StatusCode::BadTypeMismatch,
        Refusal::Limit => StatusCode::BadOutOfRange,
        Refusal::Disabled => StatusCode::BadUserAccessDenied,
        Refusal::Fallback => StatusCode::BadInvalidState,
        Refusal::Busy => StatusCode::BadResourceUnavailable,
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
        for write in writes {
            let status = self.write_one(context, space, write).err().unwrap_or(StatusCode::Good);
            write.set_status(status);
        }
        Ok(())
    }
}
