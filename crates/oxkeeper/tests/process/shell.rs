//! `oxkeeper shell` against a server of ours: what ZooKeeper's shell printed for the same commands,
//! and what ours can beyond it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::server::{BINARY, Server, Setup};

#[path = "../../../../tests/conformance/src/transcript.rs"]
mod transcript;

use transcript::{Case, Normaliser};

/// What a shell said.
struct Said {
    exit: i32,
    out: String,
    err: String,
}

impl Said {
    /// Its results, having succeeded.
    fn ok(self) -> String {
        assert_eq!(self.exit, 0, "{}{}", self.out, self.err);
        self.out
    }

    fn json(self) -> Value {
        serde_json::from_str(&self.ok()).expect("JSON")
    }
}

/// A server as the recordings expect it.
fn server() -> Server {
    Setup::new()
        .set("tickTime", 500)
        .set("maxSessionTimeout", 60_000)
        .set("extendedTypesEnabled", true)
        .set("enforceQuota", true)
        .set("admin.enableServer", false)
        .start()
}

fn run(server: &Server, options: &[&str], words: &[String], input: &str) -> Said {
    let mut child = Command::new(BINARY)
        .arg("shell")
        .args(["-server", &server.addr.to_string()])
        .args(options)
        .args(words)
        .env("TZ", "UTC")
        .env_remove("EDITOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().unwrap();
    // Who has a command reads no input.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Said {
        exit: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A command as a person types it, its results alone.
fn say(server: &Server, line: &str) -> Said {
    let case = Case { typed: vec![line.to_owned()], ..Case::default() };
    run(server, &["-q"], &case.words(), "")
}

/// Runs a recording and compares all of it.
fn compare(recording: &str) {
    let server = server();
    let address = server.addr.to_string();
    let mut normaliser = Normaliser::new(&address);
    let cases = transcript::parse(recording);
    let mut differences = Vec::new();
    for case in &cases {
        let said = if case.piped {
            let input = case.typed.join("\n").replace("<server>", &address) + "\n";
            run(&server, &["-waitforconnection"], &[], &input)
        } else {
            run(&server, &[], &case.words(), "")
        };
        let outcome = normaliser.outcome(said.exit, &said.out, &said.err);
        differences.extend(transcript::difference(case, &outcome));
    }
    assert!(
        differences.is_empty(),
        "{} of {} cases differ from ZooKeeper's shell:\n{}",
        differences.len(),
        cases.len(),
        differences.join("\n")
    );
}

#[test]
fn every_command_prints_what_zookeepers_shell_prints() {
    compare(include_str!("../../../../tests/conformance/peers/java/golden/shell.txt"));
}

#[test]
fn options_paths_and_errors_are_those_of_zookeepers_shell() {
    compare(include_str!("../../../shell/tests/fixtures/zkcli/options.txt"));
}

#[test]
fn piped_lines_are_answered_as_zookeepers_shell_answers_them() {
    compare(include_str!("../../../shell/tests/fixtures/zkcli/typed.txt"));
}

#[test]
fn failures_tell_their_kind_by_the_exit_code_and_what_to_do() {
    let server = server();
    say(&server, "create -p /a/b x").ok();
    for (line, exit, hint) in [
        ("nosuch", 127, "help lists all commands"),
        ("sett /a x", 127, "set?"),
        ("ls -q /a", 2, "its options are"),
        ("ls a", 2, "/a"),
        ("get /nope", 4, ""),
        ("create /a x", 5, "set changes"),
        ("set -v 7 /a x", 6, "stat shows"),
        ("delete /a", 7, "deleteall"),
        ("set /zookeeper/config x", 8, "addauth"),
        ("setquota -n 1 /a/b/c", 4, ""),
        ("create /no/parent x", 4, "create -p"),
        ("diff /a /nope", 4, "nothing to compare at /nope"),
        ("import /nonexistent /x", 12, ""),
    ] {
        let said = say(&server, line);
        assert_eq!(said.exit, exit, "{line}: {}", said.err);
        assert!(said.err.contains(hint), "{line}: {}", said.err);
        assert_eq!(said.out, "", "{line}");
    }
    let below = format!("{}/a", server.addr);
    let said = run(&server, &["-q", "-server", &below], &["listquota".into(), "/b".into()], "");
    assert!(said.exit == 2 && said.err.contains("name /a/b"), "{}", said.err);
    let said = run(&server, &["--json"], &["get".into(), "/nope".into()], "");
    let error: Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!((error["error"]["kind"].as_str(), said.exit), (Some("no-node"), 4));
}

#[test]
fn without_a_server_it_says_so() {
    let server = server();
    let address = server.addr.to_string();
    drop(server.kill());
    let mut command = Command::new(BINARY);
    command.args(["shell", "-server", &address, "-timeout", "1000", "ls", "/"]);
    let output = command.output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains("ConnectionLoss") && err.contains("-waitforconnection"), "{err}");
}

#[test]
fn results_are_json_for_programs() {
    let server = server();
    say(&server, "create -p /a/b text").ok();
    let get = say(&server, "get --json /a/b").json();
    assert_eq!((get["data"].as_str(), get["stat"]["version"].as_i64()), (Some("text"), Some(0)));
    assert_eq!(say(&server, "ls --json /a").json()["children"][0], "b");
    assert_eq!(say(&server, "create --json /a/c").json()["created"], "/a/c");
    assert_eq!(say(&server, "getAcl --json /a").json()["acl"][0]["perms"], "cdrwa");
    let bytes = say(&server, "set --json -b /a/b AP8=").json();
    assert_eq!(bytes["stat"]["version"], 1);
    assert_eq!(say(&server, "get --json /a/b").json()["base64"], "AP8=");
    assert_eq!(say(&server, "deleteall --json /a").json()["count"], 3);
}

/// A line of each command and what its answer has, in an order that makes sense: a key, nothing in
/// particular, or `-` where ZooKeeper's command says nothing and so does ours.
const EACH: [(&str, &str); 35] = [
    ("create -p /app/b one", "created"),
    ("set /app/b two", "stat"),
    ("get /app/b", "data"),
    ("stat /app", "stat"),
    ("ls /app", "children"),
    ("sync /app", "synced"),
    ("getAcl /app", "acl"),
    ("setAcl -R /app world:anyone:cdrwa", "changed"),
    ("getEphemerals", ""),
    ("getAllChildrenNumber /app", "count"),
    ("setquota -n 50 /app", "limits"),
    ("listquota /app", "limits"),
    ("delquota -n /app", "-"),
    ("addauth digest user:secret", "-"),
    ("whoami", ""),
    ("version", "zookeeper"),
    ("config", "config"),
    ("reconfig --dry-run -remove 3", "would"),
    ("tree /app", "path"),
    ("find /app -name b", "path"),
    ("cp /app /copy", "created"),
    ("diff /app /copy", "-"),
    ("mv /copy /moved", "moved"),
    ("diff /app /zookeeper", ""),
    ("export /app", "oxkeeper_export"),
    ("import --dry-run <file> /imported", "would"),
    ("import <file> /imported", "created"),
    ("edit --dry-run /app/b", "would"),
    ("edit /app/b", "path"),
    ("top -n 1 -t 1 /app", "seconds"),
    ("delete /imported/b", "deleted"),
    ("deleteall /moved", "deleted"),
    ("help", ""),
    ("help ls", "options"),
    ("help exit", ""),
];

/// The same of what needs one session, each answer on a line of its own.
const TOGETHER: [(&str, &str); 9] = [
    ("ls /app", "children"),
    ("addWatch /app", "-"),
    ("removewatches /app", "-"),
    ("printwatches", "printwatches"),
    ("history", ""),
    ("redo 0", "children"),
    ("connect <server>", "-"),
    ("close", "-"),
    ("quit", "-"),
];

/// The answer of a command, of which each line is JSON.
fn answers(out: &str) -> Vec<Value> {
    let json = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    out.lines().map(json).collect()
}

fn has(answer: &Value, key: &str) -> bool {
    key.is_empty() || !answer[key].is_null()
}

#[test]
fn every_command_answers_programs_in_json() {
    let server = server();
    let address = server.addr.to_string();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.jsonl").display().to_string();
    say(&server, "create -p /app/b x").ok();
    say(&server, &format!("export -o {file} /app")).ok();
    say(&server, "deleteall /app").ok();
    let editor = "sh -c 'echo more >> \"$0\"'";
    for (line, key) in EACH {
        let typed = vec![line.replace("<file>", &file)];
        let output = Command::new(BINARY)
            .args(["shell", "--json", "-server", &address])
            .args(Case { typed, ..Case::default() }.words())
            .env_remove("VISUAL")
            .env("EDITOR", editor)
            .env("TMPDIR", dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        let (all, err) = (answers(&out.unwrap()), err.unwrap());
        assert!(matches!(output.status.code(), Some(0 | 10)), "{line}: {err}");
        match key {
            "-" => assert!(all.is_empty(), "{line}: {all:?}"),
            key => assert!(all.first().is_some_and(|one| has(one, key)), "{line}: {all:?} {err}"),
        }
    }
    let typed: Vec<String> =
        TOGETHER.iter().map(|(line, _)| line.replace("<server>", &address) + "\n").collect();
    let said = run(&server, &["--json", "-waitforconnection"], &[], &typed.concat());
    let mut all = answers(&said.out);
    // That the watch is gone is told by the watch.
    all.retain(|answer| answer["watch"].is_null());
    let keys = TOGETHER.iter().map(|(_, key)| *key);
    let keys: Vec<&str> = keys.filter(|key| *key != "-").collect();
    assert!(all.len() == keys.len() && said.exit == 0, "{all:?} {}", said.err);
    for (answer, key) in all.iter().zip(keys) {
        assert!(has(answer, key), "{key}: {answer}");
    }
    // Nothing is left out; `watch`, for which something has to happen, is below.
    for spec in say(&server, "help --json").json().as_array().unwrap() {
        let name = spec["name"].as_str().unwrap();
        let mut all = EACH.iter().chain(&TOGETHER);
        let typed = all.any(|(line, _)| line.split(' ').next() == Some(name));
        assert!(typed || name == "watch", "{name} is not shown to answer in JSON");
    }
}

#[test]
fn a_watch_tells_programs_in_json() {
    let server = server();
    say(&server, "create /app x").ok();
    let mut watching = Command::new(BINARY)
        .args(["shell", "--json", "-server", &server.addr.to_string(), "watch", "/app"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It ends with the first change that comes when it is there.
    while watching.try_wait().unwrap().is_none() {
        say(&server, "set /app y").ok();
    }
    let out = watching.wait_with_output().unwrap().stdout;
    let all = answers(&String::from_utf8(out).unwrap());
    assert!(all[0]["path"] == "/app", "{all:?}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let server = server();
    for line in ["create -p /a/b one", "create /a/c two", "create /other x", "setquota -n 5 /other"]
    {
        say(&server, line).ok();
    }
    let before = say(&server, "export /").ok();
    for (line, part) in [
        ("set --dry-run /a/b new", "would set /a/b"),
        ("delete --dry-run /a/b", "would delete /a/b"),
        ("deleteall --dry-run /a", "would delete /a/c"),
        ("setAcl --dry-run -R /a world:anyone:r", "would set the ACL of /a/b"),
        ("setquota --dry-run -n 5 /a", "would set the quota of /a"),
        ("cp --dry-run /a /copy", "would create /copy/b"),
        ("mv --dry-run /a /copy", "would delete /a/c"),
        ("export --dry-run /a", "would write to standard output"),
        ("cp --dry-run --overwrite /a/b /other", "would change /other"),
        ("delquota --dry-run -n /other", "would lift the quota of /other"),
        ("reconfig --dry-run -remove 3", "would remove 3"),
    ] {
        let out = say(&server, line).ok();
        assert!(out.contains(part), "{line}: {out}");
    }
    assert_eq!(say(&server, "export /").ok(), before);
    assert_eq!(say(&server, "delete --dry-run /a").exit, 7, "it says what would be refused");
    assert_eq!(say(&server, "set --dry-run -v 9 /a x").exit, 6);
}

#[test]
fn subtrees_are_copied_moved_and_compared() {
    let server = server();
    for line in [
        "create /a root",
        "create /a/b one",
        "create /a/b/c two world:anyone:cdrw",
        "create /a/null",
        "create /a/long x",
        "create -s /a/seq- x",
    ] {
        say(&server, line).ok();
    }
    let said = say(&server, "cp /a /copy");
    assert_eq!(said.err, "6 created\n");
    let said = say(&server, "diff --acl /a /copy");
    assert_eq!((said.exit, said.err.as_str()), (0, "0 differ, 6 are the same\n"));
    assert_eq!(say(&server, "get /copy/null").ok(), "null\n");
    assert_eq!(say(&server, "get /copy/seq-0000000003").ok(), "x\n", "under the same name");

    say(&server, "set /copy/b changed").ok();
    say(&server, "create /copy/new x").ok();
    say(&server, "delete /copy/b/c").ok();
    let said = say(&server, "diff /a /copy");
    assert_eq!(said.exit, 10);
    assert_eq!(said.out, "~ /b (data, 3 B here, 7 B there)\n- /b/c\n+ /new\n");
    let address = server.addr.to_string();
    assert_eq!(say(&server, &format!("diff -with {address} /a")).exit, 0, "the same cluster");

    assert_eq!(say(&server, "cp /a /copy").exit, 5, "nothing is overwritten unasked");
    let said = say(&server, "cp --overwrite /a /copy");
    assert_eq!(said.err, "1 created, 1 changed, 4 already the same\n");
    assert_eq!(say(&server, "mv /copy /a/inside").exit, 0);
    assert_eq!(say(&server, "ls /copy").exit, 4);
    assert_eq!(say(&server, "get /a/inside/b").ok(), "one\n");
    assert_eq!(say(&server, "mv /a /a/b/x").exit, 2, "not into itself");
    assert_eq!(say(&server, "mv /a/null /a/b").exit, 5);
    assert_eq!(say(&server, "get /a/null").ok(), "null\n", "a move is whole or none");
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let server = server();
    let dir = tempfile::tempdir().unwrap();
    for line in [
        "create /a root",
        "create /a/b one",
        "create /a/b/c two world:anyone:cdrw",
        "create /a/null",
        "create /a/z",
    ] {
        say(&server, line).ok();
    }
    say(&server, "set -b /a/b AP8A").ok();
    for name in ["a.jsonl", "a.tar"] {
        let file = dir.path().join(name).display().to_string();
        let said = say(&server, &format!("export -o {file} /a"));
        assert!(said.err.starts_with("5 znodes, "), "{}", said.err);
        let target = format!("/from-{}", name.replace('.', "-"));
        assert_eq!(say(&server, &format!("import {file} {target}")).err, "5 created\n");
        let said = say(&server, &format!("diff --acl /a {target}"));
        assert_eq!((said.exit, said.out.as_str()), (0, ""));
        let said = say(&server, &format!("import --dry-run {file} /elsewhere"));
        assert!(said.out.contains("would create /elsewhere/b/c"), "{}", said.out);
        assert_eq!(say(&server, "ls /elsewhere").exit, 4);

        // A file that was cut off is refused, and so is what leads out of its place.
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 1_100.min(bytes.len() / 2)]).unwrap();
        assert_eq!(say(&server, &format!("import --dry-run {file} /cut")).exit, 12, "{name}");
    }
    let file = dir.path().join("evil.jsonl");
    let text = "{\"oxkeeper_export\":1}\n{\"path\":\"/../x\",\"data\":null,\"acl\":[],\
                \"stat\":{\"mode\":\"persistent\"}}\n{\"end\":1}\n";
    std::fs::write(&file, text).unwrap();
    assert_eq!(say(&server, &format!("import {} /a", file.display())).exit, 2);
}

#[test]
fn an_export_replaces_a_file_only_if_it_is_told_to() {
    let server = server();
    say(&server, "create /a one").ok();
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.jsonl", "a.tar"] {
        let file = dir.path().join(name);
        let (shown, read) = (file.display(), || std::fs::read(&file).unwrap());
        let export = |options: &str| say(&server, &format!("export {options} -o {shown} /a"));
        assert_eq!(export("--dry-run").ok(), format!("would write {shown} (/a)\n"));
        assert!(!file.exists(), "a dry run");
        export("").ok();
        let first = read();
        say(&server, "set /a two").ok();
        for options in ["", "--dry-run"] {
            let said = export(options);
            assert_eq!((said.exit, said.out.as_str()), (12, ""));
            let text = format!("{shown}: it exists already\n");
            assert!(
                said.err.starts_with(&text) && said.err.contains("--overwrite"),
                "{}",
                said.err
            );
        }
        assert_eq!(read(), first, "it was refused");
        let said = export("--overwrite --dry-run");
        assert_eq!(said.ok(), format!("would overwrite {shown} (/a)\n"));
        assert_eq!(read(), first, "a dry run");
        export("--overwrite").ok();
        assert_ne!(read(), first);
        let diff = format!("import --dry-run --overwrite {shown} /a");
        assert_eq!(say(&server, &diff).err, "0 would be created, 1 already the same\n");
    }
    // What is no file is never replaced, and nothing is left beside it.
    let said = say(&server, &format!("export --overwrite -o {} /a", dir.path().display()));
    assert!(said.exit == 12 && said.err.contains("no regular file"), "{}", said.err);
    assert!(!dir.path().with_extension("part").exists());
    let names = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 2, "no part is left behind");
}

#[test]
fn find_and_tree_show_a_subtree() {
    let server = server();
    for line in ["create /a", "create /a/lock-1 12345", "create /a/b", "create /a/b/lock-2"] {
        say(&server, line).ok();
    }
    assert_eq!(say(&server, "find /a -name lock-*").ok(), "/a/b/lock-2\n/a/lock-1\n");
    assert_eq!(say(&server, "find /a -size +4").ok(), "/a/lock-1\n");
    assert_eq!(say(&server, "find /a -age +1h").ok(), "");
    assert_eq!(say(&server, "find /a -type ephemeral").ok(), "");
    assert_eq!(say(&server, "tree /a").ok(), "/a\n├── b\n│   └── lock-2\n└── lock-1\n");
    assert_eq!(say(&server, "tree -d 1 /a").ok(), "/a\n├── b  … 1 below\n└── lock-1\n");
}

#[test]
fn an_edit_sets_what_the_editor_left_and_nothing_if_somebody_was_faster() {
    let server = server();
    say(&server, "create /a old").ok();
    let dir = tempfile::tempdir().unwrap();
    let edit = |script: &str| {
        let editor = dir.path().join("editor.sh");
        std::fs::write(&editor, script).unwrap();
        let output = Command::new(BINARY)
            .args(["shell", "-q", "-server", &server.addr.to_string(), "edit", "/a"])
            .env_remove("VISUAL")
            .env("EDITOR", format!("sh {}", editor.display()))
            .env("TMPDIR", dir.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(edit("printf new > \"$1\""), (Some(0), "/a is at version 1 now\n".to_owned()));
    assert_eq!(say(&server, "get /a").ok(), "new\n");
    assert_eq!(edit("true"), (Some(0), "unchanged\n".to_owned()));
    let dry = Command::new(BINARY)
        .args(["shell", "-q", "-server", &server.addr.to_string(), "edit", "--dry-run", "/a"])
        .env_remove("VISUAL")
        .env("EDITOR", "sh -c 'echo longer > \"$0\"'")
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(dry.stdout).unwrap(),
        "would set /a (3 B become 7 B, version 2)\n"
    );
    assert_eq!(say(&server, "get /a").ok(), "new\n");
    let set = format!("{BINARY} shell -q -server {} set /a faster", server.addr);
    let (code, err) = edit(&format!("printf mine > \"$1\"; {set}"));
    assert_eq!(code, Some(6), "{err}");
    assert!(err.contains("somebody else changed it meanwhile"), "{err}");
    assert_eq!(say(&server, "get /a").ok(), "faster\n");
    let (code, err) = edit("exit 3");
    assert!(code == Some(12) && err.contains("nothing was changed"), "{err}");
}
