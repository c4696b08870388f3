//! A file's bytes, mapped where the system can and read where it cannot.

use super::CheckpointError;
use memmap2::Mmap;
use std::{fs::File, io::Read, path::Path, sync::Arc};

/// Bytes of a whole file, shared by everything that borrows from it.
#[derive(Clone)]
pub(super) struct FileBytes(Arc<Inner>);

enum Inner {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Maps a regular file; reads anything else (a pipe, a device) to its end.
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let mut file = File::open(path).map_err(CheckpointError::io("open", path))?;
        let meta = file.metadata().map_err(CheckpointError::io("read", path))?;
        if meta.is_file()
            && meta.len() > 0
            && let Ok(map) = map_file(&file)
        {
            return Ok(Self(Arc::new(Inner::Mapped(map))));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(CheckpointError::io("read", path))?;
        Ok(Self::from(bytes))
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner::Owned(bytes)))
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        match &*self.0 {
            Inner::Mapped(map) => map,
            Inner::Owned(bytes) => bytes,
        }
    }
}

/// Checkpoints are often larger than memory and mostly read once, tensor by tensor: the page cache serves them best.
#[expect(
    unsafe_code,
    reason = "mapping a file is unsafe by nature; nothing else in the crate is"
)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and lives as long as every borrow from it (`FileBytes` owns it). What remains is
    // the promise that no other process truncates or rewrites the file meanwhile, as with every mapped checkpoint
    // reader; `Checkpoint::open` passes it on to the user. Bytes are only ever read as `u8`, so any value is valid.
    unsafe { Mmap::map(file) }
}
