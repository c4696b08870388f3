//! How small a network gets at which accuracy: whole files, decoded and measured on examples on which nothing was chosen.

mod post_training;
mod trained;

pub use post_training::PostTraining;
pub use trained::Trained;

use super::record::{Checked, Record, Records, Reference, Ruler, Score, check};
use crate::graph::Network;
use crate::task::DataSets;
use crate::{Parameters, Result};
use burn::tensor::Device;
use std::path::Path;
use tersor::Progress;

/// What a frontier is made with.
pub struct FrontierTask<'a> {
    /// The network.
    pub network: &'a Network,
    /// What is calibrated, trained and measured on.
    pub data: &'a DataSets,
    /// Where.
    pub device: &'a Device,
    /// Where records, files and the state of trainings are kept. A file that is there is measured, not made again.
    pub folder: &'a Path,
    /// Told how far it is.
    pub progress: &'a dyn Progress,
}

impl FrontierTask<'_> {
    fn ruler(&self) -> Ruler<'_> {
        Ruler {
            network: self.network,
            test: self.data.test.as_ref(),
            device: self.device,
            progress: self.progress,
        }
    }

    /// Most bytes of a file of the paper's ratio.
    fn bytes(&self, ratio: f64) -> u64 {
        (4.0 * self.network.n_trainable() as f64 / ratio) as u64
    }
}

/// How the files of a frontier are made.
pub trait Recipe {
    /// Which test examples files are measured on.
    fn report(&self) -> &[&'static str];

    /// What files are compared with.
    fn original(&self) -> Option<&Parameters>;

    /// The files: name, how they are made, and the seed of training.
    fn files(&self) -> Vec<(String, String, Option<u64>)>;

    /// Makes the file with this index.
    ///
    /// # Errors
    /// Whatever a step returns.
    fn make(&self, task: &FrontierTask<'_>, index: usize, say: &mut dyn FnMut(&str)) -> Result<Vec<u8>>;
}

/// Makes the files of a recipe that are not there and measures all that have no record yet.
///
/// # Errors
/// Whatever a step returns.
pub fn frontier(task: &FrontierTask<'_>, recipe: &dyn Recipe, say: &mut dyn FnMut(&str)) -> Result<Records> {
    let mut records = Records::open(task.folder)?;
    let ruler = task.ruler();
    let mut reference: Option<Reference> = None;
    for (index, (name, how, seed)) in recipe.files().into_iter().enumerate() {
        let file = Path::new(&name).with_extension("tersor");
        if records.has(&file) {
            continue;
        }
        let path = task.folder.join(&file);
        if !path.is_file() {
            say(&format!("{name}: {how}"));
            let bytes = recipe.make(task, index, say)?;
            tersor::write_file(&path, &bytes, true)?;
        }
        if let (Some(original), None) = (recipe.original(), &reference) {
            reference = Some(ruler.reference(original, recipe.report())?);
        }
        let (bytes, scores) = ruler.measure(&path, recipe.report(), reference.as_ref())?;
        let record = Record {
            file,
            how,
            seed,
            bytes,
            ratio: ruler.ratio(bytes),
            scores,
        };
        say(&describe(&record));
        records.records.push(record);
        records.save(task.folder)?;
    }
    Ok(records)
}

fn describe(record: &Record) -> String {
    let score = |s: &Score| format!("; on {} {:.2} %", s.examples, 100.0 * s.decoded.accuracy);
    let scores: String = record.scores.iter().map(score).collect();
    let file = record.file.display();
    format!("{file}: {} bytes, {:.2}x{scores}", record.bytes, record.ratio)
}

/// Decodes and scores the files of a frontier again.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) if the folder has no records; if a file cannot be read or decoded.
pub fn check_frontier(task: &FrontierTask<'_>) -> Result<Vec<Checked>> {
    check(&task.ruler(), task.folder)
}
