//! Compressing, decompressing and verifying.

use super::{Fixture, H, NET};
use std::path::Path;
use tersor::checkpoint::Checkpoint;
use tersor::codec::TensorInfo;
use tersor::synthetic;

#[test]
fn a_checkpoint_comes_back_with_its_names_types_and_shapes() {
    let fixture = Fixture::new();
    let outcome = fixture.succeed(&["compress", NET, "--bpw", "3", "--sensitivity", H]);
    assert_eq!(outcome.stdout, "");
    let start = format!("{NET}: 1,070,360 -> ");
    assert!(outcome.stderr.starts_with(&start), "{}", outcome.stderr);
    for part in [
        " bytes, to net.tersor\n",
        " bits per weight, paper's ratio ",
        "grid/tensor, context, slope ",
        "predicted loss +",
    ] {
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }

    let outcome = fixture.succeed(&["decompress", "net.tersor", "-o", "back.safetensors"]);
    assert_eq!(outcome.stdout, "");
    assert!(
        outcome
            .stderr
            .ends_with(" bytes, 24 tensors, to back.safetensors\n"),
        "{}",
        outcome.stderr
    );
    let original = Checkpoint::open(&fixture.path(NET)).unwrap();
    let back = Checkpoint::open(&fixture.path("back.safetensors")).unwrap();
    assert_eq!(original.tensors(), back.tensors());
    assert_eq!(original.shards(), back.shards());

    let outcome = fixture.succeed(&["verify", "net.tersor"]);
    assert!(
        outcome.stdout.starts_with("net.tersor: whole: "),
        "{}",
        outcome.stdout
    );
    assert_eq!(outcome.stderr, "");
    let outcome = fixture.succeed(&["verify", "net.tersor", "--against", NET]);
    assert!(
        outcome.stdout.contains("net.tersor: 1 of 24 tensors identical"),
        "{}",
        outcome.stdout
    );
    let outcome = fixture.succeed(&["verify", "net.tersor", "--against", "back.safetensors"]);
    for expected in [
        "24 of 24 tensors identical, squared error 0, noise none",
        "net.tersor: 1 metadata entry is the same",
    ] {
        assert!(outcome.stdout.contains(expected), "{}", outcome.stdout);
    }
}

#[test]
fn streams_carry_the_same_bytes_as_files() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "--slope", "1e-7"]);
    let piped = fixture.run_with_input(&["compress", "-", "--slope", "1e-7"], &fixture.bytes(NET));
    assert_eq!(piped.code, 0, "{}", piped.stderr);
    assert!(
        piped.stderr.starts_with("standard input: 1,070,360 -> "),
        "{}",
        piped.stderr
    );
    assert!(piped.stdout_bytes == fixture.bytes("net.tersor"));

    fixture.succeed(&["decompress", "net.tersor", "-o", "back.safetensors"]);
    let decoded = fixture.run_with_input(&["decompress", "-"], &piped.stdout_bytes);
    assert_eq!(decoded.code, 0, "{}", decoded.stderr);
    assert!(decoded.stdout_bytes == fixture.bytes("back.safetensors"));

    let verified = fixture.run_with_input(&["verify", "-"], &piped.stdout_bytes);
    assert!(
        verified.code == 0 && verified.stdout.starts_with("standard input: whole: "),
        "{verified:?}"
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let fixture = Fixture::new();
    fixture.succeed(&[
        "compress",
        NET,
        "--bpw",
        "2",
        "-o",
        "one.tersor",
        "--threads",
        "1",
    ]);
    fixture.succeed(&[
        "--threads",
        "5",
        "compress",
        NET,
        "--bpw",
        "2",
        "-o",
        "five.tersor",
    ]);
    assert!(fixture.bytes("one.tersor") == fixture.bytes("five.tersor"));
}

#[test]
fn npz_is_written_by_ending_or_by_option() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "--keep", "*", "-q"]);
    fixture.succeed(&["decompress", "net.tersor", "-o", "a.npz"]);
    fixture.succeed(&["decompress", "net.tersor", "--format", "npz"]);
    assert!(fixture.bytes("a.npz") == fixture.bytes("net.npz"));
    let outcome = fixture.succeed(&["verify", "net.tersor", "--against", "a.npz"]);
    assert!(
        outcome.stdout.contains("24 of 24 tensors identical"),
        "{}",
        outcome.stdout
    );
    fixture.fail(
        &["decompress", "net.tersor", "-o", "-", "--format", "npz"],
        "give -o FILE",
    );
    fixture.fail(
        &["decompress", "net.tersor", "-o", "net.pt"],
        ".pt files are not written",
    );
}

#[test]
fn a_folder_comes_back_as_a_folder() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("model-0.5")).unwrap();
    std::fs::rename(fixture.path(NET), fixture.path("model-0.5/model.safetensors")).unwrap();
    std::fs::write(fixture.path("model-0.5/config.json"), r#"{"layers": 4}"#).unwrap();
    fixture.succeed(&["compress", "model-0.5/"]);
    fixture.fail(&["decompress", "model-0.5.tersor"], "model-0.5 exists");
    std::fs::rename(fixture.path("model-0.5.tersor"), fixture.path("again.tersor")).unwrap();
    fixture.succeed(&["decompress", "again.tersor"]);
    assert_eq!(fixture.bytes("again/config.json"), br#"{"layers": 4}"#);
    assert!(fixture.exists("again/model.safetensors"));
    let outcome = fixture.succeed(&["inspect", "-v", "again.tersor"]);
    assert!(
        outcome.stdout.contains("file        config.json, 13 bytes"),
        "{}",
        outcome.stdout
    );
    fixture.fail(
        &["decompress", "again.tersor", "-o", "x.safetensors"],
        "again.tersor holds several files, which become a folder",
    );
    let against = |folder: &str| fixture.run(&["verify", "again.tersor", "--against", folder]);
    let same = against("model-0.5");
    assert_eq!(same.code, 0, "{}", same.stdout);
    assert!(
        same.stdout.contains("1 file beside the weights is the same"),
        "{}",
        same.stdout
    );
    std::fs::write(fixture.path("model-0.5/config.json"), "{}").unwrap();
    let other = against("model-0.5");
    assert_eq!(other.code, 1, "{}", other.stdout);
    assert!(
        other
            .stdout
            .contains("differs in files beside the weights: \"config.json\""),
        "{}",
        other.stdout
    );
    fixture.fail(
        &["verify", "model-0.5"],
        "model-0.5 is a folder, not a .tersor file; compress it with `tersor compress model-0.5`",
    );
}

#[test]
fn a_healthy_file_of_another_kind_is_named_with_what_to_do() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET]);
    fixture.succeed(&["decompress", "net.tersor", "-o", "net.npz"]);
    let pickle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tersor/tests/fixtures");
    for name in ["plain.pt", "legacy.pt"] {
        std::fs::copy(pickle.join(name), fixture.path(name)).unwrap();
    }
    for (name, kind) in [
        (NET, "a safetensors checkpoint"),
        ("net.npz", "an .npz file"),
        ("plain.pt", "a PyTorch checkpoint"),
        ("legacy.pt", "a PyTorch checkpoint"),
    ] {
        let message = format!(
            "error: {name} is {kind}, not a .tersor file; compress it with `tersor compress {name}`\n"
        );
        for verb in ["verify", "decompress"] {
            fixture.fail(&[verb, name], &message);
        }
        fixture.succeed(&["inspect", name]);
    }
    std::fs::write(fixture.path("model.gguf"), "GGUF....").unwrap();
    fixture.fail(
        &["verify", "model.gguf"],
        "model.gguf is not a .tersor file: it is a GGUF file",
    );
    fixture.fail(&["inspect", "model.gguf"], "it is a GGUF file");
}

#[test]
fn names_and_shapes_are_compared_with_the_original() {
    let fixture = Fixture::new();
    let net = synthetic::checkpoint(1).unwrap();
    let write = |file: &str, change: &dyn Fn(&mut TensorInfo)| {
        let tensors = net.tensors().iter().enumerate().map(|(index, info)| {
            let mut info = info.clone();
            change(&mut info);
            (info, net.bytes(index).unwrap().into_owned())
        });
        let tensors = Checkpoint::from_tensors(tensors.collect(), net.shards().to_vec(), Vec::new());
        synthetic::write(&tensors.unwrap(), &fixture.path(file)).unwrap();
    };
    write("module.safetensors", &|info| {
        info.name = format!("module.{}", info.name);
    });
    write("reshaped.safetensors", &|info| {
        if info.name == "classifier.bias" {
            info.shape = vec![10, 10];
        }
    });
    fixture.succeed(&["compress", NET, "--bpw", "3"]);
    let against = |file: &str| fixture.run(&["verify", "net.tersor", "--against", file]);
    let renamed = against("module.safetensors");
    assert_eq!(renamed.code, 0, "{}", renamed.stdout);
    let line = "24 names match but for a leading module.";
    assert!(renamed.stdout.contains(line), "{}", renamed.stdout);
    let reshaped = against("reshaped.safetensors");
    assert_eq!(reshaped.code, 1);
    let line = "tensor \"classifier.bias\" is F32 100, in the original F32 10x10";
    assert!(reshaped.stdout.contains(line), "{}", reshaped.stdout);
}

#[test]
fn a_damaged_file_is_a_negative_answer() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "--bpw", "2"]);
    let bytes = fixture.bytes("net.tersor");
    let step = bytes.len() / 10;
    for at in (20..bytes.len()).step_by(step) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(fixture.path("damaged.tersor"), damaged).unwrap();
        let outcome = fixture.run(&["verify", "damaged.tersor"]);
        assert_eq!(outcome.code, 1, "byte {at}: {outcome:?}");
        assert!(
            outcome.stdout.starts_with("damaged.tersor: damaged: "),
            "byte {at}: {outcome:?}"
        );
        fixture.fail(&["decompress", "damaged.tersor"], "damaged.tersor: ");
        assert!(!fixture.exists("damaged.safetensors"), "byte {at}");
    }
    std::fs::write(fixture.path("short.tersor"), &bytes[..bytes.len() - 1]).unwrap();
    let outcome = fixture.run(&["verify", "short.tersor", "--json"]);
    assert_eq!(outcome.code, 1);
    let verdict: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(verdict["ok"], false);
    assert!(
        verdict["damage"].as_str().unwrap().contains("truncated"),
        "{verdict}"
    );
    let outcome = fixture.run(&["verify", "short.tersor", "-q"]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (1, "", "")
    );
    fixture.fail(&["verify", "absent.tersor"], "cannot read absent.tersor");
}

#[test]
fn another_layout_is_a_negative_answer() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "--bpw", "2"]);
    let outcome = fixture.run(&["verify", "net.tersor", "--against", H]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("\"layer0.norm.running_var\""),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_limit_on_decoded_bytes_is_kept() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "--bpw", "2"]);
    fixture.fail(
        &["decompress", "net.tersor", "--max-size", "1M"],
        "above the limit of 1000000",
    );
    fixture.fail(
        &["verify", "net.tersor", "--max-size", "1M"],
        "above the limit of 1000000",
    );
    assert!(!fixture.exists("net.tersor.safetensors"));
    fixture.succeed(&[
        "decompress",
        "net.tersor",
        "--max-size",
        "1.5MiB",
        "-o",
        "back.safetensors",
    ]);
}
