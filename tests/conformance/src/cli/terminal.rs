//! A person at a terminal: a session with our shell in tmux, held against its recording.
//!
//! The recording says which keys are pressed and what is on the screen then, with its colours.
//! Every screen is waited for: keys are pressed when the one before is there, whole, so nothing
//! depends on how quick anybody is. `OXKEEPER_RECORD=1` writes the recording anew, taking for a
//! screen what has stood there for a while.
//!
//! | line | means |
//! |---|---|
//! | `> keys` | are pressed: text, and `<Enter>`, `<Tab>`, `<Up>`, `<C-c>` and their kin by name |
//! | `! words` | another shell is given these words, by somebody else |
//! | `~ text` | this is waited for, anywhere on the screen |
//! | `\| line` | a line of the whole screen that is waited for |
//!
//! A change of colour is written as its name in `⟨⟩`, which are empty where text is plain again.
//! Times, zxids and the server's address are replaced.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::Findings;
use crate::peers::{ServerUnderTest, StartOpts};

/// The session.
const RECORDING: &str =
    include_str!("../../../../crates/shell/tests/fixtures/terminal/session.txt");
/// Where it is written anew.
const RECORDING_FILE: &str = "../../crates/shell/tests/fixtures/terminal/session.txt";
/// The size of the terminal.
const SIZE: [&str; 4] = ["-x", "100", "-y", "40"];
/// How long a screen is waited for.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the screen is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// What has stood on the screen so long is what comes of it, when it is recorded.
const STANDS: Duration = Duration::from_millis(1500);

/// Runs the session on a server of this kind.
///
/// # Errors
/// When the server or tmux cannot be run.
pub(super) fn run(
    server: &ServerUnderTest,
    binary: &Path,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    progress("at a terminal");
    let opts = StartOpts::new(dir.join("server"), crate::free_port()?).for_programs();
    let mut running = server.start(opts)?;
    let mut findings = Findings::default();
    let terminal = Terminal::open(binary, &running.addr().to_string(), dir)?;
    match terminal.goes_through(RECORDING) {
        Ok(Seen { screens, anew }) => {
            findings.checks = screens;
            if std::env::var_os("OXKEEPER_RECORD").is_some() {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDING_FILE);
                std::fs::write(file, anew)?;
            }
        }
        Err(error) => findings.errors.push(format!("terminal: {error:#}")),
    }
    drop(terminal);
    running.stop()?;
    Ok(findings)
}

/// What came of a session.
struct Seen {
    screens: usize,
    /// The recording with what was seen.
    anew: String,
}

/// A tmux of our own with our shell in it. It ends with this value.
struct Terminal {
    socket: PathBuf,
    binary: PathBuf,
    server: String,
}

impl Terminal {
    fn open(binary: &Path, server: &str, dir: &Path) -> Result<Terminal> {
        let socket = dir.join("tmux");
        let terminal = Terminal { socket, binary: binary.to_owned(), server: server.to_owned() };
        let binary = binary.to_str().context("a path in UTF-8")?;
        let mut shell = vec!["env".to_owned(), "-u".to_owned(), "NO_COLOR".to_owned()];
        shell.push(format!("XDG_STATE_HOME={}", dir.join("state").display()));
        shell.extend(["LC_ALL=C.UTF-8", "TZ=UTC", binary, "shell"].map(String::from));
        shell.extend(["-server".to_owned(), server.to_owned()]);
        let mut command = terminal.tmux("new-session");
        command.args(["-d", "-s", "shell"]).args(SIZE).args(shell);
        done(command)?;
        Ok(terminal)
    }

    fn tmux(&self, what: &str) -> Command {
        let mut command = Command::new("tmux");
        // In UTF-8, without anybody's settings.
        command.args(["-u", "-f", "/dev/null", "-S"]).arg(&self.socket).arg(what);
        command.env_remove("TMUX").stdin(Stdio::null());
        command
    }

    fn goes_through(&self, recording: &str) -> Result<Seen> {
        let recorded = std::env::var_os("OXKEEPER_RECORD").is_some();
        let (mut screens, mut anew) = (0, String::new());
        let mut lines = recording.lines().peekable();
        let mut last = "the beginning";
        while let Some(line) = lines.next() {
            if let Some(keys) = line.strip_prefix("> ") {
                self.press(keys)?;
                last = line;
            } else if let Some(words) = line.strip_prefix("! ") {
                self.somebody_else(words).with_context(|| format!("after {last}"))?;
            } else if let Some(text) = line.strip_prefix("~ ") {
                self.sees(text).with_context(|| format!("after {last}"))?;
            } else if line.starts_with('|') {
                let mut screen = vec![line];
                while let Some(line) = lines.next_if(|line| line.starts_with('|')) {
                    screen.push(line);
                }
                screens += 1;
                let screen = match recorded {
                    true => self.stands()?,
                    false => screen.join("\n") + "\n",
                };
                if !recorded {
                    self.shows(&screen)
                        .with_context(|| format!("screen {screens}, after {last}"))?;
                }
                anew.push_str(&screen);
                continue;
            }
            anew.push_str(line);
            anew.push('\n');
        }
        self.ends().with_context(|| format!("after {last}"))?;
        Ok(Seen { screens, anew })
    }

    /// Presses keys: those with a name stand in angle brackets.
    fn press(&self, keys: &str) -> Result<()> {
        let mut rest = keys;
        while !rest.is_empty() {
            let mut command = self.tmux("send-keys");
            command.args(["-t", "shell"]);
            let named = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
            if let Some((name, after)) = named {
                command.arg(name);
                rest = after;
            } else {
                let end = rest.find('<').unwrap_or(rest.len());
                // tmux takes a semicolon at the end for its own.
                command.args(["-l", "--"]).arg(rest[..end].replace(';', "\\;"));
                rest = &rest[end..];
            }
            done(command)?;
        }
        Ok(())
    }

    fn somebody_else(&self, words: &str) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.args(["shell", "-q", "-server", &self.server, "-waitforconnection"]);
        command.args(words.split(' '));
        done(command)
    }

    fn captured(&self) -> Result<String> {
        let mut command = self.tmux("capture-pane");
        command.args(["-p", "-e", "-t", "shell"]);
        let output = command.output().context("running tmux")?;
        ensure!(output.status.success(), "the terminal is gone");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The screen as it is recorded, without what is empty at its end.
    fn screen(&self) -> Result<String> {
        let screen = plain(&self.captured()?, &self.server);
        Ok(screen.trim_end_matches("|\n").to_owned())
    }

    /// Waits for a text.
    fn sees(&self, text: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let screen = self.captured()?;
            if screen.contains(text) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "there is no {text:?} in\n{screen}");
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits for a screen.
    fn shows(&self, expected: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let screen = self.screen()?;
            if screen == expected {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("{}\nThe whole screen is\n{screen}", difference(&screen, expected));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// What stays on the screen.
    fn stands(&self) -> Result<String> {
        let (mut screen, mut since) = (self.screen()?, Instant::now());
        while since.elapsed() < STANDS {
            std::thread::sleep(GLANCE);
            let now = self.screen()?;
            if now != screen {
                (screen, since) = (now, Instant::now());
            }
        }
        Ok(screen)
    }

    /// The shell has ended by its last keys, and the terminal with it.
    fn ends(&self) -> Result<()> {
        let began = Instant::now();
        while self.screen().is_ok() {
            ensure!(began.elapsed() < PATIENCE, "the shell goes on");
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended by itself, unless something went wrong.
        let mut command = self.tmux("kill-server");
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn done(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {name}"))?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(())
}

/// The first line in which a screen is not as it was recorded.
fn difference(screen: &str, expected: &str) -> String {
    let (mut is, mut was) = (screen.lines(), expected.lines());
    for number in 1.. {
        let (is, was) = (is.next(), was.next());
        if is != was || is.is_none() {
            let (is, was) = (is.unwrap_or("missing"), was.unwrap_or("not there"));
            return format!("line {number} is\n{is}\nand was\n{was}");
        }
    }
    String::new()
}

/// How text looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    bold: bool,
    dim: bool,
    colour: Option<u8>,
}

impl Look {
    /// Takes over what an escape sequence for colours says (SGR).
    fn change(&mut self, codes: &str) {
        for code in codes.split(';') {
            match code.parse::<u8>().unwrap_or(0) {
                0 => *self = Look::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                22 => (self.bold, self.dim) = (false, false),
                39 => self.colour = None,
                code @ 30..=37 => self.colour = Some(code - 30),
                _ => {}
            }
        }
    }

    fn name(self) -> String {
        let colours = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
        let mut words = Vec::new();
        words.extend(self.bold.then_some("bold"));
        words.extend(self.dim.then_some("dim"));
        words.extend(self.colour.map(|colour| colours[usize::from(colour)]));
        words.join(" ")
    }
}

/// A captured screen as it is recorded.
fn plain(captured: &str, server: &str) -> String {
    let (mut look, mut shown) = (Look::default(), Look::default());
    let mut text = String::new();
    for line in captured.lines() {
        let mut out = String::new();
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            if let Some(escape) = rest.strip_prefix("\x1b[")
                && let Some((codes, after)) = escape.split_once('m')
            {
                look.change(codes);
                rest = after;
                continue;
            }
            // What is blank has no colour that anybody sees.
            if look != shown && first != ' ' {
                let _ = write!(out, "⟨{}⟩", look.name()); // writing to a String cannot fail
                shown = look;
            }
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
        // Looks end with their line.
        if shown != Look::default() {
            let kept = out.trim_end().len();
            out.truncate(kept);
            out.push_str("⟨⟩");
            shown = Look::default();
        }
        let out = without_times(&out.replace(server, "<server>"));
        // In how many rounds nothing changes, and where Ctrl-C is echoed, is a matter of moments.
        let rest = out.replace("^C", "");
        if !out.contains("⟨bold⟩0 changes in ") && (rest == out || !rest.is_empty()) {
            let _ = writeln!(text, "{}", format!("| {rest}").trim_end());
        }
    }
    text
}

/// Times of day and zxids by their names.
fn without_times(line: &str) -> String {
    let mut line = line.to_owned();
    let digits = |text: &str, form: &str| {
        text.len() >= form.len()
            && text.bytes().zip(form.bytes()).all(|(is, form)| match form {
                b'0' => is.is_ascii_digit(),
                other => is == other,
            })
    };
    const TIME: &str = "00:00:00.000";
    while let Some(at) = (0..line.len()).find(|at| line.get(*at..).is_some_and(|t| digits(t, TIME)))
    {
        line.replace_range(at..at + TIME.len(), "<time>");
    }
    if let Some(at) = line.find("zxid: ") {
        line.replace_range(at + "zxid: ".len().., "<zxid>");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_differs_is_told() {
        let was = "| ⟨dim⟩[zk] ⟨bold green⟩ls ⟨⟩/\n| [a, b]\n";
        let is = was.replace("bold green", "green");
        let told = difference(&is, was);
        assert_eq!(
            told,
            "line 1 is\n| ⟨dim⟩[zk] ⟨green⟩ls ⟨⟩/\nand was\n| ⟨dim⟩[zk] ⟨bold green⟩ls ⟨⟩/"
        );
        assert_eq!(difference("| a\n", was).lines().next(), Some("line 1 is"));
        let more = format!("{was}| c\n");
        assert_eq!(difference(&more, was), "line 3 is\n| c\nand was\nnot there");
        assert_eq!(difference(was, &more), "line 3 is\nmissing\nand was\n| c");
    }

    #[test]
    fn a_screen_is_recorded_with_its_colours_and_without_what_differs() {
        let captured = "\x1b[2m[zk: h:1(CONNECTED) 0] \x1b[0m\x1b[1m\x1b[32mls\x1b[39m\x1b[22m / \n\
                        12:34:56.789 \x1b[32mcreated \x1b[0m /a\nzxid: 17\n\
                        \x1b[1m0 changes in 1.0 s\x1b[0m\n\x1b[31mred  \n\nplain\x1b[0m\n\n";
        let expected = "| ⟨dim⟩[zk: <server>(CONNECTED) 0] ⟨bold green⟩ls ⟨⟩/\n\
                        | <time> ⟨green⟩created  ⟨⟩/a\n| zxid: <zxid>\n| ⟨red⟩red⟨⟩\n|\n\
                        | ⟨red⟩plain⟨⟩\n|\n";
        assert_eq!(plain(captured, "h:1"), expected);
    }
}
