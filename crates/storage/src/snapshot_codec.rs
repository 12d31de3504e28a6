//! snappy-java's stream framing, both ways, over [`std::io`].
//!
//! `82 "SNAPPY" 00` · version i32 = 1 · compatible i32 = 1, then blocks: compressed length i32,
//! raw snappy. Big endian throughout.

use std::io::{self, Read, Write};

use crate::limits::{SNAPPY_BLOCK_BYTES, SNAPPY_BLOCK_BYTES_MAX};

pub(crate) const SNAPPY_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const SNAPPY_VERSION: i32 = 1;

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Blocks in, bytes out.
pub(crate) struct SnappyReader<R> {
    inner: R,
    decoder: snap::raw::Decoder,
    compressed: Vec<u8>,
    block: Vec<u8>,
    /// What was handed out of `block`.
    at: usize,
    begun: bool,
}

impl<R: Read> SnappyReader<R> {
    pub(crate) fn new(inner: R) -> SnappyReader<R> {
        let decoder = snap::raw::Decoder::new();
        let (compressed, block) = (Vec::new(), Vec::new());
        SnappyReader { inner, decoder, compressed, block, at: 0, begun: false }
    }

    fn read_header(&mut self) -> io::Result<()> {
        let mut header = [0; 16];
        self.inner.read_exact(&mut header)?;
        if &header[..8] != SNAPPY_MAGIC {
            return Err(invalid("no snappy-java header"));
        }
        if header[12..] != SNAPPY_VERSION.to_be_bytes() {
            return Err(invalid("unknown version of snappy-java's framing"));
        }
        self.begun = true;
        Ok(())
    }

    /// Decodes the next block; false at the end of the stream.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut len = [0; 4];
        if !read_exact_or_end(&mut self.inner, &mut len)? {
            return Ok(false);
        }
        let len = usize::try_from(i32::from_be_bytes(len)).unwrap_or(usize::MAX);
        if len > SNAPPY_BLOCK_BYTES_MAX {
            return Err(invalid("impossible length of a snappy block"));
        }
        self.compressed.clear();
        // Not resized to a length that the stream may not have.
        (&mut self.inner).take(len as u64).read_to_end(&mut self.compressed)?;
        if self.compressed.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = snap::raw::decompress_len(&self.compressed)
            .map_err(|_| invalid("damaged snappy block"))?;
        if bytes > SNAPPY_BLOCK_BYTES_MAX {
            return Err(invalid("impossible size of a snappy block"));
        }
        self.block.resize(bytes, 0);
        self.at = 0;
        self.decoder
            .decompress(&self.compressed, &mut self.block)
            .map_err(|_| invalid("damaged snappy block"))?;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.begun {
            self.read_header()?;
        }
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let n = buf.len().min(self.block.len() - self.at);
        buf[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Fills the buffer, or says no if the stream has ended. Ending inside it is an error.
fn read_exact_or_end(from: &mut impl Read, buf: &mut [u8]) -> io::Result<bool> {
    let mut len = 0;
    while len < buf.len() {
        match from.read(&mut buf[len..]) {
            Ok(0) if len == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Bytes in, blocks out.
pub(crate) struct SnappyWriter<W> {
    inner: W,
    encoder: snap::raw::Encoder,
    block: Vec<u8>,
    compressed: Vec<u8>,
    begun: bool,
}

impl<W: Write> SnappyWriter<W> {
    pub(crate) fn new(inner: W) -> SnappyWriter<W> {
        let encoder = snap::raw::Encoder::new();
        let compressed = vec![0; snap::raw::max_compress_len(SNAPPY_BLOCK_BYTES)];
        let block = Vec::with_capacity(SNAPPY_BLOCK_BYTES);
        SnappyWriter { inner, encoder, block, compressed, begun: false }
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.write_block()?;
        Ok(self.inner)
    }

    pub(crate) fn get_ref(&self) -> &W {
        &self.inner
    }

    fn write_block(&mut self) -> io::Result<()> {
        if !self.begun {
            self.inner.write_all(SNAPPY_MAGIC)?;
            self.inner.write_all(&SNAPPY_VERSION.to_be_bytes())?;
            self.inner.write_all(&SNAPPY_VERSION.to_be_bytes())?;
            self.begun = true;
        }
        if self.block.is_empty() {
            return Ok(());
        }
        let len = self
            .encoder
            .compress(&self.block, &mut self.compressed)
            .map_err(|e| io::Error::other(e.to_string()))?;
        self.inner.write_all(&(len as i32).to_be_bytes())?;
        self.inner.write_all(&self.compressed[..len])?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for SnappyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(SNAPPY_BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..n]);
        if self.block.len() == SNAPPY_BLOCK_BYTES {
            self.write_block()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
