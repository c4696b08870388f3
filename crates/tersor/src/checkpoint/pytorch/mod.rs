//! PyTorch checkpoints: a pickle that tells how tensors are built, and storages of raw numbers.
//!
//! The pickle is read by a small machine that knows what a state dict needs and nothing else. It calls nothing: a class
//! or function that it does not know becomes an opaque object, and only matters if the weights need it.

mod assemble;
mod legacy;
mod opcode;
mod optimizer;
mod pickle;
mod rebuild;
mod state_dict;
mod tensor;
mod text;
mod training;
mod value;
mod zipped;

pub use training::{Moment, TrainedParameter, TrainingCheckpoint};

pub(super) use legacy::is_legacy;
pub(super) use zipped::{is_pickle_name, is_script_name};

use super::{
    Checkpoint, CheckpointError, ReadLimits,
    archive::{Archive, Entry},
    mapped::FileBytes,
};

/// Reads the weights of an archive.
pub(super) fn read_zip(
    archive: &Archive,
    entries: &[Entry],
    file: &str,
    limits: &ReadLimits,
) -> Result<Checkpoint, CheckpointError> {
    zipped::read_zip(archive, entries, file, limits, assemble::weights)
}

/// Reads the weights of a file of the old format.
pub(super) fn read_legacy(
    bytes: &FileBytes,
    file: &str,
    limits: &ReadLimits,
) -> Result<Checkpoint, CheckpointError> {
    legacy::read_legacy(bytes, file, limits, assemble::weights)
}

/// Whether a file is a PyTorch checkpoint of either format.
pub(super) fn detect(bytes: &FileBytes) -> bool {
    let is_zip = || {
        let entries = Archive::open(bytes.clone(), "").and_then(|archive| archive.entries(""));
        entries.is_ok_and(|entries| entries.iter().any(|entry| is_pickle_name(&entry.name)))
    };
    let all = bytes.as_ref();
    is_legacy(all) || (all.starts_with(b"PK") && is_zip())
}

/// Why a pickle is not read, before the file's name is added.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Flaw {
    Corrupt(String),
    Unsupported(String),
}

impl Flaw {
    fn in_file(self, file: &str) -> CheckpointError {
        match self {
            Self::Corrupt(what) => CheckpointError::corrupt(file, what),
            Self::Unsupported(what) => CheckpointError::unsupported(file, what),
        }
    }
}
