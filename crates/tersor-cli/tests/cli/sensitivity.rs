//! `tersor sensitivity`.

use super::Fixture;

#[test]
fn moments_of_an_optimizer_become_a_file_that_compress_takes() {
    let fixture = Fixture::empty();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../tersor/tests/fixtures");
    let training = format!("{fixtures}/training.pt");
    let args = [
        "sensitivity",
        "--from-optimizer",
        &training,
        "-o",
        "h.safetensors",
    ];
    let outcome = fixture.succeed(&args);
    assert!(
        outcome.stderr.contains("sensitivities of 2 tensors"),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("1 parameter left out"), "{outcome:?}");
    fixture.fail(&args, "exists");
    assert_eq!(
        fixture
            .succeed(&[&args[..], &["-f", "-q", "--sqrt"]].concat())
            .stderr,
        ""
    );
    let compress = ["compress", &training, "-o", "net.tersor"];
    fixture.succeed(&[&compress[..], &["--sensitivity", "h.safetensors"]].concat());
    let alone = format!("{fixtures}/optimizer.pt");
    fixture.fail(
        &[
            "sensitivity",
            "--from-optimizer",
            &alone,
            "-o",
            "other.safetensors",
        ],
        "give the model (--model)",
    );
    fixture.fail(
        &[
            "sensitivity",
            "--from-optimizer",
            &training,
            "-o",
            &training,
            "-f",
        ],
        "is the input, which is never replaced",
    );
}
