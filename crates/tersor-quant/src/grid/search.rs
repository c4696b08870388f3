//! The step for a slope.

use super::probe;
use crate::error::{Error, Result, not_negative};
use crate::sample::sample;
use crate::source::Source;
use crate::span::Span;

/// Weights a search looks at. All steps see the same ones, so that most of the sampling error cancels in comparisons.
const SAMPLE: usize = 1 << 18;

/// Price iterations per step tried.
const ITERATIONS: usize = 3;

/// Range of multipliers scanned first, and their ratio: 0.6 to 1.5 in 8 steps of 14 %.
const SCAN_FROM: f64 = 0.6;
const SCAN_RATIO: f64 = 1.139_852_281_2;
const SCAN_STEPS: i32 = 8;

/// How far the scan may go on where the best multiplier is at an end: a factor of 16 either way.
const SCAN_LIMIT: i32 = 21;

/// A step found by [`search_step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepChoice {
    /// The step.
    pub step: f32,
    /// The objective at that step, extrapolated from the sample to all weights.
    pub j: f64,
}

/// The step at which a bit buys as much loss as the slope says, at high rate.
///
/// A cell of width `step` has the loss `h step^2 / 24` per weight (half of `h` times the variance `step^2 / 12`), and the
/// rate is `h(X) - log2 step` bits. The derivatives of loss and of slope times rate cancel at
/// `h step / 12 = slope / (step ln 2)`, so `step^2 = 12 slope / (h ln 2) = slope / (0.0578 h)`.
///
/// Infinite for a sensitivity of 0, 0 for a slope of 0.
///
/// # Source
/// Gish and Pierce, "Asymptotically efficient quantizing", 1968.
pub fn step_for_slope(slope: f64, mean_h: f64) -> f32 {
    if slope <= 0.0 {
        return 0.0;
    }
    (12.0 * slope / (mean_h * std::f64::consts::LN_2)).sqrt() as f32
}

/// Scans multiples of [`step_for_slope`] for the least objective after rate-aware assignment.
///
/// Multipliers from 0.6 to 1.5, further while the best one is at an end, then two halvings around it. The objective
/// is not unimodal, and the cost of tables is not in it: this is a start for a search by real size. Tensors of
/// more than 2^18 weights are sampled. About 14 probes.
///
/// If nothing is at stake (all sensitivities 0) the step is four times the largest weight, so all become zero.
///
/// # Errors
/// [`Error::Setting`] unless the slope is positive and finite.
pub fn search_step(source: &Source, slope: f64) -> Result<StepChoice> {
    not_negative("slope", slope)?;
    if slope == 0.0 {
        return Err(Error::Setting {
            name: "slope",
            value: slope,
            allowed: "a finite number > 0",
        });
    }
    let span = Span::of(&[*source]);
    let least = span.min_step();
    let all = f64::from(span.magnitude()) * 4.0;
    let greatest = if all > 0.0 {
        all.clamp(f64::from(least), 2f64.powi(126)) as f32
    } else {
        1.0
    };
    let base = f64::from(step_for_slope(slope, source.mean_h()));
    if source.is_empty() || base >= f64::from(greatest) * 16.0 {
        let j = probe(source, greatest, slope, ITERATIONS)?.report.j(slope);
        return Ok(StepChoice { step: greatest, j });
    }
    let taken = sample(&[*source], SAMPLE);
    let scale = source.len() as f64 / taken.source().len().max(1) as f64;
    let steps = (f64::from(least), f64::from(greatest));
    let mut scan = Scan {
        source: taken.source(),
        slope,
        scale,
        base,
        steps,
        place: 0.0,
        best: None,
    };
    for place in 0..=SCAN_STEPS {
        scan.improves(f64::from(place))?;
    }
    let end = scan.place;
    let away = if end == 0.0 { -1 } else { 1 };
    if end == 0.0 || end == f64::from(SCAN_STEPS) {
        let mut beyond = (1..=SCAN_LIMIT).map(|i| end + f64::from(away * i));
        while beyond.next().map_or(Ok(false), |place| scan.improves(place))? {}
    }
    for width in [0.5, 0.25] {
        let middle = scan.place;
        scan.improves(middle - width)?;
        scan.improves(middle + width)?;
    }
    Ok(scan.best.unwrap_or(StepChoice {
        step: greatest,
        j: 0.0,
    }))
}

/// The best multiplier so far; places count ratios from the first multiplier.
struct Scan<'a> {
    source: Source<'a>,
    slope: f64,
    /// All weights per sampled weight.
    scale: f64,
    base: f64,
    /// Least and greatest step.
    steps: (f64, f64),
    place: f64,
    best: Option<StepChoice>,
}

impl Scan<'_> {
    fn improves(&mut self, place: f64) -> Result<bool> {
        let step = self.base * SCAN_FROM * SCAN_RATIO.powf(place);
        let step = step.clamp(self.steps.0, self.steps.1) as f32;
        let j = self.scale
            * probe(&self.source, step, self.slope, ITERATIONS)?
                .report
                .j(self.slope);
        let improves = self.best.is_none_or(|best| j < best.j);
        if improves {
            self.place = place;
            self.best = Some(StepChoice { step, j });
        }
        Ok(improves)
    }
}
