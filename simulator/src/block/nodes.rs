//! The members of the blocks as OPC UA nodes: `Press4.Owner.*`, `Press4.HoldPressureGuard.*`,
//! `Press4.CoolTimeGuard.*`.

use opcua::types::{DataTypeId, Variant};

use super::cell::BlockCell;
use crate::plc::Setpoint;

/// The objects, in the order of the positions.
pub const OBJECTS: [&str; 3] = ["Press4.Owner", "Press4.HoldPressureGuard", "Press4.CoolTimeGuard"];

/// A member: name, type, whether a client may write it.
type Member = (&'static str, DataTypeId, bool);

const OWNER: [Member; 17] = [
    ("A_NodeId", DataTypeId::UInt32, true),
    ("A_Request", DataTypeId::UInt32, true),
    ("A_Heartbeat", DataTypeId::UInt32, true),
    ("B_NodeId", DataTypeId::UInt32, true),
    ("B_Request", DataTypeId::UInt32, true),
    ("B_Heartbeat", DataTypeId::UInt32, true),
    ("HbTimeoutMs", DataTypeId::UInt32, false),
    ("DtMs", DataTypeId::UInt32, false),
    ("OwnerAlive", DataTypeId::Boolean, false),
    ("EpochNow", DataTypeId::UInt32, false),
    ("OwnerSlot", DataTypeId::UInt16, false),
    ("OwnerNode", DataTypeId::UInt32, false),
    ("Granted", DataTypeId::UInt32, false),
    ("EndReason", DataTypeId::UInt16, false),
    ("A_Echo", DataTypeId::UInt32, false),
    ("B_Echo", DataTypeId::UInt32, false),
    ("HeartbeatOut", DataTypeId::UInt32, false),
];

const GUARD: [Member; 36] = [
    ("VExt", DataTypeId::Double, true),
    ("TtlMs", DataTypeId::UInt32, true),
    ("Epoch", DataTypeId::UInt32, true),
    ("ModelId", DataTypeId::UInt32, true),
    ("Stamp", DataTypeId::UInt32, true),
    ("Seq", DataTypeId::UInt32, true),
    ("TestForce", DataTypeId::UInt16, true),
    ("DtMs", DataTypeId::UInt32, false),
    ("Enable", DataTypeId::Boolean, false),
    ("ApplyEn", DataTypeId::Boolean, false),
    ("LocalRemote", DataTypeId::Boolean, false),
    ("VMin", DataTypeId::Double, false),
    ("VMax", DataTypeId::Double, false),
    ("MaxStep", DataTypeId::Double, false),
    ("VBase", DataTypeId::Double, false),
    ("VInt", DataTypeId::Double, false),
    ("VFbk", DataTypeId::Double, false),
    ("HoldOnLoss", DataTypeId::Boolean, false),
    ("RampRate", DataTypeId::Double, false),
    ("TtlMaxMs", DataTypeId::UInt32, false),
    ("Test", DataTypeId::Boolean, false),
    ("OwnerAlive", DataTypeId::Boolean, false),
    ("EpochNow", DataTypeId::UInt32, false),
    ("OwnerEnd", DataTypeId::UInt16, false),
    ("AckSeq", DataTypeId::UInt32, false),
    ("AckCode", DataTypeId::UInt16, false),
    ("LastSeq", DataTypeId::UInt32, false),
    ("VReq", DataTypeId::Double, false),
    ("VOut", DataTypeId::Double, false),
    ("Pending", DataTypeId::Boolean, false),
    ("Active", DataTypeId::Boolean, false),
    ("Returning", DataTypeId::Boolean, false),
    ("TripReason", DataTypeId::UInt16, false),
    ("ModelInForce", DataTypeId::UInt32, false),
    ("ClockMs", DataTypeId::UInt32, false),
    ("HeartbeatOut", DataTypeId::UInt32, false),
];

/// One member of one object.
#[derive(Debug, Clone, Copy)]
pub struct BlockNode {
    /// Position in [`OBJECTS`].
    pub object: usize,
    /// Name of the member.
    pub member: &'static str,
    /// Data type.
    pub data_type: DataTypeId,
    /// A client may write it.
    pub writable: bool,
}

/// All members, in the order of their positions.
pub fn nodes() -> impl Iterator<Item = BlockNode> {
    let tables = [&OWNER[..], &GUARD[..], &GUARD[..]];
    tables.into_iter().enumerate().flat_map(|(object, table)| {
        table.iter().map(move |(member, data_type, writable)| BlockNode {
            object,
            member,
            data_type: *data_type,
            writable: *writable,
        })
    })
}

/// Values of all members; `feedback` is what the machine uses.
#[must_use]
pub fn values(cell: &BlockCell, feedback: [f64; 2]) -> Vec<Variant> {
    let mut out = owner_values(cell);
    for setpoint in Setpoint::ALL {
        out.extend(guard_values(cell, setpoint, feedback[setpoint.index()]));
    }
    out
}

fn owner_values(cell: &BlockCell) -> Vec<Variant> {
    let (i, o) = (&cell.owner_in, cell.owner());
    let mut out = Vec::with_capacity(OWNER.len() + 2 * GUARD.len());
    for mailbox in &i.mailbox {
        out.push(Variant::UInt32(mailbox.node_id));
        out.push(Variant::UInt32(mailbox.request));
        out.push(Variant::UInt32(mailbox.heartbeat));
    }
    out.extend([
        Variant::UInt32(i.hb_timeout_ms),
        Variant::UInt32(i.dt_ms),
        Variant::Boolean(o.owner_alive),
        Variant::UInt32(o.epoch_now),
        Variant::UInt16(o.owner_slot),
        Variant::UInt32(o.owner_node),
        Variant::UInt32(o.granted),
        Variant::UInt16(o.end_reason),
        Variant::UInt32(o.echo[0]),
        Variant::UInt32(o.echo[1]),
        Variant::UInt32(o.heartbeat_out),
    ]);
    out
}

fn guard_values(cell: &BlockCell, setpoint: Setpoint, feedback: f64) -> [Variant; GUARD.len()] {
    let (i, o) = (&cell.guard_in[setpoint.index()], cell.guard(setpoint));
    let m = &i.mailbox;
    [
        Variant::Double(m.v_ext),
        Variant::UInt32(m.ttl_ms),
        Variant::UInt32(m.epoch),
        Variant::UInt32(m.model_id),
        Variant::UInt32(m.stamp),
        Variant::UInt32(m.seq),
        Variant::UInt16(m.test_force),
        Variant::UInt32(i.dt_ms),
        Variant::Boolean(i.enable),
        Variant::Boolean(i.apply_en),
        Variant::Boolean(i.remote),
        Variant::Double(i.v_min),
        Variant::Double(i.v_max),
        Variant::Double(i.max_step),
        Variant::Double(i.v_base),
        Variant::Double(i.v_int),
        Variant::Double(feedback),
        Variant::Boolean(i.hold_on_loss),
        Variant::Double(i.ramp_rate),
        Variant::UInt32(i.ttl_max_ms),
        Variant::Boolean(i.test),
        Variant::Boolean(i.owner_alive),
        Variant::UInt32(i.epoch_now),
        Variant::UInt16(i.owner_end),
        Variant::UInt32(o.ack_seq),
        Variant::UInt16(o.ack_code),
        Variant::UInt32(o.last_seq),
        Variant::Double(o.v_req),
        Variant::Double(o.v_out),
        Variant::Boolean(o.pending),
        Variant::Boolean(o.active),
        Variant::Boolean(o.returning),
        Variant::UInt16(o.trip_reason),
        Variant::UInt32(o.model_in_force),
        Variant::UInt32(o.clock_ms),
        Variant::UInt32(o.heartbeat_out),
    ]
}

/// A client writes the member at `position`; `None` when it is not writable or of another type.
#[must_use]
pub fn write(cell: &mut BlockCell, position: usize, value: &Variant) -> Option<()> {
    let node = nodes().nth(position)?;
    if let Some(k) = node.object.checked_sub(1) {
        let m = &mut cell.guard_in.get_mut(k)?.mailbox;
        match (node.member, value) {
            ("VExt", Variant::Double(v)) => m.v_ext = *v,
            ("TtlMs", Variant::UInt32(v)) => m.ttl_ms = *v,
            ("Epoch", Variant::UInt32(v)) => m.epoch = *v,
            ("ModelId", Variant::UInt32(v)) => m.model_id = *v,
            ("Stamp", Variant::UInt32(v)) => m.stamp = *v,
            ("Seq", Variant::UInt32(v)) => m.seq = *v,
            ("TestForce", Variant::UInt16(v)) => m.test_force = *v,
            _ => return None,
        }
        return Some(());
    }
    let slot = usize::from(node.member.starts_with("B_"));
    let m = &mut cell.owner_in.mailbox[slot];
    let Variant::UInt32(v) = value else { return None };
    match node.member.get(2..)? {
        "NodeId" => m.node_id = *v,
        "Request" => m.request = *v,
        "Heartbeat" => {
            m.heartbeat = *v;
            cell.note_heartbeat(slot);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use opcua::types::{NodeId, Variant};

    use super::{BlockCell, nodes, values, write};
    use crate::block::HandshakeSettings;

    /// Every member has a value of its type, and what is written is read back; nothing else can be.
    #[test]
    fn members_and_values_fit() {
        let mut cell = BlockCell::new(HandshakeSettings::default());
        let all = values(&cell, [0.0; 2]);
        assert_eq!(all.len(), nodes().count());
        for (position, (node, value)) in nodes().zip(&all).enumerate() {
            let got = value.data_type().map(|t| t.node_id);
            assert_eq!(got, Some(NodeId::from(node.data_type)), "{}", node.member);
            let other = match value {
                Variant::Double(_) => Variant::Double(7.0),
                Variant::UInt32(_) => Variant::UInt32(7),
                Variant::UInt16(_) => Variant::UInt16(7),
                Variant::Boolean(on) => Variant::Boolean(!on),
                _ => panic!("{value:?}"),
            };
            assert_eq!(write(&mut cell, position, &other).is_some(), node.writable);
            let now = values(&cell, [0.0; 2]);
            assert_eq!(now[position] == other, node.writable, "{}", node.member);
            assert!(write(&mut cell, position, &Variant::Byte(1)).is_none());
        }
    }
}
