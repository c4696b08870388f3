//! Where networks run.

use crate::{Error, Result};
use burn::tensor::Device;

/// A device by name: `cpu`, the framework's pure-Rust backend, or `cuda` and `cuda:N` if the program was built with the
/// feature `cuda`.
///
/// # Errors
/// [`Error::Input`] with the names that this build knows.
pub fn open_device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::flex());
    }
    #[cfg(feature = "cuda")]
    if let Some(rest) = name.strip_prefix("cuda") {
        let index = if rest.is_empty() {
            Some(0)
        } else {
            rest.strip_prefix(':').and_then(|n| n.parse().ok())
        };
        if let Some(index) = index {
            return Ok(Device::cuda(index));
        }
    }
    let known = if cfg!(feature = "cuda") {
        "cpu, cuda and cuda:N"
    } else {
        "cpu; build with `--features cuda` for an NVIDIA GPU"
    };
    Err(Error::Input(format!("no device {name:?}; there is {known}")))
}
