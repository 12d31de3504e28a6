//! `export`: a subtree as a stream, of lines of JSON or as an archive.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use oxkeeper_client::Stat;

use super::node::{Node, is_systems};
use super::walk::{Walk, Want};
use super::{archive, json};
use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::out::Out;
use crate::shell::Shell;
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

/// Where it goes: a file under another name until it is complete, or standard output.
enum Sink {
    File { part: PathBuf, file: PathBuf, out: BufWriter<File> },
    Out(Out),
}

impl Sink {
    fn open(file: Option<&str>, out: &Out) -> Result<Sink, Failure> {
        let Some(file) = file.filter(|file| *file != "-") else {
            return Ok(Sink::Out(out.clone()));
        };
        let part = PathBuf::from(format!("{file}.part"));
        let opened = File::create(&part).map_err(|error| Failure::file(part.display(), &error))?;
        Ok(Sink::File { part, file: file.into(), out: BufWriter::with_capacity(1 << 18, opened) })
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
        let Sink::File { part, file, mut out } = self else { return Ok(()) };
        let told = |at: &Path, error: &std::io::Error| Failure::file(at.display(), error);
        out.flush().map_err(|error| told(&part, &error))?;
        out.get_ref().sync_all().map_err(|error| told(&part, &error))?;
        std::fs::rename(&part, &file).map_err(|error| told(&file, &error))
    }
}

/// `export [-f json|tar] [-o file] path`.
///
/// # Errors
/// If something cannot be read or written; a file is left with `.part` behind its name.
pub async fn export(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let root = given.args[0].as_str();
    let form = form(given)?;
    let zk = shell.zk()?;
    // Only for the bar; a server before 3.6 does not know.
    let total = zk.children_count(root).await.ok().map(|count| count as u64 + 1);
    let mut sink = Sink::open(given.value("-o"), &shell.out)?;
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
