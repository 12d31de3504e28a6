//! Where words go: results to standard output, everything about them to standard error.
//!
//! Colours are for people alone: on a terminal, unless `NO_COLOR` is set or the terminal is dumb.
//! A reader that has seen enough (`| head`) ends what would otherwise go on for ever.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// Something that is made visible if a person reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// What went wrong.
    Error,
    /// What to do about it, and what is beside the point.
    Dim,
    /// A title or a name that stands out.
    Bold,
    /// What came to be.
    Added,
    /// What is gone.
    Removed,
    /// What is not as it was.
    Changed,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Error | Style::Removed => "\x1b[31m",
            Style::Dim => "\x1b[2m",
            Style::Bold => "\x1b[1m",
            Style::Added => "\x1b[32m",
            Style::Changed => "\x1b[33m",
        }
    }
}

/// Writes above the line that is being typed.
pub type Above = Box<dyn FnMut(String) + Send>;

/// The two streams, shared by all that print.
#[derive(Clone)]
pub struct Out(Arc<Streams>);

struct Streams {
    colour_out: bool,
    colour_err: bool,
    terminal_err: bool,
    gone: AtomicBool,
    above: Mutex<Option<Above>>,
}

impl Out {
    /// The process's own streams.
    pub fn new() -> Out {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let plain = dumb || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Out(Arc::new(Streams {
            colour_out: !plain && io::stdout().is_terminal(),
            colour_err: !plain && io::stderr().is_terminal(),
            terminal_err: io::stderr().is_terminal(),
            gone: AtomicBool::new(false),
            above: Mutex::new(None),
        }))
    }

    /// From now on, text that comes unasked is put above the line that is being typed.
    pub fn above(&self, printer: Option<Above>) {
        *self.0.above.lock().unwrap_or_else(PoisonError::into_inner) = printer;
    }

    /// A line of a result.
    pub fn line(&self, text: impl AsRef<str>) {
        self.raw(&format!("{}\n", text.as_ref()));
    }

    /// Several lines of a result.
    pub fn lines<T: AsRef<str>>(&self, lines: impl IntoIterator<Item = T>) {
        for line in lines {
            self.line(line);
        }
    }

    /// A result for a program: one line of JSON.
    pub fn json(&self, value: &Value) {
        self.line(value.to_string());
    }

    /// A part of a result, as it is.
    pub fn raw(&self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// The same for bytes that are perhaps no text.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut out = io::stdout().lock();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            self.0.gone.store(true, Ordering::Relaxed);
        }
    }

    /// Text that comes unasked, such as a watch that fires.
    pub fn unasked(&self, text: &str) {
        let mut above = self.0.above.lock().unwrap_or_else(PoisonError::into_inner);
        match above.as_mut() {
            Some(print) => print(text.to_owned()),
            None => self.raw(text),
        }
    }

    /// A line about the work, to standard error. A message that nobody reads is no failure.
    pub fn note(&self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// Text that is overwritten by the next, on a terminal: progress.
    pub fn progress(&self, text: &str) {
        if self.0.terminal_err {
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r\x1b[K{text}").and_then(|()| err.flush());
        }
    }

    /// The text in a style, if standard output shows styles.
    pub fn styled(&self, style: Style, text: &str) -> String {
        paint(self.0.colour_out, style, text)
    }

    /// The text in a style, if standard error shows styles.
    pub fn styled_note(&self, style: Style, text: &str) -> String {
        paint(self.0.colour_err, style, text)
    }

    /// Nobody reads the results any more.
    pub fn gone(&self) -> bool {
        self.0.gone.load(Ordering::Relaxed)
    }
}

impl Default for Out {
    fn default() -> Out {
        Out::new()
    }
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour && !text.is_empty() {
        format!("{}{text}\x1b[0m", style.code())
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_are_put_around_text_only_where_they_show() {
        assert_eq!(paint(false, Style::Error, "no"), "no");
        assert_eq!(paint(true, Style::Error, "no"), "\x1b[31mno\x1b[0m");
        assert_eq!(paint(true, Style::Dim, ""), "");
    }
}
