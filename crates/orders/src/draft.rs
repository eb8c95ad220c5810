//! The order as people read it: what is the matter, since when, how it was seen, what to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use trimloop_cmms::Draft;
pub use trimloop_cmms::{CloseCodes, Part};
use trimloop_core::time::Utc;
use trimloop_work::desk::{Case, STORM};
use trimloop_work::key::Fingerprint;
use trimloop_work::works::Evidence;

use crate::findings::Codes;
use crate::plant::Plant;

/// What the recipe says of a fault, for its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// One line.
    pub title: String,
    /// What to do; may be empty.
    pub advice: String,
    /// Who is proposed.
    pub assignee: Option<String>,
    /// What it takes to repair it.
    pub skill: Option<String>,
    /// Id of the asset at the system that keeps the orders.
    pub asset_ref: Option<String>,
    /// Spare parts.
    pub parts: Vec<Part>,
    /// The loop that the fault is of, for `trimloop why`.
    pub of_loop: Option<String>,
}

/// What all orders of a service have in common.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Recipe, revision and plan, as a line.
    pub recipe: String,
    /// Models with their hashes, a line each.
    pub models: Vec<String>,
    /// By fault.
    pub cards: BTreeMap<Fingerprint, Card>,
    /// Ids of assets at the system that keeps the orders, for cards that name none.
    pub asset_refs: BTreeMap<String, String>,
    /// Where assets stand: `hall-2/line-1`.
    pub locations: BTreeMap<String, String>,
    /// Who is proposed by shift and skill is assigned too.
    pub assigns: bool,
    /// What close codes mean.
    pub codes: Codes,
    /// Spare parts and people.
    pub plant: Option<Arc<dyn Plant>>,
}

/// Words an order for a case, as things are now. `utc_text` shows times.
pub fn draft(
    case: &Case,
    evidence: Option<&Evidence>,
    origin: &Origin,
    now: Utc,
    utc_text: fn(Utc) -> String,
) -> Draft {
    let none = Card::default();
    let card = origin.cards.get(&case.key.fingerprint).unwrap_or(&none);
    let subject = &case.subject;
    let spoken = subject.mode.replace(['_', '-'], " ");
    let what = if subject.mode == STORM {
        format!("many faults at once in cell {}", subject.cell)
    } else if card.title.is_empty() {
        spoken
    } else {
        card.title.clone()
    };
    let place = match subject.component.as_str() {
        "" => subject.asset.clone(),
        component => format!("{} {component}", subject.asset),
    };
    let mut body = format!("What: {what}\nWhere: {place}, cell {}", subject.cell);
    if !subject.site.is_empty() {
        body.extend([", site ", &subject.site]);
    }
    let since = evidence.map_or(case.opened, |evidence| evidence.at.min(case.opened));
    body.extend(["\nSince: ", &utc_text(since)]);
    body.push('\n');
    let mut line = |text: String| {
        body.push_str(&text);
        body.push('\n');
    };
    if case.occurrences > 1 {
        line(format!("Alarms so far: {}", case.occurrences));
    }
    if let Some(after) = case.after {
        line(format!("The work of order {after} did not help for long."));
    }
    if let Some(evidence) = evidence {
        if evidence.part != 0 {
            line(format!("Part: {}", evidence.part));
        }
        for seen in &evidence.lines {
            line(format!("Seen: {seen}"));
        }
    }
    if !card.advice.is_empty() {
        line(format!("Do: {}", card.advice));
    }
    let (lines, proposed) = of_plant(case, card, origin, now, utc_text);
    lines.into_iter().for_each(&mut line);
    line(origin.recipe.clone());
    for model in &origin.models {
        line(model.clone());
    }
    if let Some(of_loop) = &card.of_loop {
        line(format!("More: trimloop why --at {} --loop {of_loop}", utc_text(since)));
    }
    line(format!("Case: trimloop work show {}", case.key));
    Draft {
        key: case.key,
        title: format!("{place}: {what}"),
        body,
        priority: case.priority,
        asset: subject.asset.clone(),
        asset_ref: card.asset_ref.as_ref().or(origin.asset_refs.get(&subject.asset)).cloned(),
        due: None,
        assignee: card.assignee.clone().or(proposed.filter(|_| origin.assigns)),
        parts: card.parts.clone(),
        mode: subject.mode.clone(),
    }
}

/// Lines about spare parts and people, and who is proposed as the other system names them.
fn of_plant(
    case: &Case,
    card: &Card,
    origin: &Origin,
    now: Utc,
    utc_text: fn(Utc) -> String,
) -> (Vec<String>, Option<String>) {
    let (mut lines, mut proposed) = (Vec::new(), None);
    let Some(plant) = &origin.plant else { return (lines, None) };
    if !card.parts.is_empty() {
        match plant.stock(now) {
            Some(Ok(stock)) => lines.extend(stock.lines(&card.parts, now, utc_text)),
            Some(Err(why)) => lines.push(format!("Stock: not known: {why}")),
            None => {}
        }
    }
    // Who is named in the recipe needs no proposal.
    if card.assignee.is_none() && case.subject.mode != STORM {
        let place = origin.locations.get(&case.subject.asset).map(String::as_str);
        match plant.roster() {
            Some(Ok(roster)) => {
                let proposal = roster.propose(card.skill.as_deref(), place, now);
                lines.push(format!("Proposed: {}", proposal.reason));
                proposed = proposal.who.map(|(_, reference)| reference);
            }
            Some(Err(why)) => lines.push(format!("Proposed: nobody, {why}")),
            None => {}
        }
    }
    (lines, proposed)
}
