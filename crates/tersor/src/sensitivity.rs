//! Sensitivity files: how much the loss grows per squared unit of error in each parameter.
//!
//! A safetensors file. Key `NAME` holds h of tensor `NAME`, in its shape or one that broadcasts to it, in loss per squared
//! weight unit. Keys with `::` (`NAME::gram`, ...) hold moments of layers, see [`Moments`]. Names match with or
//! without a leading `module.`.

use crate::checkpoint::Checkpoint;
use crate::feedback::{LayerMoments, Moments};
use crate::names::bare;
use crate::options::{CompressOptions, Feedback};
use crate::scales::RowScales;
use crate::{Error, Result, weights};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use tersor_codec::TensorInfo;
use tersor_quant::Source;

/// An opened sensitivity file with the settings under which it is used.
pub(crate) struct Sensitivities {
    file: Checkpoint,
    /// Index in the file of the entry for each tensor of the checkpoint, if it has one.
    entries: Vec<Option<usize>>,
    power: f64,
    /// What h^power is multiplied with, so that the mean of h over all tensors is kept.
    scale: f64,
    /// For each tensor, what is added to its sensitivities: a share of their mean.
    floors: Vec<f32>,
    /// Moments of layers.
    pub(crate) moments: Moments,
    /// Entries that belong to no tensor.
    pub(crate) unused: Vec<String>,
}

/// Sensitivities of a tensor: borrowed from the mapped file if they are used as they stand there.
pub(crate) struct TensorSensitivity<'s> {
    values: Cow<'s, [f32]>,
    /// Added to every value by whoever uses them, which saves a copy.
    floor: f32,
}

impl TensorSensitivity<'_> {
    /// Weights with these sensitivities.
    pub(crate) fn source<'a>(&'a self, weights: &'a [f32]) -> Source<'a> {
        Source::floored(weights, &self.values, self.floor)
    }

    /// Their mean.
    pub(crate) fn mean(&self) -> f64 {
        self.source(&self.values).mean_h()
    }

    /// Scales for the rows of the tensor, if they are worth their bits.
    pub(crate) fn row_scales(&self, info: &TensorInfo) -> Option<RowScales> {
        RowScales::new(info, &self.values)
    }

    /// Those of errors of the weights over their scales.
    pub(crate) fn scaled(&self, scales: &RowScales) -> TensorSensitivity<'static> {
        let scale = |(i, h): (usize, &f32)| (f64::from(h + self.floor) * scales.at(i).powi(2)) as f32;
        TensorSensitivity {
            values: Cow::Owned(self.values.iter().enumerate().map(scale).collect()),
            floor: 0.0,
        }
    }

    /// Adds those of a tensor of the same shape.
    pub(crate) fn add(&mut self, other: &TensorSensitivity<'_>) {
        let sums = self.values.to_mut().iter_mut().zip(&*other.values);
        sums.for_each(|(a, b)| *a += b);
        self.floor += other.floor;
    }
}

/// Whether `shape` broadcasts to `full`: aligned at the last axis, each extent equal or 1.
fn broadcasts(shape: &[u64], full: &[u64]) -> bool {
    shape.len() <= full.len()
        && shape
            .iter()
            .rev()
            .zip(full.iter().rev())
            .all(|(&a, &b)| a == b || a == 1)
}

/// Repeats `values` of shape `shape` to the shape `full`.
fn broadcast(values: &[f32], shape: &[u64], full: &[u64]) -> Vec<f32> {
    let n: u64 = full.iter().product();
    let missing = full.len() - shape.len();
    // Stride of each axis of `full` in `values`; 0 where it is repeated.
    let mut strides = vec![0u64; full.len()];
    let mut stride = 1;
    for (axis, &extent) in shape.iter().enumerate().rev() {
        if let Some(s) = strides.get_mut(missing + axis).filter(|_| extent != 1) {
            *s = stride;
        }
        stride *= extent;
    }
    let mut index = vec![0u64; full.len()];
    let mut result = Vec::with_capacity(n as usize);
    for _ in 0..n {
        let at: u64 = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        result.push(values.get(at as usize).copied().unwrap_or(0.0));
        for (i, &extent) in index.iter_mut().zip(full).rev() {
            *i += 1;
            if *i < extent {
                break;
            }
            *i = 0;
        }
    }
    result
}

impl Sensitivities {
    /// Opens a file and matches it with the tensors of a checkpoint. Moments are left alone where they are not wanted.
    ///
    /// # Errors
    /// [`Error::Sensitivity`] if nothing matches, a shape does not fit, or a value is negative or not finite.
    pub(crate) fn open(path: &Path, tensors: &[TensorInfo], options: &CompressOptions) -> Result<Self> {
        let (power, floor) = (options.power, options.floor);
        let file = Checkpoint::open(path)?;
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (index, info) in file
            .tensors()
            .iter()
            .enumerate()
            .filter(|(_, t)| !t.name.contains("::"))
        {
            if let Some(other) = by_name.insert(bare(&info.name), index) {
                let other = file.tensors().get(other).map_or("", |t| &t.name);
                return Err(Error::Sensitivity(format!(
                    "{other:?} and {:?} name the same tensor; remove one",
                    info.name
                )));
            }
        }
        let entries: Vec<Option<usize>> = tensors
            .iter()
            .map(|t| by_name.get(bare(&t.name)).copied())
            .collect();
        for (info, entry) in tensors.iter().zip(&entries) {
            if let Some(found) = entry.and_then(|e| file.tensors().get(e)) {
                if !found.dtype.is_float() {
                    let what = format!("{:?} is of type {}; write it as F32", found.name, found.dtype);
                    return Err(Error::Sensitivity(what));
                }
                if !broadcasts(&found.shape, &info.shape) {
                    let what = format!(
                        "{:?} has shape {:?}, the tensor {:?}; it must be the same or broadcast to it",
                        found.name, found.shape, info.shape
                    );
                    return Err(Error::Sensitivity(what));
                }
            }
        }
        if entries.iter().all(Option::is_none) {
            let have = by_name.keys().min().copied().unwrap_or("nothing");
            let want = tensors.first().map_or("", |t| &t.name);
            let what = format!(
                "no name matches a tensor of the checkpoint: it has {have:?}, the checkpoint {want:?}"
            );
            return Err(Error::Sensitivity(what));
        }
        let used: Vec<usize> = entries.iter().flatten().copied().collect();
        let mut unused: Vec<String> = by_name
            .iter()
            .filter(|(_, i)| !used.contains(i))
            .map(|(name, _)| (*name).to_owned())
            .collect();
        unused.sort_unstable();
        let moments = match options.feedback {
            Feedback::Auto => Moments::find(&file, tensors)?,
            Feedback::Off => Moments::default(),
        };
        let mut result = Self {
            file,
            entries,
            moments,
            power,
            scale: 1.0,
            floors: vec![0.0; tensors.len()],
            unused,
        };
        result.check(tensors, floor)?;
        Ok(result)
    }

    /// Checks every value, and finds the scale of tempered sensitivities and the floor of every tensor.
    fn check(&mut self, tensors: &[TensorInfo], floor: f64) -> Result<()> {
        // Means over elements of the tensors, so repeated values count as often as they are used.
        let (mut sum, mut powered) = (0.0, 0.0);
        let mut means = vec![0.0; tensors.len()];
        for ((info, entry), mean) in tensors.iter().zip(&self.entries).zip(&mut means) {
            let Some(entry) = *entry else { continue };
            let values = weights::load(&self.file, entry)?;
            if let Some((at, bad)) = values
                .iter()
                .enumerate()
                .find(|(_, h)| !(h.is_finite() && **h >= 0.0))
            {
                let what = format!(
                    "{:?} holds {bad} at element {at}; sensitivities must be finite and >= 0",
                    info.name
                );
                return Err(Error::Sensitivity(what));
            }
            let n = info.n_elements().unwrap_or(0) as f64;
            let mean_of = |f: &dyn Fn(f64) -> f64| {
                values.iter().map(|&h| f(f64::from(h))).sum::<f64>() / values.len().max(1) as f64
            };
            let plain = mean_of(&|h| h);
            *mean = if self.power == 1.0 {
                plain
            } else {
                mean_of(&|h| h.powf(self.power))
            };
            sum += n * plain;
            powered += n * *mean;
        }
        if sum == 0.0 {
            return Err(Error::Sensitivity(
                "all values are 0: they say nothing; leave the file out".into(),
            ));
        }
        self.scale = if self.power == 1.0 { 1.0 } else { sum / powered };
        self.floors = means
            .iter()
            .map(|mean| (floor * mean * self.scale) as f32)
            .collect();
        Ok(())
    }

    /// Moments of tensor `index`, which has some.
    pub(crate) fn load_moments(&self, index: usize) -> Result<LayerMoments<'_>> {
        self.moments.load(&self.file, index)
    }

    /// Sensitivities of all elements of tensor `index`, tempered, with their floor. `None` if the file does not cover it.
    ///
    /// A copy is made only of those that are tempered, broadcast, or not stored as f32.
    pub(crate) fn load(&self, index: usize, info: &TensorInfo) -> Result<Option<TensorSensitivity<'_>>> {
        let Some(entry) = self.entries.get(index).copied().flatten() else {
            return Ok(None);
        };
        let mut values = weights::load(&self.file, entry)?;
        if self.power != 1.0 {
            let scaled = |h: &mut f32| *h = (f64::from(*h).powf(self.power) * self.scale) as f32;
            values.to_mut().iter_mut().for_each(scaled);
        }
        let shape = self.file.tensors().get(entry).map_or(&[][..], |t| &t.shape);
        if shape != info.shape {
            values = Cow::Owned(broadcast(&values, shape, &info.shape));
        }
        let floor = self.floors.get(index).copied().unwrap_or(0.0);
        Ok(Some(TensorSensitivity { values, floor }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_columns_and_scalars_broadcast() {
        assert_eq!(
            broadcast(&[1.0, 2.0], &[2, 1], &[2, 3]),
            [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
        );
        assert_eq!(
            broadcast(&[1.0, 2.0, 3.0], &[3], &[2, 3]),
            [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
        );
        assert_eq!(broadcast(&[7.0], &[], &[2, 2]), [7.0; 4]);
        assert!(
            broadcasts(&[2, 1], &[2, 3]) && !broadcasts(&[2], &[2, 3]) && !broadcasts(&[1, 2, 3], &[2, 3])
        );
    }
}
