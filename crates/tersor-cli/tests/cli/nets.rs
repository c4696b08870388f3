//! `tersor demo` and `tersor net`, on a few generated digits.

use super::Fixture;

/// A network trained on next to nothing, as `net.safetensors`.
fn trained() -> Fixture {
    let fixture = Fixture::empty();
    fixture.succeed(&[
        "net",
        "train",
        "--net",
        "lenet5",
        "--data",
        "digits:300",
        "--epochs",
        "2",
        "--batch",
        "50",
        "-o",
        "net.safetensors",
        "--sensitivity",
        "adam.safetensors",
    ]);
    fixture
}

#[test]
fn the_demonstration_compresses_with_every_method_and_says_what_to_do_next() {
    let fixture = Fixture::empty();
    let outcome = fixture.succeed(&["demo", "--data", "digits:200", "--seed", "3"]);
    for word in [
        "trained",
        "pruned",
        "kmeans",
        "hessian-kmeans",
        "uniform",
        "ecsq",
        "grid",
    ] {
        assert!(outcome.stdout.contains(word), "{word}: {}", outcome.stdout);
    }
    assert!(
        outcome.stdout.contains("tersor compress net.safetensors --bpw 3"),
        "{}",
        outcome.stdout
    );
    assert_eq!(fixture.names(), [""; 0], "it cleans up behind itself");
}

#[test]
fn a_network_is_trained_measured_compressed_tuned_and_scored() {
    let fixture = trained();
    let task = ["--net", "lenet5", "--data", "digits:300"];
    let run = |verb: &str, rest: &[&str]| {
        let args = [&["net", verb], rest, &task].concat();
        fixture.succeed(&args)
    };
    for estimator in [
        "fisher",
        "empirical",
        "hessian",
        "hutchinson",
        "adam",
        "sqrt-adam",
    ] {
        let name = format!("{estimator}-h.safetensors");
        run(
            "sensitivity",
            &[
                "net.safetensors",
                "--estimator",
                estimator,
                "--samples",
                "20",
                "-o",
                &name,
            ],
        );
    }
    run(
        "prune",
        &[
            "net.safetensors",
            "--keep",
            "10%",
            "--epochs",
            "2",
            "--batch",
            "50",
            "-o",
            "pruned.safetensors",
        ],
    );
    fixture.succeed(&[
        "compress",
        "pruned.safetensors",
        "--sensitivity",
        "fisher-h.safetensors",
        "--ratio",
        "30",
    ]);
    run(
        "finetune",
        &["pruned.tersor", "--batch", "50", "-o", "tuned.tersor"],
    );
    run(
        "finetune",
        &[
            "pruned.tersor",
            "--teacher",
            "pruned.safetensors",
            "--mix",
            "--features",
            "10",
            "--batch",
            "50",
            "-o",
            "taught.tersor",
        ],
    );
    run(
        "repair",
        &[
            "pruned.tersor",
            "--original",
            "pruned.safetensors",
            "--samples",
            "50",
            "-o",
            "repaired.tersor",
        ],
    );
    let args = [
        &[
            "net",
            "evaluate",
            "tuned.tersor",
            "--against",
            "pruned.safetensors",
            "--json",
        ][..],
        &task,
    ]
    .concat();
    let outcome = fixture.json(&args);
    assert_eq!(outcome["evaluation"]["n"], 500);
    assert!(outcome["comparison"]["divergence"].as_f64().unwrap() >= 0.0);
    let score = run("evaluate", &["tuned.tersor", "--score"]).stdout;
    assert!((0.0..=1.0).contains(&score.trim().parse::<f64>().unwrap()));
}

#[test]
fn a_network_is_pruned_layer_by_layer_without_training() {
    let fixture = trained();
    let line = |rest: &str| {
        format!("net prune net.safetensors --net lenet5 --data digits:300 --begin 30% --samples 50 {rest}")
    };
    let done = line("--keep 30% --epochs 0 -o begun.safetensors");
    let said = fixture.succeed(&done.split(' ').collect::<Vec<_>>()).stderr;
    assert!(
        said.contains("parameters remain (29.") || said.contains("parameters remain (30."),
        "{said}"
    );
    let less = line("--keep 20% --epochs 0 -o less.safetensors");
    fixture.fail(&less.split(' ').collect::<Vec<_>>(), "--begin 20%");
    let more = line("--keep 40% --epochs 1 -o more.safetensors");
    fixture.fail(&more.split(' ').collect::<Vec<_>>(), "fewer than");
}

#[test]
fn what_does_not_fit_is_refused_with_a_remedy() {
    let fixture = trained();
    fixture.fail(
        &[
            "net",
            "evaluate",
            "net.safetensors",
            "--net",
            "resnet20",
            "--data",
            "digits",
        ],
        "resnet20 reads [3, 32, 32]",
    );
    fixture.fail(
        &[
            "net",
            "evaluate",
            "net.safetensors",
            "--net",
            "vgg",
            "--data",
            "digits",
        ],
        "there are lenet5",
    );
    fixture.fail(
        &[
            "net",
            "fold",
            "net.safetensors",
            "--net",
            "lenet5",
            "-o",
            "x.safetensors",
        ],
        "no batch-norm",
    );
    fixture.fail(
        &[
            "net",
            "train",
            "--net",
            "lenet5",
            "--data",
            "digits:100",
            "-o",
            "net.safetensors",
        ],
        "exists; give -f",
    );
}

#[test]
fn every_verb_has_help_with_examples() {
    let fixture = Fixture::empty();
    for verb in [
        "train",
        "evaluate",
        "sensitivity",
        "prune",
        "finetune",
        "repair",
        "fold",
        "reproduce",
    ] {
        let help = fixture.succeed(&["net", verb, "--help"]).stdout;
        assert!(
            help.contains("Examples:") && help.contains(&format!("  tersor net {verb}")),
            "{verb}: {help}"
        );
    }
    assert!(fixture.succeed(&["demo", "--help"]).stdout.contains("Examples:"));
}
