//! A file beside the checkpoint it was made from.

use super::beside::{self, Difference};
use super::errors::Errors;
use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::decompress::Items;
use crate::names::Names;
use crate::progress::Progress;
use serde::Serialize;
use tersor_codec::{FileReader, Storage, TensorInfo};

/// How far one tensor is from the original.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TensorError {
    /// Name in the file.
    pub name: String,
    /// Element type and shape.
    #[serde(flatten)]
    pub form: Form,
    /// Whether all bytes are the same.
    pub identical: bool,
    /// Largest absolute error. Elements that are not finite count as 0 if their bytes are the same, else as infinite.
    pub max_abs: f64,
    /// Root of the mean squared error.
    pub rms: f64,
    /// Squared error over the energy of the original; 0 if both are 0.
    pub noise: f64,
}

/// Element type and shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Form {
    /// Element type.
    pub dtype: &'static str,
    /// Shape.
    pub shape: Vec<u64>,
}

impl Form {
    fn of(info: &TensorInfo) -> Self {
        Self {
            dtype: info.dtype.name(),
            shape: info.shape.clone(),
        }
    }
}

/// A tensor of another type or shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mismatch {
    /// Name in the file.
    pub name: String,
    /// What it is in the file.
    pub file: Form,
    /// What it is in the original.
    pub original: Form,
}

/// A file beside its original.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CompareReport {
    /// Whether both have the same tensors, with the same types and shapes. Names match with or without a leading `module.`.
    pub same_layout: bool,
    /// How many names match only without that.
    pub n_renamed: usize,
    /// Tensors of the original that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the original lacks.
    pub unexpected: Vec<String>,
    /// Tensors of another type or shape.
    pub misshapen: Vec<Mismatch>,
    /// Tensors that are stored losslessly, yet differ.
    pub differing: Vec<String>,
    /// Metadata, by key.
    pub metadata: Difference,
    /// Files beside the weights, by path.
    pub blobs: Difference,
    /// Tensors that both have.
    pub tensors: Vec<TensorError>,
    /// Sum of squared errors.
    pub squared_error: f64,
    /// Squared error over energy, of all tensors.
    pub noise: f64,
}

impl CompareReport {
    /// Whether the file has all that the original has, exactly but for tensors that are quantized.
    pub fn has_all(&self) -> bool {
        self.same_layout && self.differing.is_empty() && self.metadata.has_all() && self.blobs.has_all()
    }
}

/// Compares a file with the checkpoint it was made from.
///
/// # Errors
/// If either cannot be read. A difference is not an error: the report tells.
pub fn compare(
    reader: &FileReader<'_>,
    original: &Checkpoint,
    progress: &dyn Progress,
) -> Result<CompareReport> {
    let directory = reader.directory();
    let infos = || directory.entries.iter().map(|entry| &entry.info);
    let (originals, own) = (Names::new(original.tensors().iter()), Names::new(infos()));
    let missing = original.tensors().iter().map(|t| &t.name);
    let mut report = CompareReport {
        same_layout: false,
        n_renamed: 0,
        missing: missing.filter(|name| own.find(name).is_none()).cloned().collect(),
        unexpected: Vec::new(),
        misshapen: Vec::new(),
        differing: Vec::new(),
        metadata: beside::metadata(reader, original),
        blobs: beside::blobs(reader, original)?,
        tensors: Vec::new(),
        squared_error: 0.0,
        noise: 0.0,
    };
    // Aliases go back to earlier groups: each of the two keeps the group it is at.
    let (mut items, mut aliases) = (Items::new(reader), Items::new(reader));
    let mut all = Errors::default();
    progress.start("compare", infos().filter_map(TensorInfo::size_bytes).sum());
    for (item, entry) in directory.entries.iter().enumerate() {
        let info = &entry.info;
        progress.advance(info.size_bytes().unwrap_or(0));
        let found = originals.find(&info.name);
        let Some((index, theirs)) = found.and_then(|i| Some((i, original.tensors().get(i)?))) else {
            report.unexpected.push(info.name.clone());
            continue;
        };
        report.n_renamed += usize::from(theirs.name != info.name);
        if theirs.dtype != info.dtype || theirs.shape != info.shape {
            report.misshapen.push(Mismatch {
                name: info.name.clone(),
                file: Form::of(info),
                original: Form::of(theirs),
            });
            continue;
        }
        let decoded = match entry.storage {
            Storage::Alias { target, .. } => aliases.read(target)?,
            _ => items.read(item)?,
        };
        let bytes = original.bytes(index)?;
        let identical = decoded == *bytes;
        if entry.storage == Storage::Raw && !identical {
            report.differing.push(info.name.clone());
        }
        let errors = match (info.dtype.is_float(), identical) {
            (true, _) => Errors::of(&bytes, &decoded, info.dtype),
            (false, true) => Errors::default(),
            (false, false) => Errors {
                squared: f64::INFINITY,
                energy: 0.0,
                largest: f64::INFINITY,
            },
        };
        report.tensors.push(TensorError {
            name: info.name.clone(),
            form: Form::of(info),
            identical,
            max_abs: errors.largest,
            rms: (errors.squared / info.n_elements().unwrap_or(0).max(1) as f64).sqrt(),
            noise: errors.noise(),
        });
        all = all.add(errors);
    }
    progress.finish();
    (report.squared_error, report.noise) = (all.squared, all.noise());
    report.same_layout =
        report.missing.is_empty() && report.unexpected.is_empty() && report.misshapen.is_empty();
    Ok(report)
}
