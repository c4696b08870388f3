//! Files that differ in one thing, and what is measured beside them.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use support::lenet::Lenet;
use tersor::Silent;
use tersor_data::Augment;
use tersor_nets::experiments::{
    Comparison, ExperimentTask, FileSpec, Question, Recipe, check_files, convergence, convergence_svg,
    make_files, panel_svg,
};
use tersor_nets::sensitivity::along;
use tersor_nets::{Parameters, Result, models};

/// Some of the files of a comparison.
struct Part<'a>(&'a Comparison, Vec<usize>);

impl Recipe for Part<'_> {
    fn report(&self) -> &[&'static str] {
        self.0.report()
    }
    fn original(&self) -> Option<&Parameters> {
        self.0.original()
    }
    fn files(&self) -> Vec<FileSpec> {
        let all = self.0.files();
        self.1.iter().map(|&i| all[i].clone()).collect()
    }
    fn make(&self, task: &ExperimentTask<'_>, index: usize, say: &mut dyn FnMut(&str)) -> Result<Vec<u8>> {
        self.0.make(task, self.1[index], say)
    }
}

/// Indices of the files that have these words in their names, in order.
fn named(comparison: &Comparison, words: &[&str]) -> Vec<usize> {
    let files = comparison.files();
    let index = |word: &&str| files.iter().position(|f| f.name.contains(word)).unwrap();
    words.iter().map(index).collect()
}

#[test]
fn every_question_has_files_of_different_names() {
    let lenet = Lenet::new(Augment::None);
    let task = lenet.task();
    let original = Parameters::random(&lenet.network, 1);
    for question in [
        Question::Figure1,
        Question::Figure2,
        Question::Figure3,
        Question::Scope,
        Question::Sensitivities,
        Question::Hyperparameters,
        Question::OffDiagonal,
    ] {
        let comparison = Comparison::new(&task, original.clone(), question).unwrap();
        let files = comparison.files();
        let mut names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), files.len(), "{}", question.name());
        let safe = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        assert!(names.iter().all(|n| n.chars().all(safe)), "{names:?}");
        // Every series is drawn but those of one size.
        let panels = comparison.panels(&task);
        let mut drawn: Vec<&String> = panels.iter().flat_map(|p| &p.series).collect();
        let mut series: Vec<&String> = files.iter().map(|f| &f.how).collect();
        series.retain(|s| !s.ends_with("at 3 bits"));
        for names in [&mut drawn, &mut series] {
            names.sort_unstable();
            names.dedup();
        }
        assert_eq!(drawn, series, "{}", question.name());
    }
    let refused = Comparison::new(&task, original, Question::Transformer).map(|_| ());
    assert!(refused.unwrap_err().to_string().contains("lenet5"));
}

#[test]
fn files_are_of_the_folded_network() {
    let lenet = Lenet::new(Augment::None);
    let network = models::image_network("resnet20").unwrap();
    let task = ExperimentTask {
        network: &network,
        ..lenet.task()
    };
    let mut given = Parameters::random(&network, 1);
    let variances = network.parameter("bn1.running_var").unwrap();
    given.values_mut(variances).fill(4.0);
    let mut prepared = given.clone();
    Comparison::prepare(&network, &mut prepared).unwrap();
    assert!(given != prepared, "normalisation is folded");
    let comparison = Comparison::new(&task, given, Question::Sensitivities).unwrap();
    assert!(
        comparison.original() == Some(&prepared),
        "and that is the original"
    );
}

#[test]
fn files_are_made_as_asked_and_their_losses_taken_apart() {
    let lenet = Lenet::new(Augment::None);
    let task = lenet.task();
    let original = lenet.trained(3);
    let comparison = Comparison::new(&task, original.clone(), Question::OffDiagonal).unwrap();
    let words = ["uniform-8", "uniform-3", "grid-2", "grid-feedback-2"];
    let part = Part(&comparison, named(&comparison, &words));
    let records = make_files(&task, &part, &mut |_| ()).unwrap();
    let bits: Vec<f64> = records.records.iter().map(|r| 32.0 / r.ratio).collect();
    for (bits, asked) in bits.iter().zip([8.0, 3.0, 2.0, 2.0]) {
        assert!((0.95 * asked..=asked).contains(bits), "{bits} {asked}");
    }
    assert!(check_files(&task, None).unwrap().iter().all(|c| c.is_same));
    let picture = panel_svg(&comparison.panels(&task)[0], &records).unwrap();
    assert!(picture.contains("<circle"));

    let expansions = comparison.expansions(&task, &records).unwrap();
    assert_eq!(expansions.len(), 2 * words.len());
    // At 8 bits errors are so small that the expansion is right up to its third order.
    for e in expansions.iter().filter(|e| e.file.ends_with("uniform-8.tersor")) {
        let expected = e.gradient + e.quadratic;
        assert!(
            (e.change - expected).abs() < 0.05 * expected.abs() + 1e-5,
            "{e:?}"
        );
        assert!(e.diagonal.len() == 1 && e.diagonal[0].1 > 0.0, "{e:?}");
    }
    // Feedback makes the whole quadratic form small, not the diagonal.
    let of = |name: &str| expansions.iter().find(|e| e.file.ends_with(name)).unwrap();
    let (plain, fed) = (of("grid-2.tersor"), of("grid-feedback-2.tersor"));
    assert!(fed.quadratic < plain.quadratic, "{plain:?} {fed:?}");
    let again = comparison.expansions(&task, &records).unwrap();
    assert_eq!(again.len(), expansions.len());
}

#[test]
fn files_of_one_size_differ_in_their_scope() {
    let lenet = Lenet::new(Augment::None);
    let task = lenet.task();
    let comparison = Comparison::new(&task, lenet.trained(3), Question::Scope).unwrap();
    let words = [
        "levels-by-kind-of-layer-han-8",
        "one-codebook-han-8",
        "grids-one-slope-h-han-8",
    ];
    let part = Part(&comparison, named(&comparison, &words));
    let records = make_files(&task, &part, &mut |_| ()).unwrap();
    let bytes: Vec<u64> = records.records.iter().map(|r| r.bytes).collect();
    assert!(
        bytes.iter().all(|&b| b <= bytes[0] && b > bytes[0] / 2),
        "{bytes:?}"
    );
}

#[test]
fn costs_fall_and_never_below_what_cannot_be() {
    let lenet = Lenet::new(Augment::None);
    let task = lenet.task();
    let report = convergence(&task, &lenet.trained(3), 20_000, &mut |_| ()).unwrap();
    for run in &report.ecsq {
        assert!(
            run.trace.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-9)),
            "{run:?}"
        );
        let last = *run.trace.last().unwrap();
        assert!(run.bound.is_none_or(|b| b <= last), "{run:?}");
    }
    for run in &report.kmeans {
        let [cost, optimum] = run.costs;
        assert!(optimum <= cost * (1.0 + 1e-6) && cost < 1.02 * optimum, "{run:?}");
    }
    assert!(report.timings.iter().any(|t| t.n == 20_000));
    assert!(convergence_svg("LeNet-5", &report).unwrap().contains("<polyline"));
}

#[test]
fn derivatives_along_a_direction_are_those_of_the_loss() {
    let lenet = Lenet::new(Augment::None);
    let (network, device) = (&lenet.network, &lenet.device);
    let original = lenet.trained(3);
    let direction: Vec<Vec<f32>> = original
        .iter()
        .map(|(_, w)| w.iter().map(|w| 0.5 * w).collect())
        .collect();
    let test = lenet.data.test.as_ref();
    let found = along(network, &original, test, device, (&direction, 1e-2), 100, &Silent).unwrap();
    let loss = |by: f32| {
        let mut moved = original.clone();
        for ((_, values), d) in moved.iter_mut().zip(&direction) {
            values.iter_mut().zip(d).for_each(|(w, d)| *w += by * d);
        }
        let options = tersor_nets::evaluate::EvaluateOptions::default();
        let scores = tersor_nets::evaluate::evaluate(network, &moved, test, device, &options, &Silent);
        scores.unwrap().summary().loss
    };
    let (above, here, below) = (loss(0.05), loss(0.0), loss(-0.05));
    let (slope, curvature) = ((above - below) / 0.1, (above - 2.0 * here + below) / 0.0025);
    assert!(
        (found.slope - slope).abs() < 0.02 * slope.abs() + 1e-3,
        "{found:?} {slope}"
    );
    assert!(
        (found.curvature - curvature).abs() < 0.1 * curvature.abs(),
        "{found:?} {curvature}"
    );
}
