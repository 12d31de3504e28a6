//! Following the ensemble's membership (Curator's `EnsembleTracker`).
//!
//! `/zookeeper/config` lists the members, one `server.<id>=<ports>;<client address>` a line. Who
//! follows it finds servers that joined after the connect string was written. A membership in which
//! no member says where clients find it, as with servers that have their client port in a file of
//! their own, changes nothing.

use std::sync::Weak;

use oxkeeper_proto::Request;
use oxkeeper_proto::request::PathWatch;

use crate::core::{Answer, Call, Chroot, ConnectString, Outcome};
use crate::driver::{Registration, Shared};
use crate::error::ErrorKind;
use crate::ops::CONFIG_PATH;
use crate::reply::{Asked, Reply};
use crate::retry::pause;
use crate::watch::{Held, OneShot};

type Seen = (Option<Vec<u8>>, OneShot);

fn read(outcome: &mut Outcome, asked: &mut Asked) -> Result<Seen, ErrorKind> {
    match crate::ops::done(outcome)? {
        Answer::Data(bytes, _) => {
            let watch =
                asked.watch.take().map(|held| OneShot::new(*held)).ok_or(ErrorKind::Answer)?;
            Ok((bytes.take(), watch))
        }
        _ => Err(ErrorKind::Answer),
    }
}

/// Reads and watches until the session is over, or the server refuses for good.
pub(crate) async fn follow(session: Weak<Shared>) {
    let mut tried = 0;
    loop {
        let Some(shared) = session.upgrade() else { return };
        let request = Request::GetData(PathWatch { path: CONFIG_PATH.into(), watch: true });
        let call = Call::from(request).absolute();
        let mut registration = Registration::new(None);
        let Ok(slot) = shared.submit(call, Some(&mut registration)) else { return };
        let root = Chroot::default();
        let held = Held::new(&shared, registration.watcher, &root);
        let asked = Asked { root, watch: Some(Box::new(held)) };
        let op = oxkeeper_proto::OpCode::GET_DATA;
        let watch = match Reply::new(Ok((shared.clone(), slot)), op, CONFIG_PATH, asked, read).await
        {
            Ok((bytes, watch)) => {
                let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default());
                if let Some(hosts) = hosts(&text) {
                    tracing::debug!(?hosts, "members of the ensemble");
                    shared.set_hosts(&hosts);
                }
                watch
            }
            Err(error) if error.is_temporary() => {
                tried += 1;
                pause(tried).await;
                continue;
            }
            Err(_) => return,
        };
        drop(shared);
        tried = 0;
        if watch.await.is_err() {
            return;
        }
    }
}

/// Where clients find the members, if any of them says so.
fn hosts(config: &str) -> Option<ConnectString> {
    let members = config.lines().filter(|line| line.starts_with("server."));
    let hosts: Vec<String> = members.filter_map(client_address).collect();
    ConnectString::parse(&hosts.join(",")).ok()
}

/// Of `server.1=host:2888:3888:participant;0.0.0.0:2181`, what follows the last semicolon. An
/// address that means "any" is no place to dial: there the host of the first port is.
fn client_address(line: &str) -> Option<String> {
    let (_, member) = line.split_once('=')?;
    let (ports, client) = member.rsplit_once(';')?;
    let (host, port) = match client.trim().rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => ("", client.trim()),
    };
    let any = matches!(host, "" | "0.0.0.0" | "[::]" | "::" | "[0:0:0:0:0:0:0:0]");
    let own = match ports.strip_prefix('[') {
        Some(v6) => format!("[{}]", v6.split_once(']')?.0),
        None => ports.split(':').next()?.to_owned(),
    };
    Some(format!("{}:{port}", if any { &own } else { host }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_where_they_say_and_others_are_passed_over() {
        let config = "server.1=zk1:2888:3888:participant;0.0.0.0:2181\n\
                      server.2=zk2:2888:3888:participant;10.0.0.2:2182\n\
                      server.3=[fd00::3]:2888:3888:observer;2183\n\
                      server.4=zk4:2888:3888|other:2888:3888:participant;[::]:2184\n\
                      server.5=zk5:2888:3888:participant\n\
                      version=100000000";
        let expected = "zk1:2181,10.0.0.2:2182,[fd00::3]:2183,zk4:2184";
        assert_eq!(hosts(config), Some(ConnectString::parse(expected).unwrap()));
        assert_eq!(hosts("server.5=zk5:2888:3888:participant\nversion=0"), None);
        assert_eq!(hosts(""), None);
    }
}
