//! How iterative ECSQ converges from several starts, how far k-means is from its optimum, and how long both take.

use super::estimates;
use super::files::{ExperimentTask, claim};
use super::record::write_json;
use crate::sensitivity::{mean, read_sensitivities, root_mean_square};
use crate::{Parameters, Result, fold};
use serde::Serialize;
use std::time::Instant;
use tersor_data::Random;
use tersor_quant::bound::least_cost;
use tersor_quant::ecsq::{self, EcsqConfig, Init};
use tersor_quant::kmeans::{LloydOptions, exact, lloyd};
use tersor_quant::sensitivity::DEFAULT_FLOOR;
use tersor_quant::{Source, ecsq::IterationReport};

/// Steps that slopes belong to, in units of the root mean square of the weights.
const STEPS: [f64; 3] = [2.0, 1.0, 0.5];
/// Iterations end when they bring less than this share, or after so many.
const TOLERANCE: f64 = 1e-7;
const MOST_ITERATIONS: usize = 300;
/// Levels of clusterings.
const LEVELS: [usize; 4] = [4, 16, 64, 256];
/// Numbers of weights that time is measured on, and all.
const SIZES: [usize; 3] = [10_000, 40_000, 160_000];
/// Name of the report.
const REPORT: &str = "convergence.json";

/// A run of ECSQ from one start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EcsqRun {
    /// Predicted loss per bit.
    pub slope: f64,
    /// Where it starts.
    pub start: String,
    /// J = D + slope x bits over all weights, of the start's nearest levels and after each iteration.
    pub trace: Vec<f64>,
    /// Bits per weight at the end.
    pub bits: f64,
    /// Levels at the end.
    pub levels: usize,
    /// Seconds in all.
    pub seconds: f64,
    /// What no code of single weights at this slope can cost less than, where it is known.
    pub bound: Option<f64>,
}

/// Lloyd's iterations beside the optimum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KMeansRun {
    /// Levels.
    pub k: usize,
    /// Whether sensitivities weigh.
    pub is_weighted: bool,
    /// Loss of Lloyd's codebook and of the optimum, which dynamic programming finds.
    pub costs: [f64; 2],
    /// Lloyd's iterations.
    pub iterations: usize,
    /// Seconds of both.
    pub seconds: [f64; 2],
}

/// How long a design takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// `lloyd`, `exact` or `ecsq`.
    pub method: String,
    /// Weights.
    pub n: usize,
    /// Levels; those that ECSQ, at the slope in the middle, starts with.
    pub k: usize,
    /// Seconds.
    pub seconds: f64,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ConvergenceReport {
    /// From several starts at several slopes.
    pub ecsq: Vec<EcsqRun>,
    /// At several numbers of levels.
    pub kmeans: Vec<KMeansRun>,
    /// Against numbers of weights and levels.
    pub timings: Vec<Timing>,
}

/// Weights of two or more dimensions with their sensitivities, one after the other.
struct Weights {
    weights: Vec<f32>,
    h: Vec<f32>,
}

impl Weights {
    fn of(parameters: &Parameters, diagonal: &[Vec<f32>]) -> Self {
        let (mut weights, mut h) = (Vec::new(), Vec::new());
        for ((spec, values), sensitivities) in parameters.iter().zip(diagonal) {
            if spec.shape.len() < 2 || sensitivities.len() != values.len() {
                continue;
            }
            let mean = mean(sensitivities);
            weights.extend_from_slice(values);
            h.extend(sensitivities.iter().map(|&s| s + (DEFAULT_FLOOR * mean) as f32));
        }
        Self { weights, h }
    }

    /// `n` of them, evenly spread.
    fn some(&self, n: usize) -> Self {
        let every = |values: &[f32]| {
            let at = |i: usize| values.get(i * values.len() / n).copied().unwrap_or_default();
            (0..n).map(at).collect()
        };
        Self {
            weights: every(&self.weights),
            h: every(&self.h),
        }
    }

    fn source(&self) -> Source<'_> {
        Source::per_weight(&self.weights, &self.h)
    }
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = f();
    (result, start.elapsed().as_secs_f64())
}

/// Starts for a slope that belongs to a step.
fn starts(weights: &Weights, step: f64) -> Result<Vec<(String, Init, usize)>> {
    let uniform = |factor: f64| {
        let init = Init::Uniform {
            step: (factor * step) as f32,
        };
        (format!("uniform, {factor} steps"), init, 0)
    };
    let quantiles = |k: usize| (format!("{k} quantiles"), Init::Quantiles, k);
    let clusters = lloyd(&[weights.source()], 32, &LloydOptions::default())?.levels;
    let mut random = Random::keyed(&[1, 0x636f_6e76]);
    let drawn = (0..32).map(|_| {
        let at = random.below(weights.weights.len());
        weights.weights.get(at).copied().unwrap_or_default()
    });
    let drawn = Init::Levels(drawn.collect());
    Ok(vec![
        uniform(0.25),
        uniform(0.5),
        uniform(1.0),
        quantiles(16),
        quantiles(64),
        quantiles(256),
        (
            "Hessian-weighted k-means, 32 levels".into(),
            Init::Levels(clusters),
            0,
        ),
        ("32 weights at random".into(), drawn, 0),
    ])
}

fn run_ecsq(weights: &Weights, step: f64) -> Result<Vec<EcsqRun>> {
    let source = weights.source();
    let n = weights.weights.len() as f64;
    // At high rates D is h step^2 / 24 per weight, and falls by 2 ln 2 times that per bit.
    let slope = std::f64::consts::LN_2 * mean(&weights.h) * step * step / 12.0;
    let bound = least_cost(&source, slope)?;
    let run = |(start, init, levels): (String, Init, usize)| {
        let default = EcsqConfig::default();
        let config = EcsqConfig {
            slope,
            init,
            levels: if levels > 0 { levels } else { default.levels },
            tolerance: TOLERANCE,
            max_iterations: MOST_ITERATIONS,
            sample: 0,
            ..default
        };
        let (found, seconds) = timed(|| ecsq::design(&[source], &config));
        let found = found?;
        Ok(EcsqRun {
            slope,
            start,
            bits: found.trace.last().map_or(0.0, |r| r.rate_bits / n),
            trace: found.trace.iter().map(|r: &IterationReport| r.j).collect(),
            levels: found.levels.len(),
            seconds,
            bound,
        })
    };
    starts(weights, step)?.into_iter().map(run).collect()
}

fn run_kmeans(weights: &Weights, k: usize, is_weighted: bool) -> Result<KMeansRun> {
    let source = if is_weighted {
        weights.source()
    } else {
        Source::constant(&weights.weights, 1.0)
    };
    let options = LloydOptions {
        weighted: is_weighted,
        ..LloydOptions::default()
    };
    let (found, seconds) = timed(|| lloyd(&[source], k, &options));
    let (optimum, of_optimum) = timed(|| exact(&[source], k));
    let found = found?;
    Ok(KMeansRun {
        k,
        is_weighted,
        costs: [found.cost, optimum?.cost],
        iterations: found.iterations,
        seconds: [seconds, of_optimum],
    })
}

fn timings(weights: &Weights, slope: f64, k: usize) -> Result<Vec<Timing>> {
    let source = weights.source();
    let n = weights.weights.len();
    let timing = |method: &str, seconds| Timing {
        method: method.into(),
        n,
        k,
        seconds,
    };
    let (found, of_lloyd) = timed(|| lloyd(&[source], k, &LloydOptions::default()));
    found?;
    let (found, of_exact) = timed(|| exact(&[source], k));
    found?;
    let config = EcsqConfig {
        slope,
        levels: k,
        sample: 0,
        ..EcsqConfig::default()
    };
    let (found, of_ecsq) = timed(|| ecsq::design(&[source], &config));
    found?;
    Ok(vec![
        timing("lloyd", of_lloyd),
        timing("exact", of_exact),
        timing("ecsq", of_ecsq),
    ])
}

/// Runs the quantizers on the weights of a network of two or more dimensions, as one source: on all, or on at most so many of them,
/// evenly spread.
///
/// # Errors
/// As measuring sensitivities, and as the quantizers.
pub fn convergence(
    task: &ExperimentTask<'_>,
    original: &Parameters,
    most: usize,
    say: &mut dyn FnMut(&str),
) -> Result<ConvergenceReport> {
    let mut original = original.clone();
    fold(task.network, &mut original)?;
    claim(task.network, Some(&original), task.data, task.folder)?;
    let path = estimates::sensitivities(task, &original, estimates::usual(task.network), false)?;
    let diagonal = read_sensitivities(&path, &task.network.parameters)?;
    let mut weights = Weights::of(&original, &diagonal);
    if weights.weights.len() > most {
        weights = weights.some(most);
    }
    let scale = root_mean_square(weights.weights.iter());
    let mut report = ConvergenceReport::default();
    for step in STEPS {
        say(&format!("ECSQ at the slope of {step} deviations"));
        report.ecsq.extend(run_ecsq(&weights, step * scale)?);
    }
    for k in LEVELS {
        say(&format!("k-means of {k} levels"));
        for is_weighted in [false, true] {
            report.kmeans.push(run_kmeans(&weights, k, is_weighted)?);
        }
    }
    let n = weights.weights.len();
    let slope = report.ecsq.get(report.ecsq.len() / 2).map_or(0.0, |r| r.slope);
    for size in SIZES.into_iter().filter(|&s| s < n).chain([n]) {
        say(&format!("time on {size} weights"));
        let some = weights.some(size);
        for k in LEVELS {
            report.timings.extend(timings(&some, slope, k)?);
        }
    }
    write_json(&task.folder.join(REPORT), &report)?;
    Ok(report)
}
