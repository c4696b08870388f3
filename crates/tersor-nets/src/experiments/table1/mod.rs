//! The paper's Table 1: pruned networks, four quantizers at the paper's ratios, gaps and Huffman codes, shared values fine-tuned; whole
//! files.

mod report;
mod run;
mod setting;

pub use report::{Table1Network, Table1Report, Table1Row, check_table1};

use crate::examples::Mixed;
use crate::experiments::files::claim;
use crate::experiments::pruned::{PrunedTraining, Pruning};
use crate::graph::Network;
use crate::task::{DataOptions, open_data};
use crate::{Error, Parameters, Result, Selection, Subset};
use burn::tensor::Device;
use report::read_report;
use run::Run;
use setting::{HeldOut, Setting};
use std::path::Path;
use tersor::Progress;
use tersor_data::Augment;

/// Settings of the reproduction.
#[derive(Clone, Debug)]
pub struct Table1Options<'a> {
    /// LeNet-5, ResNet-32 or AlexNet.
    pub network: &'a Network,
    /// What is pruned; without it the network is trained first.
    pub start: Option<Parameters>,
    /// A data set that [`open_data`] opens for the network, with one to train on.
    pub data: &'a str,
    /// One run for each.
    pub seeds: &'a [u64],
    /// Passes: dense, while pruning, on the pruned net, and of fine-tuning. `None`: those of the reported table.
    pub epochs: Option<[usize; 4]>,
}

/// Makes the table in `folder`: a report, the files behind its rows, and the state of every training, from which a killed
/// run goes on.
///
/// # Errors
/// Whatever a step returns.
pub fn table1(
    options: &Table1Options<'_>,
    folder: &Path,
    device: &Device,
    progress: &dyn Progress,
    mut say: impl FnMut(&str),
) -> Result<Table1Report> {
    let network = options.network;
    let setting = Setting::of(&network.name)?;
    if options.start.is_none() && setting.pruning.rates[0] == 0.0 {
        return Err(Error::Input(format!(
            "{} is not trained here; give --weights to begin with",
            network.name
        )));
    }
    let open = |augment| {
        let options_of_data = DataOptions {
            augment,
            tokenizer: None,
        };
        open_data(network, options.data, &options_of_data)
    };
    let (plain, augmented) = (open(Augment::None)?, open(setting.augment)?);
    if plain.train.is_empty() {
        return Err(Error::Input(format!(
            "{} has no images to train on: give a folder with train and val",
            options.data
        )));
    }
    let part = |examples, range: std::ops::Range<usize>| Subset {
        examples,
        indices: range.collect(),
    };
    let n = match setting.held_out {
        HeldOut::Training(n) => plain.train.len().saturating_sub(n),
        HeldOut::EveryTenthTest => plain.train.len(),
    };
    let held_out = match setting.held_out {
        HeldOut::Training(_) => part(plain.train.as_ref(), n..plain.train.len()),
        HeldOut::EveryTenthTest => "0%10".parse::<Selection>()?.of(plain.test.as_ref())?,
    };
    let augmented_part = part(augmented.train.as_ref(), 0..n);
    let mixed = Mixed {
        examples: &augmented_part,
    };
    let [dense, prune, settle] = setting.pruning.epochs;
    let epochs = options
        .epochs
        .unwrap_or([dense, prune, settle, setting.finetune_epochs]);
    let [dense, prune, settle, finetune_epochs] = epochs;
    let run = Run {
        training: PrunedTraining {
            network,
            plain: &part(plain.train.as_ref(), 0..n),
            augmented: if setting.mix { &mixed } else { &augmented_part },
            device,
            folder,
            progress,
            how: Pruning {
                epochs: [dense, prune, settle],
                ..setting.pruning
            },
        },
        start: options.start.as_ref(),
        held_out: &held_out,
        test: plain.test.as_ref(),
        finetune_epochs,
        setting,
    };
    claim(network, options.start.as_ref(), &plain, folder)?;
    let mut report = read_report(network, folder)?.unwrap_or_default();
    if report.epochs.is_some_and(|made_with| made_with != epochs) {
        return Err(Error::Input(format!(
            "{} belongs to a run with other epochs, {:?}; give another folder",
            folder.display(),
            report.epochs.unwrap_or_default()
        )));
    }
    report.epochs = Some(epochs);
    run.save(&report)?;
    for &seed in options.seeds {
        run.seed(seed, &mut report, &mut say)?;
    }
    Ok(report)
}
