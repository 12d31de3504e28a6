//! What goes to standard output, for a person or for a pipe.

use std::io::{IsTerminal, Write, stdout};

/// Prints. A reader that has seen enough (`| head`) or none at all is no error of ours.
pub fn print(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// An explanation of the configuration, with its structure made visible if a person reads it:
/// titles and keys stand out, what a key means stays behind.
pub fn styled(text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !stdout().is_terminal() { text.to_owned() } else { with_styles(text) }
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const END: &str = "\x1b[0m";

fn with_styles(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    for line in text.lines() {
        match (line.strip_prefix("      "), line.strip_prefix("  "), line.split_once(" = ")) {
            (Some(_), ..) => out.extend([DIM, line, END]),
            (None, Some(_), Some((key, value))) => out.extend([BOLD, key, END, " = ", value]),
            (None, None, _) if !line.is_empty() => out.extend([BOLD, line, END]),
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_add_nothing_but_styles() {
        let text = oxkeeper_config::explain_text(&oxkeeper_config::Config::default_standalone());
        let styled = with_styles(&text);
        assert!(styled.contains("\x1b[1m  clientPort\x1b[0m = 2181"), "{styled}");
        let stripped = [BOLD, DIM, END].iter().fold(styled, |text, code| text.replace(code, ""));
        assert_eq!(stripped, text);
    }
}
