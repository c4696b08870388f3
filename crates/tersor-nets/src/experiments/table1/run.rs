//! The way of one seed: networks, and the files that are made of them.

use super::report::{Table1Network, Table1Report, Table1Row, report_name};
use super::setting::Setting;
use crate::evaluate::{Comparison, EvaluateOptions, Evaluation, Scores, binomial_error, evaluate};
use crate::examples::Examples;
use crate::experiments::adam;
use crate::experiments::methods::{Bench, PAPER_METHODS, lossless_bytes, read};
use crate::experiments::record::{Checked, write_json};
use crate::graph::Network;
use crate::prune::{PruneOptions, Pruner, Scope as PruneScope, Score, apply, masks_of_zeros};
use crate::sensitivity::{Estimate, write_sensitivities};
use crate::shared::{FinetuneOptions, to_parameters};
use crate::train::{Constraint, Free, OptimizerState, Schedule, Teacher, TrainOptions, TrainingRun};
use crate::{Error, Parameters, Result, fold};
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use tersor::Progress;
use tersor::options::{Method, Scope};
use tersor_codec::Coder;

/// Keeps zeros zero.
struct Fixed(crate::prune::Masks);

impl Constraint for Fixed {
    fn parameters(&mut self, parameters: &mut Parameters, _: &OptimizerState, _: f64) {
        apply(&self.0, parameters);
    }
}

/// What all seeds share.
pub(super) struct Run<'a> {
    pub(super) network: &'a Network,
    pub(super) setting: Setting,
    pub(super) start: Option<Parameters>,
    pub(super) plain: &'a dyn Examples,
    /// The plain ones, changed in every pass, or mixtures of them.
    pub(super) augmented: &'a dyn Examples,
    pub(super) held_out: &'a dyn Examples,
    pub(super) test: &'a dyn Examples,
    pub(super) device: &'a Device,
    pub(super) folder: &'a Path,
    pub(super) epochs: [usize; 4],
    pub(super) progress: &'a dyn Progress,
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

    /// Networks and files of one seed, as far as the report does not have them yet.
    ///
    /// # Errors
    /// Whatever a step returns.
    pub(super) fn seed(&self, seed: u64, report: &mut Table1Report, say: &mut dyn FnMut(&str)) -> Result<()> {
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
        // What earlier builds did not compare is compared now.
        report
            .networks
            .retain(|n| n.seed != seed || n.comparison.is_some());
        let mut reference = Reference::new(self, &dense);
        if !report.networks.iter().any(|n| n.seed == seed) {
            let (measured, comparison) = reference.compare(&pruned)?;
            report.networks.push(Table1Network {
                seed,
                dense_accuracy: reference.scores()?.summary().accuracy,
                pruned_accuracy: measured.accuracy,
                pruned_loss: measured.loss,
                comparison: Some(comparison),
                pruned_ratio: self.network.ratio(lossless_bytes(&checkpoint)?),
                n_survivors: crate::prune::count(&pruned, PruneScope::WeightsAndBiases).0,
            });
        }
        for (method, paper_ratio) in PAPER_METHODS.into_iter().zip(self.setting.ratios) {
            let Some(paper_ratio) = paper_ratio else { continue };
            let is_its = |r: &Table1Row| r.seed == seed && r.result.method == method.name();
            // A row whose file is gone is made again.
            report.rows.retain(|r| !is_its(r) || self.path_of(r).is_file());
            let row = match report.rows.iter().position(is_its) {
                Some(at) if report.rows[at].comparison.is_some() => continue,
                Some(at) => report.rows.remove(at),
                None => self.row(&bench, method, seed, paper_ratio)?,
            };
            let row = self.beside(&mut reference, row)?;
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
        let held_out = self.scores(&parameters, self.held_out, &EvaluateOptions::default())?;
        let held_out = held_out.summary();
        Ok(Table1Row {
            seed,
            file,
            paper_ratio,
            result,
            comparison: None,
            held_out_accuracy: held_out.accuracy,
            held_out_loss: held_out.loss,
        })
    }

    /// A row with its file beside the dense network, and standard errors, which reports of earlier builds do not have.
    fn beside(&self, reference: &mut Reference<'_>, mut row: Table1Row) -> Result<Table1Row> {
        let path = self.path_of(&row);
        let (quantized, bytes) = read(&path)?;
        let (now, comparison) = reference.compare(&to_parameters(self.network, &quantized)?)?;
        let (then, n) = (&row.result.after, now.n);
        let (accuracy, loss) = ([then.accuracy, now.accuracy], [then.loss, now.loss]);
        if !Checked::new(&row.file, [then.bytes, bytes], accuracy, loss, n).is_same {
            return Err(Error::Input(format!(
                "{} is not the file that the report tells of; remove it, and it is made again",
                path.display()
            )));
        }
        for measured in [&mut row.result.before, &mut row.result.after] {
            measured.accuracy_error = Some(binomial_error(measured.accuracy, n));
        }
        row.comparison = Some(comparison);
        Ok(row)
    }

    fn path_of(&self, row: &Table1Row) -> PathBuf {
        self.folder.join(&row.file)
    }

    fn scores(
        &self,
        parameters: &Parameters,
        examples: &dyn Examples,
        options: &EvaluateOptions<'_>,
    ) -> Result<Scores> {
        let (network, device) = (self.network, self.device);
        evaluate(network, parameters, examples, device, options, self.progress)
    }

    pub(super) fn save(&self, report: &Table1Report) -> Result<()> {
        write_json(&self.path(&report_name(self.network)), report)
    }
}

/// The dense network, which is run on the test set when the first one is compared with it.
struct Reference<'a> {
    run: &'a Run<'a>,
    dense: &'a Parameters,
    scores: Option<Scores>,
}

impl<'a> Reference<'a> {
    fn new(run: &'a Run<'a>, dense: &'a Parameters) -> Self {
        Self {
            run,
            dense,
            scores: None,
        }
    }

    fn scores(&mut self) -> Result<&Scores> {
        let scores = if let Some(scores) = self.scores.take() {
            scores
        } else {
            let options = EvaluateOptions {
                keep_logits: true,
                ..EvaluateOptions::default()
            };
            self.run.scores(self.dense, self.run.test, &options)?
        };
        Ok(self.scores.insert(scores))
    }

    /// Another network on the test set, and image by image against the dense one.
    fn compare(&mut self, other: &Parameters) -> Result<(Evaluation, Comparison)> {
        let run = self.run;
        let dense = self.scores()?;
        let options = EvaluateOptions {
            reference: Some(dense),
            ..EvaluateOptions::default()
        };
        let other = run.scores(other, run.test, &options)?;
        Ok((other.summary(), dense.compare(&other)?))
    }
}

/// What a stage does besides training.
#[derive(Clone, Copy)]
enum Kind {
    Dense,
    Prune(usize),
    Fixed,
}
