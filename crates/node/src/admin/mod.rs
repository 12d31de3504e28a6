//! The four-letter words: text for operators and for the scripts they have written over the years.
//!
//! Each word is a pure function from a view to text, byte for byte what ZooKeeper 3.9.5 prints
//! (`server/command/*`), so that parsers of its output keep working: line ends, blanks and number
//! formats included. Dates are in UTC. Where ZooKeeper prints in the order of a hash table, so do
//! we print in an order of our own.
//!
//! Whether a word may run at all (`4lw.commands.whitelist`) is decided before: [`refusal`] is the
//! answer if not. Words that do something (`srst`, `crst`, `stmk`) have done it before they are
//! answered here.

mod gather;
mod java_text;
mod monitor;
mod view;
mod words;

pub use gather::connection_buckets;
pub use view::{
    AdminView, ConfigView, ConnLine, ENVIRONMENT_NAMES, EnsembleView, GlobalSessions, MemberView,
    Mode, SessionBuckets, SessionsView, TRACE_MASK_DEFAULT, WatchDump,
};

use oxkeeper_proto::AdminWord;

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// The answer to a word that is not in the whitelist.
pub fn refusal(word: AdminWord) -> String {
    format!("{} is not executed because it is not in the whitelist.\n", word.name())
}

/// The answer to a word. `argument` is the eight bytes after `stmk`.
pub fn answer(word: AdminWord, argument: i64, view: &AdminView) -> String {
    if !view.serving
        && let Some(text) = while_not_serving(word)
    {
        return text.to_owned();
    }
    let mut out = String::new();
    match word {
        AdminWord::Conf => words::conf(&mut out, view),
        AdminWord::Cons => words::cons(&mut out, view),
        AdminWord::Crst => out.push_str("Connection stats reset.\n"),
        AdminWord::Dirs => words::dirs(&mut out, view),
        AdminWord::Dump => words::dump(&mut out, view),
        AdminWord::Envi => words::envi(&mut out, view),
        AdminWord::Gtmk => out.push_str(&view.trace_mask.to_string()),
        AdminWord::Hash => words::hash(&mut out, view),
        AdminWord::Isro => out.push_str(if view.mode == Mode::ReadOnly { "ro" } else { "rw" }),
        AdminWord::Mntr => monitor::mntr(&mut out, view),
        AdminWord::Ruok => out.push_str("imok"),
        AdminWord::Srst => out.push_str("Server stats reset.\n"),
        AdminWord::Srvr => words::srvr(&mut out, view, false),
        AdminWord::Stat => words::srvr(&mut out, view, true),
        AdminWord::Stmk => out.push_str(&argument.to_string()),
        AdminWord::Wchc => words::wchc(&mut out, view),
        AdminWord::Wchp => words::wchp(&mut out, view),
        AdminWord::Wchs => words::wchs(&mut out, view),
        AdminWord::TelnetClose => {}
    }
    out
}

/// What a word says while the server does not serve; `None` if it does not matter to it.
fn while_not_serving(word: AdminWord) -> Option<&'static str> {
    match word {
        AdminWord::Ruok
        | AdminWord::Envi
        | AdminWord::Gtmk
        | AdminWord::Stmk
        | AdminWord::TelnetClose => None,
        AdminWord::Isro => Some("null"),
        AdminWord::Hash => Some(NOT_SERVING),
        AdminWord::Conf
        | AdminWord::Cons
        | AdminWord::Crst
        | AdminWord::Dirs
        | AdminWord::Dump
        | AdminWord::Mntr
        | AdminWord::Srst
        | AdminWord::Srvr
        | AdminWord::Stat
        | AdminWord::Wchc
        | AdminWord::Wchp
        | AdminWord::Wchs => Some("This ZooKeeper instance is not currently serving requests\n"),
    }
}
