//! `export`: a subtree as a stream, of lines of JSON or as an archive.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use oxkeeper_client::{Client, Stat};

use super::node::{Node, is_systems};
use super::walk::{Walk, Want};
use super::{archive, json};
use crate::commands::write::would;
use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::out::Out;
use crate::shell::{OnPath, Shell};
use crate::show;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Tar,
}

fn form(given: &Given) -> Result<Form, Failure> {
    let by_name = given.value("-o").is_some_and(|file| file.ends_with(".tar"));
    match given.value("-f") {
        None if by_name => Ok(Form::Tar),
        None | Some("json" | "jsonl") => Ok(Form::Json),
        Some("tar") => Ok(Form::Tar),
        Some(other) => {
            Err(Failure::usage(format!("-f {other}: no such format")).hint("-f json or -f tar"))
        }
    }
}

/// The file that `-o` names, and whether what is there already may go.
#[derive(Debug, Clone)]
struct Target {
    file: PathBuf,
    overwrite: bool,
}

impl Target {
    /// `None` for standard output.
    fn of(given: &Given) -> Option<Target> {
        let file = given.value("-o").filter(|file| *file != "-")?;
        Some(Target { file: file.into(), overwrite: given.has("--overwrite") })
    }

    fn taken(&self) -> Failure {
        Failure::new(Kind::File, format!("{}: it exists already", self.file.display()))
            .hint("--overwrite replaces it; --dry-run shows what that would be")
    }

    /// True if there is a file that may be replaced; an error if there is one that may not be, or
    /// something that is no file: a device or a directory is never replaced.
    fn replaces(&self) -> Result<bool, Failure> {
        let found = match std::fs::metadata(&self.file) {
            Ok(found) => found,
            // Also a link that leads nowhere is there.
            Err(_) => match std::fs::symlink_metadata(&self.file) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(Failure::file(self.file.display(), &error)),
                Ok(found) => found,
            },
        };
        if !found.is_file() {
            let text = format!("{}: it is no regular file", self.file.display());
            return Err(Failure::new(Kind::File, text));
        }
        if self.overwrite { Ok(true) } else { Err(self.taken()) }
    }

    /// Gives the complete file its name, over what is there only if that was asked for: somebody
    /// may have made one while the export ran.
    fn name(&self, part: &Path) -> Result<(), Failure> {
        let told = |error: &std::io::Error| Failure::file(self.file.display(), error);
        if !self.overwrite {
            match std::fs::hard_link(part, &self.file) {
                Ok(()) => return std::fs::remove_file(part).map_err(|error| told(&error)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let kept = format!("the export is in {}", part.display());
                    return Err(self.taken().hint(kept));
                }
                // A file system without links: the look has to do.
                Err(_) => drop(self.replaces()?),
            }
        }
        std::fs::rename(part, &self.file).map_err(|error| told(&error))
    }
}

/// Where it goes: a file under another name until it is complete, or standard output.
enum Sink {
    File { part: PathBuf, target: Target, out: BufWriter<File> },
    Out(Out),
}

impl Sink {
    fn open(target: Option<Target>, out: &Out) -> Result<Sink, Failure> {
        let Some(target) = target else { return Ok(Sink::Out(out.clone())) };
        target.replaces()?;
        let mut part = target.file.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let opened = File::create(&part).map_err(|error| Failure::file(part.display(), &error))?;
        Ok(Sink::File { part, target, out: BufWriter::with_capacity(1 << 18, opened) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Sink::File { part, out, .. } => {
                out.write_all(bytes).map_err(|error| Failure::file(part.display(), &error))
            }
            Sink::Out(out) => {
                out.bytes(bytes);
                if out.gone() {
                    return Err(Failure::new(Kind::File, "nobody reads the export any more"));
                }
                Ok(())
            }
        }
    }

    fn close(self) -> Result<(), Failure> {
        let Sink::File { part, target, mut out } = self else { return Ok(()) };
        let told = |error: &std::io::Error| Failure::file(part.display(), error);
        out.flush().map_err(|error| told(&error))?;
        out.get_ref().sync_all().map_err(|error| told(&error))?;
        target.name(&part)
    }
}

/// `export [-f json|tar] [-o file] [--overwrite] [--dry-run] path`.
///
/// # Errors
/// If something cannot be read or written; a file is left with `.part` behind its name. If the file
/// is there already, unless it may be overwritten.
pub async fn export(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let root = given.args[0].as_str();
    let form = form(given)?;
    let target = Target::of(given);
    let zk = shell.zk()?;
    if given.has("--dry-run") {
        return dry_run(shell, &zk, root, target.as_ref()).await;
    }
    // Only for the bar; a server before 3.6 does not know.
    let total = zk.children_count(root).await.ok().map(|count| count as u64 + 1);
    let mut sink = Sink::open(target, &shell.out)?;
    let mut progress = Progress::new(&shell.out, total);
    let mut walk = Walk::new(&zk, root, Want::Whole, None);
    let mut buffer = Vec::new();
    if form == Form::Json {
        json::head(&mut buffer, root).map_err(|error| Failure::file("head", &error))?;
    }
    while let Some(found) = walk.next().await? {
        if is_systems(root, &found.path) {
            continue;
        }
        let stat = found.stat;
        let node = Node::of(root, found);
        encode(form, &mut buffer, &node, &stat)?;
        progress.step(node.size());
        sink.write(&buffer)?;
        buffer.clear();
    }
    match form {
        Form::Json => json::end(&mut buffer, progress.count),
        Form::Tar => archive::end(&mut buffer, progress.count),
    }
    .map_err(|error| Failure::file("end", &error))?;
    sink.write(&buffer)?;
    sink.close()?;
    progress.end("exported");
    Ok(())
}

/// Says where it would go and what would be lost by it.
async fn dry_run(
    shell: &Shell,
    zk: &Client,
    root: &str,
    target: Option<&Target>,
) -> Result<(), Failure> {
    zk.get(root).await.on(root)?;
    let Some(target) = target else {
        return would(shell, "write to", "standard output", root);
    };
    let action = if target.replaces()? { "overwrite" } else { "write" };
    would(shell, action, &target.file.display().to_string(), root)
}

fn encode(form: Form, buffer: &mut Vec<u8>, node: &Node, stat: &Stat) -> Result<(), Failure> {
    match form {
        Form::Json => json::node(buffer, node, stat),
        Form::Tar => archive::node(buffer, node, stat),
    }
    .map_err(|error| Failure::file(&node.below, &error))
}

/// How far it is, on standard error if that is a terminal, ten times a second at most.
pub struct Progress {
    out: Out,
    total: Option<u64>,
    /// Znodes so far.
    pub count: u64,
    bytes: u64,
    began: Instant,
    shown: Instant,
}

impl Progress {
    /// Begins.
    pub fn new(out: &Out, total: Option<u64>) -> Progress {
        let now = Instant::now();
        Progress { out: out.clone(), total, count: 0, bytes: 0, began: now, shown: now }
    }

    /// One more.
    pub fn step(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
        if self.shown.elapsed().as_millis() >= 100 {
            self.shown = Instant::now();
            self.out.progress(&bar(self.count, self.total, self.bytes));
        }
    }

    /// Says what it came to.
    pub fn end(&self, what: &str) {
        self.out.progress("");
        let seconds = self.began.elapsed().as_secs_f64();
        let text = format!("{} znodes, {} {what}", self.count, show::size(self.bytes));
        self.out.note(format!("{text} in {seconds:.1} s"));
    }
}

fn bar(count: u64, total: Option<u64>, bytes: u64) -> String {
    const WIDTH: u64 = 30;
    let size = show::size(bytes);
    match total {
        Some(total) if total > 0 => {
            let part = count.min(total);
            let full = (part * WIDTH / total) as usize;
            let (done, left) = ("█".repeat(full), "░".repeat(WIDTH as usize - full));
            format!("{done}{left} {:3} %  {count} of {total}, {size}", part * 100 / total)
        }
        _ => format!("{count}, {size}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_at_the_end_and_never_overflows() {
        assert!(bar(5, Some(5), 0).starts_with(&"█".repeat(30)));
        assert!(bar(9, Some(5), 0).contains("100 %"), "more came than was counted");
        assert_eq!(bar(3, None, 2_048), "3, 2.0 KiB");
    }

    #[test]
    fn the_name_of_the_file_decides_unless_the_format_is_named() {
        let of = |line: &str| {
            let spec = crate::table::find("export").unwrap();
            form(&spec.parse(&crate::line::words(line)).unwrap())
        };
        assert_eq!(of("-o a.tar /"), Ok(Form::Tar));
        assert_eq!(of("-o a.tar -f json /"), Ok(Form::Json));
        assert_eq!(of("/"), Ok(Form::Json));
        assert!(of("-f zip /").is_err());
    }
}
