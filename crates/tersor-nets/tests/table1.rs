//! The paper's Table 1 from end to end, on a narrow AlexNet and a folder of images.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

use image::{Rgb, RgbImage};
use std::path::Path;
use tersor::Silent;
use tersor_nets::experiments::{Table1Options, check_table1, table1};
use tersor_nets::models::{alexnet, narrow_alexnet};
use tersor_nets::task::{DataOptions, open_data};
use tersor_nets::{Parameters, open_device};

/// Images of stripes, whose direction and colour is their class.
fn images(dir: &Path, n: u32) {
    for class in 0..4u32 {
        let folder = dir.join(format!("n{class}"));
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..n {
            let pixel = |x: u32, y: u32| {
                let at = if class % 2 == 0 { x } else { y };
                let bright = if (at + 3 * i) / 16 % 2 == 0 { 230 } else { 20 };
                if class < 2 {
                    Rgb([bright, 60, 40])
                } else {
                    Rgb([40, 60, bright])
                }
            };
            // Larger than what the network reads, and not square.
            let image = RgbImage::from_fn(280, 260, pixel);
            image.save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
}

#[test]
fn a_narrow_alexnet_goes_the_whole_way_on_a_folder_of_images() {
    let folder = tempfile::tempdir().unwrap();
    images(&folder.path().join("train"), 8);
    images(&folder.path().join("val"), 5);
    let network = narrow_alexnet(4, 32);
    let data = folder.path().to_str().unwrap();
    let device = open_device("cpu").unwrap();
    let options = Table1Options {
        network: &network,
        start: Some(Parameters::random(&network, 1)),
        data,
        seeds: &[1],
        epochs: Some([0, 1, 1, 1]),
    };
    let out = folder.path().join("table1");
    std::fs::create_dir(&out).unwrap();
    let report = table1(&options, &out, &device, &Silent, |_| ()).unwrap();
    // The paper has no ECSQ of AlexNet.
    let ratios: Vec<f64> = report.rows.iter().map(|r| r.result.after.ratio).collect();
    assert_eq!(ratios.len(), 3);
    for (ratio, row) in ratios.iter().zip(&report.rows) {
        assert!(
            (row.paper_ratio..1.2 * row.paper_ratio).contains(ratio),
            "{ratio} {row:?}"
        );
    }
    let survivors = report.networks[0].n_survivors as f64 / network.n_trainable() as f64;
    assert!((survivors - 0.11).abs() < 0.001, "{survivors}");
    let checked = check_table1(&network, data, &out, &device, None, &Silent).unwrap();
    assert!(checked.len() == 3 && checked.iter().all(|c| c.is_same && c.divergence.is_none()));
    let start = options.start.as_ref();
    let checked = check_table1(&network, data, &out, &device, start, &Silent).unwrap();
    assert!(checked.iter().all(|c| c.is_same && c.divergence.is_some()));
    // Files and the pruned network beside the dense one; what a report does not have is compared when it is gone on with.
    let change = report.rows[0].comparison.unwrap();
    assert!(report.networks[0].comparison.is_some() && change.divergence.unwrap() > 0.0);
    let mut earlier = report.clone();
    earlier.rows[0].comparison = None;
    let path = out.join("table1-alexnet.json");
    std::fs::write(path, serde_json::to_string(&earlier).unwrap()).unwrap();
    let again = table1(&options, &out, &device, &Silent, |_| ()).unwrap();
    let row = again.rows.iter().find(|r| r.file == report.rows[0].file).unwrap();
    assert_eq!(row, &report.rows[0]);

    // Nothing is trained a second time.
    let mut said = 0;
    let again = table1(&options, &out, &device, &Silent, |_| said += 1).unwrap();
    assert_eq!((again.rows.len(), said), (3, 0));
    // A broken image is named.
    std::fs::write(folder.path().join("train/n3/7.png"), b"nothing").unwrap();
    let open = || open_data(&network, data, &DataOptions::default());
    let error = open().unwrap().train.batch(&[31], None).unwrap_err();
    assert!(error.to_string().contains("7.png"), "{error}");
    // Other passes, other weights or other classes are not mixed with these.
    let refused = |options: &Table1Options<'_>| {
        let error = table1(options, &out, &device, &Silent, |_| ()).unwrap_err();
        error.to_string()
    };
    let more = Table1Options {
        epochs: Some([0, 2, 1, 1]),
        ..options.clone()
    };
    assert!(refused(&more).contains("other epochs"));
    let other = Table1Options {
        start: Some(Parameters::random(&network, 2)),
        ..options.clone()
    };
    assert!(refused(&other).contains("other weights"));
    std::fs::remove_dir_all(folder.path().join("val/n3")).unwrap();
    assert!(open().err().unwrap().to_string().contains("not the same classes"));
}

#[test]
fn what_the_table_does_not_have_is_told() {
    let device = open_device("cpu").unwrap();
    let refused = |network, start: Option<Parameters>| {
        let options = Table1Options {
            network: &network,
            start,
            data: "digits:100",
            seeds: &[1],
            epochs: None,
        };
        let out = tempfile::tempdir().unwrap();
        table1(&options, out.path(), &device, &Silent, |_| ())
            .unwrap_err()
            .to_string()
    };
    let squeezenet = tersor_nets::task::network("squeezenet1_1").unwrap();
    assert!(refused(squeezenet, None).contains("alexnet"));
    assert!(refused(alexnet(), None).contains("--weights"));
}

#[test]
fn the_stand_in_is_a_narrow_alexnet() {
    assert_eq!(alexnet().n_trainable(), 61_100_840);
    let narrow = narrow_alexnet(1000, 1);
    assert_eq!(narrow.parameters, alexnet().parameters);
}
