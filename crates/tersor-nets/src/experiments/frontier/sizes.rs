//! Sizes of files, in the units that are usual for a network.

use crate::Result;
use crate::experiments::files::most_bytes;
use crate::graph::{Input, Network};

/// A file of a size.
#[derive(Clone, Debug)]
pub(super) struct SizedFile {
    /// Its name without extension: its size.
    pub(super) name: String,
    /// The paper's ratio; of a language model bits of the whole file per weight.
    pub(super) size: f64,
    /// Most bytes that it has.
    pub(super) bytes: u64,
}

/// Files of some sizes, whose names have something before them.
///
/// # Errors
/// [`crate::Error::Input`] for a size that makes no file.
pub(super) fn sized_files(network: &Network, before: &str, sizes: &[f64]) -> Result<Vec<SizedFile>> {
    let n_elements: f64 = network.parameters.iter().map(|p| p.len() as f64).sum();
    let is_text = matches!(network.input, Input::Tokens { .. });
    let file = |&size: &f64| {
        let (unit, bytes) = if is_text {
            ("bpw", size * n_elements / 8.0)
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
