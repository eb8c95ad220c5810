//! Texts that fit into the fields of a product, and our key in them.

use trimloop_work::key::ExtKey;

/// At most `max` units of UTF-16, the unit in which SAP and most databases behind a product count;
/// cut between characters, with a mark that it was.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    if text.encode_utf16().count() <= max {
        return text.to_owned();
    }
    let mut left = max.saturating_sub(1);
    let fits = |c: &char| {
        let needs = c.len_utf16();
        let fits = needs <= left;
        left = left.saturating_sub(needs);
        fits
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.truncate(short.trim_end().len());
    if max > 0 {
        short.push('…');
    }
    short
}

/// The title with the key at its end, at most `max` units; of the two the key is whole.
pub(crate) fn titled(title: &str, key: ExtKey, max: usize) -> String {
    let tail = format!(" [{key}]");
    // A line end would end the title in some products.
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}{tail}", shorten(&title, max.saturating_sub(tail.len()))).trim_start().to_owned()
}

/// A comment of at most `max` units that still holds its marker.
pub(crate) fn marked(text: &str, marker: &str, max: usize) -> String {
    let short = shorten(text, max);
    if short.contains(marker) {
        return short;
    }
    format!("{} {marker}", shorten(text, max.saturating_sub(marker.len() + 1)))
}

/// Our key in a text, whole; the last one where there are several, because ours is at the end.
pub(crate) fn key_in(text: &str) -> Option<ExtKey> {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = text.split(|c: char| !inside(c));
    words.filter_map(ExtKey::parse).next_back()
}

/// A text to show: one line of bounded length, without what a terminal would act on.
pub(crate) fn one_line(text: &str) -> String {
    const SHOWN_MAX: usize = 300;
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let plain: String = plain.take(4 * SHOWN_MAX).collect();
    shorten(&plain.split_whitespace().collect::<Vec<_>>().join(" "), SHOWN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ExtKey {
        ExtKey::parse("TLW-3QH7K0M2B9XE-12").unwrap()
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(shorten("Rückstromsperre", 15), "Rückstromsperre");
        assert_eq!(shorten("Rückstromsperre", 3), "Rü…");
        // Two units of UTF-16, four bytes of UTF-8.
        assert_eq!(shorten("a🔧b🔧", 5), "a🔧b…");
        assert_eq!(shorten("ab 🔧🔧", 5), "ab…");
        assert_eq!((shorten("abc", 1), shorten("abc", 0)), ("…".into(), String::new()));
    }

    #[test]
    fn a_title_keeps_its_key() {
        let titled = titled("Check ring\nworn on press 4, cushion falls", key(), 40);
        assert_eq!(titled, "Check ring worn o… [TLW-3QH7K0M2B9XE-12]");
        assert_eq!(titled.encode_utf16().count(), 40);
        assert_eq!(key_in(&titled), Some(key()));
    }

    #[test]
    fn a_comment_keeps_its_marker() {
        assert_eq!(
            marked("The condition is gone. (tl-7)", "tl-7", 40),
            "The condition is gone. (tl-7)"
        );
        assert_eq!(marked("The condition is gone. (tl-7)", "tl-7", 20), "The condition… tl-7");
        assert_eq!(marked("Gone.", "tl-7", 20), "Gone. tl-7");
    }

    #[test]
    fn keys_are_found_whole() {
        let text = "again, after TLW-3QH7K0M2B9XE-11 (TLW-3QH7K0M2B9XE-12)";
        assert_eq!(key_in(text), Some(key()));
        for other in ["TLW-3QH7K0M2B9XE-123456", "XTLW-3QH7K0M2B9XE-1", "TLW-3QH7K0M2B9XE"] {
            assert_eq!(key_in(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_product_says_stays_on_one_line() {
        assert_eq!(one_line("a\r\n\u{1b}[2Jb"), "a [2Jb");
        assert_eq!(one_line(&"x".repeat(9000)).chars().count(), 300);
    }
}
