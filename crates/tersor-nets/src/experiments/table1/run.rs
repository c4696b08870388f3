//! The way of one seed: networks, and the files that are made of them.

use super::report::{Table1Network, Table1Report, Table1Row, report_name};
use super::setting::Setting;
use crate::evaluate::{Comparison, EvaluateOptions, Evaluation, Scores, binomial_error, evaluate};
use crate::examples::Examples;
use crate::experiments::methods::{Bench, PAPER_METHODS, lossless_bytes, read};
use crate::experiments::pruned::PrunedTraining;
use crate::experiments::record::{Checked, write_json};
use crate::prune::Scope as PruneScope;
use crate::sensitivity::{Estimate, write_sensitivities};
use crate::shared::{FinetuneOptions, to_parameters};
use crate::train::Schedule;
use crate::{Error, Parameters, Result, fold};
use std::path::{Path, PathBuf};
use tersor::options::{Method, Scope};
use tersor_codec::Coder;

/// What all seeds share.
pub(super) struct Run<'a> {
    pub(super) training: PrunedTraining<'a>,
    pub(super) setting: Setting,
    pub(super) start: Option<&'a Parameters>,
    pub(super) held_out: &'a dyn Examples,
    pub(super) test: &'a dyn Examples,
    /// Passes of fine-tuning.
    pub(super) finetune_epochs: usize,
}

impl Run<'_> {
    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.training.folder.join(name)
    }

    /// Networks and files of one seed, as far as the report does not have them yet.
    ///
    /// # Errors
    /// Whatever a step returns.
    pub(super) fn seed(&self, seed: u64, report: &mut Table1Report, say: &mut dyn FnMut(&str)) -> Result<()> {
        let training = &self.training;
        let (network, device, plain) = (training.network, training.device, training.plain);
        let (dense, mut pruned) = training.networks(seed, self.start, say)?;
        fold(network, &mut pruned)?;
        let sensitivity = self.path(format!(
            "{}-{seed}.safetensors",
            self.setting.estimate.estimator.name()
        ));
        if !sensitivity.is_file() {
            let estimate = Estimate {
                seed,
                // One pass at most.
                samples: self.setting.estimate.samples.min(plain.len()),
                ..self.setting.estimate
            };
            let h = estimate.measure(network, &pruned, plain, device, training.progress)?;
            let recorded = estimate.recorded(plain.len());
            write_sensitivities(&sensitivity, &network.parameters, &h, &[], &recorded, true)?;
        }
        let checkpoint = pruned.to_checkpoint()?;
        let teacher = training.teacher(&dense);
        let bench = Bench {
            network,
            checkpoint: &checkpoint,
            sensitivity: &sensitivity,
            train: training.augmented,
            teacher: teacher.as_ref(),
            test: self.test,
            device,
            finetune: FinetuneOptions {
                epochs: self.finetune_epochs,
                batch: 128,
                schedule: Schedule::Cosine {
                    peak: 3e-4,
                    warmup: 0.0,
                    floor: 0.01,
                },
                seed,
            },
            progress: training.progress,
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
                pruned_ratio: network.ratio(lossless_bytes(&checkpoint)?),
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
        let path = self.path(&file);
        let bytes = (4.0 * self.training.network.n_trainable() as f64 / paper_ratio) as u64;
        let result = bench.row(method, Scope::Global, Coder::Huffman, bytes, &path)?;
        let parameters = to_parameters(self.training.network, &read(&path)?.0)?;
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
        let (now, comparison) = reference.compare(&to_parameters(self.training.network, &quantized)?)?;
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
        self.path(&row.file)
    }

    fn scores(
        &self,
        parameters: &Parameters,
        examples: &dyn Examples,
        options: &EvaluateOptions<'_>,
    ) -> Result<Scores> {
        let PrunedTraining {
            network,
            device,
            progress,
            ..
        } = self.training;
        evaluate(network, parameters, examples, device, options, progress)
    }

    pub(super) fn save(&self, report: &Table1Report) -> Result<()> {
        write_json(&self.path(report_name(self.training.network)), report)
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
