//! Sizes of files, in the units that are usual for a network.

use crate::Result;
use crate::experiments::files::most_bytes;
use crate::graph::{Input, Network};

/// A file of a size.
#[derive(Clone, Debug)]
pub(super) struct SizedFile {
    /// Its name without extension.
    pub(super) name: String,
    /// The paper's ratio; of a language model bits of the whole file per weight.
    pub(super) size: f64,
    /// Most bytes that it has.
    pub(super) bytes: u64,
}

/// Files of some sizes, whose names are the size and something before it.
///
/// # Errors
/// [`crate::Error::Input`] for a size that makes no file.
pub(super) fn sized_files(network: &Network, before: &str, sizes: &[f64]) -> Result<Vec<SizedFile>> {
    let is_text = matches!(network.input, Input::Tokens { .. });
    let file = |&size: &f64| {
        let (unit, bytes) = if is_text {
            ("bpw", network.bytes_at_bpw(size))
        } else {
            ("ratio", network.float_bytes() / size)
        };
        Ok(SizedFile {
            name: format!("{before}{unit}-{size}"),
            size,
            bytes: most_bytes(size, bytes)?,
        })
    };
    sizes.iter().map(file).collect()
}
