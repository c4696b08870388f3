//! What appears on disk, and what does not.

use super::{Fixture, H, NET};

#[test]
fn nothing_is_overwritten_without_force() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("net.tersor"), "precious").unwrap();
    fixture.fail(&["compress", NET], "net.tersor exists; allow overwriting (-f)");
    assert_eq!(fixture.bytes("net.tersor"), b"precious");
    fixture.succeed(&["compress", NET, "-f"]);
    fixture.fail(
        &["decompress", "net.tersor"],
        "net.safetensors exists; allow overwriting (-f)",
    );
    fixture.succeed(&["decompress", "net.tersor", "--force"]);
    std::fs::write(fixture.path("curves.svg"), "precious").unwrap();
    fixture.fail(&["sweep", NET, "--svg", "curves.svg"], "curves.svg exists");
}

#[test]
fn the_input_is_never_replaced() {
    let fixture = Fixture::new();
    let before = fixture.bytes(NET);
    fixture.fail(
        &["compress", NET, "-f", "-o", "./net.safetensors"],
        "is the input, which is never replaced",
    );
    assert!(fixture.bytes(NET) == before);
    fixture.succeed(&["compress", NET]);
    fixture.fail(
        &[
            "decompress",
            "net.tersor",
            "-f",
            "--format",
            "safetensors",
            "-o",
            "net.tersor",
        ],
        "is the input, which is never replaced",
    );
}

#[test]
fn success_leaves_only_the_output() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET]);
    fixture.succeed(&["decompress", "net.tersor", "-o", "back.safetensors"]);
    assert_eq!(fixture.names(), ["back.safetensors", H, NET, "net.tersor"]);
}

#[test]
fn a_dry_run_writes_nothing_and_tells_the_plan() {
    let fixture = Fixture::new();
    let args = [
        "compress",
        NET,
        "--dry-run",
        "--sensitivity",
        H,
        "--keep",
        "classifier.bias",
    ];
    let outcome = fixture.succeed(&args);
    assert_eq!(fixture.names(), [H, NET]);
    let line = |name: &str| {
        outcome
            .stdout
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap()
    };
    let words = |name: &str| line(name).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        words("classifier.bias"),
        "classifier.bias F32 100 - - - lossless: kept as asked"
    );
    assert_eq!(
        words("num_batches_tracked"),
        "num_batches_tracked I64 scalar - - - lossless: not a float type"
    );
    assert!(words("layer0.conv.weight").starts_with("layer0.conv.weight F32 32x3x3x3 file "));
    assert!(words("classifier.tied").ends_with("stored once: equal to \"classifier.weight\""));
    assert!(
        outcome
            .stdout
            .ends_with("24 tensors, 1,070,360 bytes, 254,084 parameters; nothing was written\n")
    );
    let plan = fixture.json(&["compress", NET, "--dry-run", "--json"]);
    assert_eq!(plan["tensors"].as_array().unwrap().len(), 24);
    assert_eq!(plan["tensors"][0]["sensitivity"], "equal");
}

#[test]
fn an_impossible_output_is_told_before_the_work() {
    let fixture = Fixture::new();
    fixture.fail(
        &["compress", NET, "-o", "absent/net.tersor"],
        "the folder absent does not exist",
    );
    std::fs::create_dir(fixture.path("folder")).unwrap();
    fixture.fail(
        &["compress", NET, "-f", "-o", "folder"],
        "folder is a folder; name a file",
    );
    fixture.fail(
        &["compress", NET, "-o", "-", "--json"],
        "cannot both go to standard output",
    );
}

#[cfg(unix)]
#[test]
fn devices_are_written_to_and_not_replaced() {
    use std::os::unix::fs::FileTypeExt as _;
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "-f", "-o", "/dev/null"]);
    fixture.succeed(&["compress", NET]);
    fixture.succeed(&["decompress", "net.tersor", "-f", "-o", "/dev/null"]);
    assert!(
        std::fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
}

/// Waits until a file appears.
#[cfg(unix)]
fn wait_for(path: &std::path::Path) {
    for _ in 0..3000 {
        if path.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} did not appear", path.display());
}

#[cfg(unix)]
#[test]
fn a_killed_compression_leaves_nothing_under_the_final_name() {
    let fixture = Fixture::new();
    let script = "touch running; sleep 2; echo 1 {}";
    let mut child = fixture.spawn(&["compress", NET, "--evaluate", script, "--at-least", "1"]);
    wait_for(&fixture.path("running"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!fixture.exists("net.tersor"));
}

#[cfg(unix)]
#[test]
fn what_a_killed_command_has_written_is_whole() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "--keep", "*", "-o", "whole.tersor"]);
    let (mut n_there, delays_ms) = (0, [0, 2, 4, 6, 8, 10, 15, 20, 30, 50, 100, 1000]);
    for delay_ms in delays_ms {
        for (args, name) in [
            (["compress", NET, "--keep=*", "-o=killed.tersor"], "killed.tersor"),
            (
                ["decompress", "whole.tersor", "-f", "-o=killed.safetensors"],
                "killed.safetensors",
            ),
        ] {
            let mut child = fixture.spawn(&args);
            std::thread::sleep(std::time::Duration::from_millis(delay_ms));
            child.kill().unwrap();
            child.wait().unwrap();
            if !fixture.exists(name) {
                continue;
            }
            n_there += 1;
            let whole = if name.ends_with("tersor") {
                "whole.tersor"
            } else {
                NET
            };
            assert!(
                fixture.bytes(name) == fixture.bytes(whole),
                "{name} after {delay_ms} ms"
            );
            std::fs::remove_file(fixture.path(name)).unwrap();
        }
    }
    assert!(n_there > 0, "no command ended within a second");
}
