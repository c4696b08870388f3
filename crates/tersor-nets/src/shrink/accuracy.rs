//! The smallest file of some accuracy: a network is shrunk to one size after another.

use super::{ShrinkOptions, ShrinkTask, Shrunk, shrink};
use crate::evaluate::{EvaluateOptions, Evaluation, evaluate};
use crate::examples::Examples;
use crate::shared::to_parameters;
use crate::train::EpochReport;
use crate::{Error, Parameters, Result};
use tersor_codec::{Limits, QuantizedCheckpoint};

/// Share of a size that is tried after it, while sizes of one side only are known.
const STRIDE: f64 = 0.7;
/// Sizes in a smaller proportion are not told apart.
const NARROW: f64 = 1.06;

/// What is wanted.
pub struct AccuracyGoal<'a> {
    /// Least share of right answers.
    pub least: f64,
    /// Examples that it is measured on, which nothing is trained on.
    pub held_out: &'a dyn Examples,
    /// Most sizes that are tried: each takes a whole run of [`shrink`].
    pub max_sizes: usize,
}

/// A file that is accurate enough.
#[derive(Clone, Debug)]
pub struct Accurate {
    /// The file.
    pub shrunk: Shrunk,
    /// What it does on the examples that were held out.
    pub held_out: Evaluation,
    /// Sizes that were tried, and their accuracies; none where no file of the size was found.
    pub tried: Vec<(u64, Option<f64>)>,
}

/// Sizes between which the smallest good one is.
#[derive(Default)]
struct Bracket {
    /// The largest that was not good enough, and the smallest that was.
    bad: Option<u64>,
    good: Option<u64>,
}

impl Bracket {
    /// The next size to try.
    fn next(&self) -> Option<u64> {
        let next = match (self.bad.map(|n| n as f64), self.good.map(|n| n as f64)) {
            (None, Some(good)) => good * STRIDE,
            (Some(bad), None) => bad / STRIDE,
            (Some(bad), Some(good)) if good > NARROW * bad => (bad * good).sqrt(),
            _ => return None,
        };
        Some((next.round() as u64).max(1))
    }
}

/// Shrinks a network to smaller and smaller files, beginning with the size of `options`, while they are accurate enough; `say` is
/// told of each epoch with the size and the name of its part. Every size has a folder of its own in the task's: a killed run goes
/// on from there.
///
/// # Errors
/// [`Error::Input`] if no size that was tried is accurate enough, with the accuracies; as [`shrink`].
pub fn shrink_to_accuracy(
    task: &ShrinkTask<'_>,
    start: &Parameters,
    options: &ShrinkOptions,
    goal: &AccuracyGoal<'_>,
    mut say: impl FnMut(&str, &EpochReport),
) -> Result<Accurate> {
    let mut bracket = Bracket::default();
    let mut best = None;
    let mut tried = Vec::new();
    let mut bytes = options.bytes;
    for _ in 0..goal.max_sizes {
        let folder = task.folder.join(format!("{bytes}-bytes"));
        let task = ShrinkTask {
            folder: &folder,
            ..*task
        };
        let options = ShrinkOptions {
            bytes,
            ..options.clone()
        };
        let say = |part: &str, report: &EpochReport| say(&format!("{bytes} bytes, {part}"), report);
        let found = match shrink(&task, start.clone(), &options, say) {
            Ok(shrunk) => Some((measure(&task, &shrunk, goal.held_out)?, shrunk)),
            Err(Error::Size(_)) => None,
            Err(other) => return Err(other),
        };
        tried.push((bytes, found.as_ref().map(|(scores, _)| scores.accuracy)));
        match found {
            Some((scores, shrunk)) if scores.accuracy >= goal.least => {
                bracket.good = Some(bytes);
                best = Some((shrunk, scores));
            }
            _ => bracket.bad = Some(bytes),
        }
        match bracket.next() {
            Some(next) => bytes = next,
            None => break,
        }
    }
    let Some((shrunk, held_out)) = best else {
        let tried: Vec<String> = tried
            .iter()
            .map(|(bytes, accuracy)| match accuracy {
                Some(accuracy) => format!("{:.2} % in {bytes} bytes", 100.0 * accuracy),
                None => format!("none in {bytes} bytes"),
            })
            .collect();
        return Err(Error::Input(format!(
            "no file has an accuracy of {:.2} %: {}; begin with a larger size, train longer, or ask for less",
            100.0 * goal.least,
            tried.join(", ")
        )));
    };
    Ok(Accurate {
        shrunk,
        held_out,
        tried,
    })
}

fn measure(task: &ShrinkTask<'_>, shrunk: &Shrunk, examples: &dyn Examples) -> Result<Evaluation> {
    let quantized = QuantizedCheckpoint::decode(&shrunk.bytes, Limits::default())?;
    let parameters = to_parameters(task.network, &quantized)?;
    let options = EvaluateOptions::default();
    let scores = evaluate(
        task.network,
        &parameters,
        examples,
        task.device,
        &options,
        task.progress,
    )?;
    Ok(scores.summary())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_close_in_on_the_smallest_good_one() {
        for (first, least) in [(1000, 300), (100, 300), (300, 300)] {
            let (mut bracket, mut bytes, mut n) = (Bracket::default(), first, 0);
            loop {
                n += 1;
                let side = if bytes >= least {
                    &mut bracket.good
                } else {
                    &mut bracket.bad
                };
                *side = Some(bytes);
                match bracket.next() {
                    Some(next) => bytes = next,
                    None => break,
                }
            }
            let good = bracket.good.unwrap();
            assert!(
                good >= least && good as f64 <= 1.07 * least as f64 && n < 10,
                "{good} after {n}"
            );
        }
    }
}
