//! Zip archives in memory: what `.npz` files and PyTorch checkpoints share.

use super::{CheckpointError, mapped::FileBytes};
use std::{
    io::{Cursor, Read},
    ops::Range,
};
use zip::{CompressionMethod, ZipArchive, result::ZipError};

/// Most bytes that one byte of deflated data can become, and slack for tiny members.
const DEFLATE_RATIO: u64 = 1032;
const DEFLATE_SLACK: u64 = 64;

/// A zip archive over a file's bytes; cheap to clone.
#[derive(Clone)]
pub(super) struct Archive {
    zip: ZipArchive<Cursor<FileBytes>>,
    bytes: FileBytes,
}

/// One member of an archive.
pub(super) struct Entry {
    pub(super) index: usize,
    pub(super) name: String,
    /// Where its bytes lie if it is stored, not deflated.
    pub(super) stored: Option<Range<usize>>,
    /// Size of its content, as claimed; held against what its compressed size allows.
    pub(super) size: u64,
}

fn damaged(file: &str, error: &ZipError) -> CheckpointError {
    CheckpointError::corrupt(file, format!("as a zip archive: {error}"))
}

impl Archive {
    pub(super) fn open(bytes: FileBytes, file: &str) -> Result<Self, CheckpointError> {
        let zip = ZipArchive::new(Cursor::new(bytes.clone())).map_err(|e| damaged(file, &e))?;
        if zip.has_duplicate_names() {
            return Err(CheckpointError::corrupt(
                file,
                "two members of the archive have the same name",
            ));
        }
        Ok(Self { zip, bytes })
    }

    pub(super) fn file_bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// The whole file.
    pub(super) fn shared_bytes(&self) -> FileBytes {
        self.bytes.clone()
    }

    /// Every file in the archive, in its order; folders are passed over.
    pub(super) fn entries(&self, file: &str) -> Result<Vec<Entry>, CheckpointError> {
        let mut zip = self.zip.clone();
        let mut entries = Vec::new();
        for index in 0..zip.len() {
            let member = zip.by_index_raw(index).map_err(|e| damaged(file, &e))?;
            let name = std::str::from_utf8(member.name_raw())
                .map_err(|_| {
                    CheckpointError::corrupt(file, format!("the name of member {index} is not UTF-8"))
                })?
                .to_owned();
            if member.is_dir() {
                continue;
            }
            if member.encrypted() {
                let what = format!("member {name:?} is encrypted; store it without a password");
                return Err(CheckpointError::unsupported(file, what));
            }
            let (packed, size) = (member.compressed_size(), member.size());
            let most = match member.compression() {
                CompressionMethod::Stored => packed,
                CompressionMethod::Deflated => {
                    packed.saturating_mul(DEFLATE_RATIO).saturating_add(DEFLATE_SLACK)
                }
                other => {
                    let what = format!("member {name:?} is compressed with {other}; only deflate is read");
                    return Err(CheckpointError::unsupported(file, what));
                }
            };
            if size > most {
                let what = format!(
                    "member {name:?} claims {size} bytes, but its {packed} packed ones hold {most} at most"
                );
                return Err(CheckpointError::corrupt(file, what));
            }
            let stored = if member.compression() == CompressionMethod::Stored {
                let range = member.data_start().and_then(|start| {
                    let range =
                        usize::try_from(start).ok()?..usize::try_from(start.checked_add(size)?).ok()?;
                    self.file_bytes().get(range.clone()).map(|_| range)
                });
                let outside =
                    || CheckpointError::corrupt(file, format!("member {name:?} ends beyond the file"));
                Some(range.ok_or_else(outside)?)
            } else {
                None
            };
            entries.push(Entry {
                index,
                name,
                stored,
                size,
            });
        }
        Ok(entries)
    }

    /// The content of a member, checked against its size and checksum. Grows with what is really there, so a false
    /// size allocates nothing; the caller has held the size against its budget.
    pub(super) fn inflate(&self, index: usize, file: &str) -> Result<Vec<u8>, CheckpointError> {
        self.read(index, file, u64::MAX)
    }

    /// The first `n` bytes of a member, or fewer if it is shorter. The checksum is not checked.
    pub(super) fn prefix(&self, index: usize, n: u64, file: &str) -> Result<Vec<u8>, CheckpointError> {
        self.read(index, file, n)
    }

    /// Checks a member against its checksum.
    pub(super) fn verify(&self, index: usize, file: &str) -> Result<(), CheckpointError> {
        let mut zip = self.zip.clone();
        let mut member = zip.by_index(index).map_err(|e| damaged(file, &e))?;
        match std::io::copy(&mut member, &mut std::io::sink()) {
            Ok(_) => Ok(()),
            Err(error) => Err(CheckpointError::corrupt(
                file,
                format!("member {index} of the archive: {error}"),
            )),
        }
    }

    fn read(&self, index: usize, file: &str, most: u64) -> Result<Vec<u8>, CheckpointError> {
        let mut zip = self.zip.clone();
        let member = zip.by_index(index).map_err(|e| damaged(file, &e))?;
        let size = member.size();
        let mut bytes = Vec::new();
        // One byte more than claimed tells a false size from a true one, and reaches the end, where the checksum is.
        match member
            .take(most.min(size.saturating_add(1)))
            .read_to_end(&mut bytes)
        {
            Ok(_) if most > size && bytes.len() as u64 != size => {
                let what =
                    format!("member {index} of the archive does not have the {size} bytes that it claims");
                Err(CheckpointError::corrupt(file, what))
            }
            Ok(_) => Ok(bytes),
            Err(error) => Err(CheckpointError::corrupt(
                file,
                format!("member {index} of the archive: {error}"),
            )),
        }
    }
}
