//! ls, stat, get, and what else only looks.
//!
//! With `-w` the read leaves a watch, which is held and told of until it fires. The old way to ask
//! for one, by a second argument, still works and is told to be old.

use oxkeeper_client::Stat;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flags::Given;
use crate::path;
use crate::session::Watched;
use crate::shell::{OnPath, Shell};
use crate::show;
use crate::subtree::walk::levels;
use crate::table;

impl Shell {
    /// What became of a znode's stat: as JSON always, as text where it was asked for.
    pub fn tell_stat(&self, path: &str, stat: &Stat, asked: bool) {
        if self.json {
            self.out.json(&json!({"path": path, "stat": show::stat_json(stat)}));
        } else if asked {
            self.print_stat(stat);
        }
    }

    /// The eleven lines of a stat.
    pub fn print_stat(&self, stat: &Stat) {
        self.out.lines(show::stat_lines(stat, &self.zone));
    }

    /// Says that a second argument is no longer how a watch is asked for.
    fn deprecated(&self, given: &Given, name: &str, usage: &str) -> bool {
        let old = given.args.len() > 1;
        if old {
            self.out.note(format!(
                "'{name} path [watch]' has been deprecated. Please use '{usage}' instead."
            ));
        }
        old
    }
}

/// `ls [-s] [-w] [-R] path`.
///
/// # Errors
/// If the znode cannot be listed.
pub async fn ls(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    if given.has("-?") {
        shell.out.lines([
            "usage: ls [options] path",
            " -?   help",
            " -R   recurse",
            " -s   stat",
            " -w   watch",
        ]);
    }
    let spec = table::find("ls").ok_or_else(|| Failure::usage("ls"))?;
    let Some(path) = given.args.first() else { return Err(spec.misused()) };
    let watch = shell.deprecated(given, "ls", "ls [-w] path") || given.has("-w");
    if given.has("-R") {
        return levels(shell, path, watch).await;
    }
    let session = shell.session()?;
    let (mut names, stat) = if watch {
        let ((names, stat), event) =
            session.zk.children(path).with_stat().watch().await.on(path)?;
        session.tell(Watched::Children, path, event);
        (names, stat)
    } else {
        session.zk.children(path).with_stat().await.on(path)?
    };
    names.sort();
    if shell.json {
        let mut value = json!({"path": path, "children": names});
        if given.has("-s") {
            value["stat"] = show::stat_json(&stat);
        }
        shell.out.json(&value);
        return Ok(());
    }
    shell.out.line(format!("[{}]", names.join(", ")));
    if given.has("-s") {
        shell.print_stat(&stat);
    }
    Ok(())
}

/// `stat [-w] path`.
///
/// # Errors
/// If there is no such znode.
pub async fn stat(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    let watch = shell.deprecated(given, "stat", "stat [-w] path") || given.has("-w");
    let session = shell.session()?;
    let found = if watch {
        let (found, event) = session.zk.exists(path).watch().await.on(path)?;
        session.tell(Watched::Data, path, event);
        found
    } else {
        session.zk.exists(path).await.on(path)?
    };
    let Some(stat) = found else {
        return Err(Failure::of_code(oxkeeper_client::ErrorCode::NO_NODE, path));
    };
    shell.tell_stat(path, &stat, true);
    Ok(())
}

/// `get [-s] [-w] [-b] [-x] path`.
///
/// # Errors
/// If it cannot be read.
pub async fn get(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    let watch = shell.deprecated(given, "get", "get [-s] [-w] path") || given.has("-w");
    let session = shell.session()?;
    let data = if watch {
        let (data, event) = session.zk.get(path).watch().await.on(path)?;
        session.tell(Watched::Data, path, event);
        data
    } else {
        session.zk.get(path).await.on(path)?
    };
    if given.has("--raw") {
        shell.out.bytes(data.bytes());
        return Ok(());
    }
    if shell.json {
        let mut value = json!({"path": path});
        if given.has("-b") {
            value["base64"] = data.bytes.as_deref().map_or(Value::Null, |b| show::base64(b).into());
        } else {
            show::data_json(&mut value, data.bytes.as_deref());
        }
        value["stat"] = show::stat_json(&data.stat);
        shell.out.json(&value);
        return Ok(());
    }
    // Null is shown as a word, in every form.
    let bytes = data.bytes.as_deref().unwrap_or(b"null");
    if given.has("-x") {
        let dump = show::hex_dump(bytes);
        shell.out.line(dump.join("\n"));
    } else if given.has("-b") {
        shell.out.line(show::base64(bytes));
    } else {
        shell.out.line(String::from_utf8_lossy(bytes));
    }
    if given.has("-s") {
        shell.print_stat(&data.stat);
    }
    Ok(())
}

/// `getAllChildrenNumber path`.
///
/// # Errors
/// If there is no such znode.
pub async fn count(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    let count = shell.zk()?.children_count(path).await.on(path)?;
    if shell.json {
        shell.out.json(&json!({"path": path, "count": count}));
    } else {
        shell.out.line(count.to_string());
    }
    Ok(())
}

/// `getEphemerals path`.
///
/// # Errors
/// If the server does not say.
pub async fn ephemerals(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let prefix = given.args.first().map_or("/", String::as_str);
    path::check(prefix)?;
    let mut paths = shell.zk()?.ephemerals(prefix).await.on(prefix)?;
    if shell.json {
        paths.sort();
        shell.out.json(&json!(paths));
    } else {
        shell.out.line(format!("[{}]", paths.join(", ")));
    }
    Ok(())
}

/// `sync path`.
///
/// # Errors
/// If the server could not.
pub async fn sync(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    shell.zk()?.sync(path).await.on(path)?;
    if shell.json {
        shell.out.json(&json!({"path": path, "synced": true}));
    } else {
        shell.out.line("Sync is OK");
    }
    Ok(())
}
