//! Weights that stay where they are while the others train.

use super::layers::Symbols;
use crate::Parameters;
use crate::gradient::Gradients;
use crate::graph::{Network, Role};
use crate::sensitivity::Diagonal;
use crate::train::{Constraint, OptimizerState};

/// Which elements of each parameter stay, and at what value; empty for parameters that are neither weights nor biases.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frozen {
    values: Vec<Vec<Option<f32>>>,
}

/// Whether a parameter is quantized on a grid of its own.
pub(super) fn is_weight(role: Role) -> bool {
    matches!(role, Role::Weight | Role::Embedding)
}

impl Frozen {
    /// Weights and biases that are zero stay zero.
    pub(super) fn zeros(network: &Network, parameters: &Parameters) -> Self {
        let of = |(i, spec): (usize, &crate::graph::ParameterSpec)| {
            if !is_weight(spec.role) && spec.role != Role::Bias {
                return Vec::new();
            }
            let zero = |&w: &f32| (w == 0.0).then_some(0.0);
            parameters.values(i).iter().map(zero).collect()
        };
        Self {
            values: network.parameters.iter().enumerate().map(of).collect(),
        }
    }

    /// Keeps all elements of a parameter where they are.
    pub(super) fn fix(&mut self, parameter: usize, values: &[f32]) {
        if let Some(kept) = self.values.get_mut(parameter) {
            *kept = values.iter().copied().map(Some).collect();
        }
    }

    /// The value that an element stays at.
    pub(super) fn at(&self, parameter: usize, element: usize) -> Option<f32> {
        self.values.get(parameter)?.get(element).copied().flatten()
    }

    /// Moves weights to the levels of their symbols and keeps them there, until a share of all that are not zero is: the most
    /// sensitive first.
    pub(super) fn extend(
        &mut self,
        parameters: &mut Parameters,
        symbols: &[Symbols],
        h: &Diagonal,
        share: f64,
    ) {
        // Sensitivity, index among the symbols, and element.
        let mut free: Vec<(f32, u32, u32)> = Vec::new();
        let (mut kept, mut all) = (0usize, 0usize);
        for (at, &Symbols { parameter, .. }) in symbols.iter().enumerate() {
            for (element, &w) in parameters.values(parameter).iter().enumerate() {
                let frozen = self.at(parameter, element);
                all += usize::from(w != 0.0);
                kept += usize::from(w != 0.0 && frozen.is_some());
                if frozen.is_none() {
                    let h = h.get(parameter).and_then(|h| h.get(element));
                    free.push((h.copied().unwrap_or(0.0), at as u32, element as u32));
                }
            }
        }
        let wanted = ((share * all as f64).round() as usize).saturating_sub(kept);
        if share < 1.0 && wanted < free.len() {
            free.select_nth_unstable_by(wanted, |a, b| {
                b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2))
            });
            free.truncate(wanted);
        }
        for (_, at, element) in free {
            let (Some(Symbols { parameter, layer }), element) = (symbols.get(at as usize), element as usize)
            else {
                continue;
            };
            let symbol = layer.symbols.get(element).copied().unwrap_or_default();
            let value = layer.grid.value(symbol.into());
            if let Some(slot) = self.values.get_mut(*parameter).and_then(|v| v.get_mut(element)) {
                *slot = Some(value);
            }
            if let Some(w) = parameters.values_mut(*parameter).get_mut(element) {
                *w = value;
            }
        }
    }
}

impl Constraint for Frozen {
    fn keeps_zeros(&self) -> bool {
        true
    }

    fn gradients(&mut self, gradients: &mut Gradients, _: &Parameters, _: f64) {
        for (gradient, values) in gradients.iter_mut().zip(&self.values) {
            for (g, _) in gradient.iter_mut().zip(values).filter(|(_, v)| v.is_some()) {
                *g = 0.0;
            }
        }
    }

    fn parameters(&mut self, parameters: &mut Parameters, _: &OptimizerState, _: f64) {
        for (i, values) in self.values.iter().enumerate() {
            for (w, value) in parameters.values_mut(i).iter_mut().zip(values) {
                if let Some(value) = value {
                    *w = *value;
                }
            }
        }
    }
}
