//! The OPC UA nodes of the cell: names, types, units, ranges, and how their values come about.

use opcua::types::{DataTypeId, StatusCode, Variant};

use crate::block::BlockCell;
use crate::catalogue::Fault;
use crate::cell::Cell;
use crate::fault::Sensor;
use crate::inspection::Label;
use crate::plc::{SPECS, Setpoint};

/// Namespace of all nodes; their ids are strings, `Press4.MeltTemp`.
pub const NAMESPACE_URI: &str = "urn:trimloop:simulator";

/// One variable.
#[derive(Debug, Clone, Copy)]
pub struct NodeSpec {
    /// String node id; the part before the point is the folder below Objects.
    pub id: &'static str,
    /// Data type.
    pub data_type: DataTypeId,
    /// Display name of the unit; empty when there is none.
    pub unit: &'static str,
    /// EURange, in that unit.
    pub range: Option<(f64, f64)>,
    /// A client may write it.
    pub writable: bool,
}

const fn real(id: &'static str, unit: &'static str, low: f64, high: f64) -> NodeSpec {
    NodeSpec { id, data_type: DataTypeId::Double, unit, range: Some((low, high)), writable: false }
}

const fn plain(id: &'static str, data_type: DataTypeId) -> NodeSpec {
    NodeSpec { id, data_type, unit: "", range: None, writable: false }
}

const fn writable(spec: NodeSpec) -> NodeSpec {
    NodeSpec { writable: true, ..spec }
}

/// All nodes. The first 13 stand in the order of [`Sensor`].
pub const NODES: [NodeSpec; 31] = [
    real("Press4.MeltTemp", "degC", 150.0, 280.0),
    real("Press4.MouldTemp", "degC", 0.0, 90.0),
    real("Press4.CoolantTemp", "degC", 0.0, 60.0),
    real("Press4.AmbientTemp", "degC", -10.0, 60.0),
    real("Press4.InjectionPeakPressure", "bar", 0.0, 1200.0),
    real("Press4.FillTime", "s", 0.0, 5.0),
    real("Press4.FillPressureIntegral", "bar.s", 0.0, 600.0),
    real("Press4.Cushion", "mm", 0.0, 20.0),
    real("Press4.PlasticisingTime", "s", 0.0, 30.0),
    real("Press4.ScrewTorque", "Nm", 0.0, 800.0),
    real("Press4.HoldPressureActual", "bar", 0.0, 700.0),
    real("Press4.CavityPeakPressure", "bar", 0.0, 700.0),
    real("Press4.CycleTime", "s", 0.0, 60.0),
    plain("Press4.PartId", DataTypeId::Int64),
    plain("Press4.MachineState", DataTypeId::Int32),
    plain("Press4.DoorClosed", DataTypeId::Boolean),
    plain("Press4.ProductId", DataTypeId::Int32),
    plain("Press4.Clock", DataTypeId::Int64),
    plain("Press4.Enable", DataTypeId::Boolean),
    writable(plain("Press4.HeartbeatIn", DataTypeId::UInt32)),
    plain("Press4.HeartbeatOut", DataTypeId::UInt32),
    plain("Press4.FallbackActive", DataTypeId::Boolean),
    writable(real("Press4.HoldPressureSP", "bar", SPECS[0].min, SPECS[0].max)),
    writable(real("Press4.CoolTimeSP", "s", SPECS[1].min, SPECS[1].max)),
    real("Press4.HoldPressureMin", "bar", 0.0, 700.0),
    real("Press4.HoldPressureMax", "bar", 0.0, 700.0),
    real("Press4.CoolTimeMin", "s", 0.0, 60.0),
    real("Press4.CoolTimeMax", "s", 0.0, 60.0),
    plain("Inspection.PartId", DataTypeId::Int64),
    real("Inspection.Weight", "g", 0.0, 40.0),
    plain("Inspection.Ok", DataTypeId::Boolean),
];

/// Measured values between two parts: the temperatures stand first.
pub const TEMPERATURES: usize = 4;
/// Measured values.
pub const MEASURED: usize = 13;
/// Position of `Press4.PartId` in [`NODES`].
pub const PART_ID: usize = 13;
/// Position of `Press4.MachineState`; from here to [`LIMITS`] the state follows.
pub const STATE: usize = 14;
/// Position of `Press4.HeartbeatIn`.
pub const HEARTBEAT_IN: usize = 19;
/// Position of `Press4.HeartbeatOut`.
pub const HEARTBEAT_OUT: usize = 20;
/// Position of `Press4.HoldPressureSP`; `Press4.CoolTimeSP` follows.
pub const SETPOINTS: usize = 22;
/// Position of the first limit.
pub const LIMITS: usize = 24;
/// Position of `Inspection.PartId`.
pub const INSPECTION: usize = 28;

/// A value for one node: position in [`NODES`], value, status.
pub type NodeValue = (usize, Variant, StatusCode);

/// What belongs to one publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// Everything except inspection: at start and after every part.
    Part,
    /// The four temperatures and the state, between two parts.
    Between,
    /// The state only, when something changed at the PLC.
    State,
}

/// Values of a batch, from one look at the cell.
#[must_use]
pub fn values(cell: &Cell, batch: Batch) -> Vec<NodeValue> {
    let mut out = Vec::with_capacity(NODES.len());
    let sensors = match batch {
        Batch::Part => Sensor::ALL.len(),
        Batch::Between => TEMPERATURES,
        Batch::State => 0,
    };
    for (i, reading) in cell.sensors().readings().iter().enumerate().take(sensors) {
        let good = reading.good && !cell.faults().has(Fault::ValuesBad);
        let status = if good { StatusCode::Good } else { StatusCode::BadSensorFailure };
        out.push((i, Variant::Double(reading.value), status));
    }
    if batch == Batch::Part {
        push(&mut out, PART_ID, Variant::Int64(as_i64(cell.part())));
        for (i, spec) in SPECS.iter().enumerate() {
            push(&mut out, LIMITS + 2 * i, Variant::Double(spec.min));
            push(&mut out, LIMITS + 2 * i + 1, Variant::Double(spec.max));
        }
    }
    let plc = cell.plc();
    push(&mut out, STATE, Variant::Int32(cell.machine_state() as i32));
    push(&mut out, STATE + 1, Variant::Boolean(cell.door_closed()));
    push(&mut out, STATE + 2, Variant::Int32(plc.product().id));
    push(&mut out, STATE + 3, Variant::Int64(cell.clock_ms()));
    push(&mut out, STATE + 4, Variant::Boolean(plc.enable()));
    push(&mut out, HEARTBEAT_IN, Variant::UInt32(plc.heartbeat()));
    push(&mut out, HEARTBEAT_OUT, Variant::UInt32(plc.echo()));
    let alone = plc.fallback_active() || cell.blocks().is_some_and(BlockCell::tripped);
    push(&mut out, HEARTBEAT_OUT + 1, Variant::Boolean(alone));
    for setpoint in Setpoint::ALL {
        push(&mut out, SETPOINTS + setpoint.index(), Variant::Double(plc.value(setpoint)));
    }
    out.extend(block_values(cell));
    out
}

/// How often each temperature changes within one message of [`Fault::QueueOverflow`].
const BURST: i32 = 50;

/// What a PLC that measures its temperatures far more often than its server sends has seen before
/// a batch: each flickers by the sensor's resolution before it comes to rest at its value.
#[must_use]
pub fn flicker(values: &[NodeValue]) -> Vec<NodeValue> {
    let mut out = Vec::new();
    for (index, value, status) in values {
        let (true, Variant::Double(real)) = (*index < TEMPERATURES, value) else { continue };
        let shakes = (1..BURST).map(|i| real + 0.01 * f64::from(i % 3 - 1));
        out.extend(shakes.map(|shake| (*index, Variant::Double(shake), *status)));
    }
    out
}

/// Values of the handshake blocks that changed since the last call.
#[must_use]
pub fn block_changes(cell: &mut Cell) -> Vec<NodeValue> {
    let changes = cell.take_block_changes().into_iter();
    changes.map(|(at, value)| (NODES.len() + at, value, StatusCode::Good)).collect()
}

/// Values of the handshake blocks, whose positions follow those of [`NODES`]; none without them.
fn block_values(cell: &Cell) -> Vec<NodeValue> {
    let Some(blocks) = cell.blocks() else { return Vec::new() };
    let all = crate::block::nodes::values(blocks, cell.plc().latched());
    (NODES.len()..).zip(all).map(|(index, value)| (index, value, StatusCode::Good)).collect()
}

/// Values of an inspection result; `None` gives the values before the first one.
#[must_use]
pub fn label_values(label: Option<Label>) -> [NodeValue; 3] {
    let (part, weight_g, ok) = label.map_or((0, 0.0, true), |l| (l.part, l.weight_g, l.ok));
    [
        (INSPECTION, Variant::Int64(as_i64(part)), StatusCode::Good),
        (INSPECTION + 1, Variant::Double(weight_g), StatusCode::Good),
        (INSPECTION + 2, Variant::Boolean(ok), StatusCode::Good),
    ]
}

fn push(out: &mut Vec<NodeValue>, index: usize, value: Variant) {
    out.push((index, value, StatusCode::Good));
}

fn as_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        Batch, HEARTBEAT_IN, HEARTBEAT_OUT, INSPECTION, LIMITS, NODES, PART_ID, SETPOINTS, STATE,
        label_values, values,
    };
    use crate::cell::Cell;
    use crate::fault::Sensor;
    use crate::scenario::Scenario;

    #[test]
    fn positions_name_the_nodes_they_say() {
        let rows = [
            (PART_ID, "Press4.PartId"),
            (STATE, "Press4.MachineState"),
            (STATE + 1, "Press4.DoorClosed"),
            (STATE + 2, "Press4.ProductId"),
            (STATE + 3, "Press4.Clock"),
            (STATE + 4, "Press4.Enable"),
            (HEARTBEAT_IN, "Press4.HeartbeatIn"),
            (HEARTBEAT_OUT, "Press4.HeartbeatOut"),
            (HEARTBEAT_OUT + 1, "Press4.FallbackActive"),
            (SETPOINTS, "Press4.HoldPressureSP"),
            (SETPOINTS + 1, "Press4.CoolTimeSP"),
            (LIMITS, "Press4.HoldPressureMin"),
            (LIMITS + 3, "Press4.CoolTimeMax"),
            (INSPECTION, "Inspection.PartId"),
        ];
        for (index, id) in rows {
            assert_eq!(NODES[index].id, id);
        }
        for sensor in Sensor::ALL {
            assert_eq!(NODES[sensor as usize].id, format!("Press4.{sensor:?}"));
        }
    }

    #[test]
    fn every_node_gets_a_value_of_its_type() {
        let cell = Cell::new(Scenario::named("nominal").unwrap(), 1);
        let mut all = values(&cell, Batch::Part);
        all.extend(label_values(None));
        assert_eq!(all.len(), NODES.len());
        for (index, value, _) in all {
            let expect = opcua::types::NodeId::from(NODES[index].data_type);
            let got = value.data_type().map(|t| t.node_id);
            assert_eq!(got, Some(expect), "{}", NODES[index].id);
        }
    }
}
