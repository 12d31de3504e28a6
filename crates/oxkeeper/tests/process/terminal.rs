//! `oxkeeper shell` at a terminal, by way of script(1), which gives it one.
//!
//! Keys are pressed when the prompt is there: what is typed while a command runs, the terminal
//! throws away.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use tempfile::TempDir;

use crate::client::DEADLINE;
use crate::server::{BINARY, Server, Setup};

/// A person at a terminal.
struct Person {
    child: Child,
    keys: ChildStdin,
    screen: Receiver<Vec<u8>>,
    seen: String,
    home: TempDir,
}

impl Person {
    fn sits_down(server: &Server, environment: &[(&str, &str)]) -> Person {
        let home = tempfile::tempdir().unwrap();
        let shell = format!("stty cols 100 rows 30; exec {BINARY} shell -server {}", server.addr);
        let mut child = Command::new("script")
            .args(["-qefc", &shell, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .env("XDG_STATE_HOME", home.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script(1) is there");
        let keys = child.stdin.take().unwrap();
        let mut out = child.stdout.take().unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Person { child, keys, screen, seen: String::new(), home }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for a text, and forgets what came up to its end.
    fn sees(&mut self, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.screen.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {text:?} in {:?}", self.seen),
            }
        }
    }

    /// Ends the shell, at its prompt; the lines that it has kept.
    fn leaves(mut self) -> String {
        self.types("\x04");
        loop {
            match self.screen.recv_timeout(DEADLINE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it goes on: {:?}", self.seen),
            }
        }
        assert!(self.child.wait().unwrap().success(), "{}", self.seen);
        let history = self.home.path().join("oxkeeper/shell_history");
        std::fs::read_to_string(history).unwrap()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // It is gone already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_person_completes_remembers_and_is_told_of_watches() {
    let server = Setup::new().start();
    let mut person = Person::sits_down(&server, &[]);
    person.sees("Oxkeeper shell");
    person.sees("(CONNECTED) 0] ");

    // Commands and paths are completed; the only child is.
    person.types("get /zoo\t");
    person.sees("/zookeeper");
    person.types("/q\t");
    person.sees("/zookeeper/quota");
    person.types("\x15cre\t");
    person.sees("create");
    person.types(" /app 'one\r");
    person.types("two'\r");
    person.sees("Created /app");
    person.sees("(CONNECTED) 1] ");
    person.types("get --json /app\r");
    person.sees("\"data\":\"one\\ntwo\"");

    // The line before is there again, and a watch is told while nothing is typed.
    person.sees("(CONNECTED) 2] ");
    person.types("get -w /app\r");
    person.sees("two");
    person.sees("(CONNECTED) 3] ");
    let set = ["shell", "-q", "-server", &server.addr.to_string(), "set", "/app", "x"];
    assert!(Command::new(BINARY).args(set).status().unwrap().success());
    person.sees("type:NodeDataChanged path:/app");
    person.types("\x1b[A\r");
    person.sees("(CONNECTED) 4] ");

    // Ctrl-C stops what would go on for ever, and the shell goes on.
    person.types("watch -f /app\r");
    person.sees("following /app");
    person.types("\x03");
    person.sees("stopped");
    person.sees("(CONNECTED) 5] ");
    person.types("nosuch\r");
    person.sees("\x1b[31mCommand not found: nosuch\x1b[0m");
    person.sees("(CONNECTED) 6] ");
    person.types("addauth digest user:secret\r");
    person.sees("(CONNECTED) 7] ");
    // The last command did well, so the shell does.
    let history = person.leaves();
    assert!(history.contains("get -w /app"), "{history}");
    assert!(!history.contains("secret"), "passwords are not kept: {history}");
}

#[test]
fn no_color_is_obeyed() {
    let server = Setup::new().start();
    let mut person = Person::sits_down(&server, &[("NO_COLOR", "1")]);
    person.sees("(CONNECTED) 0] ");
    person.types("nosuch\r");
    let seen = person.sees("Command not found: nosuch");
    for colour in ["\x1b[31m", "\x1b[1;32m", "\x1b[2m"] {
        assert!(!seen.contains(colour), "{seen:?}");
    }
    person.types("ls /\r");
    person.sees("[zookeeper]");
    person.sees("(CONNECTED) 2] ");
    person.leaves();
}
