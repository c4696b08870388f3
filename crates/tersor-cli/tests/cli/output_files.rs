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
        "is going to be a .tersor file",
    );
    std::fs::copy(fixture.path(NET), fixture.path("plain")).unwrap();
    for args in [
        ["compress", "plain", "-f", "-o", "./plain"],
        ["decompress", "compressed", "-f", "-o", "./compressed"],
    ] {
        fixture.succeed(&["compress", NET, "-f", "-o", "compressed"]);
        fixture.fail(&args, "is the input, which is never replaced");
    }
    assert!(fixture.bytes(NET) == before && fixture.bytes("plain") == before);
}

#[test]
fn a_name_that_promises_another_format_is_refused() {
    let fixture = Fixture::new();
    for ending in ["safetensors", "PT", "pth", "bin", "npz", "ckpt"] {
        let name = format!("x.{ending}");
        fixture.fail(
            &["compress", NET, "-o", &name],
            "is going to be a .tersor file, not a",
        );
        assert!(!fixture.exists(&name));
    }
    fixture.succeed(&["compress", NET, "-o", "net-0.25"]);
    for name in ["x.tersor", "x.pt"] {
        fixture.fail(
            &["decompress", "net-0.25", "--format", "npz", "-o", name],
            "files are not written; name a .safetensors or .npz file",
        );
    }
    for (format, name) in [("npz", "x.safetensors"), ("safetensors", "x.npz")] {
        let message = format!("--format {format} contradicts the name {name}");
        fixture.fail(
            &["decompress", "net-0.25", "--format", format, "-o", name],
            &message,
        );
    }
    fixture.fail(&["sweep", NET, "--svg", "curves.png"], "name a .svg file");
}

#[test]
fn values_are_checked_before_outputs_and_outputs_before_the_work() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET]);
    // The output exists and the input is damaged: whatever is looked at first is told.
    std::fs::write(fixture.path("broken.safetensors"), "broken").unwrap();
    let order = ["compress", "broken.safetensors", "-o", "net.tersor"];
    let with = |more: &[&'static str]| [&order[..], more].concat();
    fixture.fail(&with(&["--bpw", "-1"]), "bits per weight is -1");
    fixture.fail(
        &with(&["--max-loss", "-1", "--sensitivity", H]),
        "largest loss is -1",
    );
    fixture.fail(&with(&["--power", "2", "--sensitivity", H]), "must be 0 to 1");
    fixture.fail(&with(&["--method", "kmeans", "--levels", "0"]), "levels is 0");
    fixture.fail(
        &with(&["--method", "kmeans", "--levels", "65537"]),
        "must be 1 to 65536",
    );
    fixture.fail(&with(&["--evaluate", "x", "--at-least", "1"]), "has no {}");
    fixture.fail(
        &with(&["--evaluate", "x {}", "--at-least", "nan"]),
        "finite number",
    );
    fixture.fail(&with(&[]), "net.tersor exists");
    fixture.fail(&with(&["-f"]), "broken.safetensors");
    fixture.fail(&["compress", "absent", "-o", "net.tersor"], "cannot read absent");
    std::fs::write(fixture.path("a.svg"), "").unwrap();
    fixture.fail(&["sweep", NET, "--svg", "a.svg", "--bpw", "3,0"], "a.svg exists");
    fixture.fail(&["sweep", NET, "--bpw", "3,0"], "bits per weight is 0");
    fixture.fail(
        &["decompress", "net.tersor", "-o", "absent/x.npz"],
        "the folder absent does not exist",
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_to_is_told_before_the_work() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("broken.safetensors"), "broken").unwrap();
    // Nobody can make files there, whatever rights they have.
    fixture.fail(
        &["compress", "broken.safetensors", "-o", "/proc/net.tersor"],
        "cannot write /proc/net.tersor",
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
            .ends_with("; 254,788 weights, 254,084 of them trainable; nothing was written\n")
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

/// Sends a signal to a command and waits for its end.
#[cfg(unix)]
fn signal(child: &mut std::process::Child, name: &str) -> Option<i32> {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -s {name} {pid}")])
        .status();
    assert!(sent.unwrap().success());
    child.wait().unwrap().code()
}

#[cfg(unix)]
#[test]
fn an_interrupted_command_removes_its_temporary_files() {
    for name in ["INT", "TERM"] {
        let fixture = Fixture::new();
        let script = "touch running; sleep 2; echo 1 {}";
        let mut child = fixture.spawn(&["compress", NET, "--evaluate", script, "--at-least", "1"]);
        wait_for(&fixture.path("running"));
        assert!(fixture.names().len() > 3, "a folder with a decoded checkpoint");
        assert_eq!(signal(&mut child, name), Some(130), "{name}");
        assert_eq!(fixture.names(), [H, NET, "running"], "{name}");
    }
}

#[cfg(unix)]
#[test]
fn what_a_killed_command_left_is_removed_by_the_next_with_the_same_output() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET]);
    let leftovers = [".tersor-back.safetensors-Ab12Cd", ".tersor-net.tersor-Ab12Cd"];
    for name in leftovers {
        std::fs::write(fixture.path(name), "half").unwrap();
    }
    fixture.succeed(&["decompress", "net.tersor", "-o", "back.safetensors"]);
    assert!(!fixture.exists(leftovers[0]) && fixture.exists(leftovers[1]));
    fixture.succeed(&["compress", NET, "-f"]);
    assert_eq!(fixture.names(), ["back.safetensors", H, NET, "net.tersor"]);
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
