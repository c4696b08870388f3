//! Folding, repair, pruning, training and fine-tuning of shared values on a tiny network.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests may fail a test and say what they saw"
)]

mod support;

use support::{tiny, tiny_decoder, tiny_examples, tiny_parameters, tiny_texts};
use tersor::options::{CompressOptions, Method, Scope, Target};
use tersor::{Silent, compress};
use tersor_codec::{Coder, Limits, QuantizedCheckpoint, TensorData};
use tersor_nets::evaluate::{EvaluateOptions, Scores, evaluate};
use tersor_nets::examples::{Batch, Examples};
use tersor_nets::graph::{Mode, Network, Role, Unobserved, Weights};
use tersor_nets::prune::{PruneOptions, Pruner, Scope as PruneScope, Score, count};
use tersor_nets::shared::{FinetuneOptions, Match, finetune, repair, to_parameters};
use tersor_nets::train::{Distillation, Free, Optimizer, Schedule, Teacher, TrainOptions, TrainingRun};
use tersor_nets::{Error, Parameters, fold, open_device, unfold};

/// Examples whose labels are all the same.
struct Blind<E>(E);

impl<E: Examples> Examples for Blind<E> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, indices: &[usize], key: Option<tersor_data::Key>) -> tersor_nets::Result<Batch> {
        let mut batch = self.0.batch(indices, key)?;
        batch.labels.fill(0);
        Ok(batch)
    }
}

fn score(network: &Network, parameters: &Parameters, n: usize, reference: Option<&Scores>) -> Scores {
    let options = EvaluateOptions {
        keep_logits: true,
        reference,
        ..EvaluateOptions::default()
    };
    let device = open_device("cpu").unwrap();
    evaluate(
        network,
        parameters,
        &tiny_examples(n, 9),
        &device,
        &options,
        &Silent,
    )
    .unwrap()
}

fn options(epochs: usize) -> TrainOptions {
    TrainOptions {
        epochs,
        batch: 20,
        seed: 1,
        optimizer: Optimizer::ADAM,
        schedule: Schedule::Cosine {
            peak: 1e-2,
            warmup: 0.1,
            floor: 0.05,
        },
        batch_statistics: 1.0,
    }
}

fn trained(network: &Network, epochs: usize, path: Option<&std::path::Path>) -> Parameters {
    let (examples, device) = (tiny_examples(200, 1), open_device("cpu").unwrap());
    let run = TrainingRun {
        network,
        examples: &examples,
        device: &device,
        options: &options(epochs),
        teacher: None,
        path,
    };
    let start = Parameters::random(network, 5);
    run.run(start, |_| Free, &Silent, |_| ()).unwrap().0
}

#[test]
fn training_learns_and_moves_running_statistics() {
    let network = tiny();
    let parameters = trained(&network, 15, None);
    let scores = score(&network, &parameters, 100, None).summary();
    assert!(scores.accuracy > 0.9, "{scores:?}");
    let mean = network.parameter("bn1.running_mean").unwrap();
    assert!(parameters.values(mean).iter().any(|m| *m != 0.0));
}

#[test]
fn running_statistics_move_while_normalisation_is_by_batches() {
    let network = tiny();
    let (examples, device) = (tiny_examples(200, 1), open_device("cpu").unwrap());
    let mean = network.parameter("bn1.running_mean").unwrap();
    let options = TrainOptions {
        batch_statistics: 0.5,
        ..options(2)
    };
    let mut parameters = Parameters::random(&network, 5);
    let mut trainer = tersor_nets::train::Trainer::new(&network, &parameters, &examples, &device, &options);
    let mut seen = vec![parameters.clone()];
    for _ in 0..2 {
        trainer.epoch(&mut parameters, &mut Free, &Silent).unwrap();
        seen.push(parameters.clone());
    }
    let [start, by_batches, in_use] = [0, 1, 2].map(|i| seen[i].values(mean));
    assert!(start != by_batches && by_batches == in_use);
    assert!(seen[1] != seen[2], "weights go on");
}

#[test]
fn a_killed_training_goes_on_where_it_was() {
    let network = tiny();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.safetensors");
    let whole = trained(&network, 3, None);
    // A run that ends after each epoch: the schedule is that of all three.
    let (examples, device) = (tiny_examples(200, 1), open_device("cpu").unwrap());
    let options = options(3);
    let mut parameters = Parameters::random(&network, 5);
    let mut trainer = tersor_nets::train::Trainer::new(&network, &parameters, &examples, &device, &options);
    trainer.epoch(&mut parameters, &mut Free, &Silent).unwrap();
    tersor_nets::train::save_training(&path, &parameters, &trainer.state, trainer.epoch).unwrap();
    let resumed = trained(&network, 3, Some(&path));
    assert_eq!(whole, resumed);
}

#[test]
fn folding_keeps_the_function() {
    let network = tiny();
    let before = tiny_parameters(&network, 7);
    let mut after = before.clone();
    assert_eq!(fold(&network, &mut after).unwrap(), 2);
    let reference = score(&network, &before, 50, None);
    let folded = score(&network, &after, 50, Some(&reference));
    let [expected, found] = [reference, folded].map(|scores| scores.logits.unwrap().values);
    assert_eq!(expected.len(), found.len());
    for (a, b) in expected.iter().zip(&found) {
        assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{a} {b}");
    }
    let mean = network.parameter("bn2.running_mean").unwrap();
    assert!(after.values(mean).iter().all(|m| *m == 0.0));
}

#[test]
fn a_reference_is_of_the_same_examples_in_batches_of_any_size() {
    let (network, device) = (tiny(), open_device("cpu").unwrap());
    let parameters = [7, 8].map(|seed| tiny_parameters(&network, seed));
    let run = |parameters: &Parameters, n: usize, options: &EvaluateOptions<'_>| {
        evaluate(
            &network,
            parameters,
            &tiny_examples(n, 9),
            &device,
            options,
            &Silent,
        )
    };
    let reference = score(&network, &parameters[0], 50, None);
    let against = |batch: usize, n: usize, reference: &Scores| {
        let options = EvaluateOptions {
            batch,
            keep_logits: false,
            reference: Some(reference),
        };
        run(&parameters[1], n, &options)
    };
    let [whole, parts] = [50, 7].map(|batch| against(batch, 50, &reference).unwrap().divergences);
    assert_eq!((whole.len(), parts.len()), (50, 50));
    for (a, b) in whole.iter().zip(&parts) {
        assert!(*a > 0.0 && (a - b).abs() < 1e-4 * (1.0 + a), "{a} {b}");
    }
    for n in [49, 51] {
        let error = against(7, n, &reference).unwrap_err().to_string();
        assert!(
            error.contains(&format!("scores of 50 and of {n} rows")),
            "{error}"
        );
    }
    let without = run(&parameters[0], 50, &EvaluateOptions::default()).unwrap();
    let error = against(50, 50, &without).unwrap_err().to_string();
    assert!(error.contains("without keeping its logits"), "{error}");
}

#[test]
fn texts_of_any_length_and_number_are_compared_token_by_token() {
    let network = tiny_decoder();
    let device = open_device("cpu").unwrap();
    let parameters = [1, 2].map(|seed| Parameters::random(&network, seed));
    let texts = tiny_texts(&[5, 9, 4]);
    // One by one, and two at a time with one left over.
    let scores = |which: usize, batch: usize, reference: Option<&Scores>| {
        let options = EvaluateOptions {
            batch,
            keep_logits: true,
            reference,
        };
        evaluate(&network, &parameters[which], &texts, &device, &options, &Silent).unwrap()
    };
    let reference = scores(0, 1, None);
    let [single, pairs] = [1, 3].map(|batch| scores(1, batch, Some(&reference)).divergences);
    assert_eq!((single.len(), pairs.len()), (4 + 8 + 3, 15));
    for (a, b) in single.iter().zip(&pairs) {
        assert!(*a > 0.0 && (a - b).abs() < 1e-5 * (1.0 + a), "{a} {b}");
    }
    let itself = scores(0, 3, Some(&reference)).divergences;
    assert!(itself.iter().all(|d| *d < 1e-6), "{itself:?}");
}

#[test]
fn unfolding_keeps_the_function_and_gives_it_to_training() {
    let network = tiny();
    let mut folded = trained(&network, 3, None);
    fold(&network, &mut folded).unwrap();
    let (examples, device) = (tiny_examples(50, 1), open_device("cpu").unwrap());
    let batches = [examples.batch(&(0..50).collect::<Vec<_>>(), None).unwrap()];
    let mut unfolded = folded.clone();
    unfold(&network, &mut unfolded, &batches, &device).unwrap();
    assert_ne!(folded, unfolded);
    let outputs = |parameters: &Parameters, mode: Mode| {
        let weights = Weights::new(parameters, &device, false);
        let input = batches[0].to_device(&device);
        let output = network.forward(&weights, input, mode, &mut Unobserved).unwrap();
        tersor_nets::gradient::to_logits(output).unwrap().values
    };
    let before = outputs(&folded, Mode::Evaluate);
    for mode in [Mode::Evaluate, Mode::Train] {
        let after = outputs(&unfolded, mode);
        for (a, b) in before.iter().zip(&after) {
            assert!((a - b).abs() < 1e-3 * (1.0 + a.abs()), "{mode:?}: {a} {b}");
        }
    }
    // The folded one is another function to training.
    let apart = outputs(&folded, Mode::Train).into_iter().zip(&before);
    assert!(apart.into_iter().any(|(a, b)| (a - b).abs() > 0.1));
}

#[test]
fn pruning_keeps_what_it_is_told_and_zeros_stay() {
    let network = tiny();
    let start = trained(&network, 3, None);
    let (examples, device) = (tiny_examples(200, 1), open_device("cpu").unwrap());
    for score in [Score::Magnitude, Score::Loss, Score::LossPerBit] {
        let prune = PruneOptions {
            keep: 40,
            score,
            scope: PruneScope::Weights,
            until: 0.6,
            every: 5,
        };
        let run = TrainingRun {
            network: &network,
            examples: &examples,
            device: &device,
            options: &options(4),
            teacher: None,
            path: None,
        };
        let make = |p: &Parameters| Pruner::new(p, prune);
        let (pruned, _, pruner) = run.run(start.clone(), make, &Silent, |_| ()).unwrap();
        assert_eq!(pruner.failure, None);
        assert_eq!(count(&pruned, PruneScope::Weights).0, 40, "{score:?}");
    }
}

#[test]
fn pruning_that_goes_on_keeps_its_zeros() {
    let network = tiny();
    let start = trained(&network, 3, None);
    let (examples, device) = (tiny_examples(200, 1), open_device("cpu").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prune.safetensors");
    let prune = PruneOptions {
        keep: 40,
        score: Score::Loss,
        scope: PruneScope::Weights,
        until: 0.9,
        every: 5,
    };
    let run = |epochs: usize| {
        let run = TrainingRun {
            network: &network,
            examples: &examples,
            device: &device,
            options: &options(epochs),
            teacher: None,
            path: Some(&path),
        };
        let make = |p: &Parameters| Pruner::new(p, prune);
        run.run(start.clone(), make, &Silent, |_| ()).unwrap()
    };
    let (before, state, _) = run(2);
    // A killed run begins with the same weights as before, and finds where it was.
    let (after, later, _) = run(6);
    assert!(later.steps > state.steps);
    for ((spec, a), (_, b)) in before.iter().zip(after.iter()) {
        let came_back = a.iter().zip(b).filter(|(a, b)| **a == 0.0 && **b != 0.0).count();
        let is_pruned = spec.role == tersor_nets::graph::Role::Weight;
        assert!(!is_pruned || came_back == 0, "{}: {came_back}", spec.name);
    }
    // Second moments are those of the run, before and after.
    let (_, again, _) = run(6);
    assert!(again == later);
}

fn quantized(parameters: &Parameters, method: Method, target: Target) -> QuantizedCheckpoint {
    let checkpoint = parameters.to_checkpoint().unwrap();
    let options = CompressOptions::default()
        .with_method(method)
        .with_scope(Scope::Global)
        .with_coder(Some(Coder::Huffman))
        .with_target(target);
    let file = compress(&checkpoint, options, &Silent).unwrap();
    QuantizedCheckpoint::decode(&file.bytes, Limits::default()).unwrap()
}

#[test]
fn fine_tuning_lowers_the_loss_and_keeps_symbols_and_zeros() {
    let network = tiny();
    let parameters = trained(&network, 4, None);
    let (examples, device) = (tiny_examples(200, 1), open_device("cpu").unwrap());
    for (method, target) in [
        (Method::KMeans, Target::Levels(4)),
        (Method::Grid, Target::Bpw(9.0)),
    ] {
        let mut shared = quantized(&parameters, method, target);
        let before = shared.clone();
        let options = FinetuneOptions {
            epochs: 4,
            batch: 20,
            schedule: Schedule::Constant { rate: 5e-3 },
            seed: 1,
        };
        let loss = |q: &QuantizedCheckpoint| {
            let p = to_parameters(&network, q).unwrap();
            score(&network, &p, 200, None).summary().loss
        };
        finetune(&network, &mut shared, &examples, None, &device, &options, &Silent).unwrap();
        let (was, is) = (loss(&before), loss(&shared));
        assert!(is < was, "{method}: {was} -> {is}");
        for (a, b) in before.tensors.iter().zip(&shared.tensors) {
            let symbols = |t: &TensorData| match t {
                TensorData::Quantized { symbols, .. } => symbols.clone(),
                _ => Vec::new(),
            };
            assert_eq!(symbols(&a.data), symbols(&b.data));
        }
        for (a, b) in before.codebooks.iter().zip(&shared.codebooks) {
            assert_eq!(a.zero_symbol(), b.zero_symbol());
        }
    }
}

#[test]
fn fine_tuning_with_a_teacher_comes_nearer_to_it_without_a_label() {
    let network = tiny();
    let parameters = trained(&network, 4, None);
    let device = open_device("cpu").unwrap();
    let mut shared = quantized(&parameters, Method::KMeans, Target::Levels(4));
    let teacher = Teacher::new(&parameters, Distillation::new(2.0), &device);
    let options = FinetuneOptions {
        epochs: 4,
        batch: 20,
        schedule: Schedule::Constant { rate: 5e-3 },
        seed: 1,
    };
    let reference = score(&network, &parameters, 200, None);
    let divergence = |q: &QuantizedCheckpoint| {
        let p = to_parameters(&network, q).unwrap();
        let scores = score(&network, &p, 200, Some(&reference));
        reference.compare(&scores).unwrap().divergence.unwrap()
    };
    let before = divergence(&shared);
    // Labels say nothing here: all are the same.
    let examples = Blind(tiny_examples(200, 1));
    finetune(
        &network,
        &mut shared,
        &examples,
        Some(&teacher),
        &device,
        &options,
        &Silent,
    )
    .unwrap();
    let after = divergence(&shared);
    assert!(after < 0.8 * before, "{before} -> {after}");
}

#[test]
fn repair_gives_channels_back_their_moments() {
    let network = tiny();
    let original = trained(&network, 4, None);
    let mut shared = quantized(&original, Method::KMeans, Target::Levels(3));
    let device = open_device("cpu").unwrap();
    let examples = tiny_examples(100, 1);
    let batches: Vec<_> = (0..5)
        .map(|b| {
            examples
                .batch(&(20 * b..20 * b + 20).collect::<Vec<_>>(), None)
                .unwrap()
        })
        .collect();
    let reference = score(&network, &original, 200, None);
    let divergence = |q: &QuantizedCheckpoint| {
        let p = to_parameters(&network, q).unwrap();
        let scores = score(&network, &p, 200, Some(&reference));
        reference.compare(&scores).unwrap().divergence.unwrap()
    };
    let was = divergence(&shared);
    let report = repair(
        &network,
        &original,
        &mut shared,
        &batches,
        &device,
        Match::Moments,
        &Silent,
    )
    .unwrap();
    let is = divergence(&shared);
    assert_eq!((report.n_normalised, report.n_biased), (2, 3));
    assert!(is < was, "{was} -> {is}");
    // The file still encodes, and decodes to the same.
    let file = shared.encode(tersor_codec::EncodeOptions::default()).unwrap();
    assert_eq!(
        QuantizedCheckpoint::decode(&file, Limits::default()).unwrap(),
        shared
    );
}

#[test]
fn a_checkpoint_that_does_not_fit_is_told_apart_name_by_name() {
    let network = tiny();
    let mut other = tiny();
    other.parameters[0].name = "first.weight".into();
    let at = other.parameter("fc2.bias").unwrap();
    other.parameters[at].shape = vec![4];
    let checkpoint = Parameters::random(&other, 1).to_checkpoint().unwrap();
    let error = Parameters::load(&network, &checkpoint).unwrap_err();
    let Error::Mismatch {
        missing,
        unexpected,
        misshapen,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(missing, &["conv1.weight"]);
    assert_eq!(unexpected, &["first.weight"]);
    assert_eq!(misshapen.len(), 1);
    assert!(
        error.to_string().contains("fc2.bias has [4], the network [3]"),
        "{error}"
    );
    assert!(network.parameters.iter().any(|p| p.role == Role::RunningMean));
}
