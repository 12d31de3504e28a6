use super::*;

const THREE: &str = "server.1=127.0.0.1:24121:24141:participant;127.0.0.1:24101\n\
                     server.2=127.0.0.1:24122:24142:participant;127.0.0.1:24102\n\
                     server.3=127.0.0.1:24123:24143:participant;127.0.0.1:24103\n";

fn parse(text: &str) -> QuorumVerifier {
    QuorumVerifier::parse(text, true).unwrap()
}

fn error(text: &str) -> String {
    QuorumVerifier::parse(text, false).unwrap_err().to_string()
}

fn decides(config: &QuorumVerifier, sids: &[i64]) -> bool {
    config.is_quorum(|sid| sids.contains(&sid.0))
}

#[test]
fn what_java_sent_comes_out_as_it_went_in() {
    let several = "server.1=127.0.0.1:24121:24141|127.0.0.2:24126:24146:participant;\
                   127.0.0.1:24101\nversion=100000000";
    let observer = format!("{THREE}server.4=127.0.0.1:24124:24144:observer;127.0.0.1:24104\n");
    for text in [
        format!("{THREE}version=0"),
        format!("{observer}version=100000003"),
        several.to_owned(),
        "server.1=[::1]:2:3:participant;[fe80::1]:4\nversion=ffffffff".to_owned(),
    ] {
        assert_eq!(parse(&text).to_string(), text);
    }
}

#[test]
fn short_forms_are_written_out() {
    let config = parse("version=1f\nserver.2=b:1:2:OBSERVER\nserver.1=a:1:2;2181\n");
    assert_eq!(
        config.to_string(),
        "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:observer\nversion=1f"
    );
    assert_eq!(
        parse("server.1=b:1:2|a:3:4\n").to_string(),
        "server.1=a:3:4|b:1:2:participant\nversion=0"
    );
    // A properties file: comments, other separators, a line continued, an escape, a repetition.
    let config = parse("# note\nserver.1 : a:\\\n  1:2\n!\nserver.1=\\u0062:1:2\n\nversion 3");
    assert_eq!(config.to_string(), "server.1=b:1:2:participant\nversion=3");
}

#[test]
fn lines_come_in_the_order_of_a_java_hash_map() {
    let ids = |text: String| -> Vec<i64> {
        let id = |line: &str| line.strip_prefix("server.")?.split('=').next()?.parse().ok();
        text.lines().filter_map(id).collect()
    };
    let of = |ids: &[i64]| -> String {
        ids.iter().map(|id| format!("server.{id}=a{id}:1:2\n")).collect()
    };
    // By place in a table of 16, which becomes 32 with the 13th entry.
    assert_eq!(ids(parse(&of(&[1, 2, 17, 16])).to_string()), [16, 1, 17, 2]);
    let twelve: Vec<i64> = (5..=16).collect();
    assert_eq!(ids(parse(&of(&twelve)).to_string())[..3], [16, 5, 6]);
    let thirteen: Vec<i64> = (5..=17).collect();
    assert_eq!(ids(parse(&of(&thirteen)).to_string()), thirteen);
    let long = parse(&of(&[5_000_000_000, 3, -1]));
    assert_eq!(ids(long.to_string()), [-1, 3, 5_000_000_000].map(|id: i64| id));
}

#[test]
fn a_majority_of_the_participants_decides() {
    let config = parse(&format!("{THREE}server.4=d:1:2:observer\n"));
    assert!(decides(&config, &[1, 3]));
    assert!(!decides(&config, &[2, 4, 9]), "observers and strangers have no voice");
    let four = parse("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2");
    assert!(!decides(&four, &[1, 2]));
    assert!(decides(&four, &[1, 2, 4]));
    assert_eq!(config.voters().collect::<Vec<_>>(), [Sid(1), Sid(2), Sid(3)]);
    assert!(config.is_observer(Sid(4)) && !config.is_voter(Sid(4)) && !config.is_voter(Sid(5)));
}

/// Three groups of three, the last of which weighs nothing.
fn hierarchy() -> QuorumVerifier {
    let servers: String = (1..=9).map(|id| format!("server.{id}=h:{id}:1{id}\n")).collect();
    parse(&format!(
        "{servers}group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\n\
         weight.1=3\nweight.7=0\nweight.8=0\nweight.9=0\nversion=7"
    ))
}

#[test]
fn groups_decide_by_weight_and_weightless_ones_not_at_all() {
    let config = hierarchy();
    assert!(decides(&config, &[1, 4, 5]), "server 1 outweighs its group alone");
    assert!(!decides(&config, &[2, 3, 4, 5, 6]), "2 of 5 is no half of group 1");
    assert!(!decides(&config, &[1, 7, 8, 9]), "a group without weight is not one of the groups");
    assert!(!decides(&config, &[1, 4]), "one of three is no half of group 2");
    assert!(!decides(&config, &[]));
    assert_eq!((config.weight(Sid(1)), config.weight(Sid(9))), (Some(3), Some(0)));
    assert_eq!(config.weight(Sid(10)), None);
}

#[test]
fn groups_are_written_as_java_writes_them() {
    let config = hierarchy();
    let text = config.to_string();
    assert!(text.ends_with(
        "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\nweight.1=3\nweight.2=1\nweight.3=1\n\
         weight.4=1\nweight.5=1\nweight.6=1\nweight.7=0\nweight.8=0\nweight.9=0\nversion=7"
    ));
    assert_eq!(parse(&text), config);
}

#[test]
fn equality_is_javas() {
    let config = parse(&format!("{THREE}version=5"));
    assert!(config.agrees_with(&parse(&format!("{THREE}version=6"))));
    let moved = THREE.replace("24122", "24129");
    assert!(!config.agrees_with(&parse(&format!("{moved}version=6"))));
    assert!(config.agrees_with(&parse(&format!("{moved}version=5"))), "a version names one config");
    assert!(!config.agrees_with(&parse(&format!("{THREE}server.4=d:1:2\nversion=6"))));
    let observer = THREE.replace("24143:participant", "24143:observer");
    assert!(!config.agrees_with(&parse(&format!("{observer}version=6"))));
    assert!(!hierarchy().agrees_with(&config));
    let weighed = parse(&hierarchy().to_string().replace("weight.1=3", "weight.1=4"));
    assert!(!hierarchy().agrees_with(&weighed.with_version(8)));
    // Names are compared as names, in any case and order.
    let one = parse("server.1=A.example:1:2|b:3:4;c:5\nversion=1");
    assert!(one.agrees_with(&parse("server.1=b:3:4|a.EXAMPLE:1:2;C:5\nversion=2")));
    assert!(!one.agrees_with(&parse("server.1=b:3:4|a.example:1:2;c:6\nversion=2")));
}

#[test]
fn a_static_client_address_is_no_part_of_the_text() {
    let mut server = QuorumServer::parse(Sid(1), "a:1:2;b:3", false).unwrap();
    assert_eq!(server.to_string(), "a:1:2:participant;b:3");
    server.client_is_static = true;
    assert_eq!(server.to_string(), "a:1:2:participant");
    let election: Vec<_> = server.election_addresses().collect();
    assert_eq!(election, [Address { host: "a".into(), port: 2 }]);
    assert_eq!(server.quorum_addresses().next().unwrap().port, 1);
}

#[test]
fn what_is_no_configuration_is_refused_with_its_reason() {
    for (text, part) in [
        ("", "no participant"),
        ("server.1=a:1:2:observer", "no participant"),
        ("server.1=a:1", "must be host:port:electionPort"),
        ("server.1=a:1:2;3;4", "must be host:port:electionPort"),
        ("server.1=[::1:1:2", "must be host:port:electionPort"),
        ("server.1=a:1:70000", "must be host:port:electionPort"),
        ("server.1=a:1:1", "must differ"),
        ("server.1=a:1:2:leader", "participant or observer"),
        ("server.1=a:1:2|b:1:2", "multiAddress.enabled"),
        ("server.x=a:1:2", "is not a number"),
        ("server.1=a:1:2\nversion=zz", "version: \"zz\" is not a number"),
        ("server.1=a:1:2\ntickTime=5", "\"tickTime\": only server"),
        ("server.1=a:1:2\ngroup=1", "\"group\": only server"),
        ("server.1=a:1:2\ngroup.1=1:1", "more than one group"),
        ("server.1=a:1:2\ngroup.1=2\nweight.2=1", "server.1 is in no group"),
        ("server.1=a:1:2\ngroup.1=1:2", "server.2 is in a group"),
        ("server.1=a:1:2\ngroup.1=1\nweight.1=-1", "is not a number"),
        ("server.1=a:1:2\ngroup.1=1\nweight.1=99999999999999", "is not a number"),
        ("server.1=\\u12", "four hexadecimal digits"),
    ] {
        assert!(error(text).contains(part), "{text:?}: {}", error(text));
    }
    assert_eq!(error(&"#".repeat(CONFIG_TEXT_BYTES_MAX + 1)), ConfigError::TooLong.to_string());
    assert!(error(&format!("server.1={}", "x".repeat(9_000))).len() < 300);
}

#[test]
fn while_a_change_is_under_way_both_configurations_decide() {
    let old = Arc::new(parse(&format!("{THREE}version=1")));
    let new = "server.3=a:1:2\nserver.4=b:1:2\nserver.5=c:1:2\nversion=2";
    let mut both = Membership::new(Arc::clone(&old), Some(Arc::new(parse(new))));
    let decides = |both: &Membership, sids: &[i64]| both.is_quorum(|sid| sids.contains(&sid.0));
    assert!(!decides(&both, &[1, 2, 3]) && !decides(&both, &[3, 4, 5]));
    assert!(decides(&both, &[2, 3, 4]));
    assert_eq!(both.voters().len(), 5);
    assert!(both.is_voter(Sid(5)));
    // An older one seen long ago has no say, but its servers are still heard.
    let stale = Membership::new(Arc::new(parse(new)), Some(Arc::clone(&old)));
    assert!(decides(&stale, &[4, 5]) && stale.is_voter(Sid(1)));
    both.commit(Arc::new(parse(new)));
    assert!(decides(&both, &[4, 5]) && !both.is_voter(Sid(1)));
}

mod any_text {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_panics_and_what_is_read_is_written_the_same(
            text in "((server|group|weight|version|\\PC{0,3})\\.?[0-9]{0,2}[=: ]\\PC{0,20}\n?){0,6}",
        ) {
            if let Ok(config) = QuorumVerifier::parse(&text, true) {
                let written = config.to_string();
                prop_assert_eq!(QuorumVerifier::parse(&written, true).unwrap().to_string(), written);
            }
        }
    }
}
