//! The smallest file of a measured quality.

mod command;

use crate::compress::{Compressed, Compressor};
use crate::options::Target;
use crate::progress::{Progress, Silent};
use crate::search::MAX_CLUSTERS;
use crate::temporary::Temporary;
use crate::{Error, Result};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Instant;
use xxhash_rust::xxh64::xxh64;

/// A command that measures quality, and how much is wanted.
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// Run by the shell with `{}` replaced by the path of a decoded checkpoint, quoted where it has to be. The last line it
    /// prints on standard output is the quality, a number; more is better.
    pub command: String,
    /// Least quality.
    pub at_least: f64,
    /// Most runs of the command.
    pub max_evals: usize,
}

impl EvaluateOptions {
    /// Checks what needs no checkpoint.
    ///
    /// # Errors
    /// [`Error::Options`] if the command has no place for a path, no run is allowed, or the quality is not a number.
    pub fn check(&self) -> Result<()> {
        let (command, at_least) = (&self.command, self.at_least);
        let what = if !command.contains(command::PLACE) {
            format!(
                "the command {command:?} has no {}: the place of the checkpoint's path",
                command::PLACE
            )
        } else if self.max_evals == 0 {
            "no run of the command is allowed; allow at least 1".into()
        } else if !at_least.is_finite() {
            format!("the quality to reach is {at_least}; it must be a finite number")
        } else {
            return Ok(());
        };
        Err(Error::Options(what))
    }
}

/// What sets the rate of a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OperatingPoint {
    /// Predicted loss per bit.
    Slope(f64),
    /// Number of levels of a clustering.
    Levels(usize),
}

impl OperatingPoint {
    fn target(self) -> Target {
        match self {
            Self::Slope(slope) => Target::Slope(slope),
            Self::Levels(k) => Target::Levels(k),
        }
    }
}

/// One run of the command.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// Where on the curve the file lies.
    #[serde(flatten)]
    pub point: OperatingPoint,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bits per weight of the whole file.
    pub bpw: f64,
    /// What the command printed.
    pub quality: f64,
    /// Time that the command took.
    pub seconds: f64,
}

/// First operating point: 50 dB of noise below the weights; each further one has 10 times the noise until quality fails.
const FIRST_NOISE: f64 = 1e-5;
const FACTOR: f64 = 10.0;
/// First number of levels; each further one is half of it.
const FIRST_LEVELS: usize = 256;
/// Fewest levels: one of them may be reserved for exact zeros.
const FEWEST_LEVELS: f64 = 2.0;
/// Operating points closer than this are not told apart.
const CLOSEST: f64 = 1.02;

/// Bisection over a logarithm that grows as files shrink.
struct Bisection {
    first: f64,
    stride: f64,
    is_clustering: bool,
    /// Coarsest that reached the quality, finest that did not.
    good: Option<f64>,
    bad: Option<f64>,
}

impl Bisection {
    fn new(compressor: &Compressor<'_>) -> Self {
        let is_clustering = compressor.options().method.is_clustering();
        let (first, stride) = if is_clustering {
            (-(FIRST_LEVELS as f64).ln(), 2f64.ln())
        } else {
            (compressor.slope_for_noise(FIRST_NOISE).ln(), FACTOR.ln())
        };
        Self {
            first,
            stride,
            is_clustering,
            good: None,
            bad: None,
        }
    }

    /// Where to look next; `None` if what is left is too narrow.
    fn next(&self) -> Option<f64> {
        match (self.good, self.bad) {
            (None, None) => Some(self.first),
            (Some(good), None) => Some(good + self.stride),
            (None, Some(bad)) => Some(bad - self.stride),
            (Some(good), Some(bad)) if !self.is_clustering && bad - good < CLOSEST.ln() => None,
            (Some(good), Some(bad)) => Some(f64::midpoint(good, bad)),
        }
    }

    fn point(&self, x: f64) -> OperatingPoint {
        if self.is_clustering {
            let k = (-x).exp().round().clamp(FEWEST_LEVELS, MAX_CLUSTERS as f64);
            OperatingPoint::Levels(k as usize)
        } else {
            OperatingPoint::Slope(x.exp())
        }
    }

    fn has_both_ends(&self) -> bool {
        self.good.is_some() && self.bad.is_some()
    }
}

/// Searches for the smallest file whose measured quality is at least what is asked for: coarser in steps of ten in noise until
/// quality fails, then halving in between. No file is measured twice. Every run is told as soon as it ends, and returned in
/// order.
///
/// # Errors
/// [`Error::Evaluate`] if the command fails or prints no number, [`Error::Target`] if no file reached the quality.
pub fn compress_to_quality(
    compressor: &Compressor<'_>,
    options: &EvaluateOptions,
    progress: &dyn Progress,
    tell: &mut dyn FnMut(&Evaluation),
) -> Result<(Compressed, Vec<Evaluation>)> {
    options.check()?;
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let _temporary = Temporary::new(folder.path());
    let mut bisection = Bisection::new(compressor);
    let mut evaluations: Vec<Evaluation> = Vec::new();
    let mut best: Option<Compressed> = None;
    let mut tried: Vec<OperatingPoint> = Vec::new();
    // Quality of the files that were measured, by their digests.
    let mut measured: HashMap<u64, f64> = HashMap::new();
    progress.start("evaluate", options.max_evals as u64);
    while evaluations.len() < options.max_evals {
        let Some(x) = bisection.next() else { break };
        let point = bisection.point(x);
        if tried.contains(&point) {
            break;
        }
        tried.push(point);
        let compressed = compressor.compress(&point.target(), &Silent)?;
        let file_bytes = compressed.bytes.len() as u64;
        let digest = xxh64(&compressed.bytes, 0);
        let quality = match measured.get(&digest) {
            // The end of the curve: nothing coarser, or finer, is left to be measured.
            Some(_) if !bisection.has_both_ends() => break,
            Some(&known) => known,
            None => {
                let start = Instant::now();
                let quality = command::measure(&compressed.bytes, folder.path(), &options.command)?;
                let evaluation = Evaluation {
                    point,
                    file_bytes,
                    bpw: compressed.report.bpw,
                    quality,
                    seconds: start.elapsed().as_secs_f64(),
                };
                progress.advance(1);
                tell(&evaluation);
                evaluations.push(evaluation);
                measured.insert(digest, quality);
                quality
            }
        };
        if quality < options.at_least {
            bisection.bad = Some(x);
            continue;
        }
        bisection.good = Some(x);
        if best
            .as_ref()
            .is_none_or(|b| compressed.bytes.len() < b.bytes.len())
        {
            best = Some(compressed);
        }
    }
    progress.finish();
    let Some(best) = best else {
        let qualities = evaluations.iter().map(|e| e.quality);
        let what = format!(
            "no file reached {} in {} evaluations: the best had {}; measure the original with the same command, or allow more \
             evaluations",
            options.at_least,
            evaluations.len(),
            qualities.fold(f64::NEG_INFINITY, f64::max),
        );
        return Err(Error::Target(what));
    };
    Ok((best, evaluations))
}
