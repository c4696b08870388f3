//! Frontiers: files are made once, measured as they decode, and found again as they were.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use support::lenet::Lenet;
use tersor::Silent;
use tersor::codec::{Limits, QuantizedCheckpoint};
use tersor_data::{Augment, Key, Random};
use tersor_nets::examples::{Batch, BatchInput, Examples};
use tersor_nets::experiments::{
    Checked, ExperimentTask, FileSpec, Ingredients, NoData, PostTraining, Recipe, Records, Trained,
    check_files, frontier_svg, make_files,
};
use tersor_nets::models::resnet;
use tersor_nets::prune::{Scope, count};
use tersor_nets::shared::to_parameters;
use tersor_nets::task::{DataOptions, DataSets, open_data};
use tersor_nets::{Parameters, open_device};

/// A recipe whose files are measured on two selections.
struct OnTwo(PostTraining);

impl Recipe for OnTwo {
    fn report(&self) -> &[&'static str] {
        &["!0%10", "0.."]
    }
    fn original(&self) -> Option<&Parameters> {
        self.0.original()
    }
    fn files(&self) -> Vec<FileSpec> {
        self.0.files()
    }
    fn make(
        &self,
        task: &ExperimentTask<'_>,
        index: usize,
        say: &mut dyn FnMut(&str),
    ) -> tersor_nets::Result<Vec<u8>> {
        self.0.make(task, index, say)
    }
}

/// Files made twice: how often the recipe spoke the second time.
fn run(task: &ExperimentTask<'_>, recipe: &dyn Recipe) -> (Records, usize) {
    let records = make_files(task, recipe, &mut |_| ()).unwrap();
    let mut said = 0;
    let again = make_files(task, recipe, &mut |_| said += 1).unwrap();
    // Numbers lose a last digit on their way through a file.
    let files = |records: &Records| {
        records
            .records
            .iter()
            .map(|r| (r.file.clone(), r.bytes))
            .collect::<Vec<_>>()
    };
    assert_eq!(files(&records), files(&again));
    (records, said)
}

#[test]
fn files_are_made_once_and_found_again_as_they_were() {
    let lenet = Lenet::new(Augment::elastic());
    let task = lenet.task();
    let original = lenet.trained(2);
    let recipe = OnTwo(PostTraining::new(&task, original.clone(), &[30.5]).unwrap());
    let (records, said) = run(&task, &recipe);
    assert_eq!((records.records.len(), said), (1, 0));
    let record = &records.records[0];
    assert!(
        (30.5..33.0).contains(&record.ratio) && record.file.ends_with("ratio-30.5.tersor"),
        "{record:?}"
    );
    let path = task.folder.join(&record.file);
    assert_eq!(std::fs::metadata(path).unwrap().len(), record.bytes);
    // Of 500 test images: nine tenths, and all.
    let n: Vec<usize> = record.scores.iter().map(|s| s.decoded.n).collect();
    assert_eq!(n, [450, 500]);
    for score in &record.scores {
        let (original, change) = (score.original.unwrap(), score.comparison.unwrap());
        let difference = score.decoded.accuracy - original.accuracy;
        assert!((difference - change.accuracy_change).abs() < 1e-9);
        assert!(change.divergence.unwrap() > 0.0);
    }
    assert!(frontier_svg("LeNet-5", &records).unwrap().contains("<circle"));

    // What needs no examples.
    let recipe = NoData::new(&task, original.clone(), &[30.5]).unwrap();
    let (records, said) = run(&task, &recipe);
    assert_eq!((records.records.len(), said), (2, 0));
    let without = &records.records[1];
    assert!((30.5..33.0).contains(&without.ratio), "{without:?}");
    let divergences: Vec<f64> = [record, without]
        .map(|r| r.scores[0].comparison.unwrap().divergence.unwrap())
        .into();
    assert!(divergences[0] < divergences[1], "{divergences:?}");
    let speed = without.speed.unwrap();
    assert!(speed.made_s > 0.0 && speed.decode_bytes_per_s > 4e4, "{speed:?}");

    // A file with training joins them.
    let recipe = |ratio: f64| Trained::new(&task, Some(original.clone()), &[ratio], &[4]).unwrap();
    let (records, _) = run(&task, &recipe(60.0).with_epochs([0, 1, 1]));
    let last = records.records.last().unwrap();
    assert_eq!((records.records.len(), last.seed), (3, Some(4)));
    assert!(
        (60.0..62.0).contains(&last.ratio) && last.scores[0].decoded.accuracy > 0.3,
        "{last:?}"
    );

    let checked = check_files(&task, None).unwrap();
    assert!(
        checked.len() == 4 && checked.iter().all(|c| c.is_same && c.divergence.is_none()),
        "{checked:?}"
    );
    // With what they were made from, how far they are from it too, and it alone.
    let checked = check_files(&task, Some(&original)).unwrap();
    let is_same = |c: &Checked| c.is_same && c.divergence.is_some_and(|[then, now]| then > 0.0 && now > 0.0);
    assert!(checked.len() == 4 && checked.iter().all(is_same), "{checked:?}");
    let other = check_files(&task, Some(&lenet.trained(1))).unwrap_err();
    assert!(
        other
            .to_string()
            .contains("not known to be made from these weights"),
        "{other}"
    );
    // Another file in the place of one is told.
    let path = |i: usize| task.folder.join(&records.records[i].file);
    std::fs::copy(path(2), path(0)).unwrap();
    let checked = check_files(&task, Some(&original)).unwrap();
    let same: Vec<bool> = checked.iter().map(|c| c.is_same).collect();
    assert_eq!(same, [false, false, true, true]);
    std::fs::write(path(2), b"nothing").unwrap();
    assert!(check_files(&task, None).is_err());
}

/// So many images of 32 x 32 random pixels.
struct Noise(usize);

impl Examples for Noise {
    fn len(&self) -> usize {
        self.0
    }

    fn batch(&self, indices: &[usize], _: Option<Key>) -> tersor_nets::Result<Batch> {
        let image = |&i: &usize| {
            let mut random = Random::keyed(&[i as u64]);
            (0..3 * 32 * 32).map(move |_| random.normal())
        };
        Ok(Batch {
            input: BatchInput::Images(
                indices.iter().flat_map(image).collect(),
                [indices.len(), 3, 32, 32],
            ),
            labels: indices.iter().map(|&i| i as u32 % 10).collect(),
        })
    }
}

#[test]
fn a_resnet_is_pruned_as_for_table_1_and_then_rounded() {
    let (network, device) = (resnet(8), open_device("cpu").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = DataSets {
        train: Box::new(Noise(32)),
        test: Box::new(Noise(20)),
    };
    let task = ExperimentTask {
        network: &network,
        data: &data,
        device: &device,
        folder: folder.path(),
        progress: &Silent,
    };
    let start = Parameters::random(&network, 1);
    let recipe = Trained::new(&task, Some(start), &[30.0], &[1]).unwrap();
    let (records, said) = run(&task, &recipe.with_epochs([0, 1, 1]));
    let [record] = records.records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!(said, 0);
    assert!((30.0..31.5).contains(&record.ratio), "{record:?}");
    assert!(record.settings.contains("epochs 0, 1 + 1, 1 x 1"), "{record:?}");
    // Four fifths are zero.
    let bytes = std::fs::read(folder.path().join(&record.file)).unwrap();
    let decoded = QuantizedCheckpoint::decode(&bytes, Limits::default()).unwrap();
    let decoded = to_parameters(&network, &decoded).unwrap();
    let (survivors, all) = count(&decoded, Scope::WeightsAndBiases);
    assert!((all / 8..=all / 5).contains(&survivors), "{survivors} of {all}");
    for state in [
        "pruned-1-1/pruned-1",
        "pruned-1-1/augmented-1",
        "shrink-30-1/stage-1",
    ] {
        let path = folder.path().join(format!("{state}.training.safetensors"));
        assert!(path.is_file(), "{}", path.display());
    }
}

#[test]
fn ingredients_are_left_out_one_at_a_time() {
    let lenet = Lenet::new(Augment::None);
    let task = lenet.task();
    let recipe = Ingredients::new(&task, lenet.trained(1), &[30.5]).unwrap();
    let files = recipe.files();
    let names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
    // Nothing is repaired in the whole recipe, so it cannot be left out.
    let others = [
        "uncorrected",
        "original-inputs",
        "one-pass",
        "no-trellis",
        "neither",
        "ans",
        "repaired",
    ];
    assert_eq!(names[0], "ratio-30.5-whole");
    assert_eq!(names[1..], others.map(|name| format!("ratio-30.5-{name}")));
    // Another way each, to the same size.
    let mut made: Vec<Vec<u8>> = Vec::new();
    for (index, name) in names.iter().enumerate().take(3) {
        let file = recipe.make(&task, index, &mut |_| ()).unwrap();
        let ratio = task.network.ratio(file.len() as u64);
        assert!((30.5..33.0).contains(&ratio), "{name}: {ratio}");
        assert!(!made.contains(&file), "{name} is as another");
        made.push(file);
    }
    assert!(recipe.make(&task, names.len(), &mut |_| ()).is_err());
}

#[test]
fn a_network_without_a_recipe_is_told() {
    let device = open_device("cpu").unwrap();
    let data = open_data(
        &tersor_nets::task::network("lenet5").unwrap(),
        "digits:8",
        &DataOptions::default(),
    )
    .unwrap();
    let refused = |name: &str, weights: bool| {
        let network = tersor_nets::task::network(name).unwrap();
        let task = ExperimentTask {
            network: &network,
            data: &data,
            device: &device,
            folder: "nowhere".as_ref(),
            progress: &Silent,
        };
        let start = weights.then(|| Parameters::random(&network, 1));
        Trained::new(&task, start, &[], &[1]).unwrap_err().to_string()
    };
    assert!(refused("resnet20", false).contains("--weights"));
    assert!(refused("squeezenet1_1", false).contains("--weights"));
    assert!(refused("squeezenet1_1", true).contains("--trained"));
}
