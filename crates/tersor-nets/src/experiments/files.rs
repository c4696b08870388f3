//! Experiments that make files of one network: whole files, decoded and measured.

use super::record::{Checked, Origin, Record, Records, Reference, Ruler, Score, check};
use super::speed::Speed;
use crate::examples::Examples;
use crate::graph::Network;
use crate::task::DataSets;
use crate::{Error, Parameters, Result, digest};
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tersor::Progress;

/// What an experiment is made with.
pub struct ExperimentTask<'a> {
    /// The network.
    pub network: &'a Network,
    /// What is calibrated, trained and measured on.
    pub data: &'a DataSets,
    /// Where.
    pub device: &'a Device,
    /// Where records, files and the state of trainings are kept. A file that has a record is not made again.
    pub folder: &'a Path,
    /// Told how far it is.
    pub progress: &'a dyn Progress,
}

impl ExperimentTask<'_> {
    pub(super) fn ruler(&self) -> Ruler<'_> {
        Ruler {
            network: self.network,
            test: self.data.test.as_ref(),
            device: self.device,
            progress: self.progress,
        }
    }
}

/// A file that a recipe makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Its name, without extension.
    pub name: String,
    /// How it is made, in a word or two: files that are made alike have the same.
    pub how: String,
    /// All that is set.
    pub settings: String,
    /// Of training.
    pub seed: Option<u64>,
}

/// How the files of an experiment are made.
pub trait Recipe {
    /// Which test examples files are measured on.
    fn report(&self) -> &[&'static str];

    /// What files are compared with.
    fn original(&self) -> Option<&Parameters>;

    /// The files.
    fn files(&self) -> Vec<FileSpec>;

    /// Does what the file with this index needs and is timed apart, and keeps it in the folder.
    ///
    /// # Errors
    /// Whatever a step returns.
    fn prepare(&self, _: &ExperimentTask<'_>, _index: usize) -> Result<()> {
        Ok(())
    }

    /// Makes the file with this index.
    ///
    /// # Errors
    /// Whatever a step returns.
    fn make(&self, task: &ExperimentTask<'_>, index: usize, say: &mut dyn FnMut(&str)) -> Result<Vec<u8>>;
}

/// Makes the files of a recipe that are not there and measures all that have no record yet.
///
/// # Errors
/// [`Error::Input`] if the folder belongs to other weights, data or settings; whatever a step returns.
pub fn make_files(
    task: &ExperimentTask<'_>,
    recipe: &dyn Recipe,
    say: &mut dyn FnMut(&str),
) -> Result<Records> {
    let mut records = claim(task.network, recipe.original(), task.data, task.folder)?;
    let ruler = task.ruler();
    let mut reference: Option<Reference> = None;
    for (index, made) in recipe.files().into_iter().enumerate() {
        let FileSpec {
            name,
            how,
            settings,
            seed,
        } = made;
        let file = file_name(&name);
        let path = task.folder.join(&file);
        match records.of(&file) {
            Some(record) if record.settings != settings => {
                return Err(Error::Input(format!(
                    "{} was made with other settings ({}, now {settings}); give another folder",
                    path.display(),
                    record.settings
                )));
            }
            Some(_) if path.is_file() => continue,
            _ => records.records.retain(|r| r.file != file),
        }
        // A file without a record may be of other settings.
        say(&format!("{name}: {how}"));
        recipe.prepare(task, index)?;
        let start = Instant::now();
        let bytes = recipe.make(task, index, say)?;
        let speed = Speed::new(start.elapsed().as_secs_f64(), &bytes)?;
        tersor::write_file(&path, &bytes, true)?;
        if let (Some(original), None) = (recipe.original(), &reference) {
            reference = Some(ruler.reference(original, recipe.report())?);
        }
        let (bytes, scores) = ruler.measure(&path, recipe.report(), reference.as_ref())?;
        let record = Record {
            file,
            how,
            settings,
            seed,
            bytes,
            ratio: task.network.ratio(bytes),
            speed: Some(speed),
            scores,
        };
        say(&describe(&record));
        records.records.push(record);
        records.save(task.folder)?;
    }
    Ok(records)
}

/// The file of a name.
pub(super) fn file_name(name: &str) -> PathBuf {
    format!("{name}.tersor").into()
}

/// Makes a folder belong to a network, what it begins with, and data.
///
/// # Errors
/// [`Error::Input`] if it belongs to others; as reading data.
pub(super) fn claim(
    network: &Network,
    weights: Option<&Parameters>,
    data: &DataSets,
    folder: &Path,
) -> Result<Records> {
    let of = |set: &dyn Examples| -> Result<String> {
        let digest = digest::of_examples(set, None)?;
        Ok(format!("{} of {digest}", set.len()))
    };
    let origin = Origin {
        network: network.name.clone(),
        weights: weights.map(digest::of_parameters),
        data: [of(data.train.as_ref())?, of(data.test.as_ref())?],
    };
    let mut records = Records::open(folder)?;
    records.claim(origin, folder)?;
    Ok(records)
}

/// Most bytes of a file.
///
/// # Errors
/// [`Error::Input`] if that is less than one, or no number.
pub(super) fn most_bytes(size: f64, bytes: f64) -> Result<u64> {
    if size > 0.0 && bytes >= 1.0 && bytes.is_finite() {
        return Ok(bytes as u64);
    }
    Err(Error::Input(format!(
        "a size of {size} makes no file: {bytes} bytes"
    )))
}

fn describe(record: &Record) -> String {
    let score = |s: &Score| format!("; on {} {:.2} %", s.examples, 100.0 * s.decoded.accuracy);
    let scores: String = record.scores.iter().map(score).collect();
    let file = record.file.display();
    format!("{file}: {} bytes, {:.2}x{scores}", record.bytes, record.ratio)
}

/// Decodes and scores the files of an experiment again; with the original that they were made from, their divergences from it too.
///
/// # Errors
/// [`Error::Input`] if the folder has no records, or they are not of this original; if a file cannot be read or decoded.
pub fn check_files(task: &ExperimentTask<'_>, original: Option<&Parameters>) -> Result<Vec<Checked>> {
    check(&task.ruler(), task.folder, original)
}
