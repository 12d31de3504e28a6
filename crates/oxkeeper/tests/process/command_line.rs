//! What an operator types, and what it answers: one clear line and the exit code ZooKeeper has.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::client::word;
use crate::server::{BINARY, Setup};

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().expect("it runs")
}

/// Standard error, which must be one line, and the exit code.
fn refused(arguments: &[&str]) -> (String, i32) {
    let output = run(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    (text.trim_end().to_owned(), output.status.code().unwrap())
}

#[test]
fn wrong_input_is_refused_with_one_line_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let not_a_directory = format!("dataDir={}", file.display());
    let below_a_file = format!("dataDir={}/data", file.display());
    let cases: [(&[&str], i32, &[&str]); 9] = [
        (&["serve", "--set", "clientPort=many"], 2, &["clientPort=many", "0 to 65535"]),
        (&["serve", "--set", "clientPor=1"], 2, &["\"clientPor\"", "did you mean clientPort?"]),
        (&["serve", "--set", "tickTime"], 2, &["key=value"]),
        (&["serve", "/no/such/zoo.cfg"], 2, &["/no/such/zoo.cfg", "no such file"]),
        (&["serve", "--log-level", "loud"], 2, &["\"loud\" is not a level", "debug"]),
        (&["serve", "--set", "skipACL=maybe"], 2, &["skipACL=maybe", "yes"]),
        (&["serve", "--set", &not_a_directory], 3, &["file", "not a directory"]),
        (&["serve", "--set", &below_a_file], 3, &["file/data"]),
        (&["check-config", "--set", "clientPort=-1"], 2, &["clientPort=-1"]),
    ];
    for (arguments, code, parts) in cases {
        let (line, ended) = refused(arguments);
        assert!(line.starts_with("oxkeeper: "), "{line}");
        assert!(parts.iter().all(|part| line.contains(part)), "{arguments:?}: {line}");
        assert_eq!(ended, code, "{arguments:?}: {line}");
    }
}

#[test]
fn a_port_in_use_is_said_before_anything_is_touched() {
    let server = Setup::new().start();
    let dir = tempfile::tempdir().unwrap();
    let taken = Setup::new().set("clientPort", server.addr.port());
    let (status, log) = taken.fails_in(dir.path());
    assert_eq!((status.code(), log.len()), (Some(1), 1), "{log:?}");
    let addr = server.addr.to_string();
    assert!(log[0].contains(&addr) && log[0].contains("in use"), "{log:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was created");
    assert_eq!(word(server.addr, "ruok"), "imok", "the first one goes on");
}

#[test]
fn a_directory_has_one_server() {
    let server = Setup::new().start();
    let dir = server.data_dir().to_owned();
    let (status, log) = Setup::new().fails_in(&dir);
    assert_eq!((status.code(), log.len()), (Some(1), 1), "{log:?}");
    assert!(log[0].contains(&format!("process {}", server.pid())), "{log:?}");
    assert!(log[0].contains(&dir.display().to_string()), "{log:?}");
    assert_eq!(word(server.addr, "ruok"), "imok");
    // The lock ends with its holder, however that ends.
    let dir = server.kill();
    assert_eq!(word(Setup::new().start_in(dir).addr, "ruok"), "imok");
}

#[test]
fn a_stock_file_starts_and_its_keys_are_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zoo.cfg");
    let data = dir.path().join("data");
    let mut text = std::fs::File::create(&file).unwrap();
    write!(
        text,
        "# The number of milliseconds of each tick\ntickTime=1500\ninitLimit=10\nsyncLimit=5\n\
         dataDir={}\nclientPort=2181\n#maxClientCnxns=60\nadmin.serverPort=8080\n",
        data.display()
    )
    .unwrap();
    let server =
        Setup::new().argument(file.to_str().unwrap()).set("dataDir", data.display()).start();
    let srvr = word(server.addr, "srvr");
    assert!(srvr.contains("Mode: standalone"), "{srvr}");
    // A file that says nothing of the words allows only this one, as in ZooKeeper.
    for name in ["ruok", "mntr", "conf"] {
        let refusal = format!("{name} is not executed because it is not in the whitelist.\n");
        assert_eq!(word(server.addr, name), refusal);
    }
    let (status, log, _) = server.terminate();
    assert_eq!(status.code(), Some(0));
    // What has no effect is said once each, with its line.
    for part in ["zoo.cfg:8: admin.serverPort", "autopurge"] {
        assert_eq!(log.iter().filter(|line| line.contains(part)).count(), 1, "{part}: {log:#?}");
    }
}

#[test]
fn check_config_explains_without_starting_anything() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data_dir = format!("dataDir={}", data.display());
    let idle = "admin.serverPort=8081";
    let arguments = ["check-config", "--set", &data_dir, "--set", "syncLimit=7", "--set", idle];
    let output = run(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{text}");
    assert!(text.contains("tickTime = 2000 ms  [built in]"), "{text}");
    assert!(text.contains("syncLimit = 7 ticks  [--set]"), "{text}");
    assert!(!text.contains('\x1b'), "styles are for terminals only");
    // Each notice stands there once.
    let notices = text.split("Notices").nth(1).expect("there are some");
    for notice in notices.lines().filter(|line| !line.trim().is_empty()) {
        assert_eq!(text.matches(notice.trim()).count(), 1, "{notice}");
    }
    let json = run(&["check-config", "--json", "--set", &data_dir]);
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let settings = report["settings"].as_array().unwrap();
    let tick = settings.iter().find(|setting| setting["key"] == "tickTime").unwrap();
    assert_eq!((tick["value"].as_str(), tick["unit"].as_str()), (Some("2000"), Some("ms")));
    assert!(!data.exists());
}

/// `oxkeeper check-config | head -1`: the reader leaves early, which is no error.
#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = Command::new(BINARY)
        .arg("check-config")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
}

#[test]
fn help_tells_a_newcomer_what_to_type() {
    let text = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for command in ["serve", "check-config", "bench"] {
        assert!(text.contains(command), "{text}");
    }
    let text = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    for part in ["127.0.0.1:2181", "oxkeeper-data", "--set", "--log-format", "zoo.cfg"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}
