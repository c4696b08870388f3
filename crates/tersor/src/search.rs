//! Finding the operating point that meets a target, by the bytes of the real file.
//!
//! Sizes are not monotone in the slope, and less so in the number of levels: a secant search homes in, every real file
//! within the target is remembered, and the one of least loss is kept.

use crate::design::{Design, Designer, Knob};
use crate::encode::{EncodedFile, encode, estimate_bytes};
use crate::options::Method;
use crate::progress::{self, SearchProgress};
use crate::{Error, Result};

/// A file of more elements is sized by estimates until the search has come close.
const REAL_SIZES_BELOW: u64 = 1 << 22;
/// Share of the target that is good enough.
const CLOSE: f64 = 0.99;
/// Slopes that differ by less than this share are not told apart.
const NARROW: f64 = 1e-3;
/// Most files that a search makes.
const MAX_TRIALS: usize = 24;
/// Most levels of a clustering.
pub(crate) const MAX_CLUSTERS: usize = 4096;
/// Loss falls by a factor of 4 per bit: the slope is this times the loss per weight.
const SLOPE_PER_LOSS: f64 = 2.0 * std::f64::consts::LN_2;

/// What a search looks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// At most so many bytes, and as little loss as that allows.
    Bytes(f64),
    /// At most so much loss, in as few bytes as that allows.
    Loss(f64),
}

/// A file and where on the curve it lies.
pub(crate) struct Found {
    pub(crate) file: EncodedFile,
    pub(crate) design: Design,
    pub(crate) knob: Knob,
    /// Files that were made on the way.
    pub(crate) n_trials: usize,
}

/// Makes the file at one operating point.
pub(crate) fn at(designer: &Designer<'_>, knob: Knob) -> Result<Found> {
    progress::start_trial(designer, "compress");
    let design = designer.design(knob, false)?;
    let file = encode(designer, &design)?;
    designer.progress.finish();
    Ok(Found {
        file,
        design,
        knob,
        n_trials: 1,
    })
}

/// The slope at which the noise of the median tensor is about `noise` times its energy (weighted by sensitivity).
pub(crate) fn slope_for_noise(designer: &Designer<'_>, noise: f64) -> f64 {
    SLOPE_PER_LOSS * 0.5 * designer.stakes().1 * noise
}

/// The slope of files that are nearly lossless: noise 40 dB below the weights.
pub(crate) fn near_lossless_slope(designer: &Designer<'_>) -> f64 {
    slope_for_noise(designer, 1e-4)
}

/// One search: remembers the best file so far.
struct Search<'a, 'd> {
    designer: &'a Designer<'d>,
    goal: Goal,
    best: Option<Found>,
    /// Bytes of the smallest file, loss of the most precise one, within the goal or not.
    extremes: (f64, f64),
    n_trials: usize,
    /// Real bytes less estimated bytes, once known.
    overhead: Option<f64>,
    told: SearchProgress,
}

impl Search<'_, '_> {
    /// Size or loss in units of the goal: at most 1 is within it. `exact`: by the real file.
    fn trial(&mut self, knob: Knob, exact: bool) -> Result<f64> {
        let rough = !exact && self.overhead.is_some();
        self.told.start(self.designer, self.goal);
        let design = self.designer.design(knob, rough)?;
        let estimate = estimate_bytes(&design, self.designer.options.coder);
        if let (true, Some(overhead)) = (rough, self.overhead) {
            let losses = design.codings.iter().flatten().map(|c| c.report.distortion);
            return Ok(match self.goal {
                Goal::Bytes(bytes) => (estimate + overhead) / bytes,
                Goal::Loss(limit) => losses.sum::<f64>() / limit,
            });
        }
        self.n_trials += 1;
        let file = encode(self.designer, &design)?;
        let (size, loss) = (file.bytes.len() as f64, file.loss());
        self.overhead = Some(size - estimate);
        self.extremes = (self.extremes.0.min(size), self.extremes.1.min(loss));
        let found = Found {
            file,
            design,
            knob,
            n_trials: self.n_trials,
        };
        self.told.found(self.goal, size, loss);
        let (value, better) = match self.goal {
            Goal::Bytes(bytes) => (
                size / bytes,
                self.best.as_ref().is_none_or(|b| loss < b.file.loss()),
            ),
            Goal::Loss(limit) => (
                loss / limit,
                self.best
                    .as_ref()
                    .is_none_or(|b| size < b.file.bytes.len() as f64),
            ),
        };
        if value <= 1.0 && better {
            self.best = Some(found);
        }
        Ok(value)
    }

    fn finish(self) -> Result<Found> {
        let n_trials = self.n_trials;
        match (self.best, self.goal) {
            (Some(best), _) => Ok(Found { n_trials, ..best }),
            (None, Goal::Bytes(bytes)) => {
                let method = self.designer.options.method;
                let what = format!(
                    "{bytes:.0} bytes cannot be reached with method {method}: the smallest file found has {}; allow more, or store \
                     fewer tensors losslessly",
                    self.extremes.0
                );
                Err(Error::Target(what))
            }
            (None, Goal::Loss(limit)) => {
                let what = format!(
                    "a loss of {limit:e} cannot be reached: the least found is {:e}",
                    self.extremes.1
                );
                Err(Error::Target(what))
            }
        }
    }
}

/// Searches for the best file within a goal.
///
/// # Errors
/// [`Error::Target`] if nothing meets it, with the closest found.
pub(crate) fn search(designer: &Designer<'_>, goal: Goal) -> Result<Found> {
    let extremes = (f64::INFINITY, f64::INFINITY);
    let mut search = Search {
        designer,
        goal,
        best: None,
        extremes,
        n_trials: 0,
        overhead: None,
        told: SearchProgress::default(),
    };
    if designer.options.method.is_clustering() {
        levels(&mut search)?;
    } else {
        slopes(&mut search)?;
    }
    designer.progress.finish();
    search.finish()
}

/// Secant search over the logarithm of the slope, within a bracket once there is one.
fn slopes(search: &mut Search<'_, '_>) -> Result<()> {
    let designer = search.designer;
    let elements: u64 = designer
        .tensors()
        .iter()
        .filter_map(tersor_codec::TensorInfo::n_elements)
        .sum();
    let n = elements.max(1) as f64;
    let always_exact = elements < REAL_SIZES_BELOW;
    // Between noise 90 dB below the weights of every tensor and losing all of them.
    let (lowest, _, highest) = designer.stakes();
    let (least, most) = ((lowest * 1e-9).ln(), (highest * 1e4).ln());
    let start = match search.goal {
        Goal::Bytes(bytes) => slope_for_noise(designer, (-2.0 * (8.0 * bytes / n).min(24.0)).exp2()),
        Goal::Loss(limit) => SLOPE_PER_LOSS * limit / n,
    };
    // The response: logarithm of size or loss over the goal; size falls and loss rises with the slope.
    let falling = matches!(search.goal, Goal::Bytes(_));
    let mut x = start.ln().clamp(least, most);
    // At rate R, size falls with the slope as 1 - ln(slope) / (2 ln 2 R): how far to go for a given excess.
    let gain = match search.goal {
        Goal::Bytes(bytes) => (SLOPE_PER_LOSS * 8.0 * bytes / n).clamp(0.3, 12.0),
        Goal::Loss(_) => 1.0,
    };
    let mut low: Option<(f64, f64)> = None;
    let mut high: Option<(f64, f64)> = None;
    let mut exact = true;
    for _ in 0..MAX_TRIALS {
        let value = search.trial(Knob::Slope(x.exp()), exact || always_exact)?;
        let was_exact = exact || always_exact;
        if was_exact && (CLOSE..=1.0).contains(&value) {
            return Ok(());
        }
        if !was_exact && (CLOSE..=1.0).contains(&(value * 1.003)) {
            // Close by estimate: look at the real file there.
            exact = true;
            continue;
        }
        let y = value.max(1e-12).ln();
        // `low`: slopes that give too large a size or too small a loss.
        if (y > 0.0) == falling {
            low = Some((x, y));
        } else {
            high = Some((x, y));
        }
        let aim = if was_exact { -0.004 } else { -0.006 };
        let next = match (low, high) {
            (Some((a, ya)), Some((b, yb))) if b - a > NARROW => {
                let line = a + (aim - ya) * (b - a) / (yb - ya);
                // Stay off the ends, so that the bracket shrinks.
                line.clamp(a + 0.05 * (b - a), b - 0.05 * (b - a))
            }
            // The bracket has closed on a jump, or turned over, since sizes are not monotone: step to the safe side, and
            // look at a real file there.
            (Some((a, _)), Some((b, _))) => {
                exact = true;
                x = if falling {
                    a.max(b) + NARROW
                } else {
                    a.min(b) - NARROW
                };
                if was_exact && search.best.is_some() {
                    return Ok(());
                }
                continue;
            }
            (Some((a, ya)), None) => {
                a + (if falling {
                    (gain * ya).min(4.0)
                } else {
                    (aim - ya).min(4.0)
                })
                .max(0.02)
            }
            (None, Some((b, yb))) => {
                b - (if falling {
                    (-gain * yb).min(4.0)
                } else {
                    (yb - aim).min(4.0)
                })
                .max(0.02)
            }
            (None, None) => return Ok(()),
        };
        let next = next.clamp(least, most);
        if (next - x).abs() < 1e-9 {
            return Ok(());
        }
        x = next;
        exact = always_exact;
    }
    if search.best.is_none() {
        // Nothing real was within the goal yet: go to the safe side in growing steps.
        let mut step = 0.01;
        while search.best.is_none() && step < 20.0 {
            let to = if falling { x + step } else { x - step };
            search.trial(Knob::Slope(to.clamp(least, most).exp()), true)?;
            step *= 2.0;
        }
    }
    Ok(())
}

/// Doubling and then halving over the number of levels.
fn levels(search: &mut Search<'_, '_>) -> Result<()> {
    let within = |search: &mut Search<'_, '_>, k: usize| -> Result<bool> {
        Ok(search.trial(Knob::Levels(k), true)? <= 1.0)
    };
    let by_loss = matches!(search.goal, Goal::Loss(_));
    let (mut low, mut high) = (1usize, 1usize);
    // Bytes: the largest k within; loss: the smallest k within.
    loop {
        high = (high * 2).min(MAX_CLUSTERS);
        let fits = within(search, high)?;
        if fits == by_loss {
            break;
        }
        low = high;
        if high == MAX_CLUSTERS {
            return Ok(());
        }
    }
    while high - low > 1 {
        let middle = usize::midpoint(low, high);
        let fits = within(search, middle)?;
        if fits == by_loss {
            high = middle;
        } else {
            low = middle;
        }
    }
    if low == 1 && !by_loss && search.best.is_none() {
        within(search, 1)?;
    }
    Ok(())
}

/// Whether a method's rate is set by a slope.
pub(crate) fn default_knob(designer: &Designer<'_>, method: Method) -> Knob {
    if method.is_clustering() {
        Knob::Levels(256)
    } else {
        Knob::Slope(near_lossless_slope(designer))
    }
}
