//! Pages, and a session that is gone.

use std::collections::BTreeMap;

use trimloop_recipe::plc_config::{PerCall, Security, User};

use super::*;
use crate::plc::subscribe::Feed;
use crate::plc::wire::{Answer, Ask, Terms};

/// Of a session that is gone: nothing is answered.
struct Gone;

fn gone<T: Send + 'static>() -> Answer<'static, T> {
    Box::pin(std::future::ready(Err(Error::new(StatusCode::BadConnectionClosed, "gone"))))
}

impl Wire for Gone {
    fn read<'a>(
        &'a self,
        _nodes: &'a [ReadValueId],
        _stamps: TimestampsToReturn,
    ) -> Answer<'a, Vec<DataValue>> {
        gone()
    }

    fn write<'a>(&'a self, _values: &'a [opcua::types::WriteValue]) -> Answer<'a, Vec<StatusCode>> {
        gone()
    }

    fn translate<'a>(
        &'a self,
        _paths: &'a [opcua::types::BrowsePath],
    ) -> Answer<'a, Vec<opcua::types::BrowsePathResult>> {
        gone()
    }

    fn browse<'a>(
        &'a self,
        _nodes: &'a [opcua::types::BrowseDescription],
        _most: u32,
    ) -> Answer<'a, Vec<opcua::types::BrowseResult>> {
        gone()
    }

    fn subscribe(&self, _ask: Ask, _feed: Arc<Feed>) -> Answer<'_, Terms> {
        gone()
    }

    fn monitor(
        &self,
        _subscription: u32,
        _items: Vec<opcua::types::MonitoredItemCreateRequest>,
    ) -> Answer<'_, Vec<opcua::types::MonitoredItemCreateResult>> {
        gone()
    }

    fn unsubscribe(&self) -> Answer<'_, ()> {
        gone()
    }

    fn ask_for_data(&self) {}

    fn give_up(&self) {}

    fn close(&self) -> Answer<'_, ()> {
        gone()
    }
}

pub(in crate::plc::backfill) fn wire() -> Arc<dyn Wire> {
    Arc::new(Gone)
}

pub(in crate::plc::backfill) fn config() -> LinkConfig {
    LinkConfig {
        name: "press".to_owned(),
        url: String::new(),
        standby: Vec::new(),
        publishing: Duration::from_millis(10),
        security: Security::None,
        user: User::Anonymous,
        per_call: PerCall::default(),
        nodes: Vec::new(),
        units: BTreeMap::new(),
        client_name: String::new(),
        pki_dir: std::path::PathBuf::new(),
    }
}

fn cursor(place: usize, from: Utc) -> Cursor {
    Cursor { place, from, point: ByteString::null(), failures: 0 }
}

fn result(status: StatusCode, point: &[u8]) -> HistoryReadResult {
    HistoryReadResult {
        status_code: status,
        continuation_point: if point.is_empty() {
            ByteString::null()
        } else {
            ByteString::from(point)
        },
        history_data: opcua::types::ExtensionObject::null(),
    }
}

fn value(utc: Utc) -> DataValue {
    DataValue { source_timestamp: Some(date_time(utc)), ..DataValue::default() }
}

/// A page leads on by its point, or from its last value when it is full, also when all its
/// values have one time; a short one is the last.
#[test]
fn a_page_leads_on() {
    let start = Utc::from_millis(5000);
    let ms = |ms: i64| start + Span::from_millis(ms);
    let good = |values: &[Utc], point: &[u8]| {
        let values: Vec<DataValue> = values.iter().map(|utc| value(*utc)).collect();
        part_of(&cursor(0, start), &result(StatusCode::Good, point), &values, 3)
    };
    assert_eq!(good(&[], b""), Part::End);
    assert_eq!(good(&[ms(1), ms(2)], b""), Part::End);
    assert_eq!(good(&[ms(1), ms(2)], b"p"), Part::More(ms(2)));
    assert_eq!(good(&[], b"p"), Part::More(start));
    assert_eq!(good(&[ms(1), ms(2), ms(3)], b""), Part::More(ms(3)));
    assert_eq!(good(&[start, start, start], b""), Part::More(start + TICK));
    for (status, expect) in [
        (StatusCode::GoodNoData, Part::End),
        (StatusCode::BadNoData, Part::End),
        (StatusCode::BadNoContinuationPoints, Part::Again),
        (StatusCode::BadContinuationPointInvalid, Part::Again),
        (StatusCode::BadTimeout, Part::Again),
        (
            StatusCode::BadHistoryOperationUnsupported,
            Part::Refused(StatusCode::BadHistoryOperationUnsupported),
        ),
    ] {
        assert_eq!(part_of(&cursor(0, start), &result(status, b""), &[], 3), expect, "{status}");
    }
}

/// Nodes of one page go on the same way; a page that is too much shrinks to one node and few
/// values.
#[test]
fn pages_hold_what_goes_together() {
    let start = Utc::from_millis(5000);
    let later = start + Span::from_secs(1);
    let mut left: Vec<Cursor> = (0..5).map(|place| cursor(place, start)).collect();
    left.push(cursor(5, later));
    left.push(Cursor { point: ByteString::from(b"a"), ..cursor(6, start) });
    left.push(Cursor { point: ByteString::from(b"b"), ..cursor(7, later) });
    let mut pages = Pages { window: (start, later), nodes: 3, values: VALUES_MAX, left };
    let mut taken = Vec::new();
    while let Some(page) = pages.take() {
        taken.push(page.into_iter().map(|one| one.place).collect::<Vec<_>>());
    }
    assert_eq!(taken, [vec![7, 6], vec![5], vec![4, 3, 2], vec![1, 0]]);
    let mut sizes = vec![(pages.nodes, pages.values(pages.nodes))];
    while pages.halve(pages.nodes) {
        sizes.push((pages.nodes, pages.values(pages.nodes)));
    }
    assert_eq!(sizes[..3], [(3, 666), (1, 2000), (1, 1000)]);
    assert_eq!(sizes.last(), Some(&(1, 15)));
}
