//! The words after a command: options and arguments, read as Apache's `commons-cli` reads them.
//!
//! Options may stand anywhere; `-sw` is `-s -w`, `-v3` and `-v=3` are `-v 3`; a negative number may
//! be an option's value; `--` ends the options, so that `set /a -- -5` can be said. Our own options
//! have long names, `--json`. What is wrong is said in the words of ZooKeeper's shell.

use crate::failure::{Failure, Kind};

/// An option that a command knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// With its dashes: `-s` or `--json`.
    pub name: &'static str,
    /// What its value is called, if it takes one.
    pub value: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
}

impl Flag {
    /// An option that is there or not.
    pub const fn switch(name: &'static str, about: &'static str) -> Flag {
        Flag { name, value: None, about }
    }

    /// An option with a value.
    pub const fn with(name: &'static str, value: &'static str, about: &'static str) -> Flag {
        Flag { name, value: Some(value), about }
    }
}

/// What was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// What is no option, without the command's name.
    pub args: Vec<String>,
    flags: Vec<(&'static str, String)>,
}

impl Given {
    /// Arguments, and switches that are there.
    pub fn of(args: Vec<String>, switches: &[&'static str]) -> Given {
        let flags = switches.iter().map(|name| (*name, String::new())).collect();
        Given { args, flags }
    }

    /// Whether the option is there.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The option's value, the first if it was given twice.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    /// All values of an option that may be given several times.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags.iter().filter(move |(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    /// The option's value as a number.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.value(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Failure::usage(format!("{name} {text}: not a number"))
                .hint(format!("{name} takes a whole number, such as {name} 3"))),
        }
    }
}

/// A group of options that exclude each other, as [`crate::table::Spec`] names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneOf {
    /// Their names.
    pub names: &'static [&'static str],
    /// Whether one has to be given.
    pub required: bool,
}

/// Reads what follows the command's name.
///
/// # Errors
/// [`Kind::Usage`]: an unknown option, a missing value, two options that exclude each other.
pub fn parse(flags: &[Flag], one_of: Option<OneOf>, words: &[String]) -> Result<Given, Failure> {
    let mut reader =
        Reader { flags, one_of, given: Given::default(), expecting: None, only_args: false };
    for word in words {
        reader.word(word)?;
    }
    if let Some(flag) = reader.expecting {
        return Err(missing_value(flag));
    }
    if let Some(group) = one_of.filter(|group| group.required)
        && !group.names.iter().any(|name| reader.given.has(name))
    {
        let names: Vec<String> = flags
            .iter()
            .filter(|flag| group.names.contains(&flag.name))
            .map(|flag| format!("{} {}", flag.name, flag.about))
            .collect();
        let names = names.join(", ");
        return Err(wrong("MissingOption", format!("Missing required option: [{names}]")));
    }
    Ok(reader.given)
}

fn wrong(exception: &str, message: String) -> Failure {
    Failure::usage(format!("org.apache.commons.cli.{exception}Exception: {message}"))
}

fn missing_value(flag: Flag) -> Failure {
    let name = flag.name.trim_start_matches('-');
    wrong("MissingArgument", format!("Missing argument for option: {name}")).hint(format!(
        "{} takes a value: {}",
        flag.name,
        flag.value.unwrap_or("value")
    ))
}

struct Reader<'a> {
    flags: &'a [Flag],
    one_of: Option<OneOf>,
    given: Given,
    expecting: Option<Flag>,
    only_args: bool,
}

impl Reader<'_> {
    fn word(&mut self, word: &str) -> Result<(), Failure> {
        if self.only_args {
            self.given.args.push(word.to_owned());
            return Ok(());
        }
        if word == "--" {
            if let Some(flag) = self.expecting {
                return Err(missing_value(flag));
            }
            self.only_args = true;
            return Ok(());
        }
        if let Some(flag) = self.expecting {
            if self.looks_like_an_option(word) && word.parse::<f64>().is_err() {
                return Err(missing_value(flag));
            }
            self.expecting = None;
            self.given.flags.push((flag.name, word.to_owned()));
            return Ok(());
        }
        if word.len() > 1 && word.starts_with('-') {
            return self.option(word);
        }
        self.given.args.push(word.to_owned());
        Ok(())
    }

    fn find(&self, name: &str) -> Option<Flag> {
        self.flags.iter().copied().find(|flag| flag.name == name)
    }

    fn looks_like_an_option(&self, word: &str) -> bool {
        if word.len() < 2 || !word.starts_with('-') {
            return false;
        }
        let name = word.split('=').next().unwrap_or(word);
        let first = word[1..].chars().next().map(|first| format!("-{first}"));
        self.find(name).is_some() || first.is_some_and(|first| self.find(&first).is_some())
    }

    fn option(&mut self, word: &str) -> Result<(), Failure> {
        if let Some(flag) = self.find(word) {
            return self.set(flag, None);
        }
        if let Some((name, value)) = word.split_once('=')
            && let Some(flag) = self.find(name)
            && flag.value.is_some()
        {
            return self.set(flag, Some(value));
        }
        if word.starts_with("--") {
            return Err(self.unknown(word));
        }
        // `-sw`, `-v3`: one letter each, until one takes the rest as its value.
        let letters = &word[1..];
        for (at, letter) in letters.char_indices() {
            let Some(flag) = self.find(&format!("-{letter}")) else {
                return Err(self.unknown(word));
            };
            let rest = &letters[at + letter.len_utf8()..];
            if flag.value.is_some() && !rest.is_empty() {
                return self.set(flag, Some(rest));
            }
            self.set(flag, None)?;
        }
        Ok(())
    }

    fn set(&mut self, flag: Flag, value: Option<&str>) -> Result<(), Failure> {
        if let Some(group) = self.one_of.filter(|group| group.names.contains(&flag.name)) {
            let chosen = self.given.flags.iter().find(|(name, _)| group.names.contains(name));
            if let Some((chosen, _)) = chosen.filter(|(name, _)| *name != flag.name) {
                let text = format!(
                    "The option '{}' was specified but an option from this group has already been \
                     selected: '{}'",
                    flag.name.trim_start_matches('-'),
                    chosen.trim_start_matches('-'),
                );
                return Err(wrong("AlreadySelected", text));
            }
        }
        match (flag.value, value) {
            (Some(_), None) => self.expecting = Some(flag),
            (_, value) => self.given.flags.push((flag.name, value.unwrap_or_default().to_owned())),
        }
        Ok(())
    }

    fn unknown(&self, word: &str) -> Failure {
        let failure = wrong("UnrecognizedOption", format!("Unrecognized option: {word}"));
        let names: Vec<&str> = self.flags.iter().map(|flag| flag.name).collect();
        if word.parse::<f64>().is_ok() {
            return failure.hint("after -- everything is an argument, as in: set /a -- -5");
        }
        if names.is_empty() {
            return failure.hint("this command has no options");
        }
        failure.hint(format!("its options are {}", names.join(" ")))
    }
}

impl Failure {
    /// What was typed cannot be meant.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Usage, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::switch("-s", "stat"),
        Flag::switch("-w", "watch"),
        Flag::with("-v", "version", "version"),
        Flag::switch("--json", "as JSON"),
        Flag::with("-add", "servers", "to add"),
    ];

    fn read(line: &str) -> Result<Given, String> {
        parse(FLAGS, None, &crate::line::words(line)).map_err(|failure| failure.message)
    }

    #[test]
    fn options_stand_anywhere_and_together() {
        let given = read("-sw /a -v3 --json").unwrap();
        assert!(given.has("-s") && given.has("-w") && given.has("--json"));
        assert_eq!((given.value("-v"), given.args.as_slice()), (Some("3"), &["/a".to_owned()][..]));
        assert_eq!(read("-v=3").unwrap().value("-v"), Some("3"));
        assert_eq!(read("-v -1").unwrap().value("-v"), Some("-1"), "a negative number is a value");
        assert_eq!(read("-add server.1=a").unwrap().value("-add"), Some("server.1=a"));
    }

    #[test]
    fn after_two_dashes_nothing_is_an_option() {
        assert_eq!(read("/a -- -s").unwrap().args, ["/a", "-s"]);
    }

    #[test]
    fn what_is_wrong_is_said_in_apaches_words() {
        let cases = [
            ("-q", "org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: -q"),
            ("-5", "org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: -5"),
            ("-sq", "org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: -sq"),
            (
                "-v -s",
                "org.apache.commons.cli.MissingArgumentException: Missing argument for option: v",
            ),
            (
                "-v",
                "org.apache.commons.cli.MissingArgumentException: Missing argument for option: v",
            ),
        ];
        for (line, message) in cases {
            assert_eq!(read(line).unwrap_err(), message, "{line}");
        }
    }

    #[test]
    fn options_of_a_group_exclude_each_other() {
        let group = Some(OneOf { names: &["-s", "-w"], required: true });
        let words = |line| crate::line::words(line);
        assert!(parse(FLAGS, group, &words("-s /a")).is_ok());
        let both = parse(FLAGS, group, &words("-s -w")).unwrap_err().message;
        assert!(both.ends_with("has already been selected: 's'"), "{both}");
        let none = parse(FLAGS, group, &words("/a")).unwrap_err().message;
        assert!(none.ends_with("Missing required option: [-s stat, -w watch]"), "{none}");
    }
}
