//! A person at a terminal: completion, history, colours, values over several lines.
//!
//! The line is edited on a thread of its own, since that blocks and the session has to be kept
//! alive meanwhile. What it needs of the tree for completion, it asks of the shell.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::failure::Failure;
use crate::line;
use crate::out::Style;
use crate::path;
use crate::shell::{Next, Shell};
use crate::table;

/// How long a person waits for completions.
const PATIENCE: Duration = Duration::from_secs(2);
/// Lines of history that are kept.
const HISTORY_MAX: usize = 2_000;

/// What comes from the thread that edits.
enum Typed {
    Line(String),
    /// Ctrl-C on a line that was being typed.
    Dropped,
    End,
    /// Names of the children of a path are wanted.
    Names(String, mpsc::Sender<Vec<String>>),
}

/// Reads and executes lines until the end.
///
/// # Errors
/// If the terminal cannot be used.
pub async fn run(shell: &mut Shell) -> Result<(), Failure> {
    let (ask, asked) = mpsc::channel::<String>();
    let (typed, mut lines) = unbounded_channel();
    let colour = shell.out.styled(Style::Bold, "x") != "x";
    let mut editor = editor(typed.clone(), colour).map_err(terminal)?;
    let printer = editor.create_external_printer().ok();
    shell.out.above(printer.map(|mut printer| {
        Box::new(move |text: String| {
            // Who types sees it above the line; nobody is told of an event that cannot be shown.
            let _ = printer.print(text);
        }) as crate::out::Above
    }));
    let thread = std::thread::spawn(move || edit(editor, &asked, &typed));
    while ask.send(shell.prompt()).is_ok() {
        match next(shell, &mut lines).await {
            Some(text) if shell.execute_line(&text).await == Next::Go => {}
            _ => break,
        }
    }
    drop(ask);
    shell.out.above(None);
    // It has seen the end of its questions, or the end of the input.
    let _ = thread.join();
    Ok(())
}

fn terminal(error: ReadlineError) -> Failure {
    Failure::new(crate::failure::Kind::File, format!("the terminal: {error}"))
        .hint("give the command as words, or pipe lines in")
}

/// The next line; meanwhile, names for completion.
async fn next(shell: &Shell, lines: &mut UnboundedReceiver<Typed>) -> Option<String> {
    loop {
        match lines.recv().await? {
            Typed::Line(text) => return Some(text),
            Typed::Dropped => return Some(String::new()),
            Typed::End => return None,
            Typed::Names(parent, reply) => {
                let names = match shell.zk() {
                    Ok(zk) => tokio::time::timeout(PATIENCE, zk.children(&parent)).await,
                    Err(_) => continue,
                };
                let mut names = names.ok().and_then(Result::ok).unwrap_or_default();
                names.sort();
                let _ = reply.send(names);
            }
        }
    }
}

/// Where lines are kept from one shell to the next.
fn history_file() -> Option<PathBuf> {
    let state = match std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".local/state"),
    };
    let dir = state.join("oxkeeper");
    std::fs::create_dir_all(&dir).ok()?;
    Some(dir.join("shell_history"))
}

type Edits = Editor<Words, FileHistory>;

fn editor(typed: UnboundedSender<Typed>, colour: bool) -> Result<Edits, ReadlineError> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(false)
        .max_history_size(HISTORY_MAX)?
        .color_mode(if colour { ColorMode::Enabled } else { ColorMode::Disabled })
        .build();
    let history = FileHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history)?;
    editor.set_helper(Some(Words { typed, colour }));
    Ok(editor)
}

fn edit(mut editor: Edits, asked: &mpsc::Receiver<String>, typed: &UnboundedSender<Typed>) {
    let history = history_file();
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    while let Ok(prompt) = asked.recv() {
        let done = match editor.readline(&prompt) {
            Ok(text) => {
                // Passwords are not kept.
                if !text.trim().is_empty() && !text.trim_start().starts_with("addauth") {
                    let _ = editor.add_history_entry(&text);
                    if let Some(file) = &history {
                        let _ = editor.append_history(file);
                    }
                }
                typed.send(Typed::Line(text))
            }
            Err(ReadlineError::Interrupted) => typed.send(Typed::Dropped),
            Err(_) => typed.send(Typed::End),
        };
        if done.is_err() {
            return;
        }
    }
}

/// What the editor knows of commands and paths.
struct Words {
    typed: UnboundedSender<Typed>,
    colour: bool,
}

impl Helper for Words {}

/// What could stand where a word begins.
#[derive(Debug, PartialEq, Eq)]
enum Could {
    Be(Vec<String>),
    BePath,
}

/// What could be completed at the end of `text`: where its last word begins, and what it could be.
fn could(text: &str) -> (usize, Could) {
    let start = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &text[start..];
    let before = line::words(&text[..start]);
    let starting = |names: &mut dyn Iterator<Item = &'static str>| {
        Could::Be(names.filter(|name| name.starts_with(word)).map(str::to_owned).collect())
    };
    let Some(spec) = before.first().map(|name| table::find(name)) else {
        return (start, starting(&mut table::all().into_iter().map(|spec| spec.name)));
    };
    let Some(spec) = spec else { return (start, Could::Be(Vec::new())) };
    if word.starts_with('-') {
        let flags = spec.flags.iter().chain(spec.more).chain([&table::JSON]);
        return (start, starting(&mut flags.map(|flag| flag.name)));
    }
    if spec.id == table::Id::Help {
        return (start, starting(&mut table::all().into_iter().map(|spec| spec.name)));
    }
    if spec.id == table::Id::PrintWatches {
        return (start, starting(&mut ["off", "on"].into_iter()));
    }
    if spec.paths && (word.starts_with('/') || word.is_empty()) {
        return (start, Could::BePath);
    }
    (start, Could::Be(Vec::new()))
}

/// The parent whose children a path could be completed with, and what their names begin with.
fn split_path(word: &str) -> (String, &str) {
    match word.rfind('/') {
        None | Some(0) => ("/".to_owned(), word.trim_start_matches('/')),
        Some(at) => (word[..at].to_owned(), &word[at + 1..]),
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        text: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, could) = could(&text[..pos]);
        let plain = |word: String| Pair { display: word.clone(), replacement: word };
        let words = match could {
            Could::Be(words) => words.into_iter().map(plain).collect(),
            Could::BePath => {
                let (parent, begun) = split_path(&text[start..pos]);
                let (reply, names) = mpsc::channel();
                if self.typed.send(Typed::Names(parent.clone(), reply)).is_err() {
                    return Ok((start, Vec::new()));
                }
                let names = names.recv_timeout(PATIENCE).unwrap_or_default();
                let fitting = names.into_iter().filter(|name| name.starts_with(begun));
                fitting
                    .map(|name| Pair { replacement: path::child(&parent, &name), display: name })
                    .collect()
            }
        };
        Ok((start, words))
    }
}

/// The usage of a command, behind its name, until its first word is typed.
struct Usage(String);

impl Hint for Usage {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Words {
    type Hint = Usage;

    fn hint(&self, text: &str, pos: usize, _: &Context<'_>) -> Option<Usage> {
        let name = text.strip_suffix(' ').filter(|_| pos == text.len())?;
        let spec = table::find(name).filter(|spec| !spec.args.is_empty())?;
        // A line that is too long would wrap and jump.
        let short: String = spec.args.chars().take(60).collect();
        Some(Usage(short))
    }
}

impl Highlighter for Words {
    fn highlight<'l>(&self, text: &'l str, _: usize) -> Cow<'l, str> {
        let name = text.split_whitespace().next().unwrap_or_default();
        if !self.colour || !text.starts_with(name) || name.is_empty() {
            return Cow::Borrowed(text);
        }
        let code = if table::find(name).is_some() { "1;32" } else { "31" };
        Cow::Owned(format!("\x1b[{code}m{name}\x1b[0m{}", &text[name.len()..]))
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.colour {
            Cow::Owned(format!("\x1b[2m{prompt}\x1b[0m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colour { Cow::Owned(format!("\x1b[2m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.colour
    }
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match line::open_quote(context.input()) {
            Some(_) => ValidationResult::Incomplete,
            None => ValidationResult::Valid(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        match could(text).1 {
            Could::Be(words) => words,
            Could::BePath => vec!["<path>".to_owned()],
        }
    }

    #[test]
    fn the_first_word_is_a_command_and_others_are_what_it_takes() {
        assert_eq!(words("getA"), ["getAcl", "getAllChildrenNumber"]);
        assert_eq!(words("ls /"), ["<path>"]);
        assert_eq!(words("ls -s "), ["<path>"]);
        assert_eq!(words("set --"), ["--file", "--dry-run", "--json"]);
        assert_eq!(words("help tr"), ["tree"]);
        assert_eq!(words("printwatches o"), ["off", "on"]);
        assert!(words("addauth dig").is_empty() && words("nosuch /").is_empty());
    }

    #[test]
    fn a_path_is_completed_below_its_last_slash() {
        assert_eq!(split_path("/"), ("/".to_owned(), ""));
        assert_eq!(split_path("/ap"), ("/".to_owned(), "ap"));
        assert_eq!(split_path("/app/w"), ("/app".to_owned(), "w"));
        assert_eq!(split_path(""), ("/".to_owned(), ""));
    }
}
