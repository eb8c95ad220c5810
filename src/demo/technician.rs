//! The technician of the demo: works on the order for the check ring.

use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;
use trimloop_orders::base::Base;
use trimloop_orders::book::{Act, Book, Order};
use trimloop_orders::draft::CloseCodes;
use trimloop_orders::engine::Ask;
use trimloop_simulator::{SimCommand, Simulator};
use trimloop_work::key::ExtKey;

use super::{DemoError, OrderEnd};
use crate::work::DeskHandle;

/// Fault of the recipe that he works on.
const FAULT: &str = "check_ring_worn";
/// Parts between an order and the new ring.
const WAY: u64 = 100;
/// Most orders looked at.
const ORDERS_MAX: u32 = 50;

/// The technician.
pub(super) struct Technician {
    data: PathBuf,
    desk: DeskHandle,
    known: Vec<(ExtKey, OrderEnd)>,
}

impl Technician {
    pub(super) fn new(data: &Path, desk: DeskHandle) -> Self {
        Self { data: data.to_owned(), desk, known: Vec::new() }
    }

    /// Looks into the order book, and does what is due; what there is to tell.
    pub(super) fn look(
        &mut self,
        runtime: &Runtime,
        press: &Simulator,
    ) -> Result<Option<String>, DemoError> {
        let part = press.part();
        let found = self.open_orders();
        let news =
            found.into_iter().find(|order| !self.known.iter().any(|(key, _)| *key == order.key));
        if let Some(order) = news {
            let (key, title) = (order.key.to_string(), order.title);
            let said = format!("part {part:>5}  Work order {key}: {title}.");
            let end = OrderEnd { key, title, ordered_at: part, done_at: None, closed: None };
            self.known.push((order.key, end));
            return Ok(Some(said));
        }
        let due = |(_, end): &&mut (ExtKey, OrderEnd)| {
            end.done_at.is_none() && part >= end.ordered_at + WAY
        };
        let Some((key, end)) = self.known.iter_mut().find(due) else { return Ok(None) };
        let close = CloseCodes {
            problem: Some("leak".to_owned()),
            cause: Some("wear".to_owned()),
            remedy: Some("replaced".to_owned()),
        };
        let ask = Ask::Order(*key, Act::Done(close, vec![("CR-40".to_owned(), 1)]));
        runtime.block_on(press.command(SimCommand::ReplaceCheckRing))?;
        end.done_at = Some(part);
        Ok(Some(match self.desk.ask(ask, "technician (demo)") {
            Ok(_) => {
                format!("part {part:>5}  A technician fitted a new check ring: {key} is done.")
            }
            Err(why) => format!("part {part:>5}  The order could not be closed: {why}."),
        }))
    }

    fn open_orders(&self) -> Vec<Order> {
        // The desk makes the file with its first round.
        let book = Book::look(&self.data).ok().flatten();
        let orders = book.and_then(|book| book.orders(true, ORDERS_MAX).ok()).unwrap_or_default();
        orders.into_iter().filter(|order| order.mode == FAULT).collect()
    }

    /// What became of all.
    pub(super) fn orders(self) -> Vec<OrderEnd> {
        let base = Base::look(&self.data).ok().flatten();
        let closed = base.and_then(|base| base.closed(ORDERS_MAX).ok()).unwrap_or_default();
        let ended = |key: ExtKey| closed.iter().find(|of| of.case.key == key);
        let each = self.known.into_iter();
        each.map(|(key, end)| OrderEnd { closed: ended(key).map(|of| of.how.clone()), ..end })
            .collect()
    }
}
