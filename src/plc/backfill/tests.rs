//! The book of gaps, and what an answer means. Whole servers: `tests/backfill.rs`.

use super::read::tests_kit;
use super::*;

fn at(secs: i64) -> Now {
    Now { mono: Mono::default() + Span::from_secs(secs), utc: Utc::from_millis(secs * 1000) }
}

fn resolution() -> Resolution {
    Resolution { found: Vec::new(), problems: Vec::new(), items_max: 1, read_max: 1, write_max: 1 }
}

fn open(book: &Book, secs: i64) {
    book.opened(&tests_kit::wire(), &tests_kit::config(), &resolution(), at(secs));
}

fn gaps(book: &Book) -> Vec<(i64, i64, Cause)> {
    let state = lock(&book.state);
    let of = |gap: &Gap| {
        (gap.from.as_nanos() / 1_000_000_000, gap.to.as_nanos() / 1_000_000_000, gap.cause)
    };
    state.gaps.iter().map(of).collect()
}

/// The first gap is that of the service, later ones those of the link; what is whole ends where the
/// link was last heard.
#[test]
fn gaps_follow_the_link() {
    let book = Book::default();
    open(&book, 1);
    assert_eq!((gaps(&book), book.whole(at(2).utc)), (vec![], None), "nobody fills gaps");
    book.switch_on(Some(at(10).utc));
    assert_eq!(book.whole(at(20).utc), None, "the link never stood");
    open(&book, 20);
    assert_eq!(gaps(&book), [(10, 20, Cause::NotRunning)]);
    assert_eq!(book.whole(at(21).utc), None);
    assert!(book.next(at(21).mono).is_none(), "historians are slow");
    let (source, _) = book.next(at(23).mono).unwrap();
    assert!(book.is_current(&source));
    book.finish();
    assert_eq!(book.whole(at(24).utc), Some(at(24).utc));
    book.closed(at(30).utc);
    book.closed(at(35).utc);
    assert!(!book.is_current(&source));
    assert_eq!(book.whole(at(40).utc), Some(at(30).utc));
    open(&book, 50);
    assert_eq!(gaps(&book), [(30, 50, Cause::LinkDown)]);
}

/// A start that nothing is known before has no gap.
#[test]
fn the_first_start_has_no_gap() {
    let book = Book::default();
    book.switch_on(None);
    open(&book, 20);
    assert_eq!((gaps(&book), book.whole(at(21).utc)), (vec![], Some(at(21).utc)));
}

/// What a person asks for waits like other gaps; where nobody fills any, it is refused.
#[test]
fn a_person_asks() {
    let book = Book::default();
    assert!(!book.ask(at(1).utc, at(5).utc));
    book.switch_on(None);
    assert!(book.ask(at(1).utc, at(5).utc));
    open(&book, 20);
    assert_eq!(gaps(&book), [(1, 5, Cause::Asked)]);
    assert!(book.next(at(23).mono).is_some());
}

/// Losses become one gap when they are over, or have gone on for ten minutes; one that is about all
/// tags stays so.
#[test]
fn losses_are_joined() {
    let book = Book::default();
    book.switch_on(None);
    open(&book, 0);
    for (secs, tag) in [(10, 3), (11, 4), (12, 3)] {
        book.lost(Some(TagId(tag)), at(secs - 1).utc, at(secs).utc, at(secs).mono);
        assert!(book.next(at(secs).mono).is_none());
        assert_eq!(book.whole(at(secs).utc), None);
    }
    let (_, gap) = book.next(at(15).mono).unwrap();
    assert_eq!(gap.tags, Some(BTreeSet::from([TagId(3), TagId(4)])));
    assert_eq!(gaps(&book), [(9, 12, Cause::Dropped)]);
    book.finish();
    for secs in 20..=620 {
        let tag = (secs == 20).then_some(TagId(1));
        book.lost(tag, at(secs - 1).utc, at(secs).utc, at(secs).mono);
    }
    let (_, gap) = book.next(at(620).mono).unwrap();
    assert_eq!(gap.tags, None);
    assert_eq!(gaps(&book), [(19, 620, Cause::Dropped)]);
}

/// However often a link breaks, the book stays short and covers all of it.
#[test]
fn many_gaps_are_joined() {
    let book = Book::default();
    book.switch_on(None);
    for cut in 0..200 {
        open(&book, cut * 10);
        book.closed(at(cut * 10 + 5).utc);
    }
    let gaps = gaps(&book);
    assert_eq!(gaps.len(), GAPS_MAX);
    assert_eq!((gaps[0], gaps[1]), ((5, 10, Cause::LinkDown), (15, 20, Cause::LinkDown)));
    assert_eq!(gaps.last().map(|gap| gap.1), Some(1990));
}

/// Sentences name a few.
#[test]
fn a_sentence_stays_short() {
    assert_eq!(names(&["a", "b"]), "a, b");
    assert_eq!(names(&["a", "b", "c", "d", "e"]), "a, b, c, d, e");
    assert_eq!(names(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
}
