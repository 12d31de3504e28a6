//! All settings of one start, merged: what is built in, the file, the command line.
//!
//! Merging comes first and checking after, so that a `--set` can mend a line of the file. Each
//! setting keeps where it came from, for errors and for `check-config`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{ConfigError, printable};
use crate::keys::{Found, INDEX, Kind, Status, Taken};
use crate::properties::{self, Property};
use crate::value::{self, Value, java_trim};

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Nobody set it.
    Default,
    /// What `oxkeeper serve` without a configuration file starts with.
    BuiltIn,
    /// A line (1-based) of the configuration file.
    File {
        /// The line on which the key stands.
        line: usize,
    },
    /// A line (1-based) of the file that `dynamicConfigFile` names.
    Dynamic {
        /// The path of that file.
        file: String,
        /// The line on which the key stands.
        line: usize,
    },
    /// `--set` on the command line.
    Set,
}

impl Source {
    /// How a message points at it.
    pub(crate) fn place(&self, file: &str) -> String {
        match self {
            Source::Default | Source::BuiltIn => printable(file),
            Source::File { line } => format!("{}:{line}", printable(file)),
            Source::Dynamic { file, line } => format!("{}:{line}", printable(file)),
            Source::Set => "--set".to_owned(),
        }
    }
}

/// Something worth one line in the log of the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// How much it matters.
    pub level: NoticeLevel,
    /// The key it is about, if it is about one.
    pub key: Option<String>,
    /// The line, without a trailing full stop.
    pub text: String,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// Something that was asked for will not happen, or what will happen is dangerous.
    Warning,
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Notices beyond this many say nothing new; a file of nonsense must not flood the log.
const MOST_NOTICES: usize = 100;

/// One setting as given.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub found: Found,
    pub text: String,
    /// Checked; `None` for a value that nothing here depends on and ZooKeeper would not check.
    pub value: Option<Value>,
    pub source: Source,
}

/// All settings of one start.
pub(crate) struct Settings {
    /// How messages call the configuration file.
    pub file: String,
    pub allow_unknown_keys: bool,
    values: BTreeMap<String, Setting>,
    /// What derived or corrected settings came to, for `check-config`.
    outcomes: BTreeMap<String, String>,
    notices: Vec<Notice>,
    notices_dropped: usize,
}

impl Settings {
    pub fn new(file: &str, allow_unknown_keys: bool) -> Settings {
        Settings {
            file: file.to_owned(),
            allow_unknown_keys,
            values: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            notices: Vec::new(),
            notices_dropped: 0,
        }
    }

    /// Takes every property of the configuration file.
    pub fn read_file(&mut self, bytes: &[u8]) -> Result<(), ConfigError> {
        let properties = properties::read(bytes).map_err(|error| {
            let source = Source::File { line: error.line };
            ConfigError::at(&self.file, &source, BAD_ESCAPE)
        })?;
        if let Some(line) = properties::first_non_ascii_line(bytes) {
            let place = Source::File { line }.place(&self.file);
            let text =
                format!("{place}: bytes above 0x7f are read as ISO-8859-1, as ZooKeeper does");
            self.notice(NoticeLevel::Info, None, text);
        }
        for Property { line, key, value } in properties {
            self.take(java_trim(&key), java_trim(&value), Source::File { line })?;
        }
        Ok(())
    }

    /// Takes one `--set key=value`.
    pub fn read_override(&mut self, argument: &str) -> Result<(), ConfigError> {
        let Some((key, value)) = argument.split_once('=') else {
            let problem = format!("\"{}\" is not of the form key=value", printable(argument));
            return Err(ConfigError::at(&self.file, &Source::Set, problem));
        };
        self.take(java_trim(key), java_trim(value), Source::Set)
    }

    /// Takes one setting, whose key and value are trimmed.
    pub fn take(&mut self, key: &str, text: &str, source: Source) -> Result<(), ConfigError> {
        let Some(found) = INDEX.find(key) else {
            return self.unknown(key, source);
        };
        let canonical = found.canonical.clone();
        let setting = Setting { found, text: text.to_owned(), value: None, source };
        let earlier = self.values.insert(canonical.clone(), setting);
        let now = &self.values[&canonical].source;
        if let Some(earlier) =
            earlier.filter(|earlier| is_in_file(&earlier.source) && is_in_file(now))
        {
            let text = format!(
                "{}: {} was already set on line {}; the later line wins",
                now.place(&self.file),
                printable(&canonical),
                line_of(&earlier.source),
            );
            self.notice(NoticeLevel::Warning, Some(&canonical), text);
        }
        Ok(())
    }

    fn unknown(&mut self, key: &str, source: Source) -> Result<(), ConfigError> {
        let mut problem = format!("unknown key \"{}\"", printable(key));
        if self.allow_unknown_keys {
            let text = format!("{}: {problem} is ignored", source.place(&self.file));
            self.notice(NoticeLevel::Warning, Some(key), text);
            return Ok(());
        }
        if let Some(nearest) = INDEX.nearest(key) {
            problem += &format!("; did you mean {nearest}?");
        }
        problem += " (--allow-unknown-keys ignores it)";
        Err(ConfigError::at(&self.file, &source, problem).about(key))
    }

    /// Checks every value, in the order of the file, and says what has no effect.
    pub fn check(&mut self) -> Result<(), ConfigError> {
        let mut names: Vec<String> = self.values.keys().cloned().collect();
        names.sort_by_key(|name| line_of(&self.values[name].source));
        for name in names {
            let setting = &self.values[&name];
            let value = value::parse(setting.found.key, &setting.text);
            if value.is_none() && setting.found.key.is_checked() {
                return Err(self.bad(&name, format_args!("must be {}", setting.found.key.kind)));
            }
            self.refuse_what_is_not_there_yet(&name)?;
            self.announce(&name);
            if let Some(setting) = self.values.get_mut(&name) {
                setting.value = value;
            }
        }
        Ok(())
    }

    fn refuse_what_is_not_there_yet(&self, name: &str) -> Result<(), ConfigError> {
        let setting = &self.values[name];
        let Status::NotYet { harmless, because } = setting.found.key.status else {
            return Ok(());
        };
        if harmless.iter().any(|word| word.eq_ignore_ascii_case(&setting.text)) {
            return Ok(());
        }
        Err(self.bad(name, format_args!("not supported yet: {because}")))
    }

    /// The one line about a setting that does nothing, or that ZooKeeper itself would not take.
    fn announce(&mut self, name: &str) {
        let Setting { found, text, source, .. } = &self.values[name];
        let key = found.key;
        let shown = printable(name);
        let (level, remark) = match key.status {
            Status::NoMeaning(reason) => {
                (NoticeLevel::Info, format!("{shown} has no meaning here: {reason}"))
            }
            Status::Later(meanwhile) => {
                let asked = key.kind == Kind::Bool && text.eq_ignore_ascii_case("true");
                let level = if asked { NoticeLevel::Warning } else { NoticeLevel::Info };
                (level, format!("{shown} has no effect yet: {meanwhile}"))
            }
            Status::Obeyed | Status::NotYet { .. } => {
                let in_file = matches!(source, Source::File { .. });
                let Some(remark) = apart_from_zookeeper(found, in_file) else { return };
                let written = printable(&found.written);
                let effect = if found.by_alias { format!("as {shown}") } else { "here".into() };
                (NoticeLevel::Info, format!("{written} takes effect {effect}; {remark}"))
            }
        };
        let text = format!("{}: {remark}", source.place(&self.file));
        self.notice(level, Some(name), text);
    }

    /// Adds a line for the log of the start.
    pub fn notice(&mut self, level: NoticeLevel, key: Option<&str>, text: String) {
        if self.notices.len() == MOST_NOTICES {
            self.notices_dropped += 1;
        } else {
            self.notices.push(Notice { level, key: key.map(str::to_owned), text });
        }
    }

    pub fn into_notices(mut self) -> Vec<Notice> {
        if self.notices_dropped > 0 {
            let text = format!("{} further notices are left out", self.notices_dropped);
            self.notices.push(Notice { level: NoticeLevel::Warning, key: None, text });
        }
        self.notices
    }

    /// An error about a setting's value.
    pub fn bad(&self, name: &str, problem: impl std::fmt::Display) -> ConfigError {
        match self.values.get(name) {
            Some(setting) => {
                let text = if setting.found.key.secret { "***" } else { &setting.text };
                let problem = format!("{}={}: {problem}", printable(name), printable(text));
                ConfigError::at(&self.file, &setting.source, problem).about(name)
            }
            None => {
                let problem = format!("{}: {problem}", printable(name));
                ConfigError::whole(&self.file, problem).about(name)
            }
        }
    }

    /// The setting, if somebody set it.
    pub fn given(&self, name: &str) -> Option<&Setting> {
        self.values.get(name)
    }

    /// The members of a family, by full name.
    pub fn members(&self, family: &'static str) -> impl Iterator<Item = (&str, &Setting)> {
        self.values
            .iter()
            .filter(move |(_, setting)| setting.found.key.name == family)
            .map(|(name, setting)| (name.as_str(), setting))
    }

    /// The value in force: as given, or the fixed default. `None` if there is neither.
    fn value(&self, name: &str) -> Option<Value> {
        match self.values.get(name) {
            Some(setting) => setting.value.clone(),
            None => value::default(INDEX.find(name)?.key),
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            other => unreachable!("{name} is read as a text but is {other:?}"),
        }
    }

    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Bool(on)) => on,
            None => false,
            Some(other) => unreachable!("{name} is read as a switch but is {other:?}"),
        }
    }

    pub fn real(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Real(number)) => number,
            other => unreachable!("{name} is read as a fraction but is {other:?}"),
        }
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Int(number) => Some(number),
            other => unreachable!("{name} is read as a number but is {other:?}"),
        }
    }

    /// A number that the table keeps between 0 and `u32::MAX`; anything below counts as 0, which
    /// is how ZooKeeper treats negative limits.
    pub fn count(&self, name: &str) -> u32 {
        let number = self.int(name).unwrap_or(0).max(0);
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// Like [`Settings::count`], for sizes beyond four billion.
    pub fn long(&self, name: &str) -> u64 {
        u64::try_from(self.int(name).unwrap_or(0)).unwrap_or(0)
    }

    /// Records what a derived or corrected setting came to.
    pub fn came_to(&mut self, name: &str, outcome: impl ToString) {
        self.outcomes.insert(name.to_owned(), outcome.to_string());
    }

    pub fn outcome(&self, name: &str) -> Option<&str> {
        self.outcomes.get(name).map(String::as_str)
    }
}

pub(crate) const BAD_ESCAPE: &str =
    "\\u must be followed by four hexadecimal digits (write \\\\ for a backslash)";

fn is_in_file(source: &Source) -> bool {
    matches!(source, Source::File { .. })
}

/// The order in which errors are looked for: what is built in, the file by line, the command line.
fn line_of(source: &Source) -> usize {
    match source {
        Source::Default | Source::BuiltIn => 0,
        Source::File { line } | Source::Dynamic { line, .. } => *line,
        Source::Set => usize::MAX,
    }
}

/// What ZooKeeper would make of the spelling, where that is not what we make of it.
fn apart_from_zookeeper(found: &Found, in_file: bool) -> Option<String> {
    let name = found.key.name;
    if found.by_alias {
        return Some("ZooKeeper documents this name and does not read it".to_owned());
    }
    match found.key.taken {
        Taken::SystemProperty if in_file => {
            Some(format!("ZooKeeper ignores it in a file and takes it as -D{name} only"))
        }
        Taken::File | Taken::Property if in_file && found.prefixed => {
            Some("ZooKeeper ignores it when written with the zookeeper. prefix".to_owned())
        }
        _ => None,
    }
}
