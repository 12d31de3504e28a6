//! create, set, delete, deleteall, edit: what changes znodes.
//!
//! Whatever deletes or overwrites has a dry run, which asks the server everything that the change
//! itself would ask, and says what would be refused.

use std::io::Read;

use oxkeeper_client::{Client, CreateMode, ErrorCode};
use serde_json::json;

use crate::acl;
use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::path;
use crate::shell::{OnPath, Shell};
use crate::show;
use crate::subtree::walk::{Walk, Want};
use crate::table;

/// The longest time to live that fits (`EphemeralType.TTL`): 40 bits of milliseconds.
const TTL_MAX_MS: i64 = 0xff_ffff_ffff;
/// The most of a file that is read as data: no server takes more.
const DATA_MAX_BYTES: u64 = 64 << 20;
/// Transactions of `deleteall` under way at a time.
const BATCHES: usize = 10;

/// `create [-s] [-e] [-c] [-t ttl] path [data] [acl]`.
///
/// # Errors
/// If the options do not go together, or the server refuses.
pub async fn create(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let (mode, ttl) = create_mode(given)?;
    let path = &given.args[0];
    if !(mode.is_sequential() && path.ends_with('/')) {
        path::check(path)?;
    }
    // A file takes the place of the data.
    let (data, acl) = match given.value("--file") {
        Some(file) => (Some(read_file(file)?), given.args.get(1)),
        None => (given.args.get(1).map(|data| data.as_bytes().to_vec()), given.args.get(2)),
    };
    let acl = match acl {
        Some(text) => {
            let (list, complaints) = acl::parse(text);
            complaints.iter().for_each(|complaint| shell.out.note(complaint));
            list
        }
        None => acl::open(),
    };
    let zk = shell.zk()?;
    let mut request = zk.create(path, data.as_deref().unwrap_or_default());
    request = request.data(data.as_deref()).mode(mode).acl(&acl[..]);
    if let Some(ttl) = ttl {
        request = request.ttl(ttl);
    }
    if given.has("-p") {
        request = request.parents();
    }
    let created = match request.await {
        Ok(created) => created,
        Err(error) if acl.is_empty() && error.code() == Some(ErrorCode::INVALID_ACL) => {
            // The Java client refuses it itself, and knows no path then.
            shell.out.note("KeeperErrorCode = InvalidACL");
            return Err(Failure::of_code(ErrorCode::INVALID_ACL, "null"));
        }
        Err(error) => {
            match error.code() {
                Some(ErrorCode::INVALID_ACL) => {
                    shell.out.note(format!("KeeperErrorCode = InvalidACL for {path}"));
                }
                Some(ErrorCode::EPHEMERAL_ON_LOCAL_SESSION) => {
                    shell.out.note("Unable to create ephemeral node on a local session");
                }
                _ => {}
            }
            let failure = Failure::of(&error, path);
            return Err(match failure.kind {
                Kind::NoNode => failure.hint("its parent is missing: create -p creates it too"),
                _ => failure,
            });
        }
    };
    if shell.json {
        shell.out.json(&json!({"created": created.path}));
    } else {
        shell.out.note(format!("Created {}", created.path));
    }
    Ok(())
}

fn create_mode(given: &Given) -> Result<(CreateMode, Option<std::time::Duration>), Failure> {
    let [e, s, c, t] = ["-e", "-s", "-c", "-t"].map(|flag| given.has(flag));
    if c && (e || s) {
        return Err(Failure::usage(
            "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
        ));
    }
    let ttl_ms: Option<i64> = match given.value("-t") {
        Some(text) => {
            let wrong = |_| Failure::usage("-t argument must be a long value");
            Some(text.parse().map_err(wrong)?)
        }
        None => None,
    };
    if t && e {
        return Err(Failure::usage("TTLs cannot be used with Ephemeral znodes"));
    }
    if t && c {
        return Err(Failure::usage("TTLs cannot be used with Container znodes"));
    }
    if ttl_ms.is_some_and(|ms| !(1..=TTL_MAX_MS).contains(&ms)) {
        return Err(Failure::usage(format!(
            "ttl must be positive and cannot be larger than: {TTL_MAX_MS}"
        ))
        .hint("-t is in milliseconds"));
    }
    let mode = match (e, s, c, t) {
        (true, true, ..) => CreateMode::EphemeralSequential,
        (true, ..) => CreateMode::Ephemeral,
        (_, true, _, true) => CreateMode::PersistentSequentialTtl,
        (_, true, ..) => CreateMode::PersistentSequential,
        (_, _, true, _) => CreateMode::Container,
        (_, _, _, true) => CreateMode::PersistentTtl,
        _ => CreateMode::Persistent,
    };
    Ok((mode, ttl_ms.map(|ms| std::time::Duration::from_millis(ms.unsigned_abs()))))
}

/// A file's bytes, or those of standard input.
fn read_file(file: &str) -> Result<Vec<u8>, Failure> {
    let told = |error: std::io::Error| Failure::file(file, &error);
    let mut bytes = Vec::new();
    let read = if file == "-" {
        std::io::stdin().lock().take(DATA_MAX_BYTES).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).map_err(told)?.take(DATA_MAX_BYTES).read_to_end(&mut bytes)
    };
    read.map_err(told)?;
    Ok(bytes)
}

/// `set path data [-s] [-v version] [-b]`.
///
/// # Errors
/// If the data cannot be read, or the server refuses.
pub async fn set(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let spec = table::find("set").ok_or_else(|| Failure::usage("set"))?;
    let mut data = match (given.value("--file"), given.args.get(1)) {
        (Some(file), _) => read_file(file)?,
        (None, Some(text)) => text.as_bytes().to_vec(),
        (None, None) => return Err(spec.misused()),
    };
    let path = &given.args[0];
    if given.has("-b") {
        let text = String::from_utf8_lossy(&data);
        data = show::from_base64(text.trim_end()).map_err(|error| {
            Failure::usage(format!("-b: {error}"))
                .hint("with -b the data is base64, as get -b shows it")
        })?;
    }
    let version: Option<i32> = given.number("-v")?;
    path::check(path)?;
    let zk = shell.zk()?;
    if given.has("--dry-run") {
        let stat = zk.exists(path).await.on(path)?;
        let stat = stat.ok_or_else(|| Failure::of_code(ErrorCode::NO_NODE, path))?;
        check_version(version, stat.version, path)?;
        return would(shell, "set", path, &becomes(&stat, data.len()));
    }
    let request = zk.set(path, &data);
    let stat = match version {
        Some(version) => request.version(version).await,
        None => request.await,
    }
    .on(path)?;
    shell.tell_stat(path, &stat, given.has("-s"));
    Ok(())
}

/// What data of this length makes of a znode.
fn becomes(stat: &oxkeeper_client::Stat, length: usize) -> String {
    format!(
        "{} become {}, version {}",
        show::size(u64::from(stat.data_length.unsigned_abs())),
        show::size(length as u64),
        stat.version.wrapping_add(1),
    )
}

/// What a dry run would have been refused for.
///
/// # Errors
/// If the version is another.
pub fn check_version(wanted: Option<i32>, found: i32, path: &str) -> Result<(), Failure> {
    if wanted.is_some_and(|wanted| wanted != -1 && wanted != found) {
        return Err(
            Failure::of_code(ErrorCode::BAD_VERSION, path).hint(format!("its version is {found}"))
        );
    }
    Ok(())
}

/// Says what would be done, to people or programs.
///
/// # Errors
/// None; the result is that of a command that did it.
pub fn would(shell: &Shell, action: &str, path: &str, how: &str) -> Result<(), Failure> {
    if shell.json {
        shell.out.json(&json!({"would": action, "path": path, "how": how}));
    } else if how.is_empty() {
        shell.out.line(format!("would {action} {path}"));
    } else {
        shell.out.line(format!("would {action} {path} ({how})"));
    }
    Ok(())
}

/// `delete [-v version] path`.
///
/// # Errors
/// If the server refuses.
pub async fn delete(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    if given.args.len() > 1 {
        shell.out.note(
            "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' \
             instead.",
        );
    }
    let version: Option<i32> = given.number("-v")?;
    let zk = shell.zk()?;
    if given.has("--dry-run") {
        let (children, stat) = zk.children(path).with_stat().await.on(path)?;
        check_version(version, stat.version, path)?;
        if !children.is_empty() {
            return Err(Failure::of_code(ErrorCode::NOT_EMPTY, path));
        }
        return would(shell, "delete", path, &describe(&stat));
    }
    let request = zk.delete(path);
    match version {
        Some(version) => request.version(version).await,
        None => request.await,
    }
    .on(path)?;
    done(shell, "deleted", path);
    Ok(())
}

/// What a znode is, in a few words.
pub fn describe(stat: &oxkeeper_client::Stat) -> String {
    let size = show::size(u64::from(stat.data_length.unsigned_abs()));
    format!("{}, {size}, version {}", show::mode(stat), stat.version)
}

/// ZooKeeper's shell is silent when all went well; programs are told.
fn done(shell: &Shell, what: &str, path: &str) {
    if shell.json {
        shell.out.json(&json!({what: path}));
    }
}

/// `deleteall path [-b batch size]`.
///
/// # Errors
/// If something is left.
pub async fn delete_all(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let batch: usize = match given.value("-b") {
        Some(text) => {
            let wrong = |_| Failure::usage("-b argument must be an int value");
            usize::try_from(text.parse::<i32>().map_err(wrong)?).unwrap_or(0)
        }
        None => 1_000,
    };
    let path = given.args[0].clone();
    path::check(&path)?;
    let zk = shell.zk()?;
    let mut walk = Walk::new(&zk, &path, Want::Stat, None);
    if given.has("--dry-run") {
        let mut count = 0_u64;
        while let Some(found) = walk.next().await? {
            would(shell, "delete", &found.path, &describe(&found.stat))?;
            count += 1;
        }
        shell.out.note(format!("{count} znodes would be deleted"));
        return Ok(());
    }
    let mut paths = Vec::new();
    while let Some(found) = walk.next().await? {
        paths.push(found.path);
    }
    let count = paths.len();
    let whole = if batch == 0 {
        // One by one, the leaves first; the first refusal ends it.
        for path in paths.iter().rev() {
            zk.delete(path).await.on(path)?;
        }
        true
    } else {
        delete_batches(&zk, &paths, batch).await?
    };
    if !whole {
        // Its shell goes on as if nothing had happened; ours does not call that done.
        return Err(Failure::new(Kind::Partly, "Failed to delete some node(s) in the subtree!")
            .hint("-b 0 deletes one by one and names the one that is refused"));
    }
    if shell.json {
        shell.out.json(&json!({"deleted": path, "count": count}));
    }
    Ok(())
}

/// Deletes in transactions, several under way at a time, children before parents.
async fn delete_batches(zk: &Client, paths: &[String], batch: usize) -> Result<bool, Failure> {
    let mut under_way = std::collections::VecDeque::new();
    let mut left = paths;
    while !left.is_empty() || !under_way.is_empty() {
        if !left.is_empty() && under_way.len() < BATCHES {
            let (rest, now) = left.split_at(left.len().saturating_sub(batch));
            left = rest;
            let multi = now.iter().rev().fold(zk.multi(), |multi, path| multi.delete(path));
            under_way.push_back(multi.send());
            continue;
        }
        let Some(reply) = under_way.pop_front() else { break };
        match reply.await {
            Ok(_) => {}
            Err(error) if error.multi().is_some() => return Ok(false),
            Err(error) => return Err(Failure::of(&error, "")),
        }
    }
    Ok(true)
}

/// `edit path`.
///
/// # Errors
/// If the editor fails, or somebody else changed the data meanwhile; what was typed is kept then.
pub async fn edit(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    let zk = shell.zk()?;
    let before = zk.get(path).await.on(path)?;
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|editor| !editor.trim().is_empty())
        .unwrap_or_else(|| "vi".to_owned());
    let name = path::name(path).replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "_");
    let file = std::env::temp_dir().join(format!("oxkeeper-{}-{name}", std::process::id()));
    let told = |error: std::io::Error| Failure::file(file.display(), &error);
    write_private(&file, before.bytes()).map_err(told)?;
    // The editor's words may have options: EDITOR="code --wait".
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("exec {editor} \"$1\""), "sh"]).arg(&file);
    // Elsewhere, because the session has to be kept alive meanwhile.
    let status = tokio::task::spawn_blocking(move || command.status())
        .await
        .map_err(std::io::Error::other)
        .and_then(|status| status)
        .map_err(|error| Failure::file(&editor, &error))?;
    let after = std::fs::read(&file).map_err(told)?;
    if !status.success() {
        return Err(Failure::new(Kind::File, format!("{editor} ended with {status}"))
            .hint(format!("nothing was changed; the text is in {}", file.display())));
    }
    if after == before.bytes() {
        let _ = std::fs::remove_file(&file);
        shell.out.note("unchanged");
        return Ok(());
    }
    if given.has("--dry-run") {
        let _ = std::fs::remove_file(&file);
        let stat = zk.exists(path).await.on(path)?;
        let stat = stat.ok_or_else(|| Failure::of_code(ErrorCode::NO_NODE, path))?;
        check_version(Some(before.stat.version), stat.version, path)?;
        return would(shell, "set", path, &becomes(&stat, after.len()));
    }
    match zk.set(path, &after).version(before.stat.version).await {
        Ok(stat) => {
            let _ = std::fs::remove_file(&file);
            if shell.json {
                shell.out.json(&json!({"path": path, "stat": show::stat_json(&stat)}));
            } else {
                shell.out.note(format!("{path} is at version {} now", stat.version));
            }
            Ok(())
        }
        Err(error) => Err(Failure::of(&error, path).hint(format!(
            "{} what you wrote is in {}",
            if error.is_bad_version() { "somebody else changed it meanwhile;" } else { "not set;" },
            file.display()
        ))),
    }
}

/// A new file that nobody else can read.
fn write_private(file: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let _ = std::fs::remove_file(file);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(file)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(line: &str) -> Result<CreateMode, String> {
        let spec = table::find("create").unwrap();
        let given = spec.parse(&crate::line::words(line)).unwrap();
        create_mode(&given).map(|(mode, _)| mode).map_err(|failure| failure.message)
    }

    #[test]
    fn options_of_create_make_a_mode() {
        assert_eq!(mode("/a"), Ok(CreateMode::Persistent));
        assert_eq!(mode("-es /a"), Ok(CreateMode::EphemeralSequential));
        assert_eq!(mode("-s -t 5 /a"), Ok(CreateMode::PersistentSequentialTtl));
        assert_eq!(mode("-c /a"), Ok(CreateMode::Container));
        assert_eq!(mode("-t 5 -e /a").unwrap_err(), "TTLs cannot be used with Ephemeral znodes");
        let bound = "ttl must be positive and cannot be larger than: 1099511627775";
        assert_eq!(mode("-t 0 /a").unwrap_err(), bound);
        assert_eq!(mode("-t 1099511627776 /a").unwrap_err(), bound);
        assert_eq!(mode("-t 1099511627775 /a"), Ok(CreateMode::PersistentTtl));
    }

    #[test]
    fn a_dry_run_refuses_what_the_server_would() {
        assert!(check_version(Some(3), 3, "/a").is_ok());
        assert!(check_version(Some(-1), 3, "/a").is_ok() && check_version(None, 3, "/a").is_ok());
        assert_eq!(check_version(Some(2), 3, "/a").unwrap_err().kind, Kind::BadVersion);
    }
}
