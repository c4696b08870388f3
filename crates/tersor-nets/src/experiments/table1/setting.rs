//! What differs between the networks of Table 1.

use crate::experiments::estimates::ALL;
use crate::sensitivity::{Estimate, Estimator};
use crate::train::Distillation;
use crate::{Error, Result};
use tersor_data::Augment;

/// Which examples settings are chosen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldOut {
    /// The last so many of the training set, which nothing is trained on.
    Training(usize),
    /// Every tenth of the test set, which is reported as a whole.
    EveryTenthTest,
}

/// A row of the paper's table and how it is repeated.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Share of the parameters that survive (paper).
    pub(super) keep: f64,
    /// The paper's ratios, in the order of its quantizers; it has none of ECSQ for AlexNet.
    pub(super) ratios: [Option<f64>; 4],
    pub(super) held_out: HeldOut,
    /// What is done to images in the last stage of training, and whether already while pruning.
    pub(super) augment: Augment,
    pub(super) prunes_augmented: bool,
    /// Passes, unless stated: dense, while pruning, on the pruned net, of fine-tuning.
    pub(super) epochs: [usize; 4],
    /// Highest rates of learning of the first three.
    pub(super) rates: [f64; 3],
    /// How the pruned network learns from the one that is pruned, in place of labels: for one that knows its training set by heart.
    pub(super) distillation: Option<Distillation>,
    /// It answers for mixtures of images.
    pub(super) mix: bool,
    pub(super) estimate: Estimate,
}

impl Setting {
    /// Its setting.
    ///
    /// # Errors
    /// [`Error::Input`] for a network that the table does not have.
    pub(super) fn of(network: &str) -> Result<Self> {
        match network {
            "lenet5" => Ok(Self {
                keep: 0.0855,
                ratios: [44.58, 47.16, 51.25, 49.01].map(Some),
                held_out: HeldOut::Training(5000),
                augment: Augment::affine(),
                prunes_augmented: false,
                epochs: [10, 12, 5, 1],
                rates: [2e-3, 1e-3, 1e-3],
                distillation: None,
                mix: false,
                estimate: Estimate {
                    batch: 100,
                    ..Estimate::new(Estimator::Hessian, ALL)
                },
            }),
            "resnet32" => Ok(Self {
                keep: 0.2,
                ratios: [18.25, 20.51, 22.17, 21.01].map(Some),
                held_out: HeldOut::EveryTenthTest,
                augment: Augment::crop_flip(),
                prunes_augmented: true,
                epochs: [0, 10, 10, 1],
                rates: [0.0, 4e-3, 2e-3],
                distillation: Some(Distillation {
                    temperature: 4.0,
                    features: 1000.0,
                }),
                mix: true,
                estimate: Estimate::new(Estimator::Hessian, 5000),
            }),
            // The paper took no Hessian of AlexNet.
            "alexnet" => Ok(Self {
                keep: 0.11,
                ratios: [Some(30.53), Some(33.71), Some(40.65), None],
                held_out: HeldOut::EveryTenthTest,
                augment: Augment::crop_flip(),
                prunes_augmented: true,
                epochs: [0, 6, 3, 1],
                rates: [0.0, 1e-4, 5e-5],
                distillation: None,
                mix: false,
                estimate: Estimate {
                    batch: 64,
                    ..Estimate::new(Estimator::SqrtAdam, 50_000)
                },
            }),
            _ => Err(Error::Input(format!(
                "table 1 has lenet5, resnet32 and alexnet, not {network}"
            ))),
        }
    }
}
