//! Which of a PLC's addresses is tried next, and after what pause.
//!
//! A PLC may be reached by several addresses: two network cards, or two servers of one program. One
//! is used at a time. When it cannot be reached or goes dead, the next is tried at once, then the
//! one after that; when all were tried, a pause follows and the round begins again.
//!
//! - An address where a person must set something right is left out for ten seconds.
//! - A server may say how well it serves (`Server.ServiceLevel`, OPC 10000-4, 6.6.2.4.2). Below
//!   [`HEALTHY`] the others are tried in the same round, and the best of those that answered is
//!   used. Without the level a server counts as healthy.
//! - A link that is live is not left for another address as long as its level does not sink.
//!
//! With one address nothing of this applies but the pauses.

use std::time::Duration;

use trimloop_core::time::{Mono, Span};

use super::backoff::Backoff;
use crate::clock::{span_of, wait_of};

/// From here on a server serves fully (OPC 10000-4, 6.6.2.4.2: 200 to 255).
pub(super) const HEALTHY: u8 = 200;
/// Pause before what a person must set right is looked at again.
pub(super) const RECHECK: Duration = Duration::from_secs(10);

/// Why an address is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Not reached, or gone dead.
    Lost,
    /// A person must set something right.
    Blocked,
    /// It answers, but serves badly; its level.
    Weak(u8),
}

/// What is known of one address in the present round.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    tried: bool,
    /// Left out until then.
    barred: Option<Mono>,
    /// The level at which it was left.
    weak: Option<u8>,
}

/// The addresses of one PLC, and the one that is used or tried.
pub(super) struct Route {
    places: Vec<Place>,
    at: usize,
    /// The address that is used whatever its level, because no other answered with a better one.
    best: Option<usize>,
    backoff: Backoff,
}

impl Route {
    pub(super) fn new(addresses: usize, backoff: Backoff) -> Self {
        Self { places: vec![Place::default(); addresses.max(1)], at: 0, best: None, backoff }
    }

    /// The address to use or to try, by its place in the PLC config.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Whether there is more than one address.
    pub(super) const fn several(&self) -> bool {
        self.places.len() > 1
    }

    /// Whether a server of this level is used, or left for another address.
    pub(super) fn takes(&self, level: Option<u8>) -> bool {
        !self.several() || level.is_none_or(|level| level >= HEALTHY) || self.best == Some(self.at)
    }

    /// The link has been live for a while: the next loss begins a new round.
    pub(super) fn settled(&mut self) {
        self.backoff.reset();
        for place in &mut self.places {
            place.tried = false;
            place.weak = None;
        }
    }

    /// A pause with the same address.
    pub(super) fn pause(&mut self) -> Duration {
        self.backoff.next()
    }

    /// Leaves the present address; the pause before the next is tried.
    pub(super) fn leave(&mut self, why: Left, now: Mono) -> Duration {
        let (at, count) = (self.at, self.places.len());
        self.best = None;
        if let Some(place) = self.places.get_mut(at) {
            place.tried = true;
            place.barred = (why == Left::Blocked).then(|| now + span_of(RECHECK));
            place.weak = match why {
                Left::Weak(level) => Some(level),
                Left::Lost | Left::Blocked => None,
            };
        }
        let after = |step: usize| (at + step) % count;
        let open = |place: &Place| place.barred.is_none_or(|until| until <= now);
        let untried = (1..count)
            .map(after)
            .find(|next| self.places.get(*next).is_some_and(|place| !place.tried && open(place)));
        if let Some(next) = untried {
            self.at = next;
            return Duration::ZERO;
        }
        // All were tried: the best that answered, the first of equals.
        let weak = (0..count).filter_map(|i| Some((i, self.places.get(i)?.weak?)));
        let best = weak.max_by_key(|(i, level)| (*level, count - i)).map(|(i, _)| i);
        for place in &mut self.places {
            // After the best one has been used, a pause comes before the next round.
            place.tried = best.is_some();
            place.weak = None;
        }
        if let Some(best) = best {
            self.best = Some(best);
            self.at = best;
            return Duration::ZERO;
        }
        let next = (1..=count).map(after).find(|next| self.places.get(*next).is_some_and(open));
        if let Some(next) = next {
            self.at = next;
            return self.backoff.next();
        }
        let soonest = (1..=count)
            .map(after)
            .min_by_key(|next| self.places.get(*next).and_then(|place| place.barred));
        self.at = soonest.unwrap_or(0);
        let until = self.places.get(self.at).and_then(|place| place.barred);
        until.map_or(RECHECK, |until| wait_of((until - now).max(Span::ZERO)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn route(addresses: usize) -> Route {
        Route::new(addresses, Backoff::new(7))
    }

    /// One address: a pause after each loss, ten seconds where a person is needed, any level.
    #[test]
    fn one_address_stays() {
        let mut route = route(1);
        let now = Mono::default();
        assert!(route.takes(Some(0)) && !route.several());
        for why in [Left::Lost, Left::Blocked, Left::Lost] {
            let pause = route.leave(why, now);
            assert_eq!(route.at(), 0);
            let whole = if why == Left::Blocked { RECHECK } else { Duration::from_secs(1) };
            assert!(pause > AT_ONCE && pause <= whole, "{why:?} {pause:?}");
        }
    }

    /// Every address is tried once at once, then comes a pause, then the next round.
    #[test]
    fn the_next_is_tried_at_once_and_then_round_again() {
        let mut route = route(3);
        let now = Mono::default();
        let mut seen = Vec::new();
        for _ in 0..7 {
            seen.push((route.at(), route.leave(Left::Lost, now) == AT_ONCE));
        }
        let round = [(0, true), (1, true), (2, false)];
        assert_eq!(seen, [&round[..], &round, &round[..1]].concat());
        // A link that lived for a while has both chances again; one that did not has not.
        route.settled();
        assert_eq!(route.leave(Left::Lost, now), AT_ONCE);
        assert_eq!(route.leave(Left::Lost, now), AT_ONCE);
        assert!(route.leave(Left::Lost, now) > AT_ONCE);
    }

    /// An address that needs a person is left out for ten seconds; when all do, nobody is asked.
    #[test]
    fn an_address_that_needs_a_person_is_left_out() {
        let mut route = route(2);
        let now = Mono::default();
        assert_eq!((route.leave(Left::Blocked, now), route.at()), (AT_ONCE, 1));
        for _ in 0..5 {
            let pause = route.leave(Left::Lost, now);
            assert!(pause > AT_ONCE && pause <= Duration::from_secs(1) && route.at() == 1);
        }
        let later = now + Span::from_secs(4);
        assert_eq!((route.leave(Left::Blocked, later), route.at()), (Duration::from_secs(6), 0));
        let later = now + Span::from_secs(10);
        assert_eq!((route.leave(Left::Blocked, later), route.at()), (Duration::from_secs(4), 1));
    }

    /// A server that serves badly is left while others were not asked; then the best is used.
    #[test]
    fn the_best_level_is_used() {
        let now = Mono::default();
        for (levels, used) in [
            ([Some(100), Some(255), None], 1),
            ([Some(100), None, Some(255)], 1),
            ([Some(1), Some(150), Some(100)], 1),
            ([Some(0), Some(0), Some(1)], 2),
            ([Some(50), Some(50), Some(50)], 0),
            ([Some(200), Some(255), Some(255)], 0),
        ] {
            let mut route = route(3);
            while let level = levels[route.at()]
                && !route.takes(level)
            {
                assert_eq!(route.leave(Left::Weak(level.unwrap()), now), AT_ONCE);
            }
            assert_eq!(route.at(), used, "{levels:?}");
        }
    }

    /// A weak server is used while the others do not answer; when it goes, a pause follows.
    #[test]
    fn a_weak_server_is_better_than_none() {
        let mut route = route(2);
        let now = Mono::default();
        assert!(!route.takes(Some(0)));
        assert_eq!((route.leave(Left::Weak(0), now), route.at()), (AT_ONCE, 1));
        assert_eq!((route.leave(Left::Lost, now), route.at()), (AT_ONCE, 0));
        assert!(route.takes(Some(0)));
        assert!(route.leave(Left::Lost, now) > AT_ONCE);
        assert_eq!(route.at(), 1);
        assert!(!route.takes(Some(0)));
    }
}
