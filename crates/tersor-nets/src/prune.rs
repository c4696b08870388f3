//! Pruning: parameters set to zero for good, the least valuable first, while the others train on.

use crate::gradient::Gradients;
use crate::graph::{ParameterSpec, Role};
use crate::sensitivity::Diagonal;
use crate::train::{Constraint, OptimizerState};
use crate::{Error, Parameters, Result};
use serde::{Deserialize, Serialize};

/// What a parameter is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Score {
    /// |w| (Han et al., 2015).
    Magnitude,
    /// h w^2, twice the loss that its removal adds (Le Cun, Denker, Solla, 1990).
    Loss,
    /// h w^2 over the bits that its removal saves: those of its position, estimated from how full its row and column or
    /// kernel are, and of its value.
    LossPerBit,
}

/// Which parameters may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Weights and biases, as in the paper.
    WeightsAndBiases,
    /// Matrices and kernels only.
    Weights,
}

impl Scope {
    fn covers(self, spec: &ParameterSpec) -> bool {
        match spec.role {
            Role::Weight => true,
            Role::Bias => self == Self::WeightsAndBiases,
            _ => false,
        }
    }
}

/// Which elements remain, for each parameter; empty where all do.
pub type Masks = Vec<Vec<bool>>;

/// Bits of a value besides its position: sign and magnitude.
const VALUE_BITS: f64 = 1.5;
/// Bits of a bias, whose position is nearly free.
const BIAS_BITS: f64 = 3.0;
/// Weight of the tensor's density in that of a row or column, in elements.
const PRIOR: f64 = 2.0;

/// Bits that each element's position and value take, from the shares of survivors in its row and its column (matrices)
/// or kernel (convolutions), each without the element itself.
fn bits(spec: &ParameterSpec, alive: &[bool]) -> Vec<f64> {
    let rows = spec.shape.first().copied().unwrap_or(1).max(1);
    let row_length = (spec.len() / rows).max(1);
    if spec.shape.len() < 2 {
        return vec![BIAS_BITS; spec.len()];
    }
    // The second direction: columns of matrices, kernels of convolutions.
    let is_kernel = spec.shape.len() == 4;
    let kernel: usize = if is_kernel {
        spec.shape.iter().skip(2).product()
    } else {
        1
    };
    let groups = if is_kernel {
        spec.len() / kernel.max(1)
    } else {
        row_length
    };
    let group_of = |i: usize| {
        if is_kernel {
            i / kernel.max(1)
        } else {
            i % row_length
        }
    };
    let (mut in_row, mut in_group) = (vec![0.0f64; rows], vec![0.0f64; groups]);
    let mut n = 0.0;
    for (i, _) in alive.iter().enumerate().filter(|(_, a)| **a) {
        n += 1.0;
        if let Some(c) = in_row.get_mut(i / row_length) {
            *c += 1.0;
        }
        if let Some(c) = in_group.get_mut(group_of(i)) {
            *c += 1.0;
        }
    }
    let alive_rows = in_row.iter().filter(|&&c| c > 0.0).count() as f64;
    let alive_groups = in_group.iter().filter(|&&c| c > 0.0).count() as f64;
    let per_row = if is_kernel {
        row_length as f64
    } else {
        alive_groups
    };
    let per_group = if is_kernel { kernel as f64 } else { alive_rows };
    let density = (n / (alive_rows * per_row).max(1.0)).clamp(1e-9, 1.0);
    let one = |i: usize| {
        let count = |counts: &[f64], at: usize| (counts.get(at).copied().unwrap_or(0.0) - 1.0).max(0.0);
        let row = (count(&in_row, i / row_length) + PRIOR * density) / (per_row + PRIOR);
        let group = (count(&in_group, group_of(i)) + PRIOR * density) / (per_group + PRIOR);
        let p = (row * group / density).clamp(1e-6, 0.5);
        VALUE_BITS - p.log2()
    };
    (0..spec.len()).map(one).collect()
}

/// Masks that keep `keep` elements of those in scope, the most valuable; elements that are zero or masked already go
/// first. `h` is needed by all scores but the magnitude.
///
/// # Errors
/// [`Error::Input`] if the sensitivities do not fit.
pub fn masks(
    parameters: &Parameters,
    h: &Diagonal,
    score: Score,
    scope: Scope,
    keep: usize,
    before: &Masks,
) -> Result<Masks> {
    let mut scores: Vec<(f64, u32, u32)> = Vec::new();
    for (at, (spec, values)) in parameters
        .iter()
        .enumerate()
        .filter(|(_, (s, _))| scope.covers(s))
    {
        let h = h.get(at).map_or(&[][..], Vec::as_slice);
        if score != Score::Magnitude && h.len() != values.len() {
            let name = &spec.name;
            return Err(Error::Input(format!(
                "there are no sensitivities for {name:?}, which this score needs"
            )));
        }
        let alive = |i: usize| before.get(at).and_then(|m| m.get(i)).copied().unwrap_or(true);
        let bits = if score == Score::LossPerBit {
            let survivors: Vec<bool> = values
                .iter()
                .enumerate()
                .map(|(i, &w)| alive(i) && w != 0.0)
                .collect();
            bits(spec, &survivors)
        } else {
            Vec::new()
        };
        for (i, &w) in values.iter().enumerate() {
            if w == 0.0 || !alive(i) {
                continue;
            }
            let loss = f64::from(h.get(i).copied().unwrap_or(1.0)) * f64::from(w) * f64::from(w);
            let value = match score {
                Score::Magnitude => f64::from(w.abs()),
                Score::Loss => loss,
                Score::LossPerBit => loss / bits.get(i).copied().unwrap_or(1.0),
            };
            scores.push((value, at as u32, i as u32));
        }
    }
    let keep = keep.min(scores.len());
    if keep < scores.len() {
        scores.select_nth_unstable_by(keep, |a, b| {
            b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2))
        });
    }
    let mut masks: Masks = parameters
        .iter()
        .map(|(spec, v)| {
            if scope.covers(spec) {
                vec![false; v.len()]
            } else {
                Vec::new()
            }
        })
        .collect();
    for &(_, at, i) in scores.iter().take(keep) {
        if let Some(slot) = masks.get_mut(at as usize).and_then(|m| m.get_mut(i as usize)) {
            *slot = true;
        }
    }
    Ok(masks)
}

/// The masks of what is zero already.
pub fn masks_of_zeros(parameters: &Parameters, scope: Scope) -> Masks {
    let mask = |(spec, values): (&ParameterSpec, &[f32])| {
        if scope.covers(spec) {
            values.iter().map(|&w| w != 0.0).collect()
        } else {
            Vec::new()
        }
    };
    parameters.iter().map(mask).collect()
}

/// Sets what the masks exclude to zero.
pub fn apply(masks: &Masks, parameters: &mut Parameters) {
    for ((_, values), mask) in parameters.iter_mut().zip(masks) {
        for (w, _) in values.iter_mut().zip(mask).filter(|(_, alive)| !**alive) {
            *w = 0.0;
        }
    }
}

/// Parameters in scope that are not zero, and all in scope.
pub fn count(parameters: &Parameters, scope: Scope) -> (usize, usize) {
    let covered = || parameters.iter().filter(|(s, _)| scope.covers(s));
    let alive = covered().flat_map(|(_, v)| v).filter(|w| **w != 0.0).count();
    (alive, covered().map(|(_, v)| v.len()).sum())
}

/// A gradual schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruneOptions {
    /// Elements that remain in the end.
    pub keep: usize,
    /// The order of removal.
    pub score: Score,
    /// What may go.
    pub scope: Scope,
    /// Share of the training after which no more is removed.
    pub until: f64,
    /// Steps between removals.
    pub every: usize,
}

/// Prunes during training: a share of the surplus goes in every round, which shrinks geometrically from what there is to
/// what shall remain; sensitivities are the optimizer's mean squared gradients. What is gone stays zero.
#[derive(Clone, Debug)]
pub struct Pruner {
    options: PruneOptions,
    from: usize,
    /// What remains; known from the first step on, of what the training begins, or goes on, with.
    masks: Option<Masks>,
    /// The first thing that went wrong.
    pub failure: Option<String>,
}

/// Exponent of the schedule: removal begins fast and ends slowly.
const HASTE: f64 = 1.5;

impl Pruner {
    /// Begins with what is not zero.
    pub fn new(parameters: &Parameters, options: PruneOptions) -> Self {
        Self {
            from: count(parameters, options.scope).0,
            masks: None,
            failure: None,
            options,
        }
    }

    /// Elements that shall remain when this share of the training is done.
    fn budget(&self, done: f64) -> usize {
        let keep = self.options.keep.min(self.from).max(1) as f64;
        let at = (done / self.options.until.max(1e-9)).clamp(0.0, 1.0);
        let share = 1.0 - (1.0 - at).powf(HASTE);
        (self.from.max(1) as f64 * (keep / self.from.max(1) as f64).powf(share)).round() as usize
    }
}

impl Constraint for Pruner {
    fn keeps_zeros(&self) -> bool {
        true
    }

    fn gradients(&mut self, gradients: &mut Gradients, parameters: &Parameters, _: f64) {
        let scope = self.options.scope;
        let masks = self
            .masks
            .get_or_insert_with(|| masks_of_zeros(parameters, scope));
        for (gradient, mask) in gradients.iter_mut().zip(masks) {
            for (g, _) in gradient.iter_mut().zip(mask).filter(|(_, alive)| !**alive) {
                *g = 0.0;
            }
        }
    }

    fn parameters(&mut self, parameters: &mut Parameters, state: &OptimizerState, done: f64) {
        let every = self.options.every.max(1) as u64;
        let is_due = state.steps.is_multiple_of(every) && done <= self.options.until;
        let is_last =
            done >= self.options.until && count(parameters, self.options.scope).0 > self.options.keep;
        let PruneOptions { score, scope, .. } = self.options;
        let budget = self.budget(done);
        let known = self
            .masks
            .get_or_insert_with(|| masks_of_zeros(parameters, scope));
        if is_due || is_last {
            let h: Diagonal = (0..parameters.specs().len())
                .map(|i| state.mean_square(i))
                .collect();
            match masks(parameters, &h, score, scope, budget, known) {
                Ok(masks) => *known = masks,
                Err(e) => self.failure = self.failure.take().or(Some(e.to_string())),
            }
        }
        apply(known, parameters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::lenet5;

    #[test]
    fn the_budget_is_met_exactly_and_the_largest_remain() {
        let parameters = Parameters::random(&lenet5(), 3);
        let kept = masks(
            &parameters,
            &Vec::new(),
            Score::Magnitude,
            Scope::WeightsAndBiases,
            1000,
            &Vec::new(),
        )
        .unwrap();
        let mut pruned = parameters.clone();
        apply(&kept, &mut pruned);
        assert_eq!(count(&pruned, Scope::WeightsAndBiases).0, 1000);
        let smallest_kept = pruned
            .iter()
            .flat_map(|(_, v)| v)
            .filter(|w| **w != 0.0)
            .fold(f32::MAX, |a, w| a.min(w.abs()));
        let removed = parameters
            .iter()
            .zip(pruned.iter())
            .flat_map(|((_, a), (_, b))| a.iter().zip(b));
        let largest_gone = removed
            .filter(|(_, b)| **b == 0.0)
            .fold(0.0f32, |m, (a, _)| m.max(a.abs()));
        assert!(largest_gone <= smallest_kept, "{largest_gone} {smallest_kept}");
    }

    #[test]
    fn lonely_survivors_cost_more_bits_than_those_in_company() {
        let spec = ParameterSpec {
            name: "w".into(),
            shape: vec![8, 100],
            role: Role::Weight,
        };
        let mut alive = vec![false; 800];
        (0..40).for_each(|i| alive[i] = true); // row 0 is crowded
        alive[750] = true; // row 7 has one
        let b = bits(&spec, &alive);
        assert!(b[750] > b[5] + 1.0, "{} {}", b[750], b[5]);
    }

    #[test]
    fn scores_without_sensitivities_are_refused() {
        let parameters = Parameters::random(&lenet5(), 3);
        let none = masks(
            &parameters,
            &Vec::new(),
            Score::Loss,
            Scope::Weights,
            10,
            &Vec::new(),
        );
        assert!(none.unwrap_err().to_string().contains("conv1.weight"));
    }
}
