//! Writing sensitivity files: safetensors with a tensor per parameter, and how it was measured as metadata.

use crate::checkpoint::{Checkpoint, CheckpointError, OutputFormat};
use std::path::Path;
use tersor_codec::{Shard, TensorInfo};

/// Version of the files' keys and metadata.
const VERSION: &str = "1";

/// How sensitivities were measured: the metadata of their file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The estimator, such as `fisher`.
    pub estimator: String,
    /// Unit of the loss: sensitivities are in this unit per squared unit of the parameter.
    pub unit: String,
    /// Examples used; 0 if not known.
    pub samples: usize,
    /// Anything else worth keeping: batch, temperature, seed, decay.
    pub settings: Vec<(String, String)>,
}

impl Default for Recorded {
    /// Nothing but that the loss is in nats.
    fn default() -> Self {
        Self {
            estimator: String::new(),
            unit: "nats".into(),
            samples: 0,
            settings: Vec::new(),
        }
    }
}

/// Writes a sensitivity file: tensors under the names of parameters, and moments of layers under `NAME::gram` and the like.
///
/// # Errors
/// As [`Checkpoint::from_tensors`] and [`Checkpoint::save`].
pub fn write_sensitivities(
    path: &Path,
    tensors: Vec<(TensorInfo, Vec<u8>)>,
    recorded: &Recorded,
    overwrite: bool,
) -> Result<(), CheckpointError> {
    let mut metadata = vec![
        ("tersor_sensitivity".to_owned(), VERSION.to_owned()),
        ("unit".to_owned(), recorded.unit.clone()),
        ("estimator".to_owned(), recorded.estimator.clone()),
        ("samples".to_owned(), recorded.samples.to_string()),
        ("output_axis".to_owned(), "0".to_owned()),
    ];
    metadata.extend(recorded.settings.iter().cloned());
    let shard = Shard {
        metadata,
        ..Shard::default()
    };
    Checkpoint::from_tensors(tensors, vec![shard], Vec::new())?.save(
        path,
        OutputFormat::Safetensors,
        overwrite,
    )
}
