//! A part of every large tensor: what a search looks at until it is close.

use crate::Result;
use crate::design::Designer;
use crate::plan::Treatment;
use rayon::prelude::*;
use tersor_quant::{Report, Sample, Source, sample_rows};

/// Elements in all samples together. The error of a size is about 1.2 / (bits per weight x sqrt(elements)): 0.1 % at 3 bits,
/// and most of it is the same at every slope.
const ELEMENTS: f64 = (1 << 17) as f64;
/// Fewest elements of a sample; a tensor of less than four times as many is looked at whole.
const LEAST: usize = 1 << 12;

/// A part of a tensor, taken once and looked at often.
pub(crate) struct Sampled {
    sample: Sample,
    /// Elements of the tensor per element of the sample.
    factor: f64,
}

impl Sampled {
    pub(crate) fn source(&self) -> Source<'_> {
        self.sample.source()
    }

    /// The report of the sample as that of the tensor.
    pub(crate) fn scaled(&self, report: &Report) -> Report {
        let counts = report
            .counts
            .iter()
            .map(|&c| (c as f64 * self.factor).round() as u64);
        Report::new(
            counts.collect(),
            report.distortion * self.factor,
            report.squared_error * self.factor,
        )
    }
}

/// Samples of all large tensors of two or more dimensions, by index.
pub(crate) struct Samples(Vec<Option<Sampled>>);

impl Samples {
    /// Draws samples, the larger ones of larger tensors. Which elements depends on the shapes only.
    pub(crate) fn new(designer: &Designer<'_>) -> Result<Self> {
        let tensors = designer.tensors();
        let n = |index: usize| {
            tensors
                .get(index)
                .and_then(tersor_codec::TensorInfo::n_elements)
                .unwrap_or(0)
        };
        let main = designer.treated(&Treatment::Main);
        let total: u64 = main.iter().map(|&index| n(index)).sum();
        let share = ELEMENTS / total.max(1) as f64;
        let draw = |index: usize| -> Result<Option<Sampled>> {
            let wanted = LEAST.max((n(index) as f64 * share) as usize);
            if n(index) < 4 * wanted as u64 || !main.contains(&index) {
                return Ok(None);
            }
            let loaded = designer.load(index)?;
            let source = loaded.source();
            let sample = sample_rows(&source, wanted);
            let factor = source.len() as f64 / sample.source().len().max(1) as f64;
            Ok(Some(Sampled { sample, factor }))
        };
        let samples = (0..tensors.len()).into_par_iter().map(draw);
        Ok(Self(samples.collect::<Result<_>>()?))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Sampled> {
        self.0.get(index).and_then(Option::as_ref)
    }
}
