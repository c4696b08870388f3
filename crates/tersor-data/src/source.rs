//! Files, compressed with gzip or not.

use crate::error::{DataError, Result};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// DEFLATE makes at most 258 bytes of two bits; gzip's own header only lowers that.
const MAX_EXPANSION: u64 = 1032;
/// What to do about a file that is cut off.
const AGAIN: &str = "get the file again";

/// A file being read, decompressed if it is gzip by its first bytes.
pub(crate) struct Source {
    path: PathBuf,
    reader: Box<dyn Read>,
    /// No more bytes than these can follow; bounds what is allocated on the word of a header.
    max_left: u64,
}

/// The file of this name in the folder, or the one with `.gz` behind it.
pub(crate) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!("{name}.gz"))]
        .into_iter()
        .find(|path| path.is_file())
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let size_bytes = file.metadata().map_err(DataError::io(path))?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let is_gzip = file
            .fill_buf()
            .map_err(DataError::io(path))?
            .starts_with(&[0x1f, 0x8b]);
        let (reader, max_left): (Box<dyn Read>, u64) = if is_gzip {
            (
                Box::new(MultiGzDecoder::new(file)),
                size_bytes.saturating_mul(MAX_EXPANSION),
            )
        } else {
            (Box::new(file), size_bytes)
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            max_left,
        })
    }

    /// The next bytes, as many as the array has.
    pub(crate) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let bytes = self.bytes(N as u64, what)?;
        bytes
            .try_into()
            .map_err(|_| self.corrupt(format!("{what} is cut off")))
    }

    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: u64, what: &str) -> Result<Vec<u8>> {
        if len > self.max_left {
            let max = self.max_left;
            return Err(self.corrupt(format!(
                "{what}: {len} bytes are announced, at most {max} can follow; {AGAIN}"
            )));
        }
        let bytes = self.at_most(len)?;
        if (bytes.len() as u64) < len {
            let found = bytes.len();
            return Err(self.corrupt(format!(
                "{what}: the file ends after {found} of {len} bytes; {AGAIN}"
            )));
        }
        self.max_left -= len;
        Ok(bytes)
    }

    /// All that is left.
    ///
    /// # Errors
    /// If that is more than `limit`.
    pub(crate) fn rest(mut self, limit: u64, what: &str) -> Result<Vec<u8>> {
        let bytes = self.at_most(limit.saturating_add(1))?;
        if bytes.len() as u64 > limit {
            return Err(self.corrupt(format!("{what}: more than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Checks that nothing is left.
    pub(crate) fn end(mut self) -> Result<()> {
        if self.at_most(1)?.is_empty() {
            return Ok(());
        }
        Err(self.corrupt("bytes follow after the data that the header announces".to_owned()))
    }

    pub(crate) fn corrupt(&self, what: String) -> DataError {
        DataError::corrupt(&self.path, what)
    }

    fn at_most(&mut self, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.reader.by_ref().take(len).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            // What a damaged gzip stream gives.
            Err(error) if matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput) => {
                Err(self.corrupt(format!("compressed data: {error}; {AGAIN}")))
            }
            Err(error) => Err(DataError::io(&self.path)(error)),
        }
    }
}
