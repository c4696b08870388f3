//! Finding the operating point that meets a target, by the bytes of the real file.
//!
//! Samples of the tensors say where to look: a point on the curve takes a few milliseconds there, and the last real file
//! says by how much they err. So a search makes one or two real files. Sizes are not monotone in the slope, and less so
//! in the number of levels: every real file within the target is remembered, and the one of least loss is kept.
//!
//! Samples know nothing of error feedback through moments and of trellises: there they estimate what the same steps give without, which errs by more, and the real
//! files, of which there are fewer, correct it all the same.

use crate::design::{Design, Designer, Knob};
use crate::encode::{EncodedFile, encode, estimate_bytes, estimate_saving_bytes};
use crate::feedback;
use crate::options::Method;
use crate::progress::{self, SearchProgress};
use crate::samples::Samples;
use crate::secant::Secant;
use crate::{Error, Result};
use tersor_codec::Coder;

/// Share of the target that is good enough.
const CLOSE: f64 = 0.99;
/// Share of the target that is aimed at.
const AIM: f64 = 0.996;
/// What the coder `context`, and the trellis that comes with it, leave of a size that is estimated without them, about: 0.8 to 0.95.
const CONTEXT_SHARE: f64 = 0.87;
/// An estimate this close to the aim is worth a real file.
const NEAR: f64 = 1e-3;
/// Where the product of the excesses on both sides is above minus this, the line between them meets the aim closely enough.
const STRAIGHT: f64 = 1e-4;
/// Excess below which estimates take symbols into account, not only how many of each there are.
const SYMBOLS_FROM: f64 = 0.05;
/// Most estimates between two real files.
const MAX_ESTIMATES: usize = 12;
/// Real files after which estimates are given up.
const MAX_GUIDED: usize = 4;
/// Most files that a search makes until one is within the goal, and where the symbols of so many weights are found ahead that each
/// takes several seconds or more.
const MAX_TRIALS: usize = 24;
const MAX_DEAR_TRIALS: usize = 8;
const DEAR: u64 = 1 << 20;
/// First step, in the logarithm of the slope, to where a file has to be within the goal, and that of files that are dear.
const SAFER: f64 = 1e-3;
const DEAR_SAFER: f64 = 1e-2;
/// Most levels of a clustering.
pub(crate) const MAX_CLUSTERS: usize = 4096;
/// Loss falls by a factor of 4 per bit: the slope is this times the loss per weight.
pub(crate) const SLOPE_PER_LOSS: f64 = 2.0 * std::f64::consts::LN_2;

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

/// Designs and encodes a file at one operating point.
fn make(designer: &Designer<'_>, knob: Knob, coder: Option<Coder>) -> Result<(Design, EncodedFile)> {
    let mut design = designer.design(knob, None)?;
    feedback::apply(designer, &mut design, knob, coder)?;
    let file = encode(designer, &design, coder)?;
    Ok((design, file))
}

/// Makes the file at one operating point.
pub(crate) fn at(designer: &Designer<'_>, knob: Knob) -> Result<Found> {
    progress::start_trial(designer, designer.options.coder, "compress");
    let (design, file) = make(designer, knob, designer.options.coder)?;
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
    /// The coder asked for, or the one that made the first file smallest.
    coder: Option<Coder>,
    best: Option<Found>,
    /// Bytes of the smallest file, loss of the most precise one, within the goal or not.
    extremes: (f64, f64),
    n_trials: usize,
    told: SearchProgress,
}

impl Search<'_, '_> {
    /// Size or loss in units of the goal, by the real file: at most 1 is within it.
    fn real(&mut self, knob: Knob) -> Result<f64> {
        self.told.start(self.designer, self.coder, self.goal);
        self.n_trials += 1;
        let (design, file) = make(self.designer, knob, self.coder)?;
        self.coder = Some(file.coder);
        let (size, loss) = (file.bytes.len() as f64, file.loss());
        self.extremes = (self.extremes.0.min(size), self.extremes.1.min(loss));
        self.told.found(self.goal, size, loss);
        let value = self.in_units(size, loss);
        let better = self.best.as_ref().is_none_or(|best| match self.goal {
            Goal::Bytes(_) => loss < best.file.loss(),
            Goal::Loss(_) => size < best.file.bytes.len() as f64,
        });
        if value <= 1.0 && better {
            self.best = Some(Found {
                file,
                design,
                knob,
                n_trials: self.n_trials,
            });
        }
        Ok(value)
    }

    /// What [`real`](Self::real) would say, from samples, and the design that says it.
    fn estimate(&self, knob: Knob, samples: &Samples) -> Result<(f64, Design)> {
        let design = self.designer.design(knob, Some(samples))?;
        let losses = design.codings.iter().flatten().map(|c| c.report.distortion);
        let bytes = estimate_bytes(self.designer, &design, self.coder);
        Ok((self.in_units(bytes, losses.sum()), design))
    }

    /// What the symbols themselves take off such an estimate.
    fn saving(&self, design: &Design, samples: &Samples) -> Result<f64> {
        match self.goal {
            Goal::Bytes(bytes) => {
                Ok(estimate_saving_bytes(self.designer, design, samples, self.coder)? / bytes)
            }
            Goal::Loss(_) => Ok(0.0),
        }
    }

    fn in_units(&self, size: f64, loss: f64) -> f64 {
        match self.goal {
            Goal::Bytes(bytes) => size / bytes,
            Goal::Loss(limit) => loss / limit,
        }
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
    let mut search = Search {
        designer,
        goal,
        coder: designer.options.coder,
        best: None,
        extremes: (f64::INFINITY, f64::INFINITY),
        n_trials: 0,
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

/// Searches over the logarithm of the slope.
fn slopes(search: &mut Search<'_, '_>) -> Result<()> {
    let designer = search.designer;
    let elements = designer
        .tensors()
        .iter()
        .filter_map(tersor_codec::TensorInfo::n_elements);
    let n = elements.sum::<u64>().max(1) as f64;
    // Between noise 90 dB below the weights of every tensor and losing all of them.
    let (lowest, _, highest) = designer.stakes();
    let ends = ((lowest * 1e-9).ln(), (highest * 1e4).ln());
    let (start, secant) = match search.goal {
        Goal::Bytes(bytes) => {
            let start = slope_for_noise(designer, (-2.0 * (8.0 * bytes / n).min(24.0)).exp2());
            // At rate R, size falls with the slope as 1 - ln(slope) / (2 ln 2 R): how far to go for a given excess.
            let gain = (SLOPE_PER_LOSS * 8.0 * bytes / n).clamp(0.3, 12.0);
            (start, Secant::falling(ends, gain))
        }
        Goal::Loss(limit) => (SLOPE_PER_LOSS * limit / n, Secant::rising(ends, 1.0)),
    };
    let response = |value: f64| value.max(1e-12).ln() - AIM.ln();
    let is_close = |value: f64| (CLOSE..=1.0).contains(&value);
    let samples = Samples::new(designer)?;
    // How far real files are above what is estimated, in logarithms.
    let mut error = match search.goal {
        Goal::Bytes(_) if matches!(search.coder, None | Some(Coder::Context)) => CONTEXT_SHARE.ln(),
        _ => 0.0,
    };
    let mut real = secant.clone().forgiving();
    let mut x = start.ln().clamp(ends.0, ends.1);
    // What symbols tell beyond their counts: looked up first when that is close to the goal, and again where it leads. It matters little to
    // where to look, and much to the last percent; a real file knows it.
    let (mut symbols, mut looks) = (0.0, [SYMBOLS_FROM, NEAR].into_iter().peekable());
    for _ in 0..MAX_GUIDED {
        let mut guide = secant.clone();
        // Where the estimates are a straight line between the last two, this is what the next one would say.
        let (mut estimated, mut last) = (-error, f64::INFINITY);
        for _ in 0..MAX_ESTIMATES {
            let (value, design) = search.estimate(Knob::Slope(x.exp()), &samples)?;
            let from_counts = response(value);
            if looks
                .next_if(|near| (from_counts + error).abs() < *near)
                .is_some()
            {
                let before = symbols;
                symbols = response(value - search.saving(&design, &samples)?) - from_counts;
                error += symbols - before;
                (guide, last) = (secant.clone(), f64::INFINITY);
            }
            let y = from_counts + error;
            guide.add(x, y);
            let Some(next) = guide.next(x).filter(|_| y.abs() > NEAR) else {
                estimated = from_counts;
                break;
            };
            x = next;
            estimated = -error;
            if looks.peek().is_none() && (-STRAIGHT..0.0).contains(&(y * last)) {
                break;
            }
            last = y;
        }
        while looks.next().is_some() {}
        let value = search.real(Knob::Slope(x.exp()))?;
        if is_close(value) {
            return Ok(());
        }
        let y = response(value);
        real.add(x, y);
        error = y - estimated;
        if real.is_at_end(x, y) {
            return Ok(());
        }
    }
    // Sizes jump here, or samples mislead: real files decide.
    let ahead = designer.tensors().iter().enumerate();
    let ahead = ahead.filter(|&(index, _)| designer.is_chosen_ahead(index, search.coder));
    let n_ahead: u64 = ahead.filter_map(|(_, info)| info.n_elements()).sum();
    let (max_trials, mut step) = if n_ahead < DEAR {
        (MAX_TRIALS, SAFER)
    } else {
        (MAX_DEAR_TRIALS, DEAR_SAFER)
    };
    while search.n_trials < max_trials {
        let Some(next) = real.next(x) else { break };
        x = next;
        let value = search.real(Knob::Slope(x.exp()))?;
        if is_close(value) {
            return Ok(());
        }
        real.add(x, response(value));
    }
    // Nothing real was within the goal yet: to the safe side in growing steps.
    while search.best.is_none() && step < 20.0 {
        x = real.safer(x, step);
        search.real(Knob::Slope(x.exp()))?;
        step *= 2.0;
    }
    Ok(())
}

/// Doubling and then halving over the number of levels.
fn levels(search: &mut Search<'_, '_>) -> Result<()> {
    let within =
        |search: &mut Search<'_, '_>, k: usize| -> Result<bool> { Ok(search.real(Knob::Levels(k))? <= 1.0) };
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
