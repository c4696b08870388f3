//! The paper's Table 1: pruned networks, four quantizers at the paper's ratios, gaps and Huffman codes, shared values fine-tuned; whole
//! files.

mod setting;

use crate::Subset;
use crate::evaluate::{EvaluateOptions, evaluate};
use crate::examples::{Examples, Mixed};
use crate::experiments::adam;
use crate::experiments::files::claim;
use crate::experiments::methods::{Bench, MethodRow, PAPER_METHODS, lossless_bytes, read};
use crate::experiments::record::{Checked, read_json, write_json};
use crate::graph::Network;
use crate::prune::{PruneOptions, Pruner, Scope as PruneScope, Score, apply, masks_of_zeros};
use crate::sensitivity::{Estimate, write_sensitivities};
use crate::shared::{FinetuneOptions, to_parameters};
use crate::task::{DataOptions, open_data};
use crate::train::{Constraint, Free, OptimizerState, Schedule, Teacher, TrainOptions, TrainingRun};
use crate::{Error, Parameters, Result, Selection, fold};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use setting::{HeldOut, Setting};
use std::path::{Path, PathBuf};
use tersor::Progress;
use tersor::options::{Method, Scope};
use tersor_codec::Coder;
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
    /// Accuracy of the fine-tuned file on the examples that settings are chosen on.
    pub held_out_accuracy: f64,
    /// Loss of the fine-tuned file on them, nats.
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
    /// Passes: dense, while pruning, on the pruned net, and of fine-tuning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<[usize; 4]>,
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
struct Run<'a> {
    network: &'a Network,
    setting: Setting,
    start: Option<Parameters>,
    plain: &'a dyn Examples,
    /// The plain ones, changed in every pass, or mixtures of them.
    augmented: &'a dyn Examples,
    held_out: &'a dyn Examples,
    test: &'a dyn Examples,
    device: &'a Device,
    folder: &'a Path,
    epochs: [usize; 4],
    progress: &'a dyn Progress,
}

impl Run<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The network that is pruned, if it answers in place of labels.
    fn teacher(&self, dense: &Parameters) -> Option<Teacher> {
        let new = |how| Teacher::new(dense, how, self.device);
        self.setting.distillation.map(new)
    }

    /// The dense and the pruned network of one seed, from their files if they are there.
    fn networks(&self, seed: u64, say: &mut dyn FnMut(&str)) -> Result<(Parameters, Parameters)> {
        let mut run = |stage: &str, augmented: bool, options: &TrainOptions, start, kind: Kind, teacher| {
            let path = self.path(&format!("{stage}-{seed}.training.safetensors"));
            let run = TrainingRun {
                network: self.network,
                examples: if augmented { self.augmented } else { self.plain },
                device: self.device,
                options,
                teacher,
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
        let ([dense, prune, augmented, _], rates) = (self.epochs, self.setting.rates);
        let dense = if let Some(start) = &self.start {
            start.clone()
        } else {
            let start = Parameters::random(self.network, seed);
            let options = adam(dense, rates[0], seed);
            run("dense", false, &options, start, Kind::Dense, None)?
        };
        let teacher = self.teacher(&dense);
        let keep = (self.setting.keep * self.network.n_trainable() as f64).round() as usize;
        let pruned = run(
            "pruned",
            self.setting.prunes_augmented,
            &adam(prune, rates[1], seed + 100),
            dense.clone(),
            Kind::Prune(keep),
            teacher.as_ref(),
        )?;
        let mut tuned = run(
            "augmented",
            true,
            &adam(augmented, rates[2], seed + 200),
            pruned,
            Kind::Fixed,
            teacher.as_ref(),
        )?;
        fold(self.network, &mut tuned)?;
        Ok((dense, tuned))
    }

    fn seed(&self, seed: u64, report: &mut Table1Report, say: &mut dyn FnMut(&str)) -> Result<()> {
        let (dense, pruned) = self.networks(seed, say)?;
        let sensitivity = self.path(&format!(
            "{}-{seed}.safetensors",
            self.setting.estimate.estimator.name()
        ));
        if !sensitivity.is_file() {
            let estimate = Estimate {
                seed,
                // One pass at most.
                samples: self.setting.estimate.samples.min(self.plain.len()),
                ..self.setting.estimate
            };
            let h = estimate.measure(self.network, &pruned, self.plain, self.device, self.progress)?;
            let recorded = estimate.recorded(self.plain.len());
            write_sensitivities(&sensitivity, &self.network.parameters, &h, &[], &recorded, true)?;
        }
        let checkpoint = pruned.to_checkpoint()?;
        let teacher = self.teacher(&dense);
        let bench = Bench {
            network: self.network,
            checkpoint: &checkpoint,
            sensitivity: &sensitivity,
            train: self.augmented,
            teacher: teacher.as_ref(),
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
        for (method, paper_ratio) in PAPER_METHODS.into_iter().zip(self.setting.ratios) {
            let Some(paper_ratio) = paper_ratio else { continue };
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
        write_json(&self.path(&report_name(self.network)), report)
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
fn report_name(network: &Network) -> String {
    format!("table1-{}.json", network.name)
}

fn read_report(network: &Network, folder: &Path) -> Result<Option<Table1Report>> {
    let path = folder.join(report_name(network));
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
    let network = options.network;
    let setting = Setting::of(&network.name)?;
    if options.start.is_none() && setting.rates[0] == 0.0 {
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
    let run = Run {
        network,
        start: options.start.clone(),
        plain: &part(plain.train.as_ref(), 0..n),
        augmented: if setting.mix { &mixed } else { &augmented_part },
        held_out: &held_out,
        test: plain.test.as_ref(),
        device,
        folder,
        epochs: options.epochs.unwrap_or(setting.epochs),
        progress,
        setting,
    };
    claim(network, options.start.as_ref(), &plain, folder)?;
    let mut report = read_report(network, folder)?.unwrap_or_default();
    if report.epochs.is_some_and(|epochs| epochs != run.epochs) {
        return Err(Error::Input(format!(
            "{} belongs to a run with other epochs, {:?}; give another folder",
            folder.display(),
            report.epochs.unwrap_or_default()
        )));
    }
    report.epochs = Some(run.epochs);
    run.save(&report)?;
    for &seed in options.seeds {
        run.seed(seed, &mut report, &mut say)?;
    }
    Ok(report)
}

/// Decodes and scores the files behind a table again.
///
/// # Errors
/// [`Error::Input`] if there is no report in the folder; if a file cannot be read or decoded.
pub fn check_table1(
    network: &Network,
    data: &str,
    folder: &Path,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Vec<Checked>> {
    let data = open_data(network, data, &DataOptions::default())?;
    let report = read_report(network, folder)?
        .ok_or_else(|| Error::Input(format!("{} holds no {}", folder.display(), report_name(network))))?;
    let check = |row: &Table1Row| {
        let (quantized, bytes) = read(&folder.join(&row.file))?;
        let parameters = to_parameters(network, &quantized)?;
        let options = EvaluateOptions::default();
        let scores = evaluate(
            network,
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
