//! Clusterings with levels of each tensor's own: as many as pay for their bits at one slope.

use crate::sensitivity::{Diagonal, mean};
use crate::{Error, Parameters, Result};
use tersor::Progress;
use tersor::checkpoint::Checkpoint;
use tersor::options::{CompressOptions, Override, Target};
use tersor_quant::Source;
use tersor_quant::kmeans::{LloydOptions, assign, lloyd};

/// Numbers of levels that are tried.
const CANDIDATES: [usize; 15] = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];
/// Bits of a level in a table.
const LEVEL_BITS: f64 = 32.0;
/// Files made in search of the size, and steps of the search for a slope.
const TRIALS: usize = 8;
const STEPS: usize = 60;

/// What a tensor loses and takes with each number of levels.
struct Curve {
    name: String,
    /// Levels, predicted loss, bits with those of the table.
    points: Vec<(usize, f64, f64)>,
}

impl Curve {
    /// The point of least loss + slope x bits.
    fn at(&self, slope: f64) -> Option<(usize, f64)> {
        let cost = |p: &&(usize, f64, f64)| p.1 + slope * p.2;
        let best = self.points.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        best.map(|p| (p.0, p.2))
    }
}

/// Curves of all tensors of two or more dimensions, weighted if there are sensitivities, each raised by a share of its tensor's mean.
fn curves(parameters: &Parameters, h: Option<&Diagonal>, floor: f64) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for (at, (spec, weights)) in parameters.iter().enumerate() {
        if spec.shape.len() < 2 {
            continue;
        }
        let source = match h.and_then(|h| h.get(at)) {
            Some(h) if h.len() == weights.len() => Source::floored(weights, h, (floor * mean(h)) as f32),
            _ => Source::constant(weights, 1.0),
        };
        let mut symbols = vec![0; weights.len()];
        let mut point = |&k: &usize| {
            let clusters = lloyd(&[source], k, &LloydOptions::default())?;
            let report = assign(&source, &clusters, &mut symbols)?;
            let bits = report.rate_bits + LEVEL_BITS * clusters.levels.len() as f64;
            Ok((k, report.distortion, bits))
        };
        let candidates = CANDIDATES.iter().filter(|&&k| k <= weights.len());
        curves.push(Curve {
            name: spec.name.clone(),
            points: candidates.map(&mut point).collect::<Result<_>>()?,
        });
    }
    Ok(curves)
}

/// The levels at the least slope with which all tensors take no more than so many bits.
fn levels(curves: &[Curve], most_bits: f64) -> Vec<(&str, usize)> {
    let at = |slope: f64| curves.iter().filter_map(move |c| Some((c, c.at(slope)?)));
    let (mut low, mut high) = (1e-20f64, 1e20f64);
    for _ in 0..STEPS {
        let middle = (low * high).sqrt();
        let bits: f64 = at(middle).map(|(_, (_, bits))| bits).sum();
        if bits > most_bits {
            low = middle;
        } else {
            high = middle;
        }
    }
    at(high).map(|(c, (k, _))| (c.name.as_str(), k)).collect()
}

/// The largest file of at most `bytes` that was found.
///
/// # Errors
/// [`Error::Input`] if none is as small; as compression.
pub(super) fn compress(
    (checkpoint, parameters): (&Checkpoint, &Parameters),
    h: Option<&Diagonal>,
    options: &CompressOptions,
    bytes: u64,
    progress: &dyn Progress,
) -> Result<Vec<u8>> {
    let curves = curves(parameters, h, options.floor)?;
    let mut most_bits = 8.0 * bytes as f64;
    let mut best: Option<Vec<u8>> = None;
    for _ in 0..TRIALS {
        // The levels of tensors that have no rule matter to none.
        let mut own = options.clone().with_target(Target::Levels(2));
        for (name, k) in levels(&curves, most_bits) {
            let rule: Override = format!("{name}=k{k}").parse()?;
            own.overrides.push(rule);
        }
        let file = tersor::compress(checkpoint, own, progress)?.bytes;
        let found = file.len() as u64;
        if found <= bytes && best.as_ref().is_none_or(|b| file.len() > b.len()) {
            best = Some(file);
        }
        // What lies beside the symbols stays as it is: the difference goes into the levels.
        let difference = bytes as f64 - found as f64;
        most_bits += 8.0 * difference - if difference < 0.0 { 64.0 } else { 0.0 };
        if most_bits <= 0.0 {
            break;
        }
    }
    best.ok_or_else(|| Error::Input(format!("no levels make a file of {bytes} bytes")))
}
