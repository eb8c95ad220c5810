//! What is wrong, where, why it matters and what to do: [`Diagnostic`].
//!
//! Every mistake in a recipe or PLC config becomes one diagnostic with a stable code. They are
//! rendered here and nowhere else; positions are byte ranges of the source text, which the
//! diagnostic carries, so that it can be printed anywhere.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::codes::Code;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name as people know it: `recipes/housing-lid.toml`.
    pub file: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// A source to share among diagnostics.
    pub fn new(file: &str, text: &str) -> Arc<Self> {
        Arc::new(Self { file: file.to_owned(), text: text.to_owned() })
    }

    /// Line and column, both from 1, the column in characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..self.floor(offset)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before.get(start..).unwrap_or_default().chars().count() + 1)
    }

    fn floor(&self, offset: usize) -> usize {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    /// The part of `span` on its first line, so that a table is marked by its header only.
    fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.floor(span.start);
        let end = self.floor(span.end.max(span.start)).max(start);
        let text = self.text.get(start..end).unwrap_or_default();
        let line = text.split('\n').next().unwrap_or_default().trim_end();
        start..start + line.len()
    }

    /// The file's name without folders and `.toml`.
    pub fn stem(&self) -> &str {
        let name = self.file.rsplit(['/', '\\']).next().unwrap_or_default();
        name.strip_suffix(".toml").unwrap_or(name)
    }
}

/// How much a diagnostic weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The recipe is not used.
    Error,
    /// The recipe is used; a person should look.
    Warning,
}

impl Severity {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A marked place with a remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Byte range in the source.
    pub span: Range<usize>,
    /// Remark beside it; may be empty.
    pub text: String,
}

/// Whether to colour what is rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    #[default]
    Never,
    /// ANSI colours.
    Always,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// Code with its page.
    pub code: &'static Code,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// The file it is in.
    pub source: Arc<Source>,
    /// Where it is wrong.
    pub primary: Mark,
    /// Other places that have to do with it, in the same file.
    pub secondary: Vec<Mark>,
    /// Why it matters.
    pub note: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(
        code: &'static Code,
        source: &Arc<Source>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            source: Arc::clone(source),
            primary: Mark { span, text: String::new() },
            secondary: Vec::new(),
            note: None,
            help: None,
        }
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Remark beside the marked place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// Another place that has to do with it.
    #[must_use]
    pub fn also(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.secondary.push(Mark { span, text: text.into() });
        self
    }

    /// Why it matters.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.note = Some(text.into());
        self
    }

    /// What to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// What to do, if there is something to say.
    #[must_use]
    pub fn maybe_help(mut self, text: Option<String>) -> Self {
        self.help = text.or(self.help);
        self
    }

    /// Line and column of the marked place, from 1.
    pub fn position(&self) -> (usize, usize) {
        self.source.line_column(self.primary.span.start)
    }

    /// As text for people, without a final newline.
    pub fn render(&self, color: Color) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mark = |kind: AnnotationKind, mark: &Mark| {
            let text = (!mark.text.is_empty()).then(|| clean(&mark.text));
            kind.span(self.source.first_line(&mark.span)).label(text)
        };
        let snippet = Snippet::source(self.source.text.as_str())
            .path(self.source.file.as_str())
            .annotation(mark(AnnotationKind::Primary, &self.primary))
            .annotations(self.secondary.iter().map(|m| mark(AnnotationKind::Context, m)));
        // An empty file has no line to show, but still a name.
        let file = self.source.file.as_str();
        let nameless = self.source.text.is_empty() && !self.message.contains(file);
        let place = if nameless { format!("{file}:1:1: ") } else { String::new() };
        let title = level.primary_title(clean(&format!("{place}{}", self.message)));
        let title = title.id(self.code.code);
        let head = if self.source.text.is_empty() {
            Group::with_title(title)
        } else {
            title.element(snippet)
        };
        let mut groups = vec![head];
        // Without advice of its own, a message still says why it matters and where to read on.
        let general = self.help.is_none().then_some(self.code.why);
        if let Some(note) = self.note.as_deref().or(general) {
            groups.push(Group::with_title(Level::NOTE.secondary_title(clean(note))));
        }
        let read_on = || format!("`trimloop explain {}` shows it wrong and right", self.code.code);
        let help = self.help.clone().unwrap_or_else(read_on);
        groups.push(Group::with_title(Level::HELP.secondary_title(clean(&help))));
        let renderer = match color {
            Color::Never => Renderer::plain(),
            Color::Always => Renderer::styled(),
        };
        renderer.render(&groups)
    }
}

/// Texts quote the source; control characters must not reach a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// All of them as text, one empty line between two, with a final newline unless there is none.
pub fn render(diagnostics: &[Diagnostic], color: Color) -> String {
    let mut out = String::new();
    for (place, diagnostic) in diagnostics.iter().enumerate() {
        if place > 0 {
            out.push('\n');
        }
        out.push_str(&diagnostic.render(color));
        out.push('\n');
    }
    out
}

/// Whether any of them is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// In reading order: by file, then place, then code.
pub fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by(|a, b| {
        let key = |d: &Diagnostic| (d.primary.span.start, d.code.code);
        a.source.file.cmp(&b.source.file).then_with(|| key(a).cmp(&key(b)))
    });
}

/// The candidate most like `word`, if one is like enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).max(1);
    let distances = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    let (least, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (least <= most).then_some(candidate)
}

/// `did you mean "…"?`, if something is like enough.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean \"{candidate}\"?"))
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&row, j) + usize::from(x != y)).min(at(&row, j + 1) + 1);
            best = best.min(at(&next, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use proptest::prelude::*;

    /// The shape that `conventions.md` section 5 shows, with remark, second place, note and help.
    #[test]
    fn renders_as_agreed() {
        let text = "a = 1\nstep     = \"5 bar\"\n\n\n\nthen     = \"-12 bar\"\n";
        let source = Source::new("recipes/x.toml", text);
        let shown = Diagnostic::error(&codes::MOVE_OVER_STEP, &source, 40..47, "too much")
            .label("12 bar in one action")
            .also(18..23, "step limit set here")
            .note("the guard cuts it")
            .help("use less")
            .render(Color::Never);
        let expected = "\
error[TL0216]: too much
 --> recipes/x.toml:6:13
  |
2 | step     = \"5 bar\"
  |             ----- step limit set here
...
6 | then     = \"-12 bar\"
  |             ^^^^^^^ 12 bar in one action
  |
note: the guard cuts it
help: use less";
        assert_eq!(shown, expected, "\n{shown}");
    }

    /// A slip of the finger finds its word, another word does not.
    #[test]
    fn nearest_word() {
        let words = ["melt_temp", "mould_temp", "cushion"];
        assert_eq!(nearest("melt_tmp", words), Some("melt_temp"));
        assert_eq!(nearest("cushoin", words), Some("cushion"));
        assert_eq!(nearest("pressure", words), None);
    }

    proptest! {
        /// No place, in or out of any text, makes the renderer panic.
        #[test]
        fn never_panics(text in "[\\PC\n\r\t]{0,60}", start in 0_usize..80, len in 0_usize..80) {
            let source = Source::new("x", &text);
            let _ = Diagnostic::error(&codes::SYNTAX, &source, start..start + len, text.clone())
                .label(text.clone()).also(start / 2..start, "b").help(text.clone())
                .render(Color::Always);
        }
    }
}
