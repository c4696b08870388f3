//! The LeNet row of the paper's Table 1: pruned to 8.55 %, four quantizers at the paper's ratios, gaps and Huffman codes,
//! shared values fine-tuned; three seeds, whole files.

use super::adam;
use super::methods::{Bench, MethodRow, PAPER_METHODS, lossless_bytes, read};
use super::record::{Checked, read_json, write_json};
use crate::Subset;
use crate::evaluate::{EvaluateOptions, evaluate};
use crate::examples::Examples;
use crate::graph::Network;
use crate::prune::{PruneOptions, Pruner, Scope as PruneScope, Score, apply, masks_of_zeros};
use crate::sensitivity::{Recorded, second_order, write_sensitivities};
use crate::shared::{FinetuneOptions, to_parameters};
use crate::task::{DataOptions, open_data};
use crate::train::{Constraint, Free, OptimizerState, Schedule, TrainOptions, TrainingRun};
use crate::{Error, Parameters, Result, models};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tersor::Progress;
use tersor::options::{Method, Scope};
use tersor_codec::Coder;
use tersor_data::Augment;

/// The paper's share of parameters that survive.
const KEEP: f64 = 0.0855;
/// The paper's ratios, in the order of [`PAPER_METHODS`].
const RATIOS: [f64; 4] = [44.58, 47.16, 51.25, 49.01];
/// Training images that are held out: settings are chosen on them, never on the test set.
const HELD_OUT: usize = 5000;

/// Settings of the reproduction.
#[derive(Clone, Debug)]
pub struct Table1Options<'a> {
    /// A folder with MNIST, or what else [`open_data`] opens for LeNet-5.
    pub data: &'a str,
    /// One run for each.
    pub seeds: &'a [u64],
    /// Passes: dense, while pruning, with augmentation on the pruned net, and of fine-tuning.
    pub epochs: [usize; 4],
}

impl Table1Options<'_> {
    /// The passes that the reported table took.
    pub const EPOCHS: [usize; 4] = [10, 12, 5, 1];
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table1Row {
    /// Of training.
    pub seed: u64,
    /// The file after fine-tuning, beside the report.
    pub file: PathBuf,
    /// The paper's ratio for this quantizer.
    pub paper_ratio: f64,
    /// Measured on the test set.
    pub result: MethodRow,
    /// Accuracy of the fine-tuned file on the held-out training images.
    pub held_out_accuracy: f64,
    /// Loss of the fine-tuned file on the held-out training images, nats.
    pub held_out_loss: f64,
}

/// A network before quantization.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table1Network {
    /// Of training.
    pub seed: u64,
    /// Test accuracy of the dense network.
    pub dense_accuracy: f64,
    /// Test accuracy of the pruned one.
    pub pruned_accuracy: f64,
    /// Test loss of the pruned one, nats.
    pub pruned_loss: f64,
    /// Ratio of the pruned one, its survivors as f32.
    pub pruned_ratio: f64,
    /// Parameters that survive.
    pub n_survivors: usize,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table1Report {
    /// One for each seed.
    pub networks: Vec<Table1Network>,
    /// One for each seed and quantizer.
    pub rows: Vec<Table1Row>,
}

/// Keeps zeros zero.
struct Fixed(crate::prune::Masks);

impl Constraint for Fixed {
    fn parameters(&mut self, parameters: &mut Parameters, _: &OptimizerState, _: f64) {
        apply(&self.0, parameters);
    }
}

/// What all seeds share.
struct Setting<'a> {
    network: &'a Network,
    plain: &'a dyn Examples,
    augmented: &'a dyn Examples,
    held_out: &'a dyn Examples,
    test: &'a dyn Examples,
    device: &'a Device,
    folder: &'a Path,
    epochs: [usize; 4],
    progress: &'a dyn Progress,
}

impl Setting<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The dense and the pruned network of one seed, from their files if they are there.
    fn networks(&self, seed: u64, say: &mut dyn FnMut(&str)) -> Result<(Parameters, Parameters)> {
        let mut run = |stage: &str, augmented: bool, options: &TrainOptions, start, kind: Kind| {
            let path = self.path(&format!("{stage}-{seed}.training.safetensors"));
            let run = TrainingRun {
                network: self.network,
                examples: if augmented { self.augmented } else { self.plain },
                device: self.device,
                options,
                teacher: None,
                path: Some(&path),
            };
            let mut report = |r: &crate::train::EpochReport| {
                say(&format!(
                    "seed {seed}, {stage}: epoch {} of {}, loss {:.4}",
                    r.epoch, options.epochs, r.loss
                ));
            };
            let progress = self.progress;
            Ok::<_, Error>(match kind {
                Kind::Dense => run.run(start, |_| Free, progress, &mut report)?.0,
                Kind::Prune(keep) => {
                    let prune = PruneOptions {
                        keep,
                        score: Score::Magnitude,
                        scope: PruneScope::WeightsAndBiases,
                        until: 0.58,
                        every: 25,
                    };
                    run.run(start, |p| Pruner::new(p, prune), progress, &mut report)?
                        .0
                }
                Kind::Fixed => {
                    let make = |p: &Parameters| Fixed(masks_of_zeros(p, PruneScope::WeightsAndBiases));
                    run.run(start, make, progress, &mut report)?.0
                }
            })
        };
        let [dense, prune, augmented, _] = self.epochs;
        let start = Parameters::random(self.network, seed);
        let dense = run("dense", false, &adam(dense, 2e-3, seed), start, Kind::Dense)?;
        let keep = (KEEP * self.network.n_trainable() as f64).round() as usize;
        let pruned = run(
            "pruned",
            false,
            &adam(prune, 1e-3, seed + 100),
            dense.clone(),
            Kind::Prune(keep),
        )?;
        let tuned = run(
            "augmented",
            true,
            &adam(augmented, 1e-3, seed + 200),
            pruned,
            Kind::Fixed,
        )?;
        Ok((dense, tuned))
    }

    fn seed(&self, seed: u64, report: &mut Table1Report, say: &mut dyn FnMut(&str)) -> Result<()> {
        let (dense, pruned) = self.networks(seed, say)?;
        let sensitivity = self.path(&format!("hessian-{seed}.safetensors"));
        if !sensitivity.is_file() {
            let samples = (self.plain.len(), 100, seed);
            let h = second_order(
                self.network,
                &pruned,
                self.plain,
                self.device,
                samples,
                self.progress,
            )?;
            let recorded = Recorded {
                estimator: "hessian".into(),
                samples: samples.0,
                ..Recorded::default()
            };
            write_sensitivities(&sensitivity, &self.network.parameters, &h, &[], &recorded, true)?;
        }
        let checkpoint = pruned.to_checkpoint()?;
        let bench = Bench {
            network: self.network,
            checkpoint: &checkpoint,
            sensitivity: &sensitivity,
            train: self.augmented,
            test: self.test,
            device: self.device,
            finetune: FinetuneOptions {
                epochs: self.epochs[3],
                batch: 128,
                schedule: Schedule::Cosine {
                    peak: 3e-4,
                    warmup: 0.0,
                    floor: 0.01,
                },
                seed,
            },
            progress: self.progress,
        };
        let float_bytes = 4 * self.network.n_trainable() as u64;
        if !report.networks.iter().any(|n| n.seed == seed) {
            let dense = bench.measure(&dense, float_bytes)?;
            let measured = bench.measure(&pruned, lossless_bytes(&checkpoint)?)?;
            report.networks.push(Table1Network {
                seed,
                dense_accuracy: dense.accuracy,
                pruned_accuracy: measured.accuracy,
                pruned_loss: measured.loss,
                pruned_ratio: measured.ratio,
                n_survivors: crate::prune::count(&pruned, PruneScope::WeightsAndBiases).0,
            });
        }
        for (method, paper_ratio) in PAPER_METHODS.into_iter().zip(RATIOS) {
            let is_done = |r: &Table1Row| r.seed == seed && r.result.method == method.name();
            if report.rows.iter().any(is_done) {
                continue;
            }
            let row = self.row(&bench, method, seed, paper_ratio)?;
            say(&format!(
                "seed {seed}, {method}: {} bytes, {:.2}x, {:.2} % -> {:.2} %",
                row.result.after.bytes,
                row.result.after.ratio,
                100.0 * row.result.before.accuracy,
                100.0 * row.result.after.accuracy
            ));
            report.rows.push(row);
            self.save(report)?;
        }
        self.save(report)
    }

    fn row(&self, bench: &Bench<'_>, method: Method, seed: u64, paper_ratio: f64) -> Result<Table1Row> {
        let file = PathBuf::from(format!("{method}-{seed}.tersor"));
        let path = self.folder.join(&file);
        let bytes = (4.0 * self.network.n_trainable() as f64 / paper_ratio) as u64;
        let result = bench.row(method, Scope::Global, Coder::Huffman, bytes, &path)?;
        let parameters = to_parameters(self.network, &read(&path)?.0)?;
        let options = EvaluateOptions::default();
        let scores = evaluate(
            self.network,
            &parameters,
            self.held_out,
            self.device,
            &options,
            self.progress,
        )?;
        let held_out = scores.summary();
        Ok(Table1Row {
            seed,
            file,
            paper_ratio,
            result,
            held_out_accuracy: held_out.accuracy,
            held_out_loss: held_out.loss,
        })
    }

    fn save(&self, report: &Table1Report) -> Result<()> {
        write_json(&self.path(REPORT), report)
    }
}

/// What a stage does besides training.
#[derive(Clone, Copy)]
enum Kind {
    Dense,
    Prune(usize),
    Fixed,
}

/// Name of the report in the folder.
const REPORT: &str = "table1-lenet5.json";

fn read_report(folder: &Path) -> Result<Option<Table1Report>> {
    let path = folder.join(REPORT);
    if !path.is_file() {
        return Ok(None);
    }
    read_json(&path).map(Some)
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
    let network = models::lenet5();
    let open = |augment| {
        let options_of_data = DataOptions {
            augment,
            tokenizer: None,
        };
        open_data(&network, options.data, &options_of_data)
    };
    let (plain, augmented) = (open(Augment::None)?, open(Augment::affine())?);
    let n = plain.train.len().saturating_sub(HELD_OUT);
    let part = |examples, range: std::ops::Range<usize>| Subset {
        examples,
        indices: range.collect(),
    };
    let setting = Setting {
        network: &network,
        plain: &part(plain.train.as_ref(), 0..n),
        augmented: &part(augmented.train.as_ref(), 0..n),
        held_out: &part(plain.train.as_ref(), n..plain.train.len()),
        test: plain.test.as_ref(),
        device,
        folder,
        epochs: options.epochs,
        progress,
    };
    let mut report = read_report(folder)?.unwrap_or_default();
    for &seed in options.seeds {
        setting.seed(seed, &mut report, &mut say)?;
    }
    Ok(report)
}

/// Decodes and scores the files behind a table again.
///
/// # Errors
/// [`Error::Input`] if there is no report in the folder; if a file cannot be read or decoded.
pub fn check_table1(
    data: &str,
    folder: &Path,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Vec<Checked>> {
    let network = models::lenet5();
    let data = open_data(&network, data, &DataOptions::default())?;
    let report = read_report(folder)?
        .ok_or_else(|| Error::Input(format!("{} holds no {REPORT}", folder.display())))?;
    let check = |row: &Table1Row| {
        let (quantized, bytes) = read(&folder.join(&row.file))?;
        let parameters = to_parameters(&network, &quantized)?;
        let options = EvaluateOptions::default();
        let scores = evaluate(
            &network,
            &parameters,
            data.test.as_ref(),
            device,
            &options,
            progress,
        )?;
        let (then, now) = (row.result.after, scores.summary());
        Ok(Checked::new(
            &row.file,
            [then.bytes, bytes],
            [then.accuracy, now.accuracy],
            [then.loss, now.loss],
            now.n,
        ))
    };
    report.rows.iter().map(check).collect()
}
