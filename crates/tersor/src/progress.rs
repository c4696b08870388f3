//! Telling a person how far long work is.

use crate::design::Designer;
use crate::plan::Treatment;
use crate::search::Goal;
use tersor_codec::Coder;

/// Receives the progress of one piece of work at a time.
pub trait Progress: Sync {
    /// Work begins: its name and its size, in units that [`advance`](Self::advance) counts.
    fn start(&self, what: &str, total: u64);
    /// So much more of it is done.
    fn advance(&self, amount: u64);
    /// What is going on, in a few words.
    fn note(&self, _text: &str) {}
    /// Work ends.
    fn finish(&self);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// Begins to tell of one file that is made, in elements: those of two or more dimensions are designed for, the symbols
/// of some are found ahead, and all that are quantized are encoded with the coder, or with every one if it is not chosen yet.
pub(crate) fn start_trial(designer: &Designer<'_>, coder: Option<Coder>, what: &str) {
    let n_coders = coder.map_or(Coder::ENTROPY.len(), |_| 1) as u64;
    let plans = designer.plan.tensors.iter().zip(designer.tensors()).enumerate();
    let steps = plans.map(|(index, (plan, info))| {
        let passes = match plan.treatment {
            Treatment::Main | Treatment::Fine if designer.given.has(index) => n_coders,
            Treatment::Main => 1 + u64::from(designer.is_chosen_ahead(index, coder)) + n_coders,
            Treatment::Fine | Treatment::Constant(_) => n_coders,
            Treatment::Raw(_) | Treatment::Alias(_) => 0,
        };
        passes * info.n_elements().unwrap_or(0)
    });
    designer.progress.start(what, steps.sum());
}

/// What a search has to tell: how often it tried, and how close it came.
#[derive(Debug, Default)]
pub(crate) struct SearchProgress {
    n_trials: usize,
    closest: Option<f64>,
    note: String,
}

impl SearchProgress {
    /// The next trial begins.
    pub(crate) fn start(&mut self, designer: &Designer<'_>, coder: Option<Coder>, goal: Goal) {
        self.n_trials += 1;
        start_trial(designer, coder, &format!("trial {}", self.n_trials));
        let target = match goal {
            Goal::Bytes(bytes) => format!("target {bytes:.0} bytes"),
            Goal::Loss(loss) => format!("target loss {loss:.3e}"),
        };
        designer.progress.note(&format!("{target}{}", self.note));
    }

    /// A file was made.
    pub(crate) fn found(&mut self, goal: Goal, size_bytes: f64, loss: f64) {
        let (share, text) = match goal {
            Goal::Bytes(bytes) => (size_bytes / bytes, format!(", so far {size_bytes} bytes")),
            Goal::Loss(limit) => (loss / limit, format!(", so far {loss:.3e} in {size_bytes} bytes")),
        };
        // Within the goal, the more of it is used the better; else the less it is exceeded.
        let rank = |share: f64| if share <= 1.0 { share } else { -share };
        if self.closest.is_none_or(|closest| rank(share) > rank(closest)) {
            self.closest = Some(share);
            self.note = text;
        }
    }
}
