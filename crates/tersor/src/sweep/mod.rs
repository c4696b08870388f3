//! Rate-distortion curves: many methods at the same sizes.

mod bound;
mod output;

pub use bound::Gap;
pub use output::{csv, svg, table};

use crate::checkpoint::Checkpoint;
use crate::compress::Compressor;
use crate::options::{CompressOptions, Method, Scope, Target};
use crate::progress::{Progress, Silent};
use crate::size::InputSize;
use crate::{Error, Result};
use bound::Bound;
use serde::Serialize;
use std::time::Instant;
use tersor_codec::Coder;

/// What is tried.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// Default: all.
    pub methods: Vec<Method>,
    /// Default: both.
    pub scopes: Vec<Scope>,
    /// Default: [`Coder::Context`].
    pub coders: Vec<Coder>,
    /// Bits per weight of the whole file. Default: 1.5, 2, 2.5, 3, 4, 5.
    pub bpw: Vec<f64>,
    /// Whether the rate-distortion bound is found, which takes a second or so per point and million weights. Default: no.
    pub bound: bool,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            methods: Method::ALL.to_vec(),
            scopes: vec![Scope::Tensor, Scope::Global],
            coders: vec![Coder::Context],
            bpw: vec![1.5, 2.0, 2.5, 3.0, 4.0, 5.0],
            bound: false,
        }
    }
}

/// One file of a sweep.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SweepPoint {
    /// Method.
    pub method: &'static str,
    /// Scope.
    pub scope: &'static str,
    /// Coder.
    pub coder: &'static str,
    /// What the ratios refer to.
    #[serde(flatten)]
    pub size: InputSize,
    /// Bits per weight that were asked for.
    pub target_bpw: f64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bits per weight of the whole file.
    pub bpw: f64,
    /// Bytes of the tensors as stored over bytes of the file.
    pub ratio: f64,
    /// Predicted loss increase; none without sensitivities.
    pub predicted_loss: Option<f64>,
    /// Squared error over energy.
    pub noise: f64,
    /// Sum of squared errors.
    pub squared_error: f64,
    /// How far the symbols are from the rate-distortion bound, if that was asked for.
    #[serde(flatten)]
    pub gap: Option<Gap>,
    /// Time of the search, all files made on the way included.
    pub seconds: f64,
}

/// Compresses a checkpoint with every combination. A combination that cannot reach a size is left out.
///
/// # Errors
/// As [`Compressor::new`] and [`Compressor::compress`], but for targets that cannot be met.
pub fn sweep(
    checkpoint: &Checkpoint,
    base: &CompressOptions,
    options: &SweepOptions,
    progress: &dyn Progress,
) -> Result<Vec<SweepPoint>> {
    for &bpw in &options.bpw {
        Target::Bpw(bpw).check(Method::default(), false)?;
    }
    let mut compressor = Compressor::with_progress(checkpoint, base.clone(), progress)?;
    let mut bound = Bound::default();
    let total = options.methods.len() * options.scopes.len() * options.coders.len() * options.bpw.len();
    progress.start("sweep", total as u64);
    let mut points = Vec::with_capacity(total);
    for &method in &options.methods {
        for &scope in &options.scopes {
            for &coder in &options.coders {
                compressor.set_method(method, scope, Some(coder));
                for &target_bpw in &options.bpw {
                    progress.note(&format!("{method} {scope} {coder} {target_bpw}"));
                    let start = Instant::now();
                    let result = compressor.compress(&Target::Bpw(target_bpw), &Silent);
                    progress.advance(1);
                    let report = match result {
                        Ok(compressed) => compressed.report,
                        Err(Error::Target(_)) => continue,
                        Err(other) => return Err(other),
                    };
                    let seconds = start.elapsed().as_secs_f64();
                    let gap = if options.bound {
                        bound.gap(&compressor, &report.tensors)?
                    } else {
                        None
                    };
                    points.push(SweepPoint {
                        method: method.name(),
                        scope: scope.name(),
                        coder: coder.name(),
                        size: report.size,
                        target_bpw,
                        file_bytes: report.file_bytes,
                        bpw: report.bpw,
                        ratio: report.ratio,
                        predicted_loss: report.predicted_loss,
                        noise: report.noise,
                        squared_error: report.squared_error,
                        gap,
                        seconds,
                    });
                }
            }
        }
    }
    progress.finish();
    Ok(points)
}
