//! Rules of steps, on parameters in main memory. The moments are data: Adam's second is a sensitivity.

use crate::Parameters;
use crate::graph::ParameterSpec;
use crate::sensitivity::Diagonal;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Magnitudes below this become 0, before they are denormal.
const NEGLIGIBLE: f32 = 1e-30;

/// A rule of steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Optimizer {
    /// Gradient descent with momentum.
    Sgd {
        /// Share of the last step that goes on.
        momentum: f32,
        /// Added to the gradient, times the parameter.
        weight_decay: f32,
    },
    /// Adam (Kingma and Ba, 2015).
    Adam {
        /// Decay of the mean gradient.
        beta1: f32,
        /// Decay of the mean squared gradient.
        beta2: f32,
        /// Added to the root of the mean squared gradient.
        epsilon: f32,
    },
}

impl Optimizer {
    /// Adam with the settings of its paper.
    pub const ADAM: Self = Self::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };
}

/// Moments of gradients, in the order of the parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// Steps taken.
    pub steps: u64,
    /// Means of gradients, or momentum.
    pub first: Vec<Vec<f32>>,
    /// Means of squared gradients.
    pub second: Vec<Vec<f32>>,
    pub(super) beta2: f32,
}

fn flush(x: f32) -> f32 {
    if x.abs() < NEGLIGIBLE { 0.0 } else { x }
}

impl OptimizerState {
    /// Moments of zero.
    pub fn new(parameters: &Parameters) -> Self {
        let zeros = || parameters.iter().map(|(_, v)| vec![0.0; v.len()]).collect();
        Self {
            steps: 0,
            first: zeros(),
            second: zeros(),
            beta2: 0.0,
        }
    }

    /// Adam's second moment of one parameter with its bias removed: a mean of squared gradients. Zeros before the first
    /// step.
    pub fn mean_square(&self, index: usize) -> Vec<f32> {
        let correction = 1.0 - f64::from(self.beta2).powf(self.steps as f64);
        let scale = if correction > 0.0 {
            (1.0 / correction) as f32
        } else {
            0.0
        };
        self.second
            .get(index)
            .map_or_else(Vec::new, |v| v.iter().map(|v| v * scale).collect())
    }

    /// [`mean_square`](Self::mean_square) of all parameters that are trained, and nothing of the others.
    pub fn mean_squares(&self, specs: &[ParameterSpec]) -> Diagonal {
        let of = |(i, spec): (usize, &ParameterSpec)| {
            if spec.role.is_trainable() {
                self.mean_square(i)
            } else {
                Vec::new()
            }
        };
        specs.iter().enumerate().map(of).collect()
    }

    /// Takes a step. Parameters without gradient stay.
    pub fn step(
        &mut self,
        optimizer: &Optimizer,
        parameters: &mut Parameters,
        gradients: &[Vec<f32>],
        rate: f32,
    ) {
        self.steps += 1;
        if let Optimizer::Adam { beta2, .. } = *optimizer {
            self.beta2 = beta2;
        }
        let steps = self.steps as f64;
        let moments = self.first.iter_mut().zip(self.second.iter_mut());
        let work: Vec<_> = parameters
            .iter_mut()
            .zip(gradients)
            .zip(moments)
            .filter(|(((spec, _), g), _)| spec.role.is_trainable() && !g.is_empty())
            .collect();
        work.into_par_iter().for_each(|(((_, w), g), (m, v))| {
            let all = w.iter_mut().zip(g).zip(m.iter_mut().zip(v.iter_mut()));
            match *optimizer {
                Optimizer::Sgd {
                    momentum,
                    weight_decay,
                } => {
                    for ((w, g), (m, _)) in all {
                        *m = flush(momentum * *m + g + weight_decay * *w);
                        *w = flush(*w - rate * *m);
                    }
                }
                Optimizer::Adam {
                    beta1,
                    beta2,
                    epsilon,
                } => {
                    let bias1 = (1.0 - f64::from(beta1).powf(steps)) as f32;
                    let bias2 = (1.0 - f64::from(beta2).powf(steps)) as f32;
                    for ((w, g), (m, v)) in all {
                        *m = flush(beta1 * *m + (1.0 - beta1) * g);
                        *v = flush(beta2 * *v + (1.0 - beta2) * g * g);
                        *w = flush(*w - rate * (*m / bias1) / ((*v / bias2).sqrt() + epsilon));
                    }
                }
            }
        });
    }
}
