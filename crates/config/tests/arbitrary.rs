//! Whatever a file holds, reading it ends with a configuration or with one line.

use std::io;
use std::path::Path;

use oxkeeper_config::{Config, Files, NoFiles, Options, PathKind, keys, parse};
use proptest::prelude::*;

/// A file system in which this is server 1.
struct FirstServer;

impl Files for FirstServer {
    fn read(&self, path: &Path, _: usize) -> io::Result<Vec<u8>> {
        if path.ends_with("myid") { Ok(b"1".to_vec()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn kind(&self, _: &Path) -> io::Result<PathKind> {
        Ok(PathKind::Missing)
    }
}

/// Judges an outcome; none is a panic, and errors stay printable.
fn check(outcome: Result<Config, oxkeeper_config::ConfigError>) {
    match outcome {
        Ok(config) => {
            assert!(
                config.sessions.min_session_timeout_ms <= config.sessions.max_session_timeout_ms
            );
            assert!(config.storage.snap_count >= 2);
            assert!(config.notices.len() <= 101);
            if let Some(ensemble) = &config.ensemble {
                assert!(ensemble.membership.member(ensemble.my_id).is_some());
                assert!(ensemble.membership.participants().next().is_some());
                for ticks in [ensemble.init_limit, ensemble.sync_limit, ensemble.connect_limit] {
                    assert!(ticks > 0 && ticks.checked_mul(config.sessions.tick_time_ms).is_some());
                }
                assert!(ensemble.membership.to_string().lines().all(|line| line.contains('=')));
            }
            oxkeeper_config::explain_text(&config);
            oxkeeper_config::explain_json(&config);
        }
        Err(error) => {
            let line = error.to_string();
            assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?}");
        }
    }
}

/// A line of the file: a known key, more often than not with a value that means trouble.
fn line() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = keys::all().map(|key| key.name).collect();
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (-2_i64..70_000).prop_map(|number| number.to_string()),
        prop::sample::select(vec![
            "",
            "true",
            "false",
            "yes",
            "no",
            "*",
            "gz",
            "/d",
            "0x7fffffff",
            "-0",
            "+1",
            "1e300",
            "inf",
            "NaN",
            "a:1:2",
            "a:1:2;3",
            "[::1]:1:2;[::1]:3",
            "[",
            "]:",
            ";",
            "|",
            "a:1:2;;",
            "[a]b:1:2",
            "digest,ip",
            "\\u0000",
            "\\ud800",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,20}",
    ];
    (prop::sample::select(names), value).prop_map(|(name, value)| {
        format!("{}={value}\n", name.replace(".N", ".1").replace(".*", ".x"))
    })
}

/// A line of membership, right or wrong.
fn member() -> impl Strategy<Value = String> {
    "(server\\.[0-3]{1,2}=([ab]{1,2}:[12]:[34][:;|\\[\\] #a1]{0,6}){1,2}\
     |group\\.[12]=[1-4]:?[1-4]?|weight\\.[1-4]=-?[0-3]|version=[0-9a-f]{1,3})\n"
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(parse(&bytes));
    }

    #[test]
    fn any_lines(lines in prop::collection::vec(line(), 0..12), tolerant in any::<bool>()) {
        let file = format!("dataDir=/data\nclientPort=2181\n{}", lines.concat());
        let options = Options { set: Vec::new(), allow_unknown_keys: tolerant };
        check(Config::from_bytes("zoo.cfg", file.as_bytes(), &options, &NoFiles));
    }

    #[test]
    fn any_ensemble(
        lines in prop::collection::vec(prop_oneof![line(), member()], 0..12),
        tolerant in any::<bool>(),
    ) {
        let file = format!(
            "dataDir=/data\nclientPort=2181\ninitLimit=10\nsyncLimit=5\nserver.1=a:1:2\n\
             server.2=b:1:2\n{}",
            lines.concat()
        );
        let options = Options { set: Vec::new(), allow_unknown_keys: tolerant };
        check(Config::from_bytes("zoo.cfg", file.as_bytes(), &options, &FirstServer));
    }

    #[test]
    fn any_override(argument in "\\PC{0,40}") {
        let options = Options { set: vec![argument], allow_unknown_keys: true };
        check(Config::without_file(&options, &NoFiles));
    }
}
