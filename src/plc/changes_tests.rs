use opcua::types::{
    ContextOwned, DataChangeNotification, DateTime, ExtensionObject, MonitoredItemNotification,
    NamespaceMap, Variant,
};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, option, prop_assert_eq, proptest};
use trimloop_core::tag::TagId;
use trimloop_core::time::Mono;

use super::*;
use crate::plc::decode::{Decoded, decode, decode_part};
use crate::plc::structure::Taker;

const TAG: TagId = TagId(7);
const AT: Mono = Mono::from_millis(5);

fn variants() -> impl Strategy<Value = Variant> {
    prop_oneof![
        Just(Variant::Empty),
        any::<bool>().prop_map(Variant::Boolean),
        any::<i8>().prop_map(Variant::SByte),
        any::<u8>().prop_map(Variant::Byte),
        any::<i16>().prop_map(Variant::Int16),
        any::<u16>().prop_map(Variant::UInt16),
        any::<i32>().prop_map(Variant::Int32),
        any::<u32>().prop_map(Variant::UInt32),
        any::<i64>().prop_map(Variant::Int64),
        any::<u64>().prop_map(Variant::UInt64),
        any::<f32>().prop_map(Variant::Float),
        any::<f64>().prop_map(Variant::Double),
        stamps().prop_map(|ticks| Variant::from(DateTime::from(ticks))),
        "[a-z]{0,4}".prop_map(|text| Variant::from(text.as_str())),
        collection::vec(any::<f64>(), 0..4).prop_map(Variant::from),
        any::<u32>().prop_map(|code| Variant::from(StatusCode::from(code))),
    ]
}

/// Ticks of 100 ns: null, the ends, odd ones, and today.
fn stamps() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        Just(i64::MAX),
        -1_000_000_i64..1_000_000,
        116_444_736_000_000_000_i64..150_000_000_000_000_000,
        any::<i64>(),
    ]
}

/// One encoded `DataValue`, with any bits in its mask.
fn encoded() -> impl Strategy<Value = Vec<u8>> {
    let status = option::of(prop_oneof![Just(0), any::<u32>()]);
    let stamp = || option::of((stamps(), option::of(any::<u16>())));
    (option::of(variants()), status, stamp(), stamp(), 0_u8..4).prop_map(
        |(value, status, source, server, unknown)| {
            let owned = ContextOwned::default();
            let mut mask = unknown << 6;
            let mut rest = Vec::new();
            if let Some(value) = value {
                mask |= VALUE;
                rest.extend(value.encode_to_vec(&owned.context()));
            }
            if let Some(status) = status {
                mask |= STATUS;
                rest.extend(status.to_le_bytes());
            }
            for (stamp, time, picos) in
                [(source, SOURCE_TIME, SOURCE_PICOS), (server, SERVER_TIME, SERVER_PICOS)]
            {
                let Some((ticks, fraction)) = stamp else { continue };
                mask |= time;
                rest.extend(ticks.to_le_bytes());
                if let Some(fraction) = fraction {
                    mask |= picos;
                    rest.extend(fraction.to_le_bytes());
                }
            }
            rest.insert(0, mask);
            rest
        },
    )
}

/// A notification of these items, without diagnostics.
fn body(items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = i32::try_from(items.len()).unwrap().to_le_bytes().to_vec();
    for (handle, item) in (1_u32..).zip(items) {
        bytes.extend(handle.to_le_bytes());
        bytes.extend(item);
    }
    bytes.extend((-1_i32).to_le_bytes());
    bytes
}

fn of_library(bytes: &[u8]) -> Option<Vec<Decoded>> {
    let owned = ContextOwned::default();
    let mut stream = bytes;
    let whole = DataChangeNotification::decode(&mut stream, &owned.context()).ok()?;
    let items = whole.monitored_items.unwrap_or_default();
    Some(items.iter().map(|item| decode(TAG, &item.value, AT)).collect())
}

fn of_ours(bytes: &[u8]) -> Option<Vec<Decoded>> {
    let owned = ContextOwned::default();
    let changes =
        Changes::read(&mut &*bytes, bytes.len(), &mut Vec::new(), &owned.context()).ok()?;
    let decoded = changes.0.iter().map(|change| match &change.told {
        Told::Plain(reading) => reading.of(TAG, AT),
        Told::Whole(data) => decode(TAG, data, AT),
    });
    Some(decoded.collect())
}

/// NaN is equal to itself here.
fn text(decoded: Option<Vec<Decoded>>) -> String {
    format!("{decoded:?}")
}

proptest! {
    /// Whatever a server tells, the loader makes of it what the library does; also of what is cut.
    #[test]
    fn tells_what_the_library_tells(
        items in collection::vec(encoded(), 0..5),
        cut in 0_usize..200,
    ) {
        let whole = body(&items);
        prop_assert_eq!(text(of_ours(&whole)), text(of_library(&whole)));
        prop_assert_eq!(of_ours(&whole).map(|all| all.len()), Some(items.len()));
        // The items must be there; the diagnostics behind them are not looked at.
        let cut = &whole[..cut.min(whole.len() - 4)];
        if cut.len() < whole.len() - 4 {
            prop_assert_eq!(of_ours(cut), None);
        }
    }

    /// Bytes without sense are refused or taken, as the library does, and never more.
    #[test]
    fn bears_any_bytes(bytes in collection::vec(any::<u8>(), 0..60)) {
        if let Some(library) = of_library(&bytes) {
            prop_assert_eq!(text(of_ours(&bytes)), text(Some(library)));
        }
    }

    /// A tag that takes a part of the value sees the same value, and the same refusal.
    #[test]
    fn parts_see_the_same(item in encoded(), ranged in any::<bool>(), indexed in any::<bool>()) {
        let index = if indexed { vec![0] } else { Vec::new() };
        let taker = Taker { ranged, index, layout: None, field: Vec::new() };
        let owned = ContextOwned::default();
        let library = DataValue::decode(&mut item.as_slice(), &owned.context()).unwrap();
        let mut bytes = Bytes(&item);
        let part = match told(&mut bytes, &owned.context()).unwrap() {
            Told::Plain(reading) => decode_part(TAG, &reading.data(), Some(&taker), AT),
            Told::Whole(data) => decode_part(TAG, &data, Some(&taker), AT),
        };
        let expect = decode_part(TAG, &library, Some(&taker), AT);
        prop_assert_eq!(format!("{part:?}"), format!("{expect:?}"));
        prop_assert_eq!(bytes.0.len(), 0);
    }
}

/// In an extension object our loader is asked, and leaves every other type to the library.
#[test]
fn stands_before_the_library() {
    let owned = ContextOwned::new(NamespaceMap::new(), loaders(), Default::default());
    let item = MonitoredItemNotification { client_handle: 3, value: DataValue::from(1.5) };
    let sent = DataChangeNotification {
        monitored_items: Some(vec![item.clone()]),
        diagnostic_infos: None,
    };
    for (object, ours) in
        [(ExtensionObject::from_message(sent), true), (ExtensionObject::from_message(item), false)]
    {
        let bytes = object.encode_to_vec(&owned.context());
        let found = ExtensionObject::decode(&mut bytes.as_slice(), &owned.context()).unwrap();
        assert_eq!(found.inner_as::<Changes>().is_some(), ours);
        assert_eq!(found.inner_as::<MonitoredItemNotification>().is_some(), !ours);
    }
}

/// An announced length takes no memory before the bytes are there.
#[test]
fn a_claim_takes_no_memory() {
    let owned = ContextOwned::default();
    for (items, length) in [(i32::MAX, usize::MAX >> 1), (99_999, 4)] {
        let bytes = items.to_le_bytes();
        let mut body = Vec::new();
        let read = Changes::read(&mut bytes.as_slice(), length, &mut body, &owned.context());
        assert!(read.is_err());
        assert!(body.capacity() < 100);
    }
}

/// A value that is itself a notification is decoded, and not waited for.
#[test]
fn bears_a_notification_in_a_notification() {
    let owned = ContextOwned::new(NamespaceMap::new(), loaders(), Default::default());
    let notification = |value: Variant| {
        let item = MonitoredItemNotification { client_handle: 3, value: DataValue::from(value) };
        let items =
            DataChangeNotification { monitored_items: Some(vec![item]), diagnostic_infos: None };
        ExtensionObject::from_message(items)
    };
    let nested = notification(Variant::from(notification(Variant::from(1.5))));
    let bytes = nested.encode_to_vec(&owned.context());
    let found = ExtensionObject::decode(&mut bytes.as_slice(), &owned.context()).unwrap();
    let outer = found.inner_as::<Changes>().unwrap();
    assert!(matches!(&outer.0[..], [change] if matches!(change.told, Told::Whole(_))));
}
