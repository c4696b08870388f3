//! What differs between the networks of Table 1.

use crate::experiments::estimates::ALL;
use crate::experiments::pruned::Pruning;
use crate::sensitivity::{Estimate, Estimator};
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
    /// As many parameters survive as in the paper.
    pub(super) pruning: Pruning,
    /// Passes of fine-tuning.
    pub(super) finetune_epochs: usize,
    /// The paper's ratios, in the order of its quantizers; it has none of ECSQ for AlexNet.
    pub(super) ratios: [Option<f64>; 4],
    pub(super) held_out: HeldOut,
    /// What is done to images in the last part of training.
    pub(super) augment: Augment,
    /// The network that is pruned answers for mixtures of images.
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
                pruning: Pruning {
                    keep: 0.0855,
                    epochs: [10, 12, 5],
                    rates: [2e-3, 1e-3, 1e-3],
                    prunes_augmented: false,
                    distillation: None,
                },
                finetune_epochs: 1,
                ratios: [44.58, 47.16, 51.25, 49.01].map(Some),
                held_out: HeldOut::Training(5000),
                augment: Augment::affine(),
                mix: false,
                estimate: Estimate {
                    batch: 100,
                    ..Estimate::new(Estimator::Hessian, ALL)
                },
            }),
            "resnet32" => Ok(Self {
                pruning: Pruning::RESNET,
                finetune_epochs: 1,
                ratios: [18.25, 20.51, 22.17, 21.01].map(Some),
                held_out: HeldOut::EveryTenthTest,
                augment: Augment::crop_flip(),
                mix: true,
                estimate: Estimate::new(Estimator::Hessian, 5000),
            }),
            // The paper took no Hessian of AlexNet.
            "alexnet" => Ok(Self {
                pruning: Pruning {
                    keep: 0.11,
                    epochs: [0, 6, 3],
                    rates: [0.0, 1e-4, 5e-5],
                    prunes_augmented: true,
                    distillation: None,
                },
                finetune_epochs: 1,
                ratios: [Some(30.53), Some(33.71), Some(40.65), None],
                held_out: HeldOut::EveryTenthTest,
                augment: Augment::crop_flip(),
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
