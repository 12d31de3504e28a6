//! One recorded connection: the bytes, in the order in which its client sent and received them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One thing that happened on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The client sent this, length included where there is one.
    Client(Vec<u8>),
    /// The server sent this frame; its content, length excluded.
    Server(Vec<u8>),
    /// The server sent this text, and it is all it sent.
    Text(String),
    /// The server closed.
    End,
}

/// A whole capture.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// What happened, in order.
    pub lines: Vec<Line>,
    /// The recorder's reading of each line.
    pub recorded: Vec<Value>,
}

impl Capture {
    /// Reads `<case>.jsonl` and the two files of bytes beside it.
    ///
    /// # Errors
    /// When they cannot be read or do not fit together.
    pub fn load(dir: &Path, case: &str) -> Result<Self> {
        let read = |suffix: &str| {
            let path = dir.join(format!("{case}.{suffix}"));
            std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
        };
        let (mut client, mut server) = (Bytes::new(read("c-s.bin")?), Bytes::new(read("s-c.bin")?));
        let order = String::from_utf8(read("jsonl")?)?;
        let mut capture = Self::default();
        for text in order.lines() {
            let recorded: Value = serde_json::from_str(text)?;
            let framed = recorded.get("off").is_some();
            let line = match recorded["dir"].as_str() {
                Some("c>s") if framed => Line::Client(client.frame(&recorded)?.to_vec()),
                Some("c>s") => Line::Client(client.rest().to_vec()),
                Some("s>c") if framed => Line::Server(server.frame(&recorded)?[4..].to_vec()),
                Some("s>c") => Line::Text(String::from_utf8_lossy(server.rest()).into_owned()),
                _ => Line::End,
            };
            capture.lines.push(line);
            capture.recorded.push(recorded);
        }
        ensure!(
            client.rest().is_empty() && server.rest().is_empty(),
            "{case}: bytes are left over"
        );
        Ok(capture)
    }
}

/// One direction's bytes, taken from the front.
struct Bytes {
    all: Vec<u8>,
    at: usize,
}

impl Bytes {
    fn new(all: Vec<u8>) -> Self {
        Self { all, at: 0 }
    }

    /// The next frame, length included; its place must be the recorded one.
    fn frame(&mut self, recorded: &Value) -> Result<&[u8]> {
        let at = self.at;
        ensure!(recorded["off"] == at, "a frame at {at} that was recorded elsewhere: {recorded}");
        let length = self.all.get(at..at + 4).context("no length is left")?;
        let length = u32::from_be_bytes(length.try_into()?);
        self.at = at + 4 + usize::try_from(length)?;
        self.all.get(at..self.at).context("the last frame is cut short")
    }

    /// All that is left.
    fn rest(&mut self) -> &[u8] {
        let from = std::mem::replace(&mut self.at, self.all.len());
        &self.all[from.min(self.at)..]
    }
}
