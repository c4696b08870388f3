//! What a training leaves: an optimizer's second moments, and often the weights beside them.

use super::{
    assemble::{Assembler, FindStorage, Origin, find_weights, state_dict},
    is_pickle_name,
    legacy::read_legacy,
    optimizer,
    pickle::Pickle,
    state_dict::Found,
    zipped::read_zip,
};
use crate::checkpoint::{Checkpoint, CheckpointError, ReadLimits, archive::Archive, mapped::FileBytes};
use std::path::Path;

/// A PyTorch checkpoint that holds the state dict of an optimizer, at the top or within four levels of dicts and lists.
///
/// It is read as all checkpoints are: no code in it is ever run.
#[derive(Debug)]
pub struct TrainingCheckpoint {
    /// The parameters in the order in which the optimizer has them.
    pub parameters: Vec<TrainedParameter>,
    /// The weights beside the optimizer, if there are any: a state dict, in the order of the model.
    pub weights: Option<Checkpoint>,
    tensors: Checkpoint,
}

/// A parameter as the state dict of an optimizer knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedParameter {
    /// Its number, or its name if states are kept under names: for messages.
    pub label: String,
    /// Its name in the model, where the file tells it.
    pub name: Option<String>,
    /// Index of its group.
    pub group: usize,
    /// The second moment of its gradient; `None` if it was never stepped, or the optimizer keeps none.
    pub moment: Option<Moment>,
}

/// A second moment of gradients as an optimizer keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// What it is called: `exp_avg_sq` (Adam and its kin), `square_avg` (`RMSprop`, Adadelta) or `sum` (Adagrad).
    pub kind: &'static str,
    /// Steps made; 0 if not known.
    pub steps: u64,
    /// What the values are divided by: 1 - beta2^steps for `exp_avg_sq`, which removes the bias of its start at 0
    /// (Kingma and Ba, "Adam", ICLR 2015, algorithm 1), the number of steps for `sum`, 1 for `square_avg`.
    pub divisor: f64,
    pub(super) tensor: usize,
}

impl TrainingCheckpoint {
    /// Opens a file with the default [`ReadLimits`].
    ///
    /// # Errors
    /// [`CheckpointError::Unsupported`] if it was not written by `torch.save`, or holds no state dict of an optimizer or several;
    /// otherwise as [`Checkpoint::open`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::from_file_bytes(&FileBytes::open(path)?, &path.to_string_lossy())
    }

    /// Reads a file in memory. `label` stands for the file name in messages.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: Vec<u8>, label: &str) -> Result<Self, CheckpointError> {
        Self::from_file_bytes(&bytes.into(), label)
    }

    fn from_file_bytes(bytes: &FileBytes, file: &str) -> Result<Self, CheckpointError> {
        let limits = ReadLimits::default();
        if !bytes.as_ref().starts_with(b"PK") {
            return read_legacy(bytes, file, &limits, training);
        }
        let archive = Archive::open(bytes.clone(), file)?;
        let entries = archive.entries(file)?;
        if !entries.iter().any(|entry| is_pickle_name(&entry.name)) {
            let what = "this zip archive has no data.pkl, so it was not written by `torch.save`";
            return Err(CheckpointError::unsupported(file, what));
        }
        read_zip(&archive, &entries, file, &limits, training)
    }

    /// Extents of a moment.
    pub fn shape(&self, moment: &Moment) -> &[u64] {
        let info = self.tensors.tensors().get(moment.tensor);
        info.map_or(&[], |info| &info.shape)
    }

    /// A moment divided by its divisor: mean squared gradients, row-major.
    ///
    /// # Errors
    /// As [`Checkpoint::to_f32`].
    pub fn values(&self, moment: &Moment) -> Result<Vec<f32>, CheckpointError> {
        let values = self.tensors.to_f32(moment.tensor)?;
        let divided = values.iter().map(|&v| (f64::from(v) / moment.divisor) as f32);
        Ok(divided.collect())
    }
}

/// Takes optimizer and weights out of a pickle.
fn training(
    pickle: &Pickle<'_>,
    origin: &Origin<'_>,
    find_storage: &mut FindStorage<'_>,
) -> Result<TrainingCheckpoint, CheckpointError> {
    let (arena, file) = (&pickle.arena, origin.file);
    let found = optimizer::find(arena, pickle.root);
    let [(_, id)] = found.as_slice() else {
        let what = if found.is_empty() {
            "it holds no state dict of an optimizer: no dict with \"state\" and \"param_groups\" within four levels; \
             save `optimizer.state_dict()`, not the optimizer itself"
                .to_owned()
        } else {
            let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
            let paths = paths.join(", ");
            format!("it holds several optimizers, {paths}; save the one that is meant in a file of its own")
        };
        return Err(CheckpointError::unsupported(file, what));
    };
    let mut assembler = Assembler::new(arena, file, find_storage);
    let parameters = optimizer::parameters(arena, *id, &mut assembler, file)?;
    let tensors = assembler.finish(origin)?;
    let weights = match find_weights(pickle) {
        Found::Weights(dict) => Some(state_dict(pickle, dict, origin, find_storage)?),
        Found::Module { .. } | Found::Nothing => None,
    };
    Ok(TrainingCheckpoint {
        parameters,
        weights,
        tensors,
    })
}
