//! Files made from a trained network and nothing else.

use super::sizes::{SizedFile, sized_files};
use crate::experiments::files::{ExperimentTask, FileSpec, Recipe};
use crate::experiments::split::Split;
use crate::graph::{Input, Network};
use crate::{Error, Parameters, Result};
use tersor::checkpoint::Checkpoint;
use tersor::options::{CompressOptions, Target};

/// What `tersor compress --size` makes of the weights as they are: no sensitivities, no moments, nothing folded or repaired.
pub struct NoData {
    original: Parameters,
    checkpoint: Checkpoint,
    files: Vec<SizedFile>,
    split: Split,
}

/// Sizes from where hardly anything is lost to where it shows: ratios of the paper, or bits per weight of a language model.
const fn usual_sizes(network: &Network) -> &'static [f64] {
    match network.input {
        Input::Tokens { .. } => &[4.0, 5.0, 6.0],
        Input::Image(_) => &[8.0, 10.0, 13.0, 18.0],
    }
}

impl NoData {
    /// Files of some sizes, or of usual ones if there are none: ratios, or bits per weight of a language model.
    ///
    /// # Errors
    /// [`Error::Input`] for a size that makes no file.
    pub fn new(task: &ExperimentTask<'_>, original: Parameters, sizes: &[f64]) -> Result<Self> {
        let sizes = if sizes.is_empty() {
            usual_sizes(task.network)
        } else {
            sizes
        };
        Ok(Self {
            checkpoint: original.to_checkpoint()?,
            files: sized_files(task.network, "no-data-", sizes)?,
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
        let target = Target::SizeBytes(file.bytes);
        let coder = Some(target.default_coder());
        let options = CompressOptions::default().with_target(target).with_coder(coder);
        Ok(tersor::compress(&self.checkpoint, options, task.progress)?.bytes)
    }
}
