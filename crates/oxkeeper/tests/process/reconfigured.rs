//! An ensemble that is reconfigured while it runs: what operators ask for, what they find in their
//! files, and what a client notices of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use oxkeeper_proto::request::{AuthRequest, ReconfigRequest};
use oxkeeper_proto::{ErrorCode, OpCode, Request};

use crate::client::{Client, word};
use crate::member_words::{host, mode, wait_for};
use crate::server::{Dir, Server, Setup};

const CONFIG: &str = "/zookeeper/config";

/// Of the user `super` with the password `test`.
const SUPER_DIGEST: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

fn line(sid: u8) -> String {
    format!("server.{sid}={0}:2888:3888:participant;{0}:2181", host(sid))
}

/// Writes the files of a member that is told of these, and starts it.
fn start(sid: u8, members: &[u8]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/myid"), sid.to_string()).unwrap();
    let mut file = format!(
        "dataDir={}\ntickTime=2000\ninitLimit=10\nsyncLimit=5\nreconfigEnabled=true\n\
         4lw.commands.whitelist=*\n\
         zookeeper.DigestAuthenticationProvider.superDigest={SUPER_DIGEST}\n",
        dir.path().join("data").display()
    );
    for sid in members {
        file += &format!("{}\n", line(*sid));
    }
    fs::write(dir.path().join("zoo.cfg"), file).unwrap();
    again(Dir::New(dir))
}

fn again(dir: Dir) -> Server {
    Setup::of_file(&dir.path().join("zoo.cfg")).start_in(dir)
}

fn change<'a>(joining: Option<&'a str>, leaving: Option<&'a str>, version: i64) -> Request<'a> {
    Request::Reconfig(ReconfigRequest {
        joining: joining.map(Into::into),
        leaving: leaving.map(Into::into),
        new_members: None,
        current_config_id: version,
    })
}

fn reconfigure(
    client: &mut Client,
    joining: Option<&str>,
    leaving: Option<&str>,
    version: i64,
) -> ErrorCode {
    client.call(OpCode::RECONFIG, &change(joining, leaving, version)).err
}

/// None while that member serves nobody.
fn superuser(server: &Server) -> Option<Client> {
    let mut client = Client::try_resume(server.addr, 30_000, Default::default()).ok()??;
    let auth = AuthRequest { kind: 0, scheme: Some("digest".into()), auth: Some(b"super:test") };
    assert_eq!(client.call(OpCode::AUTH, &Request::Auth(auth)).err, ErrorCode::OK);
    Some(client)
}

/// The configuration that a member serves, without the version, and that.
fn served(server: &Server) -> Option<(Vec<String>, i64)> {
    let mut client = Client::try_resume(server.addr, 30_000, Default::default()).ok()??;
    let text = String::from_utf8(client.get(CONFIG).ok()?).unwrap();
    let (members, version) = text.rsplit_once("\nversion=")?;
    let version = i64::from_str_radix(version, 16).unwrap();
    Some((members.lines().map(str::to_owned).collect(), version))
}

/// All files beside the data, by name.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            Some((name, fs::read_to_string(entry.path()).ok()?))
        })
        .collect()
}

/// Waits until these serve a configuration of these members, the same for all; its version.
fn agree_on(servers: &[&Server], members: &[u8]) -> i64 {
    let expected: Vec<String> = members.iter().map(|sid| line(*sid)).collect();
    let versions = servers
        .iter()
        .map(|server| wait_for(|| served(server).filter(|(lines, _)| *lines == expected)).1);
    let versions: Vec<i64> = versions.collect();
    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]), "{versions:x?}");
    versions[0]
}

/// Waits until a member's files say so, too: the dynamic file by its version, the static one
/// pointing there, nothing under way.
fn is_written(server: &Server, members: &[u8], version: i64) {
    let lines: Vec<String> = members.iter().map(|sid| line(*sid)).collect();
    let name = format!("zoo.cfg.dynamic.{version:x}");
    let files = wait_for(|| {
        let files = files(server.data_dir());
        let points = files["zoo.cfg"].contains(&format!("/{name}\n"))
            || files["zoo.cfg"].ends_with(&format!("/{name}"));
        (points && !files.contains_key("zoo.cfg.dynamic.next")).then_some(files)
    });
    assert_eq!(files[&name], lines.join("\n"));
    assert!(!files["zoo.cfg"].contains("server."), "{}", files["zoo.cfg"]);
    assert!(files["zoo.cfg.bak"].contains("server.21="), "as the operator wrote it");
}

#[test]
fn members_come_and_go_while_clients_go_on() {
    let three = [21, 22, 23];
    let mut servers: Vec<Server> = three.iter().map(|sid| start(*sid, &three)).collect();
    let modes: Vec<String> = servers.iter().map(|server| wait_for(|| mode(server))).collect();
    let leads = modes.iter().position(|mode| mode == "leader").expect("one leads");
    let first = agree_on(&servers.iter().collect::<Vec<_>>(), &three);
    assert_eq!(first & 0xffff_ffff, 0, "the beginning of the epoch: {first:x}");
    servers.iter().for_each(|server| is_written(server, &three, first));

    // Who may, and what is refused.
    let follower = (leads + 1) % 3;
    let mut anybody = Client::connect(servers[follower].addr, 30_000);
    assert_eq!(reconfigure(&mut anybody, None, Some("22"), -1), ErrorCode::NO_AUTH);
    let mut client = superuser(&servers[follower]).expect("it serves");
    assert_eq!(reconfigure(&mut client, None, Some("22"), first + 1), ErrorCode::BAD_VERSION);
    assert_eq!(reconfigure(&mut client, None, Some("22,23"), -1), ErrorCode::BAD_ARGUMENTS);
    let absent = format!("{},{},{}", line(24), line(25), line(26));
    let refused = reconfigure(&mut client, Some(&absent), Some("21"), -1);
    assert_eq!(refused, ErrorCode::NEW_CONFIG_NO_QUORUM);
    assert!(anybody.create_ephemeral("/e").err.is_ok());

    // A stranger comes in, is given everything, and counts when it is told to.
    let four = [21, 22, 23, 24];
    servers.push(start(24, &four));
    wait_for(|| {
        let mut reader = Client::try_resume(servers[3].addr, 30_000, Default::default()).ok()??;
        reader.get("/e").ok()
    });
    assert_eq!(agree_on(&servers.iter().collect::<Vec<_>>(), &three), first, "not a member yet");
    assert_eq!(reconfigure(&mut client, Some(&line(24)), None, first), ErrorCode::OK);
    let second = agree_on(&servers.iter().collect::<Vec<_>>(), &four);
    assert!(second > first);
    servers.iter().for_each(|server| is_written(server, &four, second));

    // The leader leaves; another leads, and nobody's session ends.
    let gone = three[leads];
    client.send(OpCode::RECONFIG, &change(None, Some(&gone.to_string()), second));
    // The followers leave with it, and may take the answer along.
    assert!(client.receive().map_or(true, |reply| reply.err.is_ok()));
    let removed = servers.remove(leads);
    let left: Vec<u8> = four.into_iter().filter(|sid| *sid != gone).collect();
    wait_for(|| servers.iter().any(|s| mode(s).as_deref() == Some("leader")).then_some(()));
    let third = agree_on(&servers.iter().collect::<Vec<_>>(), &left);
    servers.iter().for_each(|server| is_written(server, &left, third));
    drop(removed);
    let mut anybody = wait_for(|| {
        let at = servers[0].addr;
        Client::try_resume(at, 30_000, anybody.session).ok().map(|client| client.expect("it lives"))
    });
    assert!(anybody.get("/e").is_ok());

    // A client port moves, while it is asked.
    let moved = format!("server.24={0}:2888:3888:participant;{0}:2182", host(24));
    let mut client = wait_for(|| superuser(&servers[0]));
    assert_eq!(reconfigure(&mut client, Some(&moved), None, third), ErrorCode::OK);
    let last = servers.last_mut().expect("three of them");
    let old = last.addr;
    last.addr = SocketAddr::new(old.ip(), 2182);
    wait_for(|| TcpStream::connect(last.addr).ok());
    assert!(word(last.addr, "srvr").contains("Mode: "));
    wait_for(|| TcpStream::connect(old).is_err().then_some(()));
    assert_eq!(reconfigure(&mut client, Some(&line(24)), None, -1), ErrorCode::OK);
    let fourth = agree_on(&servers[..2].iter().collect::<Vec<_>>(), &left);

    // What was written is what they start with.
    let dirs: Vec<Dir> = servers.into_iter().map(Server::kill).collect();
    let servers: Vec<Server> = dirs.into_iter().map(again).collect();
    servers.iter().for_each(|server| drop(wait_for(|| mode(server))));
    assert_eq!(agree_on(&servers.iter().collect::<Vec<_>>(), &left), fourth);
    let conf = word(servers[0].addr, "conf");
    assert!(conf.ends_with(&format!("version={fourth:x}")), "{conf}");
}
