//! `import`: what was exported becomes znodes.
//!
//! Either form is read as a stream. A path in a file leads nowhere but below the path that was
//! named, because it is checked like any other.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};

use super::archive::{Entries, is_archive};
use super::export::Progress;
use super::json::Lines;
use super::node::Node;
use super::plant::{Leave, Planter};
use crate::failure::Failure;
use crate::flags::Given;
use crate::path;
use crate::shell::Shell;

/// Either form, told apart by its first bytes.
enum Source {
    Json(Lines<BufReader<Box<dyn Read>>>),
    Tar(Entries<BufReader<Box<dyn Read>>>),
}

impl Source {
    fn open(file: &str) -> Result<Source, Failure> {
        let told = |error: std::io::Error| Failure::file(file, &error);
        let from: Box<dyn Read> = match file {
            "-" => Box::new(stdin()),
            file => Box::new(File::open(file).map_err(told)?),
        };
        let mut from = BufReader::with_capacity(1 << 18, from);
        // A pipe may give less at first; a line of JSON begins with a brace.
        if from.fill_buf().map_err(told)?.first() == Some(&b'{') {
            return Ok(Source::Json(Lines::open(from)?));
        }
        let mut start = vec![0; 262];
        let mut got = 0;
        while got < start.len() {
            match from.read(&mut start[got..]).map_err(told)? {
                0 => break,
                read => got += read,
            }
        }
        start.truncate(got);
        if !is_archive(&start) {
            let error = std::io::Error::other("neither lines of JSON nor an archive of export");
            return Err(told(error));
        }
        let whole: Box<dyn Read> = Box::new(std::io::Cursor::new(start).chain(from));
        Ok(Source::Tar(Entries::new(BufReader::with_capacity(1 << 18, whole))))
    }

    fn next_node(&mut self) -> Result<Option<Node>, Failure> {
        match self {
            Source::Json(lines) => lines.next_node(),
            Source::Tar(entries) => entries.next_node(),
        }
    }
}

/// `import [--overwrite] [--dry-run] [--no-acl] file path`.
///
/// # Errors
/// If the file is no export or damaged, or something cannot be created; what was created until
/// then stays.
pub async fn import(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let target = given.args[1].as_str();
    path::check(target)?;
    let leave = Leave {
        overwrite: given.has("--overwrite"),
        dry_run: given.has("--dry-run"),
        open_acl: given.has("--no-acl"),
    };
    let mut source = Source::open(&given.args[0])?;
    let mut planter = Planter::new(&shell.zk()?, target, leave);
    let mut progress = Progress::new(&shell.out, None);
    while let Some(node) = source.next_node()? {
        progress.step(node.size());
        planter.plant(shell, node).await?;
    }
    planter.finish().await?;
    shell.out.progress("");
    planter.tell(shell);
    Ok(())
}
