//! Files made from a trained network and nothing else.

use super::sizes::{SizedFile, sized_files};
use crate::experiments::files::{ExperimentTask, FileSpec, Recipe};
use crate::experiments::split::Split;
use crate::graph::{Input, Network};
use crate::{Error, Parameters, Result};
use tersor::checkpoint::Checkpoint;
use tersor::options::{CompressOptions, Target};
use tersor_codec::Coder;

/// What `tersor compress --size` makes of the weights as they are: no sensitivities, no moments, nothing folded or repaired.
pub struct NoData {
    original: Parameters,
    checkpoint: Checkpoint,
    files: Vec<SizedFile>,
    split: Split,
}

/// Ratios of the paper, and bits per weight of language models.
const RATIOS: [f64; 4] = [8.0, 10.0, 13.0, 18.0];
const BITS: [f64; 3] = [4.0, 5.0, 6.0];

fn sizes(network: &Network) -> &'static [f64] {
    match network.input {
        Input::Tokens { .. } => &BITS,
        Input::Image(_) => &RATIOS,
    }
}

impl NoData {
    /// Files of some sizes, or of usual ones if there are none: ratios, or bits per weight of a language model.
    ///
    /// # Errors
    /// [`Error::Input`] for a size that makes no file.
    pub fn new(task: &ExperimentTask<'_>, original: Parameters, ratios: &[f64]) -> Result<Self> {
        let usual = sizes(task.network);
        Ok(Self {
            checkpoint: original.to_checkpoint()?,
            files: sized_files(
                task.network,
                "no-data-",
                if ratios.is_empty() { usual } else { ratios },
            )?,
            split: Split::of(task.network, task.data),
            original,
        })
    }
}

impl Recipe for NoData {
    fn report(&self) -> &[&'static str] {
        self.split.report
    }

    fn original(&self) -> Option<&Parameters> {
        Some(&self.original)
    }

    fn files(&self) -> Vec<FileSpec> {
        let file = |file: &SizedFile| FileSpec {
            name: file.name.clone(),
            how: "without data".into(),
            settings: format!("{} bytes", file.bytes),
            seed: None,
        };
        self.files.iter().map(file).collect()
    }

    fn make(&self, task: &ExperimentTask<'_>, index: usize, _: &mut dyn FnMut(&str)) -> Result<Vec<u8>> {
        let Some(file) = self.files.get(index) else {
            return Err(Error::Internal(format!("there is no file {index}")));
        };
        let options = CompressOptions::default()
            .with_target(Target::SizeBytes(file.bytes))
            .with_coder(Some(Coder::Context));
        Ok(tersor::compress(&self.checkpoint, options, task.progress)?.bytes)
    }
}
