//! Right and wrong usage.

use super::{Fixture, NET};

#[test]
fn wrong_usage_ends_with_status_2_and_says_what_is_wrong() {
    let fixture = Fixture::new();
    for (args, message) in [
        (&["--absent"][..], "unexpected argument '--absent'"),
        (&["compress"], "<INPUT>"),
        (
            &["compress", NET, "--bpw", "many"],
            "invalid value 'many' for '--bpw <X>'",
        ),
        (
            &["compress", NET, "--bpw", "2", "--ratio", "3"],
            "cannot be used with",
        ),
        (&["compress", NET, "--size", "3x"], "such as 300k or 1.5GiB"),
        (&["compress", NET, "--evaluate", "x {}"], "--at-least <X>"),
        (&["compress", NET, "--at-least", "1"], "--evaluate <COMMAND>"),
        (&["sweep", NET, "--json", "--csv"], "cannot be used with"),
        (&["sweep", NET, "--force"], "--svg <FILE>"),
        (&["sweep", NET, "--power", "0.5"], "--sensitivity <FILE>"),
        (&["compress", NET, "--row-scales"], "--sensitivity <FILE>"),
        (
            &["sweep", NET, "--methods", "grid,hessian-kmeans"],
            "give --sensitivity FILE",
        ),
        (
            &["sweep", NET, "--methods", "grid,ecsq,grid"],
            "--methods lists grid twice",
        ),
        (&["sweep", NET, "--bpw", "2,2.0"], "--bpw lists 2.0 twice"),
        (&["inspect", NET, "-v", "--json"], "cannot be used with"),
        (&["compress", NET, "-vq"], "no effect with --quiet"),
        (&["man", "--force"], "<DIR>"),
    ] {
        fixture.fail(args, message);
    }
    assert_eq!(fixture.run(&[]).code, 2);
}

#[test]
fn an_unknown_method_is_answered_with_those_known() {
    let fixture = Fixture::new();
    fixture.fail(
        &["compress", NET, "--method", "magic"],
        "invalid value 'magic' for '--method <METHOD>'",
    );
    fixture.fail(
        &["compress", NET, "--method", "magic"],
        "[possible values: grid, uniform, ecsq, hessian-kmeans, kmeans]",
    );
}

#[test]
fn an_input_that_is_no_checkpoint_is_refused_by_name() {
    let fixture = Fixture::new();
    fixture.fail(&["compress", "absent.safetensors"], "absent.safetensors");
    std::fs::write(fixture.path("text.txt"), "hello").unwrap();
    fixture.fail(&["compress", "text.txt"], "text.txt");
    fixture.fail(&["decompress", "text.txt"], "text.txt: not a .tersor file");
    fixture.succeed(&["compress", NET]);
    fixture.fail(
        &["compress", "net.tersor"],
        "net.tersor is a .tersor file already",
    );
}

#[test]
fn every_command_has_help_with_examples() {
    let fixture = Fixture::empty();
    for verb in [
        "compress",
        "decompress",
        "inspect",
        "verify",
        "sweep",
        "completions",
        "man",
    ] {
        let help = fixture.succeed(&[verb, "--help"]).stdout;
        assert!(
            help.contains("Examples:") && help.contains(&format!("  tersor {verb}")),
            "{verb}: {help}"
        );
    }
    assert!(fixture.succeed(&["--version"]).stdout.starts_with("tersor "));
}

#[test]
fn completions_are_made_for_every_shell() {
    let fixture = Fixture::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = fixture.succeed(&["completions", shell]).stdout;
        assert!(
            script.contains("decompress") && script.contains("max-loss"),
            "{shell}: {script}"
        );
    }
}

#[test]
fn manual_pages_go_to_standard_output_or_a_folder() {
    let fixture = Fixture::empty();
    assert!(fixture.succeed(&["man"]).stdout.contains(".TH tersor 1"));
    fixture.succeed(&["man", "."]);
    let pages = fixture.names();
    // The command's own, one for each verb; networks have two.
    let n = if cfg!(feature = "nets") { 11 } else { 9 };
    assert_eq!(pages.len(), n, "{pages:?}");
    assert!(pages.contains(&"tersor-compress.1".to_owned()));
    let page = String::from_utf8(fixture.bytes("tersor-compress.1")).unwrap();
    assert!(
        page.contains(".TH tersor-compress 1") && page.contains("tersor compress"),
        "{page}"
    );
    fixture.fail(&["man", "."], "exists");
    fixture.succeed(&["man", ".", "-f"]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let fixture = Fixture::new();
    fixture.succeed(&["compress", NET, "--keep", "*"]);
    for args in [
        &["decompress", "net.tersor", "-o", "-", "-q"][..],
        &["man"],
        &["inspect", "net.tersor"],
    ] {
        let mut child = fixture.spawn(args);
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
    std::fs::write(fixture.path("damaged.tersor"), "damaged").unwrap();
    let mut child = fixture.spawn(&["verify", "damaged.tersor"]);
    drop(child.stdout.take());
    assert_eq!(
        child.wait().unwrap().code(),
        Some(1),
        "the answer is the same if nobody reads it"
    );
}
