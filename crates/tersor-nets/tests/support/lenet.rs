//! LeNet-5 with a few digits, for experiments.

use tempfile::TempDir;
use tersor::Silent;
use tersor_data::Augment;
use tersor_nets::experiments::ExperimentTask;
use tersor_nets::graph::Network;
use tersor_nets::task::{DataOptions, DataSets, network, open_data};
use tersor_nets::train::{Free, Optimizer, Schedule, TrainOptions, TrainingRun};
use tersor_nets::{Device, Parameters, open_device};

/// What experiments need, in a folder of its own.
pub(crate) struct Lenet {
    pub(crate) network: Network,
    pub(crate) data: DataSets,
    pub(crate) device: Device,
    pub(crate) folder: TempDir,
}

impl Lenet {
    pub(crate) fn new(augment: Augment) -> Self {
        let network = network("lenet5").unwrap();
        let options = DataOptions {
            augment,
            tokenizer: None,
        };
        Self {
            data: open_data(&network, "digits:400", &options).unwrap(),
            network,
            device: open_device("cpu").unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn task(&self) -> ExperimentTask<'_> {
        ExperimentTask {
            network: &self.network,
            data: &self.data,
            device: &self.device,
            folder: self.folder.path(),
            progress: &Silent,
        }
    }

    /// The network, trained for a moment.
    pub(crate) fn trained(&self, epochs: usize) -> Parameters {
        let options = TrainOptions {
            epochs,
            batch: 50,
            seed: 1,
            optimizer: Optimizer::ADAM,
            schedule: Schedule::Constant { rate: 1e-3 },
            batch_statistics: 1.0,
        };
        let run = TrainingRun {
            network: &self.network,
            examples: self.data.train.as_ref(),
            device: &self.device,
            options: &options,
            teacher: None,
            path: None,
        };
        let start = Parameters::random(&self.network, 1);
        run.run(start, |_| Free, &Silent, |_| ()).unwrap().0
    }
}
