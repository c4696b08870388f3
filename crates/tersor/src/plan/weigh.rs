//! How much each tensor matters: from the sensitivity file, or from what is assumed where it says nothing.

use super::{Plan, TensorPlan, Treatment};
use crate::Result;
use crate::sensitivity::{Sensitivities, TensorSensitivity};
use rayon::prelude::*;
use tersor_codec::TensorInfo;

/// Where a tensor's sensitivities come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SensitivitySource {
    /// The sensitivity file.
    File,
    /// The same for all elements of the tensor: 1 if all weights are to be alike, what suits its size, or what suits the covered tensors.
    Default,
    /// In inverse proportion to the square of each element: equal relative precision.
    Relative,
}

impl SensitivitySource {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Default => "equal",
            Self::Relative => "relative",
        }
    }
}

impl Plan {
    /// Takes weights of small tensors to matter more, in inverse proportion to the cube root of their number; 1 in the mean of all weights.
    ///
    /// A layer passes on what it is given: were all as much off, the network would be off by what each adds. At one error per weight the large ones
    /// would add most, and a bit more is dearest there. Measured in `docs/results/no-data.md`.
    pub(super) fn weigh_by_size(&mut self, tensors: &[TensorInfo]) {
        let n = |info: &TensorInfo| info.n_elements().unwrap_or(0) as f64;
        let main = || {
            let both = self.tensors.iter().zip(tensors);
            both.filter(|(p, _)| p.treatment == Treatment::Main)
                .map(|(_, t)| n(t))
        };
        let scale = main().sum::<f64>() / main().map(|n| n / n.cbrt()).sum::<f64>();
        for (plan, info) in self.tensors.iter_mut().zip(tensors) {
            if plan.treatment == Treatment::Main {
                plan.mean_h = scale / n(info).cbrt();
            }
        }
    }

    /// Finds every tensor's mean sensitivity.
    pub(super) fn weigh(
        &mut self,
        tensors: &[TensorInfo],
        sensitivities: Option<&Sensitivities>,
    ) -> Result<()> {
        let means: Result<Vec<Option<f64>>> = (0..tensors.len())
            .into_par_iter()
            .map(|index| {
                let h = self.load_h(tensors, sensitivities, index)?;
                Ok(h.map(|h| h.mean()))
            })
            .collect();
        for (plan, mean) in self.tensors.iter_mut().zip(means?) {
            if let Some(mean) = mean {
                plan.mean_h = mean;
                plan.sensitivity = SensitivitySource::File;
            }
        }
        let is = |plan: &TensorPlan, treatment: &Treatment| plan.treatment == *treatment;
        let covered = |p: &&TensorPlan| p.sensitivity == SensitivitySource::File;
        // What the covered tensors, or all, stake per element: h x mean(w^2).
        let stake = |treatment: &Treatment, all: bool| {
            let chosen = self
                .tensors
                .iter()
                .filter(|p| is(p, treatment))
                .filter(|p| all || covered(p));
            let mut stakes: Vec<f64> = chosen.map(TensorPlan::stake).filter(|s| *s > 0.0).collect();
            stakes.sort_unstable_by(f64::total_cmp);
            stakes.get(stakes.len() / 2).copied()
        };
        let count = |treatment: &Treatment| -> u64 {
            self.tensors
                .iter()
                .zip(tensors)
                .filter(|(p, _)| is(p, treatment))
                .filter_map(|(_, t)| t.n_elements())
                .sum()
        };
        // An element of a one-dimensional tensor acts on a whole row of weights.
        let row = (count(&Treatment::Main) as f64 / count(&Treatment::Fine).max(1) as f64).clamp(1.0, 4096.0);
        let given = sensitivities.is_some();
        let main_stake = stake(&Treatment::Main, !given);
        let fine_stake = stake(&Treatment::Fine, false)
            .or(main_stake.map(|s| s * row))
            .or_else(|| stake(&Treatment::Fine, true));
        let mut missing: Vec<&str> = Vec::new();
        for (plan, info) in self.tensors.iter_mut().zip(tensors) {
            if plan.sensitivity == SensitivitySource::File {
                continue;
            }
            match plan.treatment {
                Treatment::Fine => {
                    plan.sensitivity = SensitivitySource::Relative;
                    plan.mean_h = fine_stake.unwrap_or(1.0);
                }
                Treatment::Main if given => {
                    plan.mean_h = main_stake.unwrap_or(1.0) / plan.mean_square.max(f64::MIN_POSITIVE);
                    missing.push(info.name.as_str());
                }
                _ => {}
            }
        }
        if let Some(first) = missing.first() {
            let which = match missing.len() {
                1 => format!("1 tensor of two or more dimensions is not in the sensitivity file: {first:?}"),
                n => format!(
                    "{n} tensors of two or more dimensions are not in the sensitivity file, the first is {first:?}"
                ),
            };
            let what = "what is not there gets the median importance of what is, so the predicted loss is partly a guess";
            self.warnings.push(format!("{which}; {what}"));
        }
        if let Some(sensitivities) = sensitivities.filter(|s| !s.unused.is_empty()) {
            let names = sensitivities
                .unused
                .iter()
                .take(3)
                .map(|n| format!("{n:?}"))
                .collect::<Vec<_>>()
                .join(", ");
            let n = sensitivities.unused.len();
            self.warnings.push(format!(
                "the sensitivity file has {n} entries that belong to no tensor: {names}"
            ));
        }
        Ok(())
    }

    /// Sensitivities of all elements of a quantized tensor from the file, those of its aliases added.
    pub(crate) fn load_h<'s>(
        &self,
        tensors: &[TensorInfo],
        sensitivities: Option<&'s Sensitivities>,
        index: usize,
    ) -> Result<Option<TensorSensitivity<'s>>> {
        let (Some(file), Some(plan)) = (sensitivities, self.tensors.get(index)) else {
            return Ok(None);
        };
        if !matches!(plan.treatment, Treatment::Fine | Treatment::Main) {
            return Ok(None);
        }
        let mut sum: Option<TensorSensitivity<'s>> = None;
        for &index in std::iter::once(&index).chain(&plan.aliases) {
            let Some(info) = tensors.get(index) else { continue };
            sum = match (sum, file.load(index, info)?) {
                (None, h) => h,
                (sum, None) => sum,
                (Some(mut sum), Some(h)) => {
                    sum.add(&h);
                    Some(sum)
                }
            };
        }
        Ok(sum)
    }
}
