//! Reports for people and programs.

use super::{Fixture, H, NET};
use tersor::checkpoint::Checkpoint;
use tersor::codec::{Dtype, TensorInfo};
use tersor::synthetic;

#[test]
fn the_report_of_a_compression_is_one_json_object() {
    let fixture = Fixture::new();
    let report = fixture.json(&["compress", NET, "--bpw", "3", "--sensitivity", H, "--json"]);
    assert_eq!(report["input"], NET);
    assert_eq!(report["output"], "net.tersor");
    assert_eq!(report["method"], "grid");
    assert_eq!(report["coder"], "context");
    assert_eq!(report["tensor_bytes"], 1_070_360);
    assert_eq!(report["n_weights"], 254_788);
    assert_eq!(report["n_parameters"], 254_084);
    assert_eq!(report["file_bytes"], fixture.len("net.tersor"));
    for field in [
        "ratio",
        "ratio_paper",
        "bpw",
        "slope",
        "predicted_loss",
        "squared_error",
        "noise",
    ] {
        assert!(report[field].as_f64().unwrap() > 0.0, "{field}: {report}");
    }
    assert_eq!(report["tensors"].as_array().unwrap().len(), 24);
    assert!(report["warnings"].is_array());
}

#[test]
fn a_verbose_compression_shows_each_tensor_on_standard_error() {
    let fixture = Fixture::new();
    let outcome = fixture.succeed(&["compress", NET, "-v"]);
    assert_eq!(outcome.stdout, "");
    assert_eq!(
        outcome.stderr.lines().filter(|line| line.contains("F32")).count(),
        23,
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("noise -") && !outcome.stderr.contains("predicted loss"),
        "without sensitivities, noise is told: {}",
        outcome.stderr
    );
    let heading = outcome.stderr.lines().next().unwrap();
    assert!(heading.contains("levels  used"), "{heading}");
}

#[test]
fn a_quiet_command_says_nothing() {
    let fixture = Fixture::new();
    for args in [
        &["compress", NET, "-q"][..],
        &["decompress", "net.tersor", "-qo", "back.safetensors"],
    ] {
        let outcome = fixture.succeed(args);
        assert_eq!(
            (outcome.stdout.as_str(), outcome.stderr.as_str()),
            ("", ""),
            "{args:?}"
        );
    }
}

#[test]
fn tensors_missing_from_the_sensitivities_are_warned_of() {
    let fixture = Fixture::new();
    let net = synthetic::checkpoint(1).unwrap();
    let mut tensors: Vec<(TensorInfo, Vec<u8>)> = Vec::new();
    for (index, info) in net.tensors().iter().enumerate() {
        tensors.push((info.clone(), net.bytes(index).unwrap().into_owned()));
    }
    let extra = TensorInfo {
        name: "extra.weight".into(),
        dtype: Dtype::F32,
        shape: vec![8, 8],
        shard: 0,
    };
    tensors.push((
        extra,
        (0..64u8).flat_map(|i| f32::from(i).to_le_bytes()).collect(),
    ));
    let larger = Checkpoint::from_tensors(tensors, Vec::new(), Vec::new()).unwrap();
    synthetic::write(&larger, &fixture.path("larger.safetensors")).unwrap();
    let outcome = fixture.succeed(&["compress", "larger.safetensors", "--sensitivity", H]);
    let start =
        "warning: 1 tensor of two or more dimensions is not in the sensitivity file: \"extra.weight\"";
    let warnings: Vec<&str> = outcome
        .stderr
        .lines()
        .filter(|l| l.starts_with("warning"))
        .collect();
    assert!(
        warnings.len() == 1 && warnings[0].starts_with(start),
        "{}",
        outcome.stderr
    );
    // The running statistics of four layers, and the one that was added.
    let line =
        "  9 tensors without sensitivities in the file got them by default: \"layer0.norm.running_mean\", ";
    assert!(
        outcome.stderr.contains(line) && outcome.stderr.contains(" and 6 more\n"),
        "{}",
        outcome.stderr
    );
    let report = fixture.json(&[
        "compress",
        "larger.safetensors",
        "-f",
        "--sensitivity",
        H,
        "--json",
    ]);
    assert_eq!(report["without_sensitivities"].as_array().unwrap().len(), 9);
}

#[test]
fn a_loss_is_told_only_with_sensitivities() {
    let fixture = Fixture::new();
    let report = fixture.json(&["compress", NET, "--bpw", "3", "--json"]);
    assert!(report["predicted_loss"].is_null() && report["weighted_error"].as_f64().unwrap() > 0.0);
    let sweep = |more: &[&str]| {
        fixture.json(&[&["sweep", NET, "--methods", "grid", "--bpw", "3", "--json"], more].concat())
    };
    assert!(sweep(&[])[0]["predicted_loss"].is_null());
    assert!(
        sweep(&["--sensitivity", H])[0]["predicted_loss"]
            .as_f64()
            .unwrap()
            > 0.0
    );
}

#[test]
fn every_command_tells_the_same_sizes() {
    let fixture = Fixture::new();
    let fields = [
        "tensor_bytes",
        "n_weights",
        "n_parameters",
        "ratio",
        "bpw",
        "ratio_paper",
    ];
    let of = |report: &serde_json::Value| fields.map(|field| report[field].clone());
    let compressed = of(&fixture.json(&["compress", NET, "--bpw", "3", "--json"]));
    assert!(
        compressed.iter().all(serde_json::Value::is_number),
        "{compressed:?}"
    );
    assert_eq!(
        of(&fixture.json(&["inspect", "net.tersor", "--json"])),
        compressed
    );
    assert_eq!(of(&fixture.json(&["verify", "net.tersor", "--json"])), compressed);
    let sweep = &fixture.json(&[
        "sweep",
        NET,
        "--methods",
        "grid",
        "--scopes",
        "tensor",
        "--bpw",
        "3",
        "--json",
    ])[0];
    assert_eq!(of(sweep)[..5], compressed[..5]);
    let text = "254,788 weights, 254,084 of them trainable";
    for args in [
        &["compress", NET, "-f", "--bpw", "3"][..],
        &["compress", NET, "--dry-run"],
        &["inspect", "net.tersor"],
        &["verify", "net.tersor"],
        &["sweep", NET, "--methods", "grid", "--bpw", "3"],
    ] {
        let outcome = fixture.succeed(args);
        assert!(
            (outcome.stdout + &outcome.stderr).contains(text),
            "{args:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn inspecting_a_compressed_file_tells_where_its_bytes_are() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "--bpw", "3"]);
    let report = fixture.json(&["inspect", "net.tersor", "--json"]);
    let number = |field: &str| report[field].as_u64().unwrap();
    assert_eq!(number("file_bytes"), fixture.len("net.tersor"));
    assert_eq!(
        number("symbol_bytes") + number("side_bytes"),
        number("file_bytes")
    );
    assert_eq!(number("n_tensors"), 24);
    let outcome = fixture.succeed(&["inspect", "net.tersor"]);
    assert!(
        outcome.stdout.starts_with("net.tersor: tersor file, version "),
        "{}",
        outcome.stdout
    );
    for part in [
        "ratio  ",
        "coders ",
        "directory ",
        "symbols ",
        "side info ",
        "layer0.conv.weight",
    ] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("codebook"));
    assert!(
        fixture
            .succeed(&["inspect", "-v", "net.tersor"])
            .stdout
            .contains("codebook")
    );
    let piped = fixture.run_with_input(&["inspect", "-"], &fixture.bytes("net.tersor"));
    assert!(
        piped.stdout.starts_with("standard input: tersor file"),
        "{piped:?}"
    );
}

#[test]
fn inspecting_a_checkpoint_lists_its_tensors() {
    let fixture = Fixture::new();
    let outcome = fixture.succeed(&["inspect", NET]);
    let start = format!(
        "{NET}: checkpoint, 24 tensors, 1,070,360 bytes; 267,588 weights, 266,884 of them trainable\n"
    );
    assert!(outcome.stdout.starts_with(&start), "{}", outcome.stdout);
    let report = fixture.json(&["inspect", NET, "--json"]);
    assert_eq!(report["tensors"][0]["shape"].as_array().unwrap().len(), 4);
    fixture.fail(&["inspect", "absent"], "absent");
}

#[test]
fn a_comparison_has_numbers_for_each_tensor() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "--bpw", "3"]);
    let verdict = fixture.json(&["verify", "net.tersor", "--against", NET, "--json"]);
    assert_eq!(verdict["ok"], true);
    let tensors = verdict["comparison"]["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 24);
    for tensor in tensors {
        let is_exact = tensor["name"] == "num_batches_tracked";
        assert_eq!(tensor["identical"], is_exact, "{tensor}");
        assert_eq!(tensor["max_abs"].as_f64().unwrap() == 0.0, is_exact, "{tensor}");
    }
    assert!(verdict["comparison"]["noise"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_sweep_prints_a_table_csv_or_json_and_draws() {
    let fixture = Fixture::new();
    let args = [
        "sweep",
        NET,
        "--methods",
        "grid,uniform",
        "--scopes",
        "tensor",
        "--bpw",
        "2,3",
    ];
    let with = |more: &[&'static str]| [&args[..], more].concat();
    let table = fixture.succeed(&with(&["--svg", "curves.svg"])).stdout;
    assert!(table.contains("grid") && table.contains("uniform"), "{table}");
    assert!(
        String::from_utf8(fixture.bytes("curves.svg"))
            .unwrap()
            .contains("</svg>")
    );
    let csv = fixture.succeed(&with(&["--csv"])).stdout;
    assert_eq!(csv.lines().count(), 5, "{csv}");
    let points = fixture.json(&with(&["--json", "--coders", "huffman,ans"]));
    assert_eq!(points.as_array().unwrap().len(), 8);
    assert_eq!(points[0]["coder"], "huffman");
    fixture.fail(&with(&["--coders", "auto"]), "name them instead of auto");
}
