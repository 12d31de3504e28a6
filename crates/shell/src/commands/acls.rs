//! getAcl, setAcl, addauth, whoami: who may do what, and who we are.
//!
//! A wrong entry of an ACL is told and left out, as ZooKeeper's shell does; only a list of which
//! nothing is left is refused.

use oxkeeper_client::ErrorCode;
use serde_json::{Value, json};

use super::write::{check_version, would};
use crate::acl;
use crate::failure::Failure;
use crate::flags::Given;
use crate::shell::{OnPath, Shell};
use crate::show;
use crate::subtree::walk::Levels;

/// `getAcl [-s] path`.
///
/// # Errors
/// If it cannot be read.
pub async fn get(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    let (list, stat) = shell.zk()?.acl(path).await.on(path)?;
    if shell.json {
        let entries: Vec<Value> = list.iter().map(acl::json).collect();
        let mut value = json!({"path": path, "acl": entries});
        if given.has("-s") {
            value["stat"] = show::stat_json(&stat);
        }
        shell.out.json(&value);
        return Ok(());
    }
    for entry in &list {
        shell.out.lines(acl::lines(entry));
    }
    if given.has("-s") {
        shell.print_stat(&stat);
    }
    Ok(())
}

/// `setAcl [-s] [-v version] [-R] path acl`.
///
/// # Errors
/// If the server refuses; with `-R`, if it refuses the first or does not let us see the rest.
pub async fn set(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    let (list, complaints) = acl::parse(&given.args[1]);
    complaints.iter().for_each(|complaint| shell.out.note(complaint));
    let version: Option<i32> = given.number("-v")?;
    let zk = shell.zk()?;
    if list.is_empty() {
        return Err(Failure::of_code(ErrorCode::INVALID_ACL, "null"));
    }
    let dry = given.has("--dry-run");
    if given.has("-R") {
        let mut levels = Levels::new(&zk, path).await?;
        let mut count = 0_u64;
        while let Some(found) = levels.next().await? {
            if dry {
                change(shell, &zk, &found, &list, version).await?;
                continue;
            }
            let request = zk.set_acl(&found, &list[..]);
            let done = match version {
                Some(version) => request.version(version).await,
                None => request.await,
            };
            match done {
                Ok(_) => count += 1,
                // Told among the results, and not the end of it.
                Err(error) => match error.code() {
                    Some(code) => {
                        let text = crate::failure::exception_text(code);
                        shell.out.raw(&format!("KeeperErrorCode = {text} for {found}"));
                    }
                    None => return Err(Failure::of(&error, &found)),
                },
            }
        }
        if shell.json && !dry {
            shell.out.json(&json!({"path": path, "changed": count}));
        }
        return Ok(());
    }
    if dry {
        return change(shell, &zk, path, &list, version).await;
    }
    let request = zk.set_acl(path, &list[..]);
    let stat = match version {
        Some(version) => request.version(version).await,
        None => request.await,
    }
    .on(path)?;
    shell.tell_stat(path, &stat, given.has("-s"));
    Ok(())
}

/// What would change.
async fn change(
    shell: &Shell,
    zk: &oxkeeper_client::Client,
    path: &str,
    list: &[oxkeeper_client::Acl],
    version: Option<i32>,
) -> Result<(), Failure> {
    let (now, stat) = zk.acl(path).await.on(path)?;
    check_version(version, stat.aversion, path)?;
    if acl::same(&now, list) {
        return Ok(());
    }
    let how = format!("{} becomes {}", acl::typed(&now), acl::typed(list));
    would(shell, "set the ACL of", path, &how)
}

/// `addauth scheme auth`.
///
/// # Errors
/// If the server refuses the identity; the session is over then.
pub async fn add_auth(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let scheme = &given.args[0];
    let proof = given.args.get(1).map_or("", String::as_str);
    // ZooKeeper's shell does not wait for the answer. A refusal ends the session.
    shell.zk()?.add_auth(scheme, proof.as_bytes()).await.on("")
}

/// `whoami`.
///
/// # Errors
/// If the server does not say.
pub async fn who_am_i(shell: &mut Shell) -> Result<(), Failure> {
    let identities = shell.zk()?.whoami().await.on("")?;
    if shell.json {
        let list: Vec<Value> = identities
            .iter()
            .map(|identity| json!({"scheme": identity.scheme, "user": identity.user}))
            .collect();
        shell.out.json(&Value::Array(list));
        return Ok(());
    }
    shell.out.line("Auth scheme: User");
    for identity in identities {
        shell.out.line(format!("{}: {}", identity.scheme, identity.user));
    }
    Ok(())
}
