//! Whether a file is whole, and how far it is from an original.

use crate::checkpoint::Checkpoint;
use crate::decompress::Items;
use crate::progress::Progress;
use crate::{Result, decompress, weights};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashMap;
use tersor_codec::{FileReader, Storage};

/// How far one tensor is from the original.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TensorError {
    /// Name.
    pub name: String,
    /// Whether all bytes are the same.
    pub identical: bool,
    /// Largest absolute error. Elements that are not finite count as 0 if their bytes are the same, else as infinite.
    pub max_abs: f64,
    /// Root of the mean squared error.
    pub rms: f64,
    /// Squared error over the energy of the original; 0 if both are 0.
    pub noise: f64,
}

/// A file beside its original.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CompareReport {
    /// Whether both have the same tensors, with the same types and shapes.
    pub same_layout: bool,
    /// Tensors of the original that the file lacks.
    pub missing: Vec<String>,
    /// Tensors of the file that the original lacks.
    pub unexpected: Vec<String>,
    /// Tensors of another type or shape.
    pub misshapen: Vec<String>,
    /// Tensors that are stored losslessly, yet differ.
    pub differing: Vec<String>,
    /// Tensors that both have.
    pub tensors: Vec<TensorError>,
    /// Sum of squared errors.
    pub squared_error: f64,
    /// Squared error over energy, of all tensors.
    pub noise: f64,
}

/// Decodes everything and checks every checksum and the digest.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(reader: &FileReader<'_>, progress: &dyn Progress) -> Result<()> {
    progress.start("verify", decompress::total_bytes(reader.directory()));
    let digests = decompress::digests(reader, progress)?;
    reader.check_digest(digests)?;
    progress.finish();
    Ok(())
}

/// Sum of squared errors, energy and largest error of two tensors of the same float type.
fn errors(original: &[f32], decoded: &[f32]) -> (f64, f64, f64) {
    let (mut squared, mut energy, mut largest) = (0.0, 0.0, 0.0f64);
    for (&a, &b) in original.iter().zip(decoded) {
        if a.to_bits() == b.to_bits() {
            energy += if a.is_finite() { f64::from(a).powi(2) } else { 0.0 };
            continue;
        }
        let error = if a.is_finite() && b.is_finite() {
            (f64::from(a) - f64::from(b)).abs()
        } else {
            f64::INFINITY
        };
        squared += error * error;
        energy += f64::from(a).powi(2);
        largest = largest.max(error);
    }
    (squared, energy, largest)
}

fn share(squared: f64, energy: f64) -> f64 {
    if squared == 0.0 { 0.0 } else { squared / energy }
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
    let by_name: HashMap<&str, usize> = original
        .tensors()
        .iter()
        .enumerate()
        .map(|(i, t)| (t.name.as_str(), i))
        .collect();
    let found: HashMap<&str, usize> = directory
        .entries
        .iter()
        .enumerate()
        .map(|(i, e)| (e.info.name.as_str(), i))
        .collect();
    let mut report = CompareReport {
        same_layout: false,
        missing: original
            .tensors()
            .iter()
            .filter(|t| !found.contains_key(t.name.as_str()))
            .map(|t| t.name.clone())
            .collect(),
        unexpected: Vec::new(),
        misshapen: Vec::new(),
        differing: Vec::new(),
        tensors: Vec::new(),
        squared_error: 0.0,
        noise: 0.0,
    };
    // Aliases go back to earlier groups: each of the two keeps the group it is at.
    let (mut items, mut aliases) = (Items::new(reader), Items::new(reader));
    let mut energy = 0.0;
    progress.start("compare", directory.entries.len() as u64);
    for (item, entry) in directory.entries.iter().enumerate() {
        let info = &entry.info;
        let Some(&index) = by_name.get(info.name.as_str()) else {
            report.unexpected.push(info.name.clone());
            continue;
        };
        if original
            .tensors()
            .get(index)
            .is_none_or(|t| t.dtype != info.dtype || t.shape != info.shape)
        {
            report.misshapen.push(info.name.clone());
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
        let decoded = weights::to_f32(&Cow::Borrowed(&decoded), info.dtype);
        let (squared, own_energy, max_abs) = if info.dtype.is_float() {
            errors(&weights::to_f32(&bytes, info.dtype), &decoded)
        } else if identical {
            (0.0, 0.0, 0.0)
        } else {
            (f64::INFINITY, 0.0, f64::INFINITY)
        };
        let rms = (squared / decoded.len().max(1) as f64).sqrt();
        report.tensors.push(TensorError {
            name: info.name.clone(),
            identical,
            max_abs,
            rms,
            noise: share(squared, own_energy),
        });
        report.squared_error += squared;
        energy += own_energy;
        progress.advance(1);
    }
    progress.finish();
    report.noise = share(report.squared_error, energy);
    report.same_layout =
        report.missing.is_empty() && report.unexpected.is_empty() && report.misshapen.is_empty();
    Ok(report)
}
