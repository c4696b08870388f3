//! Which examples settings are chosen on, and which are reported on.

use super::files::ExperimentTask;
use crate::examples::Examples;
use crate::graph::{Input, Network};
use crate::task::DataSets;
use crate::{Error, Result, Selection, Subset};
use tersor_data::Batches;

/// How the data of a network is divided. Both are written as a [`Selection`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// What statistics are gathered on: of the training set, or of the test set if there is no other.
    pub(super) calibration: &'static str,
    /// What is reported: of the test set.
    pub(super) report: &'static [&'static str],
}

/// ResNet-32 has memorised its training images, which is no matter for statistics; settings are chosen on every tenth test image.
const SMALL_IMAGES: Split = Split {
    calibration: "0..",
    report: &["!0%10", "0.."],
};
const DIGITS: Split = Split {
    calibration: "..55000",
    report: &["0.."],
};
/// Some images of ImageNet, all of them to test.
const IMAGENET: Split = Split {
    calibration: "..150",
    report: &["150.."],
};
/// ImageNet with a set to train on.
const WITH_TRAINING: Split = Split {
    calibration: "0..",
    report: &["0.."],
};
const TEXT: Split = Split {
    calibration: "150..",
    report: &["..150"],
};

impl Split {
    /// The division of a data set for a network.
    pub(super) fn of(network: &Network, data: &DataSets) -> Self {
        match network.name.as_str() {
            "squeezenet1_1" | "alexnet" if data.train.is_empty() => IMAGENET,
            "squeezenet1_1" | "alexnet" => WITH_TRAINING,
            "lenet5" => DIGITS,
            _ if matches!(network.input, Input::Tokens { .. }) => TEXT,
            _ => SMALL_IMAGES,
        }
    }

    /// The examples that statistics are gathered on.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none.
    pub(super) fn calibration<'a>(&self, task: &ExperimentTask<'a>) -> Result<Subset<'a>> {
        let sets: [&'a dyn Examples; 2] = [task.data.train.as_ref(), task.data.test.as_ref()];
        let set = sets.into_iter().find(|set| !set.is_empty());
        let set = set.ok_or_else(|| Error::Input("the data set is empty".into()))?;
        self.calibration.parse::<Selection>()?.of(set)
    }

    /// So many of these examples in random order: those that estimates of as many or more with seed 0 begin with.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none.
    pub(super) fn some<'a>(&self, task: &ExperimentTask<'a>, n: usize) -> Result<Subset<'a>> {
        let all = self.calibration(task)?;
        Ok(first(&all, n))
    }
}

/// So many of some examples, in random order.
pub(super) fn first<'a>(all: &Subset<'a>, n: usize) -> Subset<'a> {
    let order = Batches::shuffled(all.len(), n.max(1), 0, 0)
        .next()
        .unwrap_or_default();
    let index = |i: usize| all.indices.get(i).copied();
    Subset {
        examples: all.examples,
        indices: order.into_iter().filter_map(index).collect(),
    }
}
