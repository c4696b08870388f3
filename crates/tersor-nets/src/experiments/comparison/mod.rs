//! Files of one network that differ in one thing: the paper's figures, and what its reviewers asked.

mod cells;
mod correlation;
mod expansion;
mod levels;
mod questions;

pub use correlation::Correlation;
pub use expansion::Expansion;
pub use questions::Question;

use super::estimates;
use super::files::{ExperimentTask, FileSpec, Recipe, file_name, most_bytes};
use super::record::Records;
use super::split::Split;
use crate::graph::Network;
use crate::sensitivity::{Estimate, read_sensitivities};
use crate::shared::{FinetuneOptions, finetune};
use crate::train::Schedule;
use crate::{Error, Parameters, Result, fold};
use cells::{Cell, Size};
use std::path::PathBuf;
use tersor::checkpoint::Checkpoint;
use tersor::options::Target;
use tersor_codec::{EncodeOptions, Limits, QuantizedCheckpoint};

/// A picture of some of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    /// Its name, without extension.
    pub name: String,
    /// What stands above it.
    pub caption: String,
    /// The series that are drawn, as [`FileSpec::how`] has them.
    pub series: Vec<String>,
    /// What is drawn.
    pub measure: Measure,
}

/// What a picture shows of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The share of right answers.
    Accuracy,
    /// The divergence from the original.
    Divergence,
    /// The loss that is added to the original's.
    Loss,
}

/// The files that answer a question.
pub struct Comparison {
    question: Question,
    original: Parameters,
    checkpoint: Checkpoint,
    cells: Vec<Cell>,
    split: Split,
}

impl Comparison {
    /// The files for a network: of `original`, its normalisation folded.
    ///
    /// # Errors
    /// [`Error::Input`] if the question is about other networks.
    pub fn new(task: &ExperimentTask<'_>, mut original: Parameters, question: Question) -> Result<Self> {
        Self::prepare(task.network, &mut original)?;
        Ok(Self {
            checkpoint: original.to_checkpoint()?,
            cells: question.cells(task.network)?,
            split: Split::of(task.network, task.data),
            question,
            original,
        })
    }

    /// Makes of given weights what files are made from: their normalisation is folded.
    ///
    /// # Errors
    /// As [`fold`].
    pub fn prepare(network: &Network, original: &mut Parameters) -> Result<()> {
        fold(network, original)?;
        Ok(())
    }

    /// The records of its own files among those of a folder.
    pub fn own(&self, records: &Records) -> Records {
        let files: Vec<PathBuf> = self.cells.iter().map(|c| file_name(&c.name())).collect();
        let own = records.records.iter().filter(|r| files.contains(&r.file));
        Records {
            origin: records.origin.clone(),
            records: own.cloned().collect(),
        }
    }

    /// The pictures that show the files.
    pub fn panels(&self, task: &ExperimentTask<'_>) -> Vec<Panel> {
        let mut series: Vec<String> = Vec::new();
        // Those of one size are told by a table.
        for cell in self
            .cells
            .iter()
            .filter(|c| !c.series.ends_with(questions::AT_THREE))
        {
            if !series.contains(&cell.series) {
                series.push(cell.series.clone());
            }
        }
        let (question, network) = (self.question.name(), &task.network.name);
        let panel = |part: &str, measure, series: Vec<String>| {
            let caption = [network, question, part].map(str::to_owned);
            Panel {
                name: [question, part]
                    .join("-")
                    .trim_end_matches('-')
                    .replace(", ", "-"),
                caption: caption.join(" ").trim_end().to_owned(),
                series,
                measure,
            }
        };
        if self.question != Question::Figure1 {
            let other = match self.question {
                Question::Figure2 | Question::Figure3 => Some(("accuracy", Measure::Accuracy)),
                Question::Transformer => Some(("loss", Measure::Loss)),
                _ => None,
            };
            let other = other.map(|(part, measure)| panel(part, measure, series.clone()));
            let divergence = panel("", Measure::Divergence, series);
            return other.into_iter().chain([divergence]).collect();
        }
        let of = |ending: &str| series.iter().filter(|s| s.ends_with(ending)).cloned().collect();
        let parts = ["fixed", "fixed, tuned", "huffman", "huffman, tuned"];
        parts
            .map(|part| panel(part, Measure::Accuracy, of(&format!(", {part}"))))
            .into()
    }

    /// All estimates that files are made with, each once.
    pub(super) fn estimates(&self) -> Vec<Estimate> {
        let mut estimates: Vec<Estimate> = Vec::new();
        for estimate in self.cells.iter().filter_map(|c| c.estimate) {
            if !estimates.contains(&estimate) {
                estimates.push(estimate);
            }
        }
        estimates
    }

    /// The file of sensitivities, with moments of inputs if they are wanted: measured once.
    pub(super) fn sensitivities(
        &self,
        task: &ExperimentTask<'_>,
        estimate: Estimate,
        has_moments: bool,
    ) -> Result<PathBuf> {
        estimates::sensitivities(task, &self.original, estimate, has_moments)
    }

    /// Most bytes of a file; `None` where its options say how large it gets.
    fn bytes(task: &ExperimentTask<'_>, size: &Size) -> Result<Option<u64>> {
        match size {
            Size::AsSet => Ok(None),
            Size::Bits(bits) => most_bytes(*bits, bits * task.network.n_trainable() as f64 / 8.0).map(Some),
            Size::Of(name) => {
                let path = task.folder.join(file_name(name));
                let found = std::fs::metadata(&path);
                Ok(Some(found.map_err(|source| Error::Io { path, source })?.len()))
            }
        }
    }

    fn compress(&self, task: &ExperimentTask<'_>, cell: &Cell) -> Result<Vec<u8>> {
        let mut options = cell.options.clone();
        let estimate = cell.estimate;
        let path = estimate.map(|e| self.sensitivities(task, e, cell.has_moments));
        let path = path.transpose()?;
        if let Some(path) = &path {
            options = options.with_sensitivity(path);
        }
        match Self::bytes(task, &cell.size)? {
            Some(bytes) if cell.has_own_levels => {
                let specs = &task.network.parameters;
                let h = path.map(|path| read_sensitivities(&path, specs)).transpose()?;
                let network = (&self.checkpoint, &self.original);
                return levels::compress(network, h.as_ref(), &options, bytes, task.progress);
            }
            Some(bytes) => options = options.with_target(Target::SizeBytes(bytes)),
            None => {}
        }
        Ok(tersor::compress(&self.checkpoint, options, task.progress)?.bytes)
    }

    /// Trains the shared values of a file on some examples.
    fn tune(&self, task: &ExperimentTask<'_>, file: &[u8], cell: &Cell) -> Result<Vec<u8>> {
        let mut quantized = QuantizedCheckpoint::decode(file, Limits::default())?;
        let examples = self.split.some(task, cell.n_tuned)?;
        let tuning = FinetuneOptions {
            epochs: 1,
            batch: 100,
            schedule: Schedule::Cosine {
                peak: 3e-4,
                warmup: 0.0,
                floor: 0.01,
            },
            seed: 0,
        };
        finetune(
            task.network,
            &mut quantized,
            &examples,
            None,
            task.device,
            &tuning,
            task.progress,
        )?;
        let default = EncodeOptions::default();
        let options = match cell.options.coder {
            Some(coder) => default.with_coder(coder),
            None => default,
        };
        Ok(quantized.encode(options)?)
    }
}

impl Recipe for Comparison {
    fn report(&self) -> &[&'static str] {
        self.split.report
    }

    fn original(&self) -> Option<&Parameters> {
        Some(&self.original)
    }

    fn files(&self) -> Vec<FileSpec> {
        self.cells.iter().map(Cell::file).collect()
    }

    fn make(&self, task: &ExperimentTask<'_>, index: usize, _: &mut dyn FnMut(&str)) -> Result<Vec<u8>> {
        let cell = self
            .cells
            .get(index)
            .ok_or_else(|| Error::Internal(format!("there is no file {index}")))?;
        let bytes = self.compress(task, cell)?;
        if cell.n_tuned == 0 {
            return Ok(bytes);
        }
        self.tune(task, &bytes, cell)
    }
}
